"""Methods for models of Transformers over the ranks of torch.distributed: what one process computes on the whole batch."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
if not (torch.distributed.is_available() and torch.distributed.is_gloo_available()):
    pytest.skip("this torch has no gloo", allow_module_level=True)

import over_ranks  # noqa: E402
from entrain import EntangledLayer, UsageError  # noqa: E402
from entrain.side_losses import LOSSES, POSITIVES  # noqa: E402

ALL = range(3)
CASES = {
    **{f"{loss}-{positives}-{scope}": {"loss": loss, "positives": positives, "scope": scope} for scope in over_ranks.SHAPES for loss in LOSSES for positives in POSITIVES},
    "pcgrad": {"scope": "batch", "gate": "pcgrad"}, "no-smoothing": {"scope": "batch", "smoothing": 0.0},
}
CLOSE = {"rtol": 1e-9, "atol": 1e-12}  # float64, sums in another order


@pytest.fixture(scope="module")
def layers(tmp_path_factory):
    return over_ranks.over_ranks(3, over_ranks.layers, tmp_path_factory.mktemp("layers"), CASES)


def check(found, whole, scope, ranks=ALL):
    spans, first = over_ranks.positions(scope), over_ranks.positions(scope)[ranks[0]][0]
    for rank in ranks:
        start, end = (place - first for place in spans[rank])
        assert found[rank]["losses"] == pytest.approx(whole["losses"], rel=1e-12, abs=1e-14)
        for name in ("side", "added"):
            torch.testing.assert_close(found[rank][name], whole[name][start:end], **CLOSE)
        torch.testing.assert_close(found[rank]["gradient"], whole["gradient"], **CLOSE)
        assert torch.equal(found[rank]["gradient"], found[ranks[0]]["gradient"]) and torch.equal(found[rank]["projection"], whole["projection"])


@pytest.mark.parametrize("case", CASES)
def test_ranks_with_batches_of_any_size_are_one_batch(case, layers):
    options = CASES[case]
    whole = over_ranks.layer_pass(ranks=ALL, n_ranks=1, **options)
    check([found[case] for found in layers], whole, options["scope"])
    assert whole["side"].abs().max() > 1e-4 and whole["gradient"].abs().max() > 1e-4
    for rank, found in enumerate(layers):
        alone, own = found[case, "alone"], over_ranks.layer_pass(ranks=[rank], n_ranks=1, **options)
        for name in ("side", "added", "gradient"):
            torch.testing.assert_close(alone[name], own[name], **CLOSE)
        start, end = over_ranks.positions(options["scope"])[rank]
        assert not torch.allclose(alone["side"], whole["side"][start:end], rtol=1e-3)  # so the comparison means something


def test_ranks_agree_on_the_projection(layers):
    check([found["seeds"] for found in layers], over_ranks.layer_pass("batch", ALL, 1, seed=0), "batch")
    assert not torch.equal(EntangledLayer(10, 4, seed=1).projection, EntangledLayer(10, 4, seed=0).projection)


def test_a_group_of_some_ranks(layers):
    found = [found["pair"] for found in layers]
    check(found, over_ranks.layer_pass("batch", [0, 1], 1), "batch", [0, 1])
    check(found, over_ranks.layer_pass("batch", [2], 1), "batch", [2])
    assert all("not in the layer's group" in found["refused"] for found in layers)
    with pytest.raises(UsageError, match="everyone"):
        EntangledLayer(10, 4, group="everyone")


def test_no_pair_on_one_rank(layers):
    assert [found["no pair"].abs().max().item() for found in layers] == [0.0] * 3


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """By two ranks, and by this process alone."""
    folder = tmp_path_factory.mktemp("trained")
    return over_ranks.over_ranks(2, over_ranks.models, folder, str(folder)), over_ranks.models(str(folder))


def distance(a, b):
    """The largest difference of weights and projections."""
    return max((x - b[kind][name]).abs().max().item() for kind in ("weights", "projections") for name, x in a.get(kind, {}).items())


@pytest.mark.parametrize("kind", ["world", "plain", "entanglement", "superposition"])
def test_data_parallel_training_is_that_of_one_process(kind, trained):
    ranks, one = trained
    first, second, whole = ranks[0][kind], ranks[1][kind], one[kind]
    assert distance(first, second) == 0
    assert distance(first, whole) < 1e-6  # float32 sums in another order
    if kind == "world":
        torch.testing.assert_close(torch.tensor(first["pulses"]), torch.tensor(whole["pulses"]), rtol=1e-5, atol=1e-5)
        assert first["pulses"] == second["pulses"]
        assert distance(ranks[0]["alone"], whole) > 1e-3
    if kind in ("entanglement", "superposition"):
        assert distance({"weights": first["weights"]}, one["plain"]) > 1e-4
