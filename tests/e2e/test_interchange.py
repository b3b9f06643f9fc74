"""Models in and out: what we write by the official readers, what we read by Transformers, and the way back."""

import json
import shutil

import pytest
from exchanged import FAMILIES, logits, token_ids, varied_lines
from program import check_error, entrain, leftovers

np = pytest.importorskip("numpy")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", reason="a reference is the Python package transformers")
gguf = pytest.importorskip("gguf", reason="the reference of GGUF is the Python package gguf")
safetensors_torch = pytest.importorskip("safetensors.torch")

torch.set_num_threads(1)
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

TYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"


@pytest.fixture(scope="module", params=FAMILIES)
def checkpoint(request, checkpoint_of):
    return checkpoint_of(request.param)


def weights(folder):
    return safetensors_torch.load_file(folder / "model.safetensors")


def equal(a, b):
    return a.keys() == b.keys() and all(a[name].dtype == b[name].dtype and torch.equal(a[name], b[name]) for name in a)


# -- Hugging Face folders ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_name", TYPES)
def test_safetensors_of_each_type(checkpoint, type_name, tmp_path):
    entrain("export", checkpoint, "--format", "hf", "--type", type_name, "--out", tmp_path / "hf")
    original = weights(checkpoint)
    assert equal(weights(tmp_path / "hf"), {name: value.to(TYPES[type_name]) for name, value in original.items()})
    entrain("import", tmp_path / "hf", "--out", tmp_path / "back")
    assert equal(weights(tmp_path / "back"), {name: value.to(TYPES[type_name]).float() for name, value in original.items()})
    assert not leftovers(tmp_path)


def test_transformers_opens_it(checkpoint, tmp_path):
    entrain("export", checkpoint, "--out", tmp_path / "hf")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "hf", local_files_only=True, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf", local_files_only=True)
    lines = varied_lines(300)
    assert token_ids(tmp_path / "hf", lines, tmp_path) == [tokenizer(line)["input_ids"] for line in lines]
    assert tokenizer.eos_token == "<|endoftext|>" and tokenizer("a<|endoftext|>")["input_ids"][-1] == tokenizer.eos_token_id
    ids = np.random.default_rng(0).integers(0, model.config.vocab_size, 200)
    ours = logits(np, tmp_path / "hf", ids, tmp_path)
    with torch.no_grad():
        theirs = model(torch.tensor(ids)[None]).logits[0].numpy()
    assert np.ptp(theirs) > 1 and np.abs(ours - theirs).max() < 1e-4  # float32 sums in another order


def test_sharded_folder(checkpoint, tmp_path):
    """As Transformers writes it in parts; read, evaluated and trained on as one file is."""
    model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint, local_files_only=True, dtype=torch.float32)
    model.save_pretrained(tmp_path / "sharded", max_shard_size="100KB")
    shutil.copy(checkpoint / "tokenizer.json", tmp_path / "sharded")
    assert len(list((tmp_path / "sharded").glob("model-*.safetensors"))) > 1 and not (tmp_path / "sharded/model.safetensors").exists()
    entrain("import", tmp_path / "sharded", "--out", tmp_path / "whole")
    assert equal(weights(tmp_path / "whole"), weights(checkpoint))
    ids = np.arange(100)
    assert np.array_equal(logits(np, tmp_path / "sharded", ids, tmp_path), logits(np, checkpoint, ids, tmp_path))


# -- GGUF --------------------------------------------------------------------------------------------------------------


def expected_tensors(checkpoint):
    """Our weights as llama.cpp lays them out, by the official table of names."""
    config = json.loads((checkpoint / "config.json").read_text())
    family = config["model_type"]
    architecture = {"llama": gguf.MODEL_ARCH.LLAMA, "qwen3": gguf.MODEL_ARCH.QWEN3, "gpt2": gguf.MODEL_ARCH.GPT2}[family]
    names = gguf.get_tensor_name_map(architecture, config.get("num_hidden_layers", config.get("n_layer")))
    out = {}
    for name, value in weights(checkpoint).items():
        value = value.numpy()
        if family == "gpt2" and any(part in name for part in ("c_attn.weight", "c_proj.weight", "c_fc.weight")):
            value = value.T
        for part, heads in (("q_proj", "num_attention_heads"), ("k_proj", "num_key_value_heads")):
            if family == "llama" and part in name:
                value = value.reshape(config[heads], 2, -1, value.shape[1]).swapaxes(1, 2).reshape(value.shape)
        out[names.get_name(name, try_suffixes=(".weight", ".bias"))] = value
    return config, out


def official(path):
    reader = gguf.GGUFReader(path)
    return {key: field.contents() for key, field in reader.fields.items()}, {tensor.name: tensor for tensor in reader.tensors}


KINDS = {"f32": gguf.GGMLQuantizationType.F32, "f16": gguf.GGMLQuantizationType.F16, "bf16": gguf.GGMLQuantizationType.BF16, "q8_0": gguf.GGMLQuantizationType.Q8_0}


@pytest.mark.parametrize("type_name", KINDS)
def test_official_reader(checkpoint, type_name, tmp_path):
    entrain("export", checkpoint, "--format", "gguf", "--type", type_name, "--out", tmp_path / "model.gguf")
    config, expected = expected_tensors(checkpoint)
    fields, tensors = official(tmp_path / "model.gguf")
    assert tensors.keys() == expected.keys()
    for name, value in expected.items():
        kind = KINDS[type_name] if value.ndim == 2 and not name.startswith("position_embd") else gguf.GGMLQuantizationType.F32
        assert tensors[name].tensor_type == kind, name
        assert list(reversed(tensors[name].shape.tolist())) == list(value.shape), name
        assert np.array_equal(np.asarray(tensors[name].data).view(np.uint8).reshape(-1), gguf.quants.quantize(np.ascontiguousarray(value), kind).view(np.uint8).reshape(-1)), name
    family = config["model_type"]
    assert fields["general.architecture"] == family
    assert fields[f"{family}.block_count"] == 2 and fields[f"{family}.context_length"] == 256 and fields[f"{family}.embedding_length"] == 64
    document = json.loads((checkpoint / "tokenizer.json").read_text())
    assert fields["tokenizer.ggml.tokens"] == sorted(document["model"]["vocab"], key=document["model"]["vocab"].get)
    assert fields["tokenizer.ggml.merges"] == [" ".join(merge) for merge in document["model"]["merges"]]
    assert fields["tokenizer.ggml.token_type"] == [3] + [1] * 511
    assert fields["tokenizer.ggml.eos_token_id"] == 0 and fields["tokenizer.ggml.add_bos_token"] is False


def test_gguf_and_back_is_lossless(checkpoint, tmp_path):
    entrain("export", checkpoint, "--format", "gguf", "--out", tmp_path / "model.gguf")
    entrain("import", tmp_path / "model.gguf", "--out", tmp_path / "back")
    assert equal(weights(tmp_path / "back"), weights(checkpoint))
    ours, back = (json.loads((folder / "config.json").read_text()) for folder in (checkpoint, tmp_path / "back"))
    assert ours == back
    entrain("export", tmp_path / "back", "--format", "gguf", "--out", tmp_path / "again.gguf")
    assert (tmp_path / "again.gguf").read_bytes() == (tmp_path / "model.gguf").read_bytes()
    lines = varied_lines(300)
    assert token_ids(tmp_path / "back", lines, tmp_path) == token_ids(checkpoint, lines, tmp_path) == token_ids(tmp_path / "model.gguf", lines, tmp_path)


@pytest.mark.parametrize("name", ["llama-grouped-untied", "gpt2"])
@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q8_0", "F16", "BF16"])
def test_types_that_the_official_package_wrote(checkpoint_of, name, kind, tmp_path):
    """Every matrix re-written by the official package in a type; our logits equal those of the official dequantization."""
    entrain("export", checkpoint_of(name), "--format", "gguf", "--out", tmp_path / "ours.gguf")
    source = gguf.GGUFReader(tmp_path / "ours.gguf")
    plain = {tensor.name: np.array(tensor.data) for tensor in source.tensors}
    kind = gguf.GGMLQuantizationType[kind]
    for stored, path in (("quantized", tmp_path / "quantized.gguf"), ("dequantized", tmp_path / "dequantized.gguf")):
        writer = gguf.GGUFWriter(path, source.fields["general.architecture"].contents())
        for key, field in source.fields.items():
            if not key.startswith("GGUF.") and key != "general.architecture":
                sub_type = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
                writer.add_key_value(key, field.contents(), field.types[0], sub_type)
        for tensor, value in plain.items():
            if value.ndim < 2:
                writer.add_tensor(tensor, value)
            elif stored == "quantized":
                writer.add_tensor(tensor, gguf.quants.quantize(value, kind), raw_dtype=kind)
            else:
                writer.add_tensor(tensor, gguf.quants.dequantize(gguf.quants.quantize(value, kind), kind).astype(np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    ids = np.arange(100)
    assert np.array_equal(logits(np, tmp_path / "quantized.gguf", ids, tmp_path), logits(np, tmp_path / "dequantized.gguf", ids, tmp_path))


# -- Commands ----------------------------------------------------------------------------------------------------------


def test_train_eval_and_generate_take_either(checkpoint, texts, held_out_text, tmp_path):
    entrain("export", checkpoint, "--format", "gguf", "--out", tmp_path / "model.gguf")
    entrain("export", checkpoint, "--out", tmp_path / "hf")
    scores, stories, losses = [], [], []
    for model in (checkpoint, tmp_path / "hf", tmp_path / "model.gguf"):
        scores.append(entrain("eval", model, "--text", held_out_text, "--json").stdout)
        stories.append(entrain("generate", model, "--prompt", "The ", "--tokens", 20, "--json").stdout)
        run = tmp_path / f"run-{len(losses)}"
        recipe = checkpoint.parents[2] / "recipe.toml"
        entrain("train", recipe, "--from", model, "--set", "budget.steps=2", "--run", run)
        losses.append([json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines() if '"loss"' in line])
    assert scores[0] == scores[1] == scores[2] and stories[0] == stories[1] == stories[2] and losses[0] == losses[1] == losses[2]
    assert len(losses[0]) == 2


def test_chat_templates_and_special_tokens_travel(checkpoint, tmp_path):
    folder = tmp_path / "chat"
    shutil.copytree(checkpoint, folder)
    for file in ("manifest.json", "state.json", "optimizer.safetensors"):
        (folder / file).unlink(missing_ok=True)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|endoftext|>", "pad_token": {"content": "<|endoftext|>"}}))
    entrain("export", folder, "--format", "gguf", "--out", tmp_path / "chat.gguf")
    fields, _ = official(tmp_path / "chat.gguf")
    assert fields["tokenizer.chat_template"] == TEMPLATE and fields["tokenizer.ggml.padding_token_id"] == 0
    entrain("import", tmp_path / "chat.gguf", "--out", tmp_path / "back")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "back", local_files_only=True)
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}]
    assert tokenizer.apply_chat_template(messages, tokenize=False) == "<user>Hi\n<assistant>Yes\n"
    assert tokenizer.pad_token == "<|endoftext|>"
    # Older folders keep the template inside tokenizer_config.json.
    (folder / "chat_template.jinja").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": [{"name": "default", "template": TEMPLATE}, {"name": "tool_use", "template": "T"}]}))
    entrain("export", folder, "--format", "gguf", "--out", tmp_path / "older.gguf")
    fields, _ = official(tmp_path / "older.gguf")
    assert fields["tokenizer.chat_template"] == TEMPLATE and fields["tokenizer.chat_template.tool_use"] == "T"


@pytest.mark.parametrize("kept", ["text", "list", "files"])
def test_chat_templates_wherever_a_folder_keeps_them(model_folder, kept, tmp_path):
    templates = {"default": TEMPLATE} if kept == "text" else {"default": TEMPLATE, "rag": "R{{ '\\n' }}\n", "tool_use": "Tür"}
    if kept == "files":
        (model_folder / "additional_chat_templates").mkdir()
        for name, text in templates.items():
            (model_folder / ("chat_template.jinja" if name == "default" else f"additional_chat_templates/{name}.jinja")).write_text(text)
    else:
        value = TEMPLATE if kept == "text" else [{"name": name, "template": text} for name, text in templates.items()]
        (model_folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": value}))
    entrain("import", model_folder, "--out", tmp_path / "imported")
    entrain("export", tmp_path / "imported", "--format", "hf", "--out", tmp_path / "hf")
    entrain("export", tmp_path / "imported", "--format", "gguf", "--out", tmp_path / "chat.gguf")
    entrain("import", tmp_path / "chat.gguf", "--out", tmp_path / "back")
    fields, _ = official(tmp_path / "chat.gguf")
    assert {key.removeprefix("tokenizer.chat_template").removeprefix(".") or "default": text for key, text in fields.items() if key.startswith("tokenizer.chat_template") and key != "tokenizer.chat_templates"} == templates
    assert sorted(fields.get("tokenizer.chat_templates", [])) == sorted(templates.keys() - {"default"})
    for folder in ("imported", "hf", "back"):
        tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / folder, local_files_only=True)
        assert tokenizer.chat_template == (templates if len(templates) > 1 else TEMPLATE), folder


def test_every_token_that_ends_a_text_is_kept(checkpoint_of, model_folder, tmp_path):
    """Through import, training and both exports, with the sampling defaults; generate stops at each."""
    sampling = {"do_sample": True, "temperature": 0.6, "top_p": 0.9}
    (model_folder / "generation_config.json").write_text(json.dumps({**sampling, "eos_token_id": [7, 5, 300]}))
    config = json.loads((model_folder / "config.json").read_text())
    assert config["eos_token_id"] == 0 and not (checkpoint_of("llama") / "generation_config.json").exists()
    entrain("import", model_folder, "--out", tmp_path / "imported")
    entrain("train", checkpoint_of("llama").parents[2] / "recipe.toml", "--from", tmp_path / "imported", "--set", "budget.steps=1", "--run", tmp_path / "run")
    entrain("export", tmp_path / "run", "--format", "hf", "--out", tmp_path / "hf")
    for folder in (tmp_path / "imported", tmp_path / "hf"):
        assert json.loads((folder / "config.json").read_text())["eos_token_id"] == [0, 7, 5, 300]
        generation = transformers.GenerationConfig.from_pretrained(folder, local_files_only=True)
        assert generation.eos_token_id == [0, 7, 5, 300] and {key: getattr(generation, key) for key in sampling} == sampling
    entrain("export", tmp_path / "run", "--format", "gguf", "--out", tmp_path / "trained.gguf")
    fields, _ = official(tmp_path / "trained.gguf")
    assert [fields[f"tokenizer.ggml.{key}_token_id"] for key in ("eos", "eot", "eom")] == [0, 7, 5]
    entrain("import", tmp_path / "trained.gguf", "--out", tmp_path / "back")
    assert json.loads((tmp_path / "back/generation_config.json").read_text())["eos_token_id"] == [0, 7, 5]

    def continued(folder):
        return json.loads(entrain("generate", folder, "--prompt", "The ", "--tokens", 20, "--seed", 1, "--json").stdout)["ids"]

    ids = continued(checkpoint_of("llama"))
    last = max(ids.index(token) for token in ids)  # where the token that comes up latest does so first
    assert last > 0
    (model_folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, ids[last]]}))
    assert continued(model_folder) == ids[:last]


def test_one_clear_error(checkpoint, tmp_path):
    entrain("export", checkpoint, "--format", "gguf", "--out", tmp_path / "model.gguf")
    check_error(entrain("export", checkpoint, "--format", "gguf", "--out", tmp_path / "model.gguf", code=2), "exists already")
    check_error(entrain("export", checkpoint, "--format", "onnx", "--out", tmp_path / "x", code=2), "onnx", hint="gguf")
    check_error(entrain("export", checkpoint, "--type", "q4_k", "--out", tmp_path / "x", code=2), "q4_k", hint="q8_0")
    check_error(entrain("export", checkpoint, "--type", "q8_0", "--out", tmp_path / "x", code=2), "q8_0", hint="--format gguf")
    check_error(entrain("import", tmp_path / "nothing", "--out", tmp_path / "x", code=2), "nothing", hint="GGUF")
    check_error(entrain("eval", __file__, "--text", __file__, code=2), "test_interchange.py", hint="GGUF")
    whole = (tmp_path / "model.gguf").read_bytes()
    for size in (4, 23, 100, 5000, len(whole) // 2, len(whole) - 33):
        (tmp_path / "cut.gguf").write_bytes(whole[:size])
        check_error(entrain("import", tmp_path / "cut.gguf", "--out", tmp_path / "x", code=3), "cut.gguf", hint="copy")
    assert not (tmp_path / "x").exists() and not leftovers(tmp_path)
