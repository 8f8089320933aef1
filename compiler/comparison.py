"""Objectives that compare the statistics of two sides, as graphs: loss and gradient by sufficient statistics.

The energy is linear in the parameters (or, for factored weights, differentiated by hand in the factor), so no gradient passes through draws and none
needs autograd: it is the difference of the mean statistics of the two sides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, fx

from gmc.compiler.emission import Want
from gmc.compiler.emitter import Emitter, inputs
from gmc.compiler.energy import emit_base, emit_gradient, emit_normalisers, emit_terms
from gmc.compiler.fields import emit_sent
from gmc.compiler.graph import family
from gmc.compiler.marginal import without_free_descendants
from gmc.compiler.objective import Descent, Slope, Step
from gmc.compiler.passes import DEFAULT, run_passes
from gmc.compiler.region import Piece, Region
from gmc.dsl.model import Variable, chain_of
from gmc.dsl.vocabulary import ExpectationWord

if TYPE_CHECKING:
    from gmc.compiler.driver import Compiled

Side = Literal["positive", "negative"]
Uses = Mapping[Side, str | ExpectationWord]


@dataclass(frozen=True, slots=True, eq=False)
class Comparison(Descent):
    """The energy of the positive side less that of the negative one.

    `sides` are those whose chains are run, `exact` those that are summed. The graph takes the parameters and, for each of `sides`, `SIDE.mean.VAR` and
    `SIDE.value.VAR` [chains, size], and, of mean-field sides, `SIDE.spread.VAR`; it gives `loss`, their mean energies' difference, and `gradient`, a
    dictionary by parameter. Exact sides add their share to both. With `settle` the means of a negative side that is run are those of a last mean-field pass. With a `rate` of centring it also gives `means`, the mean statistics of a positive side that is run.
    """

    uses: Uses
    sides: tuple[Side, ...]
    exact: tuple[Side, ...]
    raw: fx.GraphModule
    module: fx.GraphModule
    variables: tuple[Variable, ...]
    rate: float | None = None
    settle: bool = False

    @property
    def wants(self) -> dict[str, set[Want]]:
        """The statistics of each side, and whole values where a base measure reads them."""
        found: dict[str, set[Want]] = {}
        read: tuple[Want, ...] = ("value", "spread")
        for side in self.sides:
            wants = found.setdefault(self.chain(side), set())
            wants.add(self._means_of(side))
            wants |= {w for w in read if any(n.startswith(f"{side}.{w}.") for n in inputs(self.module))}
        return found

    @property
    def centring(self) -> float | None:
        """The rate that was asked for."""
        return self.rate

    @property
    def graphs(self) -> dict[str, fx.GraphModule]:
        """The one of both sides."""
        return {"comparison": self.module}

    def chain(self, side: Side) -> str:
        """The chain of a side."""
        return chain_of(self.uses[side])

    def slope(self, step: Step) -> Slope:
        """Runs the chains of both sides and compares them."""
        values: dict[str, Tensor] = dict(step.params)
        values["blank"] = torch.zeros(1, 1, dtype=step.dtype, device=step.device)
        for side in self.sides:
            ended = step.run(self.chain(side))
            means = ended.settled if self._means_of(side) == "settled" else ended.mean
            values |= {f"{side}.mean.{n}": v for n, v in means.items()}
            values |= {f"{side}.value.{n}": v for n, v in ended.value.items()}
            values |= {f"{side}.spread.{n}": v for n, v in ended.spread.items()}
        out = self.module(*(values[name] for name in inputs(self.module)))
        loss, gradient = torch.as_tensor(out["loss"], dtype=torch.float64), dict(out["gradient"])
        followed = dict(out["means"])
        for side in self.exact:
            chain = self.chain(side)
            found = step.log_partition(step.conditioned(chain), chain)
            sign = 1.0 if side == "negative" else -1.0
            loss = loss + sign * found.log_z.mean()
            for name, value in found.gradient.items():
                share = (sign * value).to(step.dtype)
                gradient[name] = gradient[name] + share if name in gradient else share
            if side == "positive" and self.rate is not None:
                followed = self._means(found.gradient, step.dtype)
        return Slope(loss, gradient, followed)

    def _means_of(self, side: Side) -> Want:
        """What of a side's chain its statistics are."""
        return "settled" if self.settle and side == "negative" else "mean"

    def _means(self, statistics: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
        """The mean statistics that the derivatives by the biases hold; of sites that share a bias their mean."""
        found: dict[str, Tensor] = {}
        for variable in self.variables:
            if f"{variable.name}.bias" in statistics and variable.size:
                shared = statistics[f"{variable.name}.bias"].reshape(-1, 1, variable.family.width)
                count = variable.sites // shared.shape[0]
                found[variable.name] = (shared / count).expand(-1, count, -1).flatten().to(dtype)
        return found


def build_comparison(compiled: Compiled, uses: Uses, centring: float | None = None, settle: bool = False) -> Comparison:
    """The comparison of two sides, each a chain that is run or an exact expectation under one; with `centring` for centred steps at that rate, with `settle` where the negative side settles."""
    graph = compiled.graph
    sides: tuple[Side, ...] = tuple(side for side, use in uses.items() if isinstance(use, str))
    exact: tuple[Side, ...] = tuple(side for side, use in uses.items() if not isinstance(use, str))
    g = Emitter()
    loss: Any = 0.0
    total: dict[str, Any] = {}
    followed: dict[str, Any] = {}
    for side in sides:
        schedule = compiled.schedules[chain_of(uses[side])]
        # what directed edges draw and the side leaves free integrates to one
        part = without_free_descendants(graph, {**schedule.clamped, **schedule.masked})
        spread = {
            v.name: g.input(f"{side}.spread.{v.name}", fixed=False)
            for v in part.variables
            if schedule.chain.update == "mean" and family(v).own(v.shape)
        }
        means = {v.name: g.input(f"{side}.mean.{v.name}", fixed=False) for v in part.variables}
        values = {v.name: g.input(f"{side}.value.{v.name}", fixed=False) for v in part.variables}
        minus_energy = emit_terms(g, part, means).mean()
        for base in emit_base(g, part, values, {}):
            minus_energy = minus_energy + base.mean()
        for normaliser in emit_normalisers(g, part, values):
            minus_energy = minus_energy - normaliser.mean()
        statistics = emit_gradient(g, part, means, values, spread)
        if side == "positive" and centring is not None:
            sent = {v: Piece(means[v.name], Region.whole_of(v)) for v in part.variables if v.size}
            followed = {v.name: emit_sent(g, piece).value.mean(0) for v, piece in sent.items()}
        if side == "positive":
            loss = loss - minus_energy
            total = {name: -value for name, value in statistics.items()}
        else:
            loss = loss + minus_energy
            total |= {name: total[name] + value if name in total else value for name, value in statistics.items()}
    raw = g.module({"loss": loss, "gradient": total, "means": followed}, "Comparison")
    free = tuple(v for v in graph.variables if v not in graph.normalised)
    return Comparison(uses, sides, exact, raw, run_passes(raw, DEFAULT), free, centring, settle)
