"""How pictures and listings call things: parts of variables, types, where values come from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gmc.compiler.graph import Term
from gmc.compiler.region import Region
from gmc.dsl.errors.phrases import plural
from gmc.dsl.model import Chain, Clamp, Gain, Start, Variable
from gmc.dsl.vocabulary import Ramp

FIRST = 4
"""Sites named before the rest is left to dots."""


def part_name(region: Region) -> str:
    """A region as a .gm file writes it, `v` or `v[:, 4:]`; where no slice says it, its first sites: `s[0, 2, 5, ..]`."""
    if region.whole:
        return region.name
    box = rectangle(region)
    if box is not None:
        inside = [_slice(*ends, length) for ends, length in zip(box, region.variable.shape, strict=True)]
    else:
        inside = [str(int(site)) for site in region.sites[:FIRST]] + ([".."] if region.sites.size > FIRST else [])
    return f"{region.name}[{', '.join(inside)}]"


def rectangle(region: Region) -> tuple[tuple[int, int], ...] | None:
    """Half-open ranges, one an axis, whose product is the region; None where there are none, or nothing to slice."""
    shape = region.variable.shape
    if not shape or region.sites.size == 0:
        return None
    places = np.unravel_index(region.sites, shape)
    box = tuple((int(axis.min()), int(axis.max()) + 1) for axis in places)
    return box if int(np.prod([high - low for low, high in box])) == region.sites.size else None


def _slice(low: int, high: int, length: int) -> str:
    if low == 0 and high == length:
        return ":"
    if high == low + 1:
        return str(low)
    return f"{low or ''}:{high if high < length else ''}"


def type_text(variable: Variable) -> str:
    """Family and shape as a .gm file writes them: `bernoulli[8, 8]`."""
    shape = f"[{', '.join(map(str, variable.shape))}]" if variable.shape else ""
    return f"{variable.family}{shape}"


def count_text(region: Region) -> str:
    """`64 sites`, or `32 of 64 sites` of a part."""
    if region.whole:
        return plural(region.variable.sites, "site")
    return f"{region.sites.size} of {plural(region.variable.sites, 'site')}"


def clamp_source(clamp: Clamp) -> str:
    """Where a clamped value comes from: `data`, `data where observed`, `= 3`, `chain predict`."""
    if clamp.constant is not None:
        return f"= {clamp.constant:g}"
    source = "data" if clamp.chain is None else f"chain {clamp.chain}"
    return f"{source} where observed" if clamp.observed else source


def start_source(start: Start) -> str:
    """What a start draws on: `noise`, `persistent(n = 100)`, `chain predict`."""
    return f"chain {start.source}" if isinstance(start.source, str) else str(start.source)


def gain_text(gain: Gain) -> str:
    """A gain as a .gm file writes it: `potent h2 = 0.25`, `impotent v unless surprise(v) > 0.5`."""
    what = gain.edge or (gain.variable if gain.target is None else f"{gain.variable} -> {gain.target}")
    said = f"potent {what} = {gain.value}" if gain.value.start or gain.value.end else f"impotent {what}"
    return said if gain.unless is None else f"{said} unless {gain.unless}"


def sweeps_text(sweeps: Ramp) -> str:
    """`1 sweep`, `50 sweeps`, `1 -> 20 sweeps`."""
    return plural(round(sweeps.start), "sweep") if sweeps.constant else f"{sweeps} sweeps"


def sweep_text(chain: Chain) -> str:
    """A written sweep as a .gm file writes it: `{v, z by x_z} then {x}`."""
    by = dict(chain.by)
    blocks = [[f"{n} by {by[n]}" if n in by else n for n in names] for names in chain.sweep or ()]
    return " then ".join(f"{{{', '.join(names)}}}" for names in blocks)


def factor_text(term: Term) -> str:
    """A term's factor as the file writes it: `dense`, `conv(kernel = 5)`, `tied(edge = v_h)`."""
    return str(term.edge.factor)


def shape_text(shape: Sequence[int]) -> str:
    """`64 x 128`."""
    return " \N{MULTIPLICATION SIGN} ".join(map(str, shape))


def blocks_text(sizes: Sequence[int]) -> str:
    """How several blocks are told as one: `64 blocks, one site each`, `10 blocks, 5 to 12 sites each`."""
    low, high = min(sizes), max(sizes)
    each = "one site" if high == 1 else plural(high, "site") if low == high else f"{low} to {high} sites"
    return f"{len(sizes)} blocks, {each} each"
