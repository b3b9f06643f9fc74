"""Text, tokenizer and data folder shared by the tests: small, made here, the same every time."""

import functools
import os
import random
import shutil
import signal
import sys
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before transformers is imported: no test reaches out
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")

from program import DUMP, ENTRAIN, ROOT, entrain  # noqa: E402

# The Python package of this tree, on the program under test; test_python_package.py looks at the installed one.
sys.path.insert(0, str(ROOT / "python"))
os.environ["ENTRAIN_BUILD"] = str(Path(ENTRAIN).parent)

# A job in a shell's background ignores SIGINT, one under nohup SIGHUP, and so would the programs that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pseudo_english(seed, n_bytes):
    """Sentences of made-up words: Zipf-distributed, each word with a few likely successors, so that there is something to learn."""
    rng = random.Random(seed)
    syllables = [a + b + c for a in ("", "b", "d", "f", "k", "l", "m", "n", "r", "s", "t", "th", "w") for b in "aeiou" for c in ("", "n", "r", "s", "t")]
    vocabulary = random.Random(0)  # the same words for every seed
    words = ["the", "of", "and", "a", "in", "to", *("".join(vocabulary.choices(syllables, k=vocabulary.choice((1, 2, 2, 3)))) for _ in range(600))]
    rank_weights = [1 / (i + 2) for i in range(len(words))]
    successors = [vocabulary.choices(range(len(words)), rank_weights, k=4) for _ in words]
    out, size, word = [], 0, 0
    while size < n_bytes:
        sentence = []
        for _ in range(rng.randint(4, 14)):
            word = rng.choice(successors[word]) if rng.random() < 0.7 else rng.choices(range(len(words)), rank_weights)[0]
            sentence.append(words[word] + ("," if rng.random() < 0.08 else ""))
        line = " ".join(sentence).rstrip(",").capitalize() + rng.choice(".....?!") + rng.choice(("  ", " ", " ", "\n\n"))
        out.append(line)
        size += len(line)
    return "".join(out)


@pytest.fixture(scope="session", autouse=True)
def program():
    for path in (ENTRAIN, DUMP):
        if not Path(path).exists():
            pytest.exit(f"no program at {path}: build it, or set ENTRAIN", returncode=2)
    return ENTRAIN


@pytest.fixture(scope="session")
def texts(tmp_path_factory):
    """Folder of 40 documents, 300 KB together."""
    folder = tmp_path_factory.mktemp("texts")
    for i in range(40):
        (folder / f"{i:02}.txt").write_text(pseudo_english(i + 1, 7500))
    return folder


@pytest.fixture(scope="session")
def tokenizer(texts, tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    entrain("tokenizer", "train", "--text", texts, "--vocab-size", 512, "--out", path)
    return path


@pytest.fixture(scope="session")
def data(texts, tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared") / "data"
    entrain("data", "prepare", "--text", texts, "--tokenizer", tokenizer, "--out", folder)
    return folder


@pytest.fixture(scope="session")
def small_data(texts, tokenizer, tmp_path_factory):
    """A few thousand tokens, so that a short run sees several epochs."""
    folder = tmp_path_factory.mktemp("prepared") / "data"
    entrain("data", "prepare", "--text", texts / "00.txt", texts / "01.txt", texts / "02.txt", "--tokenizer", tokenizer, "--out", folder)
    return folder


@pytest.fixture(scope="session")
def checkpoint_of(texts, tmp_path_factory):
    """The newest checkpoint of a short run of a family of exchanged.FAMILIES; each is trained once."""
    import exchanged

    @functools.cache
    def checkpoint(name):
        return exchanged.train(name, texts, tmp_path_factory.mktemp("exchanged"))

    return checkpoint


@pytest.fixture
def model_folder(checkpoint_of, tmp_path):
    """A sound Hugging Face folder of a test's own, whose files may be changed."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        shutil.copy(checkpoint_of("llama") / name, folder)
    return folder


@pytest.fixture(scope="session")
def held_out_text(tmp_path_factory):
    """Three documents of different length in one file."""
    path = tmp_path_factory.mktemp("held-out") / "text.txt"
    path.write_text("\n<|endoftext|>\n".join(pseudo_english(seed, size) for seed, size in ((101, 700), (102, 60), (103, 1500))))
    return path
