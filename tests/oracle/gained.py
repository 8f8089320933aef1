"""Chains with gains and gates over listed states: conditionals, sweeps, pass 0, the law after n sweeps and the stationary law.

Site i is drawn with `p(x_i = a | rest)` proportional to `exp(<b, T(a)> + base(a) + sum_e G f_e(T_i = a, rest))`, where G is the product of all
gains on what term e sends to the variable of i. With gains on one way of an edge no energy stands behind this: such a chain has a law
of its own, which is found here as the left eigenvector of its sweep and depends on the order of the blocks.

Conditionals are differences of `terms.term`, one value of one site at a time; there are no fields here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from gmc.dsl.model import Chain, Edge, Gain, Gate, Model, Variable
from tests.oracle.energy import Weights, bias, statistics_of, tied_to
from tests.oracle.laws import Law, precision_of, variable_of
from tests.oracle.sites import Site, sites, supports
from tests.oracle.sweeps import Block, update_matrix
from tests.oracle.tails import base, log_integral
from tests.oracle.terms import term

Open = Mapping[int, Tensor]
"""Which gates are open: the number of the gain in the chain to bool `[]` or `[states]`."""


# ── Gains ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def applies(gain: Gain, edge: Edge, receiver: str) -> bool:
    """Whether a gain scales what a term sends to a variable.

    Senders are all other ends; in a lateral term the variable itself.
    """
    if gain.edge is not None:
        return gain.edge == edge.name
    senders = [end for end in edge.ends if end != receiver] or [receiver]
    return gain.variable in senders and gain.target in (None, receiver)


def strength(chain: Chain, edge: Edge, receiver: str, at: float, opened: Open) -> Tensor:
    """The product of all gains on a message, `[]` or `[states]`, at a place in [0, 1] of the run."""
    total = torch.ones((), dtype=torch.float64)
    for number, gain in enumerate(chain.gains):
        if applies(gain, edge, receiver):
            value = torch.tensor(gain.value.at(at), dtype=torch.float64)
            total = total * (value if gain.unless is None else torch.where(opened[number], 1.0, value))
    return total


def progress(sweep: int, of: int) -> float:
    """Where a sweep, counted from 1, stands among those of a run; pass 0, which is sweep 0, stands at the start."""
    if sweep == 0:
        return 0.0
    return 1.0 if of == 1 else (sweep - 1) / (of - 1)


def gated(chain: Chain) -> dict[int, Gate]:
    """The gates of a chain by the number of their gain."""
    return {number: gain.unless for number, gain in enumerate(chain.gains) if gain.unless is not None}


def closed(chain: Chain) -> Open:
    """All gates closed, as in pass 0."""
    return {number: torch.tensor(False) for number in gated(chain)}


# ── Conditionals ─────────────────────────────────────────────────────────────────────────────────────────────────────


def exponent(
    model: Model,
    weights: Weights,
    table: Tensor,
    column: int,
    value: float | Tensor,
    strengths: Mapping[str, Tensor],
    silent: Collection[Site] = (),
) -> Tensor:
    """The log of what `p(x_i = value | rest)` is proportional to, in each row of a table, `[n]`.

    `strengths` has the gain of every edge of the site's variable; silent sites send nothing.
    """
    site = sites(model)[column]
    variable = model.variable(site.variable)
    table = table.clone()
    table[:, column] = value
    statistics = statistics_of(model, table, silent, weights)
    total = statistics[variable.name][:, site.number] @ bias(variable, weights)[site.number]
    total = total + base(variable, table[:, column], precision_of(model, weights, column))
    for edge in model.edges:
        if variable.name in edge.ends:
            total = total + strengths[edge.name] * term(model, tied_to(model, edge), edge, weights, statistics)
    return total


def strengths_into(model: Model, chain: Chain, receiver: str, at: float, opened: Open) -> dict[str, Tensor]:
    """The gain of every edge towards a variable."""
    return {edge.name: strength(chain, edge, receiver, at, opened) for edge in model.edges if receiver in edge.ends}


def conditional(
    model: Model,
    weights: Weights,
    table: Tensor,
    column: int,
    strengths: Mapping[str, Tensor],
    silent: Collection[Site] = (),
) -> Tensor:
    """The chances of a finite site's values given the rest, `[n, values]`."""
    values = supports(model)[column]
    if values is None:
        raise ValueError(f"{sites(model)[column]} is no finite site")
    logs = [exponent(model, weights, table, column, value, strengths, silent) for value in values]
    return torch.softmax(torch.stack(logs, dim=1), dim=1)


def slope(
    model: Model,
    weights: Weights,
    table: Tensor,
    column: int,
    strengths: Mapping[str, Tensor],
    silent: Collection[Site] = (),
) -> Tensor:
    """The l of an unbounded site given the rest, `[n]`: its exponent is `l x + base(x)` and a constant; of a normal, beta times its mean."""
    variable, beta = variable_of(model, column), precision_of(model, weights, column)
    one, two = (
        exponent(model, weights, table, column, x, strengths, silent)
        - base(variable, torch.tensor(x, dtype=torch.float64), beta)
        for x in (1.0, 2.0)
    )
    return two - one


def surprise(model: Model, weights: Weights, table: Tensor, given: Collection[int]) -> Tensor:
    """The mean over the given columns of `-log p(site | all others)` at full gain, in nats a site, `[n]`; 0 of none."""
    total = torch.zeros(table.shape[0], dtype=torch.float64)
    for column in given:
        full = {edge.name: torch.ones((), dtype=torch.float64) for edge in model.edges}
        x = table[:, column]
        if (values := supports(model)[column]) is None:
            variable, beta = variable_of(model, column), precision_of(model, weights, column)
            steep = slope(model, weights, table, column, full)
            total = total - steep * x - base(variable, x, beta) + log_integral(variable, steep, beta)
        else:
            chances = conditional(model, weights, table, column, full)
            place = torch.searchsorted(torch.tensor(values, dtype=torch.float64), x.contiguous())
            total = total - chances.gather(1, place.unsqueeze(1))[:, 0].log()
    return total / max(len(given), 1)


def gates(model: Model, weights: Weights, chain: Chain, table: Tensor, clamped: Collection[Site]) -> Open:
    """Which gates are open in each state of a table, bool `[n]`."""
    found = {}
    for number, gate in gated(chain).items():
        given = [c for c, site in enumerate(sites(model)) if site in clamped and site.variable == gate.condition.of]
        measured = surprise(model, weights, table, given)
        holds = {
            ">": measured > gate.threshold,
            ">=": measured >= gate.threshold,
            "<": measured < gate.threshold,
            "<=": measured <= gate.threshold,
        }
        found[number] = holds[gate.operator]
    return found


# ── Sweeps over the states of a law ──────────────────────────────────────────────────────────────────────────────────


def chances(
    held: Law, chain: Chain, block: Block, at: float, opened: Open, silent: Collection[Site] = ()
) -> list[Tensor]:
    """What each site of a block is drawn with in each listed state, `[states, values]` a site."""
    found = []
    for column in block:
        into = strengths_into(held.model, chain, held.sites[column].variable, at, opened)
        found.append(conditional(held.model, held.weights, held.values, column, into, silent))
    return found


def gates_of(held: Law, chain: Chain) -> Open:
    """Which gates are open in each listed state."""
    return gates(held.model, held.weights, chain, held.values, held.clamped)


def block_matrix(held: Law, chain: Chain, block: Block, at: float = 1.0, opened: Open | None = None) -> Tensor:
    """The update of a block, all of its sites at once; gates as given, or as they are in each state."""
    opened = gates_of(held, chain) if opened is None else opened
    return update_matrix(held, block, chances(held, chain, block, at, opened))


def sweep_matrix(held: Law, chain: Chain, blocks: Sequence[Block], sweep: int = 1, of: int = 1) -> Tensor:
    """Sweep number `sweep` of a run of `of`: block after block, with the gates of the state that it starts from."""
    state = gates_of(held, chain)
    patterns = torch.stack([*state.values(), torch.zeros(len(held.values), dtype=torch.bool)], dim=1)
    matrix = torch.zeros((len(held.values),) * 2, dtype=torch.float64)
    for pattern in patterns.unique(dim=0):
        opened = dict(zip(state, pattern, strict=False))
        rows = torch.eye(len(held.values), dtype=torch.float64)[(patterns == pattern).all(1)]
        for block in blocks:
            rows = rows @ block_matrix(held, chain, block, progress(sweep, of), opened)
        matrix[(patterns == pattern).all(1)] = rows
    return matrix


def pass_zero(held: Law, chain: Chain, order: Sequence[Block], start: Sequence[int] = ()) -> Tensor:
    """The distribution of the listed states after pass 0 from its blocks in order; gains at their start, gates closed.

    The columns of `start` are uniform, as by `start noise`. Absent sites send nothing.
    """
    if sorted([*start, *(c for block in order for c in block)]) != sorted(held.free):
        raise ValueError("every free column is either started or drawn once")
    present = {c for c in range(len(held.sites)) if c not in held.free} | set(start)
    p = torch.ones_like(held.p)
    for column in start:
        p = p / len(supports(held.model)[column] or ())
    for block in order:
        present |= set(block)
        silent = [site for c, site in enumerate(held.sites) if c not in present]
        drawn = chances(held, chain, block, 0.0, closed(chain), silent)
        for column, chance in zip(block, drawn, strict=True):
            p = p * chance.gather(1, held.digits[:, column : column + 1])[:, 0]
    return p


def law_after(held: Law, chain: Chain, start: Tensor, blocks: Sequence[Block], sweeps: int) -> Law:
    """The law of the listed states after that many sweeps from probabilities of them; gains run along."""
    p = start
    for sweep in range(1, sweeps + 1):
        p = p @ sweep_matrix(held, chain, blocks, sweep, sweeps)
    return replace(held, p=p)


def stationary(matrix: Tensor) -> Tensor:
    """The probabilities that a matrix leaves as they are: its left eigenvector of eigenvalue 1.

    Raises:
        ValueError: it is no transition matrix, or there is another such law.
    """
    if (matrix.sum(1) - 1).abs().max() > 1e-9 or matrix.min() < 0:
        raise ValueError("the rows of the matrix are no probabilities")
    values, vectors = torch.linalg.eig(matrix.T)
    distance = (values - 1).abs()
    first, second = distance.argsort()[:2]
    if distance[first] > 1e-9 or distance[second] < 1e-6:
        raise ValueError(f"eigenvalues next to 1: {values[first]}, {values[second]}")
    vector = vectors[:, first]
    p = vector / vector.sum()
    if p.imag.abs().max() > 1e-9 or p.real.min() < -1e-12:
        raise ValueError("the eigenvector has no one sign")
    return p.real.clamp(min=0.0) / p.real.clamp(min=0.0).sum()


def stationary_law(held: Law, chain: Chain, blocks: Sequence[Block]) -> Law:
    """The law that sweeps with the gains' last values leave as it is."""
    return replace(held, p=stationary(sweep_matrix(held, chain, blocks)))


# ── Modes ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def most_likely(
    model: Model,
    weights: Weights,
    chain: Chain,
    table: Tensor,
    block: Block,
    at: float,
    opened: Open,
    silent: Collection[Site] = (),
) -> Tensor:
    """A table after a block of it was set to its most likely values given the rest, all of its sites at once."""
    after = table.clone()
    for column in block:
        into = strengths_into(model, chain, sites(model)[column].variable, at, opened)
        values = supports(model)[column]
        if values is None:
            steep = slope(model, weights, table, column, into, silent)
            after[:, column] = peak(variable_of(model, column), steep, precision_of(model, weights, column))
        else:
            best = conditional(model, weights, table, column, into, silent).argmax(1)
            after[:, column] = torch.tensor(values, dtype=torch.float64)[best]
    return after


def peak(variable: Variable, steep: Tensor, beta: Tensor) -> Tensor:
    """Where `l x + base(x)` is greatest, in the shape of l: where its slope, or for counts the step to it, is no longer above 0.

    Raises:
        NotImplementedError: the oracle does not know the family.
    """
    match variable.family.word:
        case "normal":
            return steep / beta
        case "relu":
            return steep.clamp(min=0.0)
        case "poisson":
            return steep.exp().floor()
        case "gamma":
            return (variable.family.shape - 1) / -steep  # type: ignore[attr-defined]
        case word:
            raise NotImplementedError(f"the oracle does not know the family {word!r}")
