"""-log p(targets | given), as log Z given `given` less log Z given both: exact, with the rest of the model summed out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx

from gmc.compiler.graph import FactorGraph
from gmc.compiler.marginal import Marginal
from gmc.compiler.objective import Descent, Slope, Step
from gmc.compiler.region import Region
from gmc.compiler.sharing import differentiate
from gmc.compiler.table import build_table, evaluate, every

if TYPE_CHECKING:
    from gmc.compiler.driver import Compiled
    from gmc.dsl.vocabulary import Conditional

AT_ONCE = 1 << 22
"""Fields that are held at once, at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Listed:
    """A sum as a table of rows and states; `states` by variable on the CPU, and `fields` numbers that a row takes."""

    module: fx.GraphModule
    names: tuple[str, ...]
    states: Mapping[str, Tensor]
    fields: int

    def log_z(self, params: Mapping[str, Tensor], rows: Mapping[str, Tensor]) -> Tensor:
        """log Z of each row, `[rows]`."""
        some = {name: rows[name] for name in self.names}
        like = next(iter(some.values()))
        listed = {name: value.to(like) for name, value in self.states.items()}
        return evaluate(self.module, params, some, listed).logsumexp(1)


@dataclass(frozen=True, slots=True, eq=False)
class Discrimination(Descent):
    """The descent of -log p(targets | given) a row.

    `sums` are log Z given `given` and given both, each a table; None where rows may lack values, or states are too many for tables: the step sums then, part by part.
    """

    graph: FactorGraph
    of: Conditional
    sums: tuple[Listed, Listed] | None

    @property
    def wants(self) -> dict[str, tuple[()]]:
        """Nothing: it reads the rows."""
        return {}

    @property
    def graphs(self) -> dict[str, fx.GraphModule]:
        """Those of both sums."""
        return {} if self.sums is None else {"given": self.sums[0].module, "both": self.sums[1].module}

    def slope(self, step: Step) -> Slope:
        """Loss and gradient."""
        if self.sums is None:
            return self._summed(step)
        given, both = self.sums
        rows = {name: step.rows[name].to(torch.float64) for name in both.names}

        def loss_of(part: Mapping[str, Tensor]) -> Callable[[Mapping[str, Tensor]], Tensor]:
            def loss(params: Mapping[str, Tensor]) -> Tensor:
                fine = {name: p.to(torch.float64) for name, p in params.items()}
                return (given.log_z(fine, part) - both.log_z(fine, part)).sum() / step.count

            return loss

        size = max(1, AT_ONCE // max(given.fields, both.fields))
        parts = ({n: v[first : first + size] for n, v in rows.items()} for first in range(0, step.count, size))
        return _added([differentiate(self.graph, step.params, loss_of(part)) for part in parts])

    def _summed(self, step: Step) -> Slope:
        given = {name: step.rows[name] for name in self.of.given}
        both = given | {name: step.rows[name] for name in self.of.targets}
        less, more = step.log_partition(both), step.log_partition(given)
        slopes = {name: (more.gradient[name] - less.gradient[name]).to(step.dtype) for name in more.gradient}
        return Slope((more.log_z - less.log_z).mean(), slopes)


def build_discrimination(compiled: Compiled, of: Conditional) -> Discrimination:
    """The descent over a compiled file."""
    model = compiled.checked.model
    names = (*of.given, *of.targets)
    if any(clamp.observed and clamp.variable in names for chain in compiled.checked.chains for clamp in chain.clamps):
        return Discrimination(compiled.graph, of, None)
    sums = []
    for known in (of.given, names):
        found = _listed(compiled.marginal({n: Region.whole_of(model.variable(n)) for n in known}))
        if found is None:
            return Discrimination(compiled.graph, of, None)
        sums.append(found)
    return Discrimination(compiled.graph, of, (sums[0], sums[1]))


def _listed(marginal: Marginal) -> Listed | None:
    """A sum's table; None where a row with all states would take too much at once."""
    fields = round(2**marginal.bits) * max(1, sum(r.size for r in marginal.summed))
    module = None if fields > AT_ONCE else build_table(marginal)
    if module is None:
        return None
    return Listed(module, tuple(marginal.clamped), every(marginal, torch.float64), fields)


def _added(slopes: list[Slope]) -> Slope:
    """The sum of losses and gradients."""
    gradient: dict[str, Tensor] = {}
    for slope in slopes:
        for name, value in slope.gradient.items():
            gradient[name] = gradient[name] + value if name in gradient else value
    return Slope(torch.stack([slope.loss for slope in slopes]).sum(), gradient)
