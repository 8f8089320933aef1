"""The variational lower bound of the log-likelihood, by mean field, or by what `~>` edges draw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from gmc.compiler.annealing import unannealed
from gmc.compiler.region import Region
from gmc.compiler.variational import Variational, build_variational
from gmc.dsl.diagnostic import Diagnostic, GmcError
from gmc.runtime import evaluation_errors
from gmc.runtime.blame import located
from gmc.runtime.evaluation import Evaluation, Kind
from gmc.runtime.evaluations.ais import estimated, uneven
from gmc.runtime.evaluations.method import PART, Task, method, temperatures_of
from gmc.runtime.evaluations.recognised import expected
from gmc.runtime.exact import TooLarge
from gmc.runtime.meanfield import settle
from gmc.runtime.missing import patterns
from gmc.runtime.partition import exact_partition
from gmc.runtime.request import whole

EXACT_BITS = 20.0
"""Bits of states up to which log Z is summed exactly."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Lower bounds of log Z given each row, float64 `[rows]`, and the most that a mean of each row still changed in the last pass, `[rows]`."""

    log_z: Tensor
    change: Tensor
    passes: int


@method(
    "bound",
    "variational lower bound by mean field or `~>` edges, less log Z, exact or by annealed importance sampling",
    shares=True,
)
def bound(
    task: Task,
    *,
    chains: int = 100,
    temperatures: int | str = 1000,
    reverse: bool = False,
    samples: int = 100,
    tolerance: float = 1e-7,
    damping: float = 0.0,
) -> Evaluation:
    """-E(v, mu) + H(mu) - log Z <= log p(v), at the fixed point mu of mean field over the latent variables; in a model with `->` edges under what its `~>` edges draw.

    `samples` are draws of each row from `~>` edges, where these are not summed.

    Raises:
        TooLarge: the model has no mean field.
        GmcError: a number is out of range.
    """
    count, path = whole("the number of chains", chains, 1), temperatures_of(temperatures)
    _check("the tolerance", tolerance, 1.0)
    _check("the damping", damping, 1.0)
    held = task.likelihood
    numbers = task.numbers()
    rows = _of_rows(task, numbers, whole("the number of draws", samples, 1), tolerance, damping)
    marginal = held.marginal(())
    warnings = rows.warnings
    if marginal.reason(EXACT_BITS) is None:
        partition = exact_partition(located(task.span, lambda: held.log_z), marginal)
        kind: Kind = "lower bound" if rows.exact else "estimate of a lower bound"
        bias = rows.bias
    else:
        partition = estimated(task, held, count, path, reverse)
        kind = "estimate of a lower bound"
        bias = "log Z is biased low in expectation, so this is biased high as an estimate of the lower bound"
        warnings += uneven(task, partition)
    how = f"{rows.how}; {partition.how}"
    if len(numbers) < task.data.rows:
        how += f"; {len(numbers)} of {task.data.rows} rows, chosen by the seed"
    what = f"what is observed of {task.variables}" if task.lacking else task.variables
    forward = partition.forward
    return Evaluation(
        "bound",
        f"lower bound of log p({what})",
        kind,
        bias,
        how,
        rows.log_z - partition.value,
        partition,
        None if forward is None else forward.effective,
        None if forward is None else count,
        warnings,
    )


@dataclass(frozen=True, slots=True)
class _OfRows:
    """Bounds of log Z given each row, float64 `[rows]`, how they were come by, whether exactly, and how far off they are."""

    log_z: Tensor
    how: str
    exact: bool
    bias: str
    warnings: tuple[Diagnostic, ...] = ()


def _of_rows(task: Task, numbers: Tensor, samples: int, tolerance: float, damping: float) -> _OfRows:
    """By mean field, or, in a model with directed edges, by what `~>` edges draw.

    Raises:
        TooLarge: the model has neither.
    """
    if any(edge.kind == "directed" for edge in task.compiled.checked.model.edges):
        found = expected(task, numbers, samples)
        below = "below what it bounds in every row, by the divergence of what `~>` edges draw from the posterior"
        drawn = "without bias as an estimate of the lower bound, which is below what it bounds"
        return _OfRows(found.values, found.how, found.exact, below if found.exact else drawn)
    rows = bounds(task, numbers, tolerance, damping)
    how = f"mean field to its fixed point, {rows.passes} passes, residual {float(rows.change.max()):.1g}"
    below = "below what it bounds in every row, by the divergence of mean field from the posterior"
    return _OfRows(rows.log_z, how, True, below, _unsettled(task, rows, tolerance))


def bounds(task: Task, numbers: Tensor, tolerance: float, damping: float) -> Bounds:
    """Of those rows, in float64; what a row lacks is free.

    Raises:
        TooLarge: the model has no mean field.
    """
    device = task.work().devices[0]
    params = {name: value.detach().to(device, torch.float64) for name, value in task.params.items()}
    log_z = torch.empty(len(numbers), dtype=torch.float64)
    change, passes = torch.zeros_like(log_z), 0
    graphs: dict[tuple[tuple[str, bytes], ...], Variational] = {}
    for first in range(0, len(numbers), PART):
        values = task.data.batch(numbers[first : first + PART], 0)
        for here, regions in patterns(values, task.compiled.checked.model):
            key = tuple((name, region.sites.tobytes()) for name, region in regions.items())
            if key not in graphs:
                graphs[key] = _graphs(task, regions, device)
            inputs = {**params, **_held(values, regions, here, device)}
            inputs["blank"] = torch.zeros(len(here), 1, dtype=torch.float64, device=device)
            found = settle(graphs[key], inputs, tolerance, damping, task.span)
            at = here + first
            eta = {f"eta.{name}": value for name, value in found.eta.items()}
            log_z[at] = located(task.span, partial(graphs[key].bound, {**inputs, **eta})).cpu()
            change[at], passes = found.change.cpu(), max(passes, found.passes)
        if task.watch is not None:
            task.watch(min(1.0, (first + PART) / len(numbers)))
    return Bounds(log_z, change, passes)


def _graphs(task: Task, regions: Mapping[str, Region], device: torch.device) -> Variational:
    reason = unannealed(task.compiled.graph, regions)
    if reason is not None:
        raise TooLarge(reason)
    found = build_variational(task.compiled.graph, regions, {})
    for graph in found.graphs().values():
        graph.place(device)
    return found


def _held(
    values: Mapping[str, Tensor], regions: Mapping[str, Region], rows: Tensor, device: torch.device
) -> dict[str, Tensor]:
    """The states of the clamped regions of some rows."""
    found = {}
    for name, region in regions.items():
        value = values[name]
        columns = torch.from_numpy(region.columns).to(value.device)
        found[f"clamped.{name}"] = value[rows.to(value.device)][:, columns].to(device, torch.float64)
    return found


def _unsettled(task: Task, rows: Bounds, tolerance: float) -> tuple[Diagnostic, ...]:
    late = int((rows.change > tolerance).sum())
    if not late:
        return ()
    change = float(rows.change.max())
    return (evaluation_errors.not_settled(task.span, late, len(rows.change), change, tolerance),)


def _check(what: str, number: float, below: float) -> None:
    """Refuses what is not at least 0 and below a number."""
    if not 0.0 <= number < below:
        raise GmcError([evaluation_errors.share_out_of_range(None, what, number)], exit_code=2)
