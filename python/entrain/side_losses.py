"""The side losses of the entanglement layer: equations as in src/entrain/entanglement/losses.h, pairs summed exactly, over ranks as there."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from entrain.errors import UsageError
from entrain.ranks import Ranks

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

__all__ = ["LOSSES", "POSITIVES", "SideLoss"]

Loss = Literal["infonce", "literal", "align_uniform", "decov", "vicreg"]
Positives = Literal["next", "window", "same_token"]

LOSSES: tuple[str, ...] = ("infonce", "literal", "align_uniform", "decov", "vicreg")
POSITIVES: tuple[str, ...] = ("next", "window", "same_token")
SCOPES: tuple[str, ...] = ("batch", "sequence")
_TINY = 1e-30
_Apply = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class SideLoss:
    """A loss on all pairs of a batch's projected states. Keys, meanings and defaults are those of the recipe table [entanglement] (docs/config.md)."""

    loss: Loss = "infonce"
    positives: Positives = "next"
    scope: Literal["batch", "sequence"] = "batch"
    smoothing: float = 0.1
    temperature: float = 0.5
    next_k: int = 3
    window: int = 8
    window_decay: float = 0.8
    frequency_threshold: float = 1e-4
    uniformity_weight: float = 1.0
    vicreg_invariance: float = 25.0
    vicreg_variance: float = 25.0
    vicreg_covariance: float = 1.0

    def __post_init__(self) -> None:
        """Raises UsageError for names that are not here."""
        for value, known, what in ((self.loss, LOSSES, "loss"), (self.positives, POSITIVES, "positives"), (self.scope, SCOPES, "scope")):
            if value not in known:
                raise UsageError(f"{what} {value!r} is not among those of the Python layer", f"choose from {', '.join(known)}; the program has more: docs/config.md")

    def __call__(self, v: Tensor, ids: Tensor | None = None, segments: Tensor | None = None, group: ProcessGroup | None = None) -> Tensor:
        """The loss of projected states v (B, T, d), differentiable; a scalar, 0 where a group of positions has fewer than two.

        group: processes whose batches are one batch here, with the value and gradient of entrain.ranks; their rows and positions may differ in number.
        """
        ranks = Ranks.meet(v, group)
        n_positions = sum(ranks.counts)
        if n_positions < 2 or (self.scope == "sequence" and min(positions for _, positions in ranks.shapes) < 2):
            return v.sum() * 0
        if self.loss == "decov":
            return _decov(v.flatten(0, 1), ranks)
        groups = v.reshape(1, -1, v.shape[-1]) if self.scope == "batch" else v
        compared, n = (ranks, n_positions) if self.scope == "batch" else (ranks.alone(), v.shape[1])
        if self.loss == "literal":
            rows = (self._log_row_sums(groups, compared, n) - self._mean_scores(groups, compared, n)).flatten() - math.log(n - 1)
            return _weighted_mean(rows, torch.ones_like(rows), ranks)
        apply, weights = _positives(self, v, ids, segments, ranks)
        if self.loss == "vicreg":
            return _vicreg(v.flatten(0, 1), apply, weights, (self.vicreg_invariance, self.vicreg_variance, self.vicreg_covariance), ranks)
        if self.loss == "infonce":
            z = _unit(groups)
            flat = z.flatten(0, 1)
            rows = self._log_row_sums(groups, compared, n).flatten() - (1 - self.smoothing) / self.temperature * (flat * apply(flat)).sum(1)
            if self.smoothing > 0:
                rows = rows - self.smoothing * self._mean_scores(groups, compared, n).flatten()
            return _weighted_mean(rows, weights, ranks)
        alignment = _alignment(_unit(v).flatten(0, 1), apply, weights, ranks)
        of_all = compared.gather(self._log_row_sums(groups, compared, n).flatten()).view(groups.shape[0], n)
        pairs = torch.logsumexp(of_all, 1) - math.log(n * (n - 1)) - 1 / self.temperature
        # One group over all ranks has the same value on each already.
        return alignment + self.uniformity_weight * (pairs.mean() if self.scope == "batch" else _weighted_mean(pairs, torch.ones_like(pairs), ranks))

    def _log_row_sums(self, groups: Tensor, ranks: Ranks, n: int) -> Tensor:
        """(G, ...) log sum over j != i of exp(z_i . z_j / temperature), j among the n positions of a group on all ranks."""
        z = _unit(groups)
        candidates = ranks.gather(z.flatten(0, 1)).view(z.shape[0], n, z.shape[2])
        scores = z @ candidates.transpose(1, 2) / self.temperature
        own = torch.arange(z.shape[1], device=z.device).unsqueeze(1) + ranks.first
        self_pairs = own == torch.arange(n, device=z.device)
        return torch.logsumexp(scores.masked_fill(self_pairs, -math.inf), 2)

    def _mean_scores(self, groups: Tensor, ranks: Ranks, n: int) -> Tensor:
        """(G, ...) mean over the same j of z_i . z_j / temperature."""
        z = _unit(groups)
        others = ranks.sum(z.sum(1, keepdim=True)) - z
        return (z * others).sum(2) / (self.temperature * (n - 1))


def _unit(v: Tensor) -> Tensor:
    norms: Tensor = v.norm(dim=-1, keepdim=True)
    return v / norms.clamp_min(1e-12)


def _weighted_mean(rows: Tensor, weights: Tensor, ranks: Ranks) -> Tensor:
    return ranks.sum((rows * weights.to(rows.dtype)).sum()) / ranks.sum(weights.sum()).clamp_min(_TINY).to(rows.dtype)


def _positives(settings: SideLoss, v: Tensor, ids: Tensor | None, segments: Tensor | None, ranks: Ranks) -> tuple[_Apply, Tensor]:
    """The rows of this rank's n = B T positions of the row-stochastic operator A over all positions, (n, k) -> (n, k), and the positions' weights (n) in means."""
    if settings.positives == "same_token":
        if ids is None:
            raise UsageError("positives same_token without token ids", "call layer(h, ids)")
        return _same_token(settings, ids, ranks)
    if settings.positives == "next":
        return _band(v, [1.0] * settings.next_k, False, segments)
    return _band(v, [settings.window_decay**distance for distance in range(1, settings.window + 1)], True, segments)


def _band(v: Tensor, weights: Sequence[float], both_sides: bool, segments: Tensor | None) -> tuple[_Apply, Tensor]:
    """Positions at fixed distances within a row and document."""
    n_rows, length = v.shape[:2]
    links: list[tuple[int, Tensor]] = []
    total = torch.zeros(n_rows, length, dtype=torch.float64, device=v.device)
    for distance, weight in enumerate(weights[: length - 1], 1):
        link = torch.full((n_rows, length - distance), weight, dtype=torch.float64, device=v.device)
        if segments is not None:
            link = link * (segments[:, :-distance] == segments[:, distance:])
        total[:, :-distance] += link
        links.append((distance, link))
        if both_sides:
            total[:, distance:] += link
            links.append((-distance, link))

    def apply(x: Tensor) -> Tensor:
        grid = x.view(n_rows, length, -1)
        result = torch.zeros_like(grid)
        for distance, link in links:
            here, there = (slice(0, length - distance), slice(distance, length)) if distance > 0 else (slice(-distance, length), slice(0, length + distance))
            share = (link / total[:, here].clamp_min(1e-300)).to(x.dtype).unsqueeze(-1)
            padding = (0, 0, max(0, -distance), max(0, distance))
            result = result + nn.functional.pad(share * grid[:, there], padding)
        return result.view(n_rows * length, -1)

    return apply, (total.view(-1) > 0).double()


def _same_token(settings: SideLoss, ids: Tensor, ranks: Ranks) -> tuple[_Apply, Tensor]:
    """All positions of one token in the scope but oneself; frequent tokens count less."""
    flat = ids.reshape(-1)
    everyone = ranks.gather(flat)
    if settings.scope == "batch":
        classes, compared = everyone, ranks
    else:
        classes, compared = torch.arange(ids.shape[0], device=ids.device).repeat_interleave(ids.shape[1]) * (int(everyone.max()) + 1) + flat, ranks.alone()
    _, of_all, counts = torch.unique(classes, return_inverse=True, return_counts=True)
    own = of_all.narrow(0, compared.first, flat.shape[0])
    others = (counts[own] - 1).double()
    keep = torch.ones_like(others)
    if settings.frequency_threshold > 0:
        occurrences = torch.bincount(everyone).double()
        keep = (settings.frequency_threshold / (occurrences[flat] / everyone.numel())).clamp_max(1).sqrt()

    def apply(x: Tensor) -> Tensor:
        sums: Tensor = x.new_zeros(counts.shape[0], x.shape[1]).index_add(0, of_all, compared.gather(x))
        share: Tensor = ((others > 0) / others.clamp_min(1)).to(x.dtype).unsqueeze(1)
        return (sums[own] - x) * share

    return apply, torch.where(others > 0, keep, torch.zeros_like(keep))


def _alignment(x: Tensor, apply: _Apply, weights: Tensor, ranks: Ranks) -> Tensor:
    """Mean over positions with positives of sum_j A_ij |x_i - x_j|^2; x: (n, d)."""
    squares = x.square().sum(1, keepdim=True)
    moved = apply(torch.cat([x, squares], 1))
    return _weighted_mean(squares.squeeze(1) - 2 * (x * moved[:, :-1]).sum(1) + moved[:, -1], weights, ranks)


def _off_diagonal(matrix: Tensor) -> Tensor:
    return matrix.square().sum() - matrix.diagonal().square().sum()


def _decov(v: Tensor, ranks: Ranks) -> Tensor:
    """Half the squared correlations between different coordinates; v: (n, d)."""
    n = sum(ranks.counts)
    middle = v - ranks.sum(v.sum(0)) / n
    standard = middle / (ranks.sum(middle.square().sum(0)) / n + 1e-12).sqrt()
    return 0.5 * _off_diagonal(ranks.sum(standard.T @ standard) / n)


def _vicreg(v: Tensor, apply: _Apply, weights: Tensor, c: tuple[float, float, float], ranks: Ranks) -> Tensor:
    """Distance of positives, spread of each coordinate, correlations between coordinates; v: (n, d)."""
    w = (weights / ranks.sum(weights.sum()).clamp_min(_TINY)).to(v.dtype)

    def spread(x: Tensor) -> Tensor:
        middle = x - ranks.sum(w @ x)
        covariance = ranks.sum(middle.T @ (middle * w.unsqueeze(1)))
        return c[1] * (1 - (covariance.diagonal() + 1e-4).sqrt()).clamp_min(0).mean() + c[2] * _off_diagonal(covariance) / v.shape[1]

    other = apply(v)
    return c[0] * ranks.sum(((v - other).square().mean(1) * w).sum()) + spread(v) + spread(other)
