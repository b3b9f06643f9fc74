"""Time and memory of sums over all pairs of n unit vectors, forward and backward, float32, against n.

exact: every pair (pair_logsumexp, O(n^2)); features: random features (feature_sum and feature_dot, O(n)); fft: pairs weighted by
distance (distance_weighted_sums, O(n log n)). Each figure comes from a process of its own. Time is the median over rounds; with one thread
it is the processor's, which other programs do not distort. Memory is the growth of the process's peak over what it was with the inputs
in place. "growth" is the time over the first row's, divided by the growth of n^2, n and n log n: 1 where the method scales as it should.
    .venv/bin/python bench/entanglement.py [--library build/libentrain_ops.so] [--rounds 5] [--threads 1] [--figure FILE.svg]
"""

import argparse
import json
import math
import pathlib
import resource
import statistics
import subprocess
import sys
import time

METHODS = {"exact": lambda n: n * n, "features": lambda n: n, "fft": lambda n: n * math.log2(n)}
LARGEST_EXACT = 16384
WIDTH, FREQUENCIES, TEMPERATURE = 64, 256, 0.5


def one_pass(method, z, frequencies, weights):
    import torch

    ops, map_ = torch.ops.entrain, "trigonometric"
    z.grad = None
    if method == "exact":
        rows = ops.pair_logsumexp(z, z, TEMPERATURE, 0)
    elif method == "features":
        rows = ops.feature_dot(z, frequencies, ops.feature_sum(z, frequencies, TEMPERATURE, map_), TEMPERATURE, map_)
    else:
        rows = ops.distance_weighted_sums(z, frequencies, weights, TEMPERATURE, map_)
    rows.sum().backward()


def measure(arguments):
    """One method at one n, in this process: prints milliseconds and MiB."""
    import torch

    torch.set_num_threads(arguments.threads)
    torch.ops.load_library(arguments.library)
    torch.manual_seed(1)

    def inputs(n):
        z = torch.randn(1, n, WIDTH)
        z.div_(z.norm(dim=-1, keepdim=True))  # in place: a copy given back would hide as much of the peak
        return z.requires_grad_(), torch.randn(FREQUENCIES, WIDTH) / TEMPERATURE**0.5, 0.99 ** torch.arange(n)

    method, n = arguments.measure[0], int(arguments.measure[1])
    one_pass(method, *inputs(64))  # brings in the libraries' code
    tensors = inputs(n)
    peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    before = peak()
    one_pass(method, *tensors)
    extra = peak() - before
    clock, times = time.process_time if arguments.threads == 1 else time.perf_counter, []
    for _ in range(arguments.rounds):
        start = clock()
        one_pass(method, *tensors)
        times.append(clock() - start)
    print(json.dumps([statistics.median(times) * 1e3, extra]))


def measure_apart(method, n, arguments):
    command = [sys.executable, __file__, "--measure", method, str(n), "--library", arguments.library]
    command += ["--rounds", str(arguments.rounds), "--threads", str(arguments.threads)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def print_table(rows):
    print("| n | " + " | ".join(f"{m}, ms | growth | MiB" for m in METHODS) + " |")
    print("| ---: |" + " ---: |" * (3 * len(METHODS)))
    first = rows[min(rows)]
    for n, figures in rows.items():
        cells = [f"{n:,}"]
        for method, cost in METHODS.items():
            if method not in figures:
                cells += ["", "", ""]
                continue
            (ms, extra), growth = figures[method], cost(n) / cost(min(rows))
            cells += [f"{ms:.1f}", f"{ms / first[method][0] / growth:.2f}", f"{extra:.1f}"]
        print("| " + " | ".join(cells) + " |")


FIGURE = """
set terminal svg size 480,880 font 'sans-serif,17' background '#ffffff'
set logscale xy 2
set format x "%.0f"
set xtics ("1k" 1024, "4k" 4096, "16k" 16384, "64k" 65536)
set xrange [900:150000]
set logscale y 10
set grid back lc '#dddddd'
set border 3
set tics nomirror
set bmargin 3.5
set lmargin 11
set multiplot layout 2,1
set key top left reverse Left
set yrange [1:300000]
set title "time, forward + backward"
set ylabel "ms"
plot {time}
unset key
set autoscale y
set title "peak memory beyond the inputs"
set ylabel "MiB"
set xlabel "vectors n"
plot {memory}
"""
STYLES = {"exact": ("every pair", "#c0392b", 7), "features": ("random features", "#1f6fb2", 5), "fft": ("by distance, FFT", "#2e8b57", 9)}


def draw(rows, file):
    script = ""
    for method in METHODS:
        data = [f"{n} {ms} {max(extra, 0.25)}" for n, figures in rows.items() for ms, extra in [figures.get(method, (None, None))] if ms]
        script += f"${method} << EOD\n" + "\n".join(data) + "\nEOD\n"
    curve = lambda method, column: "${} using 1:{} with linespoints lw 3 ps 0.7 lc '{}' pt {} title '{}'".format(
        method, column, *(STYLES[method][i] for i in (1, 2, 0)))
    plots = {name: ", ".join(curve(m, column) for m in METHODS) for name, column in (("time", 2), ("memory", 3))}
    figure = subprocess.run(["gnuplot"], input=script + FIGURE.format(**plots), check=True, capture_output=True, text=True).stdout
    pathlib.Path(file).write_text(figure, encoding="utf-8")


def processor():
    lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown processor")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", default="build/libentrain_ops.so")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--largest", type=int, default=131072)
    parser.add_argument("--figure", help="an SVG file to write with gnuplot")
    parser.add_argument("--measure", nargs=2, metavar=("METHOD", "N"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        return measure(arguments)
    rows, n = {}, 1024
    while n <= arguments.largest:
        methods = [m for m in METHODS if m != "exact" or n <= LARGEST_EXACT]
        rows[n] = {m: measure_apart(m, n, arguments) for m in methods}
        n *= 2
    print(f"{processor()}, {arguments.threads} thread(s); d = {WIDTH}, {FREQUENCIES} frequencies\n")
    print_table(rows)
    if arguments.figure:
        draw(rows, arguments.figure)


if __name__ == "__main__":
    main()
