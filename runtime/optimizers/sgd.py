"""`sgd`: stochastic gradient descent."""

from __future__ import annotations

from typing import Annotated

from gmc.compiler.lazy import torch
from gmc.dsl.vocabulary import VOCABULARY, Ramp, RampBounds
from gmc.runtime.optimizer import Average, MaxNorm, Optimizer

BUFFER = "momentum_buffer"


@VOCABULARY.register("sgd")
class Sgd(Optimizer):
    """Stochastic gradient descent with momentum m and weight decay d, in torch's form.

    With gradient g of a parameter w: g' = g + d w; b = m b + g' (b = g' at the first step); w = w - lr b. So b is a sum, not a mean, of
    gradients: at a steady gradient momentum m makes the step lr / (1 - m) long. A change of lr acts on all of b at once.
    Weight decay adds d/2 |w|^2 to the loss, for weights only, not for biases. `nesterov`: w = w - lr (g' + m b) (Sutskever et al., 2013, in torch's form).

    `max_norm`: after each step the incoming weights of a unit (of the second end of an edge: a column of `dense`, an output channel of `conv`) whose norm is greater are scaled
    back to it. `average`: a moving average of the parameters that keeps this share of itself at each step, 0.999 say, corrected for its beginning: it is what is watched and written, and what the
    stage ends with; steps go on from the parameters themselves.
    """

    lr: Annotated[Ramp, RampBounds(ge=0.0)]
    momentum: Annotated[Ramp, RampBounds(ge=0.0, lt=1.0)] = Ramp(0.0, 0.0)
    weight_decay: Annotated[Ramp, RampBounds(ge=0.0)] = Ramp(0.0, 0.0)
    nesterov: bool = False
    max_norm: MaxNorm = None
    average: Average = 0.0

    @property
    def slots(self) -> tuple[str, ...]:
        """The momentum buffer b."""
        return (BUFFER,)

    def update(
        self,
        params: list[torch.Tensor],
        grads: list[torch.Tensor],
        state: list[dict[str, torch.Tensor]],
        decays: bool,
        progress: float,
    ) -> None:
        """One step by torch's own; buffers are made at the first step with momentum."""
        from torch.optim.sgd import sgd

        momentum = self.momentum.at(progress)
        # torch.optim.SGD itself does no more than this, and making one loads torch's compiler, which takes a second
        buffers = [slots.get(BUFFER) for slots in state]
        sgd(
            params,
            grads,
            buffers,
            foreach=True,
            weight_decay=self.weight_decay.at(progress) if decays else 0.0,
            momentum=momentum,
            lr=self.lr.at(progress),
            dampening=0.0,
            nesterov=self.nesterov,
            maximize=False,
        )
        for slots, buffer in zip(state, buffers, strict=True):
            if buffer is not None:
                slots[BUFFER] = buffer
