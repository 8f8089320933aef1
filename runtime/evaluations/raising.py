"""Reverse annealed importance sampling from the data (RAISE; Burda, Grosse and Salakhutdinov 2015)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gmc.compiler.annealing import Annealing, build_annealing, unannealed
from gmc.compiler.region import Region
from gmc.compiler.split import Split
from gmc.compiler.variational import Variational, build_variational
from gmc.dsl.diagnostic import Diagnostic
from gmc.runtime import evaluation_errors
from gmc.runtime.annealing import Annealer, States, base_fields, duplicate
from gmc.runtime.estimate import effective_sizes, log_means
from gmc.runtime.evaluation import Evaluation
from gmc.runtime.evaluations.ais import ROWS, WIDE
from gmc.runtime.evaluations.method import Task, complete, method, temperatures_of
from gmc.runtime.meanfield import settle
from gmc.runtime.partition import betas_of, path_of
from gmc.runtime.request import whole

TOLERANCE, PASSES = 1e-4, 200
"""To which mean field is run for a proposal, and for how many passes at most: a proposal need not be at the fixed point."""


@method(
    "raise",
    "lower bound, in expectation, on the likelihood of the annealed sampler, by annealing from the data",
    shares=True,
)
def raising(task: Task, *, chains: int = 10, temperatures: int | str = 1000) -> Evaluation:
    """The likelihood of the rows under the sampler that goes from the base rates to the model in those temperatures, from chains that go down from each row.

    The estimate of p_ann(v) has the right mean, so that its log is too low in expectation. p_ann tends to the model's law as the temperatures grow; a bound on log p(v)
    itself it is not. Latent variables that do not sum out are proposed from mean field, and the proposal is divided out.

    Raises:
        TooLarge: rows lack values, or the model has no such path.
        GmcError: a number is out of range.
    """
    count, path = whole("the number of chains", chains, 1), temperatures_of(temperatures)
    complete(task, "and a chain begins at whole rows")
    raiser = _Raiser(task, count)
    betas = betas_of(raiser.annealer(0.0, 0.1), path, max(count, 100), "raise", task.span)
    numbers = task.numbers(ROWS)
    values = task.data.batch(numbers, 0)
    weights = raiser.log_weights(values, betas)
    effective = float(effective_sizes(weights).median())
    how = f"{count} chains down from each row, {path}; {raiser.path}; {raiser.proposal}"
    if len(numbers) < task.data.rows:
        how += f"; {len(numbers)} of {task.data.rows} rows, chosen by the seed"
    return Evaluation(
        "raise",
        f"log p_ann({task.variables}), the annealed sampler's, from below",
        "estimate of a lower bound",
        "biased low in expectation as an estimate of the annealed sampler's; how near that is to the model is not bounded, and nearer with more temperatures",
        how,
        log_means(weights),
        None,
        effective,
        count,
        _uneven(task, weights, effective),
    )


def _uneven(task: Task, weights: Tensor, effective: float) -> tuple[Diagnostic, ...]:
    """A warning where the typical row's weights differ by more than a few chains can average."""
    count = weights.shape[1]
    if count == 1:
        return ()
    spread = float(weights.std(1).median())
    if spread <= WIDE:
        return ()
    return (evaluation_errors.uneven_weights(task.span, "the number of a row", effective, count, spread),)


@dataclass
class _Raiser:
    """Chains down from rows. Sites that the rows have are kept, and so are latent ones that do not sum out given them."""

    task: Task
    count: int

    @cached_property
    def given(self) -> Mapping[str, Region]:
        """The variables of the rows."""
        model = self.task.compiled.checked.model
        return {name: Region.whole_of(model.variable(name)) for name in self.task.data.variables}

    @cached_property
    def path(self) -> Annealing:
        """The path, with what sums out given the rows."""
        graph = self.task.compiled.graph
        summed = self.task.likelihood.marginals.given(self.given).summed
        return path_of(lambda: build_annealing(graph, {}, summed), unannealed(graph, self.given))

    @cached_property
    def latent(self) -> Mapping[str, Region]:
        """The kept sites that the rows do not have."""
        return {name: region for name, region in self.path.kept.items() if name not in self.given}

    @cached_property
    def field(self) -> Variational:
        """What proposes them."""
        return build_variational(self.path.graph, self.given, self.latent)

    @cached_property
    def drawer(self) -> Split:
        """Draws what is proposed, on the CPU."""
        return duplicate(self.field.draw)

    @property
    def proposal(self) -> str:
        """How they are proposed, in words."""
        names = ", ".join(map(str, self.latent.values()))
        return f"{names} proposed by mean field given the row" if names else "nothing else is drawn given the row"

    def annealer(self, low: float, high: float) -> Annealer:
        """Chains of the path."""
        return Annealer(self.path, self.task.params, base_fields(self.path, self.task.base), self.task.work(low, high))

    def log_weights(self, values: Mapping[str, Tensor], betas: tuple[float, ...]) -> Tensor:
        """float64 `[rows, chains]`, whose mean over the chains of a row is p_ann of it in expectation.

        With x_K the row and x_{k-1} drawn from x_k by the reversal of the transition at beta_k, it is f_K(x_K) / (Z_0 q) times the product of f_{k-1}(x_{k-1}) / f_k(x_{k-1}): the
        first step stays at beta = 1, and each goes on from there.
        """
        rows = len(next(iter(values.values())))
        chains = self.annealer(0.1, 1.0)
        eta = self._proposed(values) if self.latent else {}
        base = float(chains.log_base())

        def begin(device: int, numbers: Tensor, keys: Tensor) -> tuple[States, Tensor]:
            at = numbers // self.count
            state = {n: value[at.to(value.device)].to(keys.device) for n, value in values.items()}
            log_q = torch.zeros(len(numbers), dtype=torch.float64, device=keys.device)
            if self.latent:
                drawn, log_q = self._draw(eta, at, keys)
                state |= drawn
            density = chains.density(device, numbers, state, 1.0)
            dtype = chains.work.dtype
            return {name: value.to(dtype) for name, value in state.items()}, density - base - log_q

        down = (1.0, *betas[::-1])
        return chains.backward(down, rows * self.count, "raise", begin).reshape(rows, self.count)

    def _inputs(self, rows: int, device: torch.device) -> dict[str, Tensor]:
        found = {name: value.detach().to(device, torch.float64) for name, value in self.task.params.items()}
        return {**found, "blank": torch.zeros(rows, 1, dtype=torch.float64, device=device)}

    def _proposed(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The mean-field fields of what is proposed, a row each."""
        device = self.task.work().devices[0]
        rows = len(next(iter(values.values())))
        for graph in (self.field.first, self.field.climb):
            graph.place(device)
        own = {f"clamped.{name}": value.to(device, torch.float64) for name, value in values.items()}
        found = settle(self.field, {**self._inputs(rows, device), **own}, TOLERANCE, 0.0, self.task.span, PASSES)
        return {name: found.eta[name].cpu() for name in self.latent}

    def _draw(self, eta: Mapping[str, Tensor], rows: Tensor, keys: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Latent states of chains, and their log q."""
        fields = {f"eta.{name}": value[rows] for name, value in eta.items()}
        inputs = {**self._inputs(len(rows), torch.device("cpu")), **fields, "key": keys.cpu(), "sweep": 0}
        out = self.drawer(inputs)
        return {name: value.to(keys.device) for name, value in out["state"].items()}, out["log_q"].to(keys.device)
