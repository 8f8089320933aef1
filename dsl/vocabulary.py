"""The words a .gm file may use, and what the checker must know of each.

A word is a pydantic model of its arguments, registered under its name, with its meaning beside it in the stage that
gives it one: families, factors and objectives in the compiler, sources, transforms, optimisers and metrics in the runtime. This
module knows only the interface; it never imports those stages. Adding a word is adding one file there.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from math import inf
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

if TYPE_CHECKING:
    from gmc.dsl.model import Chain, Checked, Model, Variable
    from gmc.dsl.source import Span

Kind = Literal[
    "family",
    "factor",
    "layer",
    "objective",
    "expectation",
    "condition",
    "optimizer",
    "transform",
    "source",
    "start",
    "update",
    "metric",
    "stop",
]


@dataclass(frozen=True, slots=True)
class Ramp:
    """A number that runs from `start` at a stage's first update to `end` at its last; a constant has both equal."""

    start: float
    end: float
    shape: Literal["linear", "cosine"] = "linear"

    @property
    def constant(self) -> bool:
        """Whether the number never changes."""
        return self.start == self.end

    def at(self, progress: float) -> float:
        """The value at `progress` in [0, 1] of the stage."""
        from math import cos, pi

        t = min(max(progress, 0.0), 1.0)
        weight = t if self.shape == "linear" else 0.5 - 0.5 * cos(pi * t)
        return self.start + (self.end - self.start) * weight

    def __str__(self) -> str:
        if self.constant:
            return f"{self.start:g}"
        text = f"{self.start:g} -> {self.end:g}"
        return text if self.shape == "linear" else f"cosine({self.start:g}, {self.end:g})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Numbers are ramps that stand still."""
        return core_schema.no_info_plain_validator_function(cls.of)

    @classmethod
    def of(cls, value: object) -> Ramp:
        """`value` as a ramp: itself, or a number that stays.

        Raises:
            ValueError: it is neither.
        """
        if isinstance(value, Ramp):
            return value
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return cls(float(value), float(value))
        raise ValueError("must be a number or a ramp such as 0.1 -> 0.0")


@dataclass(frozen=True, slots=True)
class RampBounds:
    """Bounds that both ends of a ramp must keep: `Annotated[Ramp, RampBounds(ge=0)]`."""

    ge: float | None = None
    gt: float | None = None
    lt: float | None = None
    le: float | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def _check(self, ramp: Ramp) -> Ramp:
        for end in (ramp.start, ramp.end):
            if self.ge is not None and not end >= self.ge:
                raise ValueError(f"must be at least {self.ge:g}")
            if self.gt is not None and not end > self.gt:
                raise ValueError(f"must be greater than {self.gt:g}")
            if self.lt is not None and not end < self.lt:
                raise ValueError(f"must be less than {self.lt:g}")
            if self.le is not None and not end <= self.le:
                raise ValueError(f"must be at most {self.le:g}")
        return ramp


@dataclass(frozen=True, slots=True)
class Reference:
    """Marks a field whose value is the name of something the file declares: `Annotated[str, Reference("chain")]`."""

    what: Literal["chain", "variable", "edge", "net", "objective"]


@dataclass(frozen=True, slots=True)
class Conditional:
    """Names on both sides of a bar: `y | v`, `(y, z) | (v, w)`."""

    targets: tuple[str, ...]
    given: tuple[str, ...]

    def __str__(self) -> str:
        sides = (names[0] if len(names) == 1 else f"({', '.join(names)})" for names in (self.targets, self.given))
        return " | ".join(sides)


@dataclass(frozen=True, slots=True)
class Nested:
    """Marks a field that also takes another registered word, such as `exact(CHAIN)`."""

    kind: Kind


ChainName = Annotated[str, Reference("chain")]
EdgeName = Annotated[str, Reference("edge")]
VariableName = Annotated[str, Reference("variable")]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1)]
Bias = Literal["site", "channel", "none"] | float
"""One a site, one for each index of the first axis, none, or a number that stays fixed."""


Tail = Literal["bounded", "quadratic", "factorial", "exponential", "unknown"]
"""How the base measure bounds what a field may do: a bounded statistic; p(x) that falls as exp(-x^2 / 2), as 1 / x!, as exp(-x) does; or nothing known."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What a word finds wrong with where it is used: which argument (None: the whole call), why, a fix, and other places that have to do with it."""

    message: str
    argument: str | None = None
    help: str | None = None
    related: tuple[tuple[Span, str], ...] = ()


class Word(BaseModel):
    """Something a .gm file can name. Fields are its arguments, in order; the docstring is its reference page."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, populate_by_name=True)

    kind: ClassVar[Kind]
    word: ClassVar[str] = ""
    positional: ClassVar[str | None] = None
    """The name of a tuple field that takes all positional arguments, if the word has one."""

    def __str__(self) -> str:
        """The word as a .gm file writes it, without arguments left at their defaults."""
        given = [
            # of a path the name is enough, and the same on every machine
            f"{field.alias or name} = {value.name if isinstance(value, Path) else value}"
            for name, field in type(self).model_fields.items()
            if (value := getattr(self, name)) != field.default
        ]
        return f"{self.word}({', '.join(given)})" if given else self.word


class FamilyWord(Word):
    """An exponential family: what the checker needs to know of a variable's type."""

    kind = "family"
    if TYPE_CHECKING:
        # each family declares `bias: Bias = "site"` itself, last: an inherited field would come before its own arguments
        bias: Bias

    @property
    def width(self) -> int:
        """Numbers in the statistic of a site: k for a categorical, else 1."""
        return 1

    @property
    def states(self) -> int | None:
        """How many values a site can take; None if not finite."""
        return None

    @property
    @abstractmethod
    def support(self) -> str:
        """The values a site can take, in words: "0 or 1"."""

    @abstractmethod
    def contains(self, value: float) -> bool:
        """Whether `value`, as a user writes it, is in the support."""

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the greatest number in a statistic; infinite where there is none, or none is known."""
        return (-inf, inf)

    @property
    def tail(self) -> Tail:
        """How large values are held down: what may be joined to what is decided by it."""
        return "bounded" if self.states is not None else "unknown"

    @property
    def modeless(self) -> str | None:
        """Why a site has no most probable value at some fields; None where it always has one."""
        return None

    def unheaded(self, recognition: bool) -> str | None:
        """What is asked of a head (on a `~>` edge, with `recognition`) that gives more than the field, in words, since that is not supported yet; None where the field is all."""
        return None


class FactorWord(Word):
    """A term of the energy over the statistics of two or three variables."""

    kind = "factor"
    arities: ClassVar[tuple[int, ...]] = (2,)
    separate: ClassVar[bool] = False
    """Whether each of its weights is a coupling as it stands, so that weights of at most zero are couplings of at most zero."""

    def identity(self) -> str:
        """What must be the same for two models to share weights: the word as written, unless it refers to something outside."""
        return str(self)

    def fan_in(self, ends: Sequence[Variable]) -> dict[str, tuple[int, ...]]:
        """The axes of a parameter along which the incoming weights of one unit of the last end lie, by the last part of its name; empty where no weight belongs to a single unit."""
        return {}

    @abstractmethod
    def mismatch(self, ends: Sequence[Variable]) -> str | None:
        """Why this factor cannot join `ends` (a lateral edge names its variable twice), or None where it can."""


class SourceWord(Word):
    """Where data come from: named columns, one row an example."""

    kind = "source"


class TransformWord(Word):
    """A step of a column's pipe."""

    kind = "transform"


class StartWord(Word):
    """What a chain's variables start from, besides other chains."""

    kind = "start"
    keeps: ClassVar[bool] = False
    """Whether the chain's states are kept from one run to the next."""
    drawn: ClassVar[bool] = False
    """Whether it is drawn, without looking at the model or at data."""

    def misfit(self, variable: Variable) -> str | None:
        """Why a variable cannot start from it, or None where it can."""
        return None

    def problems(self, chain: Chain, model: Model) -> Iterator[Problem]:
        """What is wrong with it in a chain that is right in all else."""
        return iter(())


class KeptWord(StartWord):
    """A start that keeps the chain's states from one run to the next: `n` of them."""

    keeps: ClassVar[bool] = True
    n: Count

    @property
    def replicas(self) -> int:
        """How many states stand for each of the n, one after the other; the last of them is the one that is shown."""
        return 1

    @property
    def leaves(self) -> float:
        """The chance that a state starts anew."""
        return 0.0


class UpdateWord(Word):
    """What becomes of a chain's sites when they are updated."""

    kind = "update"
    title: ClassVar[str] = ""
    """What it is called: `mean field`."""
    holds_means: ClassVar[bool] = False
    """Whether it leaves sites at means rather than at states that are possible."""

    @property
    def inert(self) -> bool:
        """Whether a site's new state depends on its old one, so that sweeps read all that they draw."""
        return False

    @property
    def stops(self) -> float:
        """The largest change in a sweep below which a chain stops; 0 where all chains run for as long as the sweeps."""
        return 0.0


class ExpectationWord(Word):
    """How an expectation under a chain is taken, where it is not by running it: `exact(CHAIN)`."""

    kind = "expectation"
    under: ChainName


class ObjectiveWord(Word):
    """A loss in nats an example."""

    kind = "objective"
    takes_gaps: ClassVar[bool] = False
    """Whether the rows that it reads itself may lack values."""

    @abstractmethod
    def chains(self) -> tuple[str, ...]:
        """The chains it compares, each once."""

    def hides(self) -> tuple[str, ...]:
        """The chains from which it hides some of what rows have."""
        return ()

    def reads(self, model: Model) -> tuple[str, ...]:
        """The variables whose rows it reads itself, not through a chain: all training rows must have them."""
        return ()

    def derived(self, model: Model) -> tuple[str, ...]:
        """What it makes of the model, if that is worth showing, a line each."""
        return ()

    @abstractmethod
    def problems(self, checked: Checked) -> Iterator[Problem]:
        """What is wrong with it in this file; `checked` has its model, data and chains, not yet its stages."""


class ConditionWord(Word):
    """A number a chain, measured as a sweep starts, that a gate compares: `surprise(v) > 0.5`."""

    kind = "condition"
    of: VariableName = Field(alias="variable")  # `of` is a word of the grammar's


class OptimizerWord(Word):
    """What descends an objective."""

    kind = "optimizer"

    @property
    def bounds_units(self) -> bool:
        """Whether it bounds the incoming weights of each unit, which the factors that it trains must then tell apart."""
        return False


class MetricWord(Word):
    """A number watched in training and shown by `gmc eval`."""

    kind = "metric"
    better: ClassVar[Literal["greater", "less"]] = "greater"
    """Which of two values is the better one."""

    @property
    def label(self) -> str:
        """What its values are called where they are written."""
        return self.word


class StopWord(Word):
    """When a stage of training stops before its last epoch: a rule about the first metric that it watches."""

    kind = "stop"

    @abstractmethod
    def stops(self, looks: int, best: int) -> bool:
        """Whether it is time after that many looks at the metric, of which the one numbered `best`, from 1 on, was the best (0: none had a finite value)."""


W = TypeVar("W", bound=Word)


class Vocabulary:
    """The registered words, by kind and name, in the order of their names."""

    def __init__(self) -> None:
        self._words: dict[tuple[str, str], type[Word]] = {}

    def register(self, name: str) -> Callable[[type[W]], type[W]]:
        """A class decorator that files the class under `name` in its kind."""

        def file(word: type[W]) -> type[W]:
            if (word.kind, name) in self._words:
                raise ValueError(f"the {word.kind} {name!r} is registered twice")
            word.word = name
            self._words[word.kind, name] = word
            return word

        return file

    def get(self, kind: Kind, name: str) -> type[Word] | None:
        """The class of that kind and name, if there is one."""
        return self._words.get((kind, name))

    def names(self, kind: Kind) -> tuple[str, ...]:
        """All names of a kind, sorted."""
        return tuple(sorted(name for k, name in self._words if k == kind))

    def words(self) -> tuple[type[Word], ...]:
        """All words, by kind, then name."""
        return tuple(self._words[key] for key in sorted(self._words))

    def kinds(self, name: str) -> tuple[str, ...]:
        """The kinds in which `name` is registered: a user's name may not hide it."""
        return tuple(sorted(kind for kind, n in self._words if n == name))


VOCABULARY = Vocabulary()
"""Filled by importing the packages that hold the words; `gmc.runtime.words` imports them all."""


def import_modules(package: str, path: Iterable[str]) -> None:
    """Imports every module of a package, so that each registers its word."""
    for module in sorted(m.name for m in iter_modules(path)):
        import_module(f"{package}.{module}")
