"""What the chains of a trained model are clamped to, from outside: arrays, numbers, files, rows of the data."""

from __future__ import annotations

import re
import zipfile
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from gmc.compiler.driver import Compiled
from gmc.compiler.graph import family
from gmc.dsl.diagnostic import GmcError
from gmc.dsl.model import Split, Variable
from gmc.runtime import run_errors
from gmc.runtime.dataset import Dataset
from gmc.runtime.engine import Kept
from gmc.runtime.missing import encode
from gmc.runtime.pipe import tensor_of
from gmc.runtime.source import is_numeric, reason
from gmc.runtime.sources.npz import DAMAGED

Numbers = Tensor | np.ndarray | float | int
Value = Numbers | str
SLICE = re.compile(r"(data|train|valid|test)(?:\[(?:(-?\d{1,18})|(\d{0,18}):(\d{0,18}))\])?")


@runtime_checkable
class Trained(Protocol):
    """What sampling needs of a model with parameters: a `gmc.runtime.run.Run`."""

    @property
    def compiled(self) -> Compiled:
        """The model."""
        ...

    @property
    def params(self) -> dict[str, Tensor]:
        """The parameters by name."""
        ...

    @property
    def kept(self) -> dict[str, Kept]:
        """The persistent states by chain."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """The parameters' type."""
        ...

    def rows(self, split: Split) -> Dataset | None:
        """The rows of a split of the data."""
        ...


def rows_of(run: Trained, name: str, source: Value, lacks: bool = False) -> Tensor:
    """The whole statistics `[rows, size]` that a source gives a variable; with `lacks` what is NaN is missing.

    Raises:
        GmcError: the source cannot be read, or does not have the variable's shape or support.
    """
    variable = run.compiled.checked.model.variable(name)
    if not isinstance(source, str):
        given = _everywhere(variable, source) if is_number(source) else source
        return encode_values(run.compiled, name, given, lacks, run.dtype)
    if (match := SLICE.fullmatch(source)) is not None:
        return _data_rows(run, variable, source, match)
    number = is_number(source)
    values = _rows(variable, _everywhere(variable, float(source)) if number else _from_file(variable, source))
    if (why := _misfit(variable, values, lacks, run.dtype)) is not None:
        raise GmcError([run_errors.bad_source(None, name, source, why)], exit_code=2 if number else 1)
    return encode(family(variable), values)


def encode_values(
    compiled: Compiled, name: str, values: Numbers, lacks: bool = False, real: torch.dtype = torch.float64
) -> Tensor:
    """The statistics `[rows, size]` of values `[rows, *shape]`, or of one row `[*shape]`; with `lacks` what is NaN is missing.

    `real` is the type in which they are to be computed with.

    Raises:
        GmcError: an unknown variable, another shape, or values outside the support.
    """
    model = compiled.checked.model
    known = [v.name for v in model.variables]
    if name not in known:
        raise GmcError([run_errors.unknown_choice(None, "variable", name, known)], exit_code=2)
    variable = model.variable(name)
    try:
        found = tensor_of(values) if isinstance(values, np.ndarray) else torch.as_tensor(values)
    except (OverflowError, RuntimeError, TypeError, ValueError):
        told = f"of type {type(values).__name__}"
        raise GmcError([run_errors.bad_values(None, name, told, "they are no array of numbers")]) from None
    rows = _rows(variable, found.detach())
    if (why := _misfit(variable, rows, lacks, real)) is not None:
        raise GmcError([run_errors.bad_values(None, name, f"of shape {list(found.shape)}", why)])
    return encode(family(variable), rows)


def _rows(variable: Variable, values: Tensor) -> Tensor:
    return values.unsqueeze(0) if values.shape == variable.shape else values


def _everywhere(variable: Variable, number: object) -> Tensor:
    """One row with the same value at every site; what no float holds is infinite."""
    try:
        value = float(number)  # type: ignore[arg-type]
    except OverflowError:
        value = float("inf")
    return torch.full((1, *variable.shape), value, dtype=torch.float64)


def _misfit(variable: Variable, rows: Tensor, lacks: bool, real: torch.dtype) -> str | None:
    """Why values are not rows of a variable, if they are not; with `lacks` some may be NaN. They must be in its support as numbers of the type `real` too."""
    if rows.dim() == 0 or rows.shape[1:] != variable.shape:
        return f"a row must have shape {list(variable.shape)}, that of {variable.name}, not {list(rows.shape[1:])}"
    if rows.shape[0] == 0:
        return "there must be one row at least"
    if rows.is_complex():
        return "they are complex"
    for kind, told in ((torch.float64, ""), (real, f" as {str(real).removeprefix('torch.')}")):
        wrong = family(variable).unclaimed(rows.to(kind).to(torch.float64))
        if lacks:
            wrong &= ~rows.isnan()
        if bool(wrong.any()):
            return f"{float(rows[wrong].flatten()[0]):g} is not {variable.family.support}{told}"
    return None


def is_number(source: Value) -> bool:
    """Whether a source is one number for every site, not an array or a name of one."""
    if not isinstance(source, str):
        return isinstance(source, (int, float))
    try:
        float(source)
    except ValueError:
        return False
    return True


def _data_rows(run: Trained, variable: Variable, source: str, match: re.Match[str]) -> Tensor:
    def refuse(why: str) -> GmcError:
        return GmcError([run_errors.bad_source(None, variable.name, source, why)], exit_code=2)

    splits: dict[str, Split] = {"data": "train", "train": "train", "valid": "valid", "test": "test"}
    split = splits[match[1]]
    data = run.rows(split)
    if data is None or variable.name not in data.variables:
        raise refuse(f"the data have no {split} rows of {variable.name}")
    numbers = range(data.rows)
    if match[2] is not None:
        if not -data.rows <= int(match[2]) < data.rows:
            raise refuse(f"there are {data.rows} {split} rows")
        numbers = range(int(match[2]) % data.rows, int(match[2]) % data.rows + 1)
    elif match[3] is not None:
        first, last = int(match[3] or 0), int(match[4] or data.rows)
        if not 0 <= first < last <= data.rows:
            raise refuse(f"there are {data.rows} {split} rows, and a slice must hold some of them")
        numbers = range(first, last)
    return data.batch(torch.tensor(list(numbers), device=run.device), 0)[variable.name]


def _from_file(variable: Variable, source: str) -> Tensor:
    """The array that `file.npz:key` names."""

    def refuse(why: str, code: int = 1) -> GmcError:
        return GmcError([run_errors.bad_source(None, variable.name, source, why)], exit_code=code)

    path, _, key = source.rpartition(":")
    if not path.endswith(".npz"):
        raise refuse("it is none of the forms", 2)
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
            if key not in names:
                raise refuse(f"{path} has no array `{key}`; it has {', '.join(names) or 'none'}", 2)
            with archive.open(f"{key}.npy") as member:
                array = np.lib.format.read_array(member, allow_pickle=False)
    except FileNotFoundError:
        raise refuse(f"there is no file {path}") from None
    except DAMAGED as error:
        if "Object arrays" in str(error):
            raise refuse(f"`{key}` holds Python objects, which are never loaded") from None
        raise refuse(f"{path} cannot be read as an .npz archive: {reason(error)}") from None
    if not is_numeric(array):
        raise refuse(f"`{key}` holds no numbers of 64 bits at most")
    return tensor_of(array)
