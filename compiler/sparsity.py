"""Sparsity: the cross-entropy between a target and the mean activation of each unit, as a descent.

The mean is over the batch, of each unit's probability of being on at its field, and runs on from step to step. The gradient is the cross-entropy's slope at the running mean times the gradient
of the batch's mean: an estimate of the gradient over all data that does not shrink with the damping (Hinton, A practical guide to training restricted Boltzmann machines, 2012, section 11).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx

from gmc.compiler.emission import Want
from gmc.compiler.emitter import Emitter, inputs
from gmc.compiler.fields import emit_field, emit_law
from gmc.compiler.graph import FactorGraph
from gmc.compiler.objective import Descent, Slope, Step
from gmc.compiler.passes import DEFAULT, run_passes
from gmc.compiler.region import Piece, Region
from gmc.compiler.sharing import shared

if TYPE_CHECKING:
    from gmc.compiler.driver import Compiled

LEAST = 1e-6
"""How near a running mean comes to 0 or 1 in the cross-entropy, whose slope has no bound there."""


@dataclass(frozen=True, slots=True, eq=False)
class Sparsity(Descent):
    """`activation` gives the mean of a variable's units at their fields over the states of a chain, `[size]`."""

    graph: FactorGraph
    chain: str
    target: float
    damping: float
    activation: fx.GraphModule

    @property
    def wants(self) -> dict[str, tuple[Want, ...]]:
        """Where the chain ended."""
        return {self.chain: ("value",)}

    @property
    def graphs(self) -> dict[str, fx.GraphModule]:
        """That of the mean activation."""
        return {"activation": self.activation}

    def slope(self, step: Step) -> Slope:
        """Loss and gradient; the running mean is kept in the step's memory."""
        ended = step.run(self.chain)
        leaves = {name: p.detach().requires_grad_() for name, p in step.params.items()}
        given: dict[str, Tensor] = {**leaves, **{f"value.{name}": value for name, value in ended.value.items()}}
        given["blank"] = torch.zeros(next(iter(ended.value.values())).shape[0], 1, dtype=step.dtype, device=step.device)
        batch: Tensor = self.activation(*(given[name] for name in inputs(self.activation)))
        q = self._running(step, batch.detach()).clamp(LEAST, 1.0 - LEAST)
        t = self.target
        loss = -(t * q.log() + (1.0 - t) * torch.log1p(-q)).sum(dtype=torch.float64)
        slope = (q - t) / (q * (1.0 - q))
        found: Sequence[Tensor | None] = torch.autograd.grad(batch, list(leaves.values()), slope, allow_unused=True)
        slopes = {name: value for name, value in zip(leaves, found, strict=True) if value is not None}
        return Slope(loss, shared(self.graph, slopes))

    def _running(self, step: Step, batch: Tensor) -> Tensor:
        """The running mean with a batch's; the first batch's alone begins it."""
        before = step.memory.get("mean")
        step.memory["mean"] = batch if before is None else self.damping * before + (1.0 - self.damping) * batch
        return step.memory["mean"]


def build_sparsity(compiled: Compiled, chain: str, name: str, target: float, damping: float) -> Sparsity:
    """The descent over a compiled file."""
    graph, potency = compiled.graph, compiled.schedules[chain].potency
    g = Emitter()
    whole = Region.whole_of(compiled.checked.model.variable(name))
    known: Mapping[str, list[Piece]] = {
        v.name: [Piece(g.input(f"value.{v.name}", fixed=False), Region.whole_of(v))] for v in graph.variables if v.sites
    }
    field = emit_field(g, graph, whole, known, potency.first, potency.kernels.get(name))
    mean = emit_law(g, whole).mean(field).mean(0)
    return Sparsity(graph, chain, target, damping, run_passes(g.module(mean, "Activation"), DEFAULT))
