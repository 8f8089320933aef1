"""Small models on every family, factor and clamp pattern, as .gm text: few enough states to list, no symmetry to hide behind.

Every layer has at least three units where the number of states allows; all layers differ in size. `load` compiles one to a
checked model with one chain, `random_weights` gives it weights, `random_values` values to clamp.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gmc.dsl.model import Checked, Edge, Model, Variable
from tests.oracle.sites import support
from tests.oracle.tails import LOG_PRECISION, UNBOUNDED, some_values
from tests.oracle.terms import bonds, pairs_of

CHAIN = "given"
"""The name of the chain that `program` writes."""


@dataclass(frozen=True)
class Example:
    """A model's text, the clamp patterns worth trying (chain items; empty: nothing), and the pairs of sites in its files."""

    name: str
    body: str
    clamps: tuple[str, ...]
    files: Mapping[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)

    @property
    def gaussian(self) -> bool:
        """Whether it has unbounded values, so that its states cannot all be listed."""
        return any(word in self.body for word in UNBOUNDED)

    def __str__(self) -> str:
        return self.name


RBM = Example(
    "rbm",
    """
    observed v : bernoulli[2, 3]
    latent   h : bernoulli[4]
    edge v -- h
    """,
    (
        "",
        "clamp v",
        "clamp h",
        "clamp v[:, 1:]",
        "clamp v[0, 0:2], h[3]",
        "clamp v[0, :] = 1",
        "clamp v[0:1, 0:1], h",
        "clamp v[:, 0], h[1:3]",
    ),
)
BOLTZMANN = Example(
    "boltzmann",
    """
    observed v : bernoulli[4]
    latent   h : bernoulli[3]
    edge v -- v
    edge h -- h
    edge v -- h
    """,
    (
        "",
        "clamp v",
        "clamp h",
        "clamp v[1:3]",
        "clamp v[0:2], h",
        "clamp h[2]",
        "clamp v[0], h[1:]",
        "clamp v[3], h[0]",
    ),
)
SPIN_BOLTZMANN = Example(
    "spin_boltzmann",
    """
    observed v : spin[5]
    latent   h : spin(bias = 0.25)[3]
    edge v -- v
    edge v -- h
    """,
    ("", "clamp v", "clamp v[2:]", "clamp h = -1", "clamp v[0:2], h[1]"),
)
POTTS_LATERAL = Example(
    "potts_lateral",
    """
    observed y : categorical(3)[3]
    latent   h : bernoulli[4]
    edge y -- y
    edge y -- h
    """,
    ("", "clamp y", "clamp y[1]", "clamp h", "clamp y[0:2] = 2", "clamp y[1], h[2:]", "clamp h[0:2]"),
)
DBM2 = Example(
    "dbm2",
    """
    observed v  : bernoulli[4]
    latent   h1 : bernoulli[3]
    latent   h2 : bernoulli[3]
    edge v  -- h1
    edge h1 -- h2
    """,
    (
        "",
        "clamp v",
        "clamp h2",
        "clamp v, h2",
        "clamp v[0:3]",
        "clamp h1",
        "clamp v[0:2], h2[1:]",
        "clamp h1[0], h2[2]",
        "clamp v[1], h1[1:]",
    ),
)
DBM3 = Example(
    "dbm3",
    """
    observed v  : bernoulli[3]
    latent   h1 : bernoulli[4]
    latent   h2 : bernoulli[3]
    latent   h3 : spin[1]
    edge v  -- h1
    edge h1 -- h2
    edge h2 -- h3
    """,
    (
        "",
        "clamp v",
        "clamp v, h2",
        "clamp h3",
        "clamp h1[1:], v[2]",
        "clamp h1",
        "clamp h2[0:2]",
        "clamp v[0:2], h1[1:3], h3",
    ),
)
LABEL_RBM = Example(
    "label_rbm",
    """
    observed v : bernoulli[2, 2]
    observed y : categorical(3)
    latent   h : bernoulli[4]
    edge v -- h
    edge y -- h
    """,
    (
        "",
        "clamp v",
        "clamp y = 2",
        "clamp y",
        "clamp v, y",
        "clamp v[:, 0], y",
        "clamp h",
        "clamp y, h[0:2]",
        "clamp v[1, 1], h[3]",
    ),
)
TRIANGLE = Example(
    "triangle",
    """
    observed a : bernoulli[3]
    observed b : spin[3]
    latent   c : categorical(3)[2]
    edge a -- b
    edge b -- c
    edge c -- a
    """,
    ("", "clamp a", "clamp c[0]", "clamp a[1:], b[0]", "clamp c", "clamp a, c[1]", "clamp a[0], b[1:], c[0]"),
)
THIRD_ORDER = Example(
    "third_order",
    """
    observed x : bernoulli[4]
    observed y : bernoulli[3]
    latent   h : bernoulli[3]
    edge x -- y -- h
    """,
    (
        "",
        "clamp x",
        "clamp x, y",
        "clamp h",
        "clamp x[1:3]",
        "clamp x[0:2], y[1:]",
        "clamp y",
        "clamp y, h[1]",
        "clamp h[0:2]",
        "clamp x[0], y[0], h[1:]",
    ),
)
THIRD_MIXED = Example(
    "third_mixed",
    """
    observed x : spin[3]
    observed y : categorical(3)[2]
    latent   h : bernoulli(bias = none)[3]
    edge both : x -- y -- h
    edge y -- h
    """,
    ("", "clamp x", "clamp y", "clamp y[0], x[2]", "clamp h = 0", "clamp x[1:], h[0]", "clamp y[1], h"),
)
ISING_OPEN = Example(
    "ising_open",
    """
    observed s : spin[2, 5]
    edge s -- s by lattice(coupling = axis)
    """,
    ("", "clamp s[:, 2:]", "clamp s[1, 1:3]", "clamp s[0, :] = 1", "clamp s[0, 0], s[1, 3:]"),
)
ISING_PERIODIC = Example(
    "ising_periodic",
    """
    observed s : spin[3, 3]
    edge s -- s by lattice(boundary = periodic)
    """,
    ("", "clamp s[:, 1:]", "clamp s[1, 1]"),
)
ISING_RING = Example(
    "ising_ring",
    """
    observed s : spin(bias = 0.3)[5]
    edge s -- s by lattice(coupling = bond, boundary = periodic)
    """,
    ("", "clamp s[2:4]", "clamp s[0] = -1"),
)
ISING_THIN = Example(
    "ising_thin",
    """
    observed s : spin[2, 4, 1]
    edge s -- s by lattice(coupling = bond, boundary = periodic)
    """,
    ("", "clamp s[0, :, 0]"),
)
ISING_FIXED = Example(
    "ising_fixed",
    """
    observed s : bernoulli(bias = channel)[3, 3]
    edge s -- s by lattice(coupling = 0.7)
    """,
    ("", "clamp s[:, 0]"),
)
POTTS = Example(
    "potts",
    """
    observed s : categorical(3)[2, 3]
    edge s -- s by lattice
    """,
    ("", "clamp s[0, :]", "clamp s[1, 1:] = 1"),
)
LATTICE_RBM = Example(
    "lattice_rbm",
    """
    observed v : spin[2, 3]
    latent   h : bernoulli[3]
    edge v -- v by lattice
    edge v -- h
    """,
    ("", "clamp v", "clamp h", "clamp v[:, 0:2]", "clamp v[0, 0], v[1, 1:], h[1]"),
)
GAUSSIAN_RBM = Example(
    "gaussian_rbm",
    """
    observed x : normal(precision = 2.5)[2, 2]
    latent   h : bernoulli[4]
    edge x -- h
    """,
    ("", "clamp x", "clamp h", "clamp x[:, 0]", "clamp x[0, :], h[0:2]", "clamp h[1:3]"),
)
GAUSSIAN_MIXED = Example(
    "gaussian_mixed",
    """
    observed x : normal[3]
    observed y : categorical(3)
    latent   h : spin[3]
    latent   g : bernoulli[3]
    edge x -- h
    edge h -- y
    edge g -- x -- y
    edge g -- g
    """,
    ("", "clamp x", "clamp y = 1", "clamp g, h[1]", "clamp x[1:], y", "clamp y, h", "clamp x[0], g[1], h[0:2]"),
)
LEARNED = Example(
    "learned",
    """
    observed x : normal(precision = learned)[2, 2]
    observed y : categorical(3)
    latent   h : bernoulli[3]
    latent   g : spin[2]
    edge x -- h
    edge y -- x
    edge h -- g
    edge x -- y -- g
    """,
    ("", "clamp x, y", "clamp h", "clamp x[:, 0], g[1]"),
)
RECTIFIED = Example(
    "rectified",
    """
    observed v : bernoulli[4]
    latent   r : relu[3]
    latent   s : relu(bias = channel)[2, 1]
    edge v -- r
    edge v -- s by lowrank(2)
    """,
    ("", "clamp v", "clamp r", "clamp v[1:], s[0, 0]"),
)
COUNTED = Example(
    "counted",
    """
    observed n : poisson(bias = -1)[3]
    latent   h : bernoulli[3]
    latent   t : spin[2]
    edge n -- h
    edge h -- t
    edge t -- n
    """,
    ("", "clamp n", "clamp n[1:3]", "clamp h, t[0]"),
)
WAITED = Example(
    "waited",
    """
    observed w : gamma[3]
    observed u : gamma(shape = 2.5, bias = -3)[2]
    observed y : categorical(3)
    latent   h : bernoulli[3]
    edge w -- h
    edge u -- y
    edge h -- y
    """,
    ("", "clamp w, u", "clamp w[0] clamp y = 2", "clamp h"),
)
ENDLESS = Example(
    "endless",
    """
    observed x : normal(precision = learned)[2]
    observed n : poisson(bias = 0.3)[2]
    observed w : gamma(shape = 0.7)[2]
    latent   r : relu[2]
    latent   h : bernoulli[3]
    latent   g : spin[2]
    edge x -- h
    edge n -- h
    edge w -- h
    edge r -- h
    edge h -- g
    edge r -- g -- h
    """,
    ("", "clamp x, n, w", "clamp x[0], n, r[1]", "clamp h"),
)
CONV = Example(
    "conv",
    """
    observed v : bernoulli[2, 4]
    latent   h : bernoulli(bias = channel)[1, 1, 3]
    edge v -- h by conv(2)
    """,
    ("", "clamp v", "clamp h", "clamp v[:, 1:]", "clamp v[0, 0:2], h[0, 0, 1:]", "clamp h[0, 0, 0]"),
)
CONV_CHANNELS = Example(
    "conv_channels",
    """
    observed v : spin(bias = channel)[2, 1, 4]
    latent   h : categorical(3, bias = channel)[1, 1, 2]
    edge v -- h by conv(1, stride = 2)
    """,
    ("", "clamp v", "clamp v[0, :, 1:3]", "clamp h[0, 0, 1]"),
)
CONV_PADDED = Example(
    "conv_padded",
    """
    observed v : bernoulli[2, 3]
    latent   h : bernoulli[2, 1, 2]
    edge v -- h by conv(3, stride = 2, padding = 1)
    """,
    ("", "clamp v", "clamp v[1, 1:]", "clamp h[1, :, :]"),
)
SPARSE = Example(
    "sparse",
    """
    observed v : bernoulli[2, 3]
    latent   h : bernoulli[4]
    edge v -- h by sparse("pairs.npz")
    """,
    ("", "clamp v", "clamp v[:, 1:]", "clamp h[0:2]", "clamp v[0, 0], h[1]"),
    {"pairs.npz": ((0, 1), (5, 0), (2, 2), (2, 0), (4, 2), (1, 1), (5, 1))},  # h[3] has no edge
)
SPARSE_LATERAL = Example(
    "sparse_lateral",
    """
    observed v : spin[6]
    latent   y : categorical(3)[2]
    edge v -- v by sparse("pairs.npz")
    edge y -- y by sparse("labels.npz")
    edge v -- y by sparse("between.npz")
    """,
    ("", "clamp v[1:4]", "clamp y", "clamp v[0:2], y[1]", "clamp v[5], y[0]"),
    {"pairs.npz": ((0, 3), (3, 1), (5, 1), (4, 0)), "labels.npz": ((1, 0),), "between.npz": ((2, 1), (0, 0), (5, 1))},
)
LOWRANK = Example(
    "lowrank",
    """
    observed v : bernoulli[5]
    latent   h : spin[4]
    edge v -- h by lowrank(2)
    """,
    ("", "clamp v", "clamp v[1:3]", "clamp h"),
)
LOWRANK_LATERAL = Example(
    "lowrank_lateral",
    """
    observed v : spin[4]
    observed y : categorical(3)[3]
    edge v -- v by lowrank(2)
    edge y -- y by lowrank(3)
    edge v -- y by lowrank(1)
    """,
    ("", "clamp v", "clamp v[1:3]", "clamp y[0], v[3]", "clamp y[1:], v[0:2]"),
)
LOWRANK_THIRD = Example(
    "lowrank_third",
    """
    observed x : bernoulli[3]
    observed y : spin[3]
    latent   h : categorical(3)[2]
    edge x -- y -- h by lowrank(3)
    """,
    ("", "clamp x", "clamp x, y", "clamp y[1:], h[0]", "clamp h", "clamp x[1], y[0], h[1]"),
)
TIED = Example(
    "tied",
    """
    observed a : bernoulli[3]
    latent   b : bernoulli[3]
    latent   c : bernoulli[3]
    edge up : a -- b
    edge b -- c by tied(up)
    edge a -- a
    edge across : c -- c by tied(a_a)
    """,
    ("", "clamp a", "clamp b", "clamp a[0:2], c[1]", "clamp b[1:], c", "clamp a[0], b[0], c[0]"),
)
DOUBLE = Example(
    "double",
    """
    observed v : bernoulli[4]
    latent   h : bernoulli[4]
    edge first  : v -- h
    edge second : h -- v by lowrank(1)
    """,
    ("", "clamp v", "clamp v[0:2], h[3]", "clamp h[1:3]"),
)
SINGLE = Example(
    "single",
    """
    observed v : categorical(4)
    latent   h : bernoulli
    latent   u : spin[3]
    edge v -- h
    """,  # u is joined to nothing
    ("", "clamp v = 3", "clamp h", "clamp u"),
)

EXAMPLES: tuple[Example, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Example))
"""All of them."""

DBN = Example(
    "dbn",
    """
    observed v  : bernoulli[4]
    latent   h1 : bernoulli[3]
    latent   h2 : bernoulli[3]
    edge h1 -> v
    edge h1 -- h2
    edge v ~> h1
    """,
    ("", "clamp h1", "clamp h2", "clamp h1[0:2]", "clamp h1[1], h2[2]"),
)
DEEP = Example(
    "deep",
    """
    observed v  : spin[2]
    latent   a  : bernoulli[3]
    latent   b  : categorical(3)[2]
    latent   c  : bernoulli[2]
    edge a -> v
    edge b -> a
    edge b -- c
    edge v ~> a by tied(a_v)
    edge a ~> b
    """,
    ("", "clamp b", "clamp c", "clamp a, b", "clamp b[0]"),
)
FAN = Example(
    "fan",
    """
    observed v : categorical(3)[2]
    observed y : bernoulli[2]
    latent   a : bernoulli[3]
    latent   b : spin[2]
    edge a -> v
    edge b -> v
    edge b -> y by lowrank(1)
    edge y ~> b
    edge v ~> a
    """,
    ("", "clamp a", "clamp b", "clamp a[0], b[1]"),
)
LINEAR = Example(
    "linear",
    """
    observed x : normal(precision = 2.5)[3]
    latent   z : bernoulli[3]
    latent   u : normal(precision = 0.5)[2]
    latent   h : bernoulli[3]
    edge z -> x
    edge h -> u
    edge z -- h
    edge x ~> z
    edge u ~> h
    """,
    ("", "clamp z", "clamp z, h"),
)
DIRECTED: tuple[Example, ...] = (DBN, DEEP, FAN, LINEAR)
"""Models with directed edges; their clamps leave every draw to the joint."""

MASKED = (
    ("rbm", "clamp v where observed"),
    ("rbm", "clamp v[:, 1:] where observed"),
    ("rbm", "clamp v[0, :] where observed  clamp v[1, 2], h[3]"),
    ("boltzmann", "clamp v where observed"),
    ("boltzmann", "clamp v[1:3], h where observed"),
    ("spin_boltzmann", "clamp v where observed"),
    ("potts_lateral", "clamp y where observed"),
    ("potts_lateral", "clamp y where observed  clamp h[0:2]"),
    ("dbm2", "clamp v where observed  clamp h2[1:]"),
    ("dbm2", "clamp v[0:2], h2 where observed  clamp v[2:]"),
    ("dbm3", "clamp v, h2 where observed"),
    ("label_rbm", "clamp v, y where observed"),
    ("triangle", "clamp a[1:], b where observed  clamp c[0]"),
    ("third_order", "clamp x, y where observed"),
    ("third_mixed", "clamp x, y where observed"),
    ("ising_ring", "clamp s where observed"),
    ("ising_open", "clamp s[:, 2:4] where observed  clamp s[:, 4]"),
    ("potts", "clamp s[0, :] where observed"),
    ("lattice_rbm", "clamp v where observed"),
    ("conv", "clamp v[:, 1:] where observed"),
    ("sparse", "clamp v[:, 1:], h where observed"),
    ("sparse_lateral", "clamp v[0:4], y where observed"),
    ("lowrank_lateral", "clamp v, y[0:1] where observed"),
    ("lowrank_third", "clamp y where observed  clamp h[0]"),
    ("tied", "clamp a, c where observed"),
    ("double", "clamp v where observed"),
    ("single", "clamp v, u where observed"),
    ("gaussian_rbm", "clamp x where observed"),
    ("gaussian_mixed", "clamp x, y where observed"),
    ("learned", "clamp x, y where observed"),
    ("rectified", "clamp v, r where observed"),
    ("counted", "clamp n, t[0:1] where observed"),
    ("waited", "clamp w, u[0:1] where observed  clamp y"),
    ("endless", "clamp x, n, w, r where observed"),
)
"""Names of examples with clamps that hold in each row what it has."""


def program(example: Example, items: str = "", extra: str = "") -> str:
    """The text of a .gm file: the model, a chain of those items, and anything else."""
    return f"model example {{{example.body}}}\n\nchain {CHAIN} {{ {items} }}\n{extra}"


def write(example: Example, folder: Path, items: str = "", extra: str = "") -> Path:
    """Writes the program and the files it names into a folder; the path of the program."""
    text = program(example, items, extra)
    for name, pairs in example.files.items():
        first, second = np.array(pairs, dtype=np.int64).T
        np.savez(folder / name, i=first, j=second)
        text = text.replace(f'"{name}"', f'"{(folder / name).as_posix()}"')
    path = folder / f"{example.name}.gm"
    path.write_text(text, encoding="utf-8")
    return path


def weight_shapes(model: Model) -> dict[str, tuple[int, ...]]:
    """The shapes of all weights by name, as the language's definition has them."""
    shapes: dict[str, tuple[int, ...]] = {}
    for v in model.variables:
        states = (v.family.width,) if v.family.word == "categorical" else ()
        if v.family.bias == "site":
            shapes[f"{v.name}.bias"] = (*v.shape, *states)
        elif v.family.bias == "channel":
            shapes[f"{v.name}.bias"] = (v.shape[0], *states)
        if getattr(v.family, "precision", 1.0) == "learned":
            shapes[f"{v.name}.{LOG_PRECISION}"] = v.shape
    for e in model.edges:
        shapes.update({f"{e.name}.{part}": shape for part, shape in _factor_shapes(model, e).items()})
        if e.kind == "recognition":
            target = model.variable(e.targets[0])
            width = (target.family.width,) if target.family.word == "categorical" else ()
            shapes[f"{e.name}.bias"] = (*target.shape, *width)
    return shapes


def _factor_shapes(model: Model, edge: Edge) -> dict[str, tuple[int, ...]]:
    ends = model.ends(edge)
    match edge.factor.word:
        case "dense":
            return {"weight": tuple(v.size for v in ends)}
        case "lowrank":
            return {f"weight.{n}": (v.size, edge.factor.k) for n, v in enumerate(ends)}  # type: ignore[attr-defined]
        case "sparse":
            widths = tuple(v.family.width for v in ends)
            return {"weight": (len(pairs_of(edge)), *(widths if max(widths) > 1 else ()))}
        case "lattice":
            coupling, periodic = edge.factor.coupling, edge.factor.boundary == "periodic"  # type: ignore[attr-defined]
            counts = {"shared": 1, "axis": len(ends[0].shape), "bond": len(bonds(ends[0].shape, periodic))}
            return {"weight": (counts[coupling],)} if coupling in counts else {}
        case "conv":
            kernel = edge.factor.kernel  # type: ignore[attr-defined]
            return {"weight": (_channels(ends[1]), _channels(ends[0]), kernel, kernel)}
        case "tied":
            return {}
        case word:
            raise NotImplementedError(f"the oracle does not know the factor {word!r}")


def _channels(variable: Variable) -> int:
    return prod(variable.shape[:-2]) * variable.family.width


def random_weights(model: Model, seed: int, scale: float = 0.4) -> dict[str, Tensor]:
    """Weights of random sign and of sizes from half to one and a half times the scale, float64.

    Lateral ones are symmetric, with nothing between a site and itself; low-rank factors are such that their product has about that
    scale. Much larger weights make sites all but fixed, and much smaller ones all but independent: either hides mistakes.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name: scale * _signed(torch.rand((2, *shape), generator=generator, dtype=torch.float64))
        for name, shape in weight_shapes(model).items()
    }
    for v in model.variables:
        if v.family.word == "gamma" and f"{v.name}.bias" in weights:
            # the field must stay below zero, whatever the neighbours are
            weights[f"{v.name}.bias"] = -5.0 - weights[f"{v.name}.bias"].abs()
    for edge in model.edges:
        ends = model.ends(edge)
        if edge.factor.word == "lowrank":
            for n in range(len(ends)):
                # k products of entries of size d, one an end, add up to about sqrt(k) d ** ends
                k = edge.factor.k  # type: ignore[attr-defined]
                weights[f"{edge.name}.weight.{n}"] *= (scale / k**0.5) ** (1 / len(ends)) / scale
        if edge.lateral and edge.factor.word == "dense":
            w, site = weights[f"{edge.name}.weight"], torch.arange(ends[0].size) // ends[0].family.width
            weights[f"{edge.name}.weight"] = (w.triu() + w.triu().T) * (site[:, None] != site[None, :])
    return weights


def _signed(uniform: Tensor) -> Tensor:
    """Two uniform numbers made a size in [0.5, 1.5] and its sign."""
    return (0.5 + uniform[0]) * torch.where(uniform[1] < 0.5, -1.0, 1.0)


def random_values(model: Model, seed: int, n: int = 1) -> dict[str, Tensor]:
    """Values that every variable can take, `VAR` -> `[n, *shape]` float64: uniform where they are finitely many."""
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, Tensor] = {}
    for v in model.variables:
        takes = support(v)
        if takes is None:
            found[v.name] = some_values(v, n, generator)
        else:
            digits = torch.randint(len(takes), (n, *v.shape), generator=generator)
            found[v.name] = torch.tensor(takes, dtype=torch.float64)[digits]
    return found


def load(example: Example, folder: Path, items: str = "", extra: str = "") -> Checked:
    """The example as the parser and the checker read it, with one chain of those items.

    Raises:
        GmcError: they find a mistake in it.
    """
    import gmc.runtime.words  # noqa: F401 - fills the vocabulary; nothing else of the compiler is used here
    from gmc.dsl.check import load as read

    return read(write(example, folder, items, extra)).checked
