#!/usr/bin/env python3
"""What the entanglement layer costs a training step: the same model with and without it on one block, 1,024 positions a step, in turn.

    bench/entanglement_step.py [--rounds 3] [--steps 24] [--data data/sword-1k]

Prints Markdown. The figure to quote is the ratio of processor time a step (user time, so that a busy machine matters little), round by
round; the bar is 1.03 a tapped block.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECIPE = """
[data]
path = "{data}"
[model]
family = "qwen3"
width = 256
layers = 6
heads = 8
context = 256
vocab_size = 4096
[train]
rows = 4
threads = {threads}
[optimizer]
name = "muon"
[budget]
steps = 1
[evaluation]
every = 0
tokens = 1024
[checkpoint]
every = 0
keep = 1
[entanglement]
warmup = 0.0
monitor_every = 0
"""
ARMS = {"plain": [], "default, exact pairs": ["entanglement.mode=side"], "random features": ["entanglement.mode=side", "entanglement.pairs=random_features"],
        "same_token": ["entanglement.mode=side", "entanglement.positives=same_token"]}


def processor_seconds(program, recipe, settings, steps, run):
    """User time of one training run."""
    arguments = [part for setting in [*settings, f"budget.steps={steps}"] for part in ("--set", setting)]
    child = subprocess.Popen([program, "train", recipe, *arguments, "--run", run], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"{program} failed with {settings}")
    return usage.ru_utime


def step_seconds(program, recipe, settings, steps, folder):
    """Of a step after the first quarter: what `steps` steps cost more than a quarter of them."""
    few = steps // 4
    return (processor_seconds(program, recipe, settings, steps, folder / "many") - processor_seconds(program, recipe, settings, few, folder / "few")) / (steps - few)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "sword-1k", help="folder written by entrain data prepare")
    parser.add_argument("--program", default=ROOT / "build" / "entrain")
    options = parser.parse_args()
    if not options.data.exists():
        print(f"skipped: {options.data} is not there; entrain data fetch and prepare bring it (recipes/lab/entanglement-one-epoch.toml says how)")
        return
    times = {arm: [] for arm in ARMS}
    with tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder) / "recipe.toml"
        recipe.write_text(RECIPE.format(data=options.data.resolve(), threads=options.threads))
        for number in range(options.rounds):
            for place, (arm, settings) in enumerate(ARMS.items()):
                times[arm].append(step_seconds(options.program, recipe, settings, options.steps, Path(folder) / f"{number}-{place}"))
    print(f"C = 256, L = 6, V = 4,096, 4 x 256 positions, one block tapped, {options.threads} thread(s); load {os.getloadavg()[0]:.1f}\n")
    print("| layer | ms a step | against plain, round by round | median |\n| --- | --- | --- | --- |")
    for arm, seconds in times.items():
        ratios = [a / b for a, b in zip(seconds, times["plain"])]
        print(f"| {arm} | {1000 * statistics.median(seconds):.1f} | {' '.join(f'{ratio:.3f}' for ratio in ratios)} | {statistics.median(ratios):.3f} |")


if __name__ == "__main__":
    main()
