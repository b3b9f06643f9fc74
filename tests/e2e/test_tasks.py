"""`entrain eval --tasks` as a user meets it: its table, its JSON, what is met in training, and every mistake said clearly."""

import json

import pytest
from program import check_error, checkpoints, entrain, write_recipe

USAGE, DATA, IO = 2, 3, 5


@pytest.fixture(scope="module")
def checkpoint(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    entrain("train", write_recipe(folder / "recipe.toml", data), "--run", folder / "run")
    return checkpoints(folder / "run")[-1]


@pytest.fixture
def sets(tmp_path):
    """Invented items of two sets; the first BLiMP sentence has fourteen words."""
    folder = tmp_path / "sets"
    (folder / "copa").mkdir(parents=True)
    (folder / "blimp").mkdir()
    items = [{"premise": f"The {thing} fell over.", "choice1": "It broke.", "choice2": "It sang.", "question": "effect", "idx": i, "label": i % 2}
             for i, thing in enumerate(["jug", "cup", "vase", "lamp"])]
    (folder / "copa" / "validation.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    (folder / "blimp" / "pairs.tsv").write_text(
        "The old sailor who never learned to swim tells his sons about the storm.\tThe old sailor who never learned to swim tell his sons about the storm.\n"
        "All the birds that live beside the harbour sing before the sun comes up.\tAll the birds that live beside the harbour sings before the sun comes up.\n"
        "She sleeps.\tShe sleep.\n")
    return folder


def run(checkpoint, sets, *arguments):
    return json.loads(entrain("eval", checkpoint, "--tasks", "copa,blimp", "--data", sets, "--json", *arguments).stdout)["tasks"]


def test_json_and_table(checkpoint, sets):
    found = run(checkpoint, sets, "--items")
    assert list(found) == ["copa", "blimp"]
    assert (found["copa"]["n_items"], found["copa"]["shots"]) == (4, 0)
    acc, items = found["copa"]["metrics"]["acc"], found["copa"]["items"]
    column = found["copa"]["columns"].index("acc")
    assert acc["value"] == sum(item["values"][column] for item in items) / 4
    assert acc["chance"] == 0.5 and acc["interval"][0] <= acc["value"] <= acc["interval"][1]
    for i, item in enumerate(items):
        chosen = int(item["log_likelihoods"][1] > item["log_likelihoods"][0])
        assert item["values"][column] == float(chosen == i % 2)
    assert "items" not in run(checkpoint, sets)["copa"]
    assert run(checkpoint, sets, "--limit", 2)["blimp"]["n_items"] == 2
    # Four items cannot tell anything from chance (the smallest p-value is 1/8), and the table says so.
    done = entrain("eval", checkpoint, "--tasks", "copa", "--data", sets)
    line = next(line for line in done.stderr.decode().splitlines() if line.split()[:1] == ["acc"])
    assert "~ chance" in line and done.stdout == b""


def test_batches_do_not_change_scores(checkpoint, sets):
    one, many = (run(checkpoint, sets, "--items", "--batch-tokens", n)["blimp"]["items"] for n in (1, 4096))
    for a, b in zip(one, many, strict=True):
        assert a["log_likelihoods"] == pytest.approx(b["log_likelihoods"], abs=1e-4)


def test_items_met_in_training(checkpoint, sets, tmp_path):
    (tmp_path / "training.txt").write_text("They say the OLD sailor, who never learned to swim, tells his sons about the storm!\nAnd so on.\n")
    found = run(checkpoint, sets, "--items", "--contamination", tmp_path / "training.txt")
    blimp = found["blimp"]["contamination"]
    assert (blimp["n_contaminated"], blimp["n_not_checkable"], blimp["n_clean"]) == (1, 1, 2)
    column = found["blimp"]["columns"].index("acc")
    assert blimp["clean_metrics"]["acc"]["value"] == sum(item["values"][column] for item in found["blimp"]["items"][1:]) / 2
    assert found["copa"]["contamination"]["n_contaminated"] == 0
    assert "met in training: 1" in entrain("eval", checkpoint, "--tasks", "blimp", "--data", sets, "--contamination", tmp_path / "training.txt").stderr.decode()


def test_mistakes(checkpoint, sets, tmp_path, held_out_text):
    def fail(code, words, *arguments, hint=None):
        check_error(entrain("eval", checkpoint, *arguments, code=code), words, hint)

    fail(USAGE, ["--text", "--tasks"])
    fail(USAGE, ["--text", "--tasks"], "--tasks", "copa", "--data", sets, "--text", held_out_text)
    fail(USAGE, "--data", "--tasks", "copa")
    fail(USAGE, ["coppa", "did you mean copa?"], "--tasks", "coppa", "--data", sets, hint="lambada_openai")
    fail(IO, ["no folder", "missing"], "--tasks", "copa", "--data", tmp_path / "missing", hint="--data")
    fail(IO, ["no file", "piqa/valid-labels.lst"], "--tasks", "copa,piqa", "--data", sets, hint="docs/tasks.md")
    fail(USAGE, ["copa", "3 examples", "none to show"], "--tasks", "copa", "--data", sets, "--shots", 3, hint="--shots")
    fail(USAGE, "--limit", "--tasks", "copa", "--data", sets, "--limit", 0)
    fail(IO, "nothing.txt", "--tasks", "copa", "--data", sets, "--contamination", tmp_path / "nothing.txt")
    (sets / "copa" / "validation.jsonl").open("a").write('{"premise": "Cut sho')
    fail(DATA, ["copa/validation.jsonl:5", "is not a JSON object"], "--tasks", "copa", "--data", sets, hint="docs/tasks.md")
    (sets / "blimp" / "pairs.tsv").write_text("")
    fail(DATA, ["pairs.tsv", "holds no items"], "--tasks", "blimp", "--data", sets)
