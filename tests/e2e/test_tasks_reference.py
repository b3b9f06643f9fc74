"""`entrain eval --tasks` against lm-evaluation-harness: the same checkpoint, the same items, the same answers.

The harness runs its own task definitions (its YAML files and their functions) over the local data, brought back to the fields its
data sets have; Transformers opens the checkpoint. Log-likelihoods, greedy flags, chosen answers, generated text, filters and
metrics are compared item by item.
"""

import csv
import json
import logging
import math
import os
import re
import shutil
from pathlib import Path

import pytest
from program import ROOT, checkpoints, entrain, write_recipe

os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("HF_EVALUATE_OFFLINE", "1")
os.environ["DISABLE_MULTIPROC"] = "1"

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", reason="the reference is the Python package transformers")
lm_eval = pytest.importorskip("lm_eval", reason="the reference is the Python package lm-eval")
datasets = pytest.importorskip("datasets")

from lm_eval.api.task import ConfigurableTask  # noqa: E402
from lm_eval.evaluator import evaluate  # noqa: E402
from lm_eval.models.huggingface import HFLM  # noqa: E402
from lm_eval.tasks._yaml_loader import load_yaml  # noqa: E402

DATA = ROOT.parent / "shared" / "data" / "eval"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no evaluation sets at {DATA}")

torch.set_num_threads(2)
datasets.disable_progress_bars()
transformers.logging.set_verbosity_error()
logging.getLogger("lm_eval").setLevel(logging.ERROR)

TASKS = Path(lm_eval.__file__).parent / "tasks"
N = 80


def lines(path, n=None):
    with open(DATA / path, encoding="utf-8") as file:
        return [json.loads(line) for _, line in zip(range(n or 10**9), file)]


# -- Local data in the fields of the harness' data sets ------------------------------------------------------------------------


def stem(query):
    assert query.startswith("Question: ") and query.endswith("\nAnswer:")
    return query[len("Question: "): -len("\nAnswer:")]


def arc(path, n):
    for row in lines(path, n):
        labels = [chr(ord("A") + i) for i in range(len(row["choices"]))]
        yield {"id": row["id"], "question": stem(row["query"]), "choices": {"text": row["choices"], "label": labels}, "answerKey": labels[row["gold"]]}


def openbookqa(path, n):
    for row in arc(path, n):
        yield {**row, "question_stem": row["question"]}


def piqa():
    labels = (DATA / "piqa/valid-labels.lst").read_text().split()
    return [{**row, "label": int(label)} for row, label in zip(lines("piqa/valid.jsonl", N), labels)]


def hellaswag():
    for row in lines("hellaswag/hellaswag_val_olmes1000.jsonl", N):
        activity, context = row["query"].split(": ", 1)
        yield {"activity_label": activity, "ctx_a": context, "ctx_b": "", "endings": row["choices"], "label": str(row["gold"])}


def lambada():
    return [{"text": row["context"] + " " + row["continuation"]} for row in lines("lambada_openai/lambada_openai.jsonl", N)]


def simple_arithmetic():
    return [{"context": row["context"], "completion": row["continuation"]} for row in lines("simple_arithmetic/simple_arithmetic_withspaces.jsonl", N)]


def blimp(paradigm):
    with open(DATA / f"blimp/{paradigm}.tsv") as file:
        return [dict(zip(("sentence_good", "sentence_bad"), line.rstrip("\n").split("\t"))) for _, line in zip(range(N), file)]


def crows_pairs():
    with open(DATA / "crows_pairs/crows_pairs_anonymized.csv", newline="") as file:
        # Without the nameless column: the harness would take the empty prompt for its name.
        return [{key: value for key, value in row.items() if key} for _, row in zip(range(N), csv.DictReader(file))]


def mmlu(subject, split):
    with open(DATA / f"mmlu/{split}/{subject}_{split}.csv", newline="") as file:
        return [{"question": row[0], "choices": row[1:5], "answer": "ABCD".index(row[5])} for _, row in zip(range(N), csv.reader(file))]


SUBJECTS = ["abstract_algebra", "philosophy"]
PARADIGMS = ["adjunct_island", "drop_argument"]

# our task: [(harness definition, docs by split, prefix of our item ids, overrides)]
REFERENCES = {
    "arc_easy": [("arc/arc_easy", lambda: {"test": arc("arc_easy/test.jsonl", N), "train": arc("arc_easy/train.jsonl", None)}, "", {})],
    "piqa": [("piqa/piqa", lambda: {"validation": piqa()}, "", {"training_split": None})],
    "hellaswag": [("hellaswag/hellaswag", lambda: {"validation": hellaswag()}, "", {"training_split": None})],
    "winogrande": [("winogrande/default", lambda: {"validation": lines("winogrande/validation.jsonl", N)}, "", {"training_split": None})],
    "openbookqa": [("openbookqa/openbookqa", lambda: {"test": openbookqa("openbookqa/test.jsonl", N)}, "", {"training_split": None, "validation_split": None})],
    "commonsense_qa": [("commonsense_qa/default", lambda: {"validation": lines("commonsense_qa/validation.jsonl", N)}, "", {"training_split": None})],
    "copa": [("super_glue/copa/default", lambda: {"validation": lines("copa/validation.jsonl", N)}, "", {"training_split": None})],
    "lambada_openai": [("lambada/lambada_openai", lambda: {"test": lambada()}, "", {})],
    "simple_arithmetic": [("arithmetic/arithmetic_1dc", lambda: {"validation": simple_arithmetic()}, "", {})],
    "crows_pairs": [("crows_pairs/crows_pairs_english", lambda: {"test": crows_pairs()}, "", {})],
    "bbq": [("bbq/bbq_multiple_choice", lambda: {"test": lines("bbq/Religion.jsonl", N)}, "", {})],
    "blimp": [(f"blimp/{name}", lambda name=name: {"train": blimp(name)}, name + "/", {}) for name in PARADIGMS],
    "mmlu": [(f"mmlu/default/mmlu_{name}", lambda name=name: {"test": mmlu(name, "test"), "dev": mmlu(name, "dev")}, name + "/", {}) for name in SUBJECTS],
    "gsm8k": [("gsm8k/gsm8k", lambda: {"test": lines("gsm8k/test.jsonl", 30), "train": lines("gsm8k/train.jsonl")}, "", {})],
}
# Metrics of ours that a single harness task has too; those of groups are checked in test_group_metrics.
METRICS = {"arc_easy": ["acc", "acc_norm"], "piqa": ["acc", "acc_norm"], "hellaswag": ["acc", "acc_norm"], "openbookqa": ["acc", "acc_norm"], "winogrande": ["acc"],
           "commonsense_qa": ["acc"], "copa": ["acc"], "lambada_openai": ["perplexity", "acc"], "simple_arithmetic": ["acc"], "crows_pairs": ["likelihood_diff", "pct_stereotype"],
           "bbq": ["acc", "accuracy_amb", "accuracy_disamb", "amb_bias_score", "disamb_bias_score"]}
CASES = [*((name, None) for name in REFERENCES if name != "gsm8k"), ("arc_easy", 3), ("mmlu", 5), ("gsm8k", 2)]


# -- The model -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Trained on questions of the sets' training parts, so that it writes numbers after ####; C=128 L=3 T=640 V=2000."""
    folder = tmp_path_factory.mktemp("tasks")
    # Solutions of one form, so that a small model soon gets to a number; which one depends on the question.
    text = []
    for i, row in enumerate(lines("gsm8k/train.jsonl", 1500)):
        a, b, *_ = [*re.findall(r"\d+", row["question"]), "1", "2"]
        text.append(f"Question: {row['question'][-200:]}\nAnswer: {('They have', 'There are', 'So it is')[i % 3]} {a} + {b} = {int(a) + int(b)}.\n#### {int(a) + int(b)}\n\n")
    text += [f"{row['query']} {row['choices'][row['gold']]}\n\n" for row in lines("arc_easy/train.jsonl", 300)]
    (folder / "text.txt").write_text("".join(text))
    entrain("tokenizer", "train", "--text", folder / "text.txt", "--vocab-size", 2000, "--out", folder / "tokenizer.json")
    entrain("data", "prepare", "--text", folder / "text.txt", "--tokenizer", folder / "tokenizer.json", "--out", folder / "data")
    recipe = write_recipe(folder / "recipe.toml", folder / "data", {
        "model.width": 128, "model.layers": 3, "model.heads": 4, "model.kv_heads": 2, "model.context": 640, "model.family": "llama", "train.rows": 4, "train.threads": 2,
        "train.seed": 5, "optimizer.lr": 4e-3, "budget.steps": 300})
    entrain("train", recipe, "--run", folder / "run")
    return checkpoints(folder / "run")[-1]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The first items of each set; of HellaSwag those with the harness' own queries."""
    folder = tmp_path_factory.mktemp("sets")
    for name in REFERENCES:
        (folder / name).mkdir()
        for path in (DATA / name).iterdir():
            if path.is_file() and not path.name.startswith("hellaswag_val_part") and (name != "blimp" or path.stem in PARADIGMS):
                shutil.copy(path, folder / name)
    for split in ("test", "dev"):
        (folder / "mmlu" / split).mkdir()
        for subject in SUBJECTS:
            shutil.copy(DATA / f"mmlu/{split}/{subject}_{split}.csv", folder / "mmlu" / split)
    return folder


@pytest.fixture(scope="module")
def ours(checkpoint, data):
    def run(task, shots, limit):
        arguments = ["eval", checkpoint, "--tasks", task, "--data", data, "--limit", limit, "--json", "--items"]
        if shots is not None:
            arguments += ["--shots", shots]
        return json.loads(entrain(*arguments).stdout)["tasks"][task]

    return run


@pytest.fixture(scope="module")
def harness(checkpoint):
    model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint, local_files_only=True, dtype=torch.float32).eval()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(checkpoint / "tokenizer.json"), eos_token="<|endoftext|>", pad_token="<|endoftext|>",
                                                     clean_up_tokenization_spaces=False)
    # One prompt at a time: padding on the left would change positions.
    likelihoods, generation = (HFLM(pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=size, device="cpu", dtype="float32") for size in (16, 1))

    def run(definition, splits, shots, overrides):
        path = TASKS / f"{definition}.yaml"
        config = {**load_yaml(path), **overrides, "dataset_path": "local", "dataset_name": None, "dataset_kwargs": None}
        for group_key in ("tag", "group", "task_alias"):
            config.pop(group_key, None)
        config["custom_dataset"] = lambda **_: datasets.DatasetDict({split: datasets.Dataset.from_list(list(rows)) for split, rows in splits().items()})
        task = ConfigurableTask(config=config)
        task.set_config("num_fewshot", shots if shots is not None else (task.get_config("num_fewshot") or 0))
        task.set_fewshot_seed(1234)
        name = config["task"]
        lm = generation if task.OUTPUT_TYPE == "generate_until" else likelihoods
        found = evaluate(lm=lm, task_dict={name: task}, log_samples=True, bootstrap_iters=10000)
        return task, found["results"][name], found["samples"][name], likelihoods

    return run


# -- The comparison ------------------------------------------------------------------------------------------------------------


def first_largest(values):
    return max(range(len(values)), key=lambda i: (values[i], -i))


@pytest.mark.parametrize("name,shots", CASES, ids=[f"{name}-{shots}" if shots else name for name, shots in CASES])
def test_items_are_the_harness_items(name, shots, ours, harness):
    result = ours(name, shots, 30 if name == "gsm8k" else N)
    n_items, worst, nearest = 0, 0.0, math.inf
    for definition, splits, prefix, overrides in REFERENCES[name]:
        task, metrics, samples, lm = harness(definition, splits, shots, overrides)
        mine = [item for item in result["items"] if item["id"].startswith(prefix)]
        if name == "gsm8k":
            check_generation(result, mine, metrics, samples, task, lm)
            n_items += len(mine)
            continue
        assert len(mine) == len(samples) > 30
        for item, sample in zip(mine, sorted(samples, key=lambda sample: sample["doc_id"])):
            theirs = [(float(ll), greedy in (True, "True")) for ((ll, greedy),) in sample["resps"]]
            if name == "bbq":  # the wordings of "unknown" come in another order; likelihoods are compared sorted
                assert sorted(item["log_likelihoods"]) == pytest.approx(sorted(ll for ll, _ in theirs), abs=1e-3)
                continue
            for mine_ll, mine_greedy, (ll, greedy) in zip(item["log_likelihoods"], item["greedy"], theirs, strict=True):
                worst = max(worst, abs(mine_ll - ll))
                assert mine_ll == pytest.approx(ll, abs=1e-3)
                assert mine_greedy == greedy
            if len(theirs) > 1:
                assert first_largest(item["log_likelihoods"]) == first_largest([ll for ll, _ in theirs])
                ordered = sorted((ll for ll, _ in theirs), reverse=True)
                nearest = min(nearest, ordered[0] - ordered[1])
            for metric in METRICS.get(name, ["acc"]):
                if metric in sample and metric in result["columns"] and not isinstance(sample[metric], (list, tuple)):
                    assert item["values"][result["columns"].index(metric)] == pytest.approx(sample[metric], abs=1e-3), metric
        n_items += len(mine)
        for metric in METRICS.get(name, []):
            value, error = metrics[f"{metric},none"], metrics.get(f"{metric}_stderr,none")
            assert result["metrics"][metric]["value"] == pytest.approx(value, rel=1e-4, abs=1e-4), metric
            if isinstance(error, float):
                # The perplexity's error is a bootstrap over other draws.
                assert result["metrics"][metric]["standard_error"] == pytest.approx(error, rel=0.05 if metric == "perplexity" else 1e-4), metric
    print(f"{name} {shots or 0}-shot: {n_items} items, largest difference of a log-likelihood {worst:.1e}, smallest margin of a choice {nearest:.1e}, truncated {result['n_truncated']}")


def check_generation(result, mine, metrics, samples, task, lm):
    by_filter = {kind: {s["doc_id"]: s for s in samples if s["filter"] == kind} for kind in ("strict-match", "flexible-extract")}
    n_found, distinct = {kind: 0 for kind in by_filter}, set()
    for i, item in enumerate(mine):
        generated, *filtered = item["texts"]
        assert generated == by_filter["strict-match"][i]["resps"][0][0]
        distinct.add(generated)
        for k, kind in enumerate(("strict-match", "flexible-extract")):
            sample = by_filter[kind][i]
            assert filtered[k] == sample["filtered_resps"][0]
            n_found[kind] += filtered[k] != "[invalid]"
            assert item["values"][result["columns"].index(f"exact_match,{kind}")] == sample["exact_match"]
    for kind in by_filter:
        assert result["metrics"][f"exact_match,{kind}"]["value"] == pytest.approx(metrics[f"exact_match,{kind}"])
    # The solution's likelihood is no metric of the harness; it scores it as any continuation.
    instances = [task.instances[i] for i in range(3)]
    for item, instance in zip(mine, instances):
        instance.arguments = (instance.args[0], " " + instance.doc["answer"])
        ((ll, _),) = lm.loglikelihood([instance], disable_tqdm=True)
        assert item["log_likelihoods"][0] == pytest.approx(ll, abs=1e-3)
    # A filter that never finds anything would be equal for the wrong reason.
    assert len(distinct) > 3 and min(n_found.values()) > 5, (distinct, n_found)
    print(f"gsm8k: {len(mine)} texts equal, {len(distinct)} different ones; filters found {n_found}")


def test_group_metrics(ours, harness):
    """MMLU: groups weighted by size, errors pooled. BLiMP: mean of the paradigms."""
    from lm_eval.api.metrics import aggregate_subtask_metrics, pooled_sample_stderr, unweighted_mean_stderr

    for name, weighted in (("mmlu", True), ("blimp", False)):
        found = [harness(definition, splits, None, overrides)[1:3] for definition, splits, _, overrides in REFERENCES[name]]
        values, errors, sizes = ([m["acc,none"] for m, _ in found], [m["acc_stderr,none"] for m, _ in found], [len(s) for _, s in found])
        metric = ours(name, None, N)["metrics"]["acc"]
        assert metric["value"] == pytest.approx(aggregate_subtask_metrics(values, sizes, weight_by_size=weighted))
        assert metric["standard_error"] == pytest.approx(pooled_sample_stderr(errors, sizes) if weighted else unweighted_mean_stderr(errors))


def test_hellaswag_text_gives_the_harness_queries(checkpoint, data, tmp_path, ours):
    """The plain-text form of the set gives the same requests as the exact queries, for the items both hold."""
    exact = {(row["query"], tuple(choice.strip() for choice in row["choices"])): i for i, row in enumerate(lines("hellaswag/hellaswag_val_olmes1000.jsonl", 400))}
    folder = tmp_path / "hellaswag"
    folder.mkdir()
    text = (DATA / "hellaswag/hellaswag_val_part1.txt").read_text().splitlines()
    wanted, kept = [], []
    lower = {(query.lower(), choices): i for (query, choices), i in exact.items()}
    for i in range(0, len(text), 6):
        key = (text[i].replace(".. ", ". ").lower(), tuple(line.replace(".. ", ". ").strip() for line in text[i + 2: i + 6]))
        if key in lower and len(wanted) < 60:
            wanted.append(lower[key])
            kept += text[i: i + 6]
    assert len(wanted) > 30
    (folder / "hellaswag_val_part1.txt").write_text("\n".join(kept) + "\n")
    mine = json.loads(entrain("eval", checkpoint, "--tasks", "hellaswag", "--data", tmp_path, "--json", "--items").stdout)["tasks"]["hellaswag"]["items"]
    reference = ours("hellaswag", None, 400)["items"]
    for item, i in zip(mine, wanted, strict=True):
        assert item["log_likelihoods"] == pytest.approx(reference[i]["log_likelihoods"], abs=1e-3)
        assert item["values"] == pytest.approx(reference[i]["values"], abs=1e-3)
