"""The exact log-likelihood, for small models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gmc.dsl.vocabulary import VOCABULARY
from gmc.runtime.metric import Metric

if TYPE_CHECKING:
    from torch import Tensor

    from gmc.compiler.driver import Compiled
    from gmc.runtime.dataset import Dataset


@VOCABULARY.register("exact")
class Exact(Metric):
    """The exact mean log-likelihood of the data's variables, in nats a row, by enumeration."""

    def measure(self, compiled: Compiled, params: Mapping[str, Tensor], data: Dataset) -> float:
        """The mean over the rows."""
        return self.evaluated("exact", compiled, params, data)
