"""Several teachers, chains, completions and drafts, as a user meets them."""

import json
import re
import signal
import subprocess
import time

import pytest
from program import ENTRAIN, TINY, check_error, checkpoints, entrain, leftovers, metrics, steps, write_recipe

BASE = {**TINY, "budget.steps": 30, "evaluation.every": 15}


@pytest.fixture(scope="module")
def teachers(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("teachers")
    for name, width in (("first", 16), ("second", 32)):
        entrain("train", write_recipe(folder / f"{name}.toml", data, {"model.width": width, "budget.steps": 60}, base=BASE), "--run", folder / name)
    return folder / "first", folder / "second"


@pytest.fixture(scope="module")
def recipe(data, tmp_path_factory):
    return write_recipe(tmp_path_factory.mktemp("student") / "recipe.toml", data, base=BASE)


def weights(run):
    return (checkpoints(run)[-1] / "model.safetensors").read_bytes()


def test_several_teachers(teachers, recipe, tmp_path):
    first, second = teachers
    entrain("distill", first, recipe, "--teacher", second, "--weight", 1, "--run", tmp_path / "both")
    entrain("distill", first, recipe, "--weight", 1, "--run", tmp_path / "one")
    assert steps(tmp_path / "both")[-1]["loss"] < steps(tmp_path / "both")[0]["loss"]
    assert weights(tmp_path / "both") != weights(tmp_path / "one")
    assert steps(tmp_path / "both")[-1]["flops"] > steps(tmp_path / "one")[-1]["flops"]
    entrain("train", tmp_path / "both" / "config.toml", "--run", tmp_path / "both", "--resume")  # the recipe holds all of it
    both = write_recipe(tmp_path / "both.toml", "data", {"distill.teacher": str(first), "distill.teachers": [str(second)]})
    check_error(entrain("train", both, "--run", tmp_path / "x", code=2), ["distill.teacher", "distill.teachers"])
    assert not (tmp_path / "x").exists()


def test_chain(teachers, recipe, tmp_path):
    """Killed in its second generation and resumed, a chain ends with the same bytes; each generation is taught by the one before."""
    arguments = ("distill", teachers[0], recipe, "--chain", 3, "--set", "budget.steps=300", "--set", "checkpoint.every=50")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    done = entrain(*arguments, "--run", "whole", cwd=tmp_path)
    assert re.findall(r"generation (\d) of 3: done", done.stderr.decode()) == ["1", "2", "3"]
    assert sorted(path.name for path in whole.iterdir()) == ["generation-1", "generation-2", "generation-3"]
    for g, teacher in ((1, str(teachers[0])), (2, "whole/generation-1"), (3, "whole/generation-2")):
        config = (whole / f"generation-{g}" / "config.toml").read_text()
        assert f'teacher = "{teacher}"' in config and f"\nseed = {g}\n" in config
    assert len({weights(whole / f"generation-{g}") for g in (1, 2, 3)}) == 3
    process = subprocess.Popen([ENTRAIN, *map(str, arguments), "--run", "killed"], cwd=tmp_path, stderr=subprocess.PIPE)
    lines = killed / "generation-2" / "metrics.jsonl"
    while process.poll() is None and not (lines.exists() and lines.read_bytes().count(b"\n") > 60):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "the run ended before it was killed"
    assert not (killed / "generation-3").exists()
    check_error(entrain(*arguments, "--run", killed, code=2), "exists already", hint="--resume")
    entrain(*arguments, "--run", "killed", "--resume", cwd=tmp_path)
    for g in (1, 2, 3):
        assert weights(killed / f"generation-{g}") == weights(whole / f"generation-{g}")
        assert metrics(killed / f"generation-{g}") == metrics(whole / f"generation-{g}")
    assert leftovers(killed) == []
    check_error(entrain(*arguments, "--run", tmp_path / "none", "--resume", code=2), "no run to resume")


def test_loss_after(data, tmp_path):
    plain, after = (write_recipe(tmp_path / f"{name}.toml", data, values, base=BASE) for name, values in (("plain", {}), ("after", {"data.loss_after": ["."]})))
    for recipe in (plain, after):
        entrain("train", recipe, "--run", tmp_path / recipe.stem)
    assert weights(tmp_path / "plain") != weights(tmp_path / "after")
    for bad, words in (([" = "], '" = "'), ([""], '""'), (["a", "the of and"], '"the of and"')):
        recipe = write_recipe(tmp_path / "bad.toml", data, {"data.loss_after": bad}, base=BASE)
        check_error(entrain("train", recipe, "--run", tmp_path / "x", code=2), ["data.loss_after", words])
    assert not (tmp_path / "x").exists()


def test_draft(teachers, data, texts, tmp_path):
    draft, target = teachers
    plain = entrain("generate", target, "--prompt", "The ", "--tokens", 40, "--temperature", 0, "--json")
    assert plain.stderr == b""
    greedy = entrain("generate", target, "--prompt", "The ", "--tokens", 40, "--temperature", 0, "--json", "--draft", draft, "--draft-tokens", 3)
    assert json.loads(greedy.stdout) == json.loads(plain.stdout)
    accepted, proposed, percent, passes, tokens = re.fullmatch(
        r"draft: (\d+) of (\d+) proposed tokens accepted \(([\d.]+) %\), (\d+) passes of the model for (\d+) tokens\n", greedy.stderr.decode()).groups()
    assert abs(100 * int(accepted) / int(proposed) - float(percent)) < 0.06 and int(tokens) == len(json.loads(plain.stdout)["ids"]) and int(passes) <= int(tokens) + 1
    own = entrain("generate", target, "--prompt", "The ", "--tokens", 40, "--draft", target).stderr.decode()
    assert "(100.0 %), 8 passes of the model for 40 tokens" in own or int(re.search(r"for (\d+) tokens", own)[1]) < 40
    entrain("tokenizer", "train", "--text", texts / "00.txt", "--vocab-size", 512, "--out", tmp_path / "t.json")
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    for name in ("config.json", "model.safetensors"):
        (stranger / name).write_bytes((checkpoints(draft)[-1] / name).read_bytes())
    (stranger / "tokenizer.json").write_bytes((tmp_path / "t.json").read_bytes())
    check_error(entrain("generate", target, "--prompt", "a", "--draft", stranger, code=3), "another tokenizer")
    check_error(entrain("generate", target, "--prompt", "a", "--draft", tmp_path / "nowhere", code=2), "nowhere")
