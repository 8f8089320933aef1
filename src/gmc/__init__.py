"""gmc: a compiler for graphical models that emits torch.fx programs.

`compile` a .gm file (or its text) to a `Model`, `Model.train` it to a `Run`, `Run.sample` its chains; `load` opens the folder of a run. Names are
loaded when they are first used, so that importing gmc does not load torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from gmc.dsl.diagnostic import Diagnostic as Diagnostic
    from gmc.dsl.diagnostic import GmcError as GmcError
    from gmc.runtime.diagnosing import Diagnosis as Diagnosis
    from gmc.runtime.evaluation import Evaluation as Evaluation
    from gmc.runtime.model import Model as Model
    from gmc.runtime.model import Picture as Picture
    from gmc.runtime.predicting import Prediction as Prediction
    from gmc.runtime.probe import Probe as Probe
    from gmc.runtime.run import Run as Run
    from gmc.runtime.sampling import Samples as Samples
    from gmc.runtime.sampling import Stream as Stream
    from gmc.runtime.training import Interrupted as Interrupted
    from gmc.runtime.training import Progress as Progress

__version__ = _version("gmc-lang")
__all__ = [
    "Diagnosis",
    "Diagnostic",
    "Evaluation",
    "GmcError",
    "Interrupted",
    "Model",
    "Picture",
    "Prediction",
    "Probe",
    "Progress",
    "Run",
    "Samples",
    "Stream",
    "compile",
    "load",
]

_HOMES = {
    "Diagnosis": "gmc.runtime.diagnosing",
    "Diagnostic": "gmc.dsl.diagnostic",
    "Evaluation": "gmc.runtime.evaluation",
    "GmcError": "gmc.dsl.diagnostic",
    "Interrupted": "gmc.runtime.training",
    "Model": "gmc.runtime.model",
    "Picture": "gmc.runtime.model",
    "Prediction": "gmc.runtime.predicting",
    "Probe": "gmc.runtime.probe",
    "Progress": "gmc.runtime.training",
    "Run": "gmc.runtime.run",
    "Samples": "gmc.runtime.sampling",
    "Stream": "gmc.runtime.sampling",
}


def compile(  # noqa: A001 - the verb of the field
    source: Path | str,
    set: Mapping[str, object] | None = None,  # noqa: A002 - as the command line says it
    data: str | None = None,
    passes: str = "",
) -> Model:
    """Compiles a .gm file, or a text with a brace in it.

    `set` are values of its params, `data` replaces the path of its data source, `passes` switches passes off ("-hoist").

    Raises:
        GmcError: with all that is wrong with it.
    """
    from gmc.runtime.model import compile_file

    return compile_file(source, {name: str(value) for name, value in (set or {}).items()}, data, passes)


def load(folder: Path | str, device: str = "cpu") -> Run:
    """The run in a folder.

    Raises:
        GmcError: it is not the folder of a run, or its files are damaged.
    """
    from gmc.runtime.run import open_run

    return open_run(folder, device)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gmc' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
