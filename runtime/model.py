"""A compiled model, as Python and the command line use it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import gmc.runtime.words
from gmc.compiler.driver import Compiled, compile_checked
from gmc.compiler.passes import ORDER, chosen
from gmc.dsl.check import load
from gmc.dsl.diagnostic import Diagnostic, GmcError
from gmc.dsl.model import Checked
from gmc.runtime import run_errors
from gmc.runtime.run import Run
from gmc.runtime.training import Progress, train


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

    def train(
        self,
        out: Path | str,
        *,
        seed: int = 0,
        device: str = "cpu",
        resume: bool = False,
        weights: Path | None = None,
        watch: Callable[[Progress], None] | None = None,
        tensorboard: bool = False,
    ) -> Run:
        """Runs the train stages and leaves a run folder.

        Raises:
            GmcError: the data, the folder or the weights are wrong, or training diverged.
            Interrupted: it was interrupted, after a checkpoint was saved.
        """
        return train(
            self.compiled,
            Path(out),
            self.overrides,
            self.data_path,
            seed=seed,
            device=device,
            resume=resume,
            weights=weights,
            watch=watch,
            tensorboard=tensorboard,
        )

    def run(self, params: Mapping[str, Tensor], device: str = "cpu") -> Run:
        """The model with given parameters, by name, without a folder.

        Raises:
            GmcError: their names or shapes are not the model's.
        """
        return Run.of(self.compiled, params, torch.device(device))


def compile_file(
    path: Path | str, overrides: Mapping[str, str] | None = None, data_path: str | None = None, passes: str = ""
) -> Model:
    """Compiles a .gm file.

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
    loaded = load(path, overrides or {}, data_path, gmc.runtime.words.VOCABULARY)
    return Model(compile_checked(loaded.checked, selected), loaded.warnings, dict(overrides or {}), data_path)
