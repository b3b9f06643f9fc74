"""The entanglement layer from outside: same bits at weight 0, no trace in what is saved, inspection, adaptation of a trained model, bad input."""

import fcntl
import json
import os
import pty
import shutil
import struct
import subprocess
import termios
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from program import ENTRAIN, check_error, checkpoints, entrain, metrics, steps, write_recipe

BASE = {"model.width": 32, "model.layers": 2, "model.context": 32, "budget.steps": 100}
LAYER = {**BASE, "entanglement.mode": "side", "entanglement.width": 16, "entanglement.weight": 0.5, "entanglement.monitor_every": 25}


@pytest.fixture(scope="module")
def plain(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    entrain("train", write_recipe(folder / "recipe.toml", data, BASE), "--run", folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def entangled(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("entangled")
    entrain("train", write_recipe(folder / "recipe.toml", data, LAYER), "--run", folder / "run")
    return folder / "run"


def test_weight_zero_is_plain_training(plain, data, tmp_path):
    entrain("train", write_recipe(tmp_path / "recipe.toml", data, {**LAYER, "entanglement.weight": 0.0}), "--run", tmp_path / "run")
    first, second = checkpoints(plain)[-1], checkpoints(tmp_path / "run")[-1]
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()
    assert [record["loss"] for record in steps(plain)] == [record["loss"] for record in steps(tmp_path / "run")]


def test_transformers_opens_the_model_and_finds_no_trace(entangled):
    transformers = pytest.importorskip("transformers")
    safetensors = pytest.importorskip("safetensors")
    newest = checkpoints(entangled)[-1]
    with safetensors.safe_open(newest / "model.safetensors", "pt") as file:
        assert not [name for name in file.keys() if "entangle" in name]
    with safetensors.safe_open(newest / "methods.safetensors", "pt") as file:
        assert any(name.endswith("projection.weight") for name in file.keys())
    _, info = transformers.AutoModelForCausalLM.from_pretrained(newest, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]


def test_metrics_hold_the_monitor(entangled):
    readings = [record["figures"] for record in metrics(entangled) if "figures" in record]
    assert readings
    for name in ("loss", "gate_rate", "gradient_ratio", "cosine"):
        assert all(any(key.endswith(f".{name}") for key in reading) for reading in readings), name
    full = [reading for reading in readings if any(key.endswith(".effective_rank") for key in reading)]
    assert full and len(full) < len(readings)
    for name in ("mean_cosine", "uniformity", "alignment", "entropy_mean", "head_norm", "soft_nearest_neighbour"):
        assert any(key.endswith(f".{name}") for key in full[0]), name


def test_the_last_step_is_read_and_progress_shows_it(entangled, data, tmp_path):
    recipe = write_recipe(tmp_path / "recipe.toml", data, {**LAYER, "entanglement.blocks": [0, 1], "entanglement.monitor_every": 0, "budget.steps": 3})
    last = entrain("train", recipe, "--run", tmp_path / "run").stderr.decode()
    figures = steps(tmp_path / "run")[-1]["figures"]
    assert not any("mean_cosine" in name for record in steps(tmp_path / "run")[:-1] for name in record["figures"])
    line = next(line for line in last.splitlines() if line.startswith("100.0% step 3"))
    for block in (0, 1):
        cosine, rank, gate, loss = (figures[f"entanglement.{block}.{name}"] for name in ("mean_cosine", "effective_rank", "gate_rate", "loss"))
        assert f"  entanglement.{block} loss {loss:.3g} cosine {cosine:.3g} rank {rank:.3g} gate {100 * gate:.3g}%" in line


def test_progress_keeps_to_one_line_of_a_terminal(data, tmp_path):
    recipe = write_recipe(tmp_path / "recipe.toml", data, {**LAYER, "entanglement.blocks": [0, 1], "entanglement.monitor_every": 1, "budget.steps": 3})
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 90, 0, 0))
    with subprocess.Popen([ENTRAIN, "train", recipe, "--run", tmp_path / "run"], stderr=follower, stdout=subprocess.DEVNULL) as process:
        os.close(follower)
        shown = b""
        while True:
            try:
                part = os.read(leader, 4096)
            except OSError:  # how a terminal ends
                break
            if not part:
                break
            shown += part
    os.close(leader)
    assert process.returncode == 0
    lines = [line for line in shown.decode().replace("\x1b[K", "").replace("\n", "\r").split("\r") if "% step " in line]
    assert lines and all(len(line) == 89 for line in lines), lines  # cut before the last column, so that no terminal breaks it


@pytest.mark.parametrize("run", ["plain", "entangled"])
def test_inspect(run, texts, tmp_path, request):
    folder = request.getfixturevalue(run)
    done = entrain("inspect", "entanglement", folder, "--text", texts, "--json", "--map", tmp_path / "map.svg", "--tokens", 5000)
    seen = json.loads(done.stdout)
    assert seen["layer"] == (run == "entangled")
    assert seen["positives"] == "next" and seen["trained_positives"] == ("next" if run == "entangled" else None)
    assert seen["figures"]["effective_rank"] > 1
    assert len(seen["pairs"]) > 5 and seen["clusters"]
    for pair in seen["pairs"]:
        assert -1.001 <= pair["cosine"] <= 1.001
        for side in ("first", "second"):
            assert pair[side]["occurrences"] >= 5
            assert f"[{pair[side]['text']}]" in pair[side]["example"]
    cosines = [pair["cosine"] for pair in seen["pairs"]]
    assert cosines == sorted(cosines, reverse=True)
    root = ElementTree.parse(tmp_path / "map.svg").getroot()
    assert len(root.findall("{http://www.w3.org/2000/svg}circle")) > 20
    text = entrain("inspect", "entanglement", folder, "--text", texts, "--tokens", 5000).stdout.decode()
    assert "strongest pairs" in text and "clusters" in text


@pytest.mark.parametrize("trained,read", [("same_token", "same_token"), ("window", "window"), ("ppmi", "next"), ("views", "next")])
def test_inspect_names_the_positives_it_reads(trained, read, data, texts, tmp_path):
    recipe = write_recipe(tmp_path / "recipe.toml", data, {**LAYER, "entanglement.positives": trained, "model.dropout": 0.1, "budget.steps": 5})
    entrain("train", recipe, "--run", tmp_path / "run")
    arguments = ("inspect", "entanglement", tmp_path / "run", "--text", texts, "--tokens", 3000)
    seen = json.loads(entrain(*arguments, "--json").stdout)
    assert (seen["positives"], seen["trained_positives"]) == (read, trained)
    # The next three states exist for all but the last of a row of 32; a word comes again less surely; a window always holds others.
    share = seen["figures"]["positive_share"]
    assert {"next": share == 31 / 32, "window": share == 1, "same_token": 0 < share < 1 and share != 31 / 32}[read]
    said = entrain(*arguments).stdout.decode().splitlines()[1]
    assert said.startswith(f"positives {read}") and (trained in said)
    assert ("alignment is not that of training" in said) == (read != trained)


def test_adapts_a_trained_model(plain, data, tmp_path):
    recipe = write_recipe(tmp_path / "recipe.toml", data, LAYER)
    entrain("train", recipe, "--from", plain, "--run", tmp_path / "run")
    first_loss, last_loss = steps(plain)[0]["loss"], steps(plain)[-1]["loss"]
    start = steps(tmp_path / "run")[0]["loss"]
    assert abs(start - last_loss) < abs(start - first_loss)
    again = entrain("train", recipe, "--from", plain, "--run", tmp_path / "run", "--resume", code=0)
    assert b"resumed" in again.stderr


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def test_exports_hold_no_trace(entangled, tmp_path):
    newest, bare = checkpoints(entangled)[-1], tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):  # a model that never met the layer
        shutil.copy(newest / name, bare / name)
    for source in (entangled, bare):
        entrain("export", source, "--format", "hf", "--out", tmp_path / f"{source.name}-hf")
        entrain("export", source, "--format", "gguf", "--out", tmp_path / f"{source.name}.gguf")
    exported = contents(tmp_path / f"{entangled.name}-hf")
    assert "model.safetensors" in exported and exported == contents(tmp_path / "bare-hf")
    gguf = (tmp_path / f"{entangled.name}.gguf").read_bytes()
    assert gguf == (tmp_path / "bare.gguf").read_bytes()
    assert not any(b"entangle" in data for data in [gguf, *exported.values()])


@pytest.mark.parametrize("format", ["hf", "gguf"])
def test_adapts_a_model_of_another_program(format, plain, data, tmp_path):
    origin = tmp_path / ("model.gguf" if format == "gguf" else "model")
    entrain("export", plain, "--format", format, "--type", "f32", "--out", origin)
    recipe = write_recipe(tmp_path / "recipe.toml", data, {**LAYER, "budget.steps": 6})
    for name, source in (("ours", plain), ("theirs", origin)):
        entrain("train", recipe, "--from", source, "--run", tmp_path / name)
    ours, theirs = (checkpoints(tmp_path / name)[-1] for name in ("ours", "theirs"))
    assert [record["loss"] for record in steps(tmp_path / "ours")] == [record["loss"] for record in steps(tmp_path / "theirs")]
    for file in ("model.safetensors", "methods.safetensors"):
        assert (ours / file).read_bytes() == (theirs / file).read_bytes(), file
    assert steps(tmp_path / "theirs")[-1]["figures"]["entanglement.1.side_ratio"] > 0


@pytest.mark.parametrize("settings,words", [
    (["entanglement.blocks=[7]"], ["entanglement.blocks", "block 7"]),
    (["entanglement.width=4096"], ["entanglement.width", "model.width"]),
    (["entanglement.temperature=0.1", 'entanglement.pairs="random_features"'], ["0.25", "entanglement.temperature"]),
    (['entanglement.pairs="fft"'], ["entanglement.scope"]),
    (['entanglement.pairs="fft"', 'entanglement.scope="sequence"', 'entanglement.positives="views"'], ["fft", "entanglement.positives"]),
    (['entanglement.loss="hsic"', "entanglement.temperature=0.1"], ["hsic", "entanglement.temperature"]),
    (['entanglement.loss="contraclm"'], ["entanglement.positives"]),
    (['entanglement.loss="attribute_hsic"'], ["entanglement.attribute"]),
    (['entanglement.loss="infonec"'], ["infonec", "infonce"]),
])
def test_bad_layers_name_the_fix(settings, words, data, tmp_path):
    recipe = write_recipe(tmp_path / "recipe.toml", data, LAYER)
    arguments = [part for setting in settings for part in ("--set", setting)]
    check_error(entrain("train", recipe, *arguments, "--run", tmp_path / "run", code=2), words)
    assert not (tmp_path / "run").exists()


def test_attribute_file(data, tmp_path):
    (tmp_path / "words.tsv").write_text("the\tarticle\na\tarticle\nof\tother\nin\tother\n")
    recipe = write_recipe(tmp_path / "recipe.toml", data, {**LAYER, "entanglement.loss": "attribute_hsic", "entanglement.attribute": str(tmp_path / "words.tsv")})
    entrain("train", recipe, "--run", tmp_path / "run")
    (tmp_path / "words.tsv").write_text("the article\n")
    check_error(entrain("train", recipe, "--run", tmp_path / "other", code=3), ["words.tsv", "tab"])
