"""Log-likelihoods and pseudo-likelihoods of data under a model."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gmc.compiler.driver import Compiled
from gmc.compiler.graph import family
from gmc.compiler.marginal import Marginal
from gmc.compiler.region import Region
from gmc.dsl.model import Variable
from gmc.runtime.dataset import Dataset
from gmc.runtime.exact import Marginals, TooLarge, check, log_partition

PART = 1024
"""Rows that are evaluated at once."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was estimated, how, and how far it may be off.

    `values`: nats a row, float64 `[rows]`. `log_z` is None where the method does not need it.
    """

    method: str
    quantity: str
    how: str
    values: Tensor
    log_z: float | None

    @property
    def rows(self) -> int:
        """How many rows were evaluated."""
        return int(self.values.shape[0])

    @property
    def mean(self) -> float:
        """The mean over the rows, in nats."""
        return float(self.values.mean())

    @property
    def standard_error(self) -> float:
        """The standard error of the mean, from the spread of the rows; the values themselves are exact."""
        return float(self.values.std()) / math.sqrt(self.rows) if self.rows > 1 else math.nan

    def json(self) -> dict[str, object]:
        """All of it but the rows' values, as data."""
        error = self.standard_error
        return {
            "method": self.method,
            "quantity": self.quantity,
            "mean": self.mean,
            "standard_error": None if math.isnan(error) else error,
            "rows": self.rows,
            "log_z": self.log_z,
            "unit": "nats a row",
            "how": self.how,
        }


class Likelihood:
    """Exact log-likelihoods of one set of parameters; log Z is computed once.

    Raises:
        TooLarge: at the first use, where the model cannot be summed.
    """

    def __init__(self, compiled: Compiled, params: Mapping[str, Tensor]) -> None:
        self.compiled, self.params = compiled, params
        self._log_z: float | None = None
        self._marginals = Marginals(compiled)

    def marginal(self, clamped: tuple[str, ...]) -> Marginal:
        """How the sum with whole variables clamped is taken."""
        return self._marginals.given({n: Region.whole_of(self.compiled.checked.model.variable(n)) for n in clamped})

    @property
    def log_z(self) -> float:
        """log Z, in nats."""
        if self._log_z is None:
            self._log_z = float(log_partition(self.marginal(()), self.params, {}).log_z)
        return self._log_z

    def unnormalised(self, values: Mapping[str, Tensor]) -> Tensor:
        """log of the sum of exp(-E) over everything but the given whole statistics `[rows, size]`, a row; what is NaN is not given."""
        rows = next(iter(values.values())).shape[0]
        return self._marginals.log_partition(self.params, values, rows).log_z

    def log_likelihood(self, values: Mapping[str, Tensor], given: Collection[str] = ()) -> Tensor:
        """log p of the variables that have values, those of `given` conditioned on, all others summed out, float64 `[rows]`.

        Sites that are NaN are summed out too. Conditioned on anything, it needs no log Z.
        """
        held = {name: values[name] for name in given}
        return self.unnormalised(values) - (self.unnormalised(held) if held else self.log_z)


def exact(compiled: Compiled, params: Mapping[str, Tensor], data: Dataset) -> Evaluation:
    """The exact mean log-likelihood of a split's variables, of what each row has of them where some values are missing.

    Raises:
        TooLarge: the model cannot be summed.
    """
    held = Likelihood(compiled, params)
    log_z = held.log_z
    parts = [held.log_likelihood(data.batch(rows, 0)) for rows in _parts(data)]
    how = f"log Z by enumeration; {held.marginal(())}; given the data, {held.marginal(data.variables)}"
    what = ", ".join(data.variables)
    if lacking := _lacking(data):
        how += f"; missing values of {lacking} summed out too, row by row"
        what = f"what is observed of {what}"
    return Evaluation("exact", f"log p({what})", how, torch.cat(parts), log_z)


def pseudo(compiled: Compiled, params: Mapping[str, Tensor], data: Dataset) -> Evaluation:
    """The pseudo-log-likelihood: the sum over sites of log p(site | all other sites of the data), latent variables summed out.

    It needs no log Z, and is no log-likelihood: it is neither a bound nor an estimate of one.

    Raises:
        TooLarge: the latent variables cannot be summed out, a site of the data is not finite, or values are missing.
    """
    held = Likelihood(compiled, params)
    model = compiled.checked.model
    if lacking := _lacking(data):
        raise TooLarge(f"rows lack values of {lacking}, and each site is asked for given all the others")
    for name in data.variables:
        if model.variable(name).family.states is None:
            raise TooLarge(f"{name} is not finite, so its conditionals are no sums over states")
    check(held.marginal(data.variables), limit=16.0)
    parts = [_pseudo(held, data.batch(rows, 0)) for rows in _parts(data)]
    how = f"exact conditionals of every site; given the data, {held.marginal(data.variables)}"
    return Evaluation(
        "pseudo", "sum over sites of log p(site | rest): not a log-likelihood", how, torch.cat(parts), None
    )


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


def _lacking(data: Dataset) -> str:
    """The variables of which some row lacks a value, in words."""
    return ", ".join(name for name in data.variables if data.gaps(name) is not None)


def _parts(data: Dataset) -> list[Tensor]:
    return list(torch.arange(data.rows).split(PART))


METHODS = {"exact": exact, "pseudo": pseudo}
