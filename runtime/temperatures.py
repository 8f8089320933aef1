"""Inverse temperatures from 0 to 1: spaced by rule, or chosen by a pilot run.

A pilot run, of chains of its own, goes up the path and takes each step as far as the conditional effective sample size of that step stays above a share of the chains
(Zhou, Johansen and Aston 2016, with all chains alike). The temperatures are then fixed, and a fresh run uses them: given the temperatures the weights of annealed
importance sampling have the right mean, whatever the temperatures are; had the chains that are weighed chosen them, they would not.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Betas = tuple[float, ...]
SHARE = 0.999
"""Of the chains, that the effective sample size of one step of an adaptive run comes to, unless said otherwise."""
MOST = 200_000
"""Temperatures that a pilot run may choose."""
LEAST = 1e-7
"""The shortest step of a pilot run."""
CLASSIC = ((0.5, 500), (0.9, 4000), (1.0, 10000))
"""Up to which inverse temperature how many steps are taken, in Salakhutdinov and Murray (2008)."""


@dataclass(frozen=True, slots=True)
class Spaced:
    """A number of temperatures above 0, evenly spaced."""

    count: int

    def betas(self) -> Betas:
        """From 0 to 1."""
        return tuple(n / self.count for n in range(self.count + 1))

    def __str__(self) -> str:
        return "one step from the base" if self.count == 1 else f"{self.count:,} evenly spaced temperatures"


@dataclass(frozen=True, slots=True)
class Classic:
    """The 14,500 temperatures of Salakhutdinov and Murray (2008), denser near 1."""

    def betas(self) -> Betas:
        """From 0 to 1."""
        found, low = [0.0], 0.0
        for high, count in CLASSIC:
            found += [low + (high - low) * n / count for n in range(1, count)] + [high]
            low = high
        return tuple(found)

    def __str__(self) -> str:
        return "14,500 temperatures, denser near 1 (Salakhutdinov and Murray 2008)"


@dataclass(frozen=True, slots=True)
class Adaptive:
    """As many as keep the effective sample size of each step at that share of the chains."""

    share: float = SHARE

    def __str__(self) -> str:
        return f"temperatures that keep the effective sample size of each step at {self.share:g} of the chains, chosen by a pilot run"


Temperatures = Spaced | Classic | Adaptive


def read_temperatures(given: int | str) -> Temperatures | None:
    """A number of at least 1, `classic`, `adaptive` or `adaptive:SHARE` with a share between 0 and 1; None where it is none of these."""
    text = str(given).strip()
    if isinstance(given, bool):
        return None
    if re.fullmatch(r"[0-9]{1,9}", text):
        return Spaced(int(text)) if int(text) >= 1 else None
    if text == "classic":
        return Classic()
    word, _, share = text.partition(":")
    if word != "adaptive":
        return None
    if text == word:
        return Adaptive()
    try:
        found = float(share)
    except ValueError:
        return None
    return Adaptive(found) if 0 < found < 1 else None


def choose(
    share: float,
    gained: Callable[[float, float], Tensor],
    move: Callable[[float], None],
    watch: Callable[[float], None],
) -> Betas | None:
    """The temperatures of a pilot run, or None where they would be more than `MOST`.

    `gained(beta, beta_next)` are the log weights `[chains]` of a step from where the chains stand, `move(beta)` draws them anew at the temperature that was chosen.
    `watch` is told each temperature.
    """
    found, step = [0.0], 0.01
    while found[-1] < 1.0:
        if len(found) > MOST:
            return None
        found.append(min(1.0, _next(share, gained, found[-1], step)))
        step = found[-1] - found[-2]
        move(found[-1])
        watch(found[-1])
    return tuple(found)


def conditional_ess(log_weights: Tensor) -> float:
    """(mean w)^2 / mean w^2, between 0 and 1."""
    n = log_weights.shape[0]
    return math.exp(float(2 * torch.logsumexp(log_weights, 0) - torch.logsumexp(2 * log_weights, 0)) - math.log(n))


def _next(share: float, gained: Callable[[float, float], Tensor], beta: float, guess: float) -> float:
    """The temperature at the end of the longest step, to a few per cent, whose effective sample size is at least the share.

    What is lost grows with the square of the step, which makes the next guess; the best that was good enough is kept.
    """
    lost, best, after = 1.0 - share, beta, min(beta + max(guess, LEAST), 1.0)
    while after > best:
        ess = conditional_ess(gained(beta, after))
        if ess >= share:
            best = after
            if best == 1.0 or 1.0 - ess > 0.8 * lost:
                break
        elif best > beta or after <= beta + LEAST:
            break
        ratio = math.sqrt(0.9 * lost / max(1.0 - ess, 1e-12))
        after = min(1.0, beta + max(LEAST, (after - beta) * min(max(ratio, 0.05), 20.0)))
    return max(best, beta + LEAST)
