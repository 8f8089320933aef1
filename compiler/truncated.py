"""The normal law N(eta, 1) cut off below zero, which is what a rectified unit has: p(x) proportional to exp(eta x - x^2 / 2) for x >= 0.

With z = -eta, phi and Phi the standard normal density and distribution, its normaliser is `exp(A) = sqrt(pi / 2) erfcx(z / sqrt 2)`, and its mean is `h - z`, where
`h = phi(z) / Phi(-z)` is the hazard of the normal law. That difference loses all digits far out in the tail, so there the mean is Laplace's continued
fraction for it, `1 / (z + 2 / (z + 3 / (z + ...)))` (Abramowitz and Stegun, 26.2.14). All is computed in float64 and given in the type of eta; the functions know
their derivatives, so that no unused branch sends NaN back.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from gmc.compiler import draws
from gmc.compiler.draws import draw
from gmc.compiler.opaque import opaque

ROOT_HALF = math.sqrt(0.5)
TAIL = 16.0
"""Where the continued fraction takes over: by h - z the mean keeps 13 digits up to here."""
LEVELS = 8
"""Levels of the fraction: at z = 16 the rest is 2e-15 of it."""
FAR = -30.0
"""Below it Phi(eta) underflows on its way to the inverse, and draws solve for the logarithm."""
STEPS = 6
"""Steps of Newton's method there, from a start that is at most a factor of 1.6 off; the fourth no longer changes the number."""


def _fraction(z: Tensor) -> Tensor:
    """q of `mean = 1 / (z + 2 q)`: 1 / (z + 3 / (z + 4 / ...)) for z >= TAIL."""
    found = torch.zeros_like(z)
    for level in range(LEVELS, 2, -1):
        found = level / (z + found)
    return 1.0 / (z + found)


def _hazard(eta: Tensor) -> Tensor:
    """phi(eta) / Phi(eta), which is the hazard at z = -eta."""
    return math.sqrt(2.0 / math.pi) / torch.special.erfcx(eta * -ROOT_HALF)


def _moments(eta: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance at float64 fields."""
    hazard = _hazard(eta)
    near = eta + hazard
    z = (-eta).clamp(min=TAIL)
    q = _fraction(z)
    far = 1.0 / (z + 2.0 * q)
    tail = eta < -TAIL
    # Var = 1 - h (h - z); with 1 - z m = 2 q m it is m (2 q - m), which cancels nothing
    return torch.where(tail, far, near), torch.where(tail, far * (2.0 * q - far), 1.0 - hazard * near)


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, eta: Tensor) -> Tensor:
        value, variance = _moments(eta.to(torch.float64))
        ctx.save_for_backward(variance.to(eta.dtype))
        return value.to(eta.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * ctx.saved_tensors[0]


class _LogPartition(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, eta: Tensor) -> Tensor:
        ctx.save_for_backward(eta)
        x = eta.to(torch.float64)
        low = torch.special.erfcx(x.clamp(max=0.0) * -ROOT_HALF).log() + 0.5 * math.log(0.5 * math.pi)
        high = 0.5 * x * x + torch.special.log_ndtr(x.clamp(min=0.0)) + 0.5 * math.log(2.0 * math.pi)
        return torch.where(x < 0, low, high).to(eta.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        slope: Tensor = mean(ctx.saved_tensors[0])
        return gradients[0] * slope


@opaque
def mean(eta: Tensor) -> Tensor:
    """E[x]: eta + phi(eta) / Phi(eta)."""
    found: Tensor = _Mean.apply(eta)  # type: ignore[no-untyped-call]
    return found


@opaque
def log_partition(eta: Tensor) -> Tensor:
    """A: the logarithm of the integral of exp(eta x - x^2 / 2) over x >= 0."""
    found: Tensor = _LogPartition.apply(eta)  # type: ignore[no-untyped-call]
    return found


def field_of(mean_value: Tensor) -> Tensor:
    """The field at which the mean is `mean_value` > 0, by Newton's method in float64.

    The mean is convex and grows with the field, and is above it: from eta = mean the steps only go down.
    """
    wanted = mean_value.to(torch.float64)
    eta = wanted.clone()
    for _ in range(100):
        value, slope = _moments(eta)
        step = (value - wanted) / slope
        eta = eta - step
        if bool((step.abs() <= 1e-14 * (1.0 + eta.abs())).all()):
            break
    return eta.to(mean_value.dtype)


def _far_quantile(z: Tensor, survival: Tensor) -> Tensor:
    """x with P(X > x) = survival at eta = -z, for z > 0.

    -log P(X > x) = z x + x^2 / 2 + log erfcx(z / sqrt 2) - log erfcx((z + x) / sqrt 2) is convex and has the hazard at z + x for a slope. It
    is at least h(z) x and at least z x + x^2 / 2, so that either gives a start at or beyond the root, from which Newton's steps go down to it.
    """
    exponent = -survival.log()
    at_zero = torch.special.erfcx(z * ROOT_HALF).log()
    x = torch.minimum(exponent / _hazard(-z), 2.0 * exponent / (z + (z * z + 2.0 * exponent).sqrt()))
    for _ in range(STEPS):
        value = z * x + 0.5 * x * x + at_zero - torch.special.erfcx((z + x) * ROOT_HALF).log()
        x = (x - (value - exponent) / _hazard(-(z + x))).clamp(min=0.0)
    return x


@draw
def relu(eta: Tensor, key: Tensor, site: int, sweep: int) -> Tensor:
    """Draws of N(eta, 1) given that it is at least 0, `[chains, sites]` in eta's dtype, by inversion of 52-bit uniform numbers in float64."""
    x, y = draws.words(key, site, sweep, eta.shape[1])
    survival, field = draws.fine(x, y), eta.to(torch.float64)
    # P(X > x) = Phi(eta - x) / Phi(eta)
    # (torch's own ndtr has no correct digit below -8)
    within = 0.5 * torch.special.erfc(field.clamp(min=FAR) * -ROOT_HALF)
    found = field - torch.special.ndtri(survival * within)
    far = field < FAR
    if bool(far.any()):
        found[far] = _far_quantile(-field[far], survival[far])
    return found.clamp_(min=0.0).to(eta.dtype)
