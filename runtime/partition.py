"""log Z of a model, exact or by annealed importance sampling, forwards and in reverse."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gmc.compiler.annealing import Annealing, build_annealing, unannealed
from gmc.compiler.draws import row_keys, uniform
from gmc.compiler.marginal import Marginal
from gmc.dsl.diagnostic import GmcError
from gmc.dsl.source import Span
from gmc.runtime import evaluation_errors
from gmc.runtime.annealing import Annealer, States
from gmc.runtime.estimate import LogMean, log_mean
from gmc.runtime.exact import Listing, TooLarge
from gmc.runtime.temperatures import Adaptive, Betas, Temperatures

START_BITS = 16.0
"""Bits of states that are listed at most to start reverse annealing from exact samples."""
SETTLING = 100
"""Sweeps at least between the forward ends and the beginning of reverse annealing; a tenth of the temperatures if that is more."""
PART = 1 << 14
"""States whose densities are computed at once."""


@dataclass(frozen=True, slots=True)
class Partition:
    """log Z, in nats. `forward` and `reverse` are estimates of it, None where it is exact or was not asked for; `start` says where the reverse chains began."""

    value: float
    how: str
    forward: LogMean | None = None
    reverse: LogMean | None = None
    temperatures: int | None = None
    start: str | None = None

    @property
    def exact(self) -> bool:
        """Whether it is a sum over all states."""
        return self.forward is None

    @property
    def standard_error(self) -> float:
        """Of the estimate; zero where it is exact."""
        return 0.0 if self.forward is None else self.forward.standard_error

    @property
    def gap(self) -> float | None:
        """How far the reverse estimate is above the forward one."""
        return None if self.reverse is None else self.reverse.value - self.value

    def json(self) -> dict[str, object]:
        """It as data."""
        return {
            "log_z": self.value,
            "exact": self.exact,
            "forward": None if self.forward is None else self.forward.json(),
            "reverse": None if self.reverse is None else self.reverse.json(),
            "gap": self.gap,
            "temperatures": self.temperatures,
            "reverse_start": self.start,
        }


def path_of(annealing: Callable[[], Annealing], reason: str | None) -> Annealing:
    """The path, unless there is none.

    Raises:
        TooLarge: with the reason.
    """
    if reason is not None:
        raise TooLarge(reason)
    return annealing()


def model_path(marginal: Marginal) -> Annealing:
    """The path to a whole model, with what its marginal sums out.

    Raises:
        TooLarge: it has none.
    """
    return path_of(lambda: build_annealing(marginal.graph, {}, marginal.summed), unannealed(marginal.graph, {}))


def betas_of(chains: Annealer, temperatures: Temperatures, count: int, stream: str, span: Span) -> Betas:
    """The temperatures of a run, those of a pilot run if they adapt.

    Raises:
        GmcError: a pilot run would need too many.
    """
    if not isinstance(temperatures, Adaptive):
        return temperatures.betas()
    found = chains.pilot(temperatures.share, count, f"{stream}/pilot")
    if found is None:
        raise GmcError([evaluation_errors.endless_pilot(span, temperatures.share)])
    return found


def annealed(
    chains: Annealer, marginal: Marginal, temperatures: Temperatures, count: int, reverse: bool, span: Span
) -> Partition:
    """log Z by annealed importance sampling (Neal 2001; Salakhutdinov and Murray 2008), and in reverse if asked for.

    Raises:
        GmcError: a pilot run would need too many temperatures.
    """
    watch = chains.work.watch
    forward = _watching(chains, watch, 0.0, 0.5 if reverse else 1.0)
    betas = betas_of(forward, temperatures, count, "ais", span)
    weights, ends = forward.forward(betas, count, "ais/forward")
    base = float(chains.log_base())
    found = log_mean(weights).shifted(base)
    told = f"{count} chains, {temperatures}"
    if isinstance(temperatures, Adaptive):
        told += f": {len(betas) - 1:,} of them"
    how = f"log Z by annealed importance sampling from base rates: {told}; {chains.path}"
    known = Partition(found.value, how, found, None, len(betas) - 1)
    if not reverse:
        return known
    chains = _watching(chains, watch, 0.5, 1.0)
    states, start, settling = _beginning(chains, marginal, weights, ends, betas)
    descending = (1.0,) * settling + betas[::-1]

    def begin(device: int, numbers: Tensor, keys: Tensor) -> tuple[States, Tensor]:
        some = {name: value[numbers].to(keys.device, chains.work.dtype) for name, value in states.items()}
        return some, torch.zeros(len(numbers), dtype=torch.float64, device=keys.device)

    back = log_mean(chains.backward(descending, count, "ais/reverse", begin)).negated().shifted(base)
    return replace(known, reverse=back, start=start)


def _watching(chains: Annealer, watch: Callable[[float], None] | None, low: float, high: float) -> Annealer:
    """The same chains, whose work is told as that share of the whole."""
    if watch is None:
        return chains
    return replace(chains, work=replace(chains.work, watch=lambda share: watch(low + (high - low) * share)))


def _beginning(
    chains: Annealer, marginal: Marginal, weights: Tensor, ends: States, betas: Betas
) -> tuple[States, str, int]:
    """States to go down from, how they were come by, and for how many sweeps they are still to be swept at beta = 1."""
    count = len(weights)
    chances = uniform(row_keys(chains.work.seed, "ais/begin", torch.arange(count)), 0, 0, 1, torch.float64)[:, 0]
    if marginal.refusal is None and marginal.bits <= START_BITS:
        return _exact_states(chains, marginal, chances), "exact samples, drawn from the list of all states", 0
    settling = max(SETTLING, len(betas) // 10)
    at = _chosen(torch.softmax(weights, 0), chances)
    told = f"the ends of the forward chains, drawn by weight, after {settling} more sweeps: an upper bound only as far as these are samples of the model"
    return {name: value[at] for name, value in ends.items()}, told, settling


def _exact_states(chains: Annealer, marginal: Marginal, chances: Tensor) -> States:
    """Exact samples of the kept sites, by inversion over all their states."""
    listing = Listing(marginal, torch.device("cpu"))
    parts = []
    for numbers in torch.arange(listing.count).split(PART):
        states = {name: value.to(chains.work.devices[0]) for name, value in listing.states(numbers).items()}
        parts.append(chains.density(0, numbers, states, 1.0).cpu())
    return listing.states(_chosen(torch.softmax(torch.cat(parts), 0), chances))


def _chosen(p: Tensor, chances: Tensor) -> Tensor:
    """Indices drawn with probabilities `p` by uniform numbers."""
    return torch.searchsorted(p.cumsum(0), chances).clamp(max=len(p) - 1)


def exact_partition(log_z: float, marginal: Marginal) -> Partition:
    """An exact log Z."""
    assert math.isfinite(log_z)
    return Partition(log_z, f"log Z by enumeration; {marginal}")
