"""Discriminative training: some variables of a row are predicted from others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar

from gmc.compiler.objective import Objective
from gmc.dsl.model import Checked, Model
from gmc.dsl.vocabulary import VOCABULARY, Conditional, Problem, Reference

if TYPE_CHECKING:
    from gmc.compiler.discrimination import Discrimination
    from gmc.compiler.driver import Compiled


@VOCABULARY.register("discriminative")
class Discriminative(Objective):
    """-log p(y | v) a row, exact, with all other variables summed out: `discriminative(y | v)`, or `discriminative((y, z) | (v, w))`.

    With a label RBM it is the discriminative RBM of Larochelle and Bengio (ICML 2008), and as a term beside a `likelihood` their hybrid. What a row lacks of either side is
    summed out too, so that a row without a label costs nothing. A model with too many latent states is refused: a `likelihood` whose negative chain clamps v estimates the same gradient.
    """

    takes_gaps: ClassVar[bool] = True
    conditional: Annotated[Conditional, Reference("variable")]

    def chains(self) -> tuple[str, ...]:
        """None: it sums."""
        return ()

    def reads(self, model: Model) -> tuple[str, ...]:
        """Both sides."""
        return (*self.conditional.targets, *self.conditional.given)

    def build(self, compiled: Compiled) -> Discrimination:
        """The difference of two sums."""
        from gmc.compiler.discrimination import build_discrimination

        return build_discrimination(compiled, self.conditional)

    def problems(self, checked: Checked) -> Iterator[Problem]:
        """A name twice, and sums that cannot be taken."""
        names = self.reads(checked.model)
        twice = next((name for n, name in enumerate(names) if name in names[:n]), None)
        if twice is not None:
            yield Problem(f"{twice} is named twice", "conditional", "name each variable once, on one side of the bar")
            return
        reason = _unsummable(checked.model, self.conditional)
        if reason is not None:
            targets, given = ", ".join(names), ", ".join(self.conditional.given)
            yield Problem(
                f"-log p({', '.join(self.conditional.targets)} | {given}) is not summed exactly: {reason}",
                help=f"estimate its gradient by `likelihood(positive = A, negative = B)`, with `clamp {targets}` in A and `clamp {given}` in B",
            )


def _unsummable(model: Model, of: Conditional) -> str | None:
    """Why one of the two sums cannot be taken, if so."""
    from gmc.compiler.graph import build_graph
    from gmc.compiler.marginal import build_marginal
    from gmc.compiler.region import Region

    graph = build_graph(model)
    for names in (of.given, (*of.given, *of.targets)):
        reason = build_marginal(graph, {n: Region.whole_of(model.variable(n)) for n in names}).reason()
        if reason is not None:
            return reason
    return None
