"""The pseudo-likelihood as a descent: the sum over sites of -log p(site | rest of the data), or over some of them, drawn for each row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

from gmc.compiler import conditionals
from gmc.compiler.conditionals import Ways, find_ways
from gmc.compiler.draws import uniform
from gmc.compiler.emitter import inputs
from gmc.compiler.graph import FactorGraph, family
from gmc.compiler.objective import Descent, Slope, Step
from gmc.compiler.sharing import shared
from gmc.dsl.model import Variable

if TYPE_CHECKING:
    from gmc.compiler.driver import Compiled

AT_ONCE = 1 << 22
"""Fields of what is summed out that are held at once, about."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The sites of each row that are predicted, of all variables in a row: their numbers `at` [rows, k], None where all are; each counts `weight` times."""

    at: Tensor | None
    weight: float


@dataclass(frozen=True, slots=True, eq=False)
class PseudoLikelihood(Descent):
    """`sites` of each row are drawn, or all are taken where it is None. `changes` are the graphs of variables whose sites are changed."""

    graph: FactorGraph
    ways: Ways
    sites: int | None
    densities: fx.GraphModule
    fields: fx.GraphModule
    changes: Mapping[str, fx.GraphModule]

    @property
    def wants(self) -> dict[str, tuple[()]]:
        """Nothing: it reads the rows."""
        return {}

    @property
    def graphs(self) -> dict[str, fx.GraphModule]:
        """Those of fields and changes."""
        changes = {f"change.{name}": module for name, module in self.changes.items()}
        return {"densities": self.densities, "fields": self.fields, **changes}

    @property
    def offsets(self) -> dict[str, int]:
        """Where the sites of each observed variable begin, in the order of all."""
        found, total = {}, 0
        for variable in (v for v in self.graph.variables if v.observed):
            found[variable.name] = total
            total += variable.sites
        return found

    @property
    def total(self) -> int:
        """The sites of all observed variables."""
        return sum(v.sites for v in self.graph.variables if v.observed)

    def slope(self, step: Step) -> Slope:
        """Loss and gradient, the sites of each row drawn by its key."""
        chosen = self._choose(step)
        leaves = {name: p.detach().requires_grad_() for name, p in step.params.items()}
        loss = self._by_field(step, leaves, chosen) + self._by_change(step, leaves, chosen)
        slopes = shared(self.graph, {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None})
        return self._by_sum(step, chosen, Slope(loss, slopes))

    def _choose(self, step: Step) -> Chosen:
        """Sites of each row, no one twice."""
        if self.sites is None or self.sites >= self.total:
            return Chosen(None, 1.0)
        keys, turn = step.keys("sites")
        at = uniform(keys, 0, turn, self.total).topk(self.sites, dim=1).indices
        return Chosen(at, self.total / self.sites)

    def _inputs(self, module: fx.GraphModule, step: Step, leaves: Mapping[str, Tensor]) -> list[Tensor]:
        values = dict(leaves) | {f"value.{name}": value for name, value in step.rows.items()}
        values["blank"] = torch.zeros(step.count, 1, dtype=step.dtype, device=step.device)
        return [values[name] for name in inputs(module)]

    def _by_field(self, step: Step, leaves: Mapping[str, Tensor], chosen: Chosen) -> Tensor:
        """The loss of the variables whose fields tell, with its slopes added to the leaves."""
        if not self.ways.field:
            return torch.zeros((), dtype=torch.float64, device=step.device)
        found: dict[str, Tensor] = self.densities(*self._inputs(self.densities, step, leaves))
        counts = None
        if chosen.at is not None:
            counts = torch.zeros(step.count, self.total, dtype=step.dtype, device=step.device)
            counts.scatter_(1, chosen.at, chosen.weight)
        loss = torch.zeros((), dtype=step.dtype, device=step.device)
        for name, logs in found.items():
            first = self.offsets[name]
            loss = (
                loss - (logs if counts is None else logs * counts[:, first : first + logs.shape[1]]).sum() / step.count
            )
        if loss.requires_grad:
            loss.backward()
        return loss.detach().to(torch.float64)

    def _by_change(self, step: Step, leaves: Mapping[str, Tensor], chosen: Chosen) -> Tensor:
        """The loss of the variables whose sites are changed, part by part; what the parts share is differentiated once."""
        total = torch.zeros((), dtype=torch.float64, device=step.device)
        if not self.ways.change:
            return total
        found: dict[str, Tensor] = self.fields(*self._inputs(self.fields, step, leaves))
        ends = {name: value.detach().requires_grad_() for name, value in found.items()}
        for variable in self.ways.change:
            for part in self._parts(variable, step.count, chosen):
                loss = self._changed(variable, step, {**leaves, **ends}, part) * (chosen.weight / step.count)
                loss.backward()
                total += loss.detach()
        kept = [name for name in ends if ends[name].grad is not None and found[name].requires_grad]
        torch.autograd.backward([found[name] for name in kept], [ends[name].grad for name in kept])
        return total

    def _parts(self, variable: Variable, rows: int, chosen: Chosen) -> Iterator[tuple[Tensor | slice, Tensor | None]]:
        """Sites of a variable to be changed together: numbers `[rows, some]`, with which of them are the variable's, or a slice of all."""
        size = sum(region.size for region in self.ways.summed)
        some = max(1, AT_ONCE // max(rows * size * _states(variable), 1))
        if chosen.at is None:
            yield from ((slice(n, min(n + some, variable.sites)), None) for n in range(0, variable.sites, some))
            return
        own = chosen.at - self.offsets[variable.name]
        inside = (own >= 0) & (own < variable.sites)
        if variable.sites < own.shape[1]:
            # no site is there twice, so that no row has more of them
            first = inside.to(torch.int32).topk(variable.sites, dim=1).indices
            own, inside = own.gather(1, first), inside.gather(1, first)
        for at, counts in zip(own.split(some, dim=1), inside.split(some, dim=1), strict=True):
            yield at.clamp(0, variable.sites - 1), counts

    def _changed(
        self, variable: Variable, step: Step, values: Mapping[str, Tensor], part: tuple[Tensor | slice, Tensor | None]
    ) -> Tensor:
        """The sum over rows and some sites of -log p(site | rest), float64."""
        at, counts = part
        width = variable.family.width
        given: dict[str, Any] = dict(values)
        state = _at(step.rows[variable.name].unflatten(1, (-1, width)), at)
        given["own"] = _at(values[f"own.{variable.name}"].unflatten(1, (-1, width)), at)
        given["delta"] = _changes(variable, state)
        for region in self.ways.summed:
            response = values.get(f"response.{variable.name}.{region.name}")
            if response is not None:
                table = response.unflatten(0, (-1, width))
                given[f"response.{region.name}"] = table[at] if isinstance(at, Tensor) else table[at].unsqueeze(0)
        module = self.changes[variable.name]
        moved: Tensor = module(*(given[name] for name in inputs(module)))
        if variable.family.states == 2:
            moved = torch.cat((torch.zeros_like(moved), moved), dim=2)
        minus = moved.logsumexp(2)
        return (minus if counts is None else minus * counts).sum(dtype=torch.float64)

    def _by_sum(self, step: Step, chosen: Chosen, so_far: Slope) -> Slope:
        """With the variables whose conditionals are sums of their own: log Z given all but the site, less log Z given all."""
        loss, slopes = so_far.loss, dict(so_far.gradient)
        for variable in self.ways.sum:
            rows, sites = self._cells(variable, step, chosen)
            if not len(rows):
                continue
            both = {v.name: step.rows[v.name][rows] for v in self.graph.variables if v.observed}
            hidden = both[variable.name].unflatten(1, (-1, variable.family.width)).clone()
            hidden[torch.arange(len(rows), device=step.device), sites] = torch.nan
            less, more = step.log_partition(both), step.log_partition({**both, variable.name: hidden.flatten(1)})
            share = chosen.weight * len(rows) / step.count
            loss = loss + share * (more.log_z - less.log_z).mean()
            for name, value in more.gradient.items():
                slope = (share * (value - less.gradient[name])).to(step.dtype)
                slopes[name] = slopes[name] + slope if name in slopes else slope
        return Slope(loss, slopes)

    def _cells(self, variable: Variable, step: Step, chosen: Chosen) -> tuple[Tensor, Tensor]:
        """The rows and the sites of a variable that are predicted, a pair each."""
        if chosen.at is None:
            rows, sites = torch.meshgrid(torch.arange(step.count), torch.arange(variable.sites), indexing="ij")
            return rows.flatten().to(step.device), sites.flatten().to(step.device)
        own = chosen.at - self.offsets[variable.name]
        rows, slots = ((own >= 0) & (own < variable.sites)).nonzero(as_tuple=True)
        return rows, own[rows, slots]


def build_pseudo(compiled: Compiled, sites: int | None) -> PseudoLikelihood:
    """The descent over a compiled file."""
    graph = compiled.graph
    ways = find_ways(graph)
    return PseudoLikelihood(
        graph,
        ways,
        sites,
        conditionals.log_densities(graph, ways.field),
        conditionals.fields(graph, ways),
        {v.name: conditionals.change(graph, ways, v) for v in ways.change},
    )


def _states(variable: Variable) -> int:
    """How many changes of a site are looked at: the other state of two, else all states, that in which it is among them."""
    states = variable.family.states or 1
    return 1 if states == 2 else states


def _changes(variable: Variable, state: Tensor) -> Tensor:
    """By how much the statistics of sites `[rows, sites, width]` may change, `[rows, sites, ways, width]`."""
    values = family(variable).values().to(state)
    if variable.family.states == 2:
        return (values.sum(0) - 2.0 * state).unsqueeze(2)
    return values - state.unsqueeze(2)


def _at(value: Tensor, at: Tensor | slice) -> Tensor:
    """The sites of each row `[rows, sites, width]` at some numbers."""
    if isinstance(at, slice):
        return value[:, at]
    return value.gather(1, at.unsqueeze(2).expand(-1, -1, value.shape[2]))
