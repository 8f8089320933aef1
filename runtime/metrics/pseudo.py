"""The pseudo-log-likelihood."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gmc.dsl.vocabulary import VOCABULARY
from gmc.runtime.metric import Metric

if TYPE_CHECKING:
    from torch import Tensor

    from gmc.compiler.driver import Compiled
    from gmc.runtime.dataset import Dataset


@VOCABULARY.register("pseudo")
class Pseudo(Metric):
    """The mean sum over sites of log p(site | all others), in nats a row, latent variables summed out; no log-likelihood."""

    def measure(self, compiled: Compiled, params: Mapping[str, Tensor], data: Dataset) -> float:
        """The mean over the rows."""
        return self.evaluated("pseudo", compiled, params, data)
