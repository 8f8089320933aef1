"""What a method of evaluation is given, and how it is registered."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from gmc.compiler.driver import Compiled
from gmc.dsl.diagnostic import GmcError
from gmc.dsl.source import Span
from gmc.runtime import evaluation_errors
from gmc.runtime.annealing import Work
from gmc.runtime.blame import located
from gmc.runtime.dataset import order
from gmc.runtime.evaluation import Evaluation
from gmc.runtime.exact import TooLarge
from gmc.runtime.examples import Examples
from gmc.runtime.likelihood import Likelihood
from gmc.runtime.temperatures import Temperatures, read_temperatures

F = TypeVar("F", bound=Callable[..., Evaluation])
PART = 1024
"""Rows that are evaluated at once."""
DEVICES = "several devices"
"""What is said of a list of devices to a method that uses one."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is evaluated: parameters, and rows of a split.

    `training`: rows whose means are the base rates of annealing; without them the rows themselves. `rows`: how many of them are evaluated, chosen by the seed; None for
    all, or as many as a slow method says. `dtype` is that of chains. `watch` is told the share that is done.
    """

    compiled: Compiled
    params: Mapping[str, Tensor]
    data: Examples
    training: Examples | None = None
    rows: int | None = None
    seed: int = 0
    devices: tuple[torch.device, ...] = ()
    dtype: torch.dtype | None = None
    watch: Callable[[float], None] | None = None

    @property
    def span(self) -> Span:
        """Where the model is declared."""
        return self.compiled.checked.model.span

    @property
    def likelihood(self) -> Likelihood:
        """Exact sums under the parameters."""
        return Likelihood(self.compiled, self.params)

    @property
    def base(self) -> Examples:
        """The rows whose means are the base rates."""
        return self.data if self.training is None else self.training

    @property
    def variables(self) -> str:
        """The variables that the rows have, in words."""
        return ", ".join(self.data.variables)

    @property
    def lacking(self) -> str:
        """Those of which some row lacks a value, in words."""
        return ", ".join(name for name in self.data.variables if self.data.gaps(name) is not None)

    def numbers(self, most: int | None = None) -> Tensor:
        """The numbers of the rows that are evaluated, ascending: as many as were asked for, else at most `most`."""
        wanted = self.rows if self.rows is not None else most
        if wanted is None or wanted >= self.data.rows:
            return torch.arange(self.data.rows)
        return order(self.data.rows, self.seed, "evaluation", 0)[:wanted].sort().values

    def work(self, low: float = 0.0, high: float = 1.0) -> Work:
        """Where and how chains run; what they do is told as that share of the whole."""
        some = next(iter(self.params.values()), torch.zeros(()))
        watch = self.watch
        told = None if watch is None else lambda share: watch(low + (high - low) * share)
        return Work(self.devices or (some.device,), self.seed, self.dtype or some.dtype, told)


@dataclass(frozen=True, slots=True)
class Method:
    """A method: its name, what it does in a line, whether it can share its work out over devices, and the function that does it, with its options as keywords."""

    name: str
    summary: str
    shares: bool
    run: Callable[..., Evaluation]

    @property
    def options(self) -> Mapping[str, object]:
        """The options that it takes, with their defaults."""
        known = list(inspect.signature(self.run).parameters.values())[1:]
        return {parameter.name: parameter.default for parameter in known}


METHODS: dict[str, Method] = {}
"""All methods by name."""


def method(name: str, summary: str, shares: bool = False) -> Callable[[F], F]:
    """Registers `evaluate(task, *, options)` under a name."""

    def register(function: F) -> F:
        METHODS[name] = Method(name, summary, shares, function)
        return function

    return register


def evaluate(name: str, task: Task, options: Mapping[str, object]) -> Evaluation:
    """Evaluates by a method of that name, with those of its options that are given.

    Raises:
        GmcError: it takes no such option, or an option has no such value.
        TooLarge: it does not apply to the model or the rows.
    """
    chosen = METHODS[name]
    for option in options:
        if option not in chosen.options:
            takers = [m.name for m in METHODS.values() if option in m.options]
            raise GmcError([evaluation_errors.option_of_another(None, name, f"`{option}`", takers)], exit_code=2)
    if len(task.devices) > 1 and not chosen.shares:
        takers = [m.name for m in METHODS.values() if m.shares]
        raise GmcError([evaluation_errors.option_of_another(None, name, DEVICES, takers)], exit_code=2)
    run = partial(chosen.run, task, **options)
    # what shows its progress guards its parts itself: nothing can be written meanwhile
    return run() if chosen.shares else located(task.span, run)


def temperatures_of(given: int | str) -> Temperatures:
    """What an option says of temperatures.

    Raises:
        GmcError: nothing.
    """
    found = read_temperatures(given)
    if found is None:
        raise GmcError([evaluation_errors.bad_temperatures(None, str(given))], exit_code=2)
    return found


def complete(task: Task, why: str) -> None:
    """Refuses rows with missing values.

    Raises:
        TooLarge: with the reason.
    """
    if lacking := task.lacking:
        raise TooLarge(f"rows lack values of {lacking}, {why}")
