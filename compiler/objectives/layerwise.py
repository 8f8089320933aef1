"""Greedy pretraining, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from gmc.compiler.divergence import Divergence, without_data
from gmc.compiler.objective import Objective
from gmc.compiler.stack import Stack
from gmc.compiler.stacking import stacking_problems
from gmc.dsl.model import Checked, Model
from gmc.dsl.vocabulary import VOCABULARY, Nested, ObjectiveWord, Problem

if TYPE_CHECKING:
    from gmc.compiler.driver import Compiled
    from gmc.compiler.pretraining import Pretraining


@VOCABULARY.register("layerwise")
class Layerwise(Objective):
    """Greedy pretraining of a deep model: each layer in turn is trained as an RBM, by `each`, on what the layers below make of the data.

    The layers follow from the graph: every edge belongs to that of its upper end, and latent variables go up in the order of their declaration. The stage runs its epochs once for each
    layer. In a deep Boltzmann machine the field of a variable, its bias included, is multiplied by the number of layers that the variable has a part in, so that a middle layer, which the whole model draws from
    both sides, is not told twice what it should be told once (Salakhutdinov & Hinton, 2009). In a deep belief network (`edge h1 -> v`) nothing is multiplied, and the `~>`
    edges take the transposed weights and the biases of the hidden units.

    `each`: `cd(k)` or `pcd(k)`.
    """

    each: Annotated[ObjectiveWord, Nested("objective")]

    def chains(self) -> tuple[str, ...]:
        """None of the file's."""
        return ()

    def reads(self, model: Model) -> tuple[str, ...]:
        """The observed variables of the stack."""
        lower = {name for layer in Stack(model).layers for name in layer.lower}
        return tuple(v.name for v in model.observed if v.name in lower)

    def derived(self, model: Model) -> tuple[str, ...]:
        """The layers, a phase a line."""
        return tuple(f"phase {number}: {layer}" for number, layer in enumerate(Stack(model).layers, 1))

    def build(self, compiled: Compiled) -> Pretraining:
        """The phases."""
        from gmc.compiler.pretraining import build_pretraining

        assert isinstance(self.each, Divergence)
        return build_pretraining(compiled, self.each)

    def problems(self, checked: Checked) -> Iterator[Problem]:
        """Another objective for the layers, a model that is no stack, and an observed variable without data."""
        if not isinstance(self.each, Divergence):
            yield Problem(
                f"`{self.each.word}` does not say how an RBM is trained on any data that it is given",
                argument="each",
                help="write `layerwise(cd(1))` or `layerwise(pcd(1))`",
            )
        found = list(stacking_problems(Stack(checked.model)))
        yield from found
        if not found:
            yield from without_data(checked, self.reads(checked.model))
