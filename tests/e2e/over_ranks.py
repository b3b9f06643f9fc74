"""Work for processes that train one model together by gloo; without a process group each function is the single process it is compared with."""

import datetime
import os
import socket

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from entrain import EntangledLayer, UsageError

# Rows and positions of each rank's batch.
SHAPES = {"batch": [(1, 7), (2, 4), (1, 3)], "sequence": [(1, 6), (3, 6), (1, 6)]}
STATES, WIDTH = 10, 4


def over_ranks(n, work, folder, *arguments):
    """What ``work(*arguments)`` returns on each of n ranks."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(_rank, (n, port, str(folder), work, arguments), nprocs=n)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(n)]


def _rank(rank, n, port, folder, work, arguments):
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(n), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    dist.init_process_group("gloo", timeout=datetime.timedelta(seconds=600))
    torch.save(work(*arguments), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def rank_and_size():
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


# -- The layer ---------------------------------------------------------------------------------------------------------


def positions(scope):
    """(start, end) of each rank's positions among those of all."""
    ends = [sum(rows * length for rows, length in SHAPES[scope][: i + 1]) for i in range(3)]
    return list(zip([0, *ends], ends))


def batch(scope, ranks):
    """States, ids, documents and the task's gradient of these ranks' batches as one. Rows of scope batch are told apart as documents."""
    spans = positions(scope)
    n = spans[-1][1]
    generator = torch.Generator().manual_seed(1)
    h, task = (torch.randn(n, STATES, dtype=torch.float64, generator=generator) for _ in range(2))
    ids = torch.randint(0, 5, (n,), generator=generator)
    lengths = [length for rows, length in SHAPES[scope] for _ in range(rows)]
    row = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    documents = row * 2 + (torch.arange(n) % 6 > 3) if scope == "sequence" else row
    chosen = torch.cat([torch.arange(*spans[rank]) for rank in ranks])
    if len(ranks) == 1:
        shape = SHAPES[scope][ranks[0]]
    else:
        shape = (1, len(chosen)) if scope == "batch" else (len(chosen) // 6, 6)
    return [x[chosen].view(*shape, *x.shape[1:]) for x in (h, ids, documents, task)]


def layer_pass(scope, ranks, n_ranks, **options):
    """A pass and the half of another; the task's gradient and the side's are n_ranks times as large where a mean over ranks follows."""
    h, ids, documents, task = batch(scope, ranks)
    layer = EntangledLayer(STATES, WIDTH, scope=scope, weight=0.7, **options).double()
    side = layer.side_gradient(h.clone().requires_grad_(True), ids, documents, 0.5)
    losses, leaf = [layer.pulse.loss], h.flip(-1).requires_grad_(True)
    (layer(leaf, ids, documents) * task * n_ranks).sum().backward()
    losses.append(layer.pulse.loss)
    return {"losses": losses, "side": side.flatten(0, 1) / n_ranks, "added": leaf.grad.flatten(0, 1) / n_ranks - task.flatten(0, 1),
            "projection": layer.projection.detach(), "gradient": layer.projection.grad}


def layer_cases(cases):
    """Each case over all ranks, and with this rank alone."""
    rank, n = rank_and_size()
    found = {}
    for name, options in cases.items():
        found[name] = layer_pass(ranks=[rank], n_ranks=n, **options)
        found[name, "alone"] = layer_pass(ranks=[rank], n_ranks=1, group="alone", **options)
    return found


def _refusal(group):
    try:
        EntangledLayer(STATES, WIDTH, group=group)
    except UsageError as error:
        return str(error)


def layers(cases):
    """What is tested of the layer."""
    return {**layer_cases(cases), **layer_settings()}


def layer_settings():
    """What ranks may do each for itself, and what they agree on."""
    rank, _ = rank_and_size()
    found = {"seeds": layer_pass("batch", [rank], 3, seed=rank)}
    pair, last = dist.new_group([0, 1]), dist.new_group([2])
    found["pair"] = layer_pass("batch", [rank], 2 if rank < 2 else 1, group=pair if rank < 2 else last)
    found["refused"] = _refusal(last if rank < 2 else pair)
    if rank == 1:  # the others exchange nothing meanwhile
        h, ids, _, _ = batch("batch", [1])
        layer = EntangledLayer(STATES, WIDTH).double()
        assert layer.eval()(h.requires_grad_(True), ids) is h
        layer.train().weight = 0.0
        assert layer(h, ids) is h
        layer.weight = 0.1
        with torch.no_grad():
            assert layer(h, ids) is h
    # A row of one position on one rank: no group of it has a pair, and every rank knows.
    layer = EntangledLayer(STATES, WIDTH, scope="sequence").double()
    found["no pair"] = layer.side_gradient(torch.ones(2, 1 if rank == 0 else 4, STATES, dtype=torch.float64, requires_grad=True), None, None, 1.0)
    return found


# -- Models of Transformers --------------------------------------------------------------------------------------------


def tiny():
    import transformers
    from test_python_superposition import SHAPE

    torch.manual_seed(0)
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**SHAPE))


def weights_of(model):
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def data_parallel(group, folder):
    """Two steps on eight rows, this rank's share of them, in DistributedDataParallel."""
    from entrain import entangle
    from test_python_superposition import random_ids

    rank, n = rank_and_size()
    model = tiny().train()
    passed = torch.nn.parallel.DistributedDataParallel(model) if n > 1 else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    pulses = []
    with entangle(passed, [0, 1], width=8, weight=20.0, positives="same_token", group=group) as entanglement:
        for rows in random_ids(2, 8, 12):
            own = rows.view(n, -1, 12)[rank]
            passed(input_ids=own, labels=own).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            pulses.append([layer.pulse.loss for layer in entanglement.layers.values()])
            entanglement.step()
    return {"weights": weights_of(model), "projections": {block: layer.projection.detach() for block, layer in entanglement.layers.items()}, "pulses": pulses}


def trainer(method, folder):
    """Four steps of the Trainer on the same rows however many ranks share them, two passes each."""
    from entrain import EntanglementCallback, SuperpositionCallback
    from test_python_superposition import train

    rank, n = rank_and_size()
    callbacks = {
        "plain": lambda: [],
        "entanglement": lambda: [EntanglementCallback(width=8, weight=20.0, positives="same_token", warmup=0.0, decay=0.0)],
        "superposition": lambda: [SuperpositionCallback(4, 1.0)],
    }[method]()
    model = tiny()
    losses = train(model, f"{folder}/{method}-{n}-{rank}", callbacks, n_steps=4, per_device_train_batch_size=4 // n, gradient_accumulation_steps=2, optim="sgd")
    found = {"weights": weights_of(model), "losses": losses}
    if method == "entanglement":
        found["projections"] = {block: layer.projection.detach() for block, layer in callbacks[0].entanglement.layers.items()}
    return found


def models(folder):
    return {**{group: data_parallel(group, folder) for group in ("world", "alone")}, **{method: trainer(method, folder) for method in ("plain", "entanglement", "superposition")}}
