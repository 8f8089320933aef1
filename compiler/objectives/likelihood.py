"""Maximum likelihood: the energy under a chain held at the data against the energy under a free one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import numpy as np

from gmc.compiler.objective import Objective
from gmc.compiler.region import sites_of
from gmc.dsl.model import Chain, Checked, Variable, chain_of
from gmc.dsl.vocabulary import VOCABULARY, ExpectationWord, Nested, Problem, Reference

Side = Annotated[str | ExpectationWord, Reference("chain"), Nested("expectation")]


@VOCABULARY.register("likelihood")
class Likelihood(Objective):
    """Descends `<E>_positive - <E>_negative`, whose gradient is that of -log p of what `positive` clamps and `negative` does not, a row.

    With a negative chain from the data (`start data sweeps k`) it is contrastive divergence CD-k, with `start persistent(n)` PCD. Either side
    may be `exact(CHAIN)`: the expectation under the chain's conditional law by enumeration, for small models. A positive chain with `update mean`
    makes it a variational bound.
    """

    positive: Side
    negative: Side

    def chains(self) -> tuple[str, ...]:
        """Both."""
        return tuple(dict.fromkeys((chain_of(self.positive), chain_of(self.negative))))

    def problems(self, checked: Checked) -> Iterator[Problem]:
        """A mean-field negative side, and anything that the negative side clamps and the positive one leaves free."""
        positive, negative = checked.chain(chain_of(self.positive)), checked.chain(chain_of(self.negative))
        if negative.update == "mean" and isinstance(self.negative, str):
            yield Problem(
                f"{negative.name} is mean field, and mean-field statistics in the negative phase push the bound the wrong way",
                argument="negative",
                help=f"let {negative.name} `update sample`",
            )
        for variable in checked.model.variables:
            loose = np.setdiff1d(_clamped(negative, variable), _clamped(positive, variable))
            if loose.size:
                yield Problem(
                    f"{negative.name} clamps {loose.size} of the {variable.sites} sites of {variable.name} that {positive.name} draws: "
                    "what the negative chain clamps is conditioned on, so the positive chain must clamp it too",
                    argument="negative",
                    help=f"clamp {variable.name} in {positive.name}, or leave it free in {negative.name}",
                )


def _clamped(chain: Chain, variable: Variable) -> np.ndarray:
    parts = [sites_of(variable, c.part) for c in chain.clamps if c.variable == variable.name]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
