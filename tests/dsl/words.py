"""A small vocabulary for the checker's tests: words with the arguments of real ones and no meaning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from gmc.dsl.model import Checked, Variable, chain_of
from gmc.dsl.vocabulary import (
    Bias,
    ChainName,
    ConditionWord,
    Count,
    EdgeName,
    ExpectationWord,
    FactorWord,
    FamilyWord,
    MetricWord,
    Nested,
    ObjectiveWord,
    OptimizerWord,
    Probability,
    Problem,
    Ramp,
    RampBounds,
    SourceWord,
    StartWord,
    StopWord,
    TransformWord,
    UpdateWord,
    Vocabulary,
)

WORDS = Vocabulary()


class _Family(FamilyWord):
    @property
    def width(self) -> int:
        return 1

    @property
    def states(self) -> int | None:
        return 2

    @property
    def support(self) -> str:
        return "0 or 1"

    def contains(self, value: float) -> bool:
        return value in {0, 1}


@WORDS.register("bernoulli")
class Bernoulli(_Family):
    bias: Bias = "site"


@WORDS.register("categorical")
class Categorical(_Family):
    k: int = Field(ge=2)
    bias: Bias = "site"

    @property
    def width(self) -> int:
        return self.k

    @property
    def states(self) -> int | None:
        return self.k

    @property
    def support(self) -> str:
        return f"0 to {self.k - 1}"

    def contains(self, value: float) -> bool:
        return value in range(self.k)


@WORDS.register("normal")
class Normal(_Family):
    precision: float = Field(default=1.0, gt=0.0)
    bias: Bias = "site"

    @property
    def states(self) -> int | None:
        return None


@WORDS.register("dense")
class Dense(FactorWord):
    arities: ClassVar[tuple[int, ...]] = (2, 3)

    def mismatch(self, ends: Sequence[Variable]) -> str | None:
        return None


@WORDS.register("conv")
class Conv(FactorWord):
    kernel: int | tuple[int, int] = Field(default=3)
    periodic: bool = False

    def mismatch(self, ends: Sequence[Variable]) -> str | None:
        return None if all(len(end.shape) == 2 for end in ends) else "it joins variables of two axes"


@WORDS.register("tied")
class Tied(FactorWord):
    arities: ClassVar[tuple[int, ...]] = (2, 3)
    to: EdgeName

    def mismatch(self, ends: Sequence[Variable]) -> str | None:
        return None


@WORDS.register("exact")
class Exact(ExpectationWord):
    pass


Compared = Annotated[ChainName | ExpectationWord, Nested("expectation")]


@WORDS.register("likelihood")
class Likelihood(ObjectiveWord):
    positive: Compared
    negative: Compared
    scale: Annotated[Ramp, RampBounds(gt=0.0)] = Ramp(1.0, 1.0)

    def chains(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((chain_of(self.positive), chain_of(self.negative))))

    def problems(self, checked: Checked) -> Iterator[Problem]:
        if checked.chain(chain_of(self.negative)).clamps:
            yield Problem("this chain clamps", "negative", "let it be free")


@WORDS.register("mixture")
class Mixture(ObjectiveWord):
    """All its chains by position."""

    positional: ClassVar[str | None] = "over"
    over: tuple[ChainName, ...] = Field(min_length=1)
    norm: Literal["l1", "l2"] = "l1"

    def chains(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.over))

    def problems(self, checked: Checked) -> Iterator[Problem]:
        yield from ()


Positive = Annotated[Ramp, RampBounds(ge=0.0)]


@WORDS.register("sgd")
class Sgd(OptimizerWord):
    lr: Positive
    momentum: Annotated[Ramp, RampBounds(ge=0.0, lt=1.0)] = Ramp(0.0, 0.0)


@WORDS.register("adam")
class Adam(OptimizerWord):
    lr: Positive = Ramp(1e-3, 1e-3)
    betas: tuple[Probability, Probability] = (0.9, 0.999)

    @model_validator(mode="after")
    def _ordered(self) -> Adam:
        if self.betas[0] > self.betas[1]:
            raise ValueError("the first beta is larger than the second")
        return self


@WORDS.register("patience")
class Patience(StopWord):
    looks: Count

    def stops(self, looks: int, best: int) -> bool:
        return False


@WORDS.register("digits")
class Digits(SourceWord):
    pass


@WORDS.register("npz")
class Npz(SourceWord):
    path: str

    @field_validator("path")
    @classmethod
    def _ends(cls, path: str) -> str:
        if not path.endswith(".npz"):
            raise ValueError("must end in .npz")
        return path


@WORDS.register("threshold")
class Threshold(TransformWord):
    at: float = 0.5


@WORDS.register("mask")
class Mask(TransformWord):
    column: str


@WORDS.register("scale")
class Scale(TransformWord):
    factor: float = Field(alias="amount")


@WORDS.register("noise")
class Noise(StartWord):
    pass


@WORDS.register("data")
class FromData(StartWord):
    pass


@WORDS.register("persistent")
class Persistent(StartWord):
    n: Count
    restart: Probability = 0.0


@WORDS.register("normal")
class Law(StartWord):
    mean: float = 0.0
    deviation: float = Field(default=1.0, gt=0.0)

    def misfit(self, variable: Variable) -> str | None:
        return None if variable.family.states is None else f"its values are {variable.family.support}"


@WORDS.register("sample")
class Sample(UpdateWord):
    pass


@WORDS.register("mean")
class Mean(UpdateWord):
    damping: float = Field(default=0.0, ge=0.0, lt=1.0)
    tolerance: float = Field(default=0.0, ge=0.0)


@WORDS.register("mode")
class Mode(UpdateWord):
    pass


@WORDS.register("surprise")
class Surprise(ConditionWord):
    pass


@WORDS.register("pseudo")
class Pseudo(MetricWord):
    under: ChainName | None = None
