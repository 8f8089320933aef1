"""Losses and gradients of objectives as training computes them, on given rows."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping

from torch import Tensor

from gmc.compiler.driver import Compiled
from gmc.compiler.objective import Slope
from gmc.runtime.engine import Engine, Rows
from gmc.runtime.exact import Marginals
from gmc.runtime.step import Place, TrainingStep, Works, wanted


def step_on(
    compiled: Compiled,
    weights: Mapping[str, Tensor],
    rows: Rows,
    objective: str = "nll",
    place: Place | None = None,
    memory: MutableMapping[str, Tensor] | None = None,
    seed: int = 1,
) -> TrainingStep:
    """A step of training of an objective's first term."""
    engine = Engine(compiled, dict(weights), seed, "train", wanted(compiled, {objective: compiled.descents(objective)}))
    where = Place(0, 0.0, 0) if place is None else place
    kept = {} if memory is None else memory
    return TrainingStep(Works(engine, Marginals(compiled)), rows, where, f"{objective}.0", kept, {})


def slope(
    compiled: Compiled, weights: Mapping[str, Tensor], rows: Rows, objective: str = "nll", seed: int = 1
) -> Slope:
    """Loss and gradient of an objective of one term."""
    (descent,) = compiled.descents(objective)
    return descent.slope(step_on(compiled, weights, rows, objective, seed=seed))
