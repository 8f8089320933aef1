"""What a metric means: a number about the parameters and a split."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gmc.dsl.vocabulary import MetricWord

if TYPE_CHECKING:
    from torch import Tensor

    from gmc.compiler.driver import Compiled
    from gmc.runtime.dataset import Dataset


class Metric(MetricWord):
    """A registered metric."""

    @abstractmethod
    def measure(self, compiled: Compiled, params: Mapping[str, Tensor], data: Dataset) -> float:
        """The metric of a split.

        Raises:
            TooLarge: it cannot be computed for this model.
        """

    def evaluated(
        self, method: str, compiled: Compiled, params: Mapping[str, Tensor], data: Dataset, **options: object
    ) -> float:
        """The mean over all rows by a method of `gmc eval`.

        Raises:
            TooLarge: it does not apply.
        """
        from gmc.runtime.evaluations import METHODS
        from gmc.runtime.evaluations.method import Task

        return METHODS[method].run(Task(compiled, params, data), **options).mean
