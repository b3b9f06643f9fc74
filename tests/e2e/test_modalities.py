"""`entrain modalities`: a killed experiment goes on, the report exists, bad recipes are refused."""

import json
import signal
import subprocess
import time
import xml.dom.minidom

import pytest
from program import ENTRAIN, check_error, entrain, leftovers

TINY = {"items": 60, "held_out": 20, "shares": [0.1, 1.0], "seeds": [1, 2], "steps": 12, "batch": 8, "width": 16, "layers": 1, "heads": 2, "d": 8, "threads": 1}


def write(path, texts, tokenizer, **values):
    values = {"text": str(texts), "tokenizer": str(tokenizer), **TINY, **values}
    path.write_text("[modalities]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
    return path


def results(folder):
    """All results without what differs between equal runs."""
    found = {}
    for path in sorted((folder / "results").glob("*.json")):
        result = json.loads(path.read_text())
        result.pop("seconds")
        result.pop("finished_at")
        found[path.name] = result
    return found


@pytest.fixture(scope="module")
def finished(texts, tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("modalities")
    recipe = write(folder / "recipe.toml", texts, tokenizer)
    return recipe, folder / "out", json.loads(entrain("modalities", recipe, "--out", folder / "out", "--json").stdout)


def test_report(finished):
    _, out, summary = finished
    assert len(results(out)) == 12 and leftovers(out) == []
    assert summary["chance"] == [0.05, 0.25, 0.5] and len(summary["arms"]) == 6 and len(summary["differences"]) == 6
    assert [row["n_paired"] for row in summary["arms"]] == [6, 6, 6, 60, 60, 60]
    single = results(out)
    for row in summary["arms"]:
        scores = [single[f"bytes+bpe-{row['arm']}-{row['share']:g}-seed{seed}.json"]["scores"][0] for seed in (1, 2)]
        for k in range(3):
            mean = sum(score[way]["recall"][k] for score in scores for way in ("a_to_b", "b_to_a")) / 4
            assert row["recall"][k] == pytest.approx(mean, abs=1e-12)
        assert row["steps"] == sum(single[f"bytes+bpe-{row['arm']}-{row['share']:g}-seed{seed}.json"]["steps"] for seed in (1, 2)) / 2
    spent = {row["share"]: row["flops"] for row in summary["arms"] if row["arm"] == "hierarchical"}
    for row in summary["arms"]:
        assert 0 <= row["flops"] - spent[row["share"]] < 2 * row["flops"] / row["steps"], "equal FLOPs but for a part of the last step"
    report = (out / "report.md").read_text()
    assert "hierarchical - flat" in report and "recall.svg" in report and "[modalities]" in report and "chance is 5.0, 25.0 and 50.0" in report
    picture = (out / "recall.svg").read_text()
    xml.dom.minidom.parseString(picture)
    assert "bytes and bpe" in picture and "hierarchical" in picture and "<script" not in picture


def test_kill_and_go_on(finished, tmp_path):
    recipe, whole, _ = finished
    out = tmp_path / "out"
    process = subprocess.Popen([ENTRAIN, "modalities", recipe, "--out", out], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and len(list(out.glob("results/*.json"))) < 2:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {path.name: path.read_bytes() for path in (out / "results").glob("*.json")}
    assert 2 <= len(before)
    entrain("modalities", recipe, "--out", out)
    for name, content in before.items():
        assert (out / "results" / name).read_bytes() == content, "a finished run is not made again"
    assert results(out) == results(whole)


def test_more_seeds_keep_the_results(finished, tmp_path):
    recipe, _, _ = finished
    out = tmp_path / "out"
    entrain("modalities", recipe, "--out", out, "--set", "modalities.seeds=[1]", "--set", "modalities.shares=[1.0]")
    before = results(out)
    entrain("modalities", recipe, "--out", out, "--set", "modalities.seeds=[1, 3]", "--set", "modalities.shares=[1.0]")
    after = results(out)
    assert len(before) == 3 and len(after) == 6 and {name: after[name] for name in before} == before


def test_frames_are_kept(texts, tokenizer, tmp_path):
    recipe = write(tmp_path / "recipe.toml", texts, tokenizer, names=["glyphs", "bpe"], seeds=[1], shares=[1.0])
    entrain("modalities", recipe, "--out", tmp_path / "out")
    frames = tmp_path / "out/frames/glyphs.frames"
    first, size = frames.stat().st_mtime_ns, frames.stat().st_size
    entrain("modalities", recipe, "--out", tmp_path / "out", "--set", "modalities.seeds=[2]")
    assert frames.stat().st_mtime_ns == first and size > 60 * 16 * 8


@pytest.mark.parametrize("values,words", [
    ({"names": ["bytes", "bqe"], "width": 30, "batch": 500}, ["3 problems", "did you mean bpe?", "modalities.width", "modalities.batch"]),
    ({"names": ["bytes"]}, ["two modalities"]),
    ({"pairs": ["bytes+bytes"]}, ["twice"]),
    ({"shares": [0.0]}, ["modalities.shares"]),
    ({"arms": ["tall"]}, ["modalities.arms", "one or more of hierarchical, joint and flat"]),
    ({"match": "seconds"}, ["modalities.match"]),
    ({"step": 3, "lr": -1.0}, ["2 problems", "did you mean modalities.steps?", "modalities.lr"]),
])
def test_bad_recipes(values, words, texts, tokenizer, tmp_path):
    recipe = write(tmp_path / "recipe.toml", texts, tokenizer, **values)
    check_error(entrain("modalities", recipe, "--out", tmp_path / "out", code=2), words)
    assert not (tmp_path / "out").exists()


def test_bad_surroundings(finished, texts, tokenizer, tmp_path):
    recipe, out, _ = finished
    check_error(entrain("modalities", recipe, "--out", out, "--set", "modalities.lr=0.01", code=2), "other settings", "--out")
    small = write(tmp_path / "small.toml", texts, tokenizer, items=100000)
    check_error(entrain("modalities", small, "--out", tmp_path / "out", code=3), "are asked for", "modalities.items")
    font = write(tmp_path / "font.toml", texts, tokenizer, names=["glyphs", "bpe"], font="nowhere.ttf")
    check_error_last(entrain("modalities", font, "--out", tmp_path / "out", code=5), "nowhere.ttf")
    speech = write(tmp_path / "speech.toml", texts, tokenizer, names=["speech", "bpe"])
    check_error_last(entrain("modalities", speech, "--out", tmp_path / "out", code=5, env={"PATH": str(tmp_path)}), "espeak-ng")
    assert not (tmp_path / "out").exists()


def check_error_last(done, word):
    """An error after progress on standard error."""
    lines = done.stderr.decode().splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1 and any(word in line for line in lines[lines.index(errors[0]):]), lines
