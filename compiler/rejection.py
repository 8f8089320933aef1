"""Draws by rejection, as pure functions of their arguments.

A trial of a site uses counters of its own: trial `r` of site `i` of `n` those from `r n + i` on, so that how many trials one site needs changes no other. Only what has not been
accepted is tried again. All is computed in float64 from whole words.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gmc.compiler.draws import coarse, draw, fine, words, words_at

LARGEST_RATE = 2.0**23
"""The largest rate of a Poisson draw, and the rate that is drawn from beyond it: its counts stay below 2^24, up to which float32 is exact."""
INVERTED = 10.0
"""Rates below it are inverted, those from it on are drawn by rejection."""


def _invert(rate: Tensor, u: Tensor) -> Tensor:
    """The least k with P(X <= k) >= u, for rates below `INVERTED`."""
    term = (-rate).exp()
    total, found = term.clone(), torch.zeros_like(rate)
    for k in range(1, 200):
        above = u > total
        if not bool(above.any()):
            break
        found += above
        term = term * (rate / k)
        total += term
    return found


def _transformed(rate: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """One trial each of Hormann's PTRS: what was proposed, and whether it is accepted.

    The transformed rejection method for generating Poisson random variables, Insurance: Mathematics and Economics 12, 1993; for rates of 10 and more.
    """
    b = 0.931 + 2.53 * rate.sqrt()
    a = -0.059 + 0.02483 * b
    u, v = coarse(x) - 0.5, coarse(y)
    edge = 0.5 - u.abs()
    k = ((2.0 * a / edge + b) * u + rate + 0.43).floor()
    inside = (edge >= 0.07) & (v <= 0.9277 - 3.6224 / (b - 2.0))
    possible = (k >= 0) & ~((edge < 0.013) & (v > edge))
    height = v.log() + (1.1239 + 1.1328 / (b - 3.4)).log() - (a / (edge * edge) + b).log()
    below = height <= k * rate.log() - rate - torch.lgamma(k + 1.0)
    return k, inside | (possible & below)


@draw
def poisson(eta: Tensor, key: Tensor, site: int, sweep: int) -> Tensor:
    """Counts of rate exp(eta), at most `LARGEST_RATE`; `[chains, sites]` in eta's dtype. NaN where the field is NaN."""
    count = eta.shape[1]
    rate = eta.to(torch.float64).exp().clamp(max=LARGEST_RATE)
    x, y = words(key, site, sweep, count)
    found = torch.where(rate.isnan(), rate, 0.0)
    low = rate < INVERTED
    found[low] = _invert(rate[low], fine(x[low], y[low]))
    rows, units = (rate >= INVERTED).nonzero(as_tuple=True)
    x, y, trial = x[rows, units], y[rows, units], 0
    while rows.numel():
        k, accepted = _transformed(rate[rows, units], x, y)
        found[rows[accepted], units[accepted]] = k[accepted]
        rows, units, trial = rows[~accepted], units[~accepted], trial + 1
        x, y = words_at(key, site, sweep, rows, units + trial * count)
    return found.to(eta.dtype)


@draw
def gamma(eta: Tensor, key: Tensor, site: int, sweep: int, shape: float) -> Tensor:
    """Gamma numbers of that shape and the rate -eta, `[chains, sites]` in eta's dtype; NaN where the field is not below zero.

    Marsaglia and Tsang (A simple method for generating gamma variables, ACM Transactions on Mathematical Software 26, 2000); a shape below 1 as one of
    shape + 1 times U^(1 / shape). Numbers too small for the dtype are given as its smallest normal one, since zero is no value of the law.
    """
    rows, units = torch.ones_like(eta, dtype=torch.bool).nonzero(as_tuple=True)
    count, trial = eta.shape[1], 0
    standard = torch.empty_like(eta, dtype=torch.float64)
    raised = shape if shape >= 1.0 else shape + 1.0
    d = raised - 1.0 / 3.0
    while rows.numel():
        first, second = (words_at(key, site, sweep, rows, units + (2 * trial + n) * count) for n in (0, 1))
        normal = (coarse(first[0]).log() * -2.0).sqrt() * (coarse(first[1]) * (2.0 * math.pi)).cos()
        root = 1.0 + normal / math.sqrt(9.0 * d)
        v = root.clamp(min=0.0) ** 3
        accepted = (root > 0) & (coarse(second[0]).log() < 0.5 * normal * normal + d * (1.0 - v + v.log()))
        number = d * v
        if shape < 1.0:
            number = number * coarse(second[1]) ** (1.0 / shape)
        standard[rows[accepted], units[accepted]] = number[accepted]
        rows, units, trial = rows[~accepted], units[~accepted], trial + 1
    field = eta.to(torch.float64)
    found = (standard / torch.where(field < 0, -field, math.nan)).to(eta.dtype)
    return found.clamp(min=torch.finfo(eta.dtype).tiny)
