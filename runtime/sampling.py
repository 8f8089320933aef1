"""Samples: the values of chains of a trained model, at once, in parts, or averaged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count, islice
from typing import TypeVar

import torch
from torch import Tensor

from gmc.compiler.emission import Want
from gmc.compiler.graph import family
from gmc.compiler.outcome import Outcome
from gmc.dsl.model import Variable
from gmc.dsl.source import Span
from gmc.runtime.blame import located
from gmc.runtime.replicas import replicas
from gmc.runtime.request import Request

T = TypeVar("T")
CELLS = 1 << 21
"""Numbers in the states of chains that run together, at most, so that memory does not grow with their count."""
HELD = 1 << 22
"""Numbers in the kept sweeps that a part holds, about."""
MOST, LEAST = 8192, 256
"""Chains that run together: no more than the first, and, for the sake of what their kept sweeps need, no fewer than the second."""
LOOK = 25
"""Sweeps between two looks at how far a long run is."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Values of every variable as after the last sweep, `[chains, *shape]`, or, where `every` was given, after each that is kept, `[chains, kept, *shape]`.

    `means` are those of the statistics with the block that was drawn last replaced by its mean given the rest: probabilities for discrete variables
    (`[.., *shape, k]` for a categorical), the mean of x for a normal; for chains with `update mean` they are the mean-field means.
    `sweeps` are the numbers of the sweeps that are kept (0: pass 0 alone). Of a chain with gates `measured` has what each condition came to, by its text such as
    `surprise(v)`, and `open` whether each gate was open, by its text such as `surprise(v) > 0.5`, as a sweep that is kept started: both `[chains]` or `[chains, kept]`.
    `notes`: of a chain that stops by itself how many `sweeps` each took, and the largest `change` of a number in its last one, in the same shapes; of a tempered chain which moves were
    `accepted` in the sweeps that are kept, 0 or 1, with a last axis for the pairs of neighbouring temperatures.
    """

    chain: str
    seed: int
    values: dict[str, Tensor]
    means: dict[str, Tensor]
    sweeps: tuple[int, ...] = ()
    measured: dict[str, Tensor] = field(default_factory=dict)
    open: dict[str, Tensor] = field(default_factory=dict)
    notes: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the samples of a stream: those of chains numbered from `first`, and of kept sweeps from the one at `position`, both counted from 0."""

    first: int
    position: int
    samples: Samples


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """Samples in parts, chains after chains and in these sweeps after sweeps; a part takes little memory however many there are.

    `chains` and `kept` are the counts in all; `kept` is None where the last sweep is kept alone and has no axis. Each time it is gone through, the
    chains run anew, and the same. `watch` is told how much of the work is done, from 0 to 1.
    """

    request: Request
    kept: int | None
    means: bool = True
    together: int | None = None
    watch: Callable[[float], None] | None = None

    @property
    def chains(self) -> int:
        """How many chains there are."""
        return self.request.count

    @property
    def name(self) -> str:
        """The chain's name."""
        return self.request.chain.name

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The variables that have values, all of the model."""
        return self.request.compiled.checked.model.variables

    def __iter__(self) -> Iterator[Part]:
        each = replicas(self.request.chain)
        across = self.together or max(1, chains_together(self.variables, self.kept or 1) // each)
        for first in range(0, self.chains, across):
            yield from self._parts(first, min(across, self.chains - first))

    def _parts(self, first: int, across: int) -> Iterator[Part]:
        """The parts of some chains: as many kept sweeps in each as may be held."""
        course = self.request.course
        size = sum(v.size for v in self.variables)
        deep = max(1, HELD // (across * max(1, size)))
        every = course.every if self.kept is not None else _looks(course.sweeps, self.watch is not None)
        want: tuple[Want, ...] = ("state", "value", "mean") if self.means else ("state", "value")
        begin = partial(self.request.trace, first, across, every, course.burn, want)
        held: list[Samples] = []
        position = 0
        for number, outcome in steps(self.request.compiled.checked.model.span, begin):
            self._tell(first, across, number)
            if self.kept is None:
                if number == course.sweeps:
                    yield Part(first, 0, self._samples(outcome, number))
                continue
            held.append(self._samples(outcome, number))
            if len(held) == deep or number == course.sweeps:
                yield Part(first, position, _stacked(held))
                position += len(held)
                held.clear()

    def _tell(self, first: int, across: int, number: int) -> None:
        if self.watch is not None:
            self.watch((first + across * number / max(1, self.request.course.sweeps)) / self.chains)

    def _samples(self, outcome: Outcome, number: int) -> Samples:
        values, means = {}, {}
        for variable in self.variables:
            kind, end = family(variable), outcome.value[variable.name]
            smooth = self.request.chain.update == "mean" and kind.width == 1
            values[variable.name] = (kind.decode_mean if smooth else kind.decode)(end, variable.shape)
            if self.means:
                means[variable.name] = kind.decode_mean(outcome.mean[variable.name], variable.shape)
        measured, opened = dict(outcome.measured), dict(outcome.open)
        notes = {"sweeps": outcome.sweeps, "change": outcome.change, "accepted": outcome.accepted}
        found = {name: x for name, x in notes.items() if x is not None}
        return Samples(self.name, self.request.seed, values, means, (number,), measured, opened, found)


def collect(stream: Stream, parts: Iterable[Part]) -> Samples:
    """All samples of a stream at once, of its parts as they come."""
    found = Samples(stream.name, stream.request.seed, {}, {}, _numbers(stream))
    for part in parts:
        for whole, piece in _pairs(found, part.samples):
            for key, value in piece.items():
                if key not in whole:
                    rest = value.shape[1:] if stream.kept is None else (stream.kept, *value.shape[2:])
                    room = partial(torch.empty, (stream.chains, *rest), dtype=value.dtype, device=value.device)
                    whole[key] = located(stream.request.compiled.checked.model.span, room)
                at = slice(part.first, part.first + value.shape[0])
                if stream.kept is None:
                    whole[key][at] = value
                else:
                    whole[key][at, part.position : part.position + value.shape[1]] = value
    return found


def average(request: Request) -> dict[str, Tensor]:
    """Mean values of every variable over the kept sweeps, `[chains, *shape]`, of a categorical probabilities `[chains, *shape, k]`.

    Each site enters a sweep by its mean given the rest at the moment when it was drawn (Rao-Blackwell), a clamped one by its value.
    """
    variables = request.compiled.checked.model.variables
    across = max(1, chains_together(variables, 1) // replicas(request.chain))
    parts = [
        smoothed(request, first, min(across, request.count - first), [v.name for v in variables])
        for first in range(0, request.count, across)
    ]
    return {
        v.name: family(v).decode_mean(torch.cat([part[v.name] for part in parts]).to(request.run.dtype), v.shape)
        for v in variables
    }


def smoothed(request: Request, first: int, across: int, names: Sequence[str]) -> dict[str, Tensor]:
    """Mean statistics over the kept sweeps of some chains, float64 `[chains, size]`, by variable."""
    course = request.course
    total: dict[str, Tensor] = {}
    begin = partial(request.trace, first, across, course.every, course.burn, ("state", "smooth"))
    for _, outcome in steps(request.compiled.checked.model.span, begin):
        for name in names:
            add = outcome.smooth[name].to(torch.float64)
            total[name] = total[name] + add if name in total else add
    return {name: value / course.count for name, value in total.items()}


def chains_together(variables: Sequence[Variable], kept: int) -> int:
    """How many chains run at once, the same on every machine: products of other shapes may round otherwise in the last place."""
    size = max(1, sum(v.size for v in variables))
    most = max(1, min(MOST, CELLS // size))
    return max(min(LEAST, most), min(most, HELD // (kept * size)))


def steps(model: Span, begin: Callable[[], Iterator[T]]) -> Iterator[T]:
    """What an iteration over graphs gives; where a graph fails, the iteration is begun again to find the line of the file (see `located`).

    Raises:
        GmcError: a node of a graph failed.
    """
    running = begin()

    def once(position: int) -> Callable[[], list[T]]:
        """Gives the next one, or none in the end; called again, which is after a failure, the one at its place in another iteration."""
        ways = iter((lambda: running, lambda: islice(begin(), position, None)))

        def step() -> list[T]:
            return list(islice(next(ways)(), 1))

        return step

    for position in count():
        found = located(model, once(position))
        if not found:
            return
        yield found[0]


def _looks(sweeps: int, watched: bool) -> int:
    """From one look at a run of which only the end is kept to the next."""
    return max(LOOK, -(-sweeps // 20)) if watched else max(1, sweeps)


def _numbers(stream: Stream) -> tuple[int, ...]:
    course = stream.request.course
    return (course.sweeps,) if stream.kept is None else tuple(map(course.number, range(stream.kept)))


def _pairs(whole: Samples, part: Samples) -> tuple[tuple[dict[str, Tensor], dict[str, Tensor]], ...]:
    return (
        (whole.values, part.values),
        (whole.means, part.means),
        (whole.measured, part.measured),
        (whole.open, part.open),
        (whole.notes, part.notes),
    )


def _stacked(held: Sequence[Samples]) -> Samples:
    """Kept sweeps, one after the other along a second axis."""

    def along(pick: Callable[[Samples], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        return {name: torch.stack([pick(s)[name] for s in held], 1) for name in pick(held[0])}

    return Samples(
        held[0].chain,
        held[0].seed,
        along(lambda s: s.values),
        along(lambda s: s.means),
        tuple(s.sweeps[0] for s in held),
        along(lambda s: s.measured),
        along(lambda s: s.open),
        along(lambda s: s.notes),
    )
