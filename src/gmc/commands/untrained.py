"""A run folder of a model that was not trained: first weights, or given ones, to sample and evaluate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from gmc.commands import errors
from gmc.dsl.diagnostic import GmcError
from gmc.runtime import run_errors
from gmc.runtime.dataset import Dataset, load_data
from gmc.runtime.initial import initial_parameters
from gmc.runtime.run import CONFIG, METRICS, MODEL, STATE, WEIGHTS, fingerprint, read_config
from gmc.runtime.storage import remove_leftovers, write_tensors, write_text
from gmc.runtime.training import read_weights

if TYPE_CHECKING:
    from gmc.runtime.model import Model


def write_untrained(model: Model, folder: Path, weights: Path | None, seed: int) -> None:
    """Writes the folder; one that holds a training of the same model is refused too, so that nothing trained is lost.

    Raises:
        GmcError: the folder, the weights or the data are wrong.
    """
    graph = model.compiled.graph
    mark = fingerprint(graph)
    _refuse(folder, mark)
    if weights is not None:
        params = read_weights(model.compiled, weights)
    else:
        params = initial_parameters(graph, seed, _rows(model, seed))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        raise GmcError([run_errors.folder_in_the_way(None, str(folder))], exit_code=2) from None
    remove_leftovers(folder)
    write_text(folder / MODEL, model.checked.source.text)
    config = {
        "model": graph.model.name,
        "source": str(Path(model.checked.source.path).resolve()),
        "params": {p.name: p.value for p in model.checked.params},
        "set": dict(model.overrides),
        "data": model.data_path,
        "seed": seed,
        "weights": str(weights) if weights else None,
        "fingerprint": mark,
    }
    write_text(folder / CONFIG, json.dumps(config, indent=2, sort_keys=True) + "\n")
    write_tensors(folder / WEIGHTS, {name: p.to(torch.float32) for name, p in params.items()}, {"fingerprint": mark})


def _rows(model: Model, seed: int) -> Dataset | None:
    """The training rows, whose means the first biases are taken from, if the file has any."""
    if model.checked.data is None:
        return None
    return load_data(model.checked, seed, torch.device("cpu"), torch.float32).train


def _refuse(folder: Path, mark: str) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / CONFIG).is_file():
        raise GmcError([run_errors.folder_in_the_way(None, str(folder))], exit_code=2)
    if read_config(folder).get("fingerprint") != mark:
        raise GmcError([run_errors.other_run(None, str(folder), "its variables or edges differ")], exit_code=2)
    trained = [name for name in (STATE, METRICS) if (folder / name).exists()]
    if trained:
        raise GmcError([errors.trained_run(None, str(folder), trained[0])], exit_code=2)
