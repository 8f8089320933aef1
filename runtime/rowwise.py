"""A chain on the rows of a split: one or more of it for each row, clamped to what the data have there."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from gmc.dsl.diagnostic import GmcError
from gmc.dsl.model import Chain, Split
from gmc.runtime import run_errors
from gmc.runtime.clamping import Trained
from gmc.runtime.dataset import SPLITS, Dataset
from gmc.runtime.missing import refuse_gaps
from gmc.runtime.request import Course, Request, needed
from gmc.runtime.sampling import smoothed


def known_split(split: str) -> None:
    """Raises GmcError where no split has that name."""
    if split not in SPLITS:
        raise GmcError([run_errors.unknown_choice(None, "split", split, SPLITS)], exit_code=2)


def rows_in(run: Trained, split: Split) -> Dataset:
    """The rows of a split.

    Raises:
        GmcError: no split has that name, or there are no such rows.
    """
    known_split(split)
    data = run.rows(split)
    if data is None:
        span = run.compiled.checked.model.span
        raise GmcError([run_errors.no_rows(span, split, [s for s in SPLITS if run.rows(s) is not None])], exit_code=2)
    return data


def given_to(run: Trained, chain: Chain) -> list[str]:
    """The variables of which a chain, or one that it needs, reads rows."""
    return needed(run.compiled.checked.with_needs([chain.name]))


def require(run: Trained, chain: Chain, data: Dataset, split: Split) -> None:
    """Raises GmcError where a split lacks rows that a chain reads, with all of them."""
    missing = [
        run_errors.no_column(chain.span, name, split, f"which chain `{chain.name}` needs")
        for name in given_to(run, chain)
        if name not in data.variables
    ]
    if missing:
        raise GmcError(missing, exit_code=2)


def row_means(
    run: Trained,
    chain: Chain,
    data: Dataset,
    names: Iterable[str],
    rows: Tensor,
    chains: int,
    seed: int,
    course: Course,
) -> dict[str, Tensor]:
    """Mean statistics of variables in each of some consecutive rows, float64 `[rows, size]`, over the row's chains and their kept sweeps.

    A row is the same whatever others it is run with.

    Raises:
        GmcError: a row lacks a value that a chain reads.
    """
    involved = run.compiled.checked.with_needs([chain.name])
    batch = data.batch(rows, 0)
    # chain number r * chains + c is the c-th of row r, whatever rows are run together
    values = {name: batch[name].repeat_interleave(chains, dim=0) for name in needed(involved)}
    refuse_gaps(run.compiled.checked.model, involved, values)
    first, across = int(rows[0]) * chains, len(rows) * chains
    request = Request(run, run.compiled, chain, seed, across, values, course, first)
    found = smoothed(request, 0, across, list(names))
    return {name: value.unflatten(0, (len(rows), chains)).mean(1) for name, value in found.items()}
