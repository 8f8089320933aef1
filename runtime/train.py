"""Training: the stages of a file, step by step, resumable at every step to the same bytes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gmc.compiler.driver import Compiled
from gmc.compiler.emission import Want
from gmc.compiler.emitter import inputs
from gmc.compiler.proper import build_proper
from gmc.compiler.training import Side, TrainingGraph
from gmc.dsl.diagnostic import GmcError
from gmc.dsl.model import Minimize, Stage, Term
from gmc.runtime import run_errors
from gmc.runtime.blame import located
from gmc.runtime.chains import Outcome
from gmc.runtime.dataset import order
from gmc.runtime.engine import Engine, Kept, Rows
from gmc.runtime.exact import Marginals, TooLarge
from gmc.runtime.examples import Examples
from gmc.runtime.missing import conditioned, refuse_training_gaps
from gmc.runtime.optimizer import Optimizer, Stepper


@dataclass(slots=True)
class Cursor:
    """Where training stands: the next step is step `step` of epoch `epoch` of stage `stage`."""

    stage: int = 0
    epoch: int = 0
    step: int = 0
    updates: int = 0


@dataclass(frozen=True, slots=True)
class EpochReport:
    """The end of an epoch: mean losses by objective, and the metrics that were watched."""

    stage: str
    epoch: int
    updates: int
    values: Mapping[str, float]


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
        self.graphs = {o.name: compiled.training(o.name) for o in compiled.checked.objectives}
        self.engine = Engine(compiled, params, seed, "train", _wants(compiled, self.graphs))
        self.steppers: dict[str, tuple[Stepper, set[str]]] = {}
        self.waiting: dict[str, dict[str, Tensor]] = {}
        for graph in (g for terms in self.graphs.values() for g in terms):
            graph.module.to(self.engine.device)
        self.marginals = Marginals(compiled)
        self.proper = build_proper(compiled.graph)
        self._order: tuple[tuple[str, int], Tensor] | None = None

    @property
    def stage(self) -> Stage:
        """The stage that runs."""
        return self.compiled.checked.stages[self.cursor.stage]

    @property
    def done(self) -> bool:
        """Whether all stages have run."""
        return self.cursor.stage >= len(self.compiled.checked.stages)

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
            while self.cursor.epoch < stage.epochs:
                while self.cursor.step < self.steps(stage):
                    located(self.compiled.checked.model.span, partial(self._step, stage))
                    self.cursor.step += 1
                    self.cursor.updates += 1
                    if self.cursor.step < self.steps(stage):
                        yield None
                yield self._end_epoch(stage, watch)
            self.cursor.stage, self.cursor.epoch = self.cursor.stage + 1, 0
            self.steppers, self.waiting = {}, {}

    @property
    def epochs(self) -> int:
        """Epochs of all stages so far, the one that runs not counted: what data that are drawn afresh go by."""
        return sum(s.epochs for s in self.compiled.checked.stages[: self.cursor.stage]) + self.cursor.epoch

    def _end_epoch(self, stage: Stage, watch: Callable[[Stage], Mapping[str, float]]) -> EpochReport:
        self.refuse_diverged()
        self.cursor.epoch, self.cursor.step = self.cursor.epoch + 1, 0
        # as the stage has them: those of a checkpoint come back in another order
        names = dict.fromkeys(line.objective for line in stage.minimize)
        values = {name: float(self.losses.total[name]) / self.losses.count for name in names}
        self.losses = Losses()
        if stage.watch and self.cursor.epoch % stage.every == 0:
            values |= watch(stage)
        return EpochReport(stage.name, self.cursor.epoch, self.cursor.updates, values)

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
        rows = self._rows(stage)
        batch = self.train.batch(rows.to(self.engine.device), self.epochs)
        about = Rows(batch, rows.shape[0], rows, self.train.rows)
        total = self.steps(stage) * stage.epochs
        at = self.cursor.epoch * self.steps(stage) + self.cursor.step
        progress = at / (total - 1) if total > 1 else 0.0
        self.engine.progress = progress
        for number, line in enumerate(stage.minimize):
            for _ in range(line.times):
                gradients = self._descend(line, about, progress)
                stepper, names = self._stepper(stage, number, line)
                stepper.step({name: g for name, g in gradients.items() if name in names}, progress)
                if self.proper is not None:
                    self.proper.project(self.params)
        self.losses.count += 1

    def _descend(self, line: Minimize, about: Rows, progress: float) -> dict[str, Tensor]:
        """The gradient of a line's objective on a batch, for the parameters that it takes; its loss is noted."""
        objective = self.compiled.checked.objective(line.objective)
        ended: dict[str, Outcome] = {}
        loss = torch.zeros((), dtype=torch.float64, device=self.engine.device)
        gradients: dict[str, Tensor] = {}
        for term, graph in zip(objective.terms, self.graphs[line.objective], strict=True):
            weight = term.weight.at(progress)
            found = self._term(term, graph, about, ended)
            loss = loss + weight * found[0]
            for name, value in found[1].items():
                share = value if weight == 1.0 else value * weight
                gradients[name] = gradients[name] + share if name in gradients else share
        self.losses.add(line.objective, loss / line.times)
        return gradients

    def _term(
        self, term: Term, graph: TrainingGraph, about: Rows, ended: dict[str, Outcome]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and gradient of one term."""
        values: dict[str, Tensor] = dict(self.params)
        values["blank"] = torch.zeros(1, 1, dtype=self.engine.dtype, device=self.engine.device)
        for side in graph.sides:
            name = graph.chain(side)
            if name not in ended:
                self.engine.run(name, about, ended=ended)
            values |= {f"{side}.mean.{n}": v for n, v in ended[name].mean.items()}
            values |= {f"{side}.value.{n}": v for n, v in ended[name].value.items()}
            values |= {f"{side}.spread.{n}": v for n, v in ended[name].spread.items()}
        out = graph.module(*(values[name] for name in inputs(graph.module)))
        loss, gradient = torch.as_tensor(out["loss"], dtype=torch.float64), dict(out["gradient"])
        for side in graph.exact:
            found, slope = self._exact(graph, side, about)
            sign = 1.0 if side == "negative" else -1.0
            loss = loss + sign * found
            for name, value in slope.items():
                share = (sign * value).to(self.engine.dtype)
                gradient[name] = gradient[name] + share if name in gradient else share
        return loss, gradient

    def _exact(self, graph: TrainingGraph, side: Side, about: Rows) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean log Z under an exact side, and its gradient; a row's own, where the chain clamps what is observed."""
        schedule = self.compiled.schedules[graph.chain(side)]
        held = self.engine.held(graph.chain(side), about)
        values = conditioned(self.compiled.checked.model, schedule.chain, schedule.clamped, held, about.values)
        try:
            total = self.marginals.log_partition(self.params, values, about.count if values else 1, gradient=True)
        except TooLarge as error:
            raise GmcError([run_errors.too_large(schedule.chain.span, str(error))]) from None
        return total.log_z.mean(), total.gradient

    def _rows(self, stage: Stage) -> Tensor:
        """The numbers of the step's rows: each epoch is a permutation of all, by the seed, the stage and the epoch."""
        at = (stage.name, self.cursor.epoch)
        if self._order is None or self._order[0] != at:
            self._order = (at, order(self.train.rows, self.seed, stage.name, self.cursor.epoch))
        first = self.cursor.step * stage.batch
        return self._order[1][first : first + stage.batch]

    def _stepper(self, stage: Stage, number: int, line: Minimize) -> tuple[Stepper, set[str]]:
        """What descends a line, and the parameters that it takes."""
        name = f"{stage.name}/{number}"
        if name not in self.steppers:
            names = taken(self.compiled, stage, line)
            assert isinstance(line.optimizer, Optimizer)
            decayed = {p.name for p in self.compiled.graph.parameters if p.role == "weight"}
            params = {n: self.params[n] for n in sorted(names)}
            stepper = line.optimizer.build(params, decayed & names)
            stepper.load(self.waiting.pop(name, {}))
            self.steppers[name] = (stepper, names)
        return self.steppers[name]

    def state(self) -> dict[str, Tensor]:
        """All tensors that a resumed training needs, by name; the parameters among them."""
        tensors = {f"parameter/{name}": value for name, value in self.params.items()}
        # a stepper that has not stepped since the resume still waits for its state
        slots = self.waiting | {name: stepper.state() for name, (stepper, _) in self.steppers.items()}
        for name, state in slots.items():
            tensors |= {f"optimizer/{name}:{key}": value for key, value in state.items()}
        tensors |= {f"loss/{name}": value for name, value in self.losses.total.items()}
        for name, kept in self.engine.kept.items():
            tensors |= {f"chain/{name}/{variable}": value for variable, value in kept.states.items()}
            if kept.born is not None:
                tensors[f"born/{name}"] = kept.born
        return tensors

    def counters(self) -> dict[str, object]:
        """All numbers that a resumed training needs."""
        return {
            "cursor": asdict(self.cursor),
            "steps": self.losses.count,
            "turns": {name: kept.turn for name, kept in self.engine.kept.items()},
        }

    def restore(self, tensors: Mapping[str, Tensor], counters: Mapping[str, Any]) -> None:
        """Goes on from what `state` and `counters` gave."""
        device = self.engine.device
        self.cursor = Cursor(**counters["cursor"])
        self.losses.count = counters["steps"]
        self.engine.kept = {name: Kept(turn=turn) for name, turn in counters["turns"].items()}
        for key, value in tensors.items():
            kind, _, name = key.partition("/")
            if kind == "parameter":
                self.params[name].copy_(value)
            elif kind == "loss":
                self.losses.total[name] = value.to(device)
            elif kind == "born":
                self.engine.kept[name].born = value
            elif kind == "chain":
                chain, _, variable = name.partition("/")
                self.engine.kept[chain].states[variable] = value.to(device)
            else:
                stepper, _, slot = name.partition(":")
                self.waiting.setdefault(stepper, {})[slot] = value


def taken(compiled: Compiled, stage: Stage, line: Minimize) -> set[str]:
    """The parameters that a line descends: those of what it names, else all that no other line names."""
    owners = {p.name: p.owner for p in compiled.graph.parameters}
    if line.of:
        return {name for name, owner in owners.items() if owner in line.of}
    others = {name for other in stage.minimize if other is not line for name in other.of}
    return {name for name, owner in owners.items() if owner not in others}


def _wants(compiled: Compiled, graphs: Mapping[str, tuple[TrainingGraph, ...]]) -> dict[str, tuple[Want, ...]]:
    """What training asks of each chain: statistics, whole values where another chain or a base measure reads them, states where kept."""
    wants: dict[str, set[Want]] = {chain.name: set() for chain in compiled.checked.chains}
    others: tuple[Want, ...] = ("value", "spread")
    for graph in (g for each in graphs.values() for g in each):
        for side in graph.sides:
            wants[graph.chain(side)].add("mean")
            for want in others:
                if any(name.startswith(f"{side}.{want}.") for name in inputs(graph.module)):
                    wants[graph.chain(side)].add(want)
    for chain in compiled.checked.chains:
        for name in chain.needs:
            wants[name].add("value")
        if any(not isinstance(s.source, str) and s.source.keeps for s in chain.starts):
            wants[chain.name].add("state")
    return {name: tuple(found) for name, found in wants.items()}
