"""Training runs: a folder with everything in it, checkpoints that survive a kill at any instant, and going on from them."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from gmc.compiler.driver import Compiled
from gmc.dsl.diagnostic import Diagnostic, GmcError
from gmc.dsl.model import Stage
from gmc.runtime import errors, run_errors
from gmc.runtime.dataset import Datasets, load_data
from gmc.runtime.exact import TooLarge
from gmc.runtime.folder import LAST, METRICS, STATE, WEIGHTS, cleared, fingerprint, lay, refuse, settings_of
from gmc.runtime.initial import initial_parameters
from gmc.runtime.metric import Metric
from gmc.runtime.missing import needless
from gmc.runtime.request import whole
from gmc.runtime.run import Run, find_device, fit, open_run
from gmc.runtime.storage import (
    MetricsLog,
    open_metrics,
    read_tensors,
    remove_file,
    write_tensors,
)
from gmc.runtime.tensor_data import TensorData
from gmc.runtime.train import EpochReport, Trainer

SECONDS = 20.0
"""How much work a kill may cost at most, about: checkpoints are written at the end of an epoch, and this long after the last one."""


class Interrupted(Exception):
    """Training was interrupted, and a checkpoint was saved."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where training stands after a step; `report` is there at the end of an epoch."""

    stage: str
    epoch: int
    epochs: int
    step: int
    steps: int
    updates: int
    report: EpochReport | None


def train(
    compiled: Compiled,
    out: Path | None,
    overrides: Mapping[str, str],
    data_path: str | None,
    *,
    data: Mapping[str, Tensor] | None,
    seed: int,
    device: str,
    resume: bool,
    weights: Path | None,
    watch: Callable[[Progress], None] | None,
    tensorboard: bool,
) -> Run:
    """Runs the train stages of a file into a folder; see `Model.train`."""
    checked = compiled.checked
    if not checked.stages:
        raise GmcError([run_errors.nothing_to_train(checked.model.span)])
    seed = whole("the seed", seed, 0)
    weights = None if weights is None else Path(weights)
    settings = settings_of(compiled, overrides, data_path, data, seed, weights)
    if out is not None:
        refuse(compiled, out, resume, settings)
    place = find_device(device)
    read = load_data(checked, seed, place, torch.float32) if data is None else Datasets()
    rows = read.train if data is None else TensorData.of(compiled, data, place, torch.float32)
    if rows is None:
        raise GmcError([run_errors.no_training_rows(checked.model.span)])
    params = initial_parameters(compiled.graph, seed, rows)
    if weights is not None and not (resume and out is not None and (out / STATE).is_file()):
        params |= read_weights(compiled, weights)
    trainer = Trainer(compiled, rows, {n: p.to(place, torch.float32) for n, p in params.items()}, seed)
    for stage in checked.stages:
        if stage.stop is not None and read.valid is None:
            raise GmcError([run_errors.no_rows_to_stop_by(stage.span, stage.name)])
    warnings = tuple(needless(checked, rows))
    if out is None:
        run = _in_memory(compiled, trainer, read, watch)
        run.warnings = warnings
        return run
    session = _Session(compiled, out, read, trainer, settings)
    session.begin(resume)
    session.run(watch, tensorboard)
    run = open_run(out, device)
    run.warnings = (*warnings, *session.warnings)
    return run


def _in_memory(compiled: Compiled, trainer: Trainer, data: Datasets, watch: Callable[[Progress], None] | None) -> Run:
    """Trains without a folder; an interrupt loses the work."""
    for report in trainer.advance(lambda stage: measure(compiled, trainer, data, stage)):
        if watch is not None:
            watch(progress(trainer, report))
    run = Run.of(compiled, trainer.params, trainer.engine.device)
    run.kept, run.seed = trainer.engine.kept, trainer.seed
    run.constants = dict(data.constants)
    return run


def progress(trainer: Trainer, report: EpochReport | None) -> Progress:
    """Where a trainer stands."""
    stage, cursor = trainer.stage, trainer.cursor
    # a stage that stops early has its cursor at the end already
    epoch = cursor.epoch if report is None else report.epoch
    return Progress(stage.name, epoch, trainer.length(stage), cursor.step, trainer.steps(stage), cursor.updates, report)


def measure(compiled: Compiled, trainer: Trainer, data: Datasets, stage: Stage) -> dict[str, float]:
    """The watched metrics of the valid split; none where there is none.

    Raises:
        GmcError: a metric that cannot be computed for this model.
    """
    found: dict[str, float] = {}
    if data.valid is None:
        return found
    for metric in stage.watch:
        assert isinstance(metric, Metric)
        try:
            found[metric.label] = metric.measure(compiled, trainer.shown, data.valid)
        except TooLarge as error:
            raise GmcError([run_errors.no_method(stage.span, metric.label, str(error))]) from None
    return found


def read_weights(compiled: Compiled, path: Path) -> dict[str, Tensor]:
    """The parameters in a weights file.

    Raises:
        GmcError: it is damaged, or its arrays are not the model's.
    """
    tensors, _ = read_tensors(path)
    fit(compiled.graph, tensors, str(path))
    return tensors


class _Session:
    """One process's work on a run folder."""

    def __init__(
        self, compiled: Compiled, out: Path, data: Datasets, trainer: Trainer, settings: Mapping[str, object]
    ) -> None:
        self.compiled, self.out, self.data, self.trainer, self.settings = compiled, out, data, trainer, settings
        self.mark = fingerprint(compiled.graph)
        self.saved = time.monotonic()
        self.log: MetricsLog | None = None
        self.warnings: tuple[Diagnostic, ...] = ()

    def begin(self, resume: bool) -> None:
        """Lays the folder, or restores what a checkpoint holds.

        Raises:
            GmcError: the folder may not be written to, or the checkpoint is damaged.
        """
        goes_on = resume and cleared(self.out) and (self.out / STATE).is_file()
        lay(self.compiled, self.out, self.settings, clear=not goes_on)
        length = self._restore() if goes_on else 0
        self.log, self.warnings = open_metrics(self.out / METRICS, length)

    def _restore(self) -> int:
        """Goes on from the checkpoint; gives the length of the metrics that belong to it."""
        path = self.out / STATE
        tensors, metadata = read_tensors(path, self.mark)
        try:
            counters: dict[str, Any] = json.loads(metadata["counters"])
            self.trainer.restore({k: v for k, v in tensors.items() if not k.startswith("constant/")}, counters)
            return int(counters["metrics"])
        except (KeyError, TypeError, ValueError):
            raise GmcError([errors.damaged_file(None, str(path), "it is no checkpoint of a training")]) from None

    def run(self, watch: Callable[[Progress], None] | None, tensorboard: bool) -> None:
        """Trains to the end, with checkpoints."""
        with _interrupts() as interrupted, _board(self.out, tensorboard) as board:
            if interrupted() or not self._loop(watch, interrupted, board):
                self.save()
                raise Interrupted(str(self.out))
            self.save()

    def _loop(
        self,
        watch: Callable[[Progress], None] | None,
        interrupted: Callable[[], bool],
        board: Callable[[EpochReport], None],
    ) -> bool:
        """Whether training came to its end."""
        assert self.log is not None
        trainer = self.trainer
        for report in trainer.advance(lambda stage: measure(self.compiled, trainer, self.data, stage)):
            if report is not None:
                self.log.append(
                    {"stage": report.stage, "epoch": report.epoch, "updates": report.updates, **report.values}
                    | ({} if report.stopped is None else {"stopped": report.stopped})
                )
                board(report)
            if watch is not None:
                watch(progress(trainer, report))
            if report is not None or time.monotonic() - self.saved > SECONDS:
                self.save()
            if interrupted() and not trainer.done:
                return False
        return True

    def save(self) -> None:
        """Writes a checkpoint. The state holds all that a resume needs, so that one rename commits it; weights are for everybody else.

        Raises:
            GmcError: it could not be written, or it is not worth keeping; the one before is as it was.
        """
        assert self.log is not None
        self.trainer.refuse_diverged()
        self.log.sync()
        counters = {**self.trainer.counters(), "metrics": self.log.length}
        tensors = self.trainer.state() | {f"constant/{n}": v for n, v in self.data.constants.items()}
        metadata = {"fingerprint": self.mark, "counters": json.dumps(counters, sort_keys=True)}
        write_tensors(self.out / STATE, tensors, metadata)
        write_tensors(self.out / WEIGHTS, self.trainer.result, {"fingerprint": self.mark})
        if self.trainer.last is None:
            remove_file(self.out / LAST)
        else:
            write_tensors(self.out / LAST, self.trainer.last, {"fingerprint": self.mark})
        self.saved = time.monotonic()


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Turns the first Ctrl-C into a question that is answered between steps; the second stops at once."""
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    try:
        before = signal.signal(signal.SIGINT, ask)
    except ValueError:
        # not the main thread, which alone hears signals
        yield lambda: False
        return
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _board(out: Path, wanted: bool) -> Iterator[Callable[[EpochReport], None]]:
    """Writes reports for TensorBoard, if asked to."""
    if not wanted:
        yield lambda report: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise GmcError([run_errors.no_tensorboard(None)], exit_code=2) from None
    writer = SummaryWriter(str(out / "tensorboard"))

    def write(report: EpochReport) -> None:
        for name, value in report.values.items():
            writer.add_scalar(f"{report.stage}/{name}", value, report.updates)

    try:
        yield write
    finally:
        writer.close()
