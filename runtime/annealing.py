"""Runs annealing graphs: chains by number, in units of fixed size, on one device or several.

A chain's draws depend on its number alone, and a unit holds the same chains whatever the devices are, so that results do not depend on how the work is
shared out. Nothing waits for a device between two temperatures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, fx

from gmc.compiler.annealing import Annealing
from gmc.compiler.draws import row_keys
from gmc.compiler.graph import family
from gmc.compiler.passes import copy
from gmc.compiler.split import Bound, Split
from gmc.runtime.blame import located
from gmc.runtime.examples import Examples
from gmc.runtime.temperatures import Betas, choose

UNIT = 1024
"""Chains that run together, at most."""
CELLS = 1 << 24
"""Numbers in the states of a unit, about, at most."""
LOOK = 20
"""Temperatures between two looks at how far the work is."""
SMOOTHING = 0.05
"""The share of the base rates that is the mean of a site at rest."""

States = Mapping[str, Tensor]
Begin = Callable[[int, Tensor, Tensor], tuple[States, Tensor]]
"""The states in which chains begin, and first log weights float64 `[chains]`, of the number of a device, the chains' numbers and their keys."""


@dataclass(frozen=True, slots=True)
class Work:
    """Where chains run, by which seed, in which type, and who is told the share that is done."""

    devices: tuple[torch.device, ...]
    seed: int
    dtype: torch.dtype
    watch: Callable[[float], None] | None = None
    unit: int = UNIT


@dataclass(slots=True)
class _Walk:
    """A unit on its way: chains `numbers` on a device, their states, and the log weights so far."""

    device: int
    numbers: Tensor
    bound: Bound
    state: States
    total: Tensor


@dataclass(slots=True)
class Annealer:
    """The chains of one path with given parameters.

    `base`: b0 by variable, float64 `[size]`. `rows`: states of the clamped regions, `[rows, region.size]`, of which chain n has row n // `each`.
    """

    path: Annealing
    params: Mapping[str, Tensor]
    base: Mapping[str, Tensor]
    work: Work
    rows: Mapping[str, Tensor] = field(default_factory=dict)
    each: int = 1
    _fixed: dict[tuple[int, torch.dtype], dict[str, Tensor]] = field(default_factory=dict)
    _graphs: dict[tuple[int, str], Split] = field(default_factory=dict)

    # ---- whole runs

    def forward(self, betas: Sequence[float], count: int, stream: str) -> tuple[Tensor, dict[str, Tensor]]:
        """Log weights, float64 `[count]`, of which the mean is Z / Z0 in expectation, and the states at the end, both on the CPU."""
        return self._run("up", betas, count, stream, self._first)

    def backward(self, betas: Sequence[float], count: int, stream: str, begin: Begin) -> Tensor:
        """Log weights on the way from states that `begin` gives; `betas` descend. Each temperature is reached by a transition that is the reversal of the forward one."""
        return self._run("down", betas, count, stream, begin)[0]

    def log_base(self) -> Tensor:
        """log Z at beta = 0, float64, of each row, or `[1]` where nothing is clamped."""
        rows = next((len(value) for value in self.rows.values()), 1)
        numbers = torch.arange(rows) * self.each
        found: Tensor = self._graph(0, "base")(self._inputs(0, numbers, torch.float64))
        return found.cpu()

    def pilot(self, share: float, count: int, stream: str) -> Betas | None:
        """Temperatures that keep the effective sample size of each step at a share of the chains, by chains of their own; None where they would be too many."""
        at = self.start(0, torch.arange(min(count, self.work.unit)), stream, "up", self._first)
        tried: dict[float, _Walk] = {}
        turn = 0

        def gained(beta: float, after: float) -> Tensor:
            nonlocal turn
            turn += 1
            before = _Walk(at.device, at.numbers, at.bound, at.state, torch.zeros_like(at.total))
            tried[after] = self._together([partial(self.walk, before, (beta, after), turn)])[0]
            return tried[after].total

        def move(after: float) -> None:
            nonlocal at
            at = tried[after]
            tried.clear()

        return choose(share, gained, move, self.work.watch or (lambda beta: None))

    def density(self, device: int, numbers: Tensor, state: States, beta: float) -> Tensor:
        """log p*_beta of states of the kept regions, float64 `[chains]`, computed in float64."""
        values = {f"state.{name}": value.to(torch.float64) for name, value in state.items()}
        values |= {**self._inputs(device, numbers, torch.float64)}
        found: Tensor = self._graph(device, "density")({**values, "beta": beta})
        return found

    # ---- one unit

    def _first(self, device: int, numbers: Tensor, keys: Tensor) -> tuple[States, Tensor]:
        """States drawn at beta = 0."""
        values = {**self._inputs(device, numbers, self.work.dtype), "key": keys, "sweep": 0}
        state: States = self._graph(device, "first")(values)["state"]
        return state, torch.zeros(len(numbers), dtype=torch.float64, device=keys.device)

    def start(self, device: int, numbers: Tensor, stream: str, graph: str, begin: Begin) -> _Walk:
        """A unit at its beginning."""
        keys = row_keys(self.work.seed, stream, numbers.to(self.work.devices[device]))
        state, total = begin(device, numbers, keys)
        values = {**self._inputs(device, numbers, self.work.dtype), "key": keys}
        return _Walk(device, numbers, self._graph(device, graph).bind(values), state, total)

    @torch.no_grad()
    def walk(self, at: _Walk, betas: Sequence[float], first: int) -> _Walk:
        """The unit after the steps between some temperatures, the first of which is step `first` of all."""
        state, total = at.state, at.total
        for sweep, (beta, after) in enumerate(pairwise(betas), first + 1):
            inputs: dict[str, object] = {f"state.{name}": value for name, value in state.items()}
            out = at.bound({**inputs, "beta": beta, "beta_next": after, "sweep": sweep})
            state, total = out["state"], total + out["weight"]
        return _Walk(at.device, at.numbers, at.bound, state, total)

    def _run(
        self, graph: str, betas: Sequence[float], count: int, stream: str, begin: Begin
    ) -> tuple[Tensor, dict[str, Tensor]]:
        weights, ends = [], []
        groups = list(self._groups(count))
        for done, group in enumerate(groups):
            walks = self._together([partial(self.start, d, n, stream, graph, begin) for d, n in enumerate(group)])
            for first in range(0, len(betas) - 1, LOOK):
                part = betas[first : first + LOOK + 1]
                walks = self._together([partial(self.walk, at, part, first) for at in walks])
                if self.work.watch is not None:
                    self.work.watch((done + (first + len(part) - 1) / (len(betas) - 1)) / len(groups))
            weights += [walk.total.cpu() for walk in walks]
            ends += [{name: value.cpu() for name, value in walk.state.items()} for walk in walks]
        return torch.cat(weights), {name: torch.cat([end[name] for end in ends]) for name in self.path.kept}

    def _groups(self, count: int) -> Iterator[list[Tensor]]:
        """The units, as many together as there are devices."""
        size = max(1, min(self.work.unit, CELLS // max(self.path.numbers, 1)))
        units = torch.arange(count).split(size)
        for first in range(0, len(units), len(self.work.devices)):
            yield list(units[first : first + len(self.work.devices)])

    def _together(self, jobs: Sequence[Callable[[], _Walk]]) -> list[_Walk]:
        """What the jobs give, each in a thread of its own where there are several."""

        def quietly(job: Callable[[], _Walk]) -> _Walk:
            with torch.no_grad():
                return job()

        def run() -> list[_Walk]:
            if len(jobs) == 1:
                return [quietly(jobs[0])]
            with ThreadPoolExecutor(len(jobs)) as pool:
                return list(pool.map(quietly, jobs))

        return located(self.path.graph.model.span, run)

    # ---- what graphs take

    def _graph(self, device: int, name: str) -> Split:
        """A graph on a device, a copy for each."""
        if (device, name) not in self._graphs:
            mine = duplicate(self.path.graphs()[name])
            mine.place(self.work.devices[device])
            self._graphs[device, name] = mine
        return self._graphs[device, name]

    def _inputs(self, device: int, numbers: Tensor, dtype: torch.dtype) -> dict[str, Tensor]:
        """What does not change along the path, for chains of those numbers."""
        place = self.work.devices[device]
        if (device, dtype) not in self._fixed:
            found = {name: value.detach().to(place, dtype) for name, value in self.params.items()}
            found |= {f"base.{name}": value.to(place, dtype) for name, value in self.base.items()}
            self._fixed[device, dtype] = found
        rows = numbers // self.each
        own = {f"clamped.{name}": value[rows.to(value.device)].to(place, dtype) for name, value in self.rows.items()}
        return {**self._fixed[device, dtype], **own, "blank": torch.zeros(len(numbers), 1, dtype=dtype, device=place)}


def duplicate(graph: Split) -> Split:
    """A copy whose constants can be moved by themselves."""

    def of(module: fx.GraphModule) -> fx.GraphModule:
        return copy(module)

    return Split(graph.raw, graph.whole, of(graph.once), of(graph.each))


def base_fields(path: Annealing, data: Examples | None) -> dict[str, Tensor]:
    """b0 of each variable, float64 `[size]`: the field at which its mean is that of the data, with 5 % of the mean at rest mixed in.

    A Bernoulli site that is never on in the data so has a base rate of 2.5 %, and no site is so sure of itself at the base that the model could not disagree. Latent
    variables, and those without data, are at rest: uniform if discrete.
    """
    found = {}
    for variable in path.graph.variables:
        kind = family(variable)
        rest = torch.full((variable.size,), kind.rest, dtype=torch.float64)
        found[variable.name] = rest
        if data is None or variable.name not in data.variables:
            continue
        mean = data.mean(variable.name).cpu()
        if not bool(mean.isnan().any()):
            at_rest = kind.mean(rest.unsqueeze(0))[0]
            found[variable.name] = kind.bias_for((1 - SMOOTHING) * mean + SMOOTHING * at_rest)
    return found
