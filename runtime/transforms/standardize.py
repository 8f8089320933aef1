"""`standardize`: mean 0 and standard deviation 1 at each site."""

from __future__ import annotations

from collections.abc import Iterable

from gmc.compiler.lazy import torch
from gmc.dsl.vocabulary import VOCABULARY
from gmc.runtime.errors import shape
from gmc.runtime.transform import Misfit, Rows, Transform, real


@VOCABULARY.register("standardize")
class Standardize(Transform):
    """Subtracts the mean of each site and divides by its standard deviation, both over the training rows.

    Valid and test rows are transformed by the constants of the training rows. A site that never varies is only shifted. Missing values do
    not count and stay missing.
    """

    def fit(self, chunks: Iterable[torch.Tensor]) -> dict[str, torch.Tensor]:
        """`mean` and `std` [*shape] in float64, the latter with n (not n - 1) in the denominator.

        Merges the moments of the parts by the formula of Chan, Golub and LeVeque (Algorithms for computing the sample variance,
        The American Statistician 37, 1983), which loses no digits where the mean is large.
        """
        count, mean, square = torch.zeros(()), torch.zeros(()), torch.zeros(())
        for chunk in chunks:
            x = real(chunk).to(torch.float64)
            here = x.isfinite()
            n = here.sum(dim=0).to(torch.float64)
            middle = torch.where(here, x, 0.0).sum(dim=0) / n.clamp(min=1.0)
            spread = torch.where(here, x - middle, 0.0).square().sum(dim=0)
            total = (count + n).clamp(min=1.0)
            step = middle - mean
            square = square + spread + step.square() * count * n / total
            mean = mean + step * n / total
            count = count + n
        std = (square / count.clamp(min=1.0)).sqrt()
        # what rounding leaves of a site that never varies is no spread
        still = std <= 1e-12 * mean.abs()
        return {"mean": mean, "std": torch.where(still | (std == 0.0), 1.0, std)}

    def check(self, x: torch.Tensor, rows: Rows) -> None:
        """The rows have the shape of the training rows."""
        found, fitted = tuple(x.shape[1:]), tuple(rows.constants["mean"].shape)
        if found != fitted:
            raise Misfit(f"was fitted to training rows of shape {shape(fitted)}, but a row has {shape(found)} here")

    def apply(self, x: torch.Tensor, rows: Rows) -> torch.Tensor:
        """`(x - mean) / std`, in float64."""
        mean, std = (rows.constants[name].to(x.device) for name in ("mean", "std"))
        return (x.to(torch.float64) - mean) / std
