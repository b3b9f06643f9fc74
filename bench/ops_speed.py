"""Each operator against the plain form Transformers' Llama uses, forward and backward, float32.

Prints the ratio of median times (above 1: ours is faster), the two timed in turn in one process so that a busy machine slows both.
With one thread the times are the processor's, which other programs do not distort.
    .venv/bin/python bench/ops_speed.py [--library build/libentrain_ops.so] [--shapes mid large] [--rounds 15] [--threads 1]
"""

import argparse
import statistics
import time

import torch
import torch.nn.functional as F

SHAPES = {  # B rows, T positions, H heads, C width, F feed-forward width, V vocabulary
    "small": dict(B=16, T=256, H=4, C=128, F=384, V=4096),
    "mid": dict(B=16, T=256, H=8, C=256, F=704, V=4096),
    "large": dict(B=8, T=512, H=8, C=512, F=1408, V=8192),
}


def plain_rms_norm(x, weight):
    wide = x.to(torch.float32)
    return weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-5)).to(x.dtype)


def rotate_half(x):
    first, second = x.chunk(2, -1)
    return torch.cat((-second, first), -1)


def plain_rope(x, cos, sin):  # x: (B, H, T, D)
    return x * cos + rotate_half(x) * sin


def plain_attention(q, k, v, group):  # inputs (B, T, H, D)
    q, k, v = (z.transpose(1, 2) for z in (q, k, v))
    if group > 1:
        k, v = (z.repeat_interleave(group, 1) for z in (k, v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).contiguous()


def cases(B, T, H, C, F, V):
    """Yields name, our function, the plain function and their leaves."""
    ops, f, D = torch.ops.entrain, torch.nn.functional, C // H
    leaf = lambda *size, scale=1.0: (torch.randn(*size) * scale).requires_grad_()
    x, table, norm = leaf(B, T, C), leaf(V, C, scale=C**-0.5), leaf(C)
    cos, sin = ops.rope_tables(T, D, 1e4)
    wide_cos, wide_sin = torch.cat((cos, cos), -1), torch.cat((sin, sin), -1)
    heads, head_norm = leaf(B, T, H, D), leaf(D)
    for s in (1, 4):
        ids = torch.randint(0, V, (B, T * s))
        yield f"bag_embedding s={s}", (lambda: ops.bag_embedding(table, ids, s)), (
            lambda: f.embedding(ids, table) if s == 1 else f.embedding(ids, table).view(B, T, s, C).mean(2)), [table]
    yield "rms_norm", lambda: ops.rms_norm(x, norm, 1e-5), lambda: plain_rms_norm(x, norm), [x, norm]
    yield "rms_norm of heads", lambda: ops.rms_norm(heads, head_norm, 1e-5), lambda: plain_rms_norm(heads, head_norm), [heads, head_norm]
    yield "rope", lambda: ops.rope(heads, cos, sin), lambda: plain_rope(heads.transpose(1, 2), wide_cos, wide_sin).transpose(1, 2), [heads]
    for m in (C, 3 * C, 4 * C):
        weight = leaf(m, C, scale=C**-0.5)
        yield f"linear M/C={m // C}", (lambda: ops.linear(x, weight)), (lambda: f.linear(x, weight)), [x, weight]
    gate_up, down = leaf(2 * F, C, scale=C**-0.5), leaf(C, F, scale=F**-0.5)
    gate, up = (z.detach().clone().requires_grad_() for z in gate_up.chunk(2))
    for name, act in (("silu", f.silu), ("gelu_tanh", lambda z: f.gelu(z, approximate="tanh")), ("relu2", lambda z: f.relu(z).square())):
        yield f"gated_mlp {name}", (lambda: ops.gated_mlp(x, gate_up, down, name)), (
            lambda: (act(x @ gate.t()) * (x @ up.t())) @ down.t()), [x, gate_up, gate, up, down]
    q = leaf(B, T, H, D)
    for group in (1, 4):
        k, v = leaf(B, T, H // group, D), leaf(B, T, H // group, D)
        yield f"causal_attention H/Hkv={group}", (lambda: ops.causal_attention(q, k, v)), (lambda: plain_attention(q, k, v, group)), [q, k, v]
    hidden = leaf(B, T, C)
    for s in (1, 4):
        targets = torch.randint(0, V, (B, T, s))
        def plain_loss():
            logits = (hidden @ table.t()).float().view(-1, V)
            return sum(f.cross_entropy(logits, targets[..., i].reshape(-1)) for i in range(s)) / s
        yield f"head_cross_entropy S={s}", (lambda: ops.head_cross_entropy(hidden, table, targets)), plain_loss, [hidden, table]


def step_time(function, leaves):
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    for leaf in leaves:
        leaf.grad = None
    begin = clock()
    out = function()
    middle = clock()
    gradient = torch.ones_like(out) if out.dim() == 0 else step_time.gradients.setdefault(out.shape, torch.randn(out.shape))
    start = clock()
    out.backward(gradient)
    return middle - begin, clock() - start


step_time.gradients = {}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", default="build/libentrain_ops.so")
    parser.add_argument("--shapes", nargs="+", default=["mid", "large"], choices=SHAPES)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="", help="operators whose name contains this")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.ops.load_library(arguments.library)
    torch.manual_seed(1)
    for shape in arguments.shapes:
        print(f"{shape}: {SHAPES[shape]}, {torch.get_num_threads()} threads")
        print(f"  {'operator':28} {'forward':>8} {'backward':>9} {'both':>6}   ours, ms")
        for name, ours, plain, leaves in cases(**SHAPES[shape]):
            if arguments.only not in name:
                continue
            times = {ours: [], plain: []}
            for round_ in range(arguments.rounds + 2):
                for function in (ours, plain):
                    pair = step_time(function, leaves)
                    if round_ >= 2:
                        times[function].append(pair)
            fast, slow = ([statistics.median(column) for column in zip(*times[f], strict=True)] for f in (ours, plain))
            ratios = [slow[0] / fast[0], slow[1] / fast[1], sum(slow) / sum(fast)]
            print(f"  {name:28} {ratios[0]:8.2f} {ratios[1]:9.2f} {ratios[2]:6.2f}   {fast[0] * 1e3:.2f} + {fast[1] * 1e3:.2f}", flush=True)


if __name__ == "__main__":
    main()
