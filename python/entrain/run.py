"""A run on disk (docs/formats.md) as data."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entrain.errors import DataError, UsageError

if TYPE_CHECKING:
    import pandas
    from transformers import PreTrainedModel

__all__ = ["Run", "resolve_model_folder"]


class Run:
    """A run folder; read anew with every use, so it may still be training."""

    def __init__(self, path: str | Path) -> None:
        """Raises UsageError where ``path`` holds no run."""
        self.path = Path(path)
        if not (self.path / "config.toml").is_file():
            raise UsageError(f"{self.path} holds no run", "a run folder holds config.toml and metrics.jsonl; `entrain train` makes one")

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def recipe(self) -> dict[str, Any]:
        """The recipe with every value filled in, by table: ``run.recipe["optimizer"]["lr"]``."""
        return tomllib.loads((self.path / "config.toml").read_text(encoding="utf-8"))

    def records(self) -> Iterator[dict[str, Any]]:
        """The lines of metrics.jsonl; one that is still being written is left out. Raises DataError for a line that is no object."""
        path = self.path / "metrics.jsonl"
        if not path.is_file():
            return
        with path.open(encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith("\n"):
                    return
                try:
                    record = json.loads(line)
                except ValueError as error:
                    raise DataError(f"{path}, line {number} is no JSON: {error}", "resume the run: its metrics are cut back to the checkpoint") from error
                if not isinstance(record, dict):
                    raise DataError(f"{path}, line {number} is no object", "resume the run: its metrics are cut back to the checkpoint")
                yield record

    @property
    def metrics(self) -> pandas.DataFrame:
        """A row a step, indexed by ``step``: losses, rates, totals, validations (NaN at other steps) and a column for each figure of a method.

        Raises ImportError where pandas is missing.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError("Run.metrics is a pandas data frame: pip install pandas; Run.records() needs nothing") from error
        rows: dict[int, dict[str, Any]] = {}
        for record in self.records():
            flat = {key: value for key, value in record.items() if key not in ("figures", "alarms")}
            rows.setdefault(int(record["step"]), {}).update({**flat, **record.get("figures", {})})
        frame = pandas.DataFrame(list(rows.values()))
        return frame.set_index("step") if len(frame) else frame

    @property
    def alarms(self) -> list[tuple[int, str]]:
        """Step and sentence of each alarm a method raised."""
        return [(int(record["step"]), alarm) for record in self.records() for alarm in record.get("alarms", [])]

    @property
    def checkpoints(self) -> list[Path]:
        """Complete checkpoint folders, oldest first."""
        folders = sorted((self.path / "checkpoints").glob("step-*"))
        return [folder for folder in folders if _is_whole(folder)]

    @property
    def summary(self) -> dict[str, Any]:
        """Where the run stands: step, totals, last and best losses, newest checkpoint; empty values where there is nothing yet."""
        last: dict[str, Any] = {}
        validations: list[dict[str, Any]] = []
        for record in self.records():
            if "loss" in record:
                last = record
            else:
                validations.append(record)
        best = min(validations, key=lambda record: float(record["validation_nats_per_token"]), default={})
        newest = validations[-1] if validations else {}
        checkpoints = self.checkpoints
        return {
            **{key: last.get(key) for key in ("step", "loss", "raw_tokens", "flops", "seconds")},
            "validation_nats_per_token": newest.get("validation_nats_per_token"),
            "validation_bits_per_byte": newest.get("validation_bits_per_byte"),
            "best_step": best.get("step"),
            "best_nats_per_token": best.get("validation_nats_per_token"),
            "checkpoint": str(checkpoints[-1]) if checkpoints else None,
        }

    def model(self) -> PreTrainedModel:
        """The newest checkpoint's model, as ``entrain.load`` gives it."""
        from entrain.modeling import load

        return load(self.path)

    def to_wandb(self, project: str, **options: Any) -> None:
        """Uploads recipe and metrics as one run of Weights & Biases. Nothing else in the package ever does, and the package ``wandb`` is only imported here.

        options: of ``wandb.init``. Raises ImportError where wandb is missing.
        """
        try:
            import wandb
        except ImportError as error:
            raise ImportError("Run.to_wandb needs the package wandb: pip install wandb") from error
        with wandb.init(project=project, config=self.recipe, name=options.pop("name", self.path.name), **options) as upload:
            for record in self.records():
                values = {key: value for key, value in record.items() if key not in ("step", "figures", "alarms")}
                upload.log({**values, **record.get("figures", {})}, step=int(record["step"]))


def _is_whole(folder: Path) -> bool:
    """Whether all files of the manifest are there in their sizes."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        files: dict[str, dict[str, Any]] = manifest["files"]
        return all((folder / name).stat().st_size == entry["bytes"] for name, entry in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def resolve_model_folder(path: str | Path) -> Path:
    """The Hugging Face folder that ``path`` means: itself, or a run's newest checkpoint.

    Raises DataError for a run without a sound checkpoint, UsageError for what is neither.
    """
    folder = Path(path)
    if (folder / "config.json").is_file():
        return folder
    if (folder / "checkpoints").is_dir():
        whole = [checkpoint for checkpoint in sorted((folder / "checkpoints").glob("step-*")) if _is_whole(checkpoint)]
        if whole:
            return whole[-1]
        raise DataError(f"{folder} holds no sound checkpoint", f"train it first: entrain train RECIPE.toml --run {folder}")
    raise UsageError(f"{folder} is no run, checkpoint, Hugging Face folder or GGUF file", "a run folder holds checkpoints/, a model folder holds config.json and model.safetensors; a GGUF file begins with GGUF")
