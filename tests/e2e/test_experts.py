"""`entrain experts` as a user calls it: task items, a pool trained, killed and gone on with, its tables, one question, the predictions, and every mistake said clearly."""

import json
import shutil
import signal
import subprocess
import time
from xml.etree import ElementTree

import pytest
from program import ENTRAIN, check_error, entrain, leftovers

USAGE, DATA = 2, 3

POOL = {
    "pool": {"families": ["chains", "boolean", "tools"], "depth": 2, "train_items": 90, "awareness_items": 80, "tune_items": 40, "test_items": 80, "vocab_size": 640, "lambda": 0.1},
    "experts.quick": {"model.layers": 1},
    "experts.balanced": {"scratchpad": 0.3, "model.layers": 2},
    "experts.able": {"scratchpad": 0.7, "answers": "scratchpad", "model.layers": 2, "model.mlp_width": 48},
    "model": {"width": 16, "heads": 2, "mlp_width": 24, "context": 64},
    "train": {"rows": 2}, "budget": {"steps": 6}, "evaluation": {"every": 0, "tokens": 256}, "checkpoint": {"every": 0, "keep": 1},
    "observation": {"rounds": 1, "width": 8, "heads": 2, "mlp_width": 8, "rows": 4, "steps": 4},
}


def write(path, changes=None):
    """POOL as TOML; changes: {"table.key": value}, None takes the key out."""
    pool = {table: dict(keys) for table, keys in POOL.items()}
    for path_of, value in (changes or {}).items():
        table = next((name for name in sorted(pool, key=len, reverse=True) if path_of.startswith(name + ".")), path_of.rsplit(".", 1)[0])
        pool.setdefault(table, {})[path_of[len(table) + 1:]] = value
    lines = []
    for table, keys in pool.items():
        lines += [f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items() if value is not None)]
    path.write_text("\n".join(lines) + "\n")
    return path


def result(folder, run=1):
    """Without what differs between equal runs."""
    found = json.loads((folder / f"run-{run:02}/result.json").read_text())
    for expert in found["experts"]:
        expert.pop("latency")
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("experts")
    recipe = write(folder / "POOL.toml")
    done = entrain("experts", "train", recipe, "--out", folder / "out")
    assert done.stdout == b"" and b"training quick" in done.stderr and b"done" in done.stderr
    return recipe, folder / "out"


def test_tasks_are_written(tmp_path):
    arguments = ("experts", "tasks", "--family", "chains", "--depth", 2, "--n", 10, "--seed", 1, "--split", "test", "--out")
    entrain(*arguments, tmp_path / "a.jsonl")
    entrain(*arguments, tmp_path / "b.jsonl")
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes() and leftovers(tmp_path) == []
    about, *items = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert (about["n_items"], about["family"], about["split"], about["seed"]) == (10, "chains", "test", 1) and len(items) == 10
    for item in items:
        assert item["family"] == "chains" and item["depth"] == 2 and item["answer"] in "●◑⊥" and item["symbolic"] and item["english"]
    shown = entrain("experts", "tasks", "--family", "chains", "--depth", 2, "--n", 3).stdout.decode().splitlines()
    assert len(shown) == 3 and all(line.startswith("chains 2\t") for line in shown)


def test_tasks_are_checked():
    lines = entrain("experts", "tasks", "--check", "--n", 500, "--family", "chains").stdout.decode().splitlines()
    assert lines[0].split()[:2] == ["family", "items"] and lines[1].split()[0] == "chains"
    assert lines[1].split()[3:5] == ["0", "0"], "both solvers agree, no structure is in two splits"


def test_every_family_is_checked_at_full_size():
    _, *lines = entrain("experts", "tasks", "--check").stdout.decode().splitlines()
    assert [line.split()[0] for line in lines] == ["chains", "boolean", "order", "quantifiers", "sets", "arithmetic", "consistency", "listops", "tools", "relay", "keyvalue"]
    for line in lines:
        _, n_items, n_distinct, n_mismatches, n_overlapping = line.split()[:5]
        assert int(n_items) >= 10000 and int(n_distinct) > 0.9 * int(n_items) and (n_mismatches, n_overlapping) == ("0", "0"), line
        assert float(line.rsplit(":", 1)[1].split()[0]) <= 2, f"a shortcut beats chance: {line}"


def test_smoke():
    assert len(entrain("experts", "tasks", "--smoke").stdout.decode().strip().splitlines()) >= 27


def test_parts_of_a_pool(trained):
    _, out = trained
    assert leftovers(out) == []
    for part in ("pool.toml", "tokenizer.json", "run-01/heads.safetensors", "run-01/observation.safetensors", "run-01/result.json", "run-01/data/quick/data.json"):
        assert (out / part).exists(), part
    found = result(out)
    assert found["names"] == ["quick", "balanced", "able"] and len(found["disagreement"]["depth"]) == 80
    assert set(found["disagreement"]["families"]) == {"chains", "boolean"}, "tools have no single answer"


def test_eval(trained):
    _, out = trained
    for mode in ("select", "blend"):
        summary = json.loads(entrain("experts", "eval", out, "--mode", mode, "--json").stdout)
        assert summary["runs"] == 1 and [expert["name"] for expert in summary["experts"]] == ["quick", "balanced", "able"]
        methods = {method["name"]: method for method in summary["methods"]}
        assert methods["oracle"]["accuracy"] >= max(methods[f"always {name}"]["accuracy"] for name in ("quick", "balanced", "able"))
        assert ("coordinator" in methods) == (mode == "select") and ("blend, fixed weights" in methods) == (mode == "blend")
        table = entrain("experts", "eval", out, "--mode", mode).stdout.decode()
        assert "| oracle |" in table and "| quick |" in table


def test_accuracy_against_cost(trained, tmp_path):
    _, out = trained
    curves = json.loads(entrain("experts", "eval", out, "--figure", tmp_path / "curves.svg", "--json").stdout)["curves"]
    assert set(curves) == {"oracle", "coordinator", "nearest neighbours", "cascade on entropy", "fixed rule, tuned"} and leftovers(tmp_path) == []
    for points in curves.values():
        assert [point["lambda"] for point in points] == sorted({point["lambda"] for point in points}) and all(0 <= point["accuracy"] <= 1 for point in points)
    texts = " ".join(ElementTree.parse(tmp_path / "curves.svg").getroot().itertext())
    assert all(name in texts for name in [*curves, "always quick", "right answers"])


def test_iterate(trained):
    _, out = trained
    arms = json.loads(entrain("experts", "eval", out, "--mode", "iterate", "--n", 6, "--json").stdout)
    assert [arm["who"] for arm in arms] == ["always quick", "always balanced", "always able", "random", "coordinator"]
    for arm in arms:
        assert arm["n"] == 6 and 0 <= arm["solved"] <= 1 and len(arm["shares"]) == 3
    assert arms[1]["shares"] == [0, 1, 0]


def test_trace(trained, tmp_path):
    _, out = trained
    file = tmp_path / "trace.json"
    made = json.loads(entrain("experts", "trace", out, "--item", 3, "--who", "able", "--out", file, "--json").stdout)
    assert made["holds"] and {step["expert"] for step in made["trace"]["steps"]} == {"able"}
    read = entrain("experts", "trace", file).stdout.decode()
    assert "step 0: able" in read and "every observation and the answer hold" in read
    chosen = json.loads(entrain("experts", "trace", out, "--item", 3, "--json").stdout)["trace"]
    assert chosen["steps"][0]["scores"] and chosen["item"] == made["trace"]["item"]
    check_error(entrain("experts", "trace", out, "--who", "nobody", code=USAGE), "nobody", "coordinator")
    check_error(entrain("experts", "trace", out, "--item", 501, code=USAGE), ["501", "500"])


def test_tools_alone(tmp_path):
    recipe = write(tmp_path / "POOL.toml", {"pool.families": ["tools"], "observation.steps": 0})
    entrain("experts", "train", recipe, "--out", tmp_path / "out")
    assert [arm["who"] for arm in json.loads(entrain("experts", "eval", tmp_path / "out", "--mode", "iterate", "--n", 4, "--json").stdout)][:3] == ["always quick", "always balanced", "always able"]


def test_ask(trained):
    _, out = trained
    question = entrain("experts", "tasks", "--family", "boolean", "--depth", 1, "--n", 1, "--surface", "symbolic").stdout.decode().split("\t")[1].split(" = ")[0]
    asked = json.loads(entrain("experts", "ask", out, question, "--json").stdout)
    assert asked["answer"] in "●◑⊥0123456789" and asked["answered_by"] in ("quick", "balanced", "able")
    assert sum(asked["probabilities"]) == pytest.approx(1) and all(0 <= value <= 1 for value in asked["heads"].values())
    assert asked["flops"] > 0 and len(asked["experts"]) == 3 and asked["written"]
    for expert in asked["experts"]:
        assert expert["value"] == pytest.approx(expert["p_correct"] - 0.1 * expert["relative_cost"])
    best = max(asked["experts"], key=lambda expert: expert["value"])
    assert asked["answered_by"] == best["name"]
    frugal = json.loads(entrain("experts", "ask", out, question, "--lambda", 1000, "--json").stdout)
    assert frugal["answered_by"] == min(frugal["experts"], key=lambda expert: expert["relative_cost"])["name"]
    blended = entrain("experts", "ask", out, question, "--mode", "blend")
    assert blended.stdout.decode().strip() in "●◑⊥0123456789" and b"averaged" in blended.stderr


def test_predictions(trained):
    _, out = trained
    found = json.loads(entrain("experts", "predictions", out, "--json").stdout)
    assert found["runs"] == 1 and [one["verdict"] for one in found["predictions"]] == ["not tested"] * 4
    assert entrain("experts", "predictions", out).stdout.decode().count("**not tested**") == 4


def test_three_runs_are_decided(trained, tmp_path):
    """From result.json alone, as it is committed."""
    _, out = trained
    for run in (1, 2, 3):
        (tmp_path / f"run-{run:02}").mkdir()
        shutil.copy(out / "run-01/result.json", tmp_path / f"run-{run:02}/result.json")
    found = json.loads(entrain("experts", "predictions", tmp_path, "--json").stdout)
    assert found["runs"] == 3 and "supported" not in [one["verdict"] for one in found["predictions"]], "three runs reach no p below 0.25"


def test_kill_and_go_on(trained, tmp_path):
    recipe, whole = trained
    out = tmp_path / "out"
    command = ("experts", "train", recipe, "--out", out, "--set", "observation.steps=0")
    marks = ("run-01/data/balanced/data.json", "run-01/experts/able/config.toml", "run-01/heads.safetensors")
    for mark in marks:
        process = subprocess.Popen([ENTRAIN, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not (out / mark).exists():
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (out / mark).exists()
    entrain(*command)
    unbroken = result(whole)
    assert {"controls", "self_knowledge", "causal_depth"} <= unbroken.pop("observation").keys()
    assert result(out) == unbroken


def test_training_again_does_nothing(trained):
    recipe, out = trained
    before = (out / "run-01/result.json").stat().st_mtime_ns
    entrain("experts", "train", recipe, "--out", out)
    assert (out / "run-01/result.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("changes,words", [
    ({"pool.famlies": ["chains"], "pool.depth": 0}, ["famlies", "did you mean pool.families?", "pool.depth"]),
    ({"pool.families": ["chians"]}, ["did you mean chains?"]),
    ({"pool.shares": [0.5, 0.5]}, ["2 values for 3 experts"]),
    ({"experts.able.scratchpad": None}, ["experts.able", "never learns one"]),
    ({"experts.quick.model.layrs": 3, "observation.mode": "stare"}, ["model.layrs", "observation.mode"]),
])
def test_bad_recipes(changes, words, tmp_path):
    check_error(entrain("experts", "train", write(tmp_path / "POOL.toml", changes), "--out", tmp_path / "out", code=USAGE), words)
    assert not (tmp_path / "out").exists()


def test_bad_surroundings(trained, tmp_path):
    recipe, out = trained
    check_error(entrain("experts", "train", recipe, "--out", out, "--set", "pool.depth=1", code=USAGE), "holds another pool")
    check_error(entrain("experts", "train", recipe, "--out", out, "--runs", "2", code=USAGE), "--runs 2")
    check_error(entrain("experts", "train", recipe, "--out", out, "--runs", "x", code=USAGE), "--runs x")
    check_error(entrain("experts", "eval", tmp_path / "nowhere", code=DATA), "nowhere")
    check_error(entrain("experts", "predictions", tmp_path, code=DATA), "no finished run", "experts train")
    check_error(entrain("experts", "ask", tmp_path, "x", code=USAGE), "holds no pool", "experts train")
    check_error(entrain("experts", "ask", out, "", code=USAGE), "question is empty")
    check_error(entrain("experts", "ask", out, "x", "--run", 4, code=USAGE), "run-04")
    check_error(entrain("experts", "tasks", "--family", "chians", code=USAGE), "chains")
    check_error(entrain("experts", "tasks", "--family", "chains", "--depth", 99, code=USAGE), "99")
    check_error(entrain("experts", "tasks", "--depth", "deep", code=USAGE), "no depth: deep")


def test_an_expert_is_gone(trained, tmp_path):
    _, out = trained
    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    shutil.rmtree(copy / "run-01/experts/balanced")
    check_error(entrain("experts", "ask", copy, "x", code=DATA), ["knows 3 experts, the pool has 2", "expert balanced is left out"])
    entrain("experts", "eval", copy)  # tables are made from what was written down
