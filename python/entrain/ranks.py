"""The processes that train one model together (torch.distributed), seen from a side loss.

As in src/entrain/entanglement/ranks.h: a loss made with the sums and gatherings here has the same value on every rank, and its gradient on a rank is that of
the sum of all ranks' losses. So the mean over ranks of parameter gradients, which data parallel training takes, is the whole batch's gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor

from entrain.errors import UsageError

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

    Group = ProcessGroup | Literal["world", "alone"]

__all__ = ["Ranks", "mean_over_ranks", "process_group"]


def process_group(group: Group) -> ProcessGroup | None:
    """``world``: every process, once torch.distributed is initialised; ``alone``, or a group of one: None, this process by itself.

    Raises UsageError for other names, and for a group without this process.
    """
    if isinstance(group, str):
        if group not in ("world", "alone"):
            raise UsageError(f"there is no group {group!r}", 'give "world", "alone" or a process group of torch.distributed')
        if group == "alone" or not (dist.is_available() and dist.is_initialized()):
            return None
        members = dist.group.WORLD
    else:
        members = group
    if dist.get_rank(members) < 0:
        raise UsageError("this process is not in the layer's group", "give each process the group of the ranks that train with it")
    return members if dist.get_world_size(members) > 1 else None


def _sum(x: Tensor, group: ProcessGroup) -> Tensor:
    total = x.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total, group=group)
    return total


def mean_over_ranks(x: Tensor, group: ProcessGroup | None) -> Tensor:
    """The mean of the ranks' tensors, without autograd. None: x itself."""
    return x if group is None else _sum(x, group) / dist.get_world_size(group)


class _Sum(torch.autograd.Function):
    """The gradient is summed as well."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup) -> Tensor:
        ctx.group = group
        return _sum(x, group)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _sum(gradients[0], ctx.group), None


class _Gather(torch.autograd.Function):
    """Each rank gets back the sum of all gradients for its part."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        counts = ranks.counts
        padded = x.new_zeros(max(counts), *x.shape[1:])
        padded[: x.shape[0]] = x
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded, group=ranks.group)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        ranks: Ranks = ctx.ranks
        return _sum(gradients[0], ranks.group).narrow(0, ranks.first, ranks.counts[ranks.rank]), None


@dataclass(frozen=True)
class Ranks:
    """The processes whose batches one pass sees as one. All of them call the same methods in the same order."""

    group: Any
    """Their ProcessGroup; None: this process alone, and nothing is exchanged."""
    rank: int
    shapes: tuple[tuple[int, int], ...]
    """Rows and positions of each rank's batch; they may differ."""

    @staticmethod
    def meet(v: Tensor, group: ProcessGroup | None) -> Ranks:
        """Those of ``group``, with v (B, T, ...) the batch of this one."""
        own = (v.shape[0], v.shape[1])
        if group is None:
            return Ranks(None, 0, (own,))
        shape = torch.tensor(own, device=v.device)
        shapes = [torch.empty_like(shape) for _ in range(dist.get_world_size(group))]
        dist.all_gather(shapes, shape, group=group)
        return Ranks(group, dist.get_rank(group), tuple((int(rows), int(positions)) for rows, positions in torch.stack(shapes).tolist()))

    def alone(self) -> Ranks:
        """This process by itself."""
        return Ranks(None, 0, (self.shapes[self.rank],))

    @property
    def counts(self) -> list[int]:
        """Positions on each rank."""
        return [rows * positions for rows, positions in self.shapes]

    @property
    def first(self) -> int:
        """Number of this rank's first position among those of all."""
        return sum(self.counts[: self.rank])

    def sum(self, x: Tensor) -> Tensor:
        """The elementwise sum over ranks, the same bits on each."""
        result: Tensor = x if self.group is None else _Sum.apply(x, self.group)  # type: ignore[no-untyped-call]
        return result

    def gather(self, x: Tensor) -> Tensor:
        """x: (n, ...), one entry a position. Those of all ranks along dimension 0."""
        result: Tensor = x if self.group is None else _Gather.apply(x, self)  # type: ignore[no-untyped-call]
        return result
