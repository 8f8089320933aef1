"""Convolutional factors: one small kernel of weights, used at every place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from gmc.compiler.factor import Factor, is_lateral
from gmc.compiler.lazy import torch
from gmc.dsl.model import Variable
from gmc.dsl.vocabulary import VOCABULARY

if TYPE_CHECKING:
    from torch import Tensor

    from gmc.compiler.emitter import Emitter
    from gmc.compiler.factor import Normal, Theta
    from gmc.compiler.family import Expr
    from gmc.compiler.region import Piece, Region


@VOCABULARY.register("conv")
class Conv(Factor):
    """f = sum over places of <T_b, conv(T_a)>: `edge v -- h by conv(5)` with v `[H, W]` or `[C, H, W]` and h `[C', H', W']` or `[H', W']`.

    `kernel`: its side; `stride`, `padding` (zeros around v): as in torch, H' = floor((H + 2 padding - kernel) / stride) + 1. Statistics of a site
    count as channels. `init`: the standard deviation of first weights.
    """

    separate: ClassVar[bool] = True
    kernel: int = Field(ge=1)
    stride: int = Field(default=1, ge=1)
    padding: int = Field(default=0, ge=0)
    init: float = Field(default=0.01, ge=0.0)

    def _out(self, length: int) -> int:
        return (length + 2 * self.padding - self.kernel) // self.stride + 1

    def mismatch(self, ends: Sequence[Variable]) -> str | None:
        """The second end must have the shape of the first one's convolution."""
        if is_lateral(ends):
            return "a convolution joins two variables; for neighbours within one use lattice"
        for end in ends:
            if len(end.shape) not in (2, 3):
                return f"{end.name} must have a shape [height, width] or [channels, height, width]"
        height, width = (self._out(n) for n in ends[0].shape[-2:])
        if height < 1 or width < 1:
            return f"a kernel of {self.kernel} does not fit into {ends[0].name}, which is {ends[0].shape[-2]} by {ends[0].shape[-1]}"
        if ends[1].shape[-2:] != (height, width):
            found = f"{ends[1].shape[-2]} by {ends[1].shape[-1]}"
            return f"{ends[1].name} is {found}, but this convolution of {ends[0].name} is {height} by {width}"
        return None

    def parameters(self, ends: Sequence[Variable]) -> dict[str, tuple[int, ...]]:
        """`weight` [channels of b, channels of a, kernel, kernel]."""
        return {"weight": (_channels(ends[1]), _channels(ends[0]), self.kernel, self.kernel)}

    def fan_in(self, ends: Sequence[Variable]) -> dict[str, tuple[int, ...]]:
        """The kernels into one channel of the second end."""
        return {"weight": (1, 2, 3)}

    def initial(self, ends: Sequence[Variable], normal: Normal) -> dict[str, Tensor]:
        """Normal weights."""
        return {name: normal(shape) * self.init for name, shape in self.parameters(ends).items()}

    def _forward(self, theta: Theta, maps: Expr) -> Expr:
        return torch.nn.functional.conv2d(maps, theta["weight"], stride=self.stride, padding=self.padding)

    def energy(self, g: Emitter, theta: Theta, ends: Sequence[Variable], values: Sequence[Expr]) -> Expr:
        """The convolution of a times b."""
        return (self._forward(theta, _maps(values[0], ends[0])) * _maps(values[1], ends[1])).flatten(1).sum(1)

    def field(
        self, g: Emitter, theta: Theta, ends: Sequence[Variable], pieces: Mapping[int, Piece], target: Region, slot: int
    ) -> Expr:
        """A convolution into b, a transposed one into a."""
        (piece,) = pieces.values()
        maps = _maps(g.embed(piece), ends[1 - slot])
        if slot == 1:
            out = self._forward(theta, maps)
        else:
            # rows and columns that the stride leaves over at the far side reach no unit of b
            rest = tuple((n + 2 * self.padding - self.kernel) % self.stride for n in ends[0].shape[-2:])
            out = torch.nn.functional.conv_transpose2d(
                maps, theta["weight"], stride=self.stride, padding=self.padding, output_padding=rest
            )
        return g.select(_flat(out, ends[slot]), target)

    def gradient(self, g: Emitter, theta: Theta, ends: Sequence[Variable], values: Sequence[Expr]) -> dict[str, Expr]:
        """The correlation of both maps at each offset of the kernel."""
        a, b = _maps(values[0], ends[0]), _maps(values[1], ends[1])
        patches = torch.nn.functional.unfold(a, self.kernel, padding=self.padding, stride=self.stride)
        mean = torch.einsum("ncp,nkp->ck", b.flatten(2), patches) / values[0].shape[0]
        return {"weight": mean.reshape(self.parameters(ends)["weight"])}


def _channels(variable: Variable) -> int:
    return (variable.shape[0] if len(variable.shape) == 3 else 1) * variable.family.width


def _maps(value: Expr, variable: Variable) -> Expr:
    """Flat statistics as maps `[chains, channels * width, H, W]`."""
    height, width = variable.shape[-2:]
    if variable.family.width == 1:
        return value.reshape(-1, _channels(variable), height, width)
    maps = value.reshape(-1, _channels(variable) // variable.family.width, height, width, variable.family.width)
    return maps.permute(0, 1, 4, 2, 3).reshape(-1, _channels(variable), height, width)


def _flat(maps: Expr, variable: Variable) -> Expr:
    """The way back from `_maps`."""
    height, width = variable.shape[-2:]
    if variable.family.width == 1:
        return maps.flatten(1)
    split = maps.reshape(-1, _channels(variable) // variable.family.width, variable.family.width, height, width)
    return split.permute(0, 1, 3, 4, 2).flatten(1)
