"""Pseudo-likelihood: each site is predicted from all the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gmc.compiler.objective import Objective
from gmc.dsl.model import Checked, Model
from gmc.dsl.vocabulary import VOCABULARY, Count, Problem

if TYPE_CHECKING:
    from gmc.compiler.driver import Compiled
    from gmc.compiler.pseudo import PseudoLikelihood as Descent


@VOCABULARY.register("pseudo_likelihood")
class PseudoLikelihood(Objective):
    """The sum over the sites of the data of -log p(site | all others), a row, with latent variables summed out (Besag, The Statistician 24, 1975).

    `sites = k` draws k sites for each row and scales their sum by the number of all over k: the same on average. It needs no negative phase, and is no likelihood: neither a bound nor an
    estimate. Without latent variables one evaluation of the fields gives all conditionals, of continuous sites too.
    """

    sites: Count | None = None

    def chains(self) -> tuple[str, ...]:
        """None: it reads the rows."""
        return ()

    def reads(self, model: Model) -> tuple[str, ...]:
        """All observed variables."""
        return tuple(v.name for v in model.observed if v.sites)

    def build(self, compiled: Compiled) -> Descent:
        """The descent."""
        from gmc.compiler.pseudo import build_pseudo

        return build_pseudo(compiled, self.sites)

    def problems(self, checked: Checked) -> Iterator[Problem]:
        """Nothing to predict, more sites than there are, and conditionals that are not summed."""
        total = sum(v.sites for v in checked.model.observed)
        if not total:
            yield Problem("the model has no observed variable with a site, and these are what it predicts")
        elif self.sites is not None and self.sites > total:
            yield Problem(
                f"it draws {self.sites} sites of each row, which has {total}", "sites", "leave `sites` out to take all"
            )
        else:
            yield from _unsummable(checked.model)


def _unsummable(model: Model) -> Iterator[Problem]:
    """The variables whose conditionals take sums that are too large."""
    import numpy as np

    from gmc.compiler.conditionals import find_ways
    from gmc.compiler.graph import build_graph
    from gmc.compiler.marginal import build_marginal
    from gmc.compiler.region import Region

    graph = build_graph(model)
    whole = {v.name: Region.whole_of(v) for v in model.observed if v.sites}
    for variable in find_ways(graph).sum:
        rest = whole[variable.name].without(Region(variable, np.zeros(1, dtype=np.int64)))
        others = {name: region for name, region in whole.items() if name != variable.name}
        reason = build_marginal(graph, {**others, **({variable.name: rest} if rest.sites.size else {})}).reason()
        if reason is not None:
            yield Problem(
                f"p(site | rest) of {variable.name} is not summed exactly: {reason}",
                help="descend a `likelihood` with sampled chains, or a `multi_prediction`",
            )
