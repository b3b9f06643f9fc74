"""`entrain lab`: plans, runs that are killed, results that travel, bad input."""

import csv
import io
import json
import os
import random
import shutil
import signal
import subprocess
import time

import pytest
from program import ENTRAIN, TINY, check_error, entrain, write_recipe

ARMS = {"plain": {}, "bags": {"superposition.mode": "full", "superposition.bag": 2, "superposition.ratio": 0.5}}
PLAN = {"lab.question": "Do bags help?", "lab.seeds": [1, 2], "lab.ladder": [0.5], "metrics.resamples": 200, "metrics.block_tokens": 64, "tune.method": "grid", "tune.share": 0.5,
        "tune.grid.optimizer.lr": [0.003, 0.01], "schedule.name": "linear", "budget.steps": 12, "checkpoint.every": 3}


def write_plan(path, data, values=None, arms=None):
    return write_recipe(path, data, {**PLAN, **(values or {})}, arms or ARMS)


def without_time(folder):
    """All results, as they must be whatever happened on the way."""
    results = {}
    for path in sorted((folder / "results").rglob("*.json")):
        result = json.loads(path.read_text())
        result.pop("finished_at")
        result["state"].pop("seconds")
        result["curve"]["rows"] = [row[:3] + row[4:] for row in result["curve"]["rows"]]
        results[str(path.relative_to(folder))] = result
    return results


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    plan = write_plan(folder / "plan.toml", data)
    entrain("lab", "run", plan, "--out", folder / "out")
    return plan, folder / "out"


def test_plan_prints_costs_and_freezes(data, tmp_path):
    plan = write_plan(tmp_path / "plan.toml", data)
    shown = json.loads(entrain("lab", "plan", plan, "--json").stdout)
    assert len(shown["runs"]) == 4 + 4 + 2 and shown["hash"] in (tmp_path / "plan.lock").read_text()
    main = [run for run in shown["runs"] if run["stage"] == "main"]
    assert all(run["steps"] == 12 and run["bytes"] > 1e7 and run["seconds"] > 0 for run in main)
    assert {run["flops"] for run in main} == {main[0]["flops"]} and main[1]["raw_tokens"] == 1.5 * main[0]["raw_tokens"]
    again = json.loads(entrain("lab", "plan", plan, "--json", "--no-trial").stdout)
    assert (again["hash"], again["frozen_at"]) == (shown["hash"], shown["frozen_at"])
    changed = write_plan(tmp_path / "plan.toml", data, {"decision.alpha": 0.01})
    check_error(entrain("lab", "plan", changed, "--no-trial", code=2), "froze another plan", "--amend")
    check_error(entrain("lab", "run", changed, "--out", tmp_path / "out", code=2), "froze another plan")
    assert not (tmp_path / "out").exists()


def test_run_report_status_export(finished):
    plan, out = finished
    report = json.loads(entrain("lab", "report", out, "--json").stdout)
    assert (out / "report" / "index.html").read_text().lower().startswith("<!doctype html>")
    assert [arm["arm"] for arm in report["arms"]] == ["plain", "bags"] and all(arm["tuned"] for arm in report["arms"])
    assert report["comparisons"][0]["seeds"] == 2 and report["decision"]
    status = json.loads(entrain("lab", "status", out, "--json").stdout)
    assert status["counts"] == {"done": 10}
    rows = list(csv.DictReader(io.StringIO(entrain("lab", "export", out, "--csv").stdout.decode())))
    assert len(rows) == 10 and {row["state"] for row in rows} == {"done"}
    entrain("lab", "export", out, "--csv", "--out", out.parent / "csv")
    blocks = list(csv.DictReader((out.parent / "csv" / "blocks.csv").open(newline="")))
    losses = [(float(row["nats"]), int(row["tokens"])) for row in blocks if row["run"] == "plain/seed-1"]
    assert sum(nats for nats, _ in losses) / sum(n for _, n in losses) == pytest.approx(report["arms"][0]["by_seed"]["nats_per_token"][0], rel=1e-12)


def test_again_trains_nothing_and_results_travel(finished, tmp_path):
    plan, out = finished
    for keep_database in (True, False):
        copy = tmp_path / f"copy-{keep_database}"
        copy.mkdir()
        for name in ("results", "plan.toml", "plan.lock") + (("lab.sqlite",) if keep_database else ()):
            (shutil.copytree if (out / name).is_dir() else shutil.copy)(out / name, copy / name)
        entrain("lab", "report", copy)  # a clone that holds the committed files alone can be judged
        entrain("lab", "run", copy / "plan.toml", "--out", copy)
        assert not (copy / "runs").exists()
        assert json.loads(entrain("lab", "status", copy, "--json").stdout)["counts"] == {"done": 10}
        assert without_time(copy) == without_time(out)


def test_twenty_kills_change_nothing(finished, tmp_path):
    plan, out = finished
    killed = tmp_path / "killed"
    rng = random.Random(7)
    n_kills = 0
    while n_kills < 20:
        process = subprocess.Popen([ENTRAIN, "lab", "run", str(plan), "--out", str(killed)], stderr=subprocess.DEVNULL, start_new_session=True)
        time.sleep(rng.uniform(0.05, 1.6))
        if process.poll() is None:
            n_kills += 1
            process.send_signal(signal.SIGKILL)
        process.wait()
        if process.returncode == 0:  # done before its kill: take something away and go on
            results = sorted((killed / "results").rglob("*.json"))
            victim = rng.choice(results)
            victim.unlink()
            shutil.rmtree(killed / "runs" / victim.relative_to(killed / "results").with_suffix(""))
    entrain("lab", "run", plan, "--out", killed)
    assert without_time(killed) == without_time(out)
    assert json.loads(entrain("lab", "status", killed, "--json").stdout)["counts"] == {"done": 10}
    tables = [entrain("lab", "report", folder, "--json").stdout for folder in (killed, out)]
    verdicts = [json.loads(table)["comparisons"] for table in tables]
    assert verdicts[0] == verdicts[1]


def test_a_run_that_is_stopped_while_it_starts_has_not_failed(data, finished, tmp_path):
    plan, out = finished
    for minutes in (0.001, 0.002, 0.004, 0.006):  # 60 ms and more: the run's own process is still loading its libraries
        stopped = entrain("lab", "run", plan, "--out", tmp_path / "out", "--minutes", minutes, code=130)
        assert b"FAILED" not in stopped.stderr, stopped.stderr.decode()
    assert "failed" not in json.loads(entrain("lab", "status", tmp_path / "out", "--json").stdout)["counts"]
    entrain("lab", "run", plan, "--out", tmp_path / "out")
    assert without_time(tmp_path / "out") == without_time(out)


def test_minutes_and_interrupts_stop_with_everything_saved(data, finished, tmp_path):
    plan, out = finished
    entrain("lab", "run", plan, "--out", tmp_path / "out", "--minutes", 0.005, code=130)

    def n_done():
        return len(list((tmp_path / "out" / "results").rglob("*.json")))

    before = n_done()
    process = subprocess.Popen([ENTRAIN, "lab", "run", str(plan), "--out", str(tmp_path / "out")], stderr=subprocess.DEVNULL)
    while n_done() == before and process.poll() is None:  # at the first new result of ten: most are still to come
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130 and before < n_done() < 10
    entrain("lab", "run", plan, "--out", tmp_path / "out", "--jobs", 2)
    assert {name: result["metrics"] for name, result in without_time(tmp_path / "out").items()} == {name: result["metrics"] for name, result in without_time(out).items()}


def test_another_number_of_jobs_goes_on_with_what_was_begun(data, tmp_path):
    plan, out = write_plan(tmp_path / "plan.toml", data, {"train.threads": 0, "budget.steps": 3000, "checkpoint.every": 1, "lab.seeds": [1]}), tmp_path / "out"
    entrain("lab", "run", plan, "--out", out, "--minutes", 0.05, code=130)
    begun = json.loads(next(out.rglob("job.json")).read_text())
    assert "threads = 0" in begun["recipe"] or "threads" not in begun["recipe"]
    process = subprocess.Popen([ENTRAIN, "lab", "run", str(plan), "--out", str(out), "--jobs", "2"], stderr=subprocess.PIPE, text=True)
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    errors = process.communicate()[1]
    assert process.returncode == 130 and "FAILED" not in errors, errors
    assert json.loads(next(path for path in out.rglob("job.json") if json.loads(path.read_text())["name"] == begun["name"]).read_text())["recipe"] == begun["recipe"]


def test_failed_runs_are_reported(data, tmp_path):
    arms = {"plain": {}, "wild": {"optimizer.lr": 100.0, "train.clip": 0.0, "optimizer.weight_decay": 90.0}}
    plan = write_plan(tmp_path / "plan.toml", data, {"tune.method": "none", "lab.ladder": [], "budget.steps": 60}, arms)
    text = plan.read_text().replace("tune.grid.optimizer.lr = [0.003, 0.01]\n", "")
    plan.write_text(text)
    done = entrain("lab", "run", plan, "--out", tmp_path / "out", code=4)
    assert b"FAILED" in done.stderr
    status = json.loads(entrain("lab", "status", tmp_path / "out", "--json").stdout)
    assert status["counts"] == {"done": 2, "failed": 2} and all(run["error"] for run in status["runs"] if run["state"] == "failed")
    report = json.loads(entrain("lab", "report", tmp_path / "out", "--json").stdout)
    assert any("0 of 2 seeds" in caution for caution in report["cautions"]) and "nothing can be said" in report["decision"][0]


@pytest.mark.parametrize("values, arms, words", [
    ({"lab.seeds": []}, None, "lab.seeds is empty"),
    ({"decision.metric": "bits_per_byte"}, None, "not declared"),
    ({"metrics.primary": ["loss", "piqqa.acc"]}, None, "did you mean"),
    ({}, {"plain": {}, "bags": {"superpositon.bag": 2}}, "did you mean superposition.bag"),
    ({}, {"plain": {}, "bags": {"budget.steps": 99}}, "cannot be matched"),
    ({"budget.steps": 1}, {"plain": {}, "bags": {"train.rows": 4}}, "cannot be matched"),
    ({}, {"plain": {}, "bags": {"schedule.name": "constant"}}, "full decay"),
])
def test_bad_plans_fail_before_anything_runs(data, tmp_path, values, arms, words):
    plan = write_plan(tmp_path / "plan.toml", data, values, arms)
    for verb in (("plan",), ("run", "--out", tmp_path / "out")):
        check_error(entrain("lab", verb[0], plan, *verb[1:], code=2), words)
    assert not (tmp_path / "out").exists() and not (tmp_path / "plan.lock").exists()


def test_damaged_files_have_one_clear_error(finished, tmp_path):
    plan, out = finished
    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    result = copy / "results" / "plain" / "seed-1.json"
    result.write_text(result.read_text()[:500])
    check_error(entrain("lab", "report", copy, code=3), "seed-1.json")
    (copy / "lab.sqlite").write_bytes(b"no database at all" * 100)
    check_error(entrain("lab", "status", copy, code=3), "lab.sqlite")
    check_error(entrain("lab", "status", tmp_path / "nowhere", code=2), "no experiment")
    check_error(entrain("lab", "export", tmp_path / "nowhere", "--csv", code=5), "does not exist")
