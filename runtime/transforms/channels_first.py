"""`channels_first`: the last axis becomes the first."""

from __future__ import annotations

from gmc.compiler.lazy import torch
from gmc.dsl.vocabulary import VOCABULARY
from gmc.runtime.errors import shape
from gmc.runtime.transform import Misfit, Rows, Transform


@VOCABULARY.register("channels_first")
class ChannelsFirst(Transform):
    """Moves the channels of an image from the last axis to the first: [32, 32, 3] becomes [3, 32, 32]."""

    def check(self, x: torch.Tensor, rows: Rows) -> None:
        """A row has three axes."""
        if x.dim() != 4:
            raise Misfit(
                f"takes rows of shape [height, width, channels], but a row has {shape(tuple(x.shape[1:]))} here"
            )

    def apply(self, x: torch.Tensor, rows: Rows) -> torch.Tensor:
        """`[n, h, w, c]` as `[n, c, h, w]`."""
        return x.movedim(-1, 1)
