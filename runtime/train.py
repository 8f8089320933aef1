"""Training: the stages of a file, step by step, resumable at every step to the same bytes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gmc.compiler.driver import Compiled
from gmc.compiler.outcome import Outcome
from gmc.dsl.diagnostic import GmcError
from gmc.dsl.model import Minimize, Stage
from gmc.dsl.vocabulary import MetricWord
from gmc.runtime import run_errors
from gmc.runtime.best import Best
from gmc.runtime.blame import located
from gmc.runtime.dataset import order
from gmc.runtime.engine import Engine, Kept, Rows
from gmc.runtime.exact import Marginals
from gmc.runtime.examples import Examples
from gmc.runtime.missing import refuse_training_gaps
from gmc.runtime.step import Place, TrainingStep, Works, wanted
from gmc.runtime.stepping import Stepping


@dataclass(slots=True)
class Cursor:
    """Where training stands: the next step is step `step` of epoch `epoch` of stage `stage`.

    The epochs of a stage that goes through several phases are numbered through.
    """

    stage: int = 0
    epoch: int = 0
    step: int = 0
    updates: int = 0


@dataclass(frozen=True, slots=True)
class EpochReport:
    """The end of an epoch: mean losses by objective, the metrics that were watched, and why the stage goes no further, where it stops early."""

    stage: str
    epoch: int
    updates: int
    values: Mapping[str, float]
    stopped: str | None = None


@dataclass(slots=True)
class Losses:
    """Sums of losses in the epoch that runs, on the device, and how many were added."""

    total: dict[str, Tensor] = field(default_factory=dict)
    count: int = 0

    def add(self, name: str, loss: Tensor) -> None:
        """Adds a step's loss, without waiting for it."""
        self.total[name] = self.total[name] + loss if name in self.total else loss


class Trainer:
    """Trains a compiled model's parameters in place."""

    def __init__(self, compiled: Compiled, train: Examples, params: dict[str, Tensor], seed: int) -> None:
        refuse_training_gaps(compiled.checked, train)
        self.compiled, self.train, self.params, self.seed = compiled, train, params, seed
        self.cursor, self.losses = Cursor(), Losses()
        self.descents = {o.name: compiled.descents(o.name) for o in compiled.checked.objectives}
        engine = Engine(compiled, params, seed, "train", wanted(compiled, self.descents))
        self.works = Works(engine, Marginals(compiled))
        self.stepping, self.best = Stepping(compiled, train, params), Best()
        self.memories: dict[str, dict[str, Tensor]] = {}
        for descent in (d for terms in self.descents.values() for d in terms):
            for module in descent.graphs.values():
                module.to(engine.device)
        self._last: dict[str, Tensor] = {}
        self._order: tuple[tuple[str, int], Tensor] | None = None

    @property
    def engine(self) -> Engine:
        """What runs the model's chains."""
        return self.works.engine

    @property
    def stage(self) -> Stage:
        """The stage that runs."""
        return self.compiled.checked.stages[self.cursor.stage]

    @property
    def done(self) -> bool:
        """Whether all stages have run."""
        return self.cursor.stage >= len(self.compiled.checked.stages)

    def phases(self, stage: Stage) -> int:
        """How many times over a stage runs its epochs."""
        return max(d.phases for line in stage.minimize for d in self.descents[line.objective])

    def length(self, stage: Stage) -> int:
        """The epochs of a stage, all phases together."""
        return stage.epochs * self.phases(stage)

    def steps(self, stage: Stage) -> int:
        """Steps in an epoch; the last batch may be smaller."""
        return math.ceil(self.train.rows / stage.batch)

    def advance(self, watch: Callable[[Stage], Mapping[str, float]]) -> Iterator[EpochReport | None]:
        """Runs to the end, yielding None after each step and a report after each epoch's last.

        Raises:
            GmcError: a loss or a parameter is no longer finite.
        """
        while not self.done:
            stage = self.stage
            while self.cursor.epoch < self.length(stage):
                while self.cursor.step < self.steps(stage):
                    located(self.compiled.checked.model.span, partial(self._step, stage))
                    self.cursor.step += 1
                    self.cursor.updates += 1
                    if self.cursor.step < self.steps(stage):
                        yield None
                yield self._end_epoch(stage, watch)
            self.cursor.stage, self.cursor.epoch = self.cursor.stage + 1, 0

    @property
    def epochs(self) -> int:
        """Epochs of all stages so far, the one that runs not counted: what data that are drawn afresh go by."""
        before = self.compiled.checked.stages[: self.cursor.stage]
        return sum(self.length(stage) for stage in before) + self.cursor.epoch

    def _end_epoch(self, stage: Stage, watch: Callable[[Stage], Mapping[str, float]]) -> EpochReport:
        self.refuse_diverged()
        self.cursor.epoch, self.cursor.step = self.cursor.epoch + 1, 0
        # as the stage has them: those of a checkpoint come back in another order
        names = dict.fromkeys(line.objective for line in stage.minimize)
        values = {name: float(self.losses.total[name]) / self.losses.count for name in names}
        self.losses = Losses()
        epoch, stopped = self.cursor.epoch, None
        if stage.watch and epoch % stage.every == 0:
            measured = watch(stage)
            values |= measured
            stopped = self._look(stage, measured)
        if stopped is not None or epoch % stage.epochs == 0:
            self._end_phase(stage)
        return EpochReport(stage.name, epoch, self.cursor.updates, values, stopped)

    def _look(self, stage: Stage, measured: Mapping[str, float]) -> str | None:
        """Notes the first watched metric; why the phase goes no further, if its time has come."""
        metric: MetricWord = stage.watch[0]
        name = metric.label
        if stage.stop is None or name not in measured:
            return None
        best = self.best
        best.look(measured[name], metric.better, self.cursor.epoch, self.shown)
        if not stage.stop.stops(best.looks, best.at):
            return None
        if not best.at:
            return f"{name} was not finite in {best.looks} looks"
        return f"{name} was no better in {best.looks - best.at} looks than {best.value:.6g} after epoch {best.epoch}"

    def _end_phase(self, stage: Stage) -> None:
        """Goes on from the best parameters, or the averages, as if the phase had run to its end: the next one, or the next stage, descends something else."""
        if stage.stop is not None:
            self._last = {name: value.clone() for name, value in self.shown.items()}
        self.stepping.adopt(self.result)
        self.best = Best()
        self.cursor.epoch = math.ceil(self.cursor.epoch / stage.epochs) * stage.epochs

    @property
    def shown(self) -> Mapping[str, Tensor]:
        """What is watched: the parameters, or their averages where an optimiser keeps any. Not to be changed."""
        return self.stepping.shown

    @property
    def result(self) -> Mapping[str, Tensor]:
        """What the training has come to: the best parameters of a phase that looks for them, else those that are shown. Not to be changed."""
        return self.best.params if self.best.at else self.shown

    @property
    def last(self) -> Mapping[str, Tensor] | None:
        """The last parameters of a stage that keeps its best ones, until the first step of the next stage; None in other stages."""
        if self._last:
            return self._last
        return self.shown if not self.done and self.stage.stop is not None else None

    def refuse_diverged(self) -> None:
        """What must hold of a state that is worth keeping.

        Raises:
            GmcError: a loss of the epoch or a parameter is no longer finite.
        """
        if self.done:
            return
        broken = [name for name, p in self.params.items() if not bool(torch.isfinite(p).all())]
        if broken or not all(math.isfinite(float(total)) for total in self.losses.total.values()):
            raise GmcError([run_errors.diverged(self.stage.span, self.stage.name, self.cursor.epoch + 1, broken)])

    def _step(self, stage: Stage) -> None:
        """All minimize lines of a stage on one batch."""
        self._last = {}
        rows = self._rows(stage)
        batch = self.train.batch(rows.to(self.engine.device), self.epochs)
        about = Rows(batch, rows.shape[0], rows, self.train.rows)
        place = self._place(stage)
        for number, line in enumerate(stage.minimize):
            for again in range(line.times):
                gradients = self._descend(line, about, replace(place, again=again))
                self.stepping.step(stage, number, gradients, place.progress)
                for descent in self.descents[line.objective]:
                    descent.tie(place.phase, self.params, self.stepping.names(stage, number))
                self.stepping.average(stage, number)
        self.losses.count += 1

    def _place(self, stage: Stage) -> Place:
        """Where the stage stands."""
        phase, epoch = divmod(self.cursor.epoch, stage.epochs)
        total = self.steps(stage) * stage.epochs
        at = epoch * self.steps(stage) + self.cursor.step
        return Place(self.cursor.updates, at / (total - 1) if total > 1 else 0.0, phase)

    def _descend(self, line: Minimize, about: Rows, place: Place) -> dict[str, Tensor]:
        """The gradient of a line's objective on a batch, for the parameters that it takes; its loss is noted."""
        terms = self.compiled.checked.objective(line.objective).terms
        ended: dict[str, Outcome] = {}
        loss = torch.zeros((), dtype=torch.float64, device=self.engine.device)
        gradients: dict[str, Tensor] = {}
        for number, (term, descent) in enumerate(zip(terms, self.descents[line.objective], strict=True)):
            name = f"{line.objective}.{number}"
            memory = self.memories.setdefault(name, {})
            step = TrainingStep(self.works, about, place, name, memory, ended)
            weight = term.weight.at(place.progress)
            found = descent.slope(step)
            loss = loss + weight * found.loss
            if descent.centring is not None:
                self.stepping.centred.follow(line.objective, descent.centring, found.means)
            for parameter, value in found.gradient.items():
                share = value if weight == 1.0 else value * weight
                gradients[parameter] = gradients[parameter] + share if parameter in gradients else share
        self.losses.add(line.objective, loss / line.times)
        return gradients

    def _rows(self, stage: Stage) -> Tensor:
        """The numbers of the step's rows: each epoch is a permutation of all, by the seed, the stage and the epoch."""
        at = (stage.name, self.cursor.epoch)
        if self._order is None or self._order[0] != at:
            self._order = (at, order(self.train.rows, self.seed, stage.name, self.cursor.epoch))
        first = self.cursor.step * stage.batch
        return self._order[1][first : first + stage.batch]

    def state(self) -> dict[str, Tensor]:
        """All tensors that a resumed training needs, by name; the parameters among them."""
        tensors = {f"parameter/{name}": value for name, value in self.params.items()}
        tensors |= self.stepping.state()
        tensors |= {f"best/{name}": value for name, value in self.best.params.items()}
        tensors |= {f"last/{name}": value for name, value in self._last.items()}
        tensors |= {f"loss/{name}": value for name, value in self.losses.total.items()}
        for name, memory in self.memories.items():
            tensors |= {f"memory/{name}:{key}": value for key, value in memory.items()}
        for name, kept in self.works.kept().items():
            tensors |= {f"chain/{name}:{variable}": value for variable, value in kept.states.items()}
            if kept.born is not None:
                tensors[f"born/{name}"] = kept.born
        return tensors

    def counters(self) -> dict[str, object]:
        """All numbers that a resumed training needs."""
        turns = {name: kept.turn for name, kept in self.works.kept().items()}
        best = self.best.counters()
        return {"cursor": asdict(self.cursor), "steps": self.losses.count, "turns": turns, "best": best}

    def restore(self, tensors: Mapping[str, Tensor], counters: Mapping[str, Any]) -> None:
        """Goes on from what `state` and `counters` gave."""
        device = self.engine.device
        self.cursor = Cursor(**counters["cursor"])
        self.losses.count = counters["steps"]
        chains = {name: Kept(turn=turn) for name, turn in counters["turns"].items()}
        best, steps = dict[str, Tensor](), dict[str, Tensor]()
        for key, value in tensors.items():
            kind, _, name = key.partition("/")
            owner, _, slot = name.rpartition(":")
            if kind == "parameter":
                self.params[name].copy_(value)
            elif kind == "loss":
                self.losses.total[name] = value.to(device)
            elif kind == "born":
                chains[name].born = value
            elif kind == "chain":
                chains[owner].states[slot] = value.to(device)
            elif kind == "memory":
                self.memories.setdefault(owner, {})[slot] = value.to(device)
            elif kind in {"best", "last"}:
                (best if kind == "best" else self._last)[name] = value.to(device)
            else:
                steps[key] = value
        self.best = Best.of(counters["best"], best)
        self.stepping.restore(None if self.done else self.stage, steps)
        self.works.restore(chains)
