"""Loads the data of small .gm files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import gmc.runtime.words  # noqa: F401
from gmc.dsl.check import load
from gmc.dsl.diagnostic import Diagnostic, GmcError
from gmc.runtime.dataset import Datasets, load_data

Loads = Callable[..., Datasets]


@pytest.fixture
def loads(tmp_path: Path) -> Loads:
    """`loads(types, data, seed = 0, dtype = float32, constants = None, **arrays)`.

    Writes `arrays` to data.npz and a model with the observed variables `types` beside it, and loads the data.
    """

    def make(
        types: str,
        data: str,
        *,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        constants: dict[str, torch.Tensor] | None = None,
        **arrays: np.ndarray,
    ) -> Datasets:
        if arrays:
            np.savez(tmp_path / "data.npz", **arrays)
        names = [line.split(":")[0].strip() for line in types.splitlines() if line.strip()]
        edges = "".join(f"  edge {name} -- h\n" for name in names)
        variables = "".join(f"  observed {line.strip()}\n" for line in types.splitlines() if line.strip())
        text = f"model m {{\n{variables}  latent h : bernoulli[3]\n{edges}}}\n\n{data}\n"
        (tmp_path / "m.gm").write_text(text, encoding="utf-8")
        checked = load(tmp_path / "m.gm").checked
        return load_data(checked, seed, torch.device("cpu"), dtype, constants)

    return make


@pytest.fixture
def refused(loads: Loads) -> Callable[..., Diagnostic]:
    """As `loads`, where exactly one thing is wrong: its diagnostic."""

    def make(*args: object, **kwargs: object) -> Diagnostic:
        with pytest.raises(GmcError) as caught:
            loads(*args, **kwargs)
        assert caught.value.exit_code == 1
        (found,) = caught.value.diagnostics
        return found

    return make
