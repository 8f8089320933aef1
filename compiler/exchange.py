"""Exchanges of states between neighbouring temperatures, as a draw of a permutation."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from gmc.compiler.draws import draw, uniform


@cache
def _on_device(ladder: tuple[float, ...], device: torch.device) -> Tensor:
    """The ladder as a tensor; it is made once, so that no sweep waits for it."""
    return torch.tensor(ladder, dtype=torch.float64, device=device)


@draw
def exchange(score: Tensor, key: Tensor, site: int, sweep: int, ladder: tuple[float, ...]) -> Tensor:
    """Which row each row takes its state from, and whether it exchanged its state with the row after it (0 or 1), int64 `[chains, 2]`.

    Rows stand in groups of as many as the ladder has inverse temperatures, in its order; row r of temperature b has a law proportional to exp(b score(x)) and what does not hang on b.
    First the pairs of temperatures 0 and 1, 2 and 3, .., then 1 and 2, 3 and 4, .. exchange their states, each with probability min(1, exp((b - b') (score' - score))), by the first of the
    two's uniform numbers (Geyer, Markov chain Monte Carlo maximum likelihood, 1991).
    """
    replicas = len(ladder)
    beta = _on_device(ladder, score.device)
    at = score.to(torch.float64).unflatten(0, (-1, replicas))
    order = torch.arange(replicas, device=score.device).expand(at.shape[0], -1).contiguous()
    chance = uniform(key, site, sweep, 2, torch.float64).log().unflatten(0, (-1, replicas))
    done = torch.zeros_like(order)
    for phase in (0, 1):
        left = torch.arange(phase, replicas - 1, 2, device=score.device)
        held = at.gather(1, order)
        gain = (beta[left] - beta[left + 1]) * (held[:, left + 1] - held[:, left])
        accepted = chance[:, left, phase] < gain
        first, second = order[:, left], order[:, left + 1]
        order = order.index_copy(1, left, torch.where(accepted, second, first))
        order = order.index_copy(1, left + 1, torch.where(accepted, first, second))
        done = done.index_copy(1, left, accepted.to(done.dtype))
    base = torch.arange(at.shape[0], device=score.device)[:, None] * replicas
    return torch.stack(((order + base).flatten(), done.flatten()), dim=1)
