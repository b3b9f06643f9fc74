"""entrain.train and entrain.Run: runs made and read from Python."""

import builtins
import json
import math
import os
import signal
import subprocess
import sys
import threading
import types

import pytest
from program import ROOT, TINY, entrain, leftovers, metrics, write_recipe

import entrain as package

ENTANGLED = {"model.width": 32, "model.layers": 2, "entanglement.mode": "side", "entanglement.width": 8, "entanglement.monitor_every": 2, "evaluation.every": 2, "budget.steps": 5}


@pytest.fixture(scope="module")
def run(small_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    return package.train({"data.path": str(small_data), **TINY, **ENTANGLED}, folder, progress=False)


def test_metrics(run):
    pandas = pytest.importorskip("pandas")
    frame = run.metrics
    assert isinstance(frame, pandas.DataFrame) and list(frame.index) == [1, 2, 3, 4, 5] and frame.index.name == "step"
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert frame["loss"].tolist() == [line["loss"] for line in lines if "loss" in line]
    assert frame["validation_nats_per_token"].notna().tolist() == [False, True, False, True, True]
    assert frame["entanglement.1.loss"].notna().all()
    assert frame["entanglement.1.mean_cosine"].notna().tolist() == [False, True, False, True, True]  # every second step and the last
    assert run.alarms == [(line["step"], alarm) for line in lines for alarm in line.get("alarms", [])]


def test_recipe_and_summary(run, small_data):
    assert run.recipe["model"]["width"] == 32 and run.recipe["data"]["path"] == str(small_data)
    summary = run.summary
    assert summary["step"] == 5 and summary["checkpoint"] == str(run.checkpoints[-1])
    assert summary["best_nats_per_token"] == run.metrics["validation_nats_per_token"].min()
    assert run.model().config.hidden_size == 32


def test_a_run_with_adapters(run, small_data, tmp_path):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    adapted = package.train({"data.path": str(small_data), **TINY, "lora.rank": 4}, tmp_path / "run", start_from=run.path, progress=False)
    package.call("export", adapted.path, "--out", tmp_path / "merged")
    merged = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged", local_files_only=True, dtype=torch.float32)
    ids = torch.arange(16)[None]
    with torch.no_grad():
        assert torch.equal(adapted.model()(ids).logits, merged(ids).logits) and not torch.equal(merged(ids).logits, run.model()(ids).logits)
    with pytest.raises(package.UsageError, match="adapters"):
        package.EntrainForCausalLM.from_pretrained(adapted.checkpoints[-1])


def test_a_gguf_file(run, tmp_path):
    torch = pytest.importorskip("torch")
    package.call("export", run.path, "--format", "gguf", "--out", tmp_path / "model.gguf")
    ids = torch.arange(16)[None]
    with torch.no_grad():
        assert torch.equal(package.load(tmp_path / "model.gguf")(ids).logits, run.model()(ids).logits)
    (tmp_path / "cut.gguf").write_bytes((tmp_path / "model.gguf").read_bytes()[:1000])
    with pytest.raises(package.DataError, match="cut.gguf"):
        package.load(tmp_path / "cut.gguf")
    with pytest.raises(package.UsageError, match="GGUF file"):
        package.load(__file__)


def test_a_run_that_has_barely_begun(run, tmp_path):
    (tmp_path / "config.toml").write_text((run.path / "config.toml").read_text())
    early = package.Run(tmp_path)
    assert early.summary["step"] is None and early.metrics.empty and early.checkpoints == []
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2.5}\n{"step": 2, "lo')
    assert early.metrics["loss"].tolist() == [2.5]
    (tmp_path / "metrics.jsonl").write_text("[1]\n")
    with pytest.raises(package.DataError, match="line 1"):
        early.summary
    with pytest.raises(package.DataError, match="no sound checkpoint"):
        (tmp_path / "checkpoints" / "step-00000001").mkdir(parents=True)
        early.model()
    with pytest.raises(package.UsageError, match="holds no run"):
        package.Run(tmp_path / "nowhere")


def test_pandas_is_optional(run, monkeypatch):
    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", lambda name, *a, **k: (_ for _ in ()).throw(ImportError(name)) if name == "pandas" else real(name, *a, **k))
    with pytest.raises(ImportError, match="pip install pandas"):
        run.metrics
    assert len(list(run.records())) == 8


def test_the_same_run_as_the_program(run, small_data, tmp_path):
    recipe = write_recipe(tmp_path / "recipe.toml", small_data, ENTANGLED)
    entrain("train", recipe, "--run", tmp_path / "run")
    assert metrics(tmp_path / "run") == metrics(run.path)


def test_overrides_progress_and_resume(small_data, tmp_path):
    recipe = write_recipe(tmp_path / "recipe.toml", small_data)
    seen = []
    run = package.train(recipe, tmp_path / "run", progress=seen.append, budget={"steps": 6}, **{"optimizer.lr": 2e-3, "model.family": "qwen3"})
    assert run.recipe["optimizer"]["lr"] == 2e-3 and run.recipe["model"]["family"] == "qwen3" and run.summary["step"] == 6
    assert seen == list(run.records())
    seen.clear()
    package.train(recipe, tmp_path / "run", progress=seen.append, resume=True, budget={"steps": 6}, **{"optimizer.lr": 2e-3, "model.family": "qwen3"})
    assert seen == []
    further = package.train(recipe, tmp_path / "further", progress=False, start_from=tmp_path / "run")
    assert further.recipe["train"]["from"] == str(tmp_path / "run") and further.recipe["model"]["family"] == "qwen3"


def test_progress_is_shown(small_data, tmp_path, capfd):
    package.train({"data": {"path": str(small_data)}, **TINY}, tmp_path / "run")
    shown = capfd.readouterr().err
    assert "step 4" in shown and "done: 4 steps" in shown


@pytest.mark.parametrize("overrides,kind,words,hint", [
    ({"optimizer.lrr": 1.0}, package.UsageError, "optimizer.lr", ""),
    ({"data.path": "nowhere"}, package.DataError, "nowhere", "data prepare"),
    ({"optimizer.lr": 1e37, "budget.steps": 20, "train.clip": 0.0, "schedule.name": "constant"}, package.UsageError, "optimizer.lr", ""),
    ({"optimizer.lr": math.inf}, package.UsageError, "optimizer.lr", "finite"),
    ({"optimizer.lr": object()}, package.UsageError, "optimizer.lr", "number"),
])
def test_errors_are_exceptions(overrides, kind, words, hint, small_data, tmp_path, capfd):
    with pytest.raises(kind) as caught:
        package.train({"data.path": str(small_data), **TINY, **overrides}, tmp_path / "run", progress=True)
    assert words in caught.value.message and hint in caught.value.hint and "error:" not in caught.value.message
    assert caught.value.message in str(caught.value)
    assert "error:" not in capfd.readouterr().err  # shown once, as the exception


def test_numeric_stop(small_data, tmp_path):
    with pytest.raises(package.NumericError, match="step"):
        package.train({"data.path": str(small_data), **TINY, "optimizer.lr": 100.0, "optimizer.weight_decay": 100.0, "budget.steps": 400, "train.clip": 0.0, "schedule.name": "constant"},
                      tmp_path / "run", progress=False)


def test_interrupt_saves(small_data, tmp_path):
    """Ctrl-C in Python: the program saves, the interrupt goes on, and the run resumes."""
    recipe = {"data.path": str(small_data), **TINY, "model.width": 64, "model.context": 32, "budget.steps": 800, "checkpoint.every": 0}

    def interrupt(record):
        if record["step"] > 20 and not interrupted:
            interrupted.append(record["step"])
            threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()

    interrupted = []
    with pytest.raises(KeyboardInterrupt):
        package.train(recipe, tmp_path / "run", progress=interrupt)
    run = package.Run(tmp_path / "run")
    assert interrupted and len(run.checkpoints) == 1 and run.summary["step"] < 800 and leftovers(tmp_path) == []
    assert package.train(recipe, tmp_path / "run", progress=False, resume=True).summary["step"] == 800


def test_weights_and_biases_only_when_asked(run, monkeypatch):
    assert "wandb" not in sys.modules
    logged = []

    class Upload:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            logged.append("finished")

        def log(self, values, step):
            logged.append((step, values))

    def init(**options):
        logged.append(options)
        return Upload()

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init))
    run.to_wandb("project", tags=["a"])
    assert logged[0] == {"project": "project", "name": "run", "config": run.recipe, "tags": ["a"]}
    assert [entry[0] for entry in logged[1:-1]] == [record["step"] for record in run.records()]
    assert "entanglement.1.loss" in logged[1][1] and logged[-1] == "finished"
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match="pip install wandb"):
        run.to_wandb("project")


def test_importing_it_is_light():
    """No other package than torch comes with `import entrain`, and nothing is sent anywhere."""
    code = "import entrain, sys; heavy = {'transformers', 'pandas', 'wandb', 'datasets', 'requests'} & set(sys.modules); assert not heavy, heavy"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(ROOT / "python")})


def test_operators_with_autograd():
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(0)
    x, w = torch.randn(2, 3, 8, dtype=torch.float64, generator=generator).requires_grad_(), torch.rand(8, dtype=torch.float64, generator=generator).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, w: torch.ops.entrain.rms_norm(x, w, 1e-6), (x, w))
    torch.testing.assert_close(torch.ops.entrain.rms_norm(x, w, 1e-6), torch.nn.functional.rms_norm(x, (8,), w, 1e-6))


FAKE = {
    "rms_norm": lambda t, ops: (ops.rms_norm(t(2, 5, 8), t(8), 1e-6), (2, 5, 8)),
    "linear": lambda t, ops: (ops.linear(t(2, 5, 8), t(4, 8)), (2, 5, 4)),
    "bag_embedding": lambda t, ops: (ops.bag_embedding(t(10, 8), t.ids(2, 6), 2), (2, 3, 8)),
    "rope": lambda t, ops: (ops.rope(t(2, 5, 2, 4), t(5, 2).detach(), t(5, 2).detach(), 0), (2, 5, 2, 4)),
    "gated_mlp": lambda t, ops: (ops.gated_mlp(t(2, 5, 8), t(6, 8), t(8, 3), "silu"), (2, 5, 8)),
    "gate": lambda t, ops: (ops.gate(t(2, 3, 12), "silu"), (2, 3, 6)),
    "causal_attention": lambda t, ops: (ops.causal_attention(t(2, 5, 2, 4), t(2, 5, 1, 4), t(2, 5, 1, 4)), (2, 5, 2, 4)),
    "hashed_rows": lambda t, ops: (ops.hashed_rows(t(10, 8).detach(), ops.ngram_keys(t.ids(2, 6), 2, 0), 1, True), (2, 6, 8)),
}


@pytest.mark.parametrize("name", FAKE)
def test_operators_on_fake_tensors(name):
    """Shapes and backward passes without data, through the plain forms: what compilers and exporters ask for."""
    torch = pytest.importorskip("torch")
    from torch._subclasses import FakeTensorMode

    def t(*shape):
        return torch.randn(*shape, requires_grad=True)

    t.ids = lambda *shape: torch.zeros(*shape, dtype=torch.long)
    with FakeTensorMode():
        out, shape = FAKE[name](t, torch.ops.entrain)
        assert tuple(out.shape) == shape
        if out.requires_grad:
            out.sum().backward()


def test_operators_compile():
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(0)
    x, w = torch.randn(2, 3, 8, dtype=torch.float64, generator=generator).requires_grad_(), torch.rand(8, dtype=torch.float64, generator=generator).requires_grad_()
    compiled = torch.compile(lambda x, w: torch.ops.entrain.rms_norm(x, w, 1e-6).square().sum(), backend="aot_eager", fullgraph=True)
    compiled(x, w).backward()
    expected = torch.autograd.grad(torch.nn.functional.rms_norm(x, (8,), w, 1e-6).square().sum(), (x, w))
    torch.testing.assert_close((x.grad, w.grad), expected)
