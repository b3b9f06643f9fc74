"""Training speed, tokens per second, against a Transformers Llama of the same shape under PyTorch eager; float32, CPU.

    .venv/bin/python bench/peer_training.py [--shapes small mid] [--rounds 3] [--steps 24] [--threads 2] [--program build/entrain]

Prints Markdown. The figure to quote is the ratio: both sides run in turn, round after round, so that a busy machine slows both.

Equal on both sides: shape, rows, context, vocabulary, parameters (checked), threads, float32, AdamW with clipping at 1, one optimizer step a
batch, next-token loss on the same random ids. A side is a process of its own in every round; its first steps are discarded and the
median of the others taken, each from before the batch is made to after the update.
For the peer the faster of its settings is taken: fused or foreach AdamW; attention by scaled_dot_product_attention; loss over the whole
batch's logits by cross_entropy, as Transformers computes it. Its process runs as it comes, and again with what the program gives itself:
large blocks stay in the heap (glibc's malloc), waiting OpenMP threads sleep. On a busy machine only the second is a fair peer, because
threads that spin lose whole time slices there; the load average is printed for that reason.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHAPES = {  # B rows, T positions, C width, L layers, H heads, V vocabulary
    "small": dict(B=16, T=256, C=128, L=2, H=4, V=4096),
    "mid": dict(B=16, T=256, C=256, L=6, H=8, V=4096),
    "large": dict(B=8, T=512, C=512, L=8, H=8, V=8192),
}
DISCARD = 4  # first steps of a process: page faults, primitives compiled once
ENVIRONMENTS = {"as it comes": {}, "our settings": {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1), "OMP_WAIT_POLICY": "PASSIVE"}}
PEERS = [(adamw, environment) for adamw in ("fused", "foreach") for environment in ENVIRONMENTS]


def mlp_width(width):
    return (8 * width // 3 + 31) // 32 * 32


# -- The peer ----------------------------------------------------------------------------------------------------------


def run_peer(shape, adamw, n_steps, n_threads):
    """In a process of its own: prints {"seconds": [...], "parameters": n}."""
    import torch
    import transformers

    torch.set_num_threads(n_threads)
    torch.manual_seed(0)
    B, T, V = shape["B"], shape["T"], shape["V"]
    config = transformers.LlamaConfig(
        vocab_size=V, hidden_size=shape["C"], num_hidden_layers=shape["L"], num_attention_heads=shape["H"], num_key_value_heads=shape["H"],
        intermediate_size=mlp_width(shape["C"]), max_position_embeddings=T, tie_word_embeddings=True, use_cache=False, rms_norm_eps=1e-5,
        attn_implementation="sdpa")
    model = transformers.LlamaForCausalLM(config).float().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, **{adamw: True})
    ids = torch.randint(0, V, (n_steps, B, T + 1))
    seconds = []
    for step in range(n_steps):
        start = time.perf_counter()
        inputs, targets = ids[step, :, :-1].contiguous(), ids[step, :, 1:].contiguous()
        loss = torch.nn.functional.cross_entropy(model(input_ids=inputs).logits.view(-1, V), targets.view(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": seconds, "parameters": sum(p.numel() for p in model.parameters())}))


def peer_seconds(name, adamw, environment, arguments):
    command = [sys.executable, __file__, "--peer", name, "--adamw", adamw, "--steps", str(arguments.steps), "--threads", str(arguments.threads)]
    variables = {**os.environ, **ENVIRONMENTS[environment], "OMP_NUM_THREADS": str(arguments.threads)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=variables)
    return json.loads(done.stdout.splitlines()[-1])


# -- Ours --------------------------------------------------------------------------------------------------------------


def bytes_to_unicode():
    """GPT-2's spelling of bytes, which tokenizer.json uses."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spelled = {byte: chr(byte) for byte in kept}
    return [spelled.get(byte) or chr(256 + [b for b in range(256) if b not in spelled].index(byte)) for byte in range(256)]


def write_data(folder, program, vocab_size, n_tokens):
    """A data folder of random ids of [0, V): a tokenizer whose further tokens are pairs of bytes, and text made of its tokens."""
    rng = random.Random(vocab_size)
    spelling = bytes_to_unicode()
    letters = [spelling[byte] for byte in range(97, 123)]
    vocabulary = [*spelling, *(a + b for a in letters for b in letters)]
    merges = [[a, b] for a in letters for b in letters]
    for pair in [a + b for a in letters for b in letters]:
        for c in letters:
            if len(vocabulary) < vocab_size - 1:
                vocabulary.append(pair + c)
                merges.append([pair, c])
    words = vocabulary[256:]
    document = {
        "version": "1.0", "truncation": None, "padding": None, "normalizer": None, "post_processor": None,
        "added_tokens": [{"id": len(vocabulary), "content": "<|endoftext|>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
                          "special": True}],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False,
                  "byte_fallback": False, "ignore_merges": False, "vocab": {token: i for i, token in enumerate(vocabulary)}, "merges": merges}}
    (folder / "tokenizer.json").write_text(json.dumps(document))
    texts = folder / "texts"
    texts.mkdir()
    for i in range(20):
        (texts / f"{i}.txt").write_text("\n".join(" ".join(rng.choices(words, k=12)) for _ in range(n_tokens // 20 // 24)))
    subprocess.run([program, "data", "prepare", "--text", str(texts), "--tokenizer", str(folder / "tokenizer.json"), "--out", str(folder / "data")],
                   check=True, capture_output=True)


def our_seconds(folder, round_number, shape, arguments):
    run = folder / f"run-{round_number}"
    values = {
        "data.path": str(folder / "data"), "model.family": "llama", "model.width": shape["C"], "model.layers": shape["L"], "model.heads": shape["H"],
        "model.context": shape["T"], "model.vocab_size": shape["V"], "model.tied_head": True, "train.rows": shape["B"], "train.clip": 1.0,
        "train.threads": arguments.threads, "optimizer.name": "adamw", "optimizer.lr": 1e-3, "budget.steps": arguments.steps,
        "evaluation.every": 0, "evaluation.tokens": 4096, "checkpoint.every": 0}
    recipe = folder / f"recipe-{round_number}.toml"
    recipe.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
    subprocess.run([arguments.program, "train", str(recipe), "--run", str(run)], check=True, capture_output=True,
                   env={**os.environ, "OMP_NUM_THREADS": str(arguments.threads)})
    totals = [record["seconds"] for record in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()) if "loss" in record]
    config = json.loads(next((run / "checkpoints").glob("*/config.json")).read_text())
    C, F = config["hidden_size"], config["intermediate_size"]
    layer = 4 * C * C + 3 * C * F + 2 * C
    return {"seconds": [b - a for a, b in zip([0.0, *totals], totals)], "parameters": config["vocab_size"] * C + config["num_hidden_layers"] * layer + C}


# -- Side by side ------------------------------------------------------------------------------------------------------


def median_step(result):
    return statistics.median(result["seconds"][DISCARD:])


def compare(name, arguments):
    shape = SHAPES[name]
    n_tokens = shape["B"] * shape["T"]
    ours, peers, ratios = [], {peer: [] for peer in PEERS}, []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_data(folder, arguments.program, shape["V"], 400_000)
        for i in range(arguments.rounds):
            our = our_seconds(folder, i, shape, arguments)
            ours.append(median_step(our))
            for peer in PEERS:
                their = peer_seconds(name, *peer, arguments)
                assert their["parameters"] == our["parameters"], (their["parameters"], our["parameters"])
                peers[peer].append(median_step(their))
            print(f"{name} round {i + 1}: ours {ours[-1] * 1e3:.0f} ms, " +
                  ", ".join(f"{' '.join(peer)} {times[-1] * 1e3:.0f} ms" for peer, times in peers.items()), file=sys.stderr)
    as_it_comes = min((peer for peer in PEERS if peer[1] == "as it comes"), key=lambda peer: statistics.median(peers[peer]))
    best = min(PEERS, key=lambda peer: statistics.median(peers[peer]))
    our_time = statistics.median(ours)
    print(f"| {name}: C={shape['C']} L={shape['L']} H={shape['H']} T={shape['T']} B={shape['B']} V={shape['V']}, {our['parameters'] / 1e6:.2f}M "
          f"| {n_tokens / our_time:,.0f} | ", end="")
    for peer in (as_it_comes, best):
        rounds = [b / a for a, b in zip(ours, peers[peer])]
        print(f"{n_tokens / statistics.median(peers[peer]):,.0f} ({', '.join(peer)}) | "
              f"**{statistics.median(peers[peer]) / our_time:.2f}x** ({min(rounds):.2f} to {max(rounds):.2f}) | ", end="")
    print(flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default=os.environ.get("ENTRAIN", str(ROOT / "build" / "entrain")))
    parser.add_argument("--shapes", nargs="+", default=["small", "mid"], choices=SHAPES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=24, help="steps of a process, the first of which are discarded")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peer", choices=SHAPES, help=argparse.SUPPRESS)
    parser.add_argument("--adamw", default="fused", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        run_peer(SHAPES[arguments.peer], arguments.adamw, arguments.steps, arguments.threads)
        return
    import torch
    import transformers
    print(f"Tokens per second, median step of {arguments.rounds} rounds, {arguments.threads} threads, float32; PyTorch {torch.__version__}, "
          f"Transformers {transformers.__version__}; {os.cpu_count()} cores, load average before: {os.getloadavg()[0]:.1f}\n")
    print("| shape | entrain | Transformers as it comes | ratio (rounds) | Transformers, best of all settings | ratio (rounds) |\n"
          "| --- | --- | --- | --- | --- | --- |", flush=True)
    for name in arguments.shapes:
        compare(name, arguments)


if __name__ == "__main__":
    main()
