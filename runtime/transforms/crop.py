"""`crop`: a window of images."""

from __future__ import annotations

from pydantic import Field

from gmc.compiler.lazy import torch
from gmc.dsl.vocabulary import VOCABULARY
from gmc.runtime.transform import Misfit, Rows, Transform


@VOCABULARY.register("crop")
class Crop(Transform):
    """Cuts `height` by `width` out of the last two axes, from row `top` and column `left` on: [8, 8] becomes [height, width]."""

    height: int = Field(ge=1)
    width: int = Field(ge=1)
    top: int = Field(default=0, ge=0)
    left: int = Field(default=0, ge=0)

    def apply(self, x: torch.Tensor, rows: Rows) -> torch.Tensor:
        """`[n, .., H, W]` as `[n, .., height, width]`."""
        return x[..., self.top : self.top + self.height, self.left : self.left + self.width]

    def check(self, x: torch.Tensor, rows: Rows) -> None:
        """The window must lie within the images.

        Raises:
            Misfit: it does not, or rows have fewer than two axes.
        """
        if x.dim() < 3:
            raise Misfit("needs rows of two axes at least")
        height, width = x.shape[-2:]
        if self.top + self.height > height or self.left + self.width > width:
            bottom, right = self.top + self.height, self.left + self.width
            raise Misfit(
                f"cuts rows {self.top} to {bottom} and columns {self.left} to {right} out of images of {height} by {width}"
            )
