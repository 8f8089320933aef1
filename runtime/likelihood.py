"""Exact log-likelihoods of one set of parameters."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torch import Tensor

from gmc.compiler.driver import Compiled
from gmc.compiler.marginal import Marginal
from gmc.compiler.region import Region
from gmc.runtime.exact import Marginals, log_partition


class Likelihood:
    """Exact log-likelihoods of one set of parameters; log Z is computed once.

    Raises:
        TooLarge: at the first use, where the model cannot be summed.
    """

    def __init__(self, compiled: Compiled, params: Mapping[str, Tensor]) -> None:
        self.compiled, self.params = compiled, params
        self._log_z: float | None = None
        self.marginals = Marginals(compiled)

    def marginal(self, clamped: tuple[str, ...]) -> Marginal:
        """How the sum with whole variables clamped is taken."""
        return self.marginals.given({n: Region.whole_of(self.compiled.checked.model.variable(n)) for n in clamped})

    @property
    def log_z(self) -> float:
        """log Z, in nats."""
        if self._log_z is None:
            self._log_z = float(log_partition(self.marginal(()), self.params, {}).log_z)
        return self._log_z

    def unnormalised(self, values: Mapping[str, Tensor]) -> Tensor:
        """log of the sum of exp(-E) over everything but the given whole statistics `[rows, size]`, a row; what is NaN is not given."""
        rows = next(iter(values.values())).shape[0]
        return self.marginals.log_partition(self.params, values, rows).log_z

    def log_likelihood(self, values: Mapping[str, Tensor], given: Collection[str] = ()) -> Tensor:
        """log p of the variables that have values, those of `given` conditioned on, all others summed out, float64 `[rows]`.

        Sites that are NaN are summed out too. Conditioned on anything, it needs no log Z.
        """
        held = {name: values[name] for name in given}
        return self.unnormalised(values) - (self.unnormalised(held) if held else self.log_z)
