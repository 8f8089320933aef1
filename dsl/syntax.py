"""The syntax tree: what a file says, before any name is looked up.

Two trees are equal when they say the same, wherever they stand: spans do not take part in comparisons, and neither do
comments. Comments are no part of the grammar: the lexer sets them aside while it reads, and `File.comments` holds them
all in order of place. The printer puts each back by its place relative to the statements and items around it.

A call without arguments is a `Name`, with or without `()`; parentheses that only group leave no node.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from inspect import cleandoc
from typing import Literal

from gmc.dsl.source import Span

# ── Expressions ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Name:
    """`hidden`, `bernoulli`, `relu`: a name of the user's or of the registry."""

    text: str
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Number:
    """`2`, `.5`, `2e-4`: an int when written without point and exponent. The text is as written."""

    value: int | float
    text: str
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class String:
    """`"mnist.npz"`: the value has its escapes resolved."""

    value: str
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Keyword:
    """`lr = 0.05`: a named argument, or a setting of a test."""

    name: Name
    value: Expr
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Call:
    """`sgd(0.05, momentum = 0.5)`: at least one argument; positional ones come first."""

    name: Name
    args: tuple[Expr, ...]
    keywords: tuple[Keyword, ...]
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Tuple:
    """`(0.5, 0.999)`: two values or more."""

    items: tuple[Expr, ...]
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Arrow:
    """`0.05 -> 0.0`: a value that runs linearly from start to end."""

    start: Expr
    end: Expr
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Binary:
    """`N - 1`."""

    op: Literal["+", "-", "*", "/"]
    left: Expr
    right: Expr
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Unary:
    """`-x`."""

    op: Literal["-"]
    operand: Expr
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Pipe:
    """`image | scale(2) | flatten`: two stages or more, in order."""

    stages: tuple[Expr, ...]
    span: Span = field(compare=False, repr=False)


Expr = Name | Number | String | Call | Tuple | Arrow | Binary | Unary | Pipe
Named = Name | Call
"""What the registry knows, with or without arguments."""

CompareOp = Literal["<", "<=", "==", ">=", ">"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """`surprise(v) > 0.5`."""

    op: CompareOp
    left: Expr
    right: Expr
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Docstring:
    """A triple-quoted text; `text` is what stands between the quotes, `value` the same without common indentation."""

    text: str
    span: Span = field(compare=False, repr=False)

    @property
    def value(self) -> str:
        """The text as shown to a reader."""
        return cleandoc(self.text)


@dataclass(frozen=True, slots=True)
class Comment:
    """`# ...` to the end of the line; the text includes the `#`."""

    text: str
    span: Span


# ── Models ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Variable:
    """`observed v : bernoulli[8, 8]`; the shape is () where none is written."""

    kind: Literal["observed", "latent"]
    name: Name
    family: Named
    shape: tuple[Expr, ...]
    docstring: Docstring | None
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class UndirectedEdge:
    """`edge NAME : A -- B -- C by FACTOR`; the ends as written, so a lateral edge has the same name twice."""

    name: Name | None
    ends: tuple[Name, ...]
    by: Named | None
    docstring: Docstring | None
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class DirectedEdge:
    """`edge (a, b) -> c by NET`: a generative conditional."""

    name: Name | None
    parents: tuple[Name, ...]
    children: tuple[Name, ...]
    by: Named | None
    docstring: Docstring | None
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class RecognitionEdge:
    """`edge x ~> z by NET`: an inference conditional; `joined` for `x ~> (a -- b)`, where the net gives a--b's weights."""

    name: Name | None
    inputs: tuple[Name, ...]
    latents: tuple[Name, ...]
    joined: bool
    by: Named | None
    docstring: Docstring | None
    span: Span = field(compare=False, repr=False)


Edge = UndirectedEdge | DirectedEdge | RecognitionEdge
ModelItem = Variable | Edge

# ── Data ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

Split = Literal["train", "valid", "test"]


@dataclass(frozen=True, slots=True)
class Binding:
    """`test v = x_test | scale(1/255)`: where a variable's values come from."""

    split: Split
    name: Name
    value: Expr
    docstring: Docstring | None
    span: Span = field(compare=False, repr=False)


# ── Chains ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Slice:
    """`4:` or `:` or `1:n` in a part of a variable."""

    lower: Expr | None
    upper: Expr | None
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Part:
    """A variable or a part of it, `v[:, 4:]`; without brackets `slices` is (), and an expression in it is an index."""

    name: Name
    slices: tuple[Slice | Expr, ...]
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Clamp:
    """`clamp v[:, 4:], y`, `clamp y = 3`, `clamp h from predict`, `clamp v where observed`."""

    parts: tuple[Part, ...]
    value: Expr | None
    source: Name | None
    where_observed: bool
    docstring: Docstring | None
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Potent:
    """`potent v = g`, `potent v -> h = g`, `potent EDGE = g`; the gain may be an `Arrow`."""

    name: Name
    target: Name | None
    gain: Expr
    docstring: Docstring | None
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Impotent:
    """`impotent v`, `impotent v -> h`, `impotent v unless surprise(v) > t`."""

    name: Name
    target: Name | None
    unless: Comparison | None
    docstring: Docstring | None
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Start:
    """`start noise`, `start v, h from predict`; no names means every free variable. `data` is a `Name` here."""

    names: tuple[Name, ...]
    source: Named
    docstring: Docstring | None
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class BlockUpdate:
    """`z by x_z`: one variable of a block, with the edge that draws it, if named."""

    name: Name
    by: Name | None
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Block:
    """`{v, h2}`: variables drawn at once."""

    updates: tuple[BlockUpdate, ...]
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Sweep:
    """`sweep {v, h2} then {h1}`."""

    blocks: tuple[Block, ...]
    docstring: Docstring | None
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Sweeps:
    """`sweeps 20`, `sweeps 1 -> 20`, `sweeps uniform(1, 3)`."""

    count: Expr
    docstring: Docstring | None
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Update:
    """`update mean`, `update mean(damping = 0.5)`."""

    rule: Name | Call
    docstring: Docstring | None
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Backprop:
    """`backprop 1 by concrete(0.5)`."""

    count: Expr
    by: Named | None
    docstring: Docstring | None
    span: Span = field(compare=False, repr=False)


ChainItem = Clamp | Potent | Impotent | Start | Sweep | Sweeps | Update | Backprop

# ── Training ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Minimize:
    """`minimize fit of z_h, z using sgd(lr = 0.1) times 5`; no names in `of` means all that nothing else takes."""

    objective: Name
    of: tuple[Name, ...]
    optimizer: Named
    times: Expr | None
    docstring: Docstring | None
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Batch:
    """`batch 100`."""

    size: Expr
    docstring: Docstring | None
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Epochs:
    """`epochs 20`."""

    count: Expr
    docstring: Docstring | None
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Watch:
    """`watch M, M every K`."""

    metrics: tuple[Named, ...]
    every: Expr | None
    docstring: Docstring | None
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Stop:
    """`stop patience(K)`."""

    rule: Named
    docstring: Docstring | None
    span: Span = field(compare=False, repr=False)


TrainItem = Minimize | Batch | Epochs | Watch | Stop


@dataclass(frozen=True, slots=True)
class Assert:
    """`assert nll < 100 within 2`."""

    comparison: Comparison
    within: Expr | None
    docstring: Docstring | None
    span: Span = field(compare=False, repr=False)


# ── Statements ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Import:
    """`import "other.gm"`."""

    path: String
    docstring: Docstring | None
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Param:
    """`param hidden = 128 in [1 .. 1000]`; either both bounds or none."""

    name: Name
    value: Expr
    low: Expr | None
    high: Expr | None
    docstring: Docstring | None
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Net:
    """`net D(x, z) = concat(x, z) | linear(1)`; no inputs named where there is one."""

    name: Name
    inputs: tuple[Name, ...]
    value: Expr
    docstring: Docstring | None
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Model:
    """`model NAME { ... }`."""

    name: Name
    items: tuple[ModelItem, ...]
    docstring: Docstring | None
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Data:
    """`data SOURCE { ... }`."""

    source: Named
    bindings: tuple[Binding, ...]
    docstring: Docstring | None
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Chain:
    """`chain NAME { ... }`."""

    name: Name
    items: tuple[ChainItem, ...]
    docstring: Docstring | None
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Objective:
    """`objective nll = likelihood(positive = a, negative = b)`."""

    name: Name
    value: Expr
    docstring: Docstring | None
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Train:
    """`train [NAME] { ... }`; items in any order, as written."""

    name: Name | None
    items: tuple[TrainItem, ...]
    docstring: Docstring | None
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Test:
    """`test "..." with (hidden = 3) { assert ... }`."""

    title: String
    settings: tuple[Keyword, ...]
    asserts: tuple[Assert, ...]
    docstring: Docstring | None
    span: Span = field(compare=False, repr=False)


Statement = Import | Param | Net | Model | Data | Chain | Objective | Train | Test
Item = ModelItem | Binding | ChainItem | TrainItem | Assert


@dataclass(frozen=True, slots=True)
class File:
    """A whole file, in the order written."""

    docstring: Docstring | None
    statements: tuple[Statement, ...]
    span: Span = field(compare=False, repr=False)
    comments: tuple[Comment, ...] = field(default=(), compare=False, repr=False)
