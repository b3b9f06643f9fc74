"""Interrupted and killed runs: `--resume` ends with the same bytes as a run that was left alone."""

import json
import random
import signal
import subprocess
import time

import pytest
from program import ENTRAIN, checkpoints, entrain, leftovers, metrics, write_recipe

# A hard switch of the objective half-way, several epochs of a small text, dropout and Muon: all state a run can have.
METHODS = {
    "model.family": "qwen3", "model.dropout": 0.1, "optimizer.name": "muon", "optimizer.lr": 3e-3, "evaluation.every": 37,
    "evaluation.prompt": "The", "evaluation.sample_tokens": 8, "superposition.mode": "full", "superposition.bag": 3, "superposition.ratio": 0.5,
}


def start(recipe, run, *options):
    return subprocess.Popen([ENTRAIN, "train", str(recipe), "--run", str(run), *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for_lines(process, run, n_lines):
    """Until metrics.jsonl has so many lines; False if the process ended before."""
    path = run / "metrics.jsonl"
    while process.poll() is None:
        if path.exists() and path.read_bytes().count(b"\n") >= n_lines:
            return True
        time.sleep(0.0005)
    return False


def outcome(run):
    """All that training determines: weights, optimizer, state but for the clock, metrics, samples, configuration."""
    last = checkpoints(run)[-1]
    state = json.loads((last / "state.json").read_text())
    state.pop("seconds")
    return {
        "checkpoint": last.name, "model": (last / "model.safetensors").read_bytes(), "optimizer": (last / "optimizer.safetensors").read_bytes(),
        "state": state, "metrics": metrics(run), "config": (run / "config.toml").read_text(), "samples": (run / "samples.txt").read_bytes(),
    }


def check_same(run, whole):
    ours = outcome(run)
    for part, expected in whole.items():
        assert ours[part] == expected, f"{part} differs"
    assert leftovers(run) == []


@pytest.fixture(scope="module")
def long_recipe(small_data, tmp_path_factory):
    # About 3 ms a step, so that a signal sent at a step finds the run still at it.
    values = {**METHODS, "model.width": 64, "model.context": 32, "train.rows": 4, "budget.steps": 900, "checkpoint.every": 40, "checkpoint.keep": 2}
    return write_recipe(tmp_path_factory.mktemp("long") / "recipe.toml", small_data, values)


@pytest.fixture(scope="module")
def whole(long_recipe, small_data, tmp_path_factory):
    """The run that was left alone."""
    run = tmp_path_factory.mktemp("whole") / "run"
    entrain("train", long_recipe, "--run", run)
    result = outcome(run)
    n_tokens = json.loads((small_data / "data.json").read_text())["train"]["tokens"]
    losses = [record for record in result["metrics"] if "loss" in record]
    assert losses[-1]["raw_tokens"] > 2 * n_tokens  # epochs change on the way
    assert [r["bag"] for r in losses] == [3] * 450 + [1] * 450
    return result


def test_equal_runs_are_equal(long_recipe, whole, tmp_path):
    entrain("train", long_recipe, "--run", tmp_path / "run")
    check_same(tmp_path / "run", whole)


@pytest.mark.parametrize("sent,seed", [(signal.SIGINT, 1), (signal.SIGTERM, 1), (signal.SIGHUP, 1), (signal.SIGKILL, 1), (signal.SIGKILL, 2)])
def test_stop_and_resume(sent, seed, long_recipe, whole, tmp_path):
    run = tmp_path / "run"
    rng = random.Random(f"{sent} {seed}")
    moments = [rng.randrange(2, 450), rng.randrange(460, 530)]  # before and after the switch, and far enough from the end for a slow machine
    stopped_at = []
    for i, moment in enumerate(moments):
        process = start(long_recipe, run, *["--resume"][:i])
        assert wait_for_lines(process, run, moment), process.communicate()[1].decode()
        process.send_signal(sent)
        _, message = process.communicate(timeout=60)
        if sent == signal.SIGKILL:
            assert process.returncode == -signal.SIGKILL
        else:
            assert process.returncode == 130, message.decode()
            saved = checkpoints(run)[-1]
            assert str(saved) in message.decode() and "--resume" in message.decode()
            # It stopped at the end of that step: the checkpoint is of the last line of the log.
            assert int(saved.name.removeprefix("step-")) == metrics(run)[-1]["step"] < 900
        stopped_at.append(metrics(run)[-1]["step"])
    done = entrain("train", long_recipe, "--run", run, "--resume")
    assert b"resumed at step" in done.stderr
    print(f"{signal.Signals(sent).name} at steps {stopped_at}")
    check_same(run, whole)


def test_resume_of_a_finished_run_changes_nothing(long_recipe, whole, tmp_path):
    run = tmp_path / "run"
    entrain("train", long_recipe, "--run", run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    entrain("train", long_recipe, "--run", run, "--resume")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_third_interrupt_does_not_wait(long_recipe, whole, tmp_path):
    """Repeated Ctrl-C ends the program with 130 whatever it is doing; the run still resumes."""
    run = tmp_path / "run"
    process = start(long_recipe, run)
    assert wait_for_lines(process, run, 60)
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(0.0002)
    process.communicate(timeout=60)
    assert process.returncode == 130
    entrain("train", long_recipe, "--run", run, "--resume")
    check_same(run, whole)


def test_killed_while_saving(small_data, tmp_path):
    """25 kills of a run that saves after every step: whatever they leave behind, the next start goes on from a whole checkpoint."""
    n_kills = 25
    # More steps than the kills can use up; the last start runs to the end.
    values = {**METHODS, "budget.steps": 240, "checkpoint.every": 1, "checkpoint.keep": 1}
    recipe = write_recipe(tmp_path / "recipe.toml", small_data, values)
    entrain("train", recipe, "--set", "checkpoint.every=0", "--run", tmp_path / "whole")
    whole = outcome(tmp_path / "whole")
    del whole["config"]  # differs in checkpoint.every
    run = tmp_path / "run"
    rng = random.Random(5)
    seen_unfinished, reached = 0, []
    for kill in range(n_kills):
        process = start(recipe, run, *(["--resume"] if kill else []))
        before = metrics(run)[-1]["step"] if kill else 0
        assert wait_for_lines(process, run, before_lines(run) + rng.randrange(1, 7)), (before, process.communicate()[1].decode())
        time.sleep(rng.random() * 0.008)
        process.kill()
        process.communicate()
        seen_unfinished += bool(leftovers(run))
        reached.append(metrics(run)[-1]["step"])
    done = entrain("train", recipe, "--run", run, "--resume")
    assert b"damaged" not in done.stderr
    print(f"{n_kills} kills, {seen_unfinished} of them inside a save, at steps {reached}")
    assert seen_unfinished > n_kills // 5
    check_same(run, whole)


def before_lines(run):
    path = run / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0
