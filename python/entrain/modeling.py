"""Models with a memory of co-occurring tokens in Transformers (docs/methods/memory.md), and loading any model the program wrote.

`register()` makes AutoConfig and AutoModelForCausalLM know the model type ``entrain``; logits equal the program's.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, PreTrainedModel
from transformers.generation import GenerationMixin
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.utils import cached_file

from entrain._library import load_operators
from entrain.configuration import EntrainConfig
from entrain.errors import DataError, UsageError
from entrain.program import call
from entrain.run import resolve_model_folder

__all__ = ["EntrainConfig", "EntrainForCausalLM", "load", "register"]

MEMORY_FILE = "memory.safetensors"


class _Table(nn.Module):
    """One table; frozen, as its gradient is sparse and Transformers' optimizers take none."""

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.zeros(rows, width), requires_grad=False)


class Memory(nn.Module):
    """Rows of large tables, chosen by hashed n-grams of the ids and added to the residual stream or the attention values of chosen blocks."""

    def __init__(self, settings: dict[str, Any], target_width: int, norm_eps: float) -> None:
        super().__init__()
        self.orders = [int(order) for order in settings["orders"]]
        self.blocks = [int(block) for block in settings["blocks"]]
        self.heads, self.sign, self.norm_eps, self.target_width = settings["heads"], settings["sign"], norm_eps, target_width
        for order in self.orders:
            self.add_module(f"{order}-gram", nn.ModuleList(_Table(settings["rows"], settings["width"]) for _ in range(self.heads)))
        self.scale = nn.Parameter(torch.ones(len(self.blocks)))
        self.gate = nn.Parameter(torch.ones(len(self.blocks), target_width)) if settings["gate"] else None
        self.projection = nn.Parameter(torch.zeros(target_width, settings["width"])) if settings["width"] != target_width else None
        self.rows_read: Tensor | None = None
        """(B, T, target width): what the pass that is running has read."""

    @property
    def reach(self) -> int:
        """Ids before a token that its longest n-gram takes in."""
        return max(self.orders) - 1

    def read(self, ids: Tensor, preceding: Tensor | None, mask: Tensor | None) -> Tensor:
        """The sum of the rows each position's n-grams choose. ids: (B, T); preceding: (B, at most reach) ids before them, or None at the start of a text;
        mask: (B, at least as many), 0 at padding, which no n-gram reaches across; None: there is none."""
        everything = ids if preceding is None else torch.cat([preceding, ids], 1)
        segments = None if mask is None else (mask[:, -everything.shape[1] :] != 0).int().contiguous()
        total: Tensor | None = None
        for order in self.orders:
            tables: Any = self.get_submodule(f"{order}-gram")
            for head, table in enumerate(tables):
                keys = torch.ops.entrain.ngram_keys(everything, order, head, segments)[:, -ids.shape[1] :].contiguous()
                rows = torch.ops.entrain.hashed_rows(table.rows, keys, 1, self.sign)
                total = rows if total is None else total + rows
        assert total is not None
        return total if self.projection is None else nn.functional.linear(total, self.projection)

    def add_to(self, state: Tensor, block: int) -> Tensor:
        """state (B, T, target width) of a block with its part of ``rows_read``."""
        if self.rows_read is None:
            raise UsageError("the memory was given no ids", "call the model with input_ids, not with embeddings")
        place = self.blocks.index(block)
        rows, scale = self.rows_read, self.scale[place]
        if self.gate is None:
            return state + rows * scale
        agreement = (torch.ops.entrain.rms_norm(state, self.gate[place], self.norm_eps) * torch.ops.entrain.rms_norm(rows, torch.ones_like(self.gate[place]), self.norm_eps)).sum(-1, keepdim=True)
        return state + rows * (torch.sigmoid(agreement / self.gate.shape[1] ** 0.5) * scale)


_PLACED = "_entrain_memory"


def _add_to_residual(module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Before a block: its input with the memory's part."""
    memory, block = module.__dict__[_PLACED]
    return (memory.add_to(arguments[0], block), *arguments[1:])


def _add_to_values(module: nn.Module, _: Any, output: Tensor) -> Tensor:
    """After the projection that makes the attention values, in GPT-2 the last third of its output: with the memory's part."""
    memory, block = module.__dict__[_PLACED]
    split = output.shape[-1] - memory.target_width
    return torch.cat([output[..., :split], memory.add_to(output[..., split:], block)], -1)


class EntrainForCausalLM(PreTrainedModel, GenerationMixin):  # type: ignore[misc]
    """A Llama, Qwen3 or GPT-2 of Transformers with a memory. Weights are named as the program's files name them."""

    config_class = EntrainConfig
    config: EntrainConfig
    supports_gradient_checkpointing = False
    _supports_sdpa = True
    _keys_to_ignore_on_load_missing = [r"^memory\."]

    def __init__(self, config: EntrainConfig) -> None:
        load_operators()
        super().__init__(config)
        settings, plain = config.checked_memory(), config.text_config
        backbone: Any = AutoModel.from_config(plain)
        self.backbone_name = "transformer" if plain.model_type == "gpt2" else "model"
        setattr(self, self.backbone_name, backbone)
        self.lm_head = nn.Linear(plain.hidden_size, plain.vocab_size, bias=False)
        self.tied = bool(config.tie_word_embeddings)
        embedding = "transformer.wte.weight" if plain.model_type == "gpt2" else "model.embed_tokens.weight"
        self._tied_weights_keys = {"lm_head.weight": embedding} if self.tied else {}
        gpt2 = plain.model_type == "gpt2"
        into_values = settings["into"] == "values"
        self.memory = Memory(settings, config.memory_target_width, plain.layer_norm_epsilon if gpt2 else plain.rms_norm_eps)
        self._place_memory(backbone.h if gpt2 else backbone.layers, gpt2, into_values)
        self.post_init()

    def _place_memory(self, blocks: nn.ModuleList, gpt2: bool, into_values: bool) -> None:
        for block in self.memory.blocks:
            attention: Any = blocks[block].attn if gpt2 else blocks[block].self_attn
            place: nn.Module = blocks[block] if not into_values else attention.c_attn if gpt2 else attention.v_proj
            place.__dict__[_PLACED] = (self.memory, block)  # no submodule; a copy of the model has a copy of it
            if into_values:
                place.register_forward_hook(_add_to_values)
            else:
                place.register_forward_pre_hook(_add_to_residual)

    @property
    def base_model(self) -> nn.Module:
        """The plain model without its head."""
        return getattr(self, self.backbone_name)  # type: ignore[no-any-return]

    def get_input_embeddings(self) -> nn.Module:
        """The table of token embeddings."""
        return self.base_model.get_input_embeddings()  # type: ignore[no-any-return, operator]

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replaces the table of token embeddings."""
        self.base_model.set_input_embeddings(value)  # type: ignore[operator]

    def get_output_embeddings(self) -> nn.Module:
        """The head."""
        return self.lm_head

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        preceding_ids: Tensor | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """As of any causal model. With a cache the memory needs the ids before ``input_ids`` in ``preceding_ids``, as ``generate`` gives them. Raises UsageError
        for embeddings in place of ids."""
        if input_ids is None or inputs_embeds is not None:
            raise UsageError("a model with a memory reads token ids", "call it with input_ids, not with inputs_embeds")
        if past_key_values is not None and past_key_values.get_seq_length() > 0 and preceding_ids is None:
            raise UsageError("a pass with a cache lacks the ids before its own", "give preceding_ids, or let generate() do it")
        kept = None if preceding_ids is None or self.memory.reach == 0 else preceding_ids[:, -self.memory.reach :]
        padding = attention_mask if attention_mask is not None and attention_mask.ndim == 2 else None
        self.memory.rows_read = self.memory.read(input_ids, kept, padding)
        try:
            outputs = self.base_model(input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, past_key_values=past_key_values, use_cache=use_cache, **kwargs)
        finally:
            self.memory.rows_read = None
        kept_positions = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, kept_positions])
        loss = None if labels is None else self.loss_function(logits=logits, labels=labels, vocab_size=self.lm_head.out_features, **kwargs)
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=outputs.past_key_values, hidden_states=outputs.hidden_states, attentions=outputs.attentions)

    def prepare_inputs_for_generation(self, input_ids: Tensor, **kwargs: Any) -> dict[str, Any]:
        """Adds the ids that the cache has seen, which the memory's n-grams reach back to."""
        inputs: dict[str, Any] = super().prepare_inputs_for_generation(input_ids, **kwargs)
        n_new = inputs["input_ids"].shape[1]
        if input_ids.shape[1] > n_new:
            inputs["preceding_ids"] = input_ids[:, : input_ids.shape[1] - n_new]
        return inputs

    def _init_weights(self, module: nn.Module) -> None:
        """A new memory adds nothing at first: zero rows, scale and gate 1."""
        super()._init_weights(module)
        if isinstance(module, Memory):
            nn.init.ones_(module.scale)
            if module.gate is not None:
                nn.init.ones_(module.gate)
            if module.projection is not None:
                nn.init.normal_(module.projection, std=0.02)
        if isinstance(module, _Table):
            nn.init.zeros_(module.rows)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, *arguments: Any, **kwargs: Any) -> Any:
        """As of any model; the memory comes from memory.safetensors beside the weights. Raises DataError where that file is missing or does not fit."""
        hub = {key: kwargs[key] for key in ("cache_dir", "force_download", "local_files_only", "token", "revision", "subfolder") if kwargs.get(key) is not None}
        config = kwargs.get("config") or EntrainConfig.from_pretrained(pretrained_model_name_or_path, **hub)
        config.checked_memory()
        path = cached_file(str(pretrained_model_name_or_path), MEMORY_FILE, _raise_exceptions_for_missing_entries=False, **hub)
        if path is None:
            raise DataError(f"{pretrained_model_name_or_path} holds no {MEMORY_FILE}", "copy the folder as a whole")
        _check_memory_file(path, config)  # before anything of the size that config.json names is made
        result = super().from_pretrained(pretrained_model_name_or_path, *arguments, **kwargs)
        model = result[0] if isinstance(result, tuple) else result
        model._load_memory(path)
        if isinstance(result, tuple):
            result[1]["missing_keys"] = {key for key in result[1]["missing_keys"] if not key.startswith("memory.")}
        return result

    def _load_memory(self, path: str) -> None:
        """Copies the file's tensors, whose names and shapes have been checked, one at a time."""
        with safe_open(path, framework="pt") as file, torch.no_grad():
            for name, value in self.memory.state_dict().items():
                value.copy_(file.get_tensor(f"memory.{name}"))
        for module in self.memory.modules():  # loading makes parameters anew
            if isinstance(module, _Table):
                module.rows.requires_grad_(False)

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """As of any module; says so where the memory is not among the weights, as when the Trainer resumes."""
        if not any(name.startswith("memory.") for name in state_dict):
            warnings.warn("these weights hold no memory, which stays as it is: load the model itself from the checkpoint that is gone on from", stacklevel=2)
        return super().load_state_dict(state_dict, strict=strict, assign=assign)

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:
        """Writes the folder as the program does: the plain weights in model.safetensors, the memory in memory.safetensors."""
        state = kwargs.pop("state_dict", None) or self.state_dict()
        plain = {key: value for key, value in state.items() if not key.startswith("memory.")}
        super().save_pretrained(save_directory, state_dict=plain, **kwargs)
        save_file({key: value.contiguous() for key, value in state.items() if key.startswith("memory.")}, Path(save_directory) / MEMORY_FILE)
        config = Path(save_directory) / "config.json"
        fields = json.loads(config.read_text())
        for key in ("architectures", "mixing", "lora"):  # as the program writes it: other programs shall not take it for a model they know
            fields.pop(key, None)
        config.write_text(json.dumps(fields, indent=2) + "\n")


def _check_memory_file(path: str, config: EntrainConfig) -> None:
    """Raises DataError for a damaged file and for one whose tensors are not those that config.json describes. Reads its header alone."""
    try:
        with safe_open(path, framework="pt") as file:
            found = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} cannot be read: {error}", "copy the folder again") from error
    expected = config.memory_shapes()
    wrong = sorted(name for name in set(found) | set(expected) if found.get(name) != expected.get(name))
    if wrong:
        raise DataError(f"{path} does not fit its config.json: {', '.join(wrong[:5])}", "take config.json and memory.safetensors of the same model")


def register() -> None:
    """Makes Transformers' auto classes know the model type ``entrain``. May be called again."""
    AutoConfig.register(EntrainConfig.model_type, EntrainConfig, exist_ok=True)
    AutoModelForCausalLM.register(EntrainConfig, EntrainForCausalLM, exist_ok=True)


def _is_gguf(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"GGUF"


@contextmanager
def _readable(path: Path) -> Iterator[Path]:
    """The model as a folder that Transformers opens; one for the time being where it is a GGUF file, or adapters stand beside its weights."""
    if _is_gguf(path):
        command = "import"
    else:
        path = resolve_model_folder(path)
        if "lora" not in json.loads((path / "config.json").read_text(encoding="utf-8")):
            yield path
            return
        command = "export"
    with tempfile.TemporaryDirectory() as parent:
        call(command, path, "--out", Path(parent) / "model")
        yield Path(parent) / "model"


def load(path: str | Path, **options: Any) -> PreTrainedModel:
    """The Transformers model of a run (its newest checkpoint), a checkpoint, a Hugging Face folder or a GGUF file, in eval mode and float32 unless ``dtype`` says otherwise.

    options: of ``from_pretrained``. Raises UsageError for a path that is none of these, DataError for files that are damaged or do not fit.
    """
    register()
    options.setdefault("dtype", torch.float32)
    try:
        with _readable(Path(path)) as folder:
            model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, **options)
    except (SafetensorError, json.JSONDecodeError, OSError) as error:
        raise DataError(f"{path} cannot be read: {error}", "copy the folder again, or resume the run: it passes over damaged checkpoints") from error
    return model.eval()
