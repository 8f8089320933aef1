"""A run folder of a model that was not trained: first weights, or given ones, to sample and evaluate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from gmc.compiler.driver import Compiled
from gmc.dsl.diagnostic import GmcError
from gmc.runtime import run_errors
from gmc.runtime.folder import METRICS, STATE, WEIGHTS, fingerprint, lay, refuse, settings_of
from gmc.runtime.initial import initial_parameters
from gmc.runtime.storage import write_tensors
from gmc.runtime.training import read_weights


def trained(out: Path) -> str | None:
    """The file that shows that a folder holds a training, if it does."""
    return next((name for name in (STATE, METRICS) if (out / name).exists()), None)


def write_untrained(
    compiled: Compiled,
    out: Path,
    overrides: Mapping[str, str],
    data_path: str | None,
    seed: int,
    weights: Path | None,
) -> None:
    """Writes the folder. First biases do not look at data here, so that none need be there.

    Raises:
        GmcError: the folder holds something else, or a training, which is not lost so; or the weights do not fit.
    """
    settings = settings_of(compiled, overrides, data_path, None, seed, weights)
    refuse(compiled, out, False, settings)
    found = trained(out)
    if found is not None:
        raise GmcError([run_errors.trained_run(None, str(out), found)], exit_code=2)
    params = initial_parameters(compiled.graph, seed, None) if weights is None else read_weights(compiled, weights)
    lay(compiled, out, settings, clear=True)
    single = {name: value.to(torch.float32) for name, value in params.items()}
    write_tensors(out / WEIGHTS, single, {"fingerprint": fingerprint(compiled.graph)})
