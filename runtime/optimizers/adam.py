"""`adam`: adaptive moment estimation."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gmc.compiler.lazy import torch
from gmc.dsl.vocabulary import VOCABULARY, Ramp, RampBounds
from gmc.runtime.optimizer import Average, MaxNorm, Optimizer

Beta = Annotated[float, Field(ge=0.0, lt=1.0)]


@VOCABULARY.register("adam")
class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015), in torch's form.

    With gradient g' = g + weight_decay w: m = b1 m + (1 - b1) g', s = b2 s + (1 - b2) g'^2, w = w - lr m^ / (sqrt(s^) + eps), where ^ divides by
    1 - b^t, t the number of the step. `betas` are (b1, b2): the share of the old mean that is kept, near 1. Weight decay goes through the
    moments like any gradient (it is not AdamW's), for weights only, not for biases.

    `max_norm`: after each step the incoming weights of a unit (of the second end of an edge: a column of `dense`, an output channel of `conv`) whose norm is greater are scaled
    back to it. `average`: a moving average of the parameters that keeps this share of itself at each step, 0.999 say, corrected for its beginning: it is what is watched and written, and what the
    stage ends with; steps go on from the parameters themselves.
    """

    lr: Annotated[Ramp, RampBounds(ge=0.0)]
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    eps: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 1e-8
    weight_decay: Annotated[Ramp, RampBounds(ge=0.0)] = Ramp(0.0, 0.0)
    max_norm: MaxNorm = None
    average: Average = 0.0

    @property
    def slots(self) -> tuple[str, ...]:
        """The moments m and s, and t."""
        return ("exp_avg", "exp_avg_sq", "step")

    def update(
        self,
        params: list[torch.Tensor],
        grads: list[torch.Tensor],
        state: list[dict[str, torch.Tensor]],
        decays: bool,
        progress: float,
    ) -> None:
        """One step by torch's own; moments are made at a parameter's first step."""
        from torch.optim.adam import adam

        for param, slots in zip(params, state, strict=True):
            if not slots:
                slots["exp_avg"] = torch.zeros_like(param)
                slots["exp_avg_sq"] = torch.zeros_like(param)
                slots["step"] = torch.zeros((), dtype=torch.float32)
        # torch.optim.Adam itself does no more than this, and making one loads torch's compiler, which takes a second
        adam(
            params,
            grads,
            [slots["exp_avg"] for slots in state],
            [slots["exp_avg_sq"] for slots in state],
            [],
            [slots["step"] for slots in state],
            foreach=True,
            amsgrad=False,
            beta1=self.betas[0],
            beta2=self.betas[1],
            lr=self.lr.at(progress),
            weight_decay=self.weight_decay.at(progress) if decays else 0.0,
            eps=self.eps,
            maximize=False,
        )
