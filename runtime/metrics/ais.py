"""The log-likelihood with an estimated log Z."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import Field

from gmc.dsl.vocabulary import VOCABULARY
from gmc.runtime.metric import Metric

if TYPE_CHECKING:
    from torch import Tensor

    from gmc.compiler.driver import Compiled
    from gmc.runtime.dataset import Dataset


@VOCABULARY.register("ais")
class Ais(Metric):
    """The mean log-likelihood of the data's variables, in nats a row, with log Z by annealed importance sampling from base rates; biased high in expectation.

    `chains`: how many; `temperatures`: how many, evenly spaced. Where latent variables do not sum out given a row, a hundred rows are taken, each with as many chains of
    its own.
    """

    chains: int = Field(default=100, ge=2)
    temperatures: int = Field(default=500, ge=1)

    def measure(self, compiled: Compiled, params: Mapping[str, Tensor], data: Dataset) -> float:
        """The mean over the rows."""
        return self.evaluated("ais", compiled, params, data, chains=self.chains, temperatures=self.temperatures)
