"""Adapters end to end: train, kill, resume; what PEFT, Transformers and GGUF readers make of them; every mistake said clearly."""

import json
import random
import shutil
import signal

import pytest
from exchanged import logits
from program import check_error, checkpoints, entrain, leftovers, metrics, steps, write_recipe
from test_kill_resume import start, wait_for_lines

np = pytest.importorskip("numpy")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
safetensors_torch = pytest.importorskip("safetensors.torch")

torch.set_num_threads(1)
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

FAMILIES = {  # with the targets of their adapters, and other settings
    "llama-grouped-untied": (["q_proj", "v_proj", "down_proj"], {"lora.alpha": 8.5}),
    "qwen3": (["all-linear"], {"lora.rslora": True, "lora.dropout": 0.1}),
    "gpt2": (["c_attn", "c_proj", "c_fc"], {"lora.alpha": 8}),
}


def assignments(values):
    return [part for key, value in values.items() for part in ("--set", f"{key}={json.dumps(value)}")]


def adapt(base, run, values):
    """A run with adapters from a checkpoint of exchanged.train, by the recipe of that."""
    return entrain("train", base.parents[2] / "recipe.toml", "--from", base, *assignments(values), "--run", run)


@pytest.fixture(scope="module", params=FAMILIES)
def adapted(request, checkpoint_of, tmp_path_factory):
    """The base's checkpoint, the run with adapters, and the base as a folder for Transformers."""
    targets, values = FAMILIES[request.param]
    base, folder = checkpoint_of(request.param), tmp_path_factory.mktemp("adapted")
    adapt(base, folder / "run", {"lora.rank": 4, "lora.targets": targets, **values})
    entrain("export", base, "--out", folder / "base")
    return base, folder / "run", folder / "base"


def reference_logits(model, ids):
    with torch.no_grad():
        return model.eval()(torch.tensor(ids)[None]).logits[0].numpy()


def far_apart(a, b):
    return float(np.abs(a - b).max()) > 0.1


# -- Other programs ----------------------------------------------------------------------------------------------------


def test_peft_opens_the_adapters(adapted, tmp_path):
    peft = pytest.importorskip("peft", reason="the reference of adapters is the Python package peft")
    base, run, base_folder = adapted
    done = entrain("export", run, "--format", "peft", "--base", base_folder, "--out", tmp_path / "adapter")
    assert b"wrote the adapters" in done.stderr and not leftovers(tmp_path)
    assert sorted(path.name for path in (tmp_path / "adapter").iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    model = peft.AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter", dtype=torch.float32)  # finds the base by its name
    stored = safetensors_torch.load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    theirs = peft.get_peft_model_state_dict(model)
    assert stored.keys() == theirs.keys() and all(torch.equal(stored[name], theirs[name]) for name in stored)
    ids = np.random.default_rng(0).integers(0, model.config.vocab_size, 200)
    ours, reference = logits(np, run_model(run), ids, tmp_path), reference_logits(model, ids)
    deviation = float(np.abs(ours - reference).max())
    print(f"largest logit deviation from PEFT {deviation:.1e}")
    assert deviation < 1e-4 and far_apart(ours, logits(np, base, ids, tmp_path))
    entrain("export", run, "--out", tmp_path / "merged")
    merged = safetensors_torch.load_file(tmp_path / "merged" / "model.safetensors")
    for name, value in model.merge_and_unload().state_dict().items():
        if name in merged:  # a tied head is stored once
            assert torch.allclose(merged[name], value, rtol=1e-6, atol=1e-6), name


def test_merged_exports(adapted, tmp_path):
    base, run, _ = adapted
    for format_name, path in (("hf", tmp_path / "hf"), ("gguf", tmp_path / "model.gguf")):
        assert b"its adapters merged into the weights" in entrain("export", run, "--format", format_name, "--out", path).stderr
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "hf", local_files_only=True, dtype=torch.float32)
    ids = np.random.default_rng(0).integers(0, model.config.vocab_size, 200)
    ours, reference = logits(np, run_model(run), ids, tmp_path), reference_logits(model, ids)
    deviation = float(np.abs(ours - reference).max())
    print(f"largest logit deviation from Transformers {deviation:.1e}")
    assert deviation < 1e-4 and far_apart(ours, logits(np, base, ids, tmp_path))
    assert np.array_equal(ours, logits(np, tmp_path / "model.gguf", ids, tmp_path))
    assert b"adapters" not in entrain("export", base, "--out", tmp_path / "plain").stderr


def run_model(run):
    return checkpoints(run)[-1]


# -- Commands ----------------------------------------------------------------------------------------------------------


def test_a_run_like_any_other(adapted, held_out_text, tmp_path):
    base, run, _ = adapted
    before, after = (json.loads(entrain("eval", model, "--text", held_out_text, "--json").stdout)["nats_per_token"] for model in (base, run))
    assert before != after
    story = entrain("generate", run, "--prompt", "The ", "--tokens", 20, "--temperature", 0, "--json").stdout
    entrain("export", run, "--out", tmp_path / "merged")
    assert story == entrain("generate", tmp_path / "merged", "--prompt", "The ", "--tokens", 20, "--temperature", 0, "--json").stdout
    said = json.loads(entrain("eval", tmp_path / "merged", "--text", held_out_text, "--json").stdout)["nats_per_token"]
    assert said == after
    assert (run_model(run) / "model.safetensors").read_bytes() == (base / "model.safetensors").read_bytes()


def test_what_is_said_at_the_start(checkpoint_of, tmp_path):
    done = adapt(checkpoint_of("gpt2"), tmp_path / "run", {"lora.rank": 2, "lora.targets": ["c_fc"], "budget.steps": 1})
    assert b", of which 1.28k are trained" in done.stderr  # two blocks, 2 x (64 + 256)


def test_kill_and_resume(data, tmp_path):
    shape = {"model.width": 64, "model.context": 32, "train.rows": 4, "evaluation.prompt": "The", "evaluation.sample_tokens": 8}
    base = write_recipe(tmp_path / "base.toml", data, {**shape, "budget.steps": 20})
    entrain("train", base, "--run", tmp_path / "base")
    values = {**shape, "train.from": str(tmp_path / "base"), "lora.rank": 8, "lora.dropout": 0.1, "optimizer.name": "muon", "evaluation.every": 37, "checkpoint.every": 40,
              "superposition.mode": "full", "superposition.bag": 3, "superposition.ratio": 0.5, "budget.steps": 500}
    recipe = write_recipe(tmp_path / "recipe.toml", data, values)

    def outcome(run):
        last = checkpoints(run)[-1]
        files = {path.name: path.read_bytes() for path in last.iterdir() if path.name not in ("state.json", "manifest.json")}
        state = {key: value for key, value in json.loads((last / "state.json").read_text()).items() if key != "seconds"}
        return {**files, "state": state, "metrics": metrics(run), "samples": (run / "samples.txt").read_bytes()}

    entrain("train", recipe, "--run", tmp_path / "whole")
    whole = outcome(tmp_path / "whole")
    assert "adapter_model.safetensors" in whole and whole["model.safetensors"] == (run_model(tmp_path / "base") / "model.safetensors").read_bytes()
    losses = [record["loss"] for record in steps(tmp_path / "whole")]
    assert losses[-1] < losses[250]  # single tokens from there on
    rng = random.Random(1)
    for i, moment in enumerate([rng.randrange(2, 240), rng.randrange(260, 330)]):
        process = start(recipe, tmp_path / "run", *["--resume"][:i])
        assert wait_for_lines(process, tmp_path / "run", moment), process.communicate()[1].decode()
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    entrain("train", recipe, "--run", tmp_path / "run", "--resume")
    resumed = outcome(tmp_path / "run")
    for part, expected in whole.items():
        assert resumed[part] == expected, f"{part} differs"
    assert leftovers(tmp_path / "run") == []


def test_one_clear_error(checkpoint_of, data, tmp_path):
    base = checkpoint_of("gpt2")
    recipe = base.parents[2] / "recipe.toml"

    def refused(words, *arguments, code=2, hint=None):
        check_error(entrain("train", recipe, *arguments, "--run", tmp_path / "x", code=code), words, hint=hint)
        assert not (tmp_path / "x").exists()

    refused("[lora] adapts a trained model", "--set", "lora.rank=4", hint="docs/config.md")
    refused(["lora.rank", "-1"], "--from", base, "--set", "lora.rank=-1")
    refused(['"q_proj"', "attn.c_attn"], "--from", base, "--set", "lora.rank=4", "--set", 'lora.targets=["q_proj"]', hint="docs/fine-tuning.md")
    refused(["lora.rank (65)", "64 x 64"], "--from", base, "--set", "lora.rank=65", hint="docs/fine-tuning.md")
    check_error(entrain("export", base, "--format", "peft", "--out", tmp_path / "x", code=2), "has no adapters", hint="[lora]")
    check_error(entrain("export", base, "--base", "x", "--out", tmp_path / "x", code=2), "--base")
    entrain("export", base, "--format", "gguf", "--out", tmp_path / "model.gguf")
    entrain("train", recipe, "--from", tmp_path / "model.gguf", "--set", "lora.rank=2", "--set", "budget.steps=1", "--run", tmp_path / "of-gguf")
    check_error(entrain("export", tmp_path / "of-gguf", "--format", "peft", "--out", tmp_path / "x", code=2), "model.gguf", hint="--base")
    renamed = shutil.copy(tmp_path / "model.gguf", tmp_path / "model.bin")
    for unfit in (renamed, base.parents[1]):  # known by its first bytes; a run
        check_error(entrain("export", tmp_path / "of-gguf", "--format", "peft", "--base", unfit, "--out", tmp_path / "x", code=2), str(unfit), hint="--base")
    entrain("export", tmp_path / "of-gguf", "--format", "peft", "--base", "somewhere/model", "--out", tmp_path / "adapter")
    assert json.loads((tmp_path / "adapter/adapter_config.json").read_text())["base_model_name_or_path"] == "somewhere/model"
    adapt(base, tmp_path / "run", {"lora.rank": 2, "budget.steps": 1})
    file = run_model(tmp_path / "run") / "adapter_model.safetensors"
    whole = file.read_bytes()
    for size in (0, 7, 100, len(whole) - 1):
        file.write_bytes(whole[:size])
        for verb in (["eval", file.parent, "--text", recipe], ["export", file.parent, "--format", "peft", "--out", tmp_path / "x"]):
            check_error(entrain(*verb, code=3), "adapter_model.safetensors")
    file.unlink()
    check_error(entrain("export", file.parent, "--format", "peft", "--out", tmp_path / "x", code=5), "adapter_model.safetensors")
    assert not (tmp_path / "x").exists() and not leftovers(tmp_path)
