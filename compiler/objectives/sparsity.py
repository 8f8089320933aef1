"""Sparsity of hidden units."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from gmc.compiler.objective import Objective
from gmc.dsl.model import Checked
from gmc.dsl.vocabulary import VOCABULARY, ChainName, Problem, VariableName

if TYPE_CHECKING:
    from gmc.compiler.driver import Compiled
    from gmc.compiler.sparsity import Sparsity as Descent


@VOCABULARY.register("sparsity")
class Sparsity(Objective):
    """The cross-entropy between `target` and how often each unit of a variable is on, summed over the units: a term beside another objective, as in `likelihood(posterior, negative) + 0.1 * sparsity(posterior, h)`.

    How often a unit is on is its mean at its field, given where CHAIN ended, over the batch; it runs on from step to step with the factor `damping`. The term is the same for every row, and is
    least, the entropy of `target` a unit, where each unit is on as often as `target` says.
    """

    chain: Annotated[ChainName, Field(alias="under")]
    variable: VariableName
    target: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.1
    damping: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9

    def chains(self) -> tuple[str, ...]:
        """The one."""
        return (self.chain,)

    def build(self, compiled: Compiled) -> Descent:
        """The descent."""
        from gmc.compiler.sparsity import build_sparsity

        return build_sparsity(compiled, self.chain, self.variable, self.target, self.damping)

    def problems(self, checked: Checked) -> Iterator[Problem]:
        """A variable that is not on or off, or that the chain clamps, and a chain with gains."""
        chain, variable = checked.chain(self.chain), checked.model.variable(self.variable)
        if variable.family.states != 2 or variable.family.bounds != (0.0, 1.0):
            yield Problem(
                f"it is of units that are on or off, and {variable.name} takes {variable.family.support}",
                "variable",
                "name a `bernoulli` variable",
            )
        clamp = next((c for c in chain.clamps if c.variable == variable.name), None)
        if clamp is not None:
            yield Problem(
                f"{chain.name} clamps {variable.name}, so that its units are not {chain.name}'s to be on or off",
                "variable",
                f"name a variable that {chain.name} draws",
                related=((clamp.span, "clamped here"),),
            )
        if chain.gains:
            yield Problem(
                f"{chain.name} has gains, and activations are those of the model",
                "chain",
                "name a chain without gains",
                related=((chain.gains[0].span, "this gain changes the law"),),
            )
