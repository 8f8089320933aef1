"""Samples against a law, with a stated chance of a false alarm and no tolerance chosen by eye.

Every value of a site, every pair of values of two sites, and every joint state where they can be listed, is a cell whose count among n
independent samples is binomial with a probability known exactly. A cell's p-value is the exact two-sided tail, Bonferroni's factor makes
one verdict of all cells, and `ALPHA` leaves `FALSE_ALARM` to a suite of `VERDICTS` verdicts. Unbounded values count by cells too, cut at their
mean and one deviation either side, so that a wrong variance shows.

Samples must be independent: take one from each of many chains, and never several from one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats
from torch import Tensor

from tests.oracle.laws import Law, precision_of, variable_of
from tests.oracle.sites import as_columns, supports
from tests.oracle.tails import below

FALSE_ALARM = 1e-6
"""The chance that a suite whose samplers are all right fails."""
VERDICTS = 2000
"""Verdicts a suite may ask for; more need a smaller ALPHA."""
ALPHA = FALSE_ALARM / VERDICTS
SAMPLES = 20_000
"""Chains that a statistical test runs, one sample each."""
JOINT = 4096
"""States up to which the joint law is compared state by state."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Verdict:
    """The outcome of a test: its p-value, corrected for the number of cells, and the cell that gave it."""

    p_value: float
    worst: str

    @property
    def ok(self) -> bool:
        """Whether the samples may come from the law."""
        return self.p_value >= ALPHA

    def __str__(self) -> str:
        return f"p = {self.p_value:.3g} ({'passes' if self.ok else 'FAILS'} at {ALPHA:.1g}); worst: {self.worst}"


def binomial_p(count: Array, n: int, p: Array) -> Array:
    """The exact two-sided p-value of each count: twice the smaller tail, at most 1."""
    p = np.clip(p, 0.0, 1.0)
    tails = np.minimum(stats.binom.cdf(count, n, p), stats.binom.sf(count - 1, n, p))
    return np.asarray(np.minimum(1.0, 2 * tails), dtype=np.float64)


def compare(held: Law, samples: Mapping[str, Tensor], p: Tensor | None = None) -> Verdict:
    """Independent samples `VAR` -> `[n, *shape]`, of every variable, against a law (or other probabilities `p` of its states).

    A clamped site that has moved, and a value outside the support, fail with p = 0.
    """
    p = held.p if p is None else p
    table = as_columns(held.model, samples)
    if broken := _impossible(held, table):
        return Verdict(0.0, broken)
    n, worst, cells = len(table), (1.0, "none"), 0
    for name, expected, found in _cells(held, table, p):
        chances = binomial_p(found, n, expected)
        cells += chances.size
        at = int(chances.argmin())
        if chances.flat[at] < worst[0]:
            say = f"{name}, cell {tuple(int(i) for i in np.unravel_index(at, chances.shape))}: {found.flat[at]:.0f} of {n}"
            worst = (float(chances.flat[at]), f"{say}, expected {n * expected.flat[at]:.1f}")
    return Verdict(min(1.0, worst[0] * cells), worst[1])


def mean_within(values: Array, expected: float, comparisons: int = 1) -> Verdict:
    """The mean of independent numbers against its expectation, by Student's t with Bonferroni's factor.

    For estimates without an exact law, such as importance weights; wants numbers with no heavy tail, and at least some hundred.
    """
    n = len(values)
    error = float(values.std(ddof=1)) / n**0.5
    t = (float(values.mean()) - expected) / error if error > 0 else (0.0 if values.mean() == expected else np.inf)
    p = min(1.0, comparisons * 2 * float(stats.t.sf(abs(t), n - 1)))
    return Verdict(p, f"mean {values.mean():.6g}, expected {expected:.6g}, {t:.2f} standard errors away")


def _impossible(held: Law, table: Tensor) -> str | None:
    for c, (site, support) in enumerate(zip(held.sites, supports(held.model), strict=True)):
        x = table[:, c]
        if not torch.isfinite(x).all():
            return f"{site} is not finite"
        if site in held.clamped and not torch.allclose(x, torch.full_like(x, held.clamped[site]), rtol=1e-6, atol=0):
            return f"{site} is clamped at {held.clamped[site]:g} and has moved"
        if support is not None and not torch.isin(x, torch.tensor(support, dtype=x.dtype)).all():
            return f"{site} takes {support} and has another value"
    return None


def _cells(held: Law, table: Tensor, p: Tensor) -> Iterator[tuple[str, Array, Array]]:
    """The name, the probabilities and the counts of each group of cells."""
    chances, found = zip(*(_discretised(held, table, c) for c in held.free), strict=True) if held.free else ((), ())
    names = [f"{held.sites[c].variable}[{held.sites[c].number}]" for c in held.free]
    for i, name in enumerate(names):
        yield name, (p @ chances[i]).numpy(), found[i].sum(0).numpy()
        for j in range(i):
            expected = chances[i].T @ (p.unsqueeze(1) * chances[j])
            yield f"{name} and {names[j]}", expected.numpy(), (found[i].T @ found[j]).numpy()
    if held.free == held.finite and 1 < len(held.p) <= JOINT:
        yield "the joint state", p.numpy(), _joint_counts(held, table)


def _discretised(held: Law, table: Tensor, column: int) -> tuple[Tensor, Tensor]:
    """A site's cells: their chances in each state `[states, cells]` and which one each sample is in `[n, cells]`."""
    support, x = supports(held.model)[column], table[:, column]
    if support is not None:
        return held.indicators(column), torch.stack([(x == value).to(torch.float64) for value in support], dim=1)
    mean = held.mean()[column]
    spread = (held.second()[column, column] - mean**2).sqrt()
    edges = mean + spread * torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)
    beta = float(precision_of(held.model, held.weights, column))
    chance = below(variable_of(held.model, column), held.slopes[:, column], beta, edges)
    chance = torch.cat((torch.zeros(len(chance), 1), chance, torch.ones(len(chance), 1)), dim=1)
    cell = torch.bucketize(x.contiguous(), edges, right=True)
    return chance.diff(dim=1), torch.nn.functional.one_hot(cell, 4).to(torch.float64)


def _joint_counts(held: Law, table: Tensor) -> Array:
    """How many samples are in each listed state."""
    number, sampled = torch.zeros(len(held.values), dtype=torch.int64), torch.zeros(len(table), dtype=torch.int64)
    for c in held.free:
        support = torch.tensor(supports(held.model)[c] or (), dtype=torch.float64)
        number = number * len(support) + held.digits[:, c]
        sampled = sampled * len(support) + torch.searchsorted(support, table[:, c].contiguous())
    # states are listed in ascending order of their number, all numbers once
    return torch.bincount(sampled, minlength=len(number))[number].to(torch.float64).numpy()
