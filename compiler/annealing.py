"""The path of laws from a base-rate model to a model, as torch.fx graphs.

At inverse temperature beta the field of a free site is (1 - beta) b0 + beta (b + messages), with its base measure whole:

    log p*_beta(x) = beta (sum <b, T> + sum f(T)) + (1 - beta) sum <b0, T> + base measures

At 0 the free sites are independent, at the fields b0; at 1 they have the model's law given what is clamped. An independent set of them, `summed`, is summed out
in closed form; the rest, `kept`, has the density p*_beta(y) = sum over the summed sites, and is drawn by coloured blocks, given a draw of the summed ones.

A step from beta to beta' at y gives log p*_beta'(y) - log p*_beta(y) and a draw from y at beta'. The fields of the summed sites at beta = 1 are computed once for all
three uses, so that a step of a restricted Boltzmann machine has two matrix products. `up` updates the kept blocks in order and `down` in the reverse order: a
step of one is at the same beta the reversal of the other with respect to p_beta, since y is drawn through the joint law and each block's update is reversible.

Inputs: the parameters by name; `base.VAR`, b0, `[size]`; `clamped.VAR`, states of the clamped region; `blank`, zeros `[chains, 1]`; `state.VAR`, states of the kept
region; the numbers `beta` and `beta_next`; `key` and `sweep` for the draws. Weights and densities are float64 `[chains]`, in nats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import torch
from torch import fx

from gmc.compiler.colouring import Block, certify, colour
from gmc.compiler.drawing import put
from gmc.compiler.emitter import Emitter
from gmc.compiler.energy import emit_base, emit_terms
from gmc.compiler.fields import emit_field, emit_law, emit_sent
from gmc.compiler.graph import FactorGraph
from gmc.compiler.marginal import build_marginal, without_free_descendants
from gmc.compiler.passes import DEFAULT, Pass, run_passes
from gmc.compiler.region import Piece, Region
from gmc.compiler.split import Split, split

Regions = Mapping[str, Region]


@dataclass(frozen=True, slots=True, eq=False)
class Annealing:
    """The graphs of a path.

    `first` draws the kept sites at beta = 0; `up` and `down` are steps and give `state` and `weight`; `density` gives log p*_beta, and `base` log Z at beta = 0, base
    measures of the clamped sites included, as they are in every p*_beta. `drawn` names the region of each numbered draw of a step.
    """

    graph: FactorGraph
    clamped: Regions
    summed: Block
    kept: Regions
    first: Split
    up: Split
    down: Split
    density: Split
    base: Split
    drawn: Mapping[int, Region]

    def graphs(self) -> dict[str, Split]:
        """All graphs by name."""
        return {name: getattr(self, name) for name in ("first", "up", "down", "density", "base")}

    @property
    def numbers(self) -> int:
        """Numbers in the states of a chain, what is clamped included."""
        return sum(v.size for v in self.graph.variables)

    def __str__(self) -> str:
        summed = ", ".join(map(str, self.summed)) or "nothing"
        kept = ", ".join(map(str, self.kept.values())) or "nothing"
        return f"{summed} summed out in closed form, {kept} drawn"


def build_annealing(
    graph: FactorGraph, clamped: Regions, summed: Block | None = None, passes: Sequence[Pass] = DEFAULT
) -> Annealing:
    """The path given what is clamped; without `summed` the independent set of free sites that would cost most to enumerate is summed out.

    Free descendants along directed edges are left out, since they integrate to one; what directed edges remain is not for a path (see `unannealed`).
    """
    graph = without_free_descendants(graph, clamped)
    chosen = build_marginal(graph, clamped).summed if summed is None else summed
    certify(graph, [chosen])
    emit = _Path(graph, clamped, chosen)

    def finish(module: fx.GraphModule) -> Split:
        return split(module, run_passes(module, passes))

    return Annealing(
        graph=graph,
        clamped=clamped,
        summed=chosen,
        kept=emit.kept,
        first=finish(emit.first()),
        up=finish(emit.step(emit.blocks, "Up")),
        down=finish(emit.step(tuple(reversed(emit.blocks)), "Down")),
        density=finish(emit.density()),
        base=finish(emit.base()),
        drawn=dict(enumerate(emit.drawn)),
    )


def unannealed(graph: FactorGraph, clamped: Regions) -> str | None:
    """Why there is no path and no mean field given what is clamped, if so: the fields of sites that directed edges come from are no sums of messages."""
    for term in without_free_descendants(graph, clamped).terms:
        if term.targets and not term.recognition:
            return f"{term.name} is a directed edge, and what it comes from has no field that could be tempered"
    return None


@dataclass(slots=True)
class _Path:
    """Emits the graphs. Draws are numbered by region: the summed ones, the kept ones block by block, and those of the first draw."""

    graph: FactorGraph
    clamped: Regions
    summed: Block
    free: dict[str, Region] = field(init=False)
    kept: dict[str, Region] = field(init=False)
    blocks: tuple[Block, ...] = field(init=False)
    site: dict[int, int] = field(init=False)

    def __post_init__(self) -> None:
        out = {region.name: region for region in self.summed}
        self.free, self.kept = {}, {}
        for variable in self.graph.variables:
            region = Region.whole_of(variable)
            region = region.without(self.clamped[variable.name]) if variable.name in self.clamped else region
            rest = region.without(out[variable.name]) if variable.name in out else region
            self.free |= {variable.name: region} if region.sites.size else {}
            self.kept |= {variable.name: rest} if rest.sites.size else {}
        self.blocks = colour(self.graph, self.kept)
        self.site = {id(region): number for number, region in enumerate(self.drawn)}

    @property
    def drawn(self) -> tuple[Region, ...]:
        """The regions in the order of their numbers: the summed ones, then block by block."""
        return (*self.summed, *(region for block in self.blocks for region in block))

    # ---- what is known

    def _clamped(self, g: Emitter) -> dict[str, Piece]:
        return {name: Piece(g.input(f"clamped.{name}", fixed=True), region) for name, region in self.clamped.items()}

    def _state(self, g: Emitter) -> dict[str, Piece]:
        return {name: Piece(g.input(f"state.{name}", fixed=False), region) for name, region in self.kept.items()}

    def _b0(self, g: Emitter, region: Region) -> Any:
        return g.select(g.input(f"base.{region.name}", fixed=True), region, 0)

    def _raw(self, g: Emitter, region: Region, *known: Mapping[str, Piece]) -> Any:
        """The field of a region at beta = 1."""
        pieces: dict[str, list[Piece]] = {}
        for each in (self._clamped(g), *known):
            for name, piece in each.items():
                pieces.setdefault(name, []).append(piece)
        return emit_field(g, self.graph, region, pieces)

    def _tempered(self, g: Emitter, region: Region, raw: Any, beta: Any) -> Any:
        """The field of a region at beta: exactly b0 at 0 and exactly the model's at 1."""
        with g.at(region.variable.span):
            return torch.lerp(self._b0(g, region), raw, beta)

    def _held(self, g: Emitter, state: Mapping[str, Piece]) -> dict[str, Any]:
        """Whole variables with zero at the summed sites; without those that have no other."""
        found: dict[str, Any] = {}
        for variable in self.graph.variables:
            pieces = [each[variable.name] for each in (self._clamped(g), state) if variable.name in each]
            if pieces:
                sites = np.sort(np.concatenate([piece.region.sites for piece in pieces]))
                region = Region(variable, sites.astype(np.int64))
                found[variable.name] = g.embed(Piece(g.assemble(pieces, region), region))
        return found

    # ---- densities

    def _slope(self, g: Emitter, state: Mapping[str, Piece]) -> Any:
        """What log p*_beta(y) gains a unit of beta, but for the summed sites, float64 `[chains]`."""
        model = emit_terms(g, self.graph, self._held(g, state)).to(torch.float64)
        return model - self._flat(g, state)

    def _flat(self, g: Emitter, state: Mapping[str, Piece]) -> Any:
        """The sum of <b0, T> over the kept sites, float64 `[chains]`."""
        parts = [g.input("blank", fixed=True)[:, 0].to(torch.float64)]
        for piece in state.values():
            sent = emit_sent(g, piece).value
            with g.at(piece.region.variable.span):
                parts.append(torch.mv(sent, self._b0(g, piece.region)).to(torch.float64))
        return reduce(add, parts)

    def _partition(self, g: Emitter, region: Region, raw: Any, beta: Any) -> Any:
        """The log-partitions of a region's sites at beta, `[chains, sites]`."""
        law = emit_law(g, region)
        with g.at(region.variable.span):
            return law.log_partition(self._tempered(g, region, raw, beta))

    def density(self) -> fx.GraphModule:
        """log p*_beta(y), with the base measures of what is kept and clamped."""
        g = Emitter()
        beta, state = g.input("beta", fixed=False), self._state(g)
        parts = [self._flat(g, state) + self._slope(g, state) * beta]
        out = {region.name: region for region in self.summed}
        parts += [each.to(torch.float64) for each in emit_base(g, self.graph, self._held(g, state), out)]
        for region in self.summed:
            parts.append(_total(self._partition(g, region, self._raw(g, region, state), beta)))
        return g.module(reduce(add, parts), "Density")

    def base(self) -> fx.GraphModule:
        """log Z at beta = 0: the free sites are independent."""
        g = Emitter()
        parts = [g.input("blank", fixed=True)[:, 0].to(torch.float64)]
        held = self._held(g, {})
        parts += [each.to(torch.float64) for each in emit_base(g, self.graph, held, self.free)]
        for region in self.free.values():
            law = emit_law(g, region)
            with g.at(region.variable.span):
                parts.append(_total(law.log_partition(self._b0(g, region).unsqueeze(0))))
        return g.module(reduce(add, parts), "Base")

    # ---- draws

    def first(self) -> fx.GraphModule:
        """The kept sites at beta = 0."""
        g = Emitter()
        key, sweep, blank = g.input("key", fixed=False), g.input("sweep", fixed=False), g.input("blank", fixed=True)
        found = {}
        for number, (name, region) in enumerate(self.kept.items(), len(self.site)):
            law = emit_law(g, region)
            with g.at(region.variable.span):
                found[name] = law.draw(blank + self._b0(g, region), key, number, sweep)
        return g.module({"state": found}, "First")

    def step(self, blocks: Sequence[Block], name: str) -> fx.GraphModule:
        """The change of log p* at the state from `beta` to `beta_next`, and a draw from the state at `beta_next`, block by block."""
        g = Emitter()
        beta, after, state = g.input("beta", fixed=False), g.input("beta_next", fixed=False), self._state(g)
        weight = self._slope(g, state) * (after - beta)
        drawn: dict[str, Piece] = {}
        for region in self.summed:
            raw = self._raw(g, region, state)
            gained = self._partition(g, region, raw, after) - self._partition(g, region, raw, beta)
            weight = weight + _total(gained)
            drawn[region.name] = self._draw(g, region, raw, after)
        for region in (r for block in blocks for r in block):
            new = self._draw(g, region, self._raw(g, region, drawn, state), after)
            state[region.name] = put(g, state[region.name], new)
        return g.module({"state": {n: piece.value for n, piece in state.items()}, "weight": weight}, name)

    def _draw(self, g: Emitter, region: Region, raw: Any, beta: Any) -> Piece:
        """A region drawn at beta."""
        eta, law = self._tempered(g, region, raw, beta), emit_law(g, region)
        key, sweep = g.input("key", fixed=False), g.input("sweep", fixed=False)
        with g.at(region.variable.span):
            return Piece(law.draw(eta, key, self.site[id(region)], sweep), region)


def _total(each: Any) -> Any:
    """The sum over sites `[chains, sites]`, float64 `[chains]`."""
    return each.sum(1, dtype=torch.float64)
