"""How long work shows that it moves: of training a bar a stage on a terminal, else a line now and then."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from gmc.commands.report import Reporter, silence

if TYPE_CHECKING:
    from gmc.runtime.training import Progress

SECONDS = 5.0
"""Between two lines, at least."""
WIDTH, HEIGHT = 80, 24
"""Of a terminal that does not say how large it is."""


class Watch:
    """Follows a training; knows how it ended."""

    def __init__(self, reporter: Reporter, clock: Callable[[], float] = time.monotonic) -> None:
        self._reporter, self._clock = reporter, clock
        self._terminal = sys.stderr is not None and sys.stderr.isatty()
        self._bar: Any = None
        self._stage: str | None = None
        self._said = float("-inf")
        self._silent = reporter.as_json
        self.began = clock()
        self.last: Progress | None = None

    def __call__(self, progress: Progress) -> None:
        """After a step."""
        if progress.report is not None:
            self.last = progress
        if self._silent:
            return
        try:
            self._show(progress)
        except OSError:  # nobody listens to stderr any more; training goes on
            silence(sys.stderr)
            self._silent = True

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return self._clock() - self.began

    def close(self) -> None:
        """Leaves the last bar as it is and goes to the next line."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _show(self, progress: Progress) -> None:
        if self._terminal:
            self._move(progress)
        elif progress.report is not None and (
            progress.epoch == progress.epochs
            or progress.report.stopped is not None
            or self._clock() - self._said >= SECONDS
        ):
            self._said = self._clock()
            self._reporter.say(
                f"{progress.stage}: epoch {progress.epoch} of {progress.epochs}, {values_text(progress.report.values)}"
            )
        if progress.report is not None and progress.report.stopped is not None:
            self.close()
            self._reporter.say(f"{progress.stage}: stopped after epoch {progress.epoch}: {progress.report.stopped}")

    def _move(self, progress: Progress) -> None:
        from tqdm import tqdm

        done = progress.epoch * progress.steps + progress.step
        if progress.stage != self._stage:
            self.close()
            self._stage = progress.stage
            self._bar = tqdm(
                total=progress.epochs * progress.steps,
                initial=done - 1,
                desc=progress.stage,
                unit=" steps",
                file=sys.stderr,
                **size(),
            )
        if self._bar is None:
            return
        if progress.report is not None:
            text = f"epoch {progress.epoch}/{progress.epochs}, {values_text(progress.report.values)}"
            self._bar.set_postfix_str(text, refresh=False)
        self._bar.update(done - self._bar.n)


class Share:
    """Follows work by the share of it that is done; says nothing of what is soon over."""

    def __init__(self, reporter: Reporter, what: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._reporter, self._what, self._clock = reporter, what, clock
        self._terminal = sys.stderr is not None and sys.stderr.isatty()
        self._bar: Any = None
        self._said = clock()
        self._silent = reporter.as_json

    def __call__(self, share: float) -> None:
        """At a share from 0 to 1."""
        if self._silent:
            return
        try:
            self._show(share)
        except OSError:  # nobody listens to stderr any more
            silence(sys.stderr)
            self._silent = True

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _show(self, share: float) -> None:
        if self._terminal:
            from tqdm import tqdm

            if self._bar is None:
                form = "{l_bar}{bar}| {elapsed}<{remaining}"
                self._bar = tqdm(
                    total=1.0, desc=self._what, bar_format=form, delay=1.0, leave=False, file=sys.stderr, **size()
                )
            self._bar.update(share - self._bar.n)
        elif self._clock() - self._said >= SECONDS:
            self._said = self._clock()
            self._reporter.say(f"{self._what}: {share:.0%}")


def size() -> dict[str, Any]:
    """What a bar must know of a terminal: to follow its width, or, where it tells none, one that fits any."""
    if shutil.get_terminal_size((0, 0)).columns > 0:
        return {"dynamic_ncols": True}
    return {"ncols": WIDTH, "nrows": HEIGHT}


def values_text(values: Mapping[str, float]) -> str:
    """Losses and metrics, in a line."""
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items()) or "no losses"
