"""Random draws as pure functions of their arguments.

A draw is `family(eta, key, site, sweep)`. `key` holds one 64-bit key a chain, so a chain is the same in whatever batch, on whatever
device and after whatever resume it runs; `site` is the number of the draw in its graph; `sweep` counts on for as long as the chain lives.
The words come from Threefry-2x32 with 13 rounds (Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011), the fewest that
pass BigCrush, in wrapping int32 arithmetic that every backend has.

Called with torch.fx proxies the draws emit themselves as `call_function` nodes.
"""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
PARITY = 0x1BD11BDA
GOLDEN = 0x9E3779B9
"""2^32 over the golden ratio: spreads site numbers over the keys."""
CHUNK = 1 << 15
"""Words computed at a time on a CPU: the temporaries of this size stay in a core's cache."""

Words = npt.NDArray[np.uint32]
F = TypeVar("F", bound=Callable[..., Any])


def int32(value: int) -> int:
    """`value` modulo 2^32 as the signed number with the same bits."""
    return (value + 0x80000000) % 0x100000000 - 0x80000000


def _rotate(x: Tensor, by: int) -> Tensor:
    # int32 shifts are arithmetic, so the sign that the right shift drags in is masked away
    low = (x >> (32 - by)).bitwise_and_((1 << by) - 1)
    return (x << by).bitwise_or_(low)


def threefry(key: tuple[Tensor, Tensor], counter: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Threefry-2x32-13 of int32 tensors that broadcast to one shape; two words for each key and counter."""
    schedule = (key[0], key[1], key[0] ^ key[1] ^ PARITY)
    x = counter[0] + schedule[0]
    y = counter[1] + schedule[1]
    x, y = (word.clone() for word in torch.broadcast_tensors(x, y))
    for i in range(13):
        x += y
        y = _rotate(y, ROTATIONS[i % 8]).bitwise_xor_(x)
        if i % 4 == 3:
            n = i // 4 + 1
            x += schedule[n % 3]
            y += schedule[(n + 1) % 3]
            y += n
    return x, y


def row_keys(seed: int, stream: str, rows: Tensor) -> Tensor:
    """The keys of the chains numbered `rows` (int64 [n]) in a named stream of a seed: int32 [n, 2]."""
    digest = hashlib.blake2b(f"{seed}/{stream}".encode(), digest_size=8).digest()
    if rows.device.type == "cpu":
        base = np.frombuffer(digest, dtype="<u4").astype(np.uint32).reshape(2, 1, 1)
        numbers = rows.numpy().view(np.uint64)
        counter = numbers.astype(np.uint32), (numbers >> np.uint64(32)).astype(np.uint32)
        words = threefry_cpu((base[0], base[1]), counter)
        return torch.from_numpy(np.concatenate(words).T.copy().view(np.int32))
    key = torch.frombuffer(bytearray(digest), dtype=torch.int32).to(rows.device)
    low, high = rows & 0xFFFFFFFF, rows >> 32
    low = torch.where(low >= 1 << 31, low - (1 << 32), low).to(torch.int32)
    return torch.stack(threefry((key[0], key[1]), (low, high.to(torch.int32))), dim=1)


def threefry_cpu(key: tuple[Words, Words], counter: tuple[Words, Words]) -> tuple[Words, Words]:
    """The same function on NumPy arrays, for keys `[n, 1]` and counters `[m]`: a tenth of the time at small sizes.

    NumPy's unsigned shifts are logical and its calls cheap; chunks of rows keep the work in cache.
    """
    shape = (key[0].shape[0], np.broadcast_shapes(counter[0].shape, counter[1].shape)[0])
    first, second = np.empty(shape, np.uint32), np.empty(shape, np.uint32)
    rows = max(1, CHUNK // max(shape[1], 1))
    spare = np.empty((min(rows, shape[0]), shape[1]), np.uint32)
    for start in range(0, shape[0], rows):
        part = slice(start, start + rows)
        x, y, k0, k1 = first[part], second[part], key[0][part], key[1][part]
        _threefry_block((k0, k1, k0 ^ k1 ^ np.uint32(PARITY)), counter, x, y, spare[: x.shape[0]])
    return first, second


def _threefry_block(
    schedule: tuple[Words, Words, Words], counter: tuple[Words, Words], x: Words, y: Words, spare: Words
) -> None:
    np.add(counter[0], schedule[0], out=x)
    np.add(counter[1], schedule[1], out=y)
    for i in range(13):
        by = ROTATIONS[i % 8]
        np.add(x, y, out=x)
        np.left_shift(y, np.uint32(by), out=spare)
        np.right_shift(y, np.uint32(32 - by), out=y)
        np.bitwise_or(y, spare, out=y)
        np.bitwise_xor(y, x, out=y)
        if i % 4 == 3:
            n = i // 4 + 1
            np.add(x, schedule[n % 3], out=x)
            np.add(y, schedule[(n + 1) % 3] + np.uint32(n), out=y)


def words(key: Tensor, site: int, sweep: int, count: int) -> tuple[Tensor, Tensor]:
    """Two int32 [chains, count] arrays of random words for each chain's key (int32 [chains, 2])."""
    if key.device.type == "cpu":
        keys = key.numpy().view(np.uint32)
        shifted = keys[:, 1:] + np.uint32(site * GOLDEN & 0xFFFFFFFF)
        units, turn = np.arange(count, dtype=np.uint32), np.array([sweep & 0xFFFFFFFF], np.uint32)
        x, y = threefry_cpu((keys[:, :1], shifted), (units, turn))
        return torch.from_numpy(x.view(np.int32)), torch.from_numpy(y.view(np.int32))
    unit = torch.arange(count, device=key.device).to(torch.int32)
    turn_on_device = torch.full((), int32(sweep), dtype=torch.int32, device=key.device)
    return threefry((key[:, :1], key[:, 1:] + int32(site * GOLDEN)), (unit, turn_on_device))


def words_at(key: Tensor, site: int, sweep: int, rows: Tensor, units: Tensor) -> tuple[Tensor, Tensor]:
    """The words of single counters: those that `words` gives chain `rows[i]` at place `units[i]` (both int64 [m]), int32 [m] each."""
    chosen = key[rows]
    turn = torch.full((), int32(sweep), dtype=torch.int32, device=key.device)
    return threefry((chosen[:, 0], chosen[:, 1] + int32(site * GOLDEN)), (units.to(torch.int32), turn))


def _unit_interval(word: Tensor, dtype: torch.dtype) -> Tensor:
    # 23 bits at the middle of their cells: never 0 and never 1, and exact in float32, where 24 bits and the half would round up to 1
    return ((word >> 9) & 0x7FFFFF).to(dtype).add_(0.5).mul_(2.0**-23)


def coarse(word: Tensor) -> Tensor:
    """The 32 bits of each word as a uniform number at the middle of its cell, float64."""
    return (word.to(torch.int64) & 0xFFFFFFFF).to(torch.float64).add_(0.5).mul_(2.0**-32)


def fine(x: Tensor, y: Tensor) -> Tensor:
    """Uniform numbers of 52 bits of two words, at the middle of their cells, float64: within 2^-53 of 0 and of 1, and neither."""
    bits = ((x.to(torch.int64) & 0xFFFFFFFF) << 20) | ((y >> 12) & 0xFFFFF)
    return bits.to(torch.float64).add_(0.5).mul_(2.0**-52)


def uniform(key: Tensor, site: int, sweep: int, count: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Uniform numbers in (0, 1), `[chains, count]`: both words of each counter are used, the first of all, then the second."""
    x, y = words(key, site, sweep, (count + 1) // 2)
    return _unit_interval(torch.cat((x, y), dim=1)[:, :count], dtype)


def gaussian(key: Tensor, site: int, sweep: int, count: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Standard normal numbers `[chains, count]` by the transform of Box and Muller; within 5.8 of 0, as 23 bits reach."""
    x, y = words(key, site, sweep, (count + 1) // 2)
    radius = _unit_interval(x, dtype).log_().mul_(-2.0).sqrt_()
    angle = _unit_interval(y, dtype).mul_(2.0 * math.pi)
    return torch.cat((radius * angle.cos(), radius * angle.sin()), dim=1)[:, :count]


DRAWS: set[Callable[..., Any]] = set()
"""Every random target a graph may hold; the verifier refuses any other."""


def draw(function: F) -> F:
    """Makes `function(eta, key, site, sweep, ...)` emit a node of its own when it is called with a proxy."""

    def emitting(eta: Any, key: Any, site: int, sweep: Any, *options: Any) -> Any:
        if has_torch_function((eta, key, sweep)):
            return handle_torch_function(emitting, (eta, key, sweep), eta, key, site, sweep, *options)
        return function(eta, key, site, sweep, *options)

    emitting.__name__ = emitting.__qualname__ = f"draw_{function.__name__}"
    emitting.__module__ = function.__module__
    emitting.__doc__ = function.__doc__
    # where the code of a graph module looks it up
    setattr(sys.modules[function.__module__], emitting.__name__, emitting)
    DRAWS.add(emitting)
    return emitting  # type: ignore[return-value]


@draw
def bernoulli(eta: Tensor, key: Tensor, site: int, sweep: int) -> Tensor:
    """0 or 1, with P(1) = sigmoid(eta); `[chains, sites]`, in eta's dtype."""
    u = uniform(key, site, sweep, eta.shape[1], eta.dtype)
    return (u < torch.sigmoid(eta)).to(eta.dtype)


@draw
def spin(eta: Tensor, key: Tensor, site: int, sweep: int) -> Tensor:
    """-1 or +1, with P(x) proportional to exp(eta x); `[chains, sites]`."""
    u = uniform(key, site, sweep, eta.shape[1], eta.dtype)
    return (u < torch.sigmoid(2.0 * eta)).to(eta.dtype).mul_(2.0).sub_(1.0)


@draw
def categorical(eta: Tensor, key: Tensor, site: int, sweep: int, states: int) -> Tensor:
    """One-hot rows of `states` numbers a site, `[chains, sites * states]`, by inversion of the cumulative distribution."""
    p = torch.softmax(eta.unflatten(1, (-1, states)), dim=2)
    u = uniform(key, site, sweep, p.shape[1], eta.dtype)
    # the last cumulative sum may round below 1, so it is left out: what lies above all others is the last state
    state = (p.cumsum(dim=2)[:, :, :-1] <= u.unsqueeze(2)).sum(dim=2)
    return torch.nn.functional.one_hot(state, states).to(eta.dtype).flatten(1)


@draw
def normal(eta: Tensor, key: Tensor, site: int, sweep: int, precision: float | Tensor) -> Tensor:
    """Normal numbers of mean `eta` and the given precision, one for all or one a site; `[chains, sites]`."""
    noise = gaussian(key, site, sweep, eta.shape[1], eta.dtype)
    return eta + noise * precision**-0.5


@draw
def between(low: Tensor, key: Tensor, site: int, sweep: int, width: float) -> Tensor:
    """Uniform numbers between `low` and `low + width`, `[chains, sites]`, in low's dtype."""
    return low + uniform(key, site, sweep, low.shape[1], low.dtype) * width
