"""The sites of a model and the values they take, as columns of a table.

Values are as a user writes them: 0/1 for bernoulli, -1/+1 for spin, the number of the state for categorical, x for what is unbounded.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from gmc.dsl.model import Chain, Clamp, Model, Variable


class Site(NamedTuple):
    """One site: its variable and its number in the variable's shape, row-major."""

    variable: str
    number: int


Clamping = Mapping[Site, float] | Mapping[tuple[str, int], float]
"""The values of the sites that are given; a plain `(variable, number)` will do for a key."""


def sites(model: Model) -> tuple[Site, ...]:
    """All sites, variables in their order, row-major within: the columns of every table of values."""
    return tuple(Site(v.name, i) for v in model.variables for i in range(v.sites))


def support(variable: Variable) -> tuple[float, ...] | None:
    """The values a site can take, ascending; None if they have no bound.

    Raises:
        NotImplementedError: the oracle does not know the family.
    """
    match variable.family.word:
        case "bernoulli":
            return (0.0, 1.0)
        case "spin":
            return (-1.0, 1.0)
        case "categorical":
            return tuple(float(state) for state in range(variable.family.k))  # type: ignore[attr-defined]
        case "normal" | "relu" | "poisson" | "gamma":
            return None
        case word:
            raise NotImplementedError(f"the oracle does not know the family {word!r}")


def supports(model: Model) -> tuple[tuple[float, ...] | None, ...]:
    """The support of each column."""
    return tuple(support(model.variable(site.variable)) for site in sites(model))


def enumerate_states(model: Model, clamped: Clamping | None = None) -> Tensor:
    """Every joint state of the finite sites, `[states, sites]` float64, the last column fastest.

    A clamped site keeps its value. A free normal site stands at 0, for it cannot be enumerated: `laws` integrates it out.

    Raises:
        ValueError: a clamped site does not exist or has a value that it cannot take.
    """
    given = {Site(*site): float(value) for site, value in (clamped or {}).items()}
    if unknown := set(given) - set(sites(model)):
        raise ValueError(f"no such sites: {sorted(unknown)}")
    choices: list[tuple[float, ...]] = []
    for site, values in zip(sites(model), supports(model), strict=True):
        if site in given:
            if values is not None and given[site] not in values:
                raise ValueError(f"{site} cannot be {given[site]}: it takes {values}")
            choices.append((given[site],))
        else:
            choices.append((0.0,) if values is None else values)
    return torch.tensor(list(itertools.product(*choices)), dtype=torch.float64)


def columns(model: Model, block: Iterable[str | Site | tuple[str, int]]) -> tuple[int, ...]:
    """The columns of a block, ascending: whole variables by name, single sites as `(variable, number)`.

    Raises:
        ValueError: something in the block does not exist.
    """
    everything = sites(model)
    found: set[int] = set()
    for item in block:
        members = [c for c, s in enumerate(everything) if (s.variable if isinstance(item, str) else s) == item]
        if not members:
            raise ValueError(f"no such variable or site: {item!r}")
        found.update(members)
    return tuple(sorted(found))


def part_sites(model: Model, clamp: Clamp) -> tuple[Site, ...]:
    """The sites of the part that a clamp names."""
    shape = model.variable(clamp.variable).shape
    ranges = clamp.part if clamp.part is not None else tuple((0, size) for size in shape)
    places = itertools.product(*(range(size) for size in shape))
    inside = (all(low <= at < high for at, (low, high) in zip(p, ranges, strict=True)) for p in places)
    return tuple(Site(clamp.variable, i) for i, within in enumerate(inside) if within)


def clamped_sites(model: Model, chain: Chain) -> tuple[Site, ...]:
    """The sites that a chain clamps, in the order of the columns."""
    found = {site for clamp in chain.clamps for site in part_sites(model, clamp)}
    return tuple(site for site in sites(model) if site in found)


def clamping(model: Model, chain: Chain, values: Mapping[str, Tensor]) -> dict[Site, float]:
    """What a chain clamps, with the values that it takes: its constants, else those of `values` (`VAR` -> its shape)."""
    found: dict[Site, float] = {}
    for clamp in chain.clamps:
        for site in part_sites(model, clamp):
            given = clamp.constant
            found[site] = float(values[site.variable].reshape(-1)[site.number]) if given is None else float(given)
    return found


def as_columns(model: Model, values: Mapping[str, Tensor]) -> Tensor:
    """`VAR` -> `[n, *shape]` as one table `[n, sites]` float64."""
    return torch.cat([values[v.name].to(torch.float64).reshape(-1, v.sites) for v in model.variables], dim=1)


def as_variables(model: Model, table: Tensor) -> dict[str, Tensor]:
    """A table `[n, sites]` as `VAR` -> `[n, *shape]`."""
    parts = table.split([v.sites for v in model.variables], dim=1)
    return {v.name: part.reshape(-1, *v.shape) for v, part in zip(model.variables, parts, strict=True)}
