"""Each factor's term of the energy, `f_e(T)`, as sums over sites."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor

from gmc.dsl.model import Edge, Model, Variable

Weights = Mapping[str, Tensor]


def term(model: Model, owner: Edge, edge: Edge, weights: Weights, statistics: Mapping[str, Tensor]) -> Tensor:
    """`f_e(T)` for each row, `[n]`, of statistics `VAR` -> `[n, sites, width]`.

    `owner` is the edge whose factor and weights are used, another than `edge` where that is tied.

    Raises:
        NotImplementedError: the oracle does not know the factor.
    """
    ends = model.ends(edge)
    ts = [statistics[name] for name in edge.ends]
    weight = {
        name.removeprefix(f"{owner.name}."): w for name, w in weights.items() if name.startswith(f"{owner.name}.")
    }
    match owner.factor.word:
        case "dense":
            return dense(weight["weight"], ts, edge.lateral)
        case "lowrank":
            return lowrank([weight[f"weight.{n}"] for n in range(len(ts))], ts, edge.lateral)
        case "sparse":
            return sparse(weight["weight"], pairs_of(owner), ts)
        case "lattice":
            periodic = owner.factor.boundary == "periodic"  # type: ignore[attr-defined]
            coupling = owner.factor.coupling  # type: ignore[attr-defined]
            return lattice(weight.get("weight"), coupling, bonds(ends[0].shape, periodic), ts[0])
        case "conv":
            stride, padding = owner.factor.stride, owner.factor.padding  # type: ignore[attr-defined]
            return conv(weight["weight"], stride, padding, image(ends[0], ts[0]), image(ends[1], ts[1]))
        case word:
            raise NotImplementedError(f"the oracle does not know the factor {word!r}")


def bilinear(w: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """`a' w b` of two statistics `[n, sites, width]` and a weight `[size of a, size of b]`."""
    a, b = a.flatten(1), b.flatten(1)
    total = torch.zeros(a.shape[0], dtype=torch.float64)
    for i, j in itertools.product(range(a.shape[1]), range(b.shape[1])):
        total = total + w[i, j] * a[:, i] * b[:, j]
    return total


def within(w: Tensor, t: Tensor) -> Tensor:
    """`1/2 T' w T` without the terms that pair a site with itself."""
    sites, width = t.shape[1:]
    total = torch.zeros(t.shape[0], dtype=torch.float64)
    for i, j in itertools.permutations(range(sites), 2):
        for p, q in itertools.product(range(width), repeat=2):
            total = total + 0.5 * w[i * width + p, j * width + q] * t[:, i, p] * t[:, j, q]
    return total


def dense(w: Tensor, ts: Sequence[Tensor], lateral: bool) -> Tensor:
    """`T_a' W T_b`; lateral `1/2 T' W T`; third order `sum_ijk W_ijk a_i b_j c_k`."""
    if lateral:
        return within(w, ts[0])
    if len(ts) == 2:
        return bilinear(w, *ts)
    flat = [t.flatten(1) for t in ts]
    total = torch.zeros(flat[0].shape[0], dtype=torch.float64)
    for i, j, k in itertools.product(*(range(t.shape[1]) for t in flat)):
        total = total + w[i, j, k] * flat[0][:, i] * flat[1][:, j] * flat[2][:, k]
    return total


def lowrank(factors: Sequence[Tensor], ts: Sequence[Tensor], lateral: bool) -> Tensor:
    """`W = A B'`; lateral `(A B' + B A') / 2` without its diagonal blocks; third order `sum_f (a_f T_a)(b_f T_b)(c_f T_c)`."""
    if len(factors) == 2:
        a, b = factors
        return within((a @ b.T + b @ a.T) / 2, ts[0]) if lateral else bilinear(a @ b.T, *ts)
    total = torch.zeros(ts[0].shape[0], dtype=torch.float64)
    for f in range(factors[0].shape[1]):
        product = torch.ones_like(total)
        for matrix, t in zip(factors, ts, strict=True):
            seen = torch.zeros_like(total)
            for i in range(matrix.shape[0]):
                seen = seen + matrix[i, f] * t.flatten(1)[:, i]
            product = product * seen
        total = total + product
    return total


def pairs_of(edge: Edge) -> list[tuple[int, int]]:
    """The pairs of sites that a sparse edge joins, as its file lists them."""
    with np.load(edge.factor.path) as file:  # type: ignore[attr-defined]
        return [(int(i), int(j)) for i, j in zip(file["i"], file["j"], strict=True)]


def sparse(w: Tensor, pairs: Sequence[tuple[int, int]], ts: Sequence[Tensor]) -> Tensor:
    """`sum_p <T_i, W_p T_j>` over the listed pairs, with W `[pairs, width of a, width of b]`."""
    a, b = ts
    total = torch.zeros(a.shape[0], dtype=torch.float64)
    for p, (i, j) in enumerate(pairs):
        for x, y in itertools.product(range(a.shape[2]), range(b.shape[2])):
            total = total + w[p].reshape(a.shape[2], b.shape[2])[x, y] * a[:, i, x] * b[:, j, y]
    return total


def bonds(shape: Sequence[int], periodic: bool) -> list[tuple[int, int, int]]:
    """Nearest neighbours on a lattice, each unordered pair once, as (axis, site, site): axis by axis, then row-major.

    Around a periodic axis of length 2 both ways lead to the same neighbour: one bond. Of length 1 there is none.
    """
    number = {place: i for i, place in enumerate(itertools.product(*(range(size) for size in shape)))}
    found: list[tuple[int, int, int]] = []
    for axis, place in itertools.product(range(len(shape)), number):
        step = (*place[:axis], place[axis] + 1, *place[axis + 1 :])
        if step in number:
            found.append((axis, number[place], number[step]))
        elif periodic and shape[axis] > 2:
            found.append((axis, number[place], number[(*place[:axis], 0, *place[axis + 1 :])]))
    return found


def lattice(w: Tensor | None, coupling: str | float, neighbours: Sequence[tuple[int, int, int]], t: Tensor) -> Tensor:
    """`sum_<ij> J <T_i, T_j>` over nearest neighbours, with one J in all, one an axis, one a bond, or a fixed number."""
    total = torch.zeros(t.shape[0], dtype=torch.float64)
    for n, (axis, i, j) in enumerate(neighbours):
        place = {"shared": 0, "axis": axis, "bond": n}.get(str(coupling))
        strength = float(coupling) if place is None or w is None else w[place]
        for component in range(t.shape[2]):
            total = total + strength * t[:, i, component] * t[:, j, component]
    return total


def image(variable: Variable, t: Tensor) -> Tensor:
    """A statistic as `[n, channels, height, width]`: the axes of the shape, a categorical's states as more channels."""
    channels = prod(variable.shape[:-2])
    t = t.reshape(t.shape[0], channels, *variable.shape[-2:], t.shape[2])
    return t.permute(0, 1, 4, 2, 3).flatten(1, 2)


def conv(w: Tensor, stride: int, padding: int, a: Tensor, b: Tensor) -> Tensor:
    """`sum_{k,c,i,j,p,q} w_kcpq b_kij a_{c, s i + p - padding, s j + q - padding}`, where a is 0 outside its image."""
    height, width = a.shape[2:]
    total = torch.zeros(a.shape[0], dtype=torch.float64)
    for k, c, p, q in itertools.product(*(range(size) for size in w.shape)):
        for i, j in itertools.product(range(b.shape[2]), range(b.shape[3])):
            row, column = stride * i + p - padding, stride * j + q - padding
            if 0 <= row < height and 0 <= column < width:
                total = total + w[k, c, p, q] * b[:, k, i, j] * a[:, c, row, column]
    return total
