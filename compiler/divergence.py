"""Contrastive divergences: likelihoods whose two chains need not be written."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import AfterValidator

from gmc.compiler.objective import Descent, Objective, Slope, Step
from gmc.dsl.model import Chain, Checked, Clamp, Model, Start
from gmc.dsl.vocabulary import VOCABULARY, Problem, Ramp, RampBounds, StartWord, UpdateWord, Word

if TYPE_CHECKING:
    from torch import fx

    from gmc.compiler.comparison import Comparison
    from gmc.compiler.driver import Compiled

W = TypeVar("W", bound=Word)
POSITIVE, NEGATIVE = "positive", "negative"


def _whole(ramp: Ramp) -> Ramp:
    """Both ends of a ramp are whole numbers."""
    if any(end != round(end) for end in (ramp.start, ramp.end)):
        raise ValueError("must be a whole number")
    return ramp


Sweeps = Annotated[Ramp, RampBounds(ge=1.0), AfterValidator(_whole)]
"""How long a negative chain runs: a whole number, or a ramp between two, rounded."""


class Divergence(Objective):
    """A likelihood of all observed variables whose chains follow from the model: one held at the data, and a free one that starts somewhere near."""

    k: Sweeps

    @abstractmethod
    def source(self) -> StartWord:
        """Where the observed variables of the free chain start."""

    def chains(self) -> tuple[str, ...]:
        """None of the file's."""
        return ()

    def reads(self, model: Model) -> tuple[str, ...]:
        """All observed variables."""
        return tuple(v.name for v in model.observed)

    def sides(self, model: Model) -> tuple[Chain, Chain]:
        """The two chains, as a file would have them."""
        names, rule = tuple(v.name for v in model.observed), word(UpdateWord, "sample")
        held = tuple(Clamp(name, None, model.span) for name in names)
        start = Start(names, self.source(), model.span)
        return (
            Chain(POSITIVE, held, (), None, Ramp(0.0, 0.0), rule, model.span),
            Chain(NEGATIVE, (), (start,), None, self.k, rule, model.span),
        )

    def build(self, compiled: Compiled) -> Contrast:
        """The comparison of the two chains, which run in a copy of the model of their own."""
        from gmc.compiler.comparison import build_comparison
        from gmc.compiler.driver import compile_checked

        checked = replace(
            compiled.checked, chains=self.sides(compiled.checked.model), data=None, objectives=(), stages=()
        )
        inner = compile_checked(checked, compiled.passes)
        return Contrast(inner, build_comparison(inner, {"positive": POSITIVE, "negative": NEGATIVE}))

    def problems(self, checked: Checked) -> Iterator[Problem]:
        """Nothing observed, an observed variable without data, and edges that are no part of the energy."""
        model = checked.model
        if not model.observed:
            yield Problem("the model has no observed variable whose likelihood there would be")
        yield from without_data(checked, self.reads(model))
        for edge in (e for e in model.edges if e.kind != "undirected"):
            yield Problem(
                f"it compares energies, of which `{edge}` is no term",
                help=f"train a model with directed edges by `layerwise({self})`",
                related=((edge.span, "a directed edge"),),
            )


@dataclass(frozen=True, slots=True, eq=False)
class Contrast(Descent):
    """A comparison of chains that are not the file's: it runs them in a model of its own, with the step's parameters."""

    compiled: Compiled
    comparison: Comparison

    @property
    def wants(self) -> Mapping[str, tuple[()]]:
        """Nothing of the file's chains."""
        return {}

    @property
    def graphs(self) -> Mapping[str, fx.GraphModule]:
        """Those of the comparison."""
        return self.comparison.graphs

    def slope(self, step: Step) -> Slope:
        """The comparison's."""
        inner = step.inside("contrast", self.compiled, step.params, step.rows, self.comparison.wants)
        return self.comparison.slope(inner)


def without_data(checked: Checked, names: tuple[str, ...]) -> Iterator[Problem]:
    """Variables that the data have no training rows for."""
    for name in names if checked.data is not None else ():
        if checked.data is not None and checked.data.binding("train", name) is None:
            yield Problem(
                f"it holds {name} at the data, and the data have no training rows for it",
                help=f"write `{name} = COLUMN` in the data statement",
                related=((checked.model.variable(name).span, f"`{name}` is observed"),),
            )


def word(kind: type[W], name: str, **arguments: object) -> W:
    """The registered word of a kind and name."""
    found = VOCABULARY.get(kind.kind, name)
    assert found is not None and issubclass(found, kind), name
    return found(**arguments)
