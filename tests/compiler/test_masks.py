"""`clamp ... where observed`: a row holds what it has and draws the rest, whatever the other rows of the batch have."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import pytest
import torch
from torch import Tensor

from gmc.compiler.draws import DRAWS
from gmc.compiler.emitter import inputs
from gmc.compiler.region import Region
from gmc.compiler.split import Bound, Split, Values
from gmc.runtime import chains
from gmc.runtime.chains import Given
from gmc.runtime.engine import Engine, Rows
from tests.compiler.replay import (
    EXAMPLE,
    Case,
    case,
    chance_of,
    chances,
    compile_example,
    decode,
    encode,
    key_of,
    maskable,
    opening_of,
    order_of,
    part,
    replay,
    replay_split,
    transition,
    wide,
    with_mask,
)
from tests.oracle import gained, stats
from tests.oracle.laws import precision_of
from tests.oracle.models import CHAIN, MASKED, random_values, random_weights
from tests.oracle.sites import Site, as_columns, supports
from tests.oracle.sweeps import block_matrix, pass_zero, site_conditional, sweep_matrix

EXACT = 1e-10
ROWS = 20_000
"""Pairs of a state and a mask that are replayed in one batch."""
FINITE = [(name, items) for name, items in MASKED if not EXAMPLE[name].gaussian]
GAUSSIAN = [(name, items) for name, items in MASKED if EXAMPLE[name].gaussian]
SMALL = [
    ("boltzmann", "clamp v where observed"),
    ("spin_boltzmann", "clamp v where observed"),
    ("potts_lateral", "clamp y where observed  clamp h[0:2]"),
    ("third_mixed", "clamp x, y[0:1] where observed  clamp y[1]"),
    ("label_rbm", "clamp v[:, 0], y where observed  clamp v[:, 1]"),
    ("dbm2", "clamp v[0:2], h2 where observed  clamp v[2:]"),
    ("single", "clamp v, u where observed"),
]
"""Few enough states for matrices between all pairs of them."""
GATED = [
    ("boltzmann", "clamp v where observed", "impotent v unless surprise(v) > 0.6"),
    ("boltzmann", "clamp v[0:3] where observed  clamp v[3]", "impotent v -> h unless surprise(v) > 0.6"),
    ("potts_lateral", "clamp y where observed  clamp h[0:2]", "impotent y unless surprise(y) > 1.0  potent h = 0.5"),
    (
        "third_mixed",
        "clamp x, y[0:1] where observed  clamp y[1]",
        "potent x = 0.5  impotent y unless surprise(x) > 0.6",
    ),
    ("label_rbm", "clamp v, y where observed", "potent y = 0.0 -> 1.0  impotent v -> h"),
]


def patterns(given: Case) -> list[tuple[Site, ...]]:
    """All sets of sites that a row may have."""
    free = maskable(given)
    return [s for n in range(len(free) + 1) for s in itertools.combinations(free, n)]


def batch(given: Case, seed: int = 2) -> tuple[Tensor, dict[str, Tensor]]:
    """States and masks, `[rows]` numbers of states of the law and flags `VAR` -> bool `[rows, sites]`: all pairs, or some if they are many."""
    kinds, free = patterns(given), maskable(given)
    generator = torch.Generator().manual_seed(seed)
    count = len(kinds) * len(given.law.p)
    pairs = torch.arange(count) if count <= ROWS else torch.randint(count, (ROWS,), generator=generator)
    state, kind = pairs % len(given.law.p), pairs // len(given.law.p)
    table = torch.tensor([[site in has for site in free] for has in kinds])[kind]
    if count > ROWS:
        assert len(kind.unique()) == len(kinds), "a pattern is left out"
    return state, flags_of(given, table)


def flags_of(given: Case, table: Tensor) -> dict[str, Tensor]:
    """Flags by variable from a table with a column for each maskable site."""
    found = {}
    for name, region in given.program.schedule.masked.items():
        found[name] = torch.zeros(len(table), region.variable.sites, dtype=torch.bool)
        for column, site in enumerate(maskable(given)):
            if site.variable == name:
                found[name][:, site.number] = table[:, column]
    return found


def spoilt_starts(given: Case, values: dict, flags: Mapping[str, Tensor]) -> dict:
    """The inputs with starts that stand elsewhere at what rows have."""
    for name, flag in wide(given.model, flags).items():
        region = given.program.schedule.free[name]
        values[f"start.{name}"] = torch.where(part(flag, region), 9.0, values[f"start.{name}"])
    return values


# ── Fields ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_kind_of_edge_and_family_is_masked() -> None:
    text = " ".join(EXAMPLE[name].body for name, _ in MASKED)
    for word in ("bernoulli", "spin", "categorical", "normal", "conv", "lattice", "sparse", "lowrank", "tied"):
        assert word in text


def check_rows(given: Case, program_values: dict, flags: Mapping[str, Tensor], state: Tensor, split: Split) -> None:
    """Each site that a row lacks is drawn from its conditional given all others; what it has is held, whatever is drawn there."""
    current = {n: x[state] for n, x in given.statistics().items()}
    noted, out = replay_split(split, program_values, given.program.drawn, current, wide(given.model, flags))
    for _, region, eta in noted:
        for column, chance in zip(given.columns(region), chances(region, eta), strict=True):
            site = given.law.sites[column]
            lacks = (
                ~flags[site.variable][:, site.number]
                if site.variable in flags
                else torch.ones(len(state), dtype=torch.bool)
            )
            expected = site_conditional(given.law, column)[state]
            torch.testing.assert_close(chance[lacks], expected[lacks], rtol=0, atol=EXACT)
    for name, value in current.items():
        assert torch.equal(out["value"][name], value), "what a row has is held, the rest is as drawn"
        if name in given.program.schedule.free:
            assert torch.equal(out["state"][name], part(value, given.program.schedule.free[name]))
    assert set(out["mean"]) == set(current)
    for name, flag in wide(given.model, flags).items():
        assert torch.equal(out["mean"][name][flag], current[name][flag])


@pytest.mark.parametrize(("name", "items"), FINITE)
def test_rows_of_all_masks_in_one_batch(name: str, items: str) -> None:
    given = case(name, items)
    state, flags = batch(given)
    values = given.values({n: x[state] for n, x in given.statistics().items()}, observed=flags)
    check_rows(given, values, flags, state, given.program.last)


@pytest.mark.parametrize(("name", "items"), GAUSSIAN)
def test_rows_with_normals(name: str, items: str) -> None:
    given = case(name, items)
    table = as_columns(given.model, random_values(given.model, 5, n=512))
    for c, site in enumerate(given.law.sites):
        if site in given.law.clamped:
            table[:, c] = given.law.clamped[site]
    generator = torch.Generator().manual_seed(3)
    flags = flags_of(given, torch.rand(512, len(maskable(given)), generator=generator) < 0.5)
    current = given.statistics(table)
    values = given.values(current, observed=flags)
    noted, out = replay_split(given.program.last, values, given.program.drawn, current, wide(given.model, flags))
    for _, region, eta in noted:
        into = gained.strengths_into(given.model, given.chain, region.name, 1.0, {})
        for at, column in enumerate(given.columns(region)):
            site = given.law.sites[column]
            lacks = ~flags[site.variable][:, site.number] if site.variable in flags else slice(None)
            if supports(given.model)[column] is None:
                found, expected = (
                    eta[:, at],
                    gained.slope(given.model, given.weights, table, column, into)
                    / precision_of(given.model, given.weights, column),
                )
            else:
                found = chances(region, eta)[at]
                expected = gained.conditional(given.model, given.weights, table, column, into)
            torch.testing.assert_close(found[lacks], expected[lacks], rtol=0, atol=EXACT)
    assert all(torch.equal(out["value"][n], x) for n, x in current.items())


def static(items: str, observed: Sequence[Site], given: Case) -> str:
    """The items of a chain that clamps just the sites that a row has."""
    kept = [clamp for clamp in items.split("  ") if "where observed" not in clamp]
    parts = []
    for site in observed:
        place, rest = [], site.number
        for size in reversed(given.model.variable(site.variable).shape):
            place.insert(0, str(rest % size))
            rest //= size
        parts.append(f"{site.variable}[{', '.join(place)}]" if place else site.variable)
    return "  ".join([*kept, f"clamp {', '.join(parts)}"] if parts else kept)


@pytest.mark.parametrize(("name", "items"), FINITE)
def test_a_row_is_the_chain_that_clamps_what_it_has(name: str, items: str) -> None:
    """Field by field in every state; a chain whose clamps are known when compiling is the other way to say it."""
    given = case(name, items)
    kinds = [kind for kind in patterns(given) if len(kind) + len(given.law.clamped) < len(given.law.sites)]
    for observed in kinds[:: max(1, len(kinds) // 4)]:
        row, flags = with_mask(given, observed)
        plain = case(name, static(items, observed, given))
        assert plain.law.clamped == row.law.clamped
        current = row.statistics()
        many = {n: x.expand(len(row.law.p), -1) for n, x in flags.items()}
        noted, _ = replay(
            row.program.last.whole,
            row.values(current, observed=many),
            row.program.drawn,
            current,
            wide(row.model, many),
        )
        found = {c: x for _, r, eta in noted for c, x in zip(row.columns(r), chances(r, eta), strict=True)}
        noted, _ = replay(plain.program.last.whole, plain.values(current), plain.program.drawn, current)
        expected = {c: x for _, r, eta in noted for c, x in zip(plain.columns(r), chances(r, eta), strict=True)}
        assert set(expected) == set(row.law.free) <= set(found)
        for column, chance in expected.items():
            torch.testing.assert_close(found[column], chance, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "items"), SMALL)
def test_sweeps_of_every_mask_leave_its_law_invariant(name: str, items: str) -> None:
    """The matrix of a sweep of such a row, from every state to every other, against the joint table given what the row has."""
    given = case(name, items)
    seen = 0
    for observed in patterns(given):
        row, flags = with_mask(given, observed)
        if not 1 < len(row.law.p) <= 256:
            continue
        seen += 1
        found = transition(row, row.program.last, observed=flags)
        expected = sweep_matrix(row.law, order_of(row))
        torch.testing.assert_close(found, expected, rtol=0, atol=EXACT)
        torch.testing.assert_close(row.law.p @ found, row.law.p, rtol=0, atol=EXACT)
    assert seen >= 4


@pytest.mark.parametrize(("name", "items", "gains"), GATED)
def test_masks_and_gains(name: str, items: str, gains: str) -> None:
    """A gate looks at what the row has; where it has nothing of the variable, nothing surprises."""
    given = case(name, items, gains)
    for observed in patterns(given):
        row, flags = with_mask(given, observed)
        if not 1 < len(row.law.p) <= 128:
            continue
        for sweep, of in ((1, 1), (1, 3), (2, 3)):
            found = transition(row, row.program.last, sweep, of, flags)
            expected = gained.sweep_matrix(row.law, row.chain, order_of(row), sweep, of)
            torch.testing.assert_close(found, expected, rtol=0, atol=EXACT)


# ── Pass 0 ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def opened(row: Case, flags: Mapping[str, Tensor], split: Split) -> Tensor:
    """The probabilities of the states of such a row after pass 0 alone."""
    schedule, count = row.program.schedule, len(row.law.p)
    late = [r for block in schedule.deferred for r in block]
    blocks = [*(r for block in schedule.opening for r in block), *late]
    noise = {n: schedule.free[v.name] for n, v in enumerate(row.model.variables) if v.name in schedule.free}
    numbers = sorted(
        {n.args[2] for n in split.whole.graph.nodes if n.target in DRAWS and n.args[2] >= len(row.model.variables)}
    )
    drawn: dict[int, Region] = {**noise, **dict(zip(numbers, blocks, strict=True))}
    current = row.statistics()
    many = {n: x.expand(count, -1) for n, x in flags.items()}
    values = spoilt_starts(row, row.values(current, 0, observed=many), many)
    noted, out = replay_split(split, values, drawn, current, wide(row.model, many))
    assert all(torch.equal(out["value"][n], x) for n, x in current.items())
    return chance_of(row, noted, torch.arange(count))


@pytest.mark.parametrize(
    ("name", "items", "start"),
    [
        *((name, items, "") for name, items in FINITE if name not in ("dbm3", "ising_ring")),
        ("boltzmann", "clamp v where observed", "start noise"),
        ("label_rbm", "clamp v, y where observed", "start v from noise"),
        ("dbm2", "clamp v[0:2], h2 where observed  clamp v[2:]", "start h2 from noise"),
    ],
)
def test_pass_zero_begins_with_what_a_row_has(name: str, items: str, start: str) -> None:
    """What a row has is there from the beginning; what it lacks is absent until it is drawn, and sends nothing."""
    given = case(name, items, start)
    kinds = patterns(given)
    for observed in kinds[:: max(1, len(kinds) // 6)]:
        row, flags = with_mask(given, observed)
        blocks, rest = opening_of(row)
        late = [b for b in order_of(row) if set(b) <= set(rest) and not started(row, b)]
        supplied = [c for c in rest if not any(c in b for b in late)]
        expected = pass_zero(row.law, [*blocks, *late], supplied)
        torch.testing.assert_close(opened(row, flags, row.program.alone), expected, rtol=0, atol=EXACT)


def started(row: Case, block: Sequence[int]) -> bool:
    return any(row.law.sites[c].variable in row.program.schedule.supplied for c in block)


# ── Samples ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def run(given: Case, kinds: Sequence[Sequence[Site]], each: int, sweeps: int, roll: int = 0) -> list[dict[str, Tensor]]:
    """The last states of so many chains of every pattern, all in one batch; `roll` gives each row the mask of another."""
    rows = [with_mask(given, kind) for kind in kinds]
    table = torch.cat([row.law.values[:1].expand(each, -1) for row, _ in rows])
    flags = {n: torch.cat([f[n].expand(each, -1) for _, f in rows]).roll(roll * each, 0) for n in rows[0][1]}
    states = encode(given.model, table)
    values = given.values(states, observed=flags)
    about = Given(
        {n: values[f"clamped.{n}"] for n in given.program.schedule.clamped},
        {},
        key_of(len(table)),
        3,
        held={n: values[f"given.{n}"] for n in flags},
        observed={n: values[f"observed.{n}"] for n in flags},
    )
    out = chains.run(given.program, given.weights, about, sweeps, torch.float64)
    found = decode(given.model, out.value)
    return [{n: x[k * each : (k + 1) * each] for n, x in found.items()} for k in range(len(kinds))]


@pytest.mark.parametrize(("name", "items"), [*SMALL, *GAUSSIAN])
def test_samples_of_rows_with_different_masks(name: str, items: str) -> None:
    """Singles, pairs and joint states of each pattern, from one batch that has them all."""
    given = case(name, items)
    kinds = patterns(given)
    kinds = kinds[:: max(1, len(kinds) // 8)]
    for kind, samples in zip(kinds, run(given, kinds, 4000, 60), strict=True):
        row, _ = with_mask(given, kind)
        verdict = stats.compare(row.law, samples)
        assert verdict.ok, (kind, verdict)


def test_masks_of_other_rows_are_caught() -> None:
    given = case("boltzmann", "clamp v where observed")
    kinds = patterns(given)[1:-1]
    verdicts = [
        stats.compare(with_mask(given, kind)[0].law, samples)
        for kind, samples in zip(kinds, run(given, kinds, 4000, 30, roll=1), strict=True)
    ]
    assert not any(verdict.ok for verdict in verdicts)


def test_ignored_masks_are_caught() -> None:
    """A graph that draws what a row has, and one that holds what it lacks."""
    given = case("boltzmann", "clamp v where observed")
    state, flags = batch(given)
    statistics = {n: x[state] for n, x in given.statistics().items()}
    values = given.values(statistics, observed=flags)
    check_rows(given, values, flags, state, given.program.last)
    drawn = values | {"observed.v": torch.zeros_like(values["observed.v"])}
    with pytest.raises(AssertionError):
        check_rows(given, drawn, flags, state, given.program.last)
    held = values | {"observed.v": torch.ones_like(values["observed.v"])}
    with pytest.raises(AssertionError):
        check_rows(given, held, flags, state, given.program.last)


# ── The engine ───────────────────────────────────────────────────────────────────────────────────────────────────────

CHAINS = """
chain kept {{ {0}  start persistent(2)  sweeps 2 }}
chain up {{ {0}  sweeps 2 }}
chain noisy {{ {0}  start noise  sweeps 2 }}
chain after {{ {0}  start up  sweeps 2 }}
chain still {{ {0}  sweeps 0 }}
chain from_noise {{ {0}  start noise  sweeps 0 }}
chain means {{ {0}  update mean  sweeps 3 }}
chain modes {{ {0}  update mode  sweeps 3 }}
chain gated {{ {0}  impotent {1} unless surprise({1}) > 0.6  sweeps 3 }}
"""
NAMES = ("kept", "up", "noisy", "after", "still", "from_noise", "means", "modes", "gated", CHAIN)
OF = [
    ("boltzmann", "clamp v where observed", "v"),
    ("label_rbm", "clamp v, y where observed", "y"),
    ("gaussian_mixed", "clamp x, y where observed", "x"),
    ("third_mixed", "clamp x, y where observed", "x"),
    ("rbm", "clamp v[:, 1:] where observed  clamp v[0, 0] = 1", "v"),
]


def rows_with_gaps(
    name: str, items: str, chain: str, seed: int, count: int = 40
) -> tuple[Engine, Rows, dict[str, Tensor]]:
    """An engine, and rows with NaN where a value is missing; the first row has nothing, the second all."""
    compiled = compile_example(EXAMPLE[name], items, CHAINS.format(items, chain))
    model = compiled.checked.model
    table = as_columns(model, random_values(model, seed, n=count))
    states = encode(model, table)
    generator = torch.Generator().manual_seed(seed)
    gaps = {}
    for variable in model.variables:
        gap = torch.rand(count, variable.sites, generator=generator) < 0.4
        gap[0], gap[1] = True, False
        gaps[variable.name] = gap.repeat_interleave(variable.family.width, dim=1)
    values = {n: x.masked_fill(gaps[n], math.nan) for n, x in states.items()}
    return Engine(compiled, random_weights(model, 1), 1, "test"), Rows(values, count), values


@pytest.fixture
def finite(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every tensor that a graph is given is finite; the names of the inputs that were seen."""
    seen: list[str] = []

    def look(module: object, values: Values) -> None:
        for name in inputs(module):  # type: ignore[arg-type]
            if isinstance(value := values.get(name), Tensor):
                seen.append(name)
                assert torch.isfinite(value).all(), name

    bind, call = Split.bind, Bound.__call__

    def watched_bind(self: Split, values: Values) -> Bound:
        look(self.once, values)
        return bind(self, values)

    def watched_call(self: Bound, values: Values) -> object:
        look(self.module, {**self.values, **values})
        return call(self, values)

    monkeypatch.setattr(Split, "bind", watched_bind)
    monkeypatch.setattr(Bound, "__call__", watched_call)
    return seen


@pytest.mark.parametrize(("name", "items", "of"), OF)
def test_nan_never_reaches_a_graph(name: str, items: str, of: str, finite: list[str]) -> None:
    engine, rows, values = rows_with_gaps(name, items, of, 7)
    for chain in NAMES:
        for _ in range(2):
            out = engine.run(chain, rows)
            for found in (*out.value.values(), *out.state.values(), *out.mean.values()):
                assert torch.isfinite(found).all()
            check_held(engine, chain, values, out.value)
    assert any(each.startswith("given.") for each in finite) and any(each.startswith("observed.") for each in finite)


def check_held(engine: Engine, chain: str, values: Mapping[str, Tensor], out: Mapping[str, Tensor]) -> None:
    """What a row has of the maskable part stands in what comes out."""
    schedule = engine.compiled.schedules[chain]
    assert schedule.masked
    for name, region in schedule.masked.items():
        repeat = out[name].shape[0] // values[name].shape[0]
        given, found = (part(x, region) for x in (values[name].repeat_interleave(repeat, 0), out[name]))
        has = ~given.isnan()
        assert has.any() and not has.all()
        assert torch.equal(found[has], given[has])


@pytest.mark.parametrize(("name", "items", "of"), OF)
def test_a_row_in_a_batch_is_the_row_alone(name: str, items: str, of: str) -> None:
    """Each row run alone, under its own number, ends where it ends among rows with other masks."""
    engine, rows, values = rows_with_gaps(name, items, of, 8, count=12)
    for chain in ("up", "noisy", "after", "means", "modes", "gated", CHAIN):
        together = engine.run(chain, rows).value
        for row in range(12):
            about = Rows({n: x[row : row + 1] for n, x in values.items()}, 1)
            alone = Engine(engine.compiled, engine.params, 1, "test", first=row)
            if chain == "up":  # `after` has run it once already
                assert engine.kept["up"].turn == 3
            if chain == "after":
                alone.run("up", about)
            found = alone.run(chain, about).value
            for variable, value in found.items():
                torch.testing.assert_close(value[0], together[variable][row], rtol=1e-12, atol=1e-12)


def test_the_exact_law_of_a_row_through_the_engine() -> None:
    """A batch of one row many times among others: its samples follow the law given what it has."""
    compiled = compile_example(EXAMPLE["boltzmann"], "clamp v where observed  sweeps 40")
    given = case("boltzmann", "clamp v where observed")
    kinds = [(Site("v", 0), Site("v", 2)), (Site("v", 3),), ()]
    values = encode(given.model, as_columns(given.model, random_values(given.model, 1)).expand(3, -1))["v"].clone()
    for row, kind in enumerate(kinds):
        for number in range(4):
            if Site("v", number) not in kind:
                values[row, number] = math.nan
    each = 4000
    engine = Engine(compiled, given.weights, 3, "test")
    out = engine.run(CHAIN, Rows({"v": values.repeat(each, 1)}, 3 * each))
    found = decode(given.model, out.value)
    for row, kind in enumerate(kinds):
        verdict = stats.compare(with_mask(given, kind)[0].law, {n: x[row::3] for n, x in found.items()})
        assert verdict.ok, verdict


def test_block_updates_of_a_mask_are_exact() -> None:
    """The drawn part of a block of a masked row is its exact joint update."""
    given = case("rbm", "clamp v where observed")
    row, flags = with_mask(given, (Site("v", 1), Site("v", 4), Site("v", 5)))
    found = transition(row, row.program.last, observed=flags)
    expected = torch.eye(len(row.law.p), dtype=torch.float64)
    for block in order_of(row):
        expected = expected @ block_matrix(row.law, block)
    torch.testing.assert_close(found, expected, rtol=0, atol=EXACT)
