"""The variational lower bound of the log-likelihood."""

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


@VOCABULARY.register("variational_bound")
class VariationalBound(Metric):
    """The mean lower bound -E(v, mu) + H(mu) - log Z of log p of the data's variables, in nats a row, at the fixed point mu of mean field; as `gmc eval --method bound`.

    log Z is exact up to 2^20 states, else estimated by annealed importance sampling with so many `chains` and evenly spaced `temperatures`, which makes the number biased high as
    an estimate of the bound.
    """

    chains: int = Field(default=100, ge=2)
    temperatures: int = Field(default=500, ge=1)

    def measure(self, compiled: Compiled, params: Mapping[str, Tensor], data: Dataset) -> float:
        """The mean over the rows."""
        return self.evaluated("bound", compiled, params, data, chains=self.chains, temperatures=self.temperatures)
