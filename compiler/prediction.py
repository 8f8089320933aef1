"""Multi-prediction training: sites of rows are hidden at random, and mean field is differentiated through as it predicts them.

Goodfellow, Mirza, Courville & Bengio, Multi-prediction deep Boltzmann machines, NIPS 2013.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx

from gmc.compiler.conditionals import emit_log_density
from gmc.compiler.draws import uniform
from gmc.compiler.emission import Want
from gmc.compiler.emitter import Emitter, inputs
from gmc.compiler.graph import FactorGraph
from gmc.compiler.objective import Descent, Slope, Step
from gmc.compiler.passes import DEFAULT, run_passes
from gmc.compiler.region import Region
from gmc.compiler.sharing import differentiate

if TYPE_CHECKING:
    from gmc.compiler.driver import Compiled


@dataclass(frozen=True, slots=True, eq=False)
class MultiPrediction(Descent):
    """Hides each site of `masked` with the chance `drop`; `densities` gives the log-probabilities of values at fields, `[rows, sites]` by variable."""

    graph: FactorGraph
    chain: str
    drop: float
    masked: Mapping[str, Region]
    densities: fx.GraphModule

    @property
    def wants(self) -> dict[str, tuple[Want, ...]]:
        """The fields that sites were last updated by."""
        return {self.chain: ("field",)}

    @property
    def graphs(self) -> dict[str, fx.GraphModule]:
        """That of the log-probabilities."""
        return {"densities": self.densities}

    def slope(self, step: Step) -> Slope:
        """Loss and gradient, what is hidden of each row drawn by its key."""
        rows, targets = self.hide(step)
        values = {f"value.{name}": step.rows[name].nan_to_num() for name in targets}

        def loss(params: Mapping[str, Tensor]) -> Tensor:
            ended = step.unrolled(self.chain, params, rows)
            given = {**params, **values, **{f"field.{name}": field for name, field in ended.field.items()}}
            logs: dict[str, Tensor] = self.densities(*(given[name] for name in inputs(self.densities)))
            parts = [torch.where(targets[name], each, torch.zeros_like(each)).sum() for name, each in logs.items()]
            return -torch.stack(parts).sum() / step.count

        return differentiate(self.graph, step.params, loss)

    def hide(self, step: Step) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The rows with NaN at hidden sites, and which sites are hidden that have a value, bool `[rows, sites]` by variable."""
        keys, turn = step.keys("mask")
        rows, targets = dict(step.rows), {}
        for number, (name, region) in enumerate(self.masked.items()):
            value, width = rows[name], region.variable.family.width
            hidden = uniform(keys, number, turn, region.sites.size) < self.drop
            whole = torch.zeros(step.count, region.variable.sites, dtype=torch.bool, device=step.device)
            whole[:, torch.from_numpy(region.sites).to(step.device)] = hidden
            targets[name] = whole & ~value[:, ::width].isnan()
            rows[name] = value.masked_fill(whole.repeat_interleave(width, dim=1), torch.nan)
        return rows, targets


def build_prediction(compiled: Compiled, chain: str, drop: float) -> MultiPrediction:
    """The descent over a compiled file."""
    masked = dict(compiled.schedules[chain].masked)
    g = Emitter()
    logs = {}
    for name, region in masked.items():
        field, value = g.input(f"field.{name}", fixed=False), g.input(f"value.{name}", fixed=False)
        logs[name] = emit_log_density(g, region.variable, field, value)
    densities = run_passes(g.module(logs, "Densities"), DEFAULT)
    return MultiPrediction(compiled.graph, chain, drop, masked, densities)
