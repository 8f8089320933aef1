"""Steps of an annealing path as transition matrices: every draw is forced to every value, and its probability taken from the field it was made at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx

from gmc.compiler.annealing import Annealing
from gmc.compiler.draws import DRAWS, row_keys
from gmc.compiler.emitter import inputs
from gmc.compiler.graph import family
from gmc.compiler.region import Region


def listed(regions: Mapping[str, Region]) -> dict[str, Tensor]:
    """All states of some regions of finite families, `[states, size]` by variable."""
    tables = [family(r.variable).values() for r in regions.values() for _ in r.sites]
    sizes = [len(table) for table in tables]
    digits = torch.cartesian_prod(*(torch.arange(n) for n in sizes)) if tables else torch.zeros(1, 0)
    columns = [table[digit] for table, digit in zip(tables, digits.reshape(-1, len(tables)).T, strict=True)]
    found, at = {}, 0
    for name, region in regions.items():
        found[name] = torch.cat(columns[at : at + region.sites.size], 1)
        at += region.sites.size
    return found


def constants(path: Annealing, weights: Mapping[str, Tensor], base: Mapping[str, Tensor], rows: int) -> dict[str, Any]:
    """What graphs take besides states and temperatures."""
    return {
        **weights,
        **{f"base.{name}": value for name, value in base.items()},
        "blank": torch.zeros(rows, 1, dtype=torch.float64),
        "key": row_keys(0, "steps", torch.arange(rows)),
        "sweep": 1,
    }


def log_density(
    path: Annealing, weights: Mapping[str, Tensor], base: Mapping[str, Tensor], beta: float, **clamped: Tensor
) -> Tensor:
    """log p*_beta of every state of the kept regions."""
    states = listed(path.kept)
    rows = len(next(iter(states.values())))
    given = {f"clamped.{name}": value.expand(rows, -1) for name, value in clamped.items()}
    values = {**constants(path, weights, base, rows), **{f"state.{n}": x for n, x in states.items()}, **given}
    return path.density({**values, "beta": beta})


def matrix(
    path: Annealing, which: str, weights: Mapping[str, Tensor], base: Mapping[str, Tensor], before: float, beta: float
) -> tuple[Tensor, Tensor]:
    """The transition matrix of a step's draw at `beta` over the states of the kept regions, and the weights of the step from `before`, by state."""
    kept, summed = listed(path.kept), listed({r.name: r for r in path.summed})
    count, hidden = (len(next(iter(x.values()))) for x in (kept, summed))
    here, there, out = (i.flatten() for i in torch.meshgrid(*map(torch.arange, (count, count, hidden)), indexing="ij"))
    rows = len(here)
    values = {**constants(path, weights, base, rows), "beta": before, "beta_next": beta}
    values |= {f"state.{name}": value[here] for name, value in kept.items()}
    forced = {r.name: value[out] for r, value in zip(path.summed, summed.values(), strict=True)}
    ends = {name: value[there] for name, value in kept.items()}
    replay = _Forced(getattr(path, which).raw, path, forced, ends)
    done = replay.run(*(values[name] for name in inputs(replay.module)))
    for name, value in done["state"].items():
        assert torch.equal(value, ends[name])
    p = replay.log_p.exp().reshape(count, count, hidden).sum(2)
    return p, done["weight"].reshape(count, -1)[:, 0]


class _Forced(fx.Interpreter):
    """Runs a step with its draws forced, and adds up the logs of their probabilities."""

    def __init__(
        self, module: fx.GraphModule, path: Annealing, summed: Mapping[str, Tensor], kept: Mapping[str, Tensor]
    ) -> None:
        super().__init__(module)
        self.path, self.summed, self.kept = path, summed, kept
        self.log_p: Tensor = torch.zeros(())

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if target not in DRAWS:
            return super().call_function(target, args, kwargs)
        eta, site = args[0], args[2]
        region = self.path.drawn[site]
        if site < len(self.path.summed):
            value = self.summed[region.name]
        else:
            own = self.path.kept[region.name]
            columns = Region(region.variable, region.within(own)).columns
            value = self.kept[region.name][:, torch.from_numpy(columns)]
        kind = family(region.variable)
        self.log_p = self.log_p + (eta * kind.sent(value)).sum(1) - kind.log_partition(eta).sum(1)
        return value
