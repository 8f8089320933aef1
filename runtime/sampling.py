"""`sample`: chains of a trained model, with what they are clamped to given by name."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from operator import index
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from gmc.compiler.driver import Compiled
from gmc.compiler.graph import family
from gmc.dsl.diagnostic import GmcError
from gmc.dsl.model import Chain, Split, Variable
from gmc.runtime import run_errors
from gmc.runtime.blame import located
from gmc.runtime.chains import Outcome
from gmc.runtime.dataset import Dataset
from gmc.runtime.engine import Engine, Kept, Rows
from gmc.runtime.pipe import tensor_of
from gmc.runtime.source import is_numeric, reason
from gmc.runtime.sources.npz import DAMAGED

Numbers = Tensor | np.ndarray | float | int
Value = Numbers | str
SLICE = re.compile(r"(data|train|valid|test)(?:\[(?:(-?\d{1,18})|(\d{0,18}):(\d{0,18}))\])?")
DEFAULT_CHAINS = 64


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


@dataclass(frozen=True, slots=True)
class Samples:
    """Values of every variable, `[chains, *shape]`, as after the last sweep.

    `means` are those of the statistics with the block that was drawn last replaced by its mean given the rest: probabilities for discrete variables
    (`[chains, *shape, k]` for a categorical), the mean of x for a normal; for chains with `update mean` they are the mean-field means.
    """

    chain: str
    seed: int
    values: dict[str, Tensor]
    means: dict[str, Tensor]


def sample(
    run: Trained, name: str, chains: int | None, sweeps: int | None, clamp: dict[str, Value], seed: int
) -> Samples:
    """See `Run.sample`."""
    chains = None if chains is None else whole("the number of chains", chains, 1)
    sweeps = None if sweeps is None else whole("the number of sweeps", sweeps, 0)
    whole("the seed", seed, 0)
    return located(run.compiled.checked.model.span, partial(_sample, run, name, chains, sweeps, clamp, seed))


def whole(what: str, number: int, least: int) -> int:
    """A whole number of at least `least`, of whatever type of integer.

    Raises:
        GmcError: it is something else.
    """
    try:
        found = index(number)
    except TypeError:
        found = least - 1
    if found < least:
        raise GmcError([run_errors.out_of_range(None, what, number, least)], exit_code=2)
    return found


def _sample(
    run: Trained, name: str, chains: int | None, sweeps: int | None, clamp: dict[str, Value], seed: int
) -> Samples:
    checked = run.compiled.checked
    names = [c.name for c in checked.chains]
    if name not in names:
        raise GmcError([run_errors.unknown_choice(None, "chain", name, names)], exit_code=2)
    involved = [checked.chain(n) for n in _involved(run.compiled, name)]
    clamped = _clamped(involved)
    for variable in clamp:
        known = [v.name for v in checked.model.variables]
        if variable not in known:
            raise GmcError([run_errors.unknown_choice(None, "variable", variable, known)], exit_code=2)
        if variable not in clamped:
            raise GmcError([run_errors.clamp_of_free(checked.chain(name).span, variable, name)], exit_code=2)
    values = {v: rows_of(run, v, source) for v, source in clamp.items()}
    missing = [v for v in _needed(involved) if v not in values]
    count = _count(run, values, chains, missing, clamp)
    values |= {v: _default(run, v, name, count) for v in missing}
    engine = Engine(run.compiled, run.params, seed, "sample", replicas=True)
    kept = {c.name: run.kept[c.name] for c in involved if c.name in run.kept and not engine.by_row(c)}
    engine.kept = {chain: _copied(states, count) for chain, states in kept.items()}
    rows = Rows({v: x.to(run.device, run.dtype) for v, x in values.items()}, count)
    return _samples(run, checked.chain(name), engine.run(name, rows, sweeps), seed)


def _samples(run: Trained, chain: Chain, outcome: Outcome, seed: int) -> Samples:
    values, means = {}, {}
    for variable in run.compiled.checked.model.variables:
        kind, end = family(variable), outcome.value[variable.name]
        smooth = chain.update == "mean" and kind.width == 1
        values[variable.name] = (kind.decode_mean if smooth else kind.decode)(end, variable.shape)
        means[variable.name] = kind.decode_mean(outcome.mean[variable.name], variable.shape)
    return Samples(chain.name, seed, values, means)


def _involved(compiled: Compiled, name: str) -> list[str]:
    """A chain and all that it needs, directly or not."""
    found = [name]
    for each in found:
        found += [n for n in compiled.checked.chain(each).needs if n not in found]
    return found


def _clamped(chains: list[Chain]) -> list[str]:
    """The variables that some of the chains clamp to what comes from outside."""
    names = [c.variable for chain in chains for c in chain.clamps if c.constant is None and c.chain is None]
    return list(dict.fromkeys(names))


def _needed(chains: list[Chain]) -> list[str]:
    """The variables of which rows are needed: those clamped from outside, and those that start from data."""
    starts = [
        name
        for chain in chains
        for start in chain.starts
        if not isinstance(start.source, str) and start.source.word == "data"
        for name in start.variables
    ]
    return list(dict.fromkeys((*_clamped(chains), *starts)))


def _count(
    run: Trained, values: Mapping[str, Tensor], chains: int | None, missing: list[str], clamp: Mapping[str, Value]
) -> int:
    """How many chains: `chains`, else the rows of the clamp sources, else 64 (or all rows that the data have, if fewer)."""
    told = [f"`--clamp {v}` has {x.shape[0]} rows" for v, x in values.items()]
    rows = {x.shape[0] for x in values.values()} - {1}
    if len(rows) > 1:
        raise GmcError([run_errors.rows_disagree(None, told)], exit_code=2)
    if chains is not None:
        if rows and rows != {chains}:
            raise GmcError([run_errors.rows_disagree(None, [*told, f"{chains} chains were asked for"])], exit_code=2)
        return chains
    if rows:
        return rows.pop()
    if any(not _is_number(source) for source in clamp.values()):
        return 1
    have = [data.rows for v in missing if (data := _default_split(run, v)) is not None]
    return min([DEFAULT_CHAINS, *have])


def _default_split(run: Trained, variable: str) -> Dataset | None:
    """The rows a variable takes where none are named: test, else valid, else train."""
    splits: tuple[Split, ...] = ("test", "valid", "train")
    for split in splits:
        data = run.rows(split)
        if data is not None and variable in data.variables:
            return data
    return None


def _default(run: Trained, variable: str, chain: str, count: int) -> Tensor:
    data = _default_split(run, variable)
    span = run.compiled.checked.chain(chain).span
    if data is None:
        raise GmcError([run_errors.nothing_to_clamp(span, variable, chain)], exit_code=2)
    if count > data.rows:
        told = [f"the data have {data.rows} rows of {variable}", f"{count} chains were asked for"]
        raise GmcError([run_errors.rows_disagree(None, told)], exit_code=2)
    return data.batch(torch.arange(count, device=run.device), 0)[variable]


def _copied(kept: Kept, count: int) -> Kept:
    """Copies of kept states for `count` chains, each used about equally often; the run's own stay as they are."""
    copy = Kept()
    for name, states in kept.states.items():
        copy.states[name] = states[torch.arange(count, device=states.device) % states.shape[0]]
    if kept.born is not None:
        copy.born = kept.born[torch.arange(count, device=kept.born.device) % kept.born.shape[0]]
    return copy


def rows_of(run: Trained, name: str, source: Value) -> Tensor:
    """The whole statistics `[rows, size]` that a source gives a variable.

    Raises:
        GmcError: the source cannot be read, or does not have the variable's shape or support.
    """
    variable = run.compiled.checked.model.variable(name)
    if not isinstance(source, str):
        return encode_values(run.compiled, name, _everywhere(variable, source) if _is_number(source) else source)
    if (match := SLICE.fullmatch(source)) is not None:
        return _data_rows(run, variable, source, match)
    number = _is_number(source)
    values = _rows(variable, _everywhere(variable, float(source)) if number else _from_file(variable, source))
    if (why := _misfit(variable, values)) is not None:
        raise GmcError([run_errors.bad_source(None, name, source, why)], exit_code=2 if number else 1)
    return family(variable).encode(values)


def encode_values(compiled: Compiled, name: str, values: Numbers) -> Tensor:
    """The statistics `[rows, size]` of values `[rows, *shape]`, or of one row `[*shape]`.

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
    if (why := _misfit(variable, rows)) is not None:
        raise GmcError([run_errors.bad_values(None, name, f"of shape {list(found.shape)}", why)])
    return family(variable).encode(rows)


def _rows(variable: Variable, values: Tensor) -> Tensor:
    return values.unsqueeze(0) if values.shape == variable.shape else values


def _everywhere(variable: Variable, number: object) -> Tensor:
    """One row with the same value at every site; what no float holds is infinite."""
    try:
        value = float(number)  # type: ignore[arg-type]
    except OverflowError:
        value = float("inf")
    return torch.full((1, *variable.shape), value, dtype=torch.float64)


def _misfit(variable: Variable, rows: Tensor) -> str | None:
    """Why values are not rows of a variable, if they are not."""
    if rows.dim() == 0 or rows.shape[1:] != variable.shape:
        return f"a row must have shape {list(variable.shape)}, that of {variable.name}, not {list(rows.shape[1:])}"
    if rows.shape[0] == 0:
        return "there must be one row at least"
    if rows.is_complex():
        return "they are complex"
    wrong = family(variable).unclaimed(rows.to(torch.float64))
    if bool(wrong.any()):
        return f"{float(rows[wrong].flatten()[0]):g} is not {variable.family.support}"
    return None


def _is_number(source: Value) -> bool:
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
