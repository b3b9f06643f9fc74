"""The two matrix-product libraries in LibTorch at a training step's shapes, float32: what src/entrain/ops/matmul.cpp chooses between.

Prints GFLOP/s (best of several rounds, taken in turn) of at::mm (MKL) and oneDNN for x W^T, y W and y^T x.
    .venv/bin/python bench/matmul_speed.py [threads]
"""

import sys
import time

import torch

if len(sys.argv) > 1:
    torch.set_num_threads(int(sys.argv[1]))
clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter


def onednn(a, b):  # a b^T
    return torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")


def best_times(functions, rounds=15):
    best = [float("inf")] * len(functions)
    for _ in range(rounds):
        for i, function in enumerate(functions):
            begin = clock()
            function()
            best[i] = min(best[i], clock() - begin)
    return best


print(f"{torch.get_num_threads()} threads; GFLOP/s as MKL / oneDNN")
for n, k, m in ((16, 256, 256), (64, 256, 256), (4096, 256, 256), (4096, 256, 768), (4096, 256, 1408), (4096, 704, 256), (4096, 512, 1536), (512, 256, 4096)):
    x, w, y = torch.randn(n, k), torch.randn(m, k), torch.randn(n, m)
    rates = [2e-9 * n * k * m / t for t in best_times((
        lambda: torch.mm(x, w.t()), lambda: onednn(x, w),
        lambda: torch.mm(y, w), lambda: onednn(y, w.t()),
        lambda: torch.mm(y.t(), x), lambda: onednn(y.t(), x.t())))]
    print(f"N={n:5} K={k:4} M={m:5}   x W^T {rates[0]:4.0f} / {rates[1]:4.0f}   y W {rates[2]:4.0f} / {rates[3]:4.0f}   y^T x {rates[4]:4.0f} / {rates[5]:4.0f}")
