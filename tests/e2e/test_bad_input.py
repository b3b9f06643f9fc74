"""Everything a user can get wrong gives one clear error, the documented exit code, and leaves no partial file."""

import gzip
import json
import os
import random
import resource
import shutil
import signal
import subprocess

import pytest
from program import ENTRAIN, check_error, checkpoints, entrain, leftovers, metrics, write_recipe

USAGE, DATA, NUMERIC, IO = 2, 3, 4, 5


def fail(code, words, *arguments, hint=None, stdin=b"", **options):
    done = entrain(*arguments, code=code, stdin=stdin, **options)
    check_error(done, words, hint)
    return done.stderr.decode(errors="replace")


# -- Recipes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting,words", [
    ("modle.width=64", ["modle.width", "did you mean model.width?"]),
    ("train.row=4", ["train.row", "did you mean train.rows?"]),
    ("optimizer.zzzzzzzz=4", ["unknown key optimizer.zzzzzzzz"]),
    ("train.rows=\"four\"", ["train.rows", "whole number"]),
    ("train.rows=2.5", ["train.rows", "whole number"]),
    ("train.rows=0", ["train.rows", "must lie in"]),
    ("optimizer.lr=-1", ["optimizer.lr", "must lie in"]),
    ("optimizer.lr=nan", ["optimizer.lr", "must lie in"]),
    ("model.tied_head=1", ["model.tied_head", "true or false"]),
    ("model.family=\"lama\"", ["lama", "did you mean llama?"]),
    ("model.heads=16", ["rotary", "head_width"]),  # head width 1
    ("model.heads=3", ["model.width (16)", "no multiple of model.heads (3)", "change one of them"]),
    ("model.kv_heads=3", ["kv_heads", "no multiple"]),
    ("train.micro_batches=3", ["train.rows", "train.micro_batches"]),
    ("budget.tokens=1000", ["[budget]", "exactly one"]),
    ("budget.steps=0", ["[budget]", "exactly one"]),
    ("data.path=\"\"", ["data.path"]),
    ("model.vocab_size=300", ["model.vocab_size", "300", "512"]),
    ("model.head_init=\"zero\"", ["head_init", "untied"]),
    ("rows", ["--set", "section.key=value"]),
])
def test_recipe_settings(setting, words, data, tmp_path):
    recipe = write_recipe(tmp_path / "recipe.toml", data)
    fail(USAGE, words, "train", recipe, "--set", setting, "--run", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_several_problems_at_once(data, tmp_path):
    recipe = write_recipe(tmp_path / "recipe.toml", data, {"modle.width": 3, "train.rows": "x", "optimizer.lr": -1.0})
    text = fail(USAGE, ["modle.width", "train.rows", "optimizer.lr", "3 problems"], "train", recipe, "--run", tmp_path / "run", hint="docs/config.md")
    assert text.count("line ") == 3  # where each stands
    assert not (tmp_path / "run").exists()


def test_several_shape_problems_at_once(data, tmp_path):
    recipe = write_recipe(tmp_path / "recipe.toml", data, {"model.heads": 16, "model.kv_heads": 3, "train.micro_batches": 3})
    fail(USAGE, ["rotary", "kv_heads", "micro_batches"], "train", recipe, "--run", tmp_path / "run")


def test_recipe_is_not_toml(data, tmp_path):
    (tmp_path / "recipe.toml").write_text("[model]\nwidth = = 3\n")
    fail(USAGE, ["recipe.toml:2:"], "train", tmp_path / "recipe.toml", "--run", tmp_path / "run", hint="TOML")


def test_missing_recipe(tmp_path):
    fail(IO, ["nowhere.toml", "No such file"], "train", tmp_path / "nowhere.toml", "--run", tmp_path / "run", hint="check the path")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("arguments,word", [
    ([], "subcommand"), (["trian"], "no command trian; did you mean train?"), (["data", "prepair"], "did you mean prepare?"), (["train"], "recipe"), (["train", "x.toml"], "--run"), (["train", "x.toml", "--run", "r", "--rezume"], "--rezume"),
    (["generate", "x", "--tokens", "many"], "many is no number"), (["generate", "x", "--tokens", "2.5"], "--tokens"), (["generate", "x", "--temperature", "-1"], "at least 0"), (["generate", "x", "--top-p", "2"], "--top-p"),
    (["eval", "x"], "--text"), (["config"], "--show"), (["data"], "subcommand"), (["tokenizer", "train"], "--text"),
    (["compare", "x.toml", "--out", "o", "--seeds", "0"], "--seeds"),
])
def test_command_line(arguments, word):
    fail(USAGE, word, *arguments, hint="--help")


# -- Text and tokenizers -----------------------------------------------------------------------------------------------


def test_missing_text(tokenizer, tmp_path):
    for verb in (["data", "prepare", "--tokenizer", tokenizer, "--out", tmp_path / "out"], ["tokenizer", "train", "--vocab-size", 300, "--out", tmp_path / "out"]):
        fail(IO, ["nowhere.txt"], *verb, "--text", tmp_path / "nowhere.txt", hint="check the path")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_empty_text(content, tokenizer, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text(content)
    for verb in (["data", "prepare", "--tokenizer", tokenizer, "--out", tmp_path / "out"], ["tokenizer", "train", "--vocab-size", 300, "--out", tmp_path / "out"]):
        fail(DATA, ["no text", "text.txt"], *verb, "--text", text)
    assert list(tmp_path.iterdir()) == [text]


def test_folder_without_text(tokenizer, tmp_path):
    (tmp_path / "folder").mkdir()
    fail(DATA, ["folder", ".jsonl"], "data", "prepare", "--tokenizer", tokenizer, "--out", tmp_path / "out", "--text", tmp_path / "folder")
    assert not (tmp_path / "out").exists()


def test_text_shorter_than_a_row(tokenizer, tmp_path):
    (tmp_path / "text.txt").write_text("Just a few words here.\nAnd a second line of them.\n")
    entrain("data", "prepare", "--tokenizer", tokenizer, "--text", tmp_path / "text.txt", "--out", tmp_path / "data")
    recipe = write_recipe(tmp_path / "recipe.toml", tmp_path / "data", {"model.context": 4096, "train.rows": 1})
    fail(DATA, ["train.tokens", "4096"], "train", recipe, "--run", tmp_path / "run", hint="more text")
    recipe = write_recipe(tmp_path / "recipe.toml", tmp_path / "data", {"train.rows": 4096})
    fail(DATA, ["train.tokens", "4096 rows"], "train", recipe, "--run", tmp_path / "run", hint="more text")
    assert not (tmp_path / "run").exists()


def test_vocabulary_too_small(texts, tmp_path):
    fail(USAGE, ["256", "257"], "tokenizer", "train", "--text", texts, "--vocab-size", 256, "--out", tmp_path / "t.json")
    assert list(tmp_path.iterdir()) == []


def broken_json_line(path):
    path.write_text('{"text": "fine"}\n{"text": "broken\n')


def line_without_text(path):
    path.write_text('{"text": "fine"}\n{"body": "no text"}\n')


def broken_gzip(path):
    packed = bytearray(gzip.compress(os.urandom(2000).hex().encode()))
    packed[len(packed) // 2] ^= 0x10
    path.write_bytes(packed)


def truncated_gzip(path):
    path.write_bytes(gzip.compress(os.urandom(2000).hex().encode())[:-300])


def no_gzip(path):
    path.write_text("plain text")


@pytest.mark.parametrize("name,make,words", [
    ("a.jsonl", broken_json_line, ["a.jsonl:2", "not JSON"]), ("a.jsonl", line_without_text, ["a.jsonl:2", '"text"']),
    ("a.txt.gz", broken_gzip, ["a.txt.gz", "gzip"]), ("a.txt.gz", truncated_gzip, ["a.txt.gz", "gzip"]), ("a.txt.gz", no_gzip, ["a.txt.gz", "gzip"]),
])
def test_broken_text_files(name, make, words, tokenizer, tmp_path):
    make(tmp_path / name)
    fail(DATA, words, "data", "prepare", "--tokenizer", tokenizer, "--text", tmp_path / name, "--out", tmp_path / "out")
    fail(DATA, words, "tokenizer", "train", "--text", tmp_path / name, "--vocab-size", 300, "--out", tmp_path / "t.json")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_failed_preparation_keeps_the_earlier_folder(texts, tokenizer, tmp_path):
    out = tmp_path / "data"
    entrain("data", "prepare", "--tokenizer", tokenizer, "--text", texts, "--out", out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    broken_json_line(tmp_path / "a.jsonl")
    fail(DATA, "a.jsonl:2", "data", "prepare", "--tokenizer", tokenizer, "--text", texts, tmp_path / "a.jsonl", "--out", out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_tokenizer_files(texts, tmp_path):
    (tmp_path / "t.json").write_text('{"model": ')
    fail(DATA, "t.json", "data", "prepare", "--tokenizer", tmp_path / "t.json", "--text", texts, "--out", tmp_path / "out")
    fail(IO, "none.json", "tokenizer", "encode", "--tokenizer", tmp_path / "none.json")
    assert not (tmp_path / "out").exists()


def test_ids_to_decode(tokenizer):
    fail(DATA, "seven", "tokenizer", "decode", "--tokenizer", tokenizer, stdin=b"5 seven")
    fail(DATA, "99999", "tokenizer", "decode", "--tokenizer", tokenizer, stdin=b"5 99999")


# -- Data folders ------------------------------------------------------------------------------------------------------


def test_no_data_folder(tmp_path):
    recipe = write_recipe(tmp_path / "recipe.toml", tmp_path / "nowhere")
    fail(DATA, ["nowhere", "no prepared data"], "train", recipe, "--run", tmp_path / "run", hint="entrain data prepare")
    assert not (tmp_path / "run").exists()


def test_tokenizer_of_other_data(data, texts, tmp_path):
    shutil.copytree(data, tmp_path / "data")
    entrain("tokenizer", "train", "--text", texts / "00.txt", "--vocab-size", 512, "--out", tmp_path / "data" / "tokenizer.json")
    recipe = write_recipe(tmp_path / "recipe.toml", tmp_path / "data")
    fail(DATA, ["train.tokens", "another tokenizer"], "train", recipe, "--run", tmp_path / "run", hint="prepare the data again")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["train.tokens", "val.tokens"])
def test_damaged_token_files(name, small_data, tmp_path):
    """Cut short anywhere or with any bit flipped, a token file is refused before training starts."""
    shutil.copytree(small_data, tmp_path / "data")
    recipe = write_recipe(tmp_path / "recipe.toml", tmp_path / "data")
    whole = (small_data / name).read_bytes()
    rng = random.Random(name)
    damaged = [whole[:n] for n in (0, 10, 72, len(whole) // 2, len(whole) - 1)] + [whole + b"\0"]
    for place in [0, 9, 20, 40, rng.randrange(72, len(whole)), rng.randrange(72, len(whole)), len(whole) - 3]:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << rng.randrange(8)
        damaged.append(bytes(flipped))
    for content in damaged:
        (tmp_path / "data" / name).write_bytes(content)
        fail(DATA, name, "train", recipe, "--run", tmp_path / "run", hint="entrain data prepare")
    (tmp_path / "data" / name).unlink()
    fail(IO, name, "train", recipe, "--run", tmp_path / "run")
    assert not (tmp_path / "run").exists()


# -- Runs and checkpoints ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """A run of six steps with checkpoints at 2, 4 and 6, and its recipe."""
    folder = tmp_path_factory.mktemp("trained")
    recipe = write_recipe(folder / "recipe.toml", data, {"budget.steps": 6, "checkpoint.every": 2, "checkpoint.keep": 3})
    entrain("train", recipe, "--run", folder / "run")
    assert len(checkpoints(folder / "run")) == 3
    return recipe, folder / "run"


@pytest.fixture()
def run(trained, tmp_path):
    shutil.copytree(trained[1], tmp_path / "run")
    return tmp_path / "run"


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_run_exists_already(trained):
    recipe, run = trained
    before = content(run)
    fail(USAGE, [str(run), "holds a run already"], "train", recipe, "--run", run, hint="--resume")
    assert content(run) == before


def test_resume_without_a_run(trained, tmp_path):
    fail(USAGE, [str(tmp_path / "run"), "no run to resume"], "train", trained[0], "--run", tmp_path / "run", "--resume", hint="--resume")
    assert not (tmp_path / "run").exists()


def test_resume_with_another_recipe(trained):
    recipe, run = trained
    before = content(run)
    fail(USAGE, [str(run), "recipe differs", "optimizer.lr (0.01 there, 0.5 here)"], "train", recipe, "--set", "optimizer.lr=0.5", "--run", run, "--resume", hint="config.toml")
    assert content(run) == before


def test_resume_on_other_text(data, tmp_path):
    """Text prepared anew under a run is told before anything is read from it; with its own text the run goes on."""
    copy, run = shutil.copytree(data, tmp_path / "data"), tmp_path / "run"
    recipe = write_recipe(tmp_path / "recipe.toml", copy, {"budget.steps": 3})
    entrain("train", recipe, "--run", run)
    before, own = content(run), (copy / "train.tokens").read_bytes()
    (copy / "train.tokens").write_bytes((copy / "val.tokens").read_bytes())
    fail(USAGE, [str(copy), "other text", str(run)], "train", recipe, "--run", run, "--resume", hint="prepare the text")
    assert content(run) == before
    (copy / "train.tokens").write_bytes(own)
    entrain("train", recipe, "--run", run, "--resume")
    assert content(run) == before


def test_unknown_run_folder(held_out_text, tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "nowhere", tmp_path / "empty"):
        fail(USAGE, str(folder), "eval", folder, "--text", held_out_text, hint="run folder")
        fail(USAGE, str(folder), "generate", folder, "--prompt", "x", hint="run folder")
    assert not (tmp_path / "nowhere").exists()


def test_eval_of_missing_and_empty_text(trained, tmp_path):
    fail(IO, "nowhere.txt", "eval", trained[1], "--text", tmp_path / "nowhere.txt")
    (tmp_path / "empty.txt").write_text("")
    fail(DATA, "empty.txt", "eval", trained[1], "--text", tmp_path / "empty.txt")


DAMAGES = {
    "truncated": lambda path, rng: path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)]),
    "bit flipped": lambda path, rng: path.write_bytes(flip(path.read_bytes(), rng)),
    "missing": lambda path, rng: path.unlink(),
}


def flip(content, rng):
    flipped = bytearray(content)
    flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return bytes(flipped)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json", "config.json", "tokenizer.json", "manifest.json"])
def test_damaged_checkpoint_is_passed_over(name, damage, trained, run):
    """The newest checkpoint is damaged: resuming says so, takes the one before, and ends as if nothing had happened."""
    recipe, whole = trained
    DAMAGES[damage](checkpoints(run)[-1] / name, random.Random(name + damage))
    done = entrain("train", recipe, "--run", run, "--resume")
    text = done.stderr.decode(errors="replace")
    if name == "manifest.json" and damage == "bit flipped" and "resumed at step 6" in text:
        return  # white space: it still says the same
    assert "warning: checkpoint" in text and "step-00000006 is damaged" in text and "resumed at step 4" in text
    assert (checkpoints(run)[-1] / "model.safetensors").read_bytes() == (checkpoints(whole)[-1] / "model.safetensors").read_bytes()
    assert metrics(run) == metrics(whole)


def test_all_checkpoints_damaged(trained, run, held_out_text):
    for checkpoint in checkpoints(run):
        (checkpoint / "model.safetensors").write_bytes(b"")
    fail(DATA, ["no sound checkpoint"], "eval", run, "--text", held_out_text)
    # Nothing sound to resume from: it says which are damaged and begins again rather than ending in a state nobody can use.
    done = entrain("train", trained[0], "--run", run, "--resume")
    assert done.stderr.decode(errors="replace").count("is damaged") == 3
    assert metrics(run) == metrics(trained[1])


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
@pytest.mark.parametrize("damage", ["truncated", "missing", "nonsense"])
def test_damaged_model_folder(name, damage, trained, held_out_text, tmp_path):
    """A folder of three files without a manifest, as from elsewhere."""
    folder = tmp_path / "model"
    folder.mkdir()
    for file in ("config.json", "model.safetensors", "tokenizer.json"):
        shutil.copy(checkpoints(trained[1])[-1] / file, folder)
    if damage == "nonsense":
        (folder / name).write_bytes(random.Random(1).randbytes(500))
    elif damage == "truncated":
        (folder / name).write_bytes((folder / name).read_bytes()[:-100])
    else:
        (folder / name).unlink()
    if damage == "missing":
        code = USAGE if name == "config.json" else IO
    else:
        code = DATA
    for verb in (["eval", folder, "--text", held_out_text], ["generate", folder, "--prompt", "x"]):
        fail(code, str(folder) if name == "config.json" else name, *verb)


def test_config_and_weights_of_different_models(trained, held_out_text, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(checkpoints(trained[1])[-1], folder)
    config = json.loads((folder / "config.json").read_text())
    for change, words in (({"num_hidden_layers": 2}, ["missing", "layers.1"]), ({"hidden_size": 32}, ["another shape"]), ({"model_type": "mamba"}, ["mamba"]),
                          ({"rope_parameters": {"rope_type": "yarn"}}, ["yarn"]), ({"vocab_size": -1}, ["impossible size"]), ({"hidden_size": "wide"}, ["config.json"])):
        (folder / "config.json").write_text(json.dumps({**config, **change}))
        fail(DATA, words, "eval", folder, "--text", held_out_text)


def test_gpt2_beyond_its_positions(data, tmp_path):
    recipe = write_recipe(tmp_path / "recipe.toml", data, {"model.family": "gpt2"})
    entrain("train", recipe, "--run", tmp_path / "run")
    done = entrain("generate", tmp_path / "run", "--prompt", "The", "--tokens", 500, "--json", code=USAGE)
    check_error(done, ["gpt2", "16 positions"], hint="shorten")


# -- Numbers -----------------------------------------------------------------------------------------------------------


def test_non_finite_loss_stops_the_run(data, tmp_path):
    recipe = write_recipe(tmp_path / "recipe.toml", data, {"optimizer.lr": 100.0, "model.family": "gpt2", "schedule.name": "constant", "schedule.warmup": 0.0,
                                                           "train.clip": 0.0, "optimizer.weight_decay": 100.0, "optimizer.embedding_weight_decay": 100.0,
                                                           "budget.steps": 200, "checkpoint.every": 1, "checkpoint.keep": 2})
    run = tmp_path / "run"
    done = entrain("train", recipe, "--run", run, code=NUMERIC)
    text = "\n".join(line for line in done.stderr.decode(errors="replace").splitlines() if line.startswith(("error:", "hint:")))
    steps = metrics(run)
    assert f"not finite at step {steps[-1]['step'] + 1}," in text and "learning rate" in text
    assert all(record["loss"] == record["loss"] for record in steps if "loss" in record)  # nothing of the bad step was logged
    last = checkpoints(run)[-1]
    assert last.name == f"step-{steps[-1]['step']:08}"
    assert leftovers(run) == []
    manifest = json.loads((last / "manifest.json").read_text())["files"]
    assert all((last / name).stat().st_size == entry["bytes"] for name, entry in manifest.items())
    # The same step fails in the same way.
    again = entrain("train", recipe, "--run", run, "--resume", code=NUMERIC)
    assert f"not finite at step {steps[-1]['step'] + 1}," in again.stderr.decode(errors="replace")


# -- Full disks and closed pipes ---------------------------------------------------------------------------------------


def limit_file_size(n_bytes):
    def before_start():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit then fails with EFBIG
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, resource.RLIM_INFINITY))
    return before_start


def check_io_error(text):
    errors = [line for line in text.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and ("File too large" in errors[0] or "No space left" in errors[0]), text


def test_files_that_cannot_grow(data, texts, tokenizer, tmp_path):
    """Every command that writes: error 5 and no partial file when the system refuses the bytes."""
    for arguments in (["data", "prepare", "--text", texts, "--tokenizer", tokenizer, "--out", tmp_path / "out"],
                      ["tokenizer", "train", "--text", texts, "--vocab-size", 512, "--out", tmp_path / "t.json"]):
        done = entrain(*arguments, code=IO, preexec_fn=limit_file_size(8000))
        check_io_error(done.stderr.decode(errors="replace"))
        assert list(tmp_path.iterdir()) == []

    recipe = write_recipe(tmp_path / "recipe.toml", data, {"model.width": 64, "budget.steps": 6, "checkpoint.every": 2})
    entrain("train", recipe, "--run", tmp_path / "whole")
    run = tmp_path / "run"
    done = entrain("train", recipe, "--run", run, code=IO, preexec_fn=limit_file_size(50_000))
    check_io_error(done.stderr.decode(errors="replace"))
    assert leftovers(run) == [] and checkpoints(run) == []
    entrain("train", recipe, "--run", run, "--resume")
    assert metrics(run) == metrics(tmp_path / "whole")
    assert (checkpoints(run)[-1] / "model.safetensors").read_bytes() == (checkpoints(tmp_path / "whole")[-1] / "model.safetensors").read_bytes()


FULL_DISK = r"""
set -u
mount -t tmpfs -o size=3m none "$DISK" || exit 77
"$ENTRAIN" train "$RECIPE" --run "$DISK/run" --set budget.steps=6 >"$OUT/first" 2>&1
echo $? >"$OUT/first.code"
find "$DISK" -name '.*' >"$OUT/leftovers"
ls "$DISK/run/checkpoints" >"$OUT/checkpoints"
mount -o remount,size=64m "$DISK"
"$ENTRAIN" train "$RECIPE" --run "$DISK/run" --set budget.steps=6 --resume >"$OUT/second" 2>&1
echo $? >"$OUT/second.code"
cp -r "$DISK/run" "$OUT/run"
"""


def test_full_disk(data, tmp_path):
    """A file system that fills up in the middle of a run; after making room, the same command with --resume ends as it would have."""
    for name in ("disk", "out"):
        (tmp_path / name).mkdir()
    # A checkpoint takes about 700 kB, so the fourth does not fit.
    recipe = write_recipe(tmp_path / "recipe.toml", data, {"model.width": 64, "checkpoint.every": 1, "checkpoint.keep": 10})
    environment = {**os.environ, "DISK": str(tmp_path / "disk"), "OUT": str(tmp_path / "out"), "ENTRAIN": os.path.abspath(ENTRAIN), "RECIPE": str(recipe)}
    done = subprocess.run(["unshare", "--mount", "--map-root-user", "sh", "-c", FULL_DISK], env=environment, capture_output=True, text=True)
    if done.returncode != 0 and not (tmp_path / "out" / "first.code").exists():
        pytest.skip("this system lets no test mount a small file system: " + done.stderr.strip())
    out = tmp_path / "out"
    assert (out / "first.code").read_text().strip() == str(IO)
    check_io_error((out / "first").read_text())
    assert "hint: free some disk space" in (out / "first").read_text()
    assert (out / "leftovers").read_text() == ""
    kept = (out / "checkpoints").read_text().split()
    assert len(kept) >= 2
    assert (out / "second.code").read_text().strip() == "0", (out / "second").read_text()
    assert "resumed at step " + str(len(kept)) in (out / "second").read_text()
    entrain("train", recipe, "--run", tmp_path / "whole", "--set", "budget.steps=6")
    assert metrics(out / "run") == metrics(tmp_path / "whole")
    assert (checkpoints(out / "run")[-1] / "model.safetensors").read_bytes() == (checkpoints(tmp_path / "whole")[-1] / "model.safetensors").read_bytes()


def test_unwritable_folder(data, tmp_path):
    """A file where a folder should be."""
    (tmp_path / "file").write_text("")
    recipe = write_recipe(tmp_path / "recipe.toml", data)
    fail(IO, str(tmp_path / "file"), "train", recipe, "--run", tmp_path / "file" / "run")


def end_of_closed_pipe(arguments, stdin=b""):
    """How a command ends whose standard output nobody reads any more."""
    process = subprocess.Popen([ENTRAIN, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    process.stdin.write(stdin)
    process.stdin.close()
    text = process.stderr.read().decode()
    return process.wait(timeout=60), text


def test_closed_standard_output(trained, tokenizer):
    for arguments, stdin in ((["generate", trained[1], "--prompt", "The", "--tokens", 200], b""), (["generate", trained[1], "--prompt", "The", "--json"], b""),
                             (["tokenizer", "encode", "--tokenizer", tokenizer], b"many words " * 5000), (["config", "--docs"], b""), (["info", "--json"], b"")):
        code, text = end_of_closed_pipe(arguments, stdin)
        assert code in (-signal.SIGPIPE, 0, IO), (arguments, code, text)
        assert "bug" not in text


def test_full_disk_under_standard_output():
    for arguments in (["config", "--docs"], ["info", "--json"], ["--help"]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([ENTRAIN, *arguments], stdout=full, stderr=subprocess.PIPE)
        assert done.returncode == IO and done.stderr.decode().startswith("error: cannot write the standard output"), (arguments, done)


def test_training_outlives_its_terminal(data, tmp_path):
    """Nobody reads the progress any more, as after `entrain train ... 2>&1 | head`: the run goes on."""
    recipe = write_recipe(tmp_path / "recipe.toml", data, {"budget.steps": 20, "evaluation.every": 2})
    process = subprocess.Popen([ENTRAIN, "train", str(recipe), "--run", str(tmp_path / "run")], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    process.stderr.close()
    assert process.wait(timeout=60) == 0
    assert metrics(tmp_path / "run")[-1]["step"] == 20
