"""Tempered transitions: chains led up through higher temperatures and down again, and what comes of it accepted or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from gmc.compiler.draws import uniform
from gmc.compiler.outcome import States
from gmc.compiler.program import Program
from gmc.compiler.split import Bound
from gmc.compiler.tempering import tempering

JUDGEMENT = (1 << 24) + 1
"""The site number of what decides, above those of all draws."""


@dataclass(frozen=True, slots=True)
class Transition:
    """The graphs of a tempered transition, bound to what does not change in a run; `ladder` holds its inverse temperatures, from the least to 1."""

    ladder: tuple[float, ...]
    climb: Bound
    descend: Bound
    keys: Tensor

    @classmethod
    def of(cls, program: Program, values: Mapping[str, Any], keys: Tensor) -> Transition | None:
        """That of a chain; None where it makes none."""
        start = tempering(program.chain)
        if start is None or program.climb is None or program.descend is None:
            return None
        return cls(start.ladder, program.climb.bind(values), program.descend.bind(values), keys)

    def __call__(self, state: States, turn: int) -> tuple[States, Tensor]:
        """The states after a transition, and which chains moved, int64 `[chains, 1]`.

        With b_0 = 1 > b_1 > .. > b_K the sweep up at b_k leads from x_{k-1} to x_k, and its reverse down at b_k from x'_k to x'_{k-1}, x'_K being x_K. x'_0 is accepted with
        probability min(1, exp(sum over k of (b_k - b_{k-1}) (score(x_{k-1}) - score(x'_{k-1})))) (Neal, 1996, eq. 6).
        """
        down = self.ladder[::-1]
        at, log_weight = state, torch.zeros(self.keys.shape[0], dtype=torch.float64, device=self.keys.device)
        steps = list(enumerate(pairwise(down)))
        for number, (warm, warmer) in steps:
            found = self.climb(self._inputs(at, warmer, turn, number))
            log_weight = log_weight + (warmer - warm) * found["score"].double()
            at = found["state"]
        for number, (warm, warmer) in reversed(steps):
            found = self.descend(self._inputs(at, warmer, turn, number))
            log_weight = log_weight + (warm - warmer) * found["score"].double()
            at = found["state"]
        chance = uniform(self.keys, JUDGEMENT, turn, 1, torch.float64)
        moved = chance.log() < log_weight[:, None]
        return {name: torch.where(moved, at[name], state[name]) for name in state}, moved.long()

    def _inputs(self, state: States, beta: float, turn: int, number: int) -> dict[str, object]:
        """What a sweep reads; each of a transition has a number of its own for its draws."""
        inputs: dict[str, object] = {f"state.{name}": value for name, value in state.items()}
        return {**inputs, "beta": beta, "sweep": turn * (len(self.ladder) - 1) + number}
