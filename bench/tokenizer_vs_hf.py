"""Training and encoding speed of the program's tokenizer against Hugging Face `tokenizers`, side by side.

Claim: training a 4,096 vocabulary on about 25 MB of text and encoding that text are at least as fast as with the
`tokenizers` library on the same cores. Repetitions alternate between the two, so that both see the same machine.

    python bench/tokenizer_vs_hf.py --text DIR [--repeats 5] [--vocab-size 4096] [--pattern gpt2]

Ours is timed as a whole process: start, reading the files, and for encoding printing the ids as text. The library is timed
inside Python, with the texts loaded already and without printing, on whole documents and on lines, of which the faster counts. Both see the same documents, use all cores, and must
give the same merges and ids.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tokenizers

ROOT = Path(__file__).resolve().parents[1]
ENTRAIN = os.environ.get("ENTRAIN", str(ROOT / "build" / "entrain"))
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")


def timed(action):
    start = time.perf_counter()
    result = action()
    return time.perf_counter() - start, result


def reference_training(texts, pattern, vocab_size):
    p = tokenizers.pre_tokenizers
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    if pattern == "gpt2":
        tokenizer.pre_tokenizer = p.ByteLevel(add_prefix_space=False)
    else:
        tokenizer.pre_tokenizer = p.Sequence([p.Split(tokenizers.Regex(LLAMA3), "isolated"),
                                              p.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.train_from_iterator(texts, tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=["<|endoftext|>"], show_progress=False,
        initial_alphabet=p.ByteLevel.alphabet()))
    return tokenizer


def ratio(name, theirs, ours, n_bytes):
    ratios = [t / o for t, o in zip(theirs, ours)]
    print(f"{name:9} tokenizers {statistics.median(theirs):6.2f} s   entrain {statistics.median(ours):6.2f} s "
          f"({n_bytes / 1e6 / statistics.median(ours):.0f} MB/s)   ratio median {statistics.median(ratios):.2f} "
          f"(min {min(ratios):.2f}, max {max(ratios):.2f})", flush=True)
    return statistics.median(ratios)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", required=True, help="folder with .txt files")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--vocab-size", type=int, default=4096)
    parser.add_argument("--pattern", choices=["gpt2", "llama3"], default="gpt2")
    arguments = parser.parse_args()

    texts = [path.read_bytes().decode() for path in sorted(Path(arguments.text).rglob("*.txt"))]
    lines = [line for text in texts for line in text.splitlines(keepends=True)]
    whole = "".join(texts).encode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.json"
        train_command = [ENTRAIN, "tokenizer", "train", "--text", arguments.text, "--vocab-size", str(arguments.vocab_size),
                         "--pattern", arguments.pattern, "--out", str(path)]
        encode_command = [ENTRAIN, "tokenizer", "encode", "--tokenizer", str(path)]

        def run(command, stdin=b""):
            return subprocess.run(command, input=stdin, capture_output=True, check=True).stdout

        training, encoding = ([], []), ([], [])
        print(f"{len(texts)} documents, {len(whole)} bytes; tokenizers {tokenizers.__version__}, {os.cpu_count()} cores, "
              f"vocabulary {arguments.vocab_size}, pattern {arguments.pattern}", flush=True)
        for i in range(arguments.repeats):
            t, reference = timed(lambda: reference_training(texts, arguments.pattern, arguments.vocab_size))
            training[0].append(t)
            training[1].append(timed(lambda: run(train_command))[0])
            # A freshly read tokenizer: what training has cached must not count for the library.
            reader = tokenizers.Tokenizer.from_str(reference.to_str())
            # The library shares out work text by text, so long documents leave cores idle; by lines it does not. The faster counts.
            encoding[0].append(min(timed(lambda: reader.encode_batch(texts))[0], timed(lambda: reader.encode_batch(lines))[0]))
            t, output = timed(lambda: run(encode_command, whole))
            encoding[1].append(t)
            if i == 0:
                same_merges = json.loads(path.read_text())["model"]["merges"] == json.loads(reference.to_str())["model"]["merges"]
                same_ids = [int(k) for k in output.split()] == reader.encode("".join(texts)).ids
                print(f"merges {'equal' if same_merges else 'DIFFER'}, ids {'equal' if same_ids else 'DIFFER'}", flush=True)
                if not (same_merges and same_ids):
                    return 1
        results = [ratio("training", *training, len(whole)), ratio("encoding", *encoding, len(whole))]
    return 0 if min(results) >= 1 else 1


if __name__ == "__main__":
    sys.exit(main())
