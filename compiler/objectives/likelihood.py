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
        """A negative side without a known stationary energy, an exact side with gains, and anything that the negative side clamps and the positive one leaves free."""
        positive, negative = checked.chain(chain_of(self.positive)), checked.chain(chain_of(self.negative))
        if negative.update != "sample" and isinstance(self.negative, str):
            kind = "mean field" if negative.update == "mean" else "iterated conditional modes"
            yield Problem(
                f"{negative.name} is {kind}, and {negative.update} statistics in the negative phase push the bound the wrong way",
                argument="negative",
                help=f"let {negative.name} `update sample`",
            )
        elif isinstance(self.negative, str):
            yield from _unknown_energy(checked, negative)
        for side, use in (("positive", self.positive), ("negative", self.negative)):
            if not isinstance(use, str):
                yield from _scaled(checked, checked.chain(use.under), side)
        for variable in checked.model.variables:
            always, sometimes = _clamped(positive, variable, False), _clamped(positive, variable, True)
            loose = np.union1d(
                np.setdiff1d(_clamped(negative, variable, False), always),
                np.setdiff1d(_clamped(negative, variable, True), np.union1d(always, sometimes)),
            )
            if loose.size:
                yield Problem(
                    f"{negative.name} clamps {loose.size} of the {variable.sites} sites of {variable.name} that {positive.name} draws: "
                    "what the negative chain clamps is conditioned on, so the positive chain must clamp it too",
                    argument="negative",
                    help=f"clamp {variable.name} in {positive.name}, or leave it free in {negative.name}",
                )


def _unknown_energy(checked: Checked, chain: Chain) -> Iterator[Problem]:
    """A chain whose sweeps leave no known law as it is, and so cannot stand for the model's."""
    if not chain.gains:
        return
    from gmc.compiler.graph import build_graph
    from gmc.compiler.schedule import build_schedule
    from gmc.compiler.stationary import stationarity

    graph = build_graph(checked.model)
    found = stationarity(graph, build_schedule(graph, chain))
    if not found.holds and found.span is not None:
        yield Problem(
            f"{chain.name} is a non-equilibrium chain, and the negative phase needs one with a known energy",
            argument="negative",
            help="leave the gain out, give it to a whole edge, or to clamped variables alone",
            related=((found.span, found.text),),
        )


def _scaled(checked: Checked, chain: Chain, side: str) -> Iterator[Problem]:
    """An exact expectation under a chain with gains: what is summed is the model's own law."""
    if not chain.gains:
        return
    from gmc.compiler.graph import build_graph
    from gmc.compiler.schedule import build_schedule
    from gmc.compiler.stationary import is_model_law

    graph = build_graph(checked.model)
    if not is_model_law(graph, build_schedule(graph, chain)):
        yield Problem(
            f"exact({chain.name}) sums the law of the model, and {chain.name} has gains",
            argument=side,
            help="run the chain, or leave its gains out",
            related=((chain.gains[0].span, "this gain changes the law"),),
        )


def _clamped(chain: Chain, variable: Variable, observed: bool) -> np.ndarray:
    """The sites of a variable that a chain clamps always, or, with `observed`, where a row has them."""
    clamps = [c for c in chain.clamps if c.variable == variable.name and c.observed == observed]
    parts = [sites_of(variable, c.part) for c in clamps]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
