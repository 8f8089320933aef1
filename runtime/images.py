"""Images: samples as grids of tiles, learned filters, training curves.

Tiles are made with numpy and written by Pillow; curves are drawn by matplotlib on a canvas that needs no display. Both are imported when first used.
"""

from __future__ import annotations

import colorsys
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gmc.compiler.factors.conv import Conv
from gmc.compiler.factors.dense import Dense
from gmc.compiler.factors.lowrank import LowRank
from gmc.compiler.graph import FactorGraph, Term, family
from gmc.dsl.model import Variable
from gmc.runtime.storage import write_bytes

Image = npt.NDArray[np.uint8]
"""`[height, width, 3]`."""
Values = npt.NDArray[np.float64]

GAP = (72, 92, 122)
MISSING = (214, 118, 118)
POSITIVE = (178, 24, 43)
NEGATIVE = (33, 102, 172)
STATES = (
    (0, 0, 0), (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
)  # fmt: skip
"""Colours that colour-blind eyes tell apart (Okabe and Ito 2008)."""
MOST_FILTERS = 100
ROOM = 640
"""Pixels of width to which a small image is enlarged, about."""
FRAME, PAUSE = 80, 1200
"""Milliseconds that a frame of an animation stands, and the last one."""
LONGEST_ROW = 16
"""Sites of a variable with one axis that are still shown in a row."""


def grid(
    values: Tensor | npt.NDArray[Any],
    variable: Variable | None = None,
    columns: int | None = None,
    padding: int = 1,
    scale: int | None = None,
) -> Image:
    """Tiles, one an example, in rows.

    `values` are `[n, *shape]`, as a user reads them, or means of them (of a categorical variable also probabilities `[n, *shape, k]`). A shape `[H, W]` is an
    image, `[3, H, W]` one in colour, other channels stand side by side, a single axis is a row or near to a square. Black to white is the range of the variable's
    family, or, where that is not finite or no variable is given, of all but the outermost percent of the values; states of a categorical variable
    have colours. NaN is pink. `scale` pixels make a site (None: as many as give a picture of common size).

    Raises:
        ValueError: `values` do not have the variable's shape, or there are none.
    """
    array = _array(values)
    if array.ndim == 0 or array.shape[0] == 0:
        raise ValueError("there is nothing to show")
    return _assembled(_tiles(array, variable, _range(array, variable)), columns, padding, scale)


def save_grid(
    path: Path,
    values: Tensor | npt.NDArray[Any],
    variable: Variable | None = None,
    columns: int | None = None,
    padding: int = 1,
    scale: int | None = None,
) -> None:
    """Writes a grid as PNG, whole or not at all; arguments as of `grid`.

    Raises:
        GmcError: the file cannot be written.
    """
    save(path, grid(values, variable, columns, padding, scale))


def save(path: Path, image: Image) -> None:
    """Writes an image as PNG, whole or not at all.

    Raises:
        GmcError: the file cannot be written.
    """
    from PIL import Image as Pillow

    buffer = io.BytesIO()
    Pillow.fromarray(image).save(buffer, format="PNG", optimize=False)
    write_bytes(path, buffer.getvalue())


def animate(
    path: Path, values: Tensor | npt.NDArray[Any], variable: Variable, columns: int | None = None, padding: int = 1
) -> None:
    """Writes values `[n, frames, *shape]` as an animated GIF that goes round, whole or not at all: each frame a grid, all with the same black and white.

    Raises:
        ValueError: `values` do not have the variable's shape, or there are none.
        GmcError: the file cannot be written.
    """
    from PIL import Image as Pillow

    array = _array(values)
    if array.ndim < 2 or 0 in array.shape[:2]:
        raise ValueError("there is nothing to show")
    limits = _range(array.reshape(-1, *array.shape[2:]), variable)
    count = array.shape[1]

    def frame(number: int) -> Pillow.Image:
        tiles = _tiles(array[:, number], variable, limits)
        # without dither, and with as many colours as a frame may have: exact unless there are more than these
        return Pillow.fromarray(_assembled(tiles, columns, padding, None)).quantize(256, dither=Pillow.Dither.NONE)

    durations = [FRAME] * (count - 1) + [PAUSE]
    buffer = io.BytesIO()
    rest = (frame(number) for number in range(1, count))
    frame(0).save(buffer, format="GIF", save_all=True, append_images=rest, duration=durations, loop=0)
    write_bytes(path, buffer.getvalue())


def filters(graph: FactorGraph, weights: Mapping[str, Tensor]) -> dict[str, Image]:
    """The weights of each edge of an observed variable that is an image: a tile a unit of the other end, red above 0 and blue below.

    Dense: the weights of the unit, in the image's shape; low rank: those of a component; conv: the kernels. At most 100 tiles, those of the largest norm, largest first.
    Edges of other factors or of third order have none.
    """
    found = {}
    for term in graph.terms:
        tiles = _filters(term, weights)
        if tiles is not None:
            norms = np.sqrt((tiles**2).reshape(tiles.shape[0], -1).sum(1))
            order = np.argsort(-norms, kind="stable")[:MOST_FILTERS]
            mixed = any(v.observed and v.family.width == 1 and len(v.shape) == 3 and v.shape[0] == 3 for v in term.ends)
            found[term.name] = diverging(tiles[order], colour=mixed and tiles.shape[1] == 3)
    return found


def diverging(
    tiles: Values, columns: int | None = None, padding: int = 1, scale: int | None = None, colour: bool = False
) -> Image:
    """Tiles `[n, *shape]` of signed numbers: white is 0, full red and full blue are the largest size met.

    `colour`: the tiles are `[3, H, W]`, and each channel has a light of its own, half of it at 0.
    """
    limit = float(np.nanmax(np.abs(tiles), initial=0.0)) or 1.0
    if colour:
        painted = np.moveaxis(np.rint((tiles / limit + 1) * 127.5), 1, 3).astype(np.uint8)
    else:
        painted = np.stack([_signed(_layout(_flat_channels(tile))[..., 0], limit) for tile in tiles])
    return _assembled(painted, columns, padding, scale)


def curves(path: Path, rows: Iterable[Mapping[str, Any]]) -> bool:
    """Plots the numbers of `metrics.jsonl` against the epoch (or the updates), a panel each and a line each stage, as PNG.

    False, and no file, where there is nothing to plot.

    Raises:
        GmcError: the file cannot be written.
    """
    records = list(rows)
    axis = next((key for key in ("epoch", "updates") if any(key in row for row in records)), None)
    aside = {"epoch", "updates"}
    keys = [k for k in dict.fromkeys(k for row in records for k in row) if k not in aside and _plotted(records, k)]
    if axis is None or not keys:
        return False
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    wide = min(2, len(keys))
    figure = Figure(figsize=(4.8 * wide, 2.7 * math.ceil(len(keys) / wide)), layout="constrained", dpi=120)
    panels = figure.subplots(math.ceil(len(keys) / wide), wide, squeeze=False).ravel()
    for panel, key in zip(panels, keys, strict=False):
        stages = list(dict.fromkeys(str(row.get("stage", "")) for row in records if _number(row.get(key))))
        for stage in stages:
            points = [
                (r[axis], r[key])
                for r in records
                if _number(r.get(key)) and _number(r.get(axis)) and str(r.get("stage", "")) == stage
            ]
            panel.plot(*zip(*points, strict=True), linewidth=1.4, marker="." if len(points) < 40 else None, label=stage)
        panel.set_title(key, fontsize=10, loc="left")
        panel.set_xlabel(axis, fontsize=9)
        panel.tick_params(labelsize=8)
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
        if len(stages) > 1:
            panel.legend(fontsize=8, frameon=False)
    for panel in panels[len(keys) :]:
        panel.set_visible(False)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", metadata={"Software": None})
    write_bytes(path, buffer.getvalue())
    return True


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _plotted(records: Sequence[Mapping[str, Any]], key: str) -> bool:
    return any(_number(row.get(key)) for row in records)


def _array(values: Tensor | npt.NDArray[Any]) -> Values:
    array = values.detach().to("cpu", torch.float64).numpy() if isinstance(values, Tensor) else values
    return np.asarray(array, dtype=np.float64)


def _tiles(array: Values, variable: Variable | None, limits: tuple[float, float]) -> Image:
    """A tile an example, `[n, height, width, 3]`; `limits` are black and white.

    Raises:
        ValueError: the values do not have the variable's shape.
    """
    if variable is not None and variable.family.width > 1:
        return _coloured(array, variable)
    if variable is not None and array.shape[1:] != variable.shape:
        raise ValueError(f"{variable.name} has shape {variable.shape}, not {array.shape[1:]}")
    # a variable without a shape is one site
    shaped = array.reshape(len(array), *array.shape[1:] or (1,))
    return np.stack([_grey(_layout(tile), *limits) for tile in shaped])


def _range(array: Values, variable: Variable | None) -> tuple[float, float]:
    """What is black and what is white."""
    if variable is not None and variable.family.states is not None:
        kind = family(variable)
        support = kind.decode(kind.values(), ())
        return float(support.min()), float(support.max())
    finite = array[np.isfinite(array)]
    if finite.size == 0:
        return 0.0, 1.0
    if variable is None and finite.min() >= 0 and finite.max() <= 1:
        return 0.0, 1.0
    low, high = np.percentile(finite, (1, 99))
    return (float(low), float(high)) if high > low else (float(low) - 0.5, float(low) + 0.5)


def _layout(tile: Values) -> Values:
    """One example as an image `[H, W, 1]` or `[H, W, 3]`; places that no site has are infinite."""
    match tile.ndim:
        case 1:
            return _folded(tile)[..., None]
        case 2:
            return tile[..., None]
        case _:
            maps = tile.reshape(-1, *tile.shape[-2:])
            return np.moveaxis(maps, 0, 2) if len(maps) == 3 else np.concatenate(list(maps), axis=1)[..., None]


def _folded(line: Values) -> Values:
    """A list as a row, or, if it is long, as a rectangle near to a square, with infinity for what is left over."""
    if line.size <= LONGEST_ROW:
        return line.reshape(1, -1)
    rows = math.isqrt(line.size)
    exact = next((n for n in range(rows, rows // 2, -1) if line.size % n == 0), rows)
    across = math.ceil(line.size / exact)
    whole = np.full(exact * across, np.inf)
    whole[: line.size] = line
    return whole.reshape(exact, across)


def _grey(tile: Values, low: float, high: float) -> Image:
    """`[H, W, 1 or 3]` as bytes `[H, W, 3]`."""
    painted = np.clip((np.nan_to_num(tile, posinf=0.0) - low) / (high - low), 0, 1) * 255
    image = np.rint(np.broadcast_to(painted, (*tile.shape[:2], 3))).astype(np.uint8)
    image[np.isnan(tile).any(2)] = MISSING
    image[np.isposinf(tile).any(2)] = GAP
    return image


def _coloured(array: Values, variable: Variable) -> Image:
    """Tiles of a variable whose sites have states: state numbers, or probabilities along a last axis, which mix the colours."""
    count = variable.family.width
    palette = np.array([_colour(state) for state in range(count)], dtype=np.float64)
    if array.shape[1:] == variable.shape:
        shares = np.full((*array.shape, count), np.nan)
        known = np.isfinite(array)
        shares[known] = np.eye(count)[array[known].astype(np.int64)]
    elif array.shape[1:] == (*variable.shape, count):
        shares = array
    else:
        raise ValueError(f"{variable.name} has shape {variable.shape}, not {array.shape[1:]}")
    shares = shares.reshape(len(array), *variable.shape or (1,), count)
    painted = shares @ palette
    tiles = []
    for example in painted:
        # channels beside one another: each colour is laid out as a picture of its own
        maps = [_layout(_flat_channels(example[..., colour])) for colour in range(3)]
        tiles.append(_grey(np.concatenate(maps, axis=2), 0.0, 255.0))
    return np.stack(tiles)


def _flat_channels(tile: Values) -> Values:
    """`[.., H, W]` with whatever stands before the last two axes side by side."""
    if tile.ndim < 3:
        return tile
    return np.concatenate(list(tile.reshape(-1, *tile.shape[-2:])), axis=1)


def _colour(state: int) -> tuple[int, int, int]:
    if state < len(STATES):
        return STATES[state]
    # the golden ratio keeps further hues apart
    red, green, blue = colorsys.hsv_to_rgb((state * 0.618034) % 1.0, 0.55, 0.85)
    return round(red * 255), round(green * 255), round(blue * 255)


def _signed(tile: Values, limit: float) -> Image:
    share = np.clip(np.nan_to_num(tile, posinf=0.0) / limit, -1, 1)[..., None]
    end = np.where(share >= 0, np.array(POSITIVE, dtype=np.float64), np.array(NEGATIVE, dtype=np.float64))
    image = np.rint(255 + (end - 255) * np.abs(share)).astype(np.uint8)
    image[np.isnan(tile)] = MISSING
    image[np.isposinf(tile)] = GAP
    return image


def _assembled(tiles: Image, columns: int | None, padding: int, scale: int | None) -> Image:
    """Tiles `[n, H, W, 3]` in rows, with gaps between and around."""
    count, height, width, _ = tiles.shape
    across = min(count, columns or round(math.sqrt(count * height / width)) or 1)
    down = math.ceil(count / across)
    sheet = np.empty((down * (height + padding) + padding, across * (width + padding) + padding, 3), dtype=np.uint8)
    sheet[:] = GAP
    for index, tile in enumerate(tiles):
        top = padding + index // across * (height + padding)
        left = padding + index % across * (width + padding)
        sheet[top : top + height, left : left + width] = tile
    zoom = scale or max(1, min(16, ROOM // sheet.shape[1]))
    return sheet.repeat(zoom, axis=0).repeat(zoom, axis=1)


def _filters(term: Term, weights: Mapping[str, Tensor]) -> Values | None:
    """Tiles `[units, *shape]` of a term, or None where it has none to show."""
    shown = next((n for n, v in enumerate(term.ends) if v.observed and len(v.shape) in (2, 3)), None)
    if shown is None or len(term.ends) != 2:
        return None
    match term.factor:
        case Dense():
            return _units(_array(weights[term.parameter("weight")]), shown, term.ends[shown])
        case LowRank():
            return _units(_array(weights[term.parameter(f"weight.{shown}")]), 0, term.ends[shown])
        case Conv():
            kernels = _array(weights[term.parameter("weight")])
            return kernels if shown == 0 else np.swapaxes(kernels, 0, 1)
        case _:
            return None


def _units(matrix: Values, axis: int, variable: Variable) -> Values:
    """The weights of each unit of the other end, in the variable's shape; several statistics a site are channels."""
    rows = np.moveaxis(matrix, axis, 1)
    width = variable.family.width
    if width == 1:
        return rows.reshape(-1, *variable.shape)
    return np.moveaxis(rows.reshape(-1, *variable.shape, width), -1, 1).reshape(
        -1, width * math.prod(variable.shape[:-2]), *variable.shape[-2:]
    )
