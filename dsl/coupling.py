"""Which couplings leave a law that can be normalised, as far as the types of the ends tell.

The proofs are in `gmc.compiler.proper`, which keeps what is only so for some weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from gmc.dsl.model import Variable
    from gmc.dsl.vocabulary import FactorWord

Rule = Literal["free", "definite", "sign", "field"]
"""What an edge asks of its weights: nothing; that a precision matrix stays positive definite; that none is above zero; that a field stays below zero."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why no weights, or none that could be kept, leave a law."""

    reason: str
    help: str = "join them through a variable of bounded values, such as a bernoulli"


def unbounded(ends: Sequence[Variable]) -> tuple[Variable, ...]:
    """The ends whose statistics have no bound; a lateral edge has its variable twice."""
    return tuple(end for end in ends if end.family.tail != "bounded")


def rule(ends: Sequence[Variable], factor: FactorWord) -> Rule | Refusal:
    """What an edge between these ends asks of its weights."""
    open_ends = unbounded(ends)
    tails = {end.family.tail for end in open_ends}
    if len(open_ends) < 2:
        return "field" if "exponential" in tails else "free"
    if "unknown" in tails:
        name = next(end.family.word for end in open_ends if end.family.tail == "unknown")
        return Refusal(f"nothing is known of how a `{name}` holds large values down")
    if tails == {"quadratic"} and len(open_ends) == 2:
        return "definite"
    return _signed(ends, open_ends, factor)


def headless(target: Variable) -> str | None:
    """Why no linear head can give the law of a directed edge's target; None where one can, whatever its weights."""
    if target.family.tail == "exponential":
        return f"the field of a `{target.family.word}` must stay below 0, which a linear map does not keep"
    if target.family.tail == "unknown":
        return f"nothing is known of how a `{target.family.word}` holds large values down"
    return None


def _signed(ends: Sequence[Variable], open_ends: Sequence[Variable], factor: FactorWord) -> Rule | Refusal:
    """The rule where only couplings of at most zero between values of at least zero will do."""
    below = [end for end in ends if end.family.bounds[0] < 0]
    for end in below:
        if end in open_ends:
            return Refusal(_runaway(end, [other for other in open_ends if other is not end]))
    if below:
        kind = below[0].family
        return Refusal(
            f"`{below[0].name}` takes {kind.support}, so that no sign of a weight makes the coupling one of at most zero"
        )
    if not factor.separate:
        return Refusal(
            f"no coupling may be above zero, and a `{factor.word}` factor cannot keep the signs of its couplings",
            "use `dense`, `conv` or `sparse`",
        )
    return "sign"


def _runaway(signed: Variable, others: Sequence[Variable]) -> str:
    if not others or {other.family.tail for other in others} <= {"quadratic"}:
        return "three unbounded values multiply, which outgrows any square"
    other = next(other for other in others if other.family.tail != "quadratic")
    what = "a field that must stay below 0" if other.family.tail == "exponential" else "a rate that grows exponentially"
    return f"`{signed.name}` is unbounded on both sides and would drive {what}, that of `{other.name}`"
