"""Exact partition functions and likelihoods by enumeration, in float64."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from gmc.compiler.driver import Compiled
from gmc.compiler.emitter import inputs
from gmc.compiler.graph import family
from gmc.compiler.marginal import LIMIT, Marginal
from gmc.compiler.outcome import Sum
from gmc.compiler.region import Region
from gmc.compiler.sharing import shared
from gmc.runtime.missing import patterns

CHUNK = 1 << 22
"""Numbers in the statistics of the states that are evaluated at once, at most."""
KEPT = 4096
"""Marginals that are kept at most: rows with missing values need one for each pattern of what they have."""


class TooLarge(Exception):
    """The sum cannot be taken; the text says why."""


class Marginals:
    """How a model is summed, worked out once for each set of sites that are given."""

    def __init__(self, compiled: Compiled) -> None:
        self.compiled = compiled
        self._kept: dict[tuple[tuple[str, bytes], ...], Marginal] = {}

    def given(self, clamped: Mapping[str, Region]) -> Marginal:
        """How the sum over all but the sites of some regions is taken."""
        key = tuple((name, region.sites.tobytes()) for name, region in sorted(clamped.items()))
        if key not in self._kept:
            if len(self._kept) >= KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = self.compiled.marginal(dict(clamped))
        return self._kept[key]

    def log_partition(
        self, params: Mapping[str, Tensor], values: Mapping[str, Tensor], rows: int, gradient: bool = False
    ) -> Sum:
        """As the function `log_partition`, of rows of whole statistics `[rows, size]` of which NaN is not given and summed out.

        The rows are grouped by what they have, since each group has its own sum. The gradient is that of the mean over all rows.

        Raises:
            TooLarge: see `check`.
        """
        if not values:
            return log_partition(self.given({}), params, {}, rows, gradient)
        log_z = torch.empty(rows, dtype=torch.float64, device=_device(params))
        total: dict[str, Tensor] = {}
        for numbers, regions in patterns(values, self.compiled.checked.model):
            at = numbers.to(log_z.device)
            some = {name: values[name][at] for name in regions}
            found = log_partition(self.given(regions), params, some, len(numbers), gradient)
            log_z[at] = found.log_z
            for name, value in found.gradient.items():
                share = value * (len(numbers) / rows)
                total[name] = total[name] + share if name in total else share
        return Sum(log_z, total)


def check(marginal: Marginal, limit: float = LIMIT) -> None:
    """Refuses what cannot be summed.

    Raises:
        TooLarge: it has too many states, or no closed form.
    """
    reason = marginal.reason(limit)
    if reason is not None:
        raise TooLarge(reason)


def log_partition(
    marginal: Marginal,
    params: Mapping[str, Tensor],
    clamped: Mapping[str, Tensor],
    rows: int = 1,
    gradient: bool = False,
    limit: float = LIMIT,
) -> Sum:
    """log of the sum of exp(-E) over all that is not clamped, for each row of clamped whole statistics `[rows, size]`.

    Raises:
        TooLarge: see `check`.
    """
    check(marginal, limit)
    weights = {name: p.detach().to(torch.float64) for name, p in params.items()}
    listing = Listing(marginal, _device(weights))
    log_z = torch.full((rows,), -torch.inf, dtype=torch.float64, device=listing.device)
    held = {name: value.to(torch.float64) for name, value in clamped.items()}
    step = max(1, min(rows, CHUNK // max(listing.width * min(listing.count, 1024), 1)))
    for first in range(0, rows, step):
        part = slice(first, min(first + step, rows))
        some = {name: value[part] if value.shape[0] == rows else value for name, value in held.items()}
        for states in listing.chunks(part.stop - part.start):
            minus = -_evaluate(marginal, weights, some, states, part.stop - part.start)
            log_z[part] = torch.logaddexp(log_z[part], minus.logsumexp(1))
    return Sum(log_z, _gradient(marginal, weights, held, listing, log_z, step) if gradient else {})


def _gradient(
    marginal: Marginal,
    weights: Mapping[str, Tensor],
    held: Mapping[str, Tensor],
    listing: Listing,
    log_z: Tensor,
    step: int,
) -> dict[str, Tensor]:
    """The gradient of the mean log Z: each state's free energy is differentiated with the weight that it has."""
    leaves = {name: w.clone().requires_grad_() for name, w in weights.items()}
    rows = log_z.shape[0]
    total = {name: torch.zeros_like(w) for name, w in weights.items()}
    for first in range(0, rows, step):
        part = slice(first, min(first + step, rows))
        some = {name: value[part] if value.shape[0] == rows else value for name, value in held.items()}
        for states in listing.chunks(part.stop - part.start):
            minus = -_evaluate(marginal, leaves, some, states, part.stop - part.start)
            p = (minus.detach() - log_z[part][:, None]).exp() / rows
            found = torch.autograd.grad(
                (p * minus).sum(), list(leaves.values()), allow_unused=True, materialize_grads=True
            )
            for name, value in zip(leaves, found, strict=True):
                total[name] += value
    return shared(marginal.graph, total)


def _evaluate(
    marginal: Marginal,
    weights: Mapping[str, Tensor],
    held: Mapping[str, Tensor],
    states: Mapping[str, Tensor],
    rows: int,
) -> Tensor:
    """The free energy `[rows, states]` of every row with every state."""
    count = next(iter(states.values())).shape[0] if states else 1
    values: dict[str, Tensor] = {}
    variables = {r.name: r.variable for r in (*marginal.clamped.values(), *marginal.summed, *marginal.enumerated)}
    # a layer without sites is in no region, and still an argument of the energy
    variables |= {v.name: v for v in marginal.graph.variables if v.size == 0}
    for name in variables:
        size = variables[name].size
        device = _device(weights)
        value = torch.zeros(rows, count, size, dtype=torch.float64, device=device)
        if name in marginal.clamped:
            columns = torch.from_numpy(marginal.clamped[name].columns).to(device)
            value[:, :, columns] = held[name][:, None, columns]
        for region in marginal.enumerated:
            if region.name == name:
                value[:, :, torch.from_numpy(region.columns).to(device)] = states[name][None]
        values[f"value.{name}"] = value.reshape(rows * count, size)
    values |= weights
    values["blank"] = torch.zeros(rows * count, 1, dtype=torch.float64, device=_device(weights))
    flat: Tensor = marginal.module.to(_device(weights))(*(values[name] for name in inputs(marginal.module)))
    return flat.reshape(rows, count)


def _device(weights: Mapping[str, Tensor]) -> torch.device:
    return next((w.device for w in weights.values()), torch.device("cpu"))


class Listing:
    """All states of some regions, in chunks, as statistics."""

    def __init__(self, marginal: Marginal, device: torch.device) -> None:
        self.device = device
        self.sites: list[tuple[Region, int, Tensor]] = []
        for region in marginal.enumerated:
            table = family(region.variable).values().to(device)
            self.sites += [(region, n, table) for n in range(region.sites.size)]
        self.count = 1
        for _, _, table in self.sites:
            self.count *= table.shape[0]
        regions = (*marginal.clamped.values(), *marginal.summed, *marginal.enumerated)
        self.width = sum({r.name: r.variable.size for r in regions}.values())

    def chunks(self, rows: int) -> Iterator[dict[str, Tensor]]:
        """Dictionaries of statistics `[states, region.size]` by variable."""
        size = max(1, min(self.count, CHUNK // max(rows * self.width, 1)))
        for first in range(0, self.count, size):
            yield self.states(torch.arange(first, min(first + size, self.count), device=self.device))

    def states(self, numbers: Tensor) -> dict[str, Tensor]:
        """The states of those numbers, int64 `[n]`: statistics `[n, region.size]` by variable."""
        parts: dict[str, list[Tensor]] = {}
        for region, _, table in reversed(self.sites):
            digit = numbers % table.shape[0]
            numbers = numbers // table.shape[0]
            parts.setdefault(region.name, []).insert(0, table[digit])
        return {name: torch.cat(columns, 1) for name, columns in parts.items()}
