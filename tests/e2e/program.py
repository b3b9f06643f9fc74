"""Runs the built program; what every test of it needs. ENTRAIN names it, build/entrain by default."""

import json
import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENTRAIN = os.environ.get("ENTRAIN", str(ROOT / "build" / "entrain"))
DUMP = str(Path(ENTRAIN).with_name("e2e_dump"))  # tests/e2e/dump.cpp, built beside the program

# A model that takes a millisecond a step.
TINY = {
    "model.width": 16, "model.layers": 1, "model.heads": 2, "model.context": 16, "train.rows": 2, "train.threads": 1,
    "optimizer.lr": 1e-2, "budget.steps": 4, "evaluation.every": 0, "evaluation.tokens": 512,
}


def entrain(*arguments, stdin=b"", code=0, program=ENTRAIN, **options):
    """The finished process, after checking its exit code; stdout and stderr are bytes."""
    done = subprocess.run([program, *map(str, arguments)], input=stdin, capture_output=True, **options)
    assert done.returncode == code, f"exit code {done.returncode}, expected {code}\n{done.stderr.decode(errors='replace')}"
    return done


def write_recipe(path, data, values=None, arms=None, base=TINY):
    """Dotted keys to a recipe file; arms: {name: {key: value}}."""
    values = {"data.path": str(data), **base, **(values or {})}
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    for name, overrides in (arms or {}).items():
        lines += [f"\n[arms.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in overrides.items())]
    path.write_text("\n".join(lines) + "\n")
    return path


def checkpoints(run):
    return sorted((Path(run) / "checkpoints").glob("step-*"))


def metrics(run):
    """Lines of metrics.jsonl without what differs between equal runs."""
    records = [json.loads(line) for line in (Path(run) / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in record.items() if key != "seconds"} for record in records]


def steps(run):
    return [record for record in metrics(run) if "loss" in record]


def leftovers(folder):
    """Files and folders that an unfinished write would leave behind."""
    return [path for path in Path(folder).rglob("*") if ".partial-" in path.name or path.name.startswith(".writing-")]


def check_error(done, words, hint=None):
    """One message on standard error, `error: ...` with an optional `hint: ...`; names what it is about; nothing on standard output."""
    text = done.stderr.decode(errors="replace")
    assert text.startswith("error: "), text
    assert len(re.findall(r"^error:", text, re.M)) == 1, text
    for word in [words] if isinstance(words, str) else words:
        assert word in text, f"{word!r} is not in\n{text}"
    if hint is not None:
        lines = [line for line in text.splitlines() if line.startswith("hint: ")]
        assert len(lines) == 1 and hint in lines[0], text
    for internal in ("c10", "Exception raised from", "basic_string", "std::", "Aborted", "what():"):
        assert internal not in text, text
    assert done.stdout == b""
