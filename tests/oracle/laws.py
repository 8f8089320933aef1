"""Exact laws of small models: every state of the finite sites listed, unbounded ones integrated one by one.

A law is conditional on what is clamped. Where there are free unbounded sites they must be independent given the finite ones; the law is then a
mixture: each finite state has the weight `exp(-E)` integrated over them, and each unbounded site its own law, of a slope l (`tails`), in that state.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gmc.dsl.model import Model, Variable
from tests.oracle.energy import Weights, energy, statistic
from tests.oracle.sites import Clamping, Site, as_columns, as_variables, columns, enumerate_states, sites, supports
from tests.oracle.tails import base, log_integral, moments, precisions, sample


@dataclass(frozen=True)
class Law:
    """The law of a model given what is clamped.

    `values` [states, sites]: the listed states; a free unbounded site stands there at its mean in that state.
    `variances`, `slopes` [states, sites]: of the free unbounded sites given the finite state, else 0.
    `p` [states]: probabilities. `log_z`: the log of the sum (integral) of exp(-E) over all that is free, in nats.
    `free`: the columns that are not clamped.
    """

    model: Model
    weights: Weights
    clamped: Mapping[Site, float]
    values: Tensor
    variances: Tensor
    slopes: Tensor
    p: Tensor
    log_z: float
    free: tuple[int, ...]

    @property
    def sites(self) -> tuple[Site, ...]:
        """The columns."""
        return sites(self.model)

    @property
    def finite(self) -> tuple[int, ...]:
        """The free columns that take finitely many values."""
        return tuple(c for c in self.free if supports(self.model)[c] is not None)

    @property
    def digits(self) -> Tensor:
        """Which of its values each site has in each state, `[states, sites]` int64; 0 where they have no bound."""
        found = [
            torch.zeros(len(self.values), dtype=torch.int64)
            if support is None
            else torch.searchsorted(torch.tensor(support, dtype=torch.float64), self.values[:, c].contiguous())
            for c, support in enumerate(supports(self.model))
        ]
        return torch.stack(found, dim=1)

    def block(self, items: Iterable[str | Site | tuple[str, int]]) -> tuple[int, ...]:
        """The free columns among variables by name and single sites."""
        return tuple(c for c in columns(self.model, items) if c in self.free)

    def indicators(self, column: int) -> Tensor:
        """Which value a finite site has in each state, one-hot, `[states, values]`."""
        support = supports(self.model)[column]
        if support is None:
            raise ValueError(f"{self.sites[column]} is no finite site")
        return torch.nn.functional.one_hot(self.digits[:, column], len(support)).to(torch.float64)

    def marginal(self, column: int) -> Tensor:
        """The probabilities of a finite site's values."""
        return self.p @ self.indicators(column)

    def pair(self, a: int, b: int) -> Tensor:
        """The joint probabilities of two finite sites' values, `[values of a, values of b]`."""
        return self.indicators(a).T @ (self.p.unsqueeze(1) * self.indicators(b))

    def mean(self) -> Tensor:
        """E[x] of every site, in values, `[sites]`."""
        return self.p @ self.values

    def second(self) -> Tensor:
        """E[x x'] of every pair of sites, in values, `[sites, sites]`."""
        return self.values.T @ (self.p.unsqueeze(1) * self.values) + torch.diag(self.p @ self.variances)

    def statistics(self) -> Tensor:
        """The statistics of each state, flat over all variables, `[states, size]`; a free unbounded site at its mean."""
        parts = self.values.split([v.sites for v in self.model.variables], dim=1)
        flat = [statistic(v, x, self.weights).flatten(1) for v, x in zip(self.model.variables, parts, strict=True)]
        return torch.cat(flat, dim=1)

    def mean_statistics(self) -> Tensor:
        """E[T], flat over all variables, `[size]`."""
        return self.p @ self.statistics()

    def second_statistics(self) -> Tensor:
        """E[T T'], flat over all variables, `[size, size]`."""
        t = self.statistics()
        variances = self.p @ self.variances
        spread = [
            (variances[c] * precision_of(self.model, self.weights, c) ** 2).expand(v.family.width)
            for c, v in ((c, self.model.variable(s.variable)) for c, s in enumerate(self.sites))
        ]
        return t.T @ (self.p.unsqueeze(1) * t) + torch.diag(torch.cat(spread))

    def variables(self) -> dict[str, Tensor]:
        """The listed states as `VAR` -> `[states, *shape]`, to be given to a program under test."""
        return as_variables(self.model, self.values)

    def draw(self, n: int, seed: int, p: Tensor | None = None) -> dict[str, Tensor]:
        """`n` independent samples `VAR` -> `[n, *shape]`, of the law or of other probabilities `p` of its states."""
        generator = torch.Generator().manual_seed(seed)
        at = torch.multinomial(self.p if p is None else p, n, replacement=True, generator=generator)
        table = self.values[at].clone()
        for c in set(self.free) - set(self.finite):
            variable, beta = variable_of(self.model, c), float(precision_of(self.model, self.weights, c))
            table[:, c] = sample(variable, self.slopes[at, c], beta, seed + 7919 * (c + 1))
        return as_variables(self.model, table)


def variable_of(model: Model, column: int) -> Variable:
    """The variable of a column."""
    return model.variable(sites(model)[column].variable)


def precision_of(model: Model, weights: Weights, column: int) -> Tensor:
    """The precision of a normal site, a scalar; 1 of any other."""
    return precisions(variable_of(model, column), weights)[sites(model)[column].number]


def law(model: Model, weights: Weights, clamped: Clamping | None = None, silent: Collection[Site] = ()) -> Law:
    """The exact law given what is clamped (`(variable, number)` -> value).

    Silent sites send nothing and are meant for broken samplers and for what precedes the first sweep.

    Raises:
        ValueError: unbounded sites are coupled to each other.
    """
    clamped = {Site(*site): float(value) for site, value in (clamped or {}).items()}
    with torch.no_grad():
        weights = {name: w.detach().to(torch.float64) for name, w in weights.items()}
        table, means, variances, slopes, logs = _integrate(model, weights, clamped, silent)
        log_z = torch.logsumexp(logs, 0)
        free = tuple(c for c, site in enumerate(sites(model)) if site not in clamped)
        return Law(model, weights, clamped, table + means, variances, slopes, (logs - log_z).exp(), log_z.item(), free)


def log_partition(model: Model, weights: Weights, clamped: Clamping | None = None) -> Tensor:
    """The log of the sum (integral) of exp(-E) over all that is not clamped, a scalar differentiable in the weights."""
    return torch.logsumexp(_integrate(model, weights, clamped, ())[-1], 0)


def log_likelihood(model: Model, weights: Weights, rows: Sequence[Clamping], given: Collection[Site] = ()) -> Tensor:
    """log p(row | the given sites of the row) of each row, `[rows]`, in nats, differentiable in the weights.

    A row lists the observed sites with their values; the others are summed out. A density where real numbers are observed.
    """
    found = []
    fixed: dict[tuple[tuple[Site, float], ...], Tensor] = {}
    for row in rows:
        condition = {Site(*site): value for site, value in row.items() if site in given}
        key = tuple(condition.items())
        if key not in fixed:
            fixed[key] = log_partition(model, weights, condition)
        found.append(log_partition(model, weights, row) - fixed[key])
    return torch.stack(found)


def rows_of(model: Model, values: Mapping[str, Tensor]) -> list[dict[Site, float]]:
    """Rows of whole variables `VAR` -> `[n, *shape]`, as `log_likelihood` wants them; a NaN is not observed."""
    n = len(next(iter(values.values())))
    flat = {name: x.reshape(n, -1).to(torch.float64) for name, x in values.items()}
    return [
        {
            site: flat[site.variable][r, site.number].item()
            for site in sites(model)
            if site.variable in flat and not math.isnan(flat[site.variable][r, site.number])
        }
        for r in range(n)
    ]


def gradient(
    model: Model, weights: Weights, rows: Sequence[Clamping], given: Collection[Site] = ()
) -> dict[str, Tensor]:
    """The gradient of the mean log-likelihood of the rows by each weight, by autograd in float64.

    A dense lateral weight holds each number twice, in its two triangles: both places get the derivative by that number.
    """
    leaves = {name: w.detach().to(torch.float64).clone().requires_grad_() for name, w in weights.items()}
    mean = log_likelihood(model, leaves, rows, given).mean()
    grads = torch.autograd.grad(mean, list(leaves.values()), materialize_grads=True)
    found = dict(zip(leaves, grads, strict=True))
    mirrored = [f"{edge.name}.weight" for edge in model.edges if edge.lateral and edge.factor.word == "dense"]
    return {name: g + g.T if name in mirrored else g for name, g in found.items()}


def joint_log_density(held: Law, values: Mapping[str, Tensor]) -> Tensor:
    """log p of complete states `VAR` -> `[n, *shape]` under a law, `[n]`: -E - log Z."""
    with torch.no_grad():
        return -energy(held.model, held.weights, as_columns(held.model, values)) - held.log_z


def _integrate(
    model: Model, weights: Weights, clamped: Clamping | None, silent: Collection[Site]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The table, the unbounded sites' means (0 elsewhere), variances and slopes in each state, and each state's log weight."""
    settled = {Site(*site) for site in clamped or {}} | {Site(*site) for site in silent}
    table = enumerate_states(model, clamped)
    endless = [c for c, s in enumerate(sites(model)) if supports(model)[c] is None and s not in settled]
    # at 1 every base measure is finite
    at_one = _bumped(table, *endless)
    first = energy(model, weights, at_one, silent)
    logs, means, variances, slopes = -first, *(torch.zeros_like(table) for _ in range(3))
    if len(endless) > 1:
        _refuse_coupled(model, weights, at_one, endless, silent)
    for c in endless:
        variable, beta = variable_of(model, c), precision_of(model, weights, c)
        one, two = (base(variable, torch.tensor(x, dtype=torch.float64), beta) for x in (1.0, 2.0))
        # minus E is base(x) + l x and what does not depend on x: its values at 1 and 2 tell l
        slope = first - energy(model, weights, _bumped(at_one, c), silent) - two + one
        logs = logs - slope - one + log_integral(variable, slope, beta)
        slopes[:, c] = slope.detach()
        means[:, c], variances[:, c] = moments(variable, slope.detach(), float(beta.detach()))
    return table, means, variances, slopes, logs


def _bumped(table: Tensor, *at: int) -> Tensor:
    table = table.clone()
    table[:, list(at)] += 1.0
    return table


def _refuse_coupled(
    model: Model, weights: Weights, table: Tensor, endless: Sequence[int], silent: Collection[Site]
) -> None:
    with torch.no_grad():
        zero = energy(model, weights, table, silent)
        one = {c: energy(model, weights, _bumped(table, c), silent) for c in endless}
        for i, a in enumerate(endless):
            for b in endless[i + 1 :]:
                mixed = energy(model, weights, _bumped(table, a, b), silent) - one[a] - one[b] + zero
                if mixed.abs().max() > 1e-9:
                    raise ValueError(
                        f"{sites(model)[a]} and {sites(model)[b]} are coupled: no mixture of independent laws"
                    )
