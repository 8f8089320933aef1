"""The pseudo-log-likelihood (Besag 1975)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from gmc.compiler.graph import family
from gmc.dsl.model import Variable
from gmc.runtime.evaluation import Evaluation
from gmc.runtime.evaluations.method import PART, Task, complete, method
from gmc.runtime.exact import TooLarge
from gmc.runtime.likelihood import Likelihood


@method("pseudo", "pseudo-likelihood, which needs no log Z and is no likelihood")
def pseudo(task: Task) -> Evaluation:
    """The sum over sites of log p(site | all other sites of the data), latent variables summed out.

    It needs no log Z, and is no log-likelihood: it is neither a bound nor an estimate of one.

    Raises:
        TooLarge: the latent variables cannot be summed out, a site of the data is not finite, or values are missing.
    """
    held, data = task.likelihood, task.data
    complete(task, "and each site is asked for given all the others")
    for name in data.variables:
        if task.compiled.checked.model.variable(name).family.states is None:
            raise TooLarge(f"{name} is not finite, so its conditionals are no sums over states")
    if reason := held.marginal(data.variables).reason(16.0):
        raise TooLarge(reason)
    parts = [_pseudo(held, data.batch(rows, 0)) for rows in task.numbers().split(PART)]
    how = f"exact conditionals of every site; given the data, {held.marginal(data.variables)}"
    quantity = "sum over sites of log p(site | rest): not a log-likelihood"
    bias = "neither an estimate nor a bound of a log-likelihood"
    return Evaluation("pseudo", quantity, "pseudo-likelihood", bias, how, torch.cat(parts))


def _pseudo(held: Likelihood, values: Mapping[str, Tensor]) -> Tensor:
    here = held.unnormalised(values)
    total = torch.zeros_like(here)
    for name in values:
        variable = held.compiled.checked.model.variable(name)
        for site in range(variable.sites):
            total += here - _over_states(held, values, variable, site)
    return total


def _over_states(held: Likelihood, values: Mapping[str, Tensor], variable: Variable, site: int) -> Tensor:
    """log of the sum over a site's states of the unnormalised probability, with all else as it is."""
    width = variable.family.width
    found = []
    for statistic in family(variable).values():
        other = values[variable.name].clone()
        other[:, site * width : (site + 1) * width] = statistic.to(other)
        found.append(held.unnormalised({**values, variable.name: other}))
    return torch.stack(found).logsumexp(0)
