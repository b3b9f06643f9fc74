"""The entanglement layer for models of Transformers and any other PyTorch model: identity forward, a gated side gradient backward.

docs/methods/entanglement.md says what it is for. Here: the losses and positives of SideLoss, exact sums over pairs, every gate, the ranks of torch.distributed.
What else the recipe table [entanglement] offers is in the program alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

from entrain.errors import UsageError
from entrain.ranks import mean_over_ranks, process_group
from entrain.side_losses import SideLoss

if TYPE_CHECKING:
    from entrain.ranks import Group

__all__ = ["EntangledLayer", "Entanglement", "Pulse", "SideLoss", "apply_gate", "entangle", "weight_at"]

Gate = Literal["none", "token", "matrix", "cosine", "pcgrad", "gradnorm"]

GATES: tuple[str, ...] = ("none", "token", "matrix", "cosine", "pcgrad", "gradnorm")
_TINY = 1e-30


@dataclass
class Pulse:
    """What the last pass through a layer showed: the loss of all ranks' batches, the rest of this rank's."""

    loss: float = 0.0
    """Of the side loss, before its weight."""
    cosine: float = 0.0
    """Of the side gradient and the task's."""
    gate_rate: float = 0.0
    """Share of tokens in conflict (0 or 1 for gates of the whole matrix)."""
    ratio: float = 0.0
    """Norm of what was added over that of the task's gradient."""


def _without_conflict(x: Tensor, other: Tensor, dots: Tensor) -> Tensor:
    return x - dots.clamp_max(0.0) / (other.square().sum(-1, keepdim=True) + _TINY) * other


def apply_gate(gate: Gate, incoming: Tensor, side: Tensor, norm_cap: float, pulse: Pulse | None = None) -> Tensor:
    """What goes on to the layers below: the task's gradient ``incoming`` (..., C) and what the gate lets through of ``side``, of the same shape.

    norm_cap: the most the addition may weigh against the task's gradient; 0: no bound; for ``gradnorm`` the share aimed at.
    """
    whole = gate in ("none", "matrix", "cosine", "gradnorm")
    rows = 1 if whole else incoming.numel() // incoming.shape[-1]
    g, u = incoming.reshape(rows, -1), side.reshape(rows, -1)
    dots = (g * u).sum(-1, keepdim=True)
    g_norm, u_norm = g.norm(), u.norm()
    cosine = dots.sum() / (g_norm * u_norm + _TINY)
    base = _without_conflict(g, u, dots) if gate == "pcgrad" else g
    if gate in ("pcgrad", "token", "matrix"):
        added = _without_conflict(u, g, dots)
    elif gate == "cosine":
        added = u * cosine.clamp_min(0.0)
    elif gate == "gradnorm":
        added = u * (norm_cap * g_norm / (u_norm + _TINY))
    else:
        added = u
    if norm_cap > 0 and gate != "gradnorm":
        longest = g.norm(dim=-1, keepdim=True) * norm_cap
        added = added * (longest / (added.norm(dim=-1, keepdim=True) + _TINY)).clamp_max(1.0)
    if pulse is not None:
        pulse.cosine, pulse.gate_rate = float(cosine), float((dots < 0).double().mean())
        pulse.ratio = float(added.norm() / (g_norm + _TINY))
    return (base + added).view_as(incoming)


class _AddSideGradient(torch.autograd.Function):
    """Identity whose backward lets the layer add the side gradient found in the forward pass."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, side: Tensor, layer: EntangledLayer) -> Tensor:
        ctx.save_for_backward(side)
        ctx.layer = layer
        return h.view_as(h)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (side,) = ctx.saved_tensors
        return ctx.layer.gated(gradients[0], side), None, None


class EntangledLayer(nn.Module):
    """Relates the token representations of a batch, in training only: ``layer(h, ids)`` returns h's values unchanged.

    In the backward pass the layers below receive G + gate(U, G), with G the arriving gradient and U = weight * share * dL/dh of the side loss L on all
    pairs of the batch's positions, projected to ``width`` dimensions. The projection's own gradient, of L at weight 1, is added to its ``grad`` in the
    forward pass; give ``layer.parameters()`` to an optimizer of their own (AdamW at 1e-3 in the program) and keep the layer out of the model that is saved.

    Once torch.distributed is initialised, the batch is that of all ranks: pairs and positives of scope ``batch`` reach over them, dL/dh is that of the sum of
    their equal losses, which the mean that data parallel training takes turns into the whole batch's, and the projection's ``grad`` is the whole batch's
    on every rank. At the first pass all take rank 0's projection. Every rank passes with the same settings, weight and mode; batches may differ in size. The gate
    works on each rank's own positions. DistributedDataParallel wraps the model, not the layer.

    width: of the projection. gate, norm_cap: as in ``apply_gate``. weight: lambda. seed: of the projection's first values. group: the ranks, ``world``: all;
    ``alone``: this process by itself, whatever others do; or a process group, where ranks share rows. loss: of SideLoss.

    Raises UsageError for names that are not here, a projection wider than the states, and a group without this process.
    """

    def __init__(
        self,
        hidden_size: int,
        width: int = 64,
        *,
        gate: Gate = "token",
        norm_cap: float = 0.3,
        weight: float = 0.1,
        seed: int = 0,
        group: Group = "world",
        **loss: Any,
    ) -> None:
        super().__init__()
        if gate not in GATES:
            raise UsageError(f"there is no gate {gate!r}", "choose from " + ", ".join(GATES))
        if not 2 <= width <= hidden_size:
            raise UsageError(f"a projection of width {width} of states of width {hidden_size}", "64 is usual, and never more than the states have")
        try:
            self.side_loss = SideLoss(**loss)
        except TypeError as error:
            raise UsageError(f"the layer has no such option: {error}", "docs/config.md, [entanglement], lists them") from error
        # Draws of its own: an added layer moves no other draw.
        self.projection = nn.Parameter(nn.init.orthogonal_(torch.empty(width, hidden_size), generator=torch.Generator().manual_seed(seed)))
        process_group(group)
        self.gate, self.norm_cap, self.weight, self.group = gate, norm_cap, weight, group
        self._agreed = False
        self.pulse = Pulse()

    def forward(self, h: Tensor, ids: Tensor | None = None, segments: Tensor | None = None, share: float = 1.0) -> Tensor:
        """h: (B, T, C); ids: (B, T) int64, needed by ``same_token``; segments: (B, T), equal within a document; share: of the step's rows on all
        ranks that are in this pass, where gradients are accumulated. Returns h's values. In eval mode, without gradients and at weight 0 it returns h itself.
        """
        side = self.side_gradient(h, ids, segments, share)
        return h if side is None else _AddSideGradient.apply(h, side, self)  # type: ignore[no-untyped-call]

    def tap(self, h: Tensor, ids: Tensor | None = None, segments: Tensor | None = None, share: float = 1.0) -> None:
        """The same for a tensor that has been used already: its whole gradient, over all its uses, is the G of the gate."""
        side = self.side_gradient(h, ids, segments, share)
        if side is not None:
            h.register_hook(lambda gradient: self.gated(gradient, side))  # type: ignore[no-untyped-call]

    def gated(self, incoming: Tensor, side: Tensor) -> Tensor:
        """The gate on an arriving gradient; notes what it did in ``pulse``."""
        return apply_gate(self.gate, incoming, side.to(incoming.dtype), self.norm_cap, self.pulse)

    def side_gradient(self, h: Tensor, ids: Tensor | None, segments: Tensor | None, share: float) -> Tensor | None:
        """weight * share * dL/dh, (B, T, C); adds share * dL/dW to the projection's ``grad``. None where there is nothing to add."""
        if not self.training or self.weight == 0 or not (torch.is_grad_enabled() and h.requires_grad):
            return None
        group = process_group(self.group)
        if group is not None and not self._agreed:
            dist.broadcast(self.projection.detach(), dist.get_global_rank(group, 0), group=group)
            self._agreed = True
        with torch.enable_grad(), torch.autocast(h.device.type, enabled=False):
            states, projection = h.detach().to(self.projection.dtype).requires_grad_(True), self.projection.detach().requires_grad_(True)
            value = self.side_loss(nn.functional.linear(states, projection), ids, segments, group)
            if value.grad_fn is None:
                return None
            by_states, by_projection = torch.autograd.grad(value, (states, projection))
        self.pulse.loss = value.item()
        by_projection = mean_over_ranks(by_projection, group) * share
        self.projection.grad = by_projection if self.projection.grad is None else self.projection.grad + by_projection
        return by_states * (self.weight * share)


def weight_at(weight: float, fraction: float, warmup: float = 0.1, decay: float = 0.2) -> float:
    """lambda at a share of training: rises over the first ``warmup``, falls over the last ``decay``."""
    rise = min(1.0, fraction / warmup) if warmup > 0 else 1.0
    fall = min(1.0, max(0.0, (1.0 - fraction) / decay)) if decay > 0 else 1.0
    return weight * min(rise, fall)


# -- Models of Transformers --------------------------------------------------------------------------------------------

#: Name of the module whose input is the residual stream between attention and feed-forward, by family.
_NORM_AFTER_ATTENTION = {"llama": "post_attention_layernorm", "qwen3": "post_attention_layernorm", "qwen2": "post_attention_layernorm",
                         "mistral": "post_attention_layernorm", "gpt2": "ln_2"}


@dataclass
class Entanglement:
    """The layers on a model, their optimizer and what takes them off again."""

    layers: dict[int, EntangledLayer]
    optimizer: torch.optim.Optimizer
    weight: float
    #: Of the step's rows that are in one pass; 1 / steps where gradients are accumulated.
    share: float = 1.0
    _handles: list[Any] = field(default_factory=list, repr=False)
    _ids: Tensor | None = field(default=None, repr=False)

    def set_weight(self, weight: float) -> None:
        """lambda of the next passes; 0 switches the layers off."""
        for layer in self.layers.values():
            layer.weight = weight

    def step(self) -> None:
        """Updates the projections and clears their gradients; after the model's own update."""
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def remove(self) -> None:
        """The model is as it was."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def __enter__(self) -> Entanglement:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def entangle(model: Any, blocks: Sequence[int] | None = None, *, lr: float = 1e-3, **options: Any) -> Entanglement:
    """Puts an EntangledLayer between attention and feed-forward of the chosen blocks of a Transformers model; the one at two thirds of the depth by default.

    The layers live beside the model: nothing of them is saved with it, and its forward pass keeps its values. options: of EntangledLayer. lr: of the
    projections' AdamW. Call ``step()`` after each update, or give the Trainer an ``EntanglementCallback``. A model in DistributedDataParallel may be given in it
    or without it.

    Raises UsageError for families whose blocks are built otherwise, and for blocks the model does not have.
    """
    if isinstance(model, nn.parallel.DistributedDataParallel):
        model = model.module
    name = _NORM_AFTER_ATTENTION.get(model.config.model_type)
    if name is None:
        raise UsageError(f"the layer has no place in the family {model.config.model_type}", "families: " + ", ".join(_NORM_AFTER_ATTENTION))
    backbone = model.base_model
    stack = backbone.h if model.config.model_type == "gpt2" else backbone.layers
    chosen = [min(len(stack) - 1, 2 * len(stack) // 3)] if blocks is None else list(blocks)
    if not chosen or any(not 0 <= block < len(stack) for block in chosen) or len(set(chosen)) != len(chosen):
        raise UsageError(f"blocks {chosen} of a model of {len(stack)}", "count blocks from 0 and name each once")
    reference = model.get_input_embeddings().weight
    layers = {block: EntangledLayer(model.config.hidden_size, **options).to(reference.device) for block in chosen}
    weight = next(iter(layers.values())).weight
    optimizer = torch.optim.AdamW([layer.projection for layer in layers.values()], lr=lr, betas=(0.9, 0.95), weight_decay=0.1)
    entanglement = Entanglement(layers, optimizer, weight)

    def note_ids(_: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        if getattr(backbone, "gradient_checkpointing", False) or getattr(stack[0], "gradient_checkpointing", False):
            raise UsageError("the entanglement layer does not work with gradient checkpointing, which runs each block twice", "switch one of the two off")
        entanglement._ids = keywords.get("input_ids", arguments[0] if arguments else None)

    entanglement._handles.append(backbone.register_forward_pre_hook(note_ids, with_kwargs=True))
    for block, layer in layers.items():

        def tap(_: nn.Module, arguments: tuple[Any, ...], layer: EntangledLayer = layer) -> None:
            if backbone.training:
                layer.tap(arguments[0], entanglement._ids, share=entanglement.share)

        entanglement._handles.append(getattr(stack[block], name).register_forward_pre_hook(tap))
    return entanglement
