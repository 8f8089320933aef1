"""Means of importance weights, by their logarithms."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

SIGMAS = 3.0
"""Half the width of an interval, in standard errors."""


@dataclass(frozen=True, slots=True)
class LogMean:
    """The log of the mean of weights, in nats, which is biased low in expectation (Jensen), and how far it may be off.

    `standard_error` is that of the mean over the mean, std(w) / mean(w) / sqrt(n); `low` and `high` are the logs of the mean three of its standard errors away, the lower one
    -inf where that is below zero (Salakhutdinov and Murray 2008). `effective` is the effective sample size, (sum w)^2 / sum w^2; `spread` the standard deviation of the log
    weights, in nats. Where these are far from `count` and from zero, the mean hangs on a few chains and its own error is not to be believed either.
    """

    value: float
    standard_error: float
    low: float
    high: float
    effective: float
    spread: float
    count: int

    def json(self) -> dict[str, object]:
        """All of it, with null for what is infinite or not known."""
        numbers = {
            "value": self.value,
            "standard_error": self.standard_error,
            "low": self.low,
            "high": self.high,
            "effective_sample_size": self.effective,
            "log_weight_spread": self.spread,
        }
        return {**{k: v if math.isfinite(v) else None for k, v in numbers.items()}, "chains": self.count}

    def shifted(self, by: float) -> LogMean:
        """The same of weights times exp(by)."""
        return LogMean(
            self.value + by,
            self.standard_error,
            self.low + by,
            self.high + by,
            self.effective,
            self.spread,
            self.count,
        )

    def negated(self) -> LogMean:
        """Minus the log: an estimate that is biased high in expectation."""
        return LogMean(-self.value, self.standard_error, -self.high, -self.low, self.effective, self.spread, self.count)


def log_mean(log_weights: Tensor) -> LogMean:
    """Of float64 log weights `[n]`; with a single one the errors are not known (NaN)."""
    n = int(log_weights.shape[0])
    top = float(log_weights.max())
    if not math.isfinite(top):
        return LogMean(top, math.nan, math.nan, math.nan, 0.0, math.nan, n)
    weights = (log_weights - top).exp()
    mean = float(weights.mean())
    error = float(weights.std()) / math.sqrt(n) if n > 1 else math.nan
    low, high = mean - SIGMAS * error, mean + SIGMAS * error
    return LogMean(
        value=math.log(mean) + top,
        standard_error=error / mean,
        low=_log(low) + top,
        high=_log(high) + top,
        effective=float(weights.sum() ** 2 / (weights**2).sum()),
        spread=float(log_weights.std()) if n > 1 else math.nan,
        count=n,
    )


def log_means(log_weights: Tensor) -> Tensor:
    """The log of the mean of each row, of float64 log weights `[rows, n]`."""
    return torch.logsumexp(log_weights, 1) - math.log(log_weights.shape[1])


def effective_sizes(log_weights: Tensor) -> Tensor:
    """The effective sample size of each row, `[rows]`, of log weights `[rows, n]`."""
    return (2 * torch.logsumexp(log_weights, 1) - torch.logsumexp(2 * log_weights, 1)).exp()


def _log(x: float) -> float:
    return math.log(x) if x > 0 else (math.nan if math.isnan(x) else -math.inf)
