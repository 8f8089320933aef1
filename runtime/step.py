"""A step of training, as an objective's terms see it: chains that run once, exact sums, keys for draws, and what is kept from step to step."""

from __future__ import annotations

from collections.abc import Collection, Mapping, MutableMapping
from dataclasses import dataclass, field
from itertools import chain as chained

import torch
from torch import Tensor

from gmc.compiler.draws import row_keys
from gmc.compiler.driver import Compiled
from gmc.compiler.emission import Want
from gmc.compiler.objective import Descent
from gmc.compiler.outcome import Outcome, States, Sum
from gmc.dsl.diagnostic import GmcError
from gmc.runtime import run_errors
from gmc.runtime.engine import Engine, Kept, Rows
from gmc.runtime.exact import Marginals, TooLarge
from gmc.runtime.missing import conditioned


@dataclass(frozen=True, slots=True)
class Place:
    """Where training stands at a step: `updates` steps were done before it, `progress` in [0, 1] of the stage's phase `phase`; a line that is descended several times is so for the `again`th."""

    updates: int
    progress: float
    phase: int
    again: int = 0


@dataclass(slots=True)
class Works:
    """What runs the chains of a model and sums over its states; the works of other models that its objectives train with are `inner`, by name."""

    engine: Engine
    marginals: Marginals
    inner: dict[str, Works] = field(default_factory=dict)
    waiting: dict[str, Kept] = field(default_factory=dict)

    def within(
        self, name: str, compiled: Compiled, params: Mapping[str, Tensor], wants: Mapping[str, Collection[Want]]
    ) -> Works:
        """The works of another model under a name, of whose chains `wants` is read; its parameters may change from step to step."""
        if name not in self.inner:
            stream = f"{self.engine.stream}/{name}"
            engine = Engine(compiled, params, self.engine.seed, stream, needed(compiled, wants))
            self.inner[name] = Works(engine, Marginals(compiled))
            self.inner[name].restore(_below(self.waiting, name))
            self.waiting = {key: each for key, each in self.waiting.items() if not _belongs(key, name)}
        found = self.inner[name]
        found.engine.params = params
        return found

    def restore(self, kept: Mapping[str, Kept]) -> None:
        """Goes on from what `kept` gave; the states of inner models wait until these are made."""
        self.engine.kept = {name[1:]: each for name, each in kept.items() if name.startswith(":")}
        self.waiting = {name: each for name, each in kept.items() if not name.startswith(":")}

    def kept(self) -> dict[str, Kept]:
        """The states of all chains that keep any, as `MODEL:CHAIN`; the model itself is called ``, inner ones by their names joined by `/`."""
        found = self.waiting | {f":{chain}": each for chain, each in self.engine.kept.items()}
        for name, works in self.inner.items():
            found |= {f"{name}{'' if key.startswith(':') else '/'}{key}": each for key, each in works.kept().items()}
        return found


@dataclass(slots=True)
class TrainingStep:
    """A step of training on some rows: the `gmc.compiler.objective.Step` of one term.

    `ended` is shared by the terms of a line, so that a chain that several of them read is run once.
    """

    works: Works
    about: Rows
    place: Place
    name: str
    memory: MutableMapping[str, Tensor]
    ended: dict[str, Outcome]

    @property
    def params(self) -> Mapping[str, Tensor]:
        """The parameters by name."""
        return self.works.engine.params

    @property
    def rows(self) -> States:
        """Whole statistics of the rows."""
        return self.about.values

    @property
    def count(self) -> int:
        """How many rows there are."""
        return self.about.count

    @property
    def dtype(self) -> torch.dtype:
        """That of the chains."""
        return self.works.engine.dtype

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.works.engine.device

    @property
    def progress(self) -> float:
        """Where the phase stands, in [0, 1]."""
        return self.place.progress

    @property
    def phase(self) -> int:
        """The number of the phase."""
        return self.place.phase

    def run(self, chain: str) -> Outcome:
        """How a chain ends on the rows."""
        if chain not in self.ended:
            self.works.engine.progress = self.progress
            self.works.engine.run(chain, self.about, ended=self.ended)
        return self.ended[chain]

    def unrolled(self, chain: str, params: Mapping[str, Tensor], rows: States) -> Outcome:
        """A chain's run on other rows, with gradients by `params`."""
        self.works.engine.progress = self.progress
        about = Rows(rows, self.about.count, self.about.numbers, self.about.of)
        return self.works.engine.run(chain, about, params=params, differentiate=True)

    def conditioned(self, chain: str) -> dict[str, Tensor]:
        """What a chain clamps in each row, NaN where it clamps nothing."""
        compiled = self.works.engine.compiled
        schedule = compiled.schedules[chain]
        held = self.works.engine.held(chain, self.about)
        return conditioned(compiled.checked.model, schedule.chain, schedule.clamped, held, self.about.values)

    def log_partition(self, given: States, chain: str | None = None) -> Sum:
        """log Z given whole statistics, with its gradient.

        Raises:
            GmcError: it has too many states.
        """
        try:
            count = next((value.shape[0] for value in given.values()), 1)
            return self.works.marginals.log_partition(self.params, given, count, gradient=True)
        except TooLarge as error:
            checked = self.works.engine.compiled.checked
            span = checked.model.span if chain is None else checked.chain(chain).span
            raise GmcError([run_errors.too_large(span, str(error))]) from None

    def keys(self, purpose: str) -> tuple[Tensor, int]:
        """Keys by row, and a sweep number of this step alone."""
        engine = self.works.engine
        numbers = torch.arange(self.count) if self.about.numbers is None else self.about.numbers
        stream = f"{engine.stream}/{self.name}/{purpose}" + (f"/{self.place.again}" if self.place.again else "")
        return row_keys(engine.seed, stream, numbers.to(engine.device)), self.place.updates

    def inside(
        self,
        name: str,
        compiled: Compiled,
        params: Mapping[str, Tensor],
        rows: States,
        wants: Mapping[str, Collection[Want]],
    ) -> TrainingStep:
        """A step of another model on the same rows."""
        works = self.works.within(f"{self.name}/{name}", compiled, params, wants)
        about = Rows(rows, self.about.count, self.about.numbers, self.about.of)
        return TrainingStep(works, about, self.place, name, self.memory, {})


def _belongs(key: str, name: str) -> bool:
    """Whether the states called `key` are those of a model, or of one within it."""
    return key.startswith((f"{name}:", f"{name}/"))


def _below(kept: Mapping[str, Kept], name: str) -> dict[str, Kept]:
    """What belongs to a model, named as it names it."""
    return {key[len(name) :].removeprefix("/"): each for key, each in kept.items() if _belongs(key, name)}


def wanted(compiled: Compiled, descents: Mapping[str, tuple[Descent, ...]]) -> dict[str, tuple[Want, ...]]:
    """What training asks of each chain."""
    wants: dict[str, set[Want]] = {}
    for descent in chained.from_iterable(descents.values()):
        for name, found in descent.wants.items():
            wants.setdefault(name, set()).update(found)
    return needed(compiled, wants)


def needed(compiled: Compiled, read: Mapping[str, Collection[Want]]) -> dict[str, tuple[Want, ...]]:
    """What is needed of each chain: what is read of it, whole values where another chain reads them, states where kept."""
    wants: dict[str, set[Want]] = {chain.name: set(read.get(chain.name, ())) for chain in compiled.checked.chains}
    for chain in compiled.checked.chains:
        for name in chain.needs:
            wants[name].add("value")
        if any(not isinstance(s.source, str) and s.source.keeps for s in chain.starts):
            wants[chain.name].add("state")
    return {name: tuple(found) for name, found in wants.items()}
