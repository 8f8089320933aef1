"""The variational lower bound of a model with `->` edges, by the law that its `~>` edges draw from.

log p(v) >= E_q[log p*(v, r) - log q(r | v)] - log Z, where r is what `~>` edges draw given v and log p*(v, r) sums all other latent variables out in closed form: for a deep
belief network E_q[log p(v | h1) - F(h1)] + H(q) - log Z of the top (Hinton, Osindero and Teh, Neural Computation 18, 2006).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gmc.compiler.draws import row_keys
from gmc.compiler.graph import family
from gmc.compiler.recognition import Recognition, build_recognition
from gmc.compiler.region import Region
from gmc.runtime.blame import located
from gmc.runtime.evaluations.method import Task
from gmc.runtime.exact import TooLarge, check
from gmc.runtime.likelihood import Likelihood
from gmc.runtime.missing import patterns

EXACT_BITS = 10.0
"""Bits of states of what `~>` edges draw up to which the expectation under q is summed exactly, in each row."""
REST_BITS = 10.0
"""Bits of states of the other latent variables that are summed for each row and state, at most."""
PART = 1 << 14
"""Pairs of a row and a state that are evaluated at once."""


@dataclass(frozen=True, slots=True)
class Expected:
    """E_q[log p*(v, r) - log q(r | v)] of each row, float64 `[rows]`, how it was taken, and whether exactly."""

    values: Tensor
    how: str
    exact: bool


def expected(task: Task, numbers: Tensor, samples: int) -> Expected:
    """Of those rows; what a row lacks is summed out. Summed exactly where q has few states in all rows, else the mean over that many draws of each row.

    Raises:
        TooLarge: nothing draws some variable, or what is left of the latent variables does not sum out.
    """
    device = task.work().devices[0]
    params = {name: value.detach().to(device, torch.float64) for name, value in task.params.items()}
    held = Likelihood(task.compiled, params)
    values = torch.empty(len(numbers), dtype=torch.float64)
    whole = {name: Region.whole_of(task.compiled.checked.model.variable(name)) for name in task.data.variables}
    names = ", ".join(region.name for region in build_recognition(task.compiled.graph, whole).drawn)
    exact = True
    step = max(1, PART // max(samples, 1))
    for first in range(0, len(numbers), step):
        batch = task.data.batch(numbers[first : first + step], 0)
        for here, regions in patterns(batch, task.compiled.checked.model):
            rows = {name: batch[name][here.to(batch[name].device)].to(device, torch.float64) for name in regions}
            law = _Law(task, held, params, build_recognition(task.compiled.graph, regions), regions, device)
            exact &= law.bits <= EXACT_BITS
            summed = law.bits <= EXACT_BITS
            at = numbers[first : first + step][here]
            values[here + first] = (law.sum(rows) if summed else law.sample(rows, at, samples)).cpu()
        if task.watch is not None:
            task.watch(min(1.0, (first + step) / len(numbers)))
    how = f"{names or 'nothing'} by `~>` edges, " + ("all states summed" if exact else f"{samples} draws of each row")
    return Expected(values, how, exact)


@dataclass(frozen=True, slots=True)
class _Law:
    """q given rows of one pattern of what is observed."""

    task: Task
    held: Likelihood
    params: Mapping[str, Tensor]
    q: Recognition
    regions: Mapping[str, Region]
    device: torch.device

    def __post_init__(self) -> None:
        if self.q.refusal is not None:
            raise TooLarge(self.q.refusal)
        check(self.held.marginals.given({**self.regions, **self._whole}), REST_BITS)
        for graph in (self.q.draw, self.q.log_q):
            graph.place(self.device)

    @property
    def _whole(self) -> dict[str, Region]:
        """What is known once q has drawn; the rest of a variable that is observed in part is among it."""
        return {region.name: Region.whole_of(region.variable) for region in self.q.drawn}

    @property
    def bits(self) -> float:
        """Of the states of what q draws; infinite where these cannot be listed."""
        states = [(region.sites.size, region.variable.family.states) for region in self.q.drawn]
        return sum((size * math.log2(count) if count else math.inf for size, count in states), 0.0)

    def sum(self, rows: Mapping[str, Tensor]) -> Tensor:
        """The expectation over all states, `[rows]`."""
        states = all_states(self.q.drawn, self.device)
        count, each = _rows(rows), next((s.shape[0] for s in states.values()), 1)
        step = max(1, PART // each)
        found = []
        for first in range(0, count, step):
            some = {name: value[first : first + step].repeat_interleave(each, 0) for name, value in rows.items()}
            n = min(step, count - first)
            listed = {name: value.repeat(n, 1) for name, value in states.items()}
            minus, log_q = self._terms(some, listed, n * each)
            found.append((log_q.exp() * (minus - log_q)).reshape(n, each).sum(1))
        return torch.cat(found)

    def sample(self, rows: Mapping[str, Tensor], numbers: Tensor, samples: int) -> Tensor:
        """The mean over draws of each row, `[rows]`; the draws of a row are the same in whatever batch."""
        count = _rows(rows)
        some = {name: value.repeat_interleave(samples, 0) for name, value in rows.items()}
        of = (numbers[:, None] * samples + torch.arange(samples)).flatten().to(self.device)
        keys = row_keys(self.task.seed, "bound/recognition", of)
        inputs = {**self._inputs(some, count * samples), "key": keys, "sweep": 0}
        states: dict[str, Tensor] = located(self.task.span, lambda: self.q.draw(inputs))
        minus, log_q = self._terms(some, states, count * samples)
        return (minus - log_q).reshape(count, samples).mean(1)

    def _inputs(self, rows: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
        """The inputs of both graphs but for draws and states."""
        found = dict(self.params)
        for name, region in self.regions.items():
            columns = torch.from_numpy(region.columns).to(self.device)
            found[f"clamped.{name}"] = rows[name][:, columns]
        found["blank"] = torch.zeros(count, 1, dtype=torch.float64, device=self.device)
        return found

    def _terms(self, rows: Mapping[str, Tensor], states: Mapping[str, Tensor], count: int) -> tuple[Tensor, Tensor]:
        """log p*(v, r) and log q(r | v) of each row with its states, float64 `[count]` each."""
        inputs = {**self._inputs(rows, count), **{f"state.{name}": value for name, value in states.items()}}
        log_q: Tensor = located(self.task.span, lambda: self.q.log_q(inputs))
        known = {name: value.clone() for name, value in rows.items()}
        for region in self.q.drawn:
            value = known.get(region.name, torch.full((count, region.variable.size), torch.nan, dtype=torch.float64))
            value[:, torch.from_numpy(region.columns)] = states[region.name].to(value)
            known[region.name] = value
        return self.held.unnormalised(known), log_q


def all_states(regions: Sequence[Region], device: torch.device) -> dict[str, Tensor]:
    """Every joint state of finite regions: statistics `[states, region.size]` by variable."""
    tables = [family(region.variable).values() for region in regions for _ in range(region.sites.size)]
    places = torch.cartesian_prod(*(torch.arange(len(table)) for table in tables)) if tables else torch.zeros(1, 0)
    places = places.reshape(-1, len(tables)).to(torch.int64)
    columns = [table[places[:, n]] for n, table in enumerate(tables)]
    found, first = {}, 0
    for region in regions:
        size = int(region.sites.size)
        found[region.name] = torch.cat(columns[first : first + size], 1).to(device)
        first += size
    return found


def _rows(rows: Mapping[str, Tensor]) -> int:
    return next(iter(rows.values())).shape[0]
