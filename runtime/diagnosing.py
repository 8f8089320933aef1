"""How well chains mix: R-hat, effective sample sizes, autocorrelation times, and how often sites change."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gmc.compiler.emitter import inputs
from gmc.compiler.graph import family
from gmc.compiler.region import Region
from gmc.dsl.diagnostic import GmcError
from gmc.runtime import run_errors
from gmc.runtime.blame import located
from gmc.runtime.request import Request
from gmc.runtime.sampling import Part, Stream

Tracks = npt.NDArray[np.float64]
"""A number of each chain after each kept sweep, `[chains, kept]`."""
CHAINS, KEPT = 2, 4
"""What R-hat needs at least."""
DEFAULT_CHAINS = 4


@dataclass(frozen=True, slots=True)
class Mixing:
    """How well chains mix in one number.

    `r_hat` is 1 where they do, and infinite where each half of each stands still, not all at the same place; NaN where nothing but the middle one of an odd number of
    sweeps differs. `effective` is how many independent samples the kept ones are worth in the bulk, `time` the autocorrelation time in sweeps.
    """

    r_hat: float
    effective: float
    time: float


@dataclass(frozen=True, slots=True)
class Quantity:
    """The energy of the model, or a variable that the chains draw.

    `worst` and `median` are taken over its sites (for a categorical variable over the indicators of its values), one measure at a time; None where nothing of it moves. `constant`: sites that took one
    value in all chains throughout, which have no mixing and enter neither. `stuck`: sites that took one value in each chain, but not the same in all.
    `change`: the share of sites that differ from one kept sweep to the next, over all chains.
    """

    name: str
    sites: int
    constant: int
    stuck: int
    worst: Mixing | None
    median: Mixing | None
    change: float


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """How well the chains of a request mix: `chains` of them with `kept` sweeps each, every so many after the first `burn`."""

    chain: str
    seed: int
    chains: int
    sweeps: int
    kept: int
    every: int
    burn: int
    quantities: tuple[Quantity, ...]

    def quantity(self, name: str) -> Quantity:
        """The energy, or the variable of that name (KeyError if the chain draws none such)."""
        for quantity in self.quantities:
            if quantity.name == name:
                return quantity
        raise KeyError(name)

    def json(self) -> dict[str, object]:
        """All of it as data; what is infinite or undefined is null."""
        return {
            "chain": self.chain,
            "seed": self.seed,
            "chains": self.chains,
            "sweeps": self.sweeps,
            "kept": self.kept,
            "every": self.every,
            "burn": self.burn,
            "quantities": {q.name: _json(q) for q in self.quantities},
        }


def check(request: Request) -> None:
    """Whether chains can be diagnosed.

    Raises:
        GmcError: there are too few chains or sweeps, the chains have laws of their own, or they draw nothing.
    """
    chain, name = request.chain, request.chain.name

    def refuse(reason: str, help: str) -> GmcError:
        return GmcError([run_errors.not_diagnosable(chain.span, name, reason, help)], exit_code=2)

    if chain.update != "sample":
        raise refuse(f"with `update {chain.update}` it takes no random steps", "diagnose a chain that draws samples")
    if not request.compiled.schedules[name].free:
        raise refuse("it draws nothing", "leave a variable free")
    if request.count < CHAINS:
        raise refuse("R-hat compares chains, and there is one", f"run several: `--chains {DEFAULT_CHAINS}`")
    if request.course.count < KEPT:
        count = request.course.count
        raise refuse(
            f"{count} of its sweeps would be kept, and {KEPT} are needed at least",
            "run longer, or keep more: `--sweeps 1000`",
        )
    for clamp in chain.clamps:
        if clamp.chain is not None:
            reason = (
                f"each chain clamps `{clamp.variable}` to another end of `{clamp.chain}`, so they have different laws"
            )
            raise refuse(reason, "R-hat compares chains of one law: clamp to given values")
        if clamp.constant is None and request.values[clamp.variable].shape[0] > 1:
            reason = f"`{clamp.variable}` is clamped to other values in each chain, so they have different laws"
            raise refuse(reason, f"clamp all chains to one row, such as `--clamp {clamp.variable}=test[0] --chains 4`")


class Diary:
    """What is needed of the samples of a stream; going through it gives the parts of the stream, and takes each in.

    Raises:
        GmcError: as of `check`.
    """

    def __init__(self, stream: Stream) -> None:
        assert stream.kept is not None
        check(stream.request)
        self.stream = stream
        self.shape = (stream.chains, stream.kept)
        self.regions: dict[str, Region] = dict(stream.request.compiled.schedules[stream.name].free)
        self.energy = torch.empty(self.shape, dtype=torch.float64)
        self.states = {
            name: torch.empty(
                (*self.shape, r.size), dtype=torch.float32 if r.variable.family.states is None else torch.int8
            )
            for name, r in self.regions.items()
        }

    def __iter__(self) -> Iterator[Part]:
        for part in self.stream:
            self.note(part)
            yield part

    def note(self, part: Part) -> None:
        """Takes a part in."""
        chains = slice(part.first, part.first + next(iter(part.samples.values.values())).shape[0])
        kept = slice(part.position, part.position + len(part.samples.sweeps))
        shape = (chains.stop - chains.start, kept.stop - kept.start)
        dtype = self.stream.request.run.dtype
        whole = {v.name: family(v).encode(part.samples.values[v.name].flatten(0, 1)) for v in self.stream.variables}
        energy = self._energy({name: value.to(dtype) for name, value in whole.items()})
        self.energy[chains, kept] = energy.to("cpu", torch.float64).unflatten(0, shape)
        for name, region in self.regions.items():
            columns = torch.from_numpy(region.columns).to(whole[name].device)
            self.states[name][chains, kept] = whole[name][:, columns].unflatten(0, shape).to(self.states[name])

    def _energy(self, values: dict[str, Tensor]) -> Tensor:
        request = self.stream.request
        module = request.compiled.energy.to(request.run.device)
        count = next(iter(values.values())).shape[0]
        given: dict[str, Any] = {f"value.{name}": value for name, value in values.items()} | dict(request.run.params)
        given["blank"] = torch.zeros(count, 1, dtype=request.run.dtype, device=request.run.device)
        found: Tensor = located(
            request.compiled.checked.model.span, lambda: module(*(given[name] for name in inputs(module)))
        )
        return found

    def diagnosis(self) -> Diagnosis:
        """What the samples say of the chains."""
        request, course = self.stream.request, self.stream.request.course
        quantities = [self._of("energy", self.energy.unsqueeze(2), 1)]
        quantities += [self._of(name, self.states[name], r.variable.family.width) for name, r in self.regions.items()]
        chains, kept = self.shape
        return Diagnosis(
            request.chain.name, request.seed, chains, course.sweeps, kept, course.every, course.burn, tuple(quantities)
        )

    def _of(self, name: str, states: Tensor, width: int) -> Quantity:
        """Of statistics `[chains, kept, sites * width]`."""
        first = states[:1, :1]
        still = (states == first).flatten(0, 1).all(0)
        moved = (states[:, 1:] != states[:, :-1]).unflatten(2, (-1, width)).any(3)
        constant = still.unflatten(0, (-1, width)).all(1)
        stuck = ~moved.flatten(0, 1).any(0) & ~constant
        columns = states[:, :, ~still].to(torch.float64).movedim(2, 0).numpy()
        every = self.stream.request.course.every
        found = [mixing(column, every) for column in columns]
        worst = median = None
        if found:
            r_hats, effective, times = (np.array([getattr(m, key) for m in found]) for key in Mixing.__slots__)
            # fmax and fmin pass over what is undefined
            worst = Mixing(
                float(np.fmax.reduce(r_hats)), float(np.fmin.reduce(effective)), float(np.fmax.reduce(times))
            )
            median = Mixing(*(_median(numbers) for numbers in (r_hats, effective, times)))
        sites = states.shape[2] // width
        return Quantity(
            name, sites, int(constant.sum()), int(stuck.sum()), worst, median, float(moved.to(torch.float64).mean())
        )


def diagnose(stream: Stream) -> Diagnosis:
    """Diagnoses all samples of a stream, which must keep several sweeps.

    Raises:
        GmcError: as of `check`.
    """
    diary = Diary(stream)
    for _ in diary:
        pass
    return diary.diagnosis()


def mixing(tracks: Tracks, every: int = 1) -> Mixing:
    """How well chains mix in a number that is not constant, kept after every so many sweeps.

    R-hat is the rank-normalised split one and the effective sample size that of the bulk (Vehtari, Gelman, Simpson, Carpenter and Bürkner, Bayesian Analysis
    2021); the autocorrelation time is 1 + 2 sum of rho_t, the number of samples over their effective number for the mean, in sweeps.
    """
    from arviz_stats.base.array import array_stats

    stats: Any = array_stats  # its methods are not annotated
    half = tracks.shape[1] // 2
    halves = np.concatenate((tracks[:, :half], tracks[:, -half:]))  # which R-hat compares
    with np.errstate(divide="ignore", invalid="ignore"):
        if (halves == halves[:, :1]).all() and (halves != halves[0, 0]).any():
            r_hat = math.inf  # no variance within them: by rounding the library finds a large number
        else:
            r_hat = float(stats.rhat(tracks, chain_axis=0, draw_axis=1))
        bulk = float(stats.ess(tracks, chain_axis=0, draw_axis=1, method="bulk"))
        mean = float(stats.ess(tracks, chain_axis=0, draw_axis=1, method="mean"))
    return Mixing(r_hat, bulk, every * tracks.size / mean)


def _median(numbers: npt.NDArray[np.float64]) -> float:
    known = numbers[~np.isnan(numbers)]
    return float(np.median(known)) if known.size else math.nan


def _json(quantity: Quantity) -> dict[str, object]:
    return {
        "sites": quantity.sites,
        "constant": quantity.constant,
        "stuck": quantity.stuck,
        "worst": _mixing_json(quantity.worst),
        "median": _mixing_json(quantity.median),
        "change": quantity.change,
    }


def _mixing_json(found: Mixing | None) -> dict[str, float | None] | None:
    if found is None:
        return None
    values = {"r_hat": found.r_hat, "effective": found.effective, "time": found.time}
    return {key: value if math.isfinite(value) else None for key, value in values.items()}
