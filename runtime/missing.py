"""Missing values: NaN in data, and NaN in every column of a missing site's statistic.

Which sites may lack a value is said by the chains: `clamp v where observed` clamps what a row has, and what it lacks is drawn. All else that
reads a row needs its values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gmc.compiler.family import Family
from gmc.compiler.region import Index, Region, sites_of
from gmc.compiler.region import columns as columns_of
from gmc.dsl.diagnostic import Diagnostic, GmcError
from gmc.dsl.model import Chain, Checked, Clamp, Model, Variable
from gmc.runtime import errors
from gmc.runtime.examples import Examples

PART = 4096
"""Rows that are looked at together where the first one that lacks something is sought."""

Sites = npt.NDArray[np.bool_]
"""Some of a variable's sites, [sites]."""
Refusal = Callable[[str, tuple[int, ...]], Diagnostic]
"""What to say where a row (in words) has no value at a site (its place in the variable's shape)."""


# ── Statistics with gaps ─────────────────────────────────────────────────────────────────────────────────────────────


def encode(family: Family, values: Tensor) -> Tensor:
    """The statistics `[n, sites * width]` of values `[n, *shape]`, NaN in all columns of the sites whose value is NaN."""
    if not values.is_floating_point():
        return family.encode(values)
    absent = values.isnan()
    if not bool(absent.any()):
        return family.encode(values)
    here = values[~absent]
    if not here.numel():
        return values.new_full((values.shape[0], values[0].numel() * family.width), torch.nan)
    # families never see NaN: any value that they take does in its place
    found = family.encode(torch.where(absent, here[0], values))
    columns = absent.reshape(len(absent), -1).repeat_interleave(family.width, dim=1)
    return found.masked_fill(columns, torch.nan)


def present(statistic: Tensor, width: int) -> Tensor:
    """Which sites have a value, bool `[rows, sites]`, of statistics `[rows, sites * width]`."""
    return ~statistic[:, ::width].isnan()


def gaps_of(statistic: Tensor, width: int) -> Tensor | None:
    """The sites that are missing in at least one row, bool `[sites]` on the CPU; None where nothing is."""
    gaps = ~present(statistic, width).all(dim=0)
    return gaps.cpu() if bool(gaps.any()) else None


def observed_mean(family: Family, total: Tensor, count: Tensor) -> Tensor:
    """Mean statistics `[size]`, from their sums over the rows that have a value and from the numbers of these rows, both float64 `[size]`.

    A site that no row has takes the mean of the variable's other sites. Where no row has any of them, all are NaN.
    """
    mean = total / count
    if bool((count > 0).all()):
        return mean
    sites = mean.unflatten(0, (-1, family.width))
    never = sites.isnan().any(dim=1, keepdim=True)
    return torch.where(never, sites[~never[:, 0]].mean(dim=0), sites).flatten()


def patterns(values: Mapping[str, Tensor], model: Model) -> Iterator[tuple[Tensor, dict[str, Region]]]:
    """Groups the rows of whole statistics `[rows, size]` by the sites that they have: row numbers on the CPU, and regions by variable.

    Every row is in one group. A variable of which its rows have nothing has no region there.
    """
    masks = [present(value, model.variable(name).family.width) for name, value in values.items()]
    together = torch.cat(masks, dim=1)
    if bool(together.all()):
        kinds, kind_of = together[:1], torch.zeros(len(together), dtype=torch.int64)
    else:
        kinds, kind_of = torch.unique(together, dim=0, return_inverse=True)
    kind_of = kind_of.cpu()
    for number, kind in enumerate(kinds.cpu()):
        parts = zip(values, kind.split([mask.shape[1] for mask in masks]), strict=True)
        regions = {name: Region(model.variable(name), part.nonzero()[:, 0].numpy()) for name, part in parts}
        yield (kind_of == number).nonzero()[:, 0], {name: r for name, r in regions.items() if r.sites.size}


def conditioned(
    model: Model, chain: Chain, clamped: Mapping[str, Region], held: Mapping[str, Tensor], rows: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Whole statistics `[rows, size]` of what a chain clamps in each row, NaN where it clamps nothing.

    `clamped` are the regions that it clamps in every row, `held` their whole statistics; what it clamps where observed is taken from `rows`.
    """
    found = {name: _only(held[name], region.columns) for name, region in clamped.items()}
    for clamp in (c for c in chain.clamps if c.observed):
        variable = model.variable(clamp.variable)
        here = _only(rows[variable.name], columns_of(sites_of(variable, clamp.part), variable.family.width))
        before = found.get(variable.name)
        found[variable.name] = here if before is None else torch.where(before.isnan(), here, before)
    return found


def _only(whole: Tensor, columns: Index) -> Tensor:
    """A statistic with NaN outside some of its columns."""
    if columns.size == whole.shape[1]:
        return whole
    at = torch.from_numpy(columns).to(whole.device)
    return torch.full_like(whole, torch.nan).index_copy(1, at, whole[:, at])


# ── What chains read ─────────────────────────────────────────────────────────────────────────────────────────────────


def maskable(model: Model, chains: Iterable[Chain]) -> dict[str, Sites]:
    """The sites of each variable that some of the chains clamps where observed: these may be missing in data."""
    found = {v.name: np.zeros(v.sites, dtype=np.bool_) for v in model.variables}
    for clamp in (c for chain in chains for c in chain.clamps if c.observed):
        found[clamp.variable] |= _marked(model.variable(clamp.variable), clamp)
    return found


def trained_chains(checked: Checked) -> tuple[Chain, ...]:
    """The chains that the train stages compare, and all that these need."""
    lines = [line for stage in checked.stages for line in stage.minimize]
    terms = [term for line in lines for term in checked.objective(line.objective).terms]
    return checked.with_needs(name for term in terms for name in term.objective.chains())


def may_lack(variable: str, chains: Iterable[Chain]) -> bool:
    """Whether some of the chains clamps a part of a variable where observed, so that rows given to them may lack values."""
    return any(clamp.observed for chain in chains for clamp in chain.clamps if clamp.variable == variable)


def _reads(variable: Variable, chain: Chain) -> Iterator[tuple[Sites, Refusal]]:
    """The sites of a variable that a chain reads in every row."""
    clamped = np.zeros(variable.sites, dtype=np.bool_)
    for clamp in (c for c in chain.clamps if c.variable == variable.name and not c.observed):
        sites = _marked(variable, clamp)
        clamped |= sites
        if clamp.constant is None and clamp.chain is None:
            yield sites, partial(errors.gap_in_clamp, clamp.span, chain.name, variable.name)
    start = chain.start(variable.name)
    if start is not None and not isinstance(start.source, str) and start.source.word == "data":
        yield ~clamped, partial(errors.gap_in_start, start.span, chain.name, variable.name)


def place(variable: Variable, site: int) -> tuple[int, ...]:
    """Where a site, numbered row-major, is in the variable's shape."""
    return tuple(int(i) for i in np.unravel_index(site, variable.shape)) if variable.shape else ()


def _marked(variable: Variable, clamp: Clamp) -> Sites:
    found = np.zeros(variable.sites, dtype=np.bool_)
    found[sites_of(variable, clamp.part)] = True
    return found


# ── Refusals ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def refuse_gaps(model: Model, chains: Iterable[Chain], values: Mapping[str, Tensor]) -> None:
    """Refuses rows, as whole statistics `[rows, size]`, that lack what chains read of them.

    Raises:
        GmcError: a chain clamps a site plainly, or starts it from the data, that has no value in some row.
    """
    found = [each for chain in chains for each in _gaps(model, chain, values, "row", 0)]
    if found:
        raise GmcError(found)


def refuse_training_gaps(checked: Checked, data: Examples) -> None:
    """Refuses training rows that lack what the chains of the train stages read of them.

    Raises:
        GmcError: as `refuse_gaps`, with the first such row of each chain.
    """
    gaps = {name: gap.numpy() for name in data.variables if (gap := data.gaps(name)) is not None}
    found: list[Diagnostic] = []
    for chain in trained_chains(checked) if gaps else ():
        reads = [(gap, sites) for name, gap in gaps.items() for sites, _ in _reads(checked.model.variable(name), chain)]
        if any(bool((gap & sites).any()) for gap, sites in reads):
            parts = torch.arange(data.rows).split(PART)
            told = (_gaps(checked.model, chain, data.batch(rows, 0), "training row", int(rows[0])) for rows in parts)
            found += next((each for each in told if each), [])
    found += _unread(checked, data, gaps)
    if found:
        raise GmcError(found)


def _unread(checked: Checked, data: Examples, gaps: Mapping[str, Sites]) -> Iterator[Diagnostic]:
    """What the objectives of the train stages read of rows themselves and some row does not have: the first row of each variable."""
    lines = [line for stage in checked.stages for line in stage.minimize]
    terms = dict.fromkeys(term for line in lines for term in checked.objective(line.objective).terms)
    for term in (each for each in terms if not each.objective.takes_gaps):
        for name in (n for n in term.objective.reads(checked.model) if n in gaps):
            width = checked.model.variable(name).family.width
            for rows in torch.arange(data.rows).split(PART):
                absent = ~present(data.batch(rows, 0)[name], width).cpu()
                if bool(absent.any()):
                    row, site = (int(i) for i in absent.nonzero()[0])
                    where = f"training row {int(rows[0]) + row}", place(checked.model.variable(name), site)
                    yield errors.gap_in_reading(term.span, term.objective.word, name, *where)
                    break


def _gaps(model: Model, chain: Chain, values: Mapping[str, Tensor], what: str, first: int) -> list[Diagnostic]:
    """What a chain reads and rows, numbered from `first` on, do not have: the first row of each clamp and start."""
    found: list[Diagnostic] = []
    for name, value in values.items():
        variable = model.variable(name)
        absent = ~present(value, variable.family.width).cpu()
        for sites, say in _reads(variable, chain):
            bad = absent & torch.from_numpy(sites)
            if bool(bad.any()):
                row, site = (int(i) for i in bad.nonzero()[0])
                found.append(say(f"{what} {first + row}", place(variable, site)))
    return found


def needless(checked: Checked, data: Examples) -> list[Diagnostic]:
    """Warnings: the chains of the train stages that say `where observed` of what every training row has, and from which no objective hides any of it."""
    found: list[Diagnostic] = []
    hidden = {name for o in checked.objectives for term in o.terms for name in term.objective.hides()}
    for chain in (each for each in trained_chains(checked) if each.name not in hidden):
        for clamp in (c for c in chain.clamps if c.observed and c.variable in data.variables):
            gaps = data.gaps(clamp.variable)
            marked = _marked(checked.model.variable(clamp.variable), clamp)
            if gaps is None or not bool((gaps.numpy() & marked).any()):
                found.append(errors.nothing_missing(clamp.span, chain.name, clamp.variable))
    return found
