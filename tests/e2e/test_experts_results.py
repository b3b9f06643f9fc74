"""The committed results of `entrain experts`: what docs/results/experts.md says stands in the files beside it, and the program reads them."""

import json
from pathlib import Path

import pytest
from program import entrain

PAGE = Path(__file__).resolve().parents[2] / "docs/results/experts.md"
RESULTS = PAGE.with_suffix("")
CHANCE = 0.1  # ten digits


def runs(pool):
    found = json.loads(entrain("experts", "eval", RESULTS / pool, "--json").stdout)["observation"]
    assert found, f"no finished run in {RESULTS / pool}"
    return found


def judged(run, control):
    return {row["rounds"]: row["judged"] for row in run["controls"]["rows"] if row["control"] == control}


def near_chance(accuracy, n):
    """Within four standard errors of n independent guesses."""
    return abs(accuracy - CHANCE) < 4 * (CHANCE * (1 - CHANCE) / n) ** 0.5


@pytest.mark.parametrize("pool", ["relay", "keyvalue"])
def test_together_they_know_what_none_knows_alone(pool):
    for run in runs(pool):
        n = run["controls"]["n"]
        assert n >= 2000
        assert judged(run, "own")[run["rounds"]] >= 0.95
        assert near_chance(judged(run, "own")[0], n), "isolated"
        for control in ("none", "shuffled", "noise", "untrained"):
            assert near_chance(judged(run, control)[run["rounds"]], n), control


def test_accuracy_steps_at_the_number_of_hops():
    for run in runs("relay"):
        assert set(run["by_depth"]) == {"1", "2", "3", "4"}
        for hops, arms in run["by_depth"].items():
            for rounds, accuracy in enumerate(arms["own"]):
                assert accuracy >= 0.95 if rounds >= int(hops) else accuracy < 0.3, (hops, rounds)


def test_the_edge_that_matters():
    for run in runs("keyvalue"):
        cuts = {(cut["reader"], cut["source"]): cut["judged"] for cut in run["edge_cuts"]}
        assert near_chance(cuts["sums", "keys"], run["controls"]["n"]) and cuts["keys", "sums"] >= 0.95
    for run in runs("relay"):
        for cut in run["edge_cuts"]:
            assert cut["judged"] < 0.35 if cut["reader"] == "asker" else cut["judged"] >= 0.95


def test_the_page_says_what_the_files_say():
    page = PAGE.read_text()
    relay, keyvalue = runs("relay"), runs("keyvalue")

    def mean(values):
        values = list(values)
        return sum(values) / len(values)

    for hops in "1234":
        row = next(line for line in page.splitlines() if line.startswith(f"| {hops} |")).replace("*", "")
        figures = [float(cell) for cell in row.strip("|").split("|")[1:]]
        assert figures == pytest.approx([mean(run["by_depth"][hops]["own"][rounds] for run in relay) for rounds in range(5)], abs=0.0006)
    for words, control in (("the dictionary's states of another question", "shuffled"), ("noise of the same spread", "noise"), ("the dictionary's states |", "own")):
        row = next(line for line in page.splitlines() if line.startswith(f"| {words}")).replace("*", "")
        assert float(row.strip("|").split("|")[1]) == pytest.approx(mean(judged(run, control)[1] for run in keyvalue), abs=0.0006)


def test_the_predictions_are_decided_as_the_page_says():
    found = json.loads(entrain("experts", "predictions", RESULTS / "predictions", "--json").stdout)
    assert found["runs"] >= 20
    page = PAGE.read_text()
    for number, one in enumerate(found["predictions"], 1):
        line = next(line for line in page.splitlines() if line.startswith(f"{number}. *"))
        assert f"**{one['verdict']}**" in line, line
    said = " ".join(page.split())
    for one, figures in zip(found["predictions"], (("0.0462", "0.0373", "0.0550"), ("0.0087", "0.0021", "0.0152"), (), ("0.188", "0.171", "0.206"))):
        for figure, value in zip(figures, (one["estimate"], *sorted((one["low"], one["high"]), key=abs))):
            assert figure in said and float(figure) == pytest.approx(abs(value), abs=0.6 * 10 ** -len(figure.split(".")[1]))


def test_who_answers_as_the_page_says():
    page = PAGE.read_text()
    for mode in ("select", "blend"):
        summary = json.loads(entrain("experts", "eval", RESULTS / "predictions", "--mode", mode, "--json").stdout)
        assert summary["runs"] >= 20
        methods = {method["name"]: method for method in summary["methods"]}
        for name, line_of in {"oracle": "oracle", "fixed rule, tuned": "fixed rule, tuned", "coordinator": "coordinator", "nearest neighbours": "nearest neighbours", "cascade on entropy": "cascade on entropy",
                              "majority vote": "majority vote, probability average", "probability average": "majority vote, probability average", "self-ensemble of the best": "self-ensemble of the best (letters exchanged)",
                              "blend, learned weights": "blend, learned weights", "blend, fixed weights": "blend, fixed 0.60/0.25/0.15", "random": "random"}.items():
            if name not in methods:
                continue
            row = next(line for line in page.splitlines() if line.startswith(f"| {line_of} |"))
            right, sd, cost = (float(cell) for cell in row.strip("|").split("|")[1:4])
            assert (right, sd) == pytest.approx((methods[name]["accuracy"], methods[name]["accuracy_sd"]), abs=6e-5) and cost == pytest.approx(methods[name]["cost"], abs=6e-4), name
        for expert in summary["experts"]:
            row = next(line for line in page.splitlines() if line.startswith(f"| {expert['name']} |"))
            assert float(row.strip("|").split("|")[2]) == pytest.approx(expert["accuracy"], abs=6e-5)


def test_every_run_judges_enough():
    for file in (RESULTS / "predictions").glob("run-*/result.json"):
        result = json.loads(file.read_text())
        assert len(result["disagreement"]["depth"]) >= 10000
        cells = [cell for expert in result["experts"] for cell in expert["cells"].values()]
        assert all(cell["n"] >= 400 for cell in cells)
