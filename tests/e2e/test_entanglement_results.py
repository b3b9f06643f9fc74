"""The committed labs of the entanglement layer and the memory: what docs/results/entanglement.md says is what `entrain lab report` makes of them."""

import json
import re
import shutil
from pathlib import Path

import pytest
from program import entrain

PAGE = Path(__file__).resolve().parents[2] / "docs/results/entanglement.md"
RESULTS = PAGE.with_suffix("")
NUMBER = r"[+-]?\d+(?:\.\d+)?"
READINGS = 28  # arms of the lab of every other reading


@pytest.fixture(scope="module")
def labs(tmp_path_factory):
    """Each lab's report, made anew from its committed results; the report is written into a copy."""
    folder = tmp_path_factory.mktemp("labs")
    found = {}
    for name in ("one-epoch", "epochs", "unique", "readings", "memory"):
        shutil.copytree(RESULTS / name, folder / name)
        found[name] = json.loads(entrain("lab", "report", folder / name, "--json").stdout)
    return found


def section(title):
    """Lines of the page under a heading, without marks of emphasis."""
    parts = re.split(r"^## (.*)$", PAGE.read_text(), flags=re.M)
    return parts[parts.index(title) + 1].replace("*", "")


def table(title):
    """{first cell: other cells} of the section's one table."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section(title).splitlines() if line.startswith("| ")]
    assert rows[1][0] == "---" and rows[0][0] == "arm", rows[:2]
    return {row[0]: row[1:] for row in rows[2:]}


def numbers(cell):
    return [float(number) for number in re.findall(NUMBER, cell)]


def close(said, exact, decimals):
    """Equal but for rounding to the decimals that the page gives."""
    assert said == pytest.approx(exact, abs=0.5001 * 10**-decimals)


def arm_of(lab, name):
    return next(arm for arm in lab["arms"] if arm["arm"] == name)


def comparison(lab, arm, reference="plain", metric="loss"):
    return next(c for c in lab["comparisons"] if (c["arm"], c["reference"], c["metric"]) == (arm, reference, metric))


def expect_loss(lab, arm, cell):
    summary = arm_of(lab, arm)
    close(numbers(cell.replace("±", "")), [summary["nats_per_token"], summary["sd"]["nats_per_token"]], 4)


def expect_difference(lab, arm, cell, reference="plain"):
    c = comparison(lab, arm, reference)
    close(numbers(cell)[:3], [c["difference"], c["low"], c["high"]], 4)


def expect_blimp(lab, arm, cell):
    c = comparison(lab, arm, metric="blimp.acc")
    close(numbers(cell), [100 * c[key] for key in ("difference", "low", "high")], 1)


def ratios(lab, axis, arm):
    """Amount of the axis: what the reference would need for the arm's loss over what it took, with its interval."""
    found = [entry for entry in next(e for e in lab["efficiency"] if e["axis"] == axis)["iso_loss"] if entry["arm"] == arm]
    return {entry["amount"]: [entry["ratio"][key] for key in ("estimate", "low", "high")] for entry in found}


def mean_figure(lab, arm, figure, n_runs=5):
    runs = [json.loads(path.read_text()) for path in (RESULTS / lab / "results" / arm).glob("seed-*.json")]
    assert len(runs) == n_runs
    return sum(run["figures"][figure] for run in runs) / len(runs)


def expect_cost(lab, arm, cell):
    """FLOPs of a step over those of plain's."""
    of = [entry["flops"] / entry["steps"] for entry in (arm_of(lab, arm), arm_of(lab, "plain"))]
    close(float(cell), of[0] / of[1], 2)


def expect_rank(name, arm, cell, n_runs=5):
    close(float(cell), mean_figure(name, arm, "entanglement.2.state_effective_rank", n_runs), 1)


def test_one_epoch(labs):
    lab, rows = labs["one-epoch"], table("The default loss, every token seen once")
    assert len(rows) == len(lab["arms"]) == 3
    for label, (loss, difference, blimp, cost, rank) in rows.items():
        arm = label.split()[0]
        expect_loss(lab, arm, loss)
        expect_cost(lab, arm, cost)
        expect_rank("one-epoch", arm, rank)
        if arm == "plain":
            assert difference == blimp == "reference"
            continue
        expect_difference(lab, arm, difference)
        expect_blimp(lab, arm, blimp)
        assert difference.endswith(": " + comparison(lab, arm)["verdict"])
    text = section("The default loss, every token seen once")
    # "1.01 times its own (1.00 to 1.02); for the placebo's 1.01 (1.00 to 1.03). Data: 1.04 times (1.03 to 1.06) for both"
    said = numbers(re.search(r"Compute plain would need(.*?)for both", text, re.S)[1])
    for arm, axis, figures in (("entangled", "FLOPs", said[:3]), ("placebo", "FLOPs", said[3:6]), ("entangled", "raw tokens", said[6:]), ("placebo", "raw tokens", said[6:])):
        (exact,) = ratios(lab, axis, arm).values()
        close(figures, exact, 2)
    gate, chance = re.search(r"fired on (\d+) % of tokens \(placebo: (\d+) %", text).groups()
    close([float(gate), float(chance)], [100 * mean_figure("one-epoch", arm, "entanglement.2.gate_rate") for arm in ("entangled", "placebo")], 0)
    close(numbers(re.search(r"\(cosine (\S+)\)", text)[1]), [mean_figure("one-epoch", "entangled", "entanglement.2.cosine")], 2)


def test_the_same_text_six_times(labs):
    title = "The default loss, a fixed text read six times"
    lab, rows = labs["epochs"], table(title)
    assert len(rows) == len(lab["arms"]) == 3
    for arm, (loss, difference, blimp, cost, rank) in rows.items():
        expect_loss(lab, arm, loss)
        expect_cost(lab, arm, cost)
        expect_rank("epochs", arm, rank)
        if arm == "plain":
            continue
        expect_difference(lab, arm, difference)
        expect_blimp(lab, arm, blimp)
        verdict = re.search(r": (\w+)(?:, Holm p (\S+))?$", difference)
        assert verdict[1] == comparison(lab, arm)["verdict"]
        if verdict[2]:
            close(float(verdict[2]), comparison(lab, arm)["adjusted_p"], 2)
    said = re.search(rf"better than the layer by ({NUMBER}) nats \(({NUMBER}) to ({NUMBER}); exploratory, Holm p ({NUMBER})\)", section(title))
    c = comparison(lab, "placebo", "entangled")
    close([-float(said[1]), -float(said[3]), -float(said[2])], [c["difference"], c["low"], c["high"]], 4)
    close(float(said[4]), c["adjusted_p"], 2)
    assert not c["declared_primary"]


def test_distinct_text(labs):
    title = "The default loss, every arm at its own best number of epochs"
    lab, rows = labs["unique"], table(title)
    assert len(rows) == len(lab["arms"]) == 3
    for arm, (loss, difference, text_needed, cost, rank) in rows.items():
        expect_loss(lab, arm, loss)
        expect_cost(lab, arm, cost)
        expect_rank("unique", arm, rank)
        assert arm_of(lab, arm)["tuned"] == "budget.flops = 2.4e+12, model.dropout = 0.1, optimizer.muon_weight_decay = 0.1"  # "all three chose"
        if arm == "plain":
            continue
        expect_difference(lab, arm, difference)
        assert re.search(r": (\w+)", difference)[1] == comparison(lab, arm)["verdict"]
        close(numbers(text_needed), ratios(lab, "unique tokens", arm)[100_000.0], 2)
    text = " ".join(section(title).split())
    fit = next(entry for entry in lab["efficiency"] if entry["axis"] == "unique tokens")["fit"]
    assert fit["identified"]
    said = re.search(rf"multiplies data by ({NUMBER}) \(({NUMBER}) to ({NUMBER});", text).groups()
    close([float(number) for number in said], [fit["multipliers"]["entangled"][key] for key in ("estimate", "low", "high")], 3)
    assert f"worth {said[0]} times the data" in " ".join(PAGE.read_text().split())
    trials = [json.loads(path.read_text()) for path in (RESULTS / "unique/results/tune").rglob("*.json")]
    ends = {(trial["arm"], trial["values"]["model.dropout"]): trial["metrics"]["loss"] for trial in trials if trial["values"]["budget.flops"] == 2.4e12 and trial["values"]["optimizer.muon_weight_decay"] == 0.1}
    higher = [ends[arm, 0.0] - ends[arm, 0.1] for arm in rows]
    close(numbers(re.search(r"end (\S+ to \S+) nats higher", text)[1]), [min(higher), max(higher)], 2)


def test_every_other_reading(labs):
    lab, rows = labs["readings"], table("Every other reading once")
    assert set(rows) == {arm["arm"] for arm in lab["arms"]} and len(rows) == READINGS
    losses = []
    for arm, (loss, difference, blimp, cost, rank) in rows.items():
        losses.append(float(loss))
        close(float(loss), arm_of(lab, arm)["nats_per_token"], 4)
        expect_cost(lab, arm, cost)
        expect_rank("readings", arm, rank, n_runs=1)
        if arm != "plain":
            expect_difference(lab, arm, difference)
            expect_blimp(lab, arm, blimp)
    assert losses == sorted(losses)


def test_memory(labs):
    title = "Memory of co-occurring tokens"
    lab, rows = labs["memory"], table(title)
    names = {"plain": "plain", "4,096 rows": "rows_4k", "16,384 rows": "rows_16k", "65,536 rows": "rows_64k", "superposed (s = 4, r = 0.1)": "superposed", "superposed, 65,536 rows": "superposed_rows_64k"}
    assert list(rows) == list(names) and set(names.values()) == {arm["arm"] for arm in lab["arms"]}
    for label, (_, loss, difference, ratio, blimp, cost) in rows.items():
        arm = names[label]
        expect_loss(lab, arm, loss)
        expect_cost(lab, arm, cost)
        if arm == "plain":
            continue
        expect_difference(lab, arm, difference)
        expect_blimp(lab, arm, blimp)
        compute = arm_of(lab, arm)["reference_compute"]  # "about 2.27x (extrapolated) (2.17 to 2.38)"
        assert numbers(ratio) == numbers(compute) and ("extrapolated" in ratio) == ("extrapolated" in compute)
        # What is set in bold is what the lab calls better.
        bold = any(line.startswith(f"| {label} |") and "**" in line for line in PAGE.read_text().splitlines())
        assert bold == (comparison(lab, arm)["verdict"] == "better")
    text = " ".join(section(title).split())
    by_budget = [ratios(lab, "FLOPs", "rows_64k")[amount] for amount in sorted(ratios(lab, "FLOPs", "rows_64k"))]
    close(numbers(re.search(r"plain needs (\S+) times the FLOPs for \(.*?\)", text)[0]), by_budget[2], 2)
    tokens = ratios(lab, "raw tokens", "rows_64k")
    close(tokens[sorted(tokens)[2]][0], by_budget[2][0], 2)  # "as many times the tokens"
    said = re.search(rf"with the budget: ({NUMBER}) \(({NUMBER}) to ({NUMBER})\) at a quarter of it, ({NUMBER}) at half, ({NUMBER}) at the whole, .* about ({NUMBER}) at twice and ({NUMBER}) at three times", text)
    close([float(number) for number in said.groups()], by_budget[0] + [estimate for estimate, _, _ in by_budget[1:]], 2)
    said = re.search(rf"worse than memory alone by ({NUMBER}) nats \(({NUMBER}) to ({NUMBER}); exploratory\)", text)
    c = comparison(lab, "superposed_rows_64k", "rows_64k")
    close([float(number) for number in said.groups()], [c["difference"], c["low"], c["high"]], 3)
    gained = [arm_of(lab, arm)["nats_per_token"] for arm in ("rows_4k", "rows_64k")]
    close(float(re.search(rf"Sixteen times the rows, ({NUMBER}) nats", text)[1]), gained[0] - gained[1], 2)
