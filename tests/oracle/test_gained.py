"""The oracle of chains with gains: by hand, against laws that are known otherwise, and against broken samplers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gmc.compiler.updates.sample import Sample
from gmc.dsl.model import Chain, Gain, Gate, Model
from gmc.dsl.vocabulary import ConditionWord, Ramp
from tests.oracle import broken, gained, stats
from tests.oracle.broken import Sampler
from tests.oracle.by_hand import EXACT, NOWHERE, boltzmann, close, dbm, edge, gaussian, model, rbm, variable
from tests.oracle.laws import Law, law
from tests.oracle.models import EXAMPLES, load, random_values, random_weights
from tests.oracle.sites import as_columns, sites
from tests.oracle.sweeps import Block, irreducible, stationarity_error, total_variation
from tests.oracle.sweeps import block_matrix as plain_block
from tests.oracle.sweeps import pass_zero as plain_pass_zero
from tests.oracle.sweeps import sweep_matrix as plain_sweep


class HandCondition(ConditionWord):
    """A condition known by its name alone."""


SURPRISE: type[HandCondition] = type("surprise", (HandCondition,), {"word": "surprise"})


def gain(
    variable: str | None = None,
    value: float | Ramp = 0.0,
    to: str | None = None,
    edge: str | None = None,
    above: float | None = None,
) -> Gain:
    """A gain; with `above`, unless the variable's surprise exceeds it."""
    gate = None if above is None else Gate(SURPRISE.model_validate({"of": variable}), ">", above, NOWHERE)
    return Gain(variable, to, edge, Ramp.of(value), NOWHERE, gate)


def chain(*gains: Gain) -> Chain:
    """A chain with nothing but gains."""
    return Chain("c", (), (), None, Ramp(1.0, 1.0), Sample(), NOWHERE, gains=gains)


def third() -> Model:
    """Three variables in one term, and an edge between two of them."""
    found = (variable("x", "bernoulli", 3), variable("y", "spin", 2), variable("h", "categorical", k=3))
    return model(found, edge("x", "y", "h"), edge("y", "h"))


def held_by(m: Model, clamped: dict | None = None, seed: int = 31, scale: float = 0.4) -> Law:
    return law(m, random_weights(m, seed, scale), clamped)


def in_blocks(held: Law, *names: str) -> tuple[Block, ...]:
    """A block a word; a word of several letters is several variables."""
    return tuple(held.block(tuple(name)) for name in names)


GIVEN = {("v", i): float(x) for i, x in enumerate((1, 0, 0, 1))}
ABOVE = 0.7
"""A threshold that some states of the examples pass and some do not."""


# ── Gains ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("make", "blocks"),
    [(rbm, ("v", "h")), (dbm, ("vb", "a")), (third, ("x", "y", "h"))],
)
def test_without_gains_it_is_the_other_oracle(make, blocks: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    held = held_by(make())
    columns = in_blocks(held, *blocks)
    for block in columns:
        assert close(gained.block_matrix(held, chain(), block), plain_block(held, block))
    assert close(gained.sweep_matrix(held, chain(), columns), plain_sweep(held, columns))
    assert close(gained.pass_zero(held, chain(), columns), plain_pass_zero(held, columns))
    assert close(gained.stationary_law(held, chain(), columns).p, held.p)


def test_the_field_of_a_layer_by_hand() -> None:
    """present-at-hand: the upper layer sends a quarter."""
    held = held_by(dbm(), GIVEN)
    w = held.weights
    a, hot = held.values[:, 4:7], torch.nn.functional.one_hot(held.values[:, 7:].long(), 3).flatten(1).double()
    quarter = chain(gain("b", 0.25))
    from_v = w["v_a.weight"][[0, 3]].sum(0)
    expected = torch.sigmoid(w["a.bias"] + from_v + 0.25 * hot @ w["a_b.weight"].T)
    found = gained.chances(held, quarter, held.block("a"), 1.0, {})
    assert close(torch.stack([p[:, 1] for p in found], dim=1), expected)
    for n, p in enumerate(gained.chances(held, quarter, held.block("b"), 1.0, {})):
        logits = w["b.bias"][n] + a @ w["a_b.weight"][:, 3 * n : 3 * n + 3]
        assert close(p, torch.softmax(logits, 1)), "what it receives is as it was"
    idle = gained.chances(held, chain(gain("v")), held.block("a"), 1.0, {})
    assert close(torch.stack([p[:, 1] for p in idle], dim=1), torch.sigmoid(w["a.bias"] + hot @ w["a_b.weight"].T))


def test_lateral_and_third_order_messages() -> None:
    """In a lateral term the variable is the sender; in one of third order both others are, and gains multiply."""
    held = held_by(boltzmann())
    w, v, h = held.weights, held.values[:, :4], held.values[:, 4:]
    (first, *_) = gained.chances(held, chain(gain("v", 0.5)), held.block("v"), 1.0, {})
    field = w["v.bias"] + 0.5 * v @ w["v_v.weight"] + h @ w["v_h.weight"].T
    assert close(first[:, 1], torch.sigmoid(2 * field[:, 0]))
    (alone, *_) = gained.chances(held, chain(gain("v", 0.5, to="v")), held.block("v"), 1.0, {})
    assert close(alone, first)
    (other, *_) = gained.chances(held, chain(gain("v", 0.5, to="h")), held.block("v"), 1.0, {})
    assert close(other, gained.chances(held, chain(), held.block("v"), 1.0, {})[0])

    held = held_by(third())
    w, y = held.weights, held.values[:, 3:5]
    hot = torch.nn.functional.one_hot(held.values[:, 5].long(), 3).double()
    both = chain(gain("y", 0.5), gain("h", 0.3, to="x"), gain(edge="x_y_h", value=2.0), gain("x", 0.9))
    (p, *_) = gained.chances(held, both, held.block("x"), 1.0, {})
    message = torch.einsum("nb,nc,abc->na", y, hot, w["x_y_h.weight"])[:, 0]
    assert close(p[:, 1], torch.sigmoid(w["x.bias"][0] + 0.5 * 0.3 * 2.0 * message))


@pytest.mark.parametrize("by", [0.0, 0.4, 1.7])
def test_a_gain_on_an_edge_is_another_temperature(by: float) -> None:
    """The stationary law is that of the energy with the term scaled."""
    held = held_by(dbm())
    blocks = in_blocks(held, "vb", "a")
    scaled = {**held.weights, "a_b.weight": by * held.weights["a_b.weight"]}
    expected = law(held.model, scaled)
    tempered = chain(gain(edge="a_b", value=by))
    assert close(gained.stationary_law(held, tempered, blocks).p, expected.p)
    for block in blocks:
        assert close(gained.block_matrix(held, tempered, block), plain_block(expected, block))


def test_gains_out_of_what_is_clamped_keep_an_energy() -> None:
    held = held_by(dbm(), GIVEN)
    scaled = law(held.model, {**held.weights, "v_a.weight": 0.3 * held.weights["v_a.weight"]}, GIVEN)
    found = gained.stationary_law(held, chain(gain("v", 0.3)), in_blocks(held, "b", "a"))
    assert close(found.p, scaled.p)


def test_one_way_gains_have_no_energy() -> None:
    """The stationary law differs from the model's and from that of any scaled edge, and it depends on the order of the blocks."""
    held = held_by(dbm(), scale=0.8)
    one_way = chain(gain("b", 0.25))
    found = gained.stationary_law(held, one_way, in_blocks(held, "vb", "a"))
    assert stationarity_error(found.p, gained.sweep_matrix(held, one_way, in_blocks(held, "vb", "a"))) < EXACT
    assert total_variation(found.p, held.p) > 0.01
    other = gained.stationary_law(held, one_way, in_blocks(held, "a", "vb"))
    assert total_variation(found.p, other.p) > 1e-3
    for scale in torch.linspace(0, 1, 21).tolist():
        scaled = law(held.model, {**held.weights, "a_b.weight": scale * held.weights["a_b.weight"]})
        assert total_variation(found.p, scaled.p) > 1e-3


def test_ramps_run_over_the_sweeps() -> None:
    assert [gained.progress(k, 5) for k in range(6)] == [0.0, 0.0, 0.25, 0.5, 0.75, 1.0]
    assert gained.progress(1, 1) == 1.0
    held = held_by(rbm())
    ramp = chain(gain(edge="v_h", value=Ramp(0.0, 1.0)))
    blocks = in_blocks(held, "v", "h")
    start = gained.pass_zero(held, ramp, blocks)
    silent = law(held.model, {**held.weights, "v_h.weight": 0 * held.weights["v_h.weight"]})
    assert close(start, silent.p), "pass 0 stands at the start of the ramp, where nothing couples"
    p = start
    for scale in (0.0, 0.5, 1.0):
        scaled = law(held.model, {**held.weights, "v_h.weight": scale * held.weights["v_h.weight"]})
        p = p @ plain_sweep(scaled, blocks)
    assert close(gained.law_after(held, ramp, start, blocks, 3).p, p)
    assert close(gained.law_after(held, ramp, start, blocks, 1).p, start @ plain_sweep(held, blocks))


def test_stationary_laws_are_unique_or_refused() -> None:
    held = held_by(rbm())
    with pytest.raises(ValueError, match="eigenvalues"):
        gained.stationary(gained.sweep_matrix(held, chain(), in_blocks(held, "h")))
    with pytest.raises(ValueError, match="no probabilities"):
        gained.stationary(torch.full((2, 2), 0.6, dtype=torch.float64))
    matrix = gained.sweep_matrix(held, chain(gain("h", 0.5)), in_blocks(held, "v", "h"))
    assert irreducible(matrix)


def test_normals_with_gains() -> None:
    """E[x | h] = b + g W h."""
    m = gaussian()
    w = random_weights(m, 32)
    table = as_columns(m, random_values(m, 33, n=20))
    into = gained.strengths_into(m, chain(gain("h", 0.5)), "x", 1.0, {})
    for column in range(3):
        mean = w["x.bias"][column] + 0.5 * table[:, 3:] @ w["x_h.weight"][column]
        assert close(gained.slope(m, w, table, column, into), 2.5 * mean)
    back = gained.strengths_into(m, chain(gain("x", 0.5)), "h", 1.0, {})
    field = w["h.bias"][1] + 0.5 * 2.5 * table[:, :3] @ w["x_h.weight"][:, 1]
    assert close(gained.conditional(m, w, table, 4, back)[:, 1], torch.sigmoid(field))
    mean = w["x.bias"] + table[:, 3:] @ w["x_h.weight"].T
    expected = -torch.distributions.Normal(mean, 2.5**-0.5).log_prob(table[:, :3]).mean(1)
    assert close(gained.surprise(m, w, table, range(3)), expected)


# ── Gates ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_surprise_is_the_mean_negative_log_conditional() -> None:
    held = held_by(dbm(), GIVEN, scale=0.8)
    w = held.weights
    field = w["v.bias"] + held.values[:, 4:7] @ w["v_a.weight"].T
    expected = -torch.distributions.Bernoulli(logits=field).log_prob(held.values[:, :4]).mean(1)
    assert close(gained.surprise(held.model, w, held.values, range(4)), expected)
    impotent = chain(gain("v", above=ABOVE))
    (states,) = gained.gates_of(held, impotent).values()
    assert torch.equal(states, expected > ABOVE)
    assert 0 < states.sum() < len(states)


def test_a_gate_is_that_of_the_state_before_the_sweep() -> None:
    held = held_by(dbm(), GIVEN, scale=0.8)
    blocks = in_blocks(held, "b", "a")
    impotent = chain(gain("v", above=ABOVE))
    (states,) = gained.gates_of(held, impotent).values()
    shut = gained.sweep_matrix(held, chain(gain("v")), blocks)
    potent = gained.sweep_matrix(held, chain(), blocks)
    found = gained.sweep_matrix(held, impotent, blocks)
    assert close(found, torch.where(states.unsqueeze(1), potent, shut))
    assert total_variation(gained.stationary(found), gained.stationary(potent)) > 1e-3
    assert total_variation(gained.stationary(found), gained.stationary(shut)) > 1e-3
    assert close(gained.pass_zero(held, impotent, blocks), gained.pass_zero(held, chain(gain("v")), blocks))


# ── Modes ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_most_likely_values_never_lower_the_chance() -> None:
    held = held_by(dbm())
    table = held.values
    for block in (*in_blocks(held, "vb", "a"), *in_blocks(held, "vb", "a")):
        moved = gained.most_likely(held.model, held.weights, chain(), table, block, 1.0, {})
        at = [int((held.values == row).all(1).nonzero()) for row in moved]
        before = [int((held.values == row).all(1).nonzero()) for row in table]
        assert (held.p[at] >= held.p[before]).all()
        update = plain_block(held, block)
        assert torch.equal(update.argmax(1)[before], torch.tensor(at))
        table = moved
    assert len(torch.unique(table, dim=0)) < 10


@pytest.mark.parametrize(
    ("name", "word"), [("learned", "normal"), ("rectified", "relu"), ("counted", "poisson"), ("waited", "gamma")]
)
def test_peaks_are_no_lower_than_what_is_next_to_them(name: str, word: str, tmp_path: Path) -> None:
    """By the exponent itself, at the peak and a step to either side, within the support."""
    m = load(next(e for e in EXAMPLES if e.name == name), tmp_path).model
    w = random_weights(m, 34, scale=0.4 if word == "gamma" else 1.0)
    table = as_columns(m, random_values(m, 35, n=50))
    peaks: set[float] = set()
    for column, site in enumerate(sites(m)):
        kind = m.variable(site.variable).family
        if kind.word != word or getattr(kind, "shape", 2.0) <= 1:
            continue
        into = gained.strengths_into(m, chain(gain("h", 0.5)), site.variable, 1.0, {})
        best = gained.most_likely(m, w, chain(gain("h", 0.5)), table, (column,), 1.0, {})[:, column]
        peaks |= set(best.tolist())
        at_best = gained.exponent(m, w, table, column, best, into)
        for step in (-1.0, 1.0) if word == "poisson" else (-1e-3, 1e-3, -0.1, 0.1):
            other = best + step
            inside = other > 0 if word in ("relu", "gamma") else other >= (0 if word == "poisson" else -torch.inf)
            below = gained.exponent(m, w, table, column, torch.where(inside, other, best), into)
            assert (below <= at_best + 1e-12).all()
    assert len(peaks) > 1


# ── Broken samplers ──────────────────────────────────────────────────────────────────────────────────────────────────


def sampler(kind: str) -> Sampler:
    free, given = held_by(dbm(), scale=0.8), held_by(dbm(), GIVEN, scale=0.8)
    order, upper = in_blocks(free, "vb", "a"), in_blocks(given, "b", "a")
    quarter, gate = chain(gain("b", 0.25)), chain(gain("v", above=ABOVE))
    part = held_by(boltzmann(), {("v", 0): 1, ("v", 1): -1}, scale=0.8)
    site_by_site = (part.block([("v", 2)]), part.block([("v", 3)]), part.block("h"))
    small = held_by(rbm(), scale=0.8)
    one_way = chain(gain("h", 0.0))
    row = law(small.model, small.weights, {("v", 0): 1, ("v", 1): 0, ("v", 2): 1})
    return {
        "right gains": lambda: broken.right_gains(free, quarter, order),
        "right gate": lambda: broken.right_gains(given, gate, upper),
        "right lateral gate": lambda: broken.right_gains(part, gate, site_by_site),
        "right one way": lambda: broken.right_gains(small, one_way, in_blocks(small, "v", "h")),
        "gains backwards": lambda: broken.gains_backwards(free, quarter, order),
        "gains forgotten": lambda: broken.gains_forgotten(free, quarter, order),
        "impotent in one block": lambda: broken.impotent_in_one_block(small, one_way, in_blocks(small, "v", "h")),
        "gate of the batch": lambda: broken.gate_of_the_batch(given, gate, upper),
        "gate of each block": lambda: broken.gate_of_each_block(part, gate, site_by_site),
        "mask of another row": lambda: broken.mask_of_another_row(
            row, in_blocks(row, "v", "h"), {s for s in small.sites if s in {("v", 0), ("v", 3)}}
        ),
        "mask of a fuller row": lambda: broken.mask_of_another_row(
            row, in_blocks(row, "v", "h"), {s for s in small.sites if s.variable == "v"}
        ),
        "no mask": lambda: broken.mask_of_another_row(row, in_blocks(row, "v", "h"), set()),
    }[kind]()


@pytest.mark.parametrize("kind", ["right gains", "right gate", "right lateral gate", "right one way"])
def test_right_ones_pass(kind: str) -> None:
    fine = sampler(kind)
    assert fine.error < EXACT
    for seed in range(10):
        verdict = stats.compare(fine.claim, fine.samples(stats.SAMPLES, seed))
        assert verdict.ok, verdict


@pytest.mark.parametrize(
    "kind",
    [
        "gains backwards",
        "gains forgotten",
        "impotent in one block",
        "gate of the batch",
        "gate of each block",
        "mask of another row",
        "no mask",
    ],
)
def test_broken_ones_are_caught(kind: str) -> None:
    wrong = sampler(kind)
    assert wrong.error > 1e-3
    for seed in range(3):
        verdict = stats.compare(wrong.claim, wrong.samples(stats.SAMPLES, seed))
        assert not verdict.ok, f"{kind}: {verdict}"


def test_what_is_held_too_much_is_caught_from_elsewhere() -> None:
    """A site that the row lacks and that is held keeps the law; it never arrives there."""
    wrong = sampler("mask of a fuller row")
    assert wrong.error < EXACT
    start = torch.zeros_like(wrong.target)
    start[wrong.target.argmin()] = 1.0
    assert not stats.compare(wrong.claim, wrong.samples(stats.SAMPLES, 1, sweeps=50, start=start)).ok


def test_gains_turned_round() -> None:
    turned = broken.backwards(dbm(), chain(gain("a", 0.5), gain("v", 0.2, to="a"), gain(edge="a_b", value=2.0)))
    assert {(g.variable, g.target, g.edge, g.value.end) for g in turned.gains} == {
        ("v", "a", None, 0.5),
        ("b", "a", None, 0.5),
        ("a", "v", None, 0.2),
        (None, None, "a_b", 2.0),
    }
    assert replace(turned, gains=()) == chain()
