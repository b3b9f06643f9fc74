"""Every command as documented, on tiny data."""

import gzip
import json
import os
import re
import shutil
import subprocess
import tomllib

import pytest
from program import ENTRAIN, ROOT, TINY, check_error, checkpoints, entrain, metrics, write_recipe


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    recipe = write_recipe(folder / "recipe.toml", data, {"budget.steps": 12, "optimizer.lr": 3e-2, "evaluation.every": 6, "checkpoint.every": 4,
                                                         "checkpoint.keep": 2, "evaluation.prompt": "The ", "evaluation.sample_tokens": 5})
    entrain("train", recipe, "--run", folder / "run")
    return recipe, folder / "run"


def json_of(done):
    """Standard output is one JSON object on one line and nothing else."""
    text = done.stdout.decode()
    assert text.count("\n") == 1 and text.endswith("\n")
    return json.loads(text)


# -- tokenizer, data ---------------------------------------------------------------------------------------------------


def test_tokenizer(texts, tmp_path):
    done = entrain("tokenizer", "train", "--text", texts, "--vocab-size", 400, "--pattern", "llama3", "--out", tmp_path / "t.json")
    assert done.stdout == b"" and "400 tokens from 40 documents" in done.stderr.decode(errors="replace")
    text = "The wombat's naïve dance, 1234 times.\n  \t" + (texts / "03.txt").read_text()[:1000]
    encoded = entrain("tokenizer", "encode", "--tokenizer", tmp_path / "t.json", stdin=text.encode()).stdout
    assert re.fullmatch(rb"\d+( \d+)*\n", encoded) and len(encoded.split()) < len(text)
    assert entrain("tokenizer", "decode", "--tokenizer", tmp_path / "t.json", stdin=encoded).stdout.decode() == text


def test_data_prepare_reads_every_kind_of_file(texts, tokenizer, tmp_path):
    documents = [(texts / f"{i:02}.txt").read_text() for i in range(6)]
    folder = tmp_path / "texts"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "a.txt").write_text(documents[0])
    (folder / "b.txt.gz").write_bytes(gzip.compress(documents[1].encode()))
    (folder / "ignored.md").write_text("not text of the corpus")
    (tmp_path / "c.jsonl").write_text("\n".join(json.dumps({"text": text, "id": 1}) for text in documents[2:4]) + "\n")
    (tmp_path / "d.jsonl.gz").write_bytes(gzip.compress(json.dumps({"text": documents[4]}).encode()))
    (tmp_path / "e.txt").write_text(documents[5])
    done = entrain("data", "prepare", "--text", folder, "--text", tmp_path / "c.jsonl", "--text", tmp_path / "d.jsonl.gz", tmp_path / "e.txt",
                   "--tokenizer", tokenizer, "--out", tmp_path / "data", "--val-fraction", "0.4")
    assert done.stdout == b""
    description = json.loads((tmp_path / "data" / "data.json").read_text())
    counts = [description[split] for split in ("train", "validation")]
    assert sum(count["documents"] for count in counts) == 6
    assert sum(count["bytes"] for count in counts) == sum(len(text.encode()) for text in documents)
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["data.json", "tokenizer.json", "train.tokens", "val.tokens"]
    assert (tmp_path / "data" / "tokenizer.json").read_bytes() == tokenizer.read_bytes()


def test_data_prepare_is_the_same_every_time(data, texts, tokenizer, tmp_path):
    entrain("data", "prepare", "--text", texts, "--tokenizer", tokenizer, "--out", tmp_path / "data")
    for name in ("train.tokens", "val.tokens", "tokenizer.json"):
        assert (tmp_path / "data" / name).read_bytes() == (data / name).read_bytes()


# -- train -------------------------------------------------------------------------------------------------------------


def test_train_leaves_the_documented_run(trained):
    _, run = trained
    assert sorted(path.name for path in run.iterdir()) == ["checkpoints", "config.toml", "metrics.jsonl", "samples.txt", "text.json"]
    kept = [path.name for path in checkpoints(run)]
    assert kept[-2:] == ["step-00000008", "step-00000012"] and len(kept) <= 3  # the newest two, and the best
    for checkpoint in checkpoints(run):
        assert sorted(path.name for path in checkpoint.iterdir()) == [
            "config.json", "manifest.json", "model.safetensors", "optimizer.safetensors", "state.json", "tokenizer.json", "tokenizer_config.json"]
    lines = metrics(run)
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 13))
    assert [line["step"] for line in lines if "validation_nats_per_token" in line] == [6, 12]
    assert lines[0]["raw_tokens"] == 2 * 16 and lines[-1]["raw_tokens"] == 12 * 2 * 16
    assert (run / "samples.txt").read_bytes().count(b"\nThe ") >= 2


def test_resolved_recipe_gives_the_same_run(trained, tmp_path):
    entrain("train", trained[1] / "config.toml", "--run", tmp_path / "run")
    assert metrics(tmp_path / "run") == metrics(trained[1])
    assert (tmp_path / "run" / "config.toml").read_bytes() == (trained[1] / "config.toml").read_bytes()


def test_settings_override_the_recipe(trained, tmp_path):
    done = entrain("train", trained[0], "--set", "budget.steps=3", "--set", "model.family=gpt2", "--set", "evaluation.prompt=\"\"", "--run", tmp_path / "run")
    assert done.stdout == b""
    resolved = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    assert resolved["budget"]["steps"] == 3 and resolved["model"]["family"] == "gpt2" and resolved["model"]["vocab_size"] == 512
    assert metrics(tmp_path / "run")[-1]["step"] == 3


@pytest.mark.parametrize("budget,n_steps", [({"budget.tokens": 320}, 10), ({"budget.flops": None}, 5), ({"budget.seconds": 0.3}, None)])
def test_budgets(budget, n_steps, trained, data, tmp_path):
    if "budget.flops" in budget:
        budget = {"budget.flops": 5 * metrics(trained[1])[0]["flops"]}
    base = {key: value for key, value in TINY.items() if key != "budget.steps"}
    run = tmp_path / "run"
    entrain("train", write_recipe(tmp_path / "recipe.toml", data, budget, base=base), "--run", run)
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    if n_steps:
        assert last["step"] == n_steps
    else:
        assert last["seconds"] >= 0.3


# -- eval, generate ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folders(trained, tmp_path_factory):
    """The same model as a run, a checkpoint and a Hugging Face folder."""
    checkpoint = checkpoints(trained[1])[-1]
    plain = tmp_path_factory.mktemp("model")
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        shutil.copy(checkpoint / name, plain)
    return [trained[1], checkpoint, plain]


def test_eval(folders, held_out_text):
    scores = [json_of(entrain("eval", folder, "--text", held_out_text, "--json")) for folder in folders]
    assert scores[0] == scores[1] == scores[2]
    score = scores[0]
    assert score["context"] == 16 and 0 < score["bits_per_byte"] < score["nats_per_token"] < 6.3
    assert score["nats_per_token"] == pytest.approx(score["nats"] / score["tokens"])
    done = entrain("eval", folders[0], "--text", held_out_text)
    assert done.stdout == b"" and f"{score['nats_per_token']:.4f} nats/token" in done.stderr.decode(errors="replace")


def test_eval_of_the_held_out_split_is_the_logged_one(trained, data, tmp_path):
    """The held-out documents, decoded from the token file, score what training logged for all of them."""
    entrain("train", trained[0], "--set", "evaluation.tokens=0", "--run", tmp_path / "run")
    logged = [line for line in metrics(tmp_path / "run") if "validation_nats_per_token" in line][-1]
    n_tokens = json.loads((data / "data.json").read_text())["validation"]["tokens"]
    ids = memoryview((data / "val.tokens").read_bytes())[72: 72 + 2 * n_tokens].cast("H")  # docs/formats.md
    text = entrain("tokenizer", "decode", "--tokenizer", data / "tokenizer.json", stdin=" ".join(map(str, ids)).encode()).stdout.decode()
    (tmp_path / "val.jsonl").write_text("\n".join(json.dumps({"text": t}) for t in text.split("<|endoftext|>") if t) + "\n")
    score = json_of(entrain("eval", tmp_path / "run", "--text", tmp_path / "val.jsonl", "--json"))
    assert score["nats_per_token"] == pytest.approx(logged["validation_nats_per_token"], abs=1e-9)
    assert score["bits_per_byte"] == pytest.approx(logged["validation_bits_per_byte"], abs=1e-9)


def test_generate(folders):
    options = ["--prompt", "The of", "--tokens", 20, "--temperature", 0.9, "--top-k", 40, "--top-p", 0.95, "--min-p", 0.01, "--seed", 7]
    answers = [json_of(entrain("generate", folder, *options, "--json")) for folder in folders]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0]["prompt"] == "The of" and len(answers[0]["ids"]) <= 20
    plain = entrain("generate", folders[0], *options).stdout
    assert plain.decode(errors="replace").startswith("The of") and plain.endswith(b"\n")
    assert plain.decode(errors="replace") == "The of" + answers[0]["text"] + "\n"
    other = json_of(entrain("generate", folders[0], *options[:-1], 8, "--json"))
    assert other["ids"] != answers[0]["ids"]


def test_generate_filters(folders):
    """Each filter at its strictest leaves only the likeliest token."""
    def ids(*options):
        return json_of(entrain("generate", folders[0], "--prompt", "The", "--tokens", 12, "--json", *options))["ids"]
    greedy = ids("--temperature", 0)
    assert ids("--top-k", 1) == ids("--top-p", 0) == ids("--min-p", 1) == ids("--temperature", 1e-6) == greedy
    assert ids("--seed", 1) != greedy
    assert len(json_of(entrain("generate", folders[0], "--prompt", "", "--tokens", 3, "--json"))["prompt_ids"]) == 0
    assert json_of(entrain("generate", folders[0], "--prompt", "x", "--tokens", 0, "--json"))["ids"] == []


# -- compare -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compared(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    arms = {"plain": {"model.family": "llama"}, "bags": {"superposition.mode": "full", "superposition.bag": 2, "superposition.ratio": 0.5}}
    recipe = write_recipe(folder / "recipe.toml", data, {"budget.steps": 8, "compare.ladder": [0.5], "compare.resamples": 200, "compare.block_tokens": 64,
                                                         "compare.prompt": "The", "compare.sample_tokens": 5}, arms)
    done = entrain("compare", recipe, "--out", folder / "out", "--seeds", 2, "--json")
    return recipe, folder / "out", done


def table(done):
    return [line for line in done.stderr.decode(errors="replace").splitlines() if line.startswith("|")]


def test_compare(compared):
    _, out, done = compared
    report = json_of(done)
    plain, bags = report["arms"]
    assert [plain["arm"], bags["arm"]] == ["plain", "bags"] and plain["seeds"] == [1, 2] and report["match"] == "flops"
    assert plain["flops"] == bags["flops"] and bags["raw_tokens"] == 1.5 * plain["raw_tokens"]
    pair = report["comparisons"][0]
    assert pair["declared_primary"] and pair["metric"] == "loss"
    assert pair["difference"] == pytest.approx(bags["nats_per_token"] - plain["nats_per_token"], abs=1e-9)
    assert pair["low"] <= pair["difference"] <= pair["high"]
    flops = next(axis for axis in report["efficiency"] if axis["axis"] == "FLOPs")
    assert len({point["amount"] for point in flops["points"] if point["arm"] == "plain"}) == 2
    assert json.loads((out / "report.json").read_text()) == report
    lines = (out / "report.md").read_text(errors="replace").splitlines()
    assert len(table(done)) > 4 and all(line in lines for line in table(done))
    assert any(word in done.stderr.decode(errors="replace") for word in ("beats", "does not pay", "no significant difference"))
    assert {"results", "runs", "report", "report.json", "report.md", "lab.sqlite", "plan.toml", "plan.lock"} <= {path.name for path in out.iterdir()}


def test_compare_again_trains_nothing(compared):
    recipe, out, done = compared
    before = {path: path.stat().st_mtime_ns for folder in ("results", "runs") for path in (out / folder).rglob("*") if path.is_file()}
    again = entrain("compare", recipe, "--out", out, "--seeds", 2, "--json")
    assert again.stdout == done.stdout and table(again) == table(done)
    assert {path: path.stat().st_mtime_ns for folder in ("results", "runs") for path in (out / folder).rglob("*") if path.is_file()} == before


def without_time(report):
    for arm in report["arms"]:
        arm.pop("seconds")
    report.pop("first_result_at")
    report.pop("cautions")
    report["efficiency"] = [axis for axis in report["efficiency"] if axis["axis"] != "seconds"]
    return report


def test_compare_goes_on_where_it_was_stopped(compared, tmp_path):
    recipe, out, done = compared
    shutil.copytree(out, tmp_path / "out")
    for name in ("bags/seed-2", "plain-x0.5/seed-1"):
        shutil.rmtree(tmp_path / "out" / "runs" / name)
        (tmp_path / "out" / "results" / f"{name}.json").unlink()
    again = json_of(entrain("compare", recipe, "--out", tmp_path / "out", "--seeds", 2, "--json"))
    assert without_time(again) == without_time(json_of(done))


def test_compare_refuses_other_recipes_and_single_arms(compared, data, tmp_path):
    recipe, out, _ = compared
    done = entrain("compare", recipe, "--out", out, "--set", "optimizer.lr=0.5", "--seeds", 2, code=2)
    assert done.stderr.decode(errors="replace").startswith("error: ") and "another recipe" in done.stderr.decode(errors="replace")
    done = entrain("compare", write_recipe(tmp_path / "one.toml", data), "--out", tmp_path / "out", code=2)
    assert "at least two arms" in done.stderr.decode(errors="replace") and not (tmp_path / "out").exists()
    bad = write_recipe(tmp_path / "bad.toml", data, {}, {"a": {"model.width": 16}, "b": {"modle.width": 16}})
    done = entrain("compare", bad, "--out", tmp_path / "out", code=2)
    assert "arm b" in done.stderr.decode(errors="replace") and "did you mean model.width?" in done.stderr.decode(errors="replace") and not (tmp_path / "out").exists()


# -- info, config, help ------------------------------------------------------------------------------------------------


def test_info():
    info = json_of(entrain("info", "--json"))
    assert {"version", "torch", "cpu", "kernels", "threads"} <= set(info)
    done = entrain("info")
    assert info["version"] in done.stdout.decode() and done.stderr == b""


def test_threads_that_wait_do_not_spin(tmp_path):
    """The OpenMP runtime prints what it read when it was loaded."""
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_"))} | {"OMP_DISPLAY_ENV": "verbose"}

    def shown(**more):
        return subprocess.run([ENTRAIN, "--version"], env=plain | more, capture_output=True, text=True, check=True).stderr

    assert "OMP_WAIT_POLICY = 'PASSIVE'" in shown()
    assert "OMP_WAIT_POLICY = 'ACTIVE'" in shown(OMP_WAIT_POLICY="active"), "the user's own setting holds"
    assert "GOMP_SPINCOUNT = '77'" in shown(GOMP_SPINCOUNT="77")
    alone = shutil.copy(ENTRAIN, tmp_path / "entrain")
    check_error(subprocess.run([alone, "--version"], capture_output=True), [str(tmp_path / "entrain-program"), "No such file"], hint="build or install")


def test_config_show(trained, compared, data):
    shown = entrain("config", "--show", trained[0]).stdout.decode()
    resolved = tomllib.loads(shown)
    assert resolved["data"]["path"] == str(data) and resolved["model"]["width"] == 16 and resolved["model"]["mlp_width"] == 64
    assert tomllib.loads(entrain("config", "--show", trained[0], "--set", "train.rows=6").stdout.decode())["train"]["rows"] == 6
    arms = re.split(r"^# arm (\w+)\n", entrain("config", "--show", compared[0]).stdout.decode(), flags=re.M)
    assert arms[1] == "plain" and arms[3] == "bags"
    assert tomllib.loads(arms[4])["superposition"]["bag"] == 2


@pytest.mark.parametrize("recipe", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda path: path.name)
def test_recipes_of_the_repository_are_valid(recipe):
    entrain("config", "--show", recipe, cwd=ROOT)


def test_config_page_is_fresh():
    page = ROOT / "docs" / "config.md"
    if not page.exists():
        pytest.skip("docs/config.md is not written yet")
    assert page.read_text() == entrain("config", "--docs").stdout.decode()


def test_help_and_version():
    text = entrain("--help").stdout.decode()
    for verb in ("data", "tokenizer", "train", "compare", "eval", "generate", "info", "config"):
        assert re.search(rf"^\s+{verb}\b", text, re.M)
        assert b"--help" in entrain(verb, "--help").stdout
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", entrain("--version").stdout.decode())
