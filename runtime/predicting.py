"""Predictions: the means of a variable that a chain draws, against the values that the data have for it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gmc.compiler.family import Family
from gmc.compiler.graph import family
from gmc.compiler.region import sites_of
from gmc.dsl.diagnostic import GmcError
from gmc.dsl.model import Chain, Split, Variable
from gmc.runtime import run_errors
from gmc.runtime.clamping import Trained
from gmc.runtime.dataset import Dataset
from gmc.runtime.request import Course, chain_of, course_of, whole
from gmc.runtime.rowwise import known_split, require, row_means, rows_in
from gmc.runtime.sampling import chains_together


@dataclass(frozen=True, slots=True)
class Score:
    """A number about predictions, and its standard error, from the spread of the rows (NaN for a single one)."""

    name: str
    value: float
    standard_error: float
    unit: str

    def json(self) -> dict[str, object]:
        """It as data."""
        error = self.standard_error
        return {"value": self.value, "standard_error": None if math.isnan(error) else error, "unit": self.unit}


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a chain predicts of a variable, row by row, and how well.

    `mean`: mean values, `[rows, *shape]`, of a categorical variable probabilities `[rows, *shape, k]`. `best`: the most probable values `[rows, *shape]`, None for a variable
    whose values are not counted. `data`: the values that the data have. At the sites that `drawn` leaves out, `[rows, *shape]`, the row is given, or has no value,
    and nothing is compared.
    """

    chain: str
    variable: str
    split: Split
    how: str
    mean: Tensor
    best: Tensor | None
    data: Tensor
    drawn: Tensor
    scores: tuple[Score, ...]

    @property
    def rows(self) -> int:
        """How many rows were predicted."""
        return int(self.data.shape[0])

    @property
    def sites(self) -> int:
        """How many sites were compared, over all rows."""
        return int(self.drawn.sum())

    def json(self) -> dict[str, object]:
        """All of it but the rows' values, as data."""
        return {
            "chain": self.chain,
            "of": self.variable,
            "split": self.split,
            "rows": self.rows,
            "sites": self.sites,
            "scores": {score.name: score.json() for score in self.scores},
            "how": self.how,
        }


def predict(
    run: Trained,
    name: str,
    of: str,
    split: Split,
    *,
    sweeps: int | None = None,
    burn: int | None = None,
    chains: int = 1,
    seed: int = 0,
    watch: Callable[[float], None] | None = None,
) -> Prediction:
    """See `Run.predict`."""
    chains, _ = whole("the number of chains a row", chains, 1), whole("the seed", seed, 0)
    chain = chain_of(run.compiled, name)
    variable = _variable(run, of)
    data = _rows(run, chain, variable, split)
    course = course_of(chain, sweeps, 1 if burn is not None else None, burn or 0)
    together = max(1, chains_together(run.compiled.checked.model.variables, 1) // chains)
    truth = data.external(of, torch.arange(data.rows, device=run.device), 0)
    drawn = _drawn(chain, variable, truth)
    if not bool(drawn.any()):
        why = f" where the {split} rows have a value to compare with"
        raise GmcError([run_errors.not_drawn(chain.span, of, name, why)], exit_code=2)
    found = []
    for rows in torch.arange(data.rows, device=run.device).split(together):
        found.append(row_means(run, chain, data, [of], rows, chains, seed, course)[of])
        if watch is not None:
            watch((int(rows[-1]) + 1) / data.rows)
    statistic = torch.cat(found)
    kind = family(variable)
    shares = probabilities(kind, statistic)
    best = None
    if shares is not None:
        chosen = kind.values().to(statistic)[shares.argmax(2)].flatten(1)
        best = kind.decode(chosen, variable.shape)
    mean = kind.decode_mean(statistic.to(run.dtype), variable.shape)
    scores = _scores(kind, variable, statistic, shares, truth, drawn)
    return Prediction(name, of, split, _how(of, course, chains, seed), mean, best, truth, drawn, scores)


def probabilities(kind: Family, mean: Tensor) -> Tensor | None:
    """The probability of each value, `[rows, sites, states]`, of mean statistics `[rows, sites * width]`.

    None where the means of the statistic do not tell them: for infinite families, and where there are more values than statistics determine.
    """
    if kind.states is None:
        return None
    values = kind.values().to(mean)
    # the means are sums of values by their probabilities, which add up to one: a linear system
    system = torch.cat((values, torch.ones_like(values[:, :1])), 1).T
    if int(torch.linalg.matrix_rank(system)) < values.shape[0]:
        return None
    sites = mean.unflatten(1, (-1, values.shape[1]))
    right = torch.cat((sites, torch.ones_like(sites[..., :1])), 2)
    return (right @ torch.linalg.pinv(system).T).clamp(0.0, 1.0)


def ratio(sums: Tensor, counts: Tensor) -> tuple[float, float]:
    """The mean over all sites, of sums and counts over the sites of each row, and its standard error over the rows.

    Rows are independent, their sites are not; the error is that of a ratio of means, by linearisation (Cochran, Sampling Techniques, 1977, eq. 6.13), and
    for rows with equal counts that of a mean.
    """
    total = float(counts.sum())
    value = float(sums.sum()) / total
    rows = int((counts > 0).sum())
    if rows < 2:
        return value, math.nan
    off = sums - value * counts
    return value, math.sqrt(float((off**2).sum()) * rows / (rows - 1)) / total


def _variable(run: Trained, name: str) -> Variable:
    known = [v.name for v in run.compiled.checked.model.variables]
    if name not in known:
        raise GmcError([run_errors.unknown_choice(None, "variable", name, known)], exit_code=2)
    return run.compiled.checked.model.variable(name)


def _rows(run: Trained, chain: Chain, variable: Variable, split: Split) -> Dataset:
    """The rows of the split, with values for all that the prediction needs.

    Raises:
        GmcError: there are none, or a variable has no values in them, or the chain clamps all that is to be predicted.
    """
    known_split(split)
    if variable.name not in run.compiled.schedules[chain.name].free:
        why = ": all of them are clamped" if variable.sites else ": it has none"
        raise GmcError([run_errors.not_drawn(chain.span, variable.name, chain.name, why)], exit_code=2)
    data = rows_in(run, split)
    if variable.name not in data.variables:
        purpose = "which is to be predicted"
        raise GmcError([run_errors.no_column(variable.span, variable.name, split, purpose)], exit_code=2)
    require(run, chain, data, split)
    return data


def _drawn(chain: Chain, variable: Variable, truth: Tensor) -> Tensor:
    """Which sites are drawn and have a value to compare with, bool `[rows, *shape]`.

    What is clamped where a row has a value is drawn only where it has none, so that nothing of it is compared.
    """
    drawn = torch.ones(variable.sites, dtype=torch.bool, device=truth.device)
    for clamp in chain.clamps:
        if clamp.variable == variable.name:
            drawn[torch.from_numpy(sites_of(variable, clamp.part)).to(truth.device)] = False
    return drawn.reshape(variable.shape) & ~torch.isnan(truth)


def _scores(
    kind: Family, variable: Variable, mean: Tensor, shares: Tensor | None, truth: Tensor, drawn: Tensor
) -> tuple[Score, ...]:
    """How near the predictions are, over all sites that are drawn; `mean` are statistics, `truth` values."""
    mask = drawn.reshape(len(drawn), -1).to(torch.float64)
    counts = mask.sum(1)

    def score(name: str, each: Tensor, unit: str) -> Score:
        return Score(name, *ratio((each * mask).sum(1), counts), unit)

    if shares is not None:
        values = kind.values().to(mean)
        # any value does where nothing is compared
        known = torch.where(drawn, truth, kind.decode(kind.values()[:1], ())[0].to(truth))
        statistic = kind.encode(known).to(mean).unflatten(1, (variable.sites, -1))
        right = (statistic.unsqueeze(2) - values).abs().sum(3).argmin(2)
        least = torch.finfo(torch.float32).eps  # means come in float32, where more certainty cannot be told
        chance = shares.gather(2, right.unsqueeze(2)).squeeze(2).clamp(least, 1.0)
        hit = (shares.argmax(2) == right).to(torch.float64)
        return (score("accuracy", hit, "share of sites"), score("log score", chance.log(), "nats a site"))
    flat = truth.reshape(len(truth), -1)
    off = torch.where(mask > 0, kind.decode_mean(mean, (variable.sites,)) - flat.to(mean), 0.0)
    squares = score("mean squared error", off**2, "")
    root = math.sqrt(squares.value)
    # of a square root, by its slope
    error = squares.standard_error / (2 * root) if root else 0.0
    return (
        Score("root mean squared error", root, error, "as the data"),
        score("mean absolute error", off.abs(), "as the data"),
    )


def _how(of: str, course: Course, chains: int, seed: int) -> str:
    """What was averaged."""
    if course.sweeps == 0:
        which = "in pass 0"
    elif course.count == 1:
        which = f"in sweep {course.sweeps}"
    else:
        which = f"averaged over sweeps {course.number(0)} to {course.sweeps}"
    each = "one chain a row" if chains == 1 else f"{chains} chains a row"
    return f"the mean of {of} given the rest when it was drawn, {which} of {each}, seed {seed}"
