"""Multi-prediction: mean field predicts what is hidden of each row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from gmc.compiler.objective import Objective
from gmc.dsl.model import Checked
from gmc.dsl.vocabulary import VOCABULARY, ChainName, Problem, StartWord

if TYPE_CHECKING:
    from gmc.compiler.driver import Compiled
    from gmc.compiler.prediction import MultiPrediction as Descent


@VOCABULARY.register("multi_prediction")
class MultiPrediction(Objective):
    """Hides each site that CHAIN clamps where observed with the chance `drop`, and descends -log p(hidden site) at the field that mean field ends with, summed over what is hidden.

    The gradient goes through all sweeps of the chain, which says `clamp ... where observed` and `update mean`. It trains a deep Boltzmann machine as a whole, without layer-wise
    pretraining, to infer anything from anything else (Goodfellow, Mirza, Courville and Bengio, NIPS 2013). What a row lacks is hidden always and predicted never.
    """

    chain: Annotated[ChainName, Field(alias="under")]
    drop: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5

    def chains(self) -> tuple[str, ...]:
        """The one."""
        return (self.chain,)

    def hides(self) -> tuple[str, ...]:
        """From that one."""
        return (self.chain,)

    def build(self, compiled: Compiled) -> Descent:
        """The descent."""
        from gmc.compiler.prediction import build_prediction

        return build_prediction(compiled, self.chain, self.drop)

    def problems(self, checked: Checked) -> Iterator[Problem]:
        """A chain that is no mean field, has nothing to hide, or keeps states."""
        chain = checked.chain(self.chain)
        if chain.update != "mean":
            yield Problem(
                f"{chain.name} draws, and no gradient passes through draws", "chain", f"let {chain.name} `update mean`"
            )
        if not any(clamp.observed for clamp in chain.clamps):
            held = next((c.variable for c in chain.clamps), None) or next((v.name for v in checked.model.observed), "v")
            yield Problem(
                f"{chain.name} clamps nothing where observed, so nothing can be hidden from it",
                "chain",
                f"`clamp {held} where observed` in {chain.name}",
            )
        for start in chain.starts:
            if isinstance(start.source, StartWord) and start.source.keeps:
                yield Problem(
                    f"{chain.name} goes on from where it ended on other hidden sites",
                    "chain",
                    f"leave `start persistent` out of {chain.name}",
                    related=((start.span, "states are kept here"),),
                )
