#!/usr/bin/env python3
"""The announced entanglement loss collapses: trains a small model with it and with the default loss, and draws mean cosine and effective
rank of the projected tokens over the steps.

    bench/literal_collapse.py [--data data/sword-1k] [--figure FILE.svg] [--steps 300]
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECIPE = """
[data]
path = "{data}"
[model]
family = "qwen3"
width = 64
layers = 3
heads = 4
context = 128
[train]
rows = 8
[optimizer]
name = "muon"
lr = 1e-2
[budget]
steps = {steps}
[evaluation]
every = 0
tokens = 8192
[checkpoint]
every = 0
keep = 1
[entanglement]
mode = "side"
width = 32
pairs = "exact"
weight = 1.0
warmup = 0.0
decay = 0.0
gate = "none"
monitor_every = 5
"""
ARMS = {"literal": ["entanglement.loss=literal", "entanglement.temperature=0.1"], "infonce (default)": ["entanglement.loss=infonce"]}


def figures(run):
    """[(step, {figure: value})] of the steps with a monitor's reading."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(r["step"], {key.rsplit(".", 1)[1]: value for key, value in r["figures"].items()}) for r in records if any(key.endswith("effective_rank") for key in r.get("figures", {}))]


def draw(curves, path):
    script = ["set terminal svg size 900,420 dynamic font 'sans,15' background 'white'", f"set output '{path}'", "set multiplot layout 1,2", "set xlabel 'step'", "set key center right", "set grid"]
    for title, name, scale in (("mean cosine of projected tokens", "mean_cosine", "set yrange [-0.05:1.05]"), ("effective rank (of 32)", "effective_rank", "set yrange [0:33]")):
        script += [scale, f"set title '{title}'"]
        for number, (arm, points) in enumerate(curves.items()):
            script += [f"$d{number}{name} << EOD", *(f"{step} {values[name]}" for step, values in points), "EOD"]
        script.append("plot " + ", ".join(f"$d{number}{name} with lines lw 3 title '{arm}'" for number, arm in enumerate(curves)))
    subprocess.run(["gnuplot"], input="\n".join(script).encode(), check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "sword-1k", help="folder written by entrain data prepare")
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--entrain", default=ROOT / "build" / "entrain")
    options = parser.parse_args()
    if not options.data.exists():
        print(f"skipped: {options.data} is not there; entrain data fetch and prepare bring it (recipes/lab/entanglement-one-epoch.toml says how)")
        return
    curves = {}
    with tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder) / "recipe.toml"
        recipe.write_text(RECIPE.format(data=options.data.resolve(), steps=options.steps))
        for number, (arm, settings) in enumerate(ARMS.items()):
            arguments = [part for setting in settings for part in ("--set", setting)]
            subprocess.run([options.entrain, "train", recipe, *arguments, "--run", Path(folder) / str(number)], check=True, capture_output=True)
            curves[arm] = figures(Path(folder) / str(number))
    print("| loss | step | mean cosine | effective rank | mean cosine of the states |\n| --- | --- | --- | --- | --- |")
    for arm, points in curves.items():
        for step, values in [points[0], points[len(points) // 4], points[-1]]:
            print(f"| {arm} | {step} | {values['mean_cosine']:.3f} | {values['effective_rank']:.1f} | {values['state_mean_cosine']:.3f} |")
    if options.figure:
        draw(curves, options.figure)


if __name__ == "__main__":
    main()
