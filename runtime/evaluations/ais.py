"""The log-likelihood with log Z by annealed importance sampling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from gmc.compiler.annealing import build_annealing, unannealed
from gmc.compiler.region import Region
from gmc.dsl.diagnostic import Diagnostic
from gmc.runtime import evaluation_errors
from gmc.runtime.annealing import Annealer, base_fields
from gmc.runtime.blame import located
from gmc.runtime.estimate import LogMean, effective_sizes, log_means
from gmc.runtime.evaluation import Evaluation
from gmc.runtime.evaluations.method import PART, Task, method, temperatures_of
from gmc.runtime.exact import log_partition
from gmc.runtime.likelihood import Likelihood
from gmc.runtime.missing import patterns
from gmc.runtime.partition import Partition, annealed, betas_of, model_path, path_of
from gmc.runtime.request import whole
from gmc.runtime.temperatures import Temperatures

ROWS = 100
"""Rows that are evaluated, unless said otherwise, where each needs chains of its own."""
ROW_BITS = 16.0
"""Bits of states of latent variables that are summed exactly for each row, at most."""
FEW, WIDE = 0.1, 2.0
"""Weights are called uneven below that effective share of the chains, or beyond that spread of their logs, in nats."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """log Z given each row, float64 `[rows]`, how it was summed, and, where chains were needed, the effective sample size and the spread of the logs in each row."""

    log_z: Tensor
    how: str
    effective: Tensor | None = None
    spread: Tensor | None = None


@method("ais", "log-likelihood with log Z estimated by annealed importance sampling", shares=True)
def ais(task: Task, *, chains: int = 100, temperatures: int | str = 1000, reverse: bool = False) -> Evaluation:
    """log Z given the row less log Z; the first exact where the latent variables sum out, else by annealing too, with as many chains for each row.

    Raises:
        TooLarge: the model has no such path.
        GmcError: a number is out of range.
    """
    count, path = whole("the number of chains", chains, 1), temperatures_of(temperatures)
    held = task.likelihood
    sums = _summable(task, held)
    partition = estimated(task, held, count, path, reverse, 1.0 if sums else 0.5)
    numbers = task.numbers(None if sums else ROWS)
    rows = _rows(task, held, numbers, count, path)
    told, bias = (rows.how, "log Z is biased low in expectation, so this log-likelihood is biased high")
    warnings = uneven(task, partition)
    if rows.effective is not None:
        bias = "log Z and log Z given each row are both biased low in expectation, so that the direction is not known"
        warnings += _uneven_rows(task, rows, count)
    how = f"{partition.how}; given the data, {told}"
    if len(numbers) < task.data.rows:
        how += f"; {len(numbers)} of {task.data.rows} rows, chosen by the seed"
    quantity = f"log p({task.variables}), estimated"
    effective = None if partition.forward is None else partition.forward.effective
    return Evaluation(
        "ais", quantity, "estimate", bias, how, rows.log_z - partition.value, partition, effective, count, warnings
    )


def estimated(
    task: Task, held: Likelihood, count: int, temperatures: Temperatures, reverse: bool, share: float = 1.0
) -> Partition:
    """log Z by annealing.

    Raises:
        TooLarge: the model has no such path.
    """
    marginal = held.marginal(())
    path = model_path(marginal)
    chains = Annealer(path, task.params, base_fields(path, task.base), task.work(0.0, share))
    return annealed(chains, marginal, temperatures, count, reverse, task.span)


def uneven(task: Task, partition: Partition) -> tuple[Diagnostic, ...]:
    """A warning for each estimate of log Z that hangs on few of its chains."""
    pairs = (("log Z", partition.forward), ("the reverse log Z", partition.reverse))
    return tuple(
        evaluation_errors.uneven_weights(task.span, what, found.effective, found.count, found.spread)
        for what, found in pairs
        if found is not None and _is_uneven(found)
    )


def _is_uneven(found: LogMean) -> bool:
    return found.count > 1 and (found.effective < FEW * found.count or found.spread > WIDE)


def _summable(task: Task, held: Likelihood) -> bool:
    """Whether every row's own sum is exact, as far as whole variables tell; rows that lack values are looked at one by one."""
    return held.marginal(task.data.variables).reason(ROW_BITS) is None


def _rows(task: Task, held: Likelihood, numbers: Tensor, count: int, temperatures: Temperatures) -> _Rows:
    """log Z given what each row has."""
    log_z = torch.empty(len(numbers), dtype=torch.float64)
    effective = torch.full_like(log_z, float(count))
    spread = torch.zeros_like(log_z)
    how, drawn = f"{held.marginal(task.data.variables)}", False
    for first in range(0, len(numbers), PART):
        values = task.data.batch(numbers[first : first + PART], 0)
        for here, regions in patterns(values, task.compiled.checked.model):
            some = {name: values[name][here.to(values[name].device)] for name in regions}
            at = here + first
            marginal = held.marginals.given(regions)
            if marginal.reason(ROW_BITS) is None:
                sums = partial(log_partition, marginal, task.params, some, len(here))
                log_z[at] = located(task.span, sums).log_z.cpu()
                continue
            weights, told = _chains(task, regions, some, numbers[at], count, temperatures)
            log_z[at], effective[at], spread[at] = log_means(weights), effective_sizes(weights), weights.std(1)
            how, drawn = told, True
    return _Rows(log_z, how, effective, spread) if drawn else _Rows(log_z, how)


def _chains(
    task: Task,
    regions: Mapping[str, Region],
    values: Mapping[str, Tensor],
    numbers: Tensor,
    count: int,
    temperatures: Temperatures,
) -> tuple[Tensor, str]:
    """Log weights of each row's own chains, float64 `[rows, chains]`, whose mean is that row's sum in expectation, and how they were made."""
    graph = task.compiled.graph
    path = path_of(lambda: build_annealing(graph, regions), unannealed(graph, regions))
    held = {name: value[:, torch.from_numpy(regions[name].columns).to(value.device)] for name, value in values.items()}
    chains = Annealer(path, task.params, base_fields(path, task.base), task.work(0.5, 1.0), held, count)
    # rows that lack the same values have streams of their own, named by the first of them
    stream = f"ais/rows/{int(numbers[0])}"
    betas = betas_of(chains, temperatures, count, stream, task.span)
    weights, _ = chains.forward(betas, len(numbers) * count, stream)
    found = weights.reshape(len(numbers), count) + chains.log_base()[:, None]
    return found, f"by annealed importance sampling too, {count} chains a row, {temperatures}; {path}"


def _uneven_rows(task: Task, rows: _Rows, count: int) -> tuple[Diagnostic, ...]:
    assert rows.effective is not None and rows.spread is not None
    effective, spread = float(rows.effective.median()), float(rows.spread.median())
    if count == 1 or (effective >= FEW * count and spread <= WIDE):
        return ()
    return (evaluation_errors.uneven_weights(task.span, "log Z given the row", effective, count, spread),)
