"""A compiled model, as Python and the command line use it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

import gmc.runtime.words  # noqa: F401
from gmc.compiler.driver import Compiled, compile_checked
from gmc.compiler.passes import ORDER, chosen
from gmc.compiler.pictures.render import render, svg
from gmc.dsl.check import load, load_source
from gmc.dsl.diagnostic import Diagnostic, GmcError
from gmc.dsl.model import Checked
from gmc.dsl.source import Source
from gmc.runtime import run_errors
from gmc.runtime.run import Run, find_device, open_run
from gmc.runtime.training import Progress, train
from gmc.runtime.untrained import write_untrained


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing by graphviz; notebooks show it."""

    dot: str

    def _repr_svg_(self) -> str | None:
        return svg(self.dot)

    def save(self, path: Path | str) -> Path:
        """Writes it, its kind by the ending (.svg, .png, .pdf, .dot), and gives the file written: without graphviz the .dot text.

        Raises:
            GmcError: another ending, or a place that may not be written to.
        """
        return render(self.dot, Path(path)).path


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A compiled .gm file."""

    compiled: Compiled
    warnings: tuple[Diagnostic, ...]
    overrides: Mapping[str, str]
    data_path: str | None

    @property
    def checked(self) -> Checked:
        """What the file means."""
        return self.compiled.checked

    @property
    def graph(self) -> Picture:
        """The model's graph."""
        from gmc.compiler.pictures.model import graph_dot  # only for who draws

        return Picture(graph_dot(self.compiled.graph))

    def schedule(self, chain: str) -> Picture:
        """The schedule of a chain, unrolled in time.

        Raises:
            GmcError: there is no such chain.
        """
        if chain not in self.compiled.schedules:
            known = list(self.compiled.schedules)
            raise GmcError([run_errors.unknown_choice(None, "chain", chain, known)], exit_code=2)
        from gmc.compiler.pictures.schedule import schedule_dot  # only for who draws

        return Picture(schedule_dot(self.compiled.graph, self.compiled.schedules[chain]))

    def _repr_svg_(self) -> str | None:
        return self.graph._repr_svg_()

    def train(
        self,
        out: Path | str | None = None,
        *,
        data: Mapping[str, Tensor] | None = None,
        seed: int = 0,
        device: str = "cpu",
        resume: bool = False,
        weights: Path | None = None,
        watch: Callable[[Progress], None] | None = None,
        tensorboard: bool = False,
    ) -> Run:
        """Runs the train stages; with `out`, in a run folder that a later call resumes.

        `data` are training rows `[rows, *shape]` of observed variables, in place of those that the file names.

        Raises:
            GmcError: the data, the folder or the weights are wrong, or training diverged.
            Interrupted: it was interrupted, after a checkpoint was saved.
        """
        return train(
            self.compiled,
            None if out is None else Path(out),
            self.overrides,
            self.data_path,
            data=data,
            seed=seed,
            device=device,
            resume=resume,
            weights=weights,
            watch=watch,
            tensorboard=tensorboard,
        )

    def save(self, out: Path | str, *, seed: int = 0, weights: Path | str | None = None) -> Run:
        """Writes a run folder of the model as it is before training, or with given weights.

        Raises:
            GmcError: the folder holds something else, or a training; or the weights do not fit.
        """
        start = None if weights is None else Path(weights)
        write_untrained(self.compiled, Path(out), self.overrides, self.data_path, seed, start)
        return open_run(out)

    def run(self, params: Mapping[str, Tensor], device: str = "cpu") -> Run:
        """The model with given parameters, by name, without a folder.

        Raises:
            GmcError: their names or shapes are not the model's.
        """
        return Run.of(self.compiled, params, find_device(device))


def compile_file(
    source: Path | str, overrides: Mapping[str, str] | None = None, data_path: str | None = None, passes: str = ""
) -> Model:
    """Compiles a .gm file, or, where `source` is a string with a brace in it, a text.

    `overrides` are values of its params, as text; `data_path` replaces the path of its data source; `passes` switches passes off: "-hoist".

    Raises:
        GmcError: with all that is wrong with the file or the arguments.
    """
    try:
        selected = chosen(passes)
    except KeyError as error:
        names = [f"-{name}" for name in ORDER]
        raise GmcError(
            [run_errors.unknown_choice(None, "pass switch", str(error.args[0]), names)], exit_code=2
        ) from None
    if isinstance(source, str) and "{" in source:
        loaded = load_source(Source("<text>", source), overrides, data_path)
    else:
        loaded = load(source, overrides, data_path)
    return Model(compile_checked(loaded.checked, selected), loaded.warnings, dict(overrides or {}), data_path)
