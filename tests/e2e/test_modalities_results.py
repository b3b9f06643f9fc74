"""docs/results/modalities.md says what its runs hold: every row of both tables again from docs/results/modalities/*.json."""

import json
import re
from collections import defaultdict

import numpy as np
import pytest
from program import ROOT

scipy_stats = pytest.importorskip("scipy.stats", reason="the intervals' reference is scipy")

PAGE = ROOT / "docs/results/modalities.md"
ARMS = ("hierarchical", "joint", "flat")


def read(folder):
    """The runs of each pair of modalities, share and arm, by seed."""
    found = defaultdict(dict)
    for path in sorted(folder.glob("*.json")):
        run = json.loads(path.read_text())
        score = run["scores"][0]
        run["recall"] = [50 * (a + b) for a, b in zip(score["a_to_b"]["recall"], score["b_to_a"]["recall"], strict=True)]
        run["reciprocal_rank"] = (score["a_to_b"]["reciprocal_rank"] + score["b_to_a"]["reciprocal_rank"]) / 2
        run["gap"] = score["gap"]
        found["+".join(run["modalities"]), run["share"], run["arm"]][run["seed"]] = run
    return found


@pytest.fixture(scope="module")
def runs():
    return read(ROOT / "docs/results/modalities")


def interval(a, b, k):
    """Mean and 95 % interval of a - b, recall of index k."""
    d = np.array([a[seed]["recall"][k] - b[seed]["recall"][k] for seed in (1, 2, 3)])
    half = scipy_stats.t.ppf(0.975, 2) * d.std(ddof=1) / np.sqrt(3)
    return [d.mean(), d.mean() - half, d.mean() + half]


def rows(first_cells):
    """The page's table rows whose first cells match, as lists of cells."""
    lines = [line for line in PAGE.read_text().splitlines() if re.match(first_cells, line)]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_one_experiment(runs):
    assert len(runs) == 27 and all(sorted(seeds) == [1, 2, 3] for seeds in runs.values())
    assert len({run["fingerprint"] for seeds in runs.values() for run in seeds.values()}) == 1
    for (pair, share, arm), seeds in runs.items():  # equal FLOPs but for a part of a step
        for seed, run in seeds.items():
            spent = runs[pair, share, "hierarchical"][seed]["flops"]
            assert 0 <= run["flops"] - spent < 2 * run["flops"] / run["steps"], (pair, share, arm, seed)


def test_table_of_arms(runs):
    table = rows(r"\| \w+\+bpe \|")
    assert len(table) == 27
    for pair, known, arm, *cells in table:
        share = float(re.search(r"\((\S+) %\)", known)[1]) / 100
        of_seeds = list(runs[pair, share, arm].values())
        assert int(known.split()[0]) == of_seeds[0]["n_paired"]

        def mean(key):
            return np.mean([run[key] for run in of_seeds], axis=0)

        expected = [*(f"{value:.1f}" for value in mean("recall")), f"{mean('reciprocal_rank'):.3f}", f"{mean('gap'):.3f}", f"{mean('steps'):.0f}"]
        assert cells[:6] == expected, (pair, known, arm)
        assert float(cells[6]) == pytest.approx(mean("flops"), rel=5e-3)
        assert cells[8] == "3"


def test_table_of_differences(runs):
    table = rows(r"\| \w+ - \w+ \|")
    assert len(table) == 27
    for arms, pair, known, *cells in table:
        arm, reference = arms.split(" - ")
        assert ARMS.index(arm) < ARMS.index(reference)
        share = float(known.split()[0]) / 100
        a, b = runs[pair, share, arm], runs[pair, share, reference]
        for k in range(3):
            written = [float(x) for x in re.fullmatch(r"(\S+) \((\S+) to (\S+)\)", cells[k]).groups()]
            assert written == pytest.approx(interval(a, b, k), abs=0.0501), (arms, pair, known, k)
        assert float(cells[3]) == pytest.approx(np.mean([a[seed]["gap"] - b[seed]["gap"] for seed in (1, 2, 3)]), abs=0.000501)


def test_control():
    runs = read(ROOT / "docs/results/modalities/whole-sequences")
    assert len(runs) == 9 and all(sorted(seeds) == [1, 2, 3] for seeds in runs.values())

    def at_ten(share):
        return [f"{np.mean([run['recall'][2] for run in runs['bytes+bpe', share, arm].values()]):.1f} %" for arm in ARMS]

    few, all_known = at_ten(0.01), at_ten(1.0)
    order = "{:.1f} ({:.1f} to {:.1f})".format(*interval(runs["bytes+bpe", 0.1, "hierarchical"], runs["bytes+bpe", 0.1, "joint"], 2))
    page = " ".join(PAGE.read_text().split())
    assert f"within find {few[0]} (hierarchical) and {few[1]} (joint) against {few[2]} at 1 %" in page
    assert f"and {all_known[0]} and {all_known[1]} against {all_known[2]} with all" in page
    assert f"hierarchical - joint is {order}." in page
