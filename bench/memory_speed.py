"""What a memory adds to a training step: the same model with memory.rows = 0 and with a million rows, in turn.

    .venv/bin/python bench/memory_speed.py [--rows 1000000] [--rounds 5] [--steps 60] [--threads 2] [--program build/entrain]

C=128 L=3 T=256 B=16 V=4096, bigrams and trigrams of width 128 into the residual stream of block 0, random text (so hardly any n-gram comes
again and rows lie anywhere: the hardest case). A process of its own each time; the figure is the ratio of the medians of all steps but
the first third, in which pages of the tables are touched for the first time; that of those first steps is printed too.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path

from peer_training import ROOT, write_data

SHAPE = {"model.width": 128, "model.layers": 3, "model.heads": 4, "model.context": 256, "model.vocab_size": 4096, "train.rows": 16, "evaluation.every": 0,
         "evaluation.tokens": 4096, "checkpoint.every": 0}


def step_seconds(folder, name, rows, arguments):
    values = {**SHAPE, "data.path": str(folder / "data"), "train.threads": arguments.threads, "budget.steps": arguments.steps, "memory.rows": rows}
    recipe, run = folder / f"{name}.toml", folder / name
    recipe.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
    subprocess.run([arguments.program, "train", str(recipe), "--run", str(run)], check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": str(arguments.threads)})
    totals = [record["seconds"] for record in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()) if "loss" in record]
    shutil.rmtree(run)
    return [b - a for a, b in zip(totals, totals[1:])]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default=os.environ.get("ENTRAIN", str(ROOT / "build" / "entrain")))
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    first = arguments.steps // 3
    early, late = {0: [], arguments.rows: []}, {0: [], arguments.rows: []}
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_data(folder, arguments.program, 4096, 400_000)
        for i in range(arguments.rounds):
            for rows in (0, arguments.rows):
                seconds = step_seconds(folder, f"run-{rows}-{i}", rows, arguments)
                early[rows] += seconds[:first]
                late[rows] += seconds[first:]
            print(f"round {i + 1}: {', '.join(f'{rows} rows {statistics.median(late[rows]) * 1e3:.1f} ms' for rows in late)}", flush=True)
    print(f"\n{arguments.threads} threads, load average before: {load:.1f}\n\n| steps | no memory, ms | {arguments.rows:,} rows, ms | ratio of medians | ratio of the fastest tenth |\n| --- | --- | --- | --- | --- |")
    for name, seconds in (("the first third", early), ("the others", late)):
        plain, memory = (statistics.median(seconds[rows]) for rows in (0, arguments.rows))
        fast = [statistics.quantiles(seconds[rows], n=10)[0] for rows in (0, arguments.rows)]
        print(f"| {name} | {plain * 1e3:.1f} | {memory * 1e3:.1f} | **{memory / plain:.3f}** | {fast[1] / fast[0]:.3f} |")


if __name__ == "__main__":
    main()
