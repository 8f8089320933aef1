"""Maximum likelihood: the energy under a chain held at the data against the energy under a free one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import numpy as np

from gmc.compiler.objective import Objective
from gmc.compiler.region import sites_of
from gmc.dsl.kernels import beneath
from gmc.dsl.model import Chain, Checked, Variable, chain_of
from gmc.dsl.vocabulary import VOCABULARY, ExpectationWord, Nested, Probability, Problem, Reference

if TYPE_CHECKING:
    from gmc.compiler.comparison import Comparison
    from gmc.compiler.driver import Compiled

Side = Annotated[str | ExpectationWord, Reference("chain"), Nested("expectation")]


@VOCABULARY.register("likelihood")
class Likelihood(Objective):
    """Descends `<E>_positive - <E>_negative`, whose gradient is that of -log p of what `positive` clamps and `negative` does not, a row.

    With a negative chain from the data (`start data sweeps k`) it is contrastive divergence CD-k, with `start persistent(n)` PCD. Either side
    may be `exact(CHAIN)`: the expectation under the chain's conditional law by enumeration, for small models. A positive chain with `update mean`
    makes it a variational bound, and so do `~>` edges that draw in it; what `->` edges draw and it clamps enters with -log p given their sources.

    `centring`: steps go down in centred coordinates, whose offsets follow the mean statistics of the positive side at this rate (0 leaves them at the data's mean,
    1 takes those of each batch); 0.01 is a good one. The law and the parameters mean what they do without it.

    `settle = true`: the statistics of the negative chain are those after a last mean-field pass over its latent variables, block by block, from where it ended; its states stay draws.
    """

    positive: Side
    negative: Side
    centring: Probability | None = None
    settle: bool = False

    def chains(self) -> tuple[str, ...]:
        """Both."""
        return tuple(dict.fromkeys((chain_of(self.positive), chain_of(self.negative))))

    def build(self, compiled: Compiled) -> Comparison:
        """The comparison of both sides."""
        from gmc.compiler.comparison import Uses, build_comparison

        uses: Uses = {"positive": self.positive, "negative": self.negative}
        return build_comparison(compiled, uses, self.centring, self.settle)

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
        elif self.settle:
            yield Problem(
                f"exact({negative.name}) is a sum, and only a chain that is run settles", "settle", "leave `settle` out"
            )
        for side, use in (("positive", self.positive), ("negative", self.negative)):
            if not isinstance(use, str):
                yield from _scaled(checked, checked.chain(use.under), side)
            yield from _conditionals(checked, checked.chain(chain_of(use)), side, isinstance(use, str))
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
    directed = any(edge.targets for edge in checked.model.edges)
    if not chain.gains and not directed:
        return
    from gmc.compiler.graph import build_graph
    from gmc.compiler.schedule import build_schedule
    from gmc.compiler.stationary import stationarity

    graph = build_graph(checked.model)
    found = stationarity(graph, build_schedule(graph, chain))
    if not found.holds and found.span is not None:
        gain = "leave the gain out, give it to a whole edge, or to clamped variables alone"
        edge = "leave free what lies below along `->` edges, so that the joint draws all, what edges come from before what they draw"
        yield Problem(
            f"{chain.name} is a non-equilibrium chain, and the negative phase needs one with a known energy",
            argument="negative",
            help=gain if found.span in [g.span for g in chain.gains] else edge,
            related=((found.span, found.text),),
        )


def _conditionals(checked: Checked, chain: Chain, side: str, sampled: bool) -> Iterator[Problem]:
    """What directed edges draw and a side holds, where its -log p is not to be had from the side's statistics."""
    held = {clamp.variable for clamp in chain.clamps}
    whole = {c.variable for c in chain.clamps if c.part is None and not c.observed}
    joined = {end for edge in checked.model.edges if edge.kind == "undirected" for end in edge.ends}
    for edge in (e for e in checked.model.edges if e.kind == "directed"):
        (target,), loose = edge.targets, [s for s in edge.sources if s not in whole]
        below = held & {target, *beneath(checked.model, target)}
        if target in joined and loose:
            yield Problem(
                f"{target} is drawn from {loose[0]} together with what it is joined to, by a law whose normaliser changes with {loose[0]}",
                argument=side,
                help=f"clamp {loose[0]} in {chain.name}",
                related=((edge.span, f"{edge} is here"),),
            )
        elif sampled and chain.update != "sample" and below and loose:
            yield Problem(
                f"{chain.name} holds {loose[0]} at its mean, and -log p({target} | {loose[0]}) is not linear in it",
                argument=side,
                help=f"let {chain.name} `update sample`",
                related=((edge.span, f"{edge} is here"),),
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
