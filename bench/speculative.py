"""Tokens per second with a draft model and without: `entrain generate` and `entrain generate --draft`, in turn.

    .venv/bin/python bench/speculative.py [--draft RUN --target RUN] [--data data/sword-1k] [--draft-tokens 1 2 4 8] [--temperatures 1 0]
                                          [--rounds 9] [--tokens 200] [--threads 1] [--program build/entrain]

Prints Markdown. Without --draft and --target it trains both on --data first, some minutes: C=64 L=1 and C=256 L=6, T=128, by the rates of recipes/small.toml. In every round each way
continues the same prompt, a process of its own; its seconds are those of the whole process less those of one that loads the models and writes
nothing (the median of all rounds). The figure is the median over rounds of the ratio of tokens per second, with the lowest and the highest; below 1
the draft costs more than it saves.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TRAINING = {"train.rows": 8, "model.context": 128, "model.family": "qwen3", "evaluation.every": 0, "evaluation.tokens": 20000, "checkpoint.every": 0, "schedule.name": "wsd", "schedule.decay": 0.5, "optimizer.name": "muon", "optimizer.lr": 1e-2, "optimizer.muon_lr": 0.02}
MODELS = {
    "draft": {"model.width": 64, "model.layers": 1, "model.heads": 4, "budget.steps": 400},
    "target": {"model.width": 256, "model.layers": 6, "model.heads": 8, "budget.steps": 600},
}
PROMPTS = ["In the beginning", "The king said", "It was a cold night and", "And he went", "There is no reason"]


def train(name, folder, arguments):
    values = {**TRAINING, **MODELS[name], "data.path": arguments.data}
    recipe = folder / f"{name}.toml"
    recipe.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
    start = time.perf_counter()
    subprocess.run([arguments.program, "train", str(recipe), "--run", str(folder / name)], check=True, capture_output=True)
    last = [json.loads(line) for line in (folder / name / "metrics.jsonl").read_text().splitlines()][-1]
    print(f"{name}: {time.perf_counter() - start:.0f} s of training, {last['validation_nats_per_token']:.3f} held-out nats/token", flush=True)
    return folder / name


def generate(arguments, prompt, n_tokens, temperature, seed, n_draft):
    """Seconds, tokens, proposed, accepted. n_draft 0: no draft."""
    command = [arguments.program, "generate", str(arguments.target), "--prompt", prompt, "--tokens", str(n_tokens), "--temperature", str(temperature), "--seed", str(seed), "--json"]
    if n_draft:
        command += ["--draft", str(arguments.draft), "--draft-tokens", str(n_draft)]
    start = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": str(arguments.threads)})
    seconds = time.perf_counter() - start
    found = re.search(rb"draft: (\d+) of (\d+) proposed", done.stderr)
    accepted, proposed = (int(found[1]), int(found[2])) if found else (0, 0)
    return seconds, len(json.loads(done.stdout)["ids"]), proposed, accepted


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default=os.environ.get("ENTRAIN", str(ROOT / "build" / "entrain")))
    parser.add_argument("--draft")
    parser.add_argument("--target")
    parser.add_argument("--data", default=str(ROOT / "data" / "sword-1k"))
    parser.add_argument("--draft-tokens", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--temperatures", type=float, nargs="+", default=[1.0, 0.0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in MODELS:
            if getattr(arguments, name) is None:
                setattr(arguments, name, train(name, Path(folder), arguments))
        print(f"\n{arguments.threads} threads, load average before: {os.getloadavg()[0]:.1f}; {arguments.rounds} rounds of {arguments.tokens} tokens\n")
        print("| temperature | tokens proposed at a time | accepted | tokens/s with the draft | tokens/s without | ratio |\n| --- | --- | --- | --- | --- | --- |")
        ways = [0, *arguments.draft_tokens]
        for temperature in arguments.temperatures:
            empty, rounds = {0: [], 1: []}, {way: [] for way in ways}
            for i in range(arguments.rounds):
                prompt = PROMPTS[i % len(PROMPTS)]
                for with_draft in empty:
                    empty[with_draft].append(generate(arguments, prompt, 0, temperature, i, with_draft)[0])
                for way in ways:
                    rounds[way].append(generate(arguments, prompt, arguments.tokens, temperature, i, way))
            loading = {way: statistics.median(empty[min(way, 1)]) for way in ways}
            if any(one[0] < 1.5 * loading[way] for way in ways for one in rounds[way]):
                raise SystemExit("writing takes hardly longer than loading, so the difference says little: raise --tokens")
            speeds = {way: [tokens / (seconds - loading[way]) for seconds, tokens, _, _ in rounds[way]] for way in ways}
            for way in arguments.draft_tokens:
                ratios = [ours / plain for ours, plain in zip(speeds[way], speeds[0])]
                accepted = sum(one[3] for one in rounds[way]) / max(sum(one[2] for one in rounds[way]), 1)
                print(f"| {temperature:g} | {way} | {100 * accepted:.0f} % | {statistics.median(speeds[way]):.0f} | {statistics.median(speeds[0]):.0f} | "
                      f"**{statistics.median(ratios):.2f}** ({min(ratios):.2f} to {max(ratios):.2f}) |", flush=True)


if __name__ == "__main__":
    main()
