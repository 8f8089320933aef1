"""Sites of unbounded values: numbers listed finely, so that integrals and sums over a site are plain sums.

The law of such a site given the rest is `p(x) = exp(l x + base(x) + constant)` in its value x. Means, normalisers and cells come from sums over nodes: all counts up to
where nothing is left, or quadrature, in which nothing of a closed form enters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from gmc.dsl.model import Variable

UNBOUNDED = ("normal", "relu", "poisson", "gamma")
"""The families by name."""
LOG_PRECISION = "log_precision"


def precisions(variable: Variable, weights: Mapping[str, Tensor]) -> Tensor:
    """The precision of each site of a normal variable, `[sites]`; 1 of any other."""
    given = getattr(variable.family, "precision", 1.0) if variable.family.word == "normal" else 1.0
    if given == "learned":
        return weights[f"{variable.name}.{LOG_PRECISION}"].reshape(-1).exp()
    return torch.full((variable.sites,), float(given), dtype=torch.float64)


def base(variable: Variable, x: Tensor, beta: Tensor | float) -> Tensor:
    """The log of the base measure at values of one site, or of all along the last axis, where `beta` has their precisions.

    Raises:
        NotImplementedError: the oracle does not know the family.
    """
    match variable.family.word:
        case "bernoulli" | "spin" | "categorical":
            return torch.zeros_like(x)
        case "normal":
            return -0.5 * beta * x**2
        case "relu":
            return -0.5 * x**2
        case "poisson":
            return -torch.lgamma(x + 1)
        case "gamma":
            return (variable.family.shape - 1) * x.log()  # type: ignore[attr-defined]
        case word:
            raise NotImplementedError(f"the oracle does not know the family {word!r}")


def nodes(variable: Variable, slope: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """Values and the logs of their weights, `[..., nodes]`, that integrate laws of the given slopes l `[...]` to about twelve digits."""
    slope = slope.detach().unsqueeze(-1)
    match variable.family.word:
        case "poisson":
            x = torch.arange(400, dtype=torch.float64).expand(*slope.shape[:-1], -1)
            return x, torch.zeros_like(x)
        case "normal":  # trapezia, of exponential accuracy for what falls off to both sides
            x = slope / beta + torch.linspace(-13, 13, 600, dtype=torch.float64) / math.sqrt(beta)
            return x, torch.full_like(x, math.log(26 / 599 / math.sqrt(beta)))
        case "relu":
            low = (slope - 13).clamp(min=0)
            width = slope.clamp(min=0) + 13 - low
            at, weight = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(200))
            return low + width * (at + 1) / 2, (weight / 2).log() + width.log()
        case "gamma":  # in u = log x, where dx = x du and a pole at 0 is none
            shape = float(variable.family.shape)  # type: ignore[attr-defined]
            u = torch.linspace(-40 / shape, 5.5, 8000, dtype=torch.float64) - (-slope).log()
            return u.exp(), u + math.log((5.5 + 40 / shape) / 7999)
        case word:
            raise NotImplementedError(f"the oracle does not know the family {word!r}")


def log_integral(variable: Variable, slope: Tensor, beta: Tensor) -> Tensor:
    """The log of the sum (integral) of exp(l x + base(x)), in the shape of `slope`; differentiable in it and in the precision."""
    x, weight = nodes(variable, slope, float(beta.detach()))
    return torch.logsumexp(slope.unsqueeze(-1) * x + base(variable, x, beta) + weight, -1)


def moments(variable: Variable, slope: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """Mean and variance of laws of the given slopes."""
    x, weight = nodes(variable, slope, beta)
    p = torch.softmax(slope.unsqueeze(-1) * x + base(variable, x, beta) + weight, -1)
    mean = (p * x).sum(-1)
    return mean, (p * (x - mean.unsqueeze(-1)) ** 2).sum(-1)


def below(variable: Variable, slope: Tensor, beta: float, edges: Tensor) -> Tensor:
    """P(x < edge) under laws of the slopes `[n]`, `[n, edges]`; by scipy's distributions."""
    at, where = slope.unsqueeze(1).numpy(), edges.numpy()
    match variable.family.word:
        case "normal":
            found = stats.norm.cdf(where, at / beta, beta**-0.5)
        case "relu":
            found = 1 - stats.norm.sf(np.maximum(where, 0), at) / stats.norm.sf(0, at)
        case "poisson":
            found = stats.poisson.cdf(np.ceil(where) - 1, np.exp(at))
        case "gamma":
            found = stats.gamma.cdf(where, variable.family.shape, scale=-1 / at)  # type: ignore[attr-defined]
        case word:
            raise NotImplementedError(f"the oracle does not know the family {word!r}")
    return torch.from_numpy(np.broadcast_to(found, (len(slope), len(edges))).copy())


def sample(variable: Variable, slope: Tensor, beta: float, seed: int) -> Tensor:
    """A value from each of the laws, in the shape of `slope`."""
    random, at = np.random.default_rng(seed), slope.numpy()
    match variable.family.word:
        case "normal":
            found = random.normal(at / beta, beta**-0.5)
        case "relu":
            found = stats.truncnorm.rvs(-at, np.inf, loc=at, random_state=random)
        case "poisson":
            found = random.poisson(np.exp(at)).astype(np.float64)
        case "gamma":
            found = random.gamma(variable.family.shape, -1 / at)  # type: ignore[attr-defined]
        case word:
            raise NotImplementedError(f"the oracle does not know the family {word!r}")
    return torch.as_tensor(found, dtype=torch.float64)


def some_values(variable: Variable, n: int, generator: torch.Generator) -> Tensor:
    """Values to clamp at, `[n, *shape]`: N(0, 1), its size, counts of mean about 2, or exponential numbers."""
    x = torch.randn((n, *variable.shape), generator=generator, dtype=torch.float64)
    match variable.family.word:
        case "normal":
            return x
        case "relu":
            return x.abs()
        case "poisson":
            return (2 * x * x).floor()
        case "gamma":
            return x * x + 0.01
        case word:
            raise NotImplementedError(f"the oracle does not know the family {word!r}")
