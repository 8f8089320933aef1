"""Samples in parts, over sweeps, from other chains, and averaged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor

import gmc
from gmc.runtime import sampling
from gmc.runtime.request import Course
from gmc.runtime.sampling import Stream, collect

MODEL = """\
model m {
  observed v : bernoulli[2, 3]
  observed y : categorical(3)
  latent   h : bernoulli[4]
  edge v -- h
  edge y -- h
}
"""
CHAINS = """
chain free { sweeps 10 }
chain half { clamp v[:, 1:]  sweeps 6 }
chain given { clamp v  sweeps 3 }
chain guess { clamp v  update mean  sweeps 3 }
chain negative { start persistent(4)  sweeps 2 }
"""


def run_of(text: str = MODEL + CHAINS, seed: int = 0) -> gmc.Run:
    model = gmc.compile(text)
    generator = torch.Generator().manual_seed(seed)
    return model.run({p.name: torch.randn(p.shape, generator=generator) for p in model.compiled.graph.parameters})


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def near(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Products of other shapes may round otherwise in the last place."""
    return one.keys() == other.keys() and all(torch.allclose(one[n], other[n], rtol=1e-6, atol=1e-7) for n in one)


def rows(count: int) -> Tensor:
    return (torch.rand(count, 2, 3, generator=torch.Generator().manual_seed(1)) < 0.5).to(torch.uint8)


# ── Which sweeps are kept ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("sweeps", "every", "burn", "kept"),
    [
        (10, 3, 2, (5, 8, 10)),
        (10, 5, 0, (5, 10)),
        (10, 1, 7, (8, 9, 10)),
        (3, 10, 0, (3,)),
        (0, 1, 0, (0,)),
        (7, 2, 0, (2, 4, 6, 7)),
    ],
)
def test_course(sweeps: int, every: int, burn: int, kept: tuple[int, ...]) -> None:
    course = Course(sweeps, every, burn)
    assert tuple(map(course.number, range(course.count))) == kept
    found = run_of().sample("free", chains=2, sweeps=sweeps, every=every, burn=burn)
    assert found.sweeps == kept
    assert found.values["v"].shape == (2, len(kept), 2, 3)
    assert found.means["y"].shape == (2, len(kept), 3)


@pytest.mark.parametrize("chain", ["free", "half", "given", "guess"])
def test_a_kept_sweep_is_where_a_shorter_chain_ends(chain: str) -> None:
    run = run_of()
    clamp = {} if chain == "free" else {"v": rows(5)}
    found = run.sample(chain, chains=5, sweeps=7, every=2, burn=1, clamp=clamp)
    assert found.sweeps == (3, 5, 7)
    for position, number in enumerate(found.sweeps):
        shorter = run.sample(chain, chains=5, sweeps=number, clamp=clamp)
        assert same({n: v[:, position] for n, v in found.values.items()}, shorter.values)
        assert same({n: v[:, position] for n, v in found.means.items()}, shorter.means)


def test_clamped_sites_stay_in_every_sweep() -> None:
    given = rows(5)
    found = run_of().sample("half", every=1, clamp={"v": given})
    assert torch.equal(found.values["v"][..., 1:], given[:, None, :, 1:].expand(-1, 6, -1, -1))


# ── Parts ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def in_parts(stream: Stream, together: int) -> tuple[sampling.Samples, int]:
    parts = list(replace(stream, together=together))
    return collect(stream, parts), len(parts)


@pytest.mark.parametrize("every", [None, 1, 3])
@pytest.mark.parametrize("chain", ["free", "half", "negative"])
def test_samples_do_not_depend_on_the_parts(chain: str, every: int | None) -> None:
    run = run_of()
    clamp = {"v": rows(11)} if chain == "half" else {}
    whole = run.sample(chain, chains=11, sweeps=6, every=every, clamp=clamp)
    stream = run.stream(chain, chains=11, sweeps=6, every=every, clamp=clamp)
    for together, count in ((1, 11), (4, 3), (11, 1)):
        found, parts = in_parts(stream, together)
        assert parts == count
        assert same(found.values, whole.values)
        assert near(found.means, whole.means)
        assert found.sweeps == whole.sweeps


def test_parts_hold_few_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of()
    whole = run.sample("free", chains=3, sweeps=20, every=1)
    size = 6 + 3 + 4
    monkeypatch.setattr(sampling, "HELD", 3 * size * 8)
    parts = list(run.stream("free", chains=3, sweeps=20, every=1))
    assert [(p.first, p.position, len(p.samples.sweeps)) for p in parts] == [(0, 0, 8), (0, 8, 8), (0, 16, 4)]
    assert same(collect(run.stream("free", chains=3, sweeps=20, every=1), parts).values, whole.values)


def test_numbers_in_a_part_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = run_of().compiled.checked.model.variables
    assert sampling.chains_together(variables, 1) == sampling.MOST
    monkeypatch.setattr(sampling, "CELLS", 13 * 300)
    assert sampling.chains_together(variables, 1) == 300
    assert sampling.chains_together(variables, 10**6) == sampling.LEAST
    monkeypatch.setattr(sampling, "CELLS", 5)
    assert sampling.chains_together(variables, 1) == 1


def test_persistent_chains_go_on_from_copies_whatever_the_parts(tmp_path: object) -> None:
    text = MODEL + CHAINS + "chain wake { clamp v }\nobjective nll = likelihood(positive = wake, negative = negative)\n"
    text += "train { minimize nll using sgd(lr = 0.1)  batch 5  epochs 3 }\n"
    text += "data digits { v = image | crop(2, 3) | threshold(0.5)  y = label | threshold(9.5) }\n"
    run = gmc.compile(text).train(data={"v": rows(20), "y": torch.zeros(20)})
    assert run.kept["negative"].born is not None
    before = {n: s.clone() for n, s in run.kept["negative"].states.items()}
    stream = run.stream("negative", chains=10, sweeps=0)
    found, _ = in_parts(stream, 3)
    assert torch.equal(found.values["v"].flatten(1), before["v"][torch.arange(10) % 4].to(torch.uint8))
    assert same(run.kept["negative"].states, before)


def test_a_stream_can_be_gone_through_again() -> None:
    stream = run_of().stream("free", chains=3)
    assert same(collect(stream, stream).values, collect(stream, stream).values)


def test_watch_and_means() -> None:
    run = run_of()
    seen: list[float] = []
    stream = run.stream("free", chains=6, sweeps=60, means=False, watch=seen.append)
    assert same(
        collect(replace(stream, together=3), replace(stream, together=3)).values,
        run.sample("free", chains=6, sweeps=60).values,
    )
    assert seen == sorted(seen) and seen[-1] == 1.0 and len(seen) == 6
    assert not next(iter(stream)).samples.means


# ── Starts from another chain ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("other", ["given", "negative"])
def test_start_is_as_if_the_file_said_so(other: str) -> None:
    """Also in place of starts that the file has, and on the same rows."""
    text = MODEL + CHAINS + "chain go { start noise  sweeps 1 }\n"
    written = run_of(text.replace("start noise", f"start {other}"))
    clamp = {"v": rows(50)} if other == "given" else {}
    found = run_of(text).sample("go", start=other, chains=50, clamp=clamp)
    assert same(found.values, written.sample("go", chains=50, clamp=clamp).values)
    assert not same(found.values, run_of(text).sample("go", chains=50).values)


def test_start_of_no_sweeps_is_where_the_other_ended() -> None:
    run = run_of()
    ends = run.sample("given", clamp={"v": rows(5)})
    assert same(run.sample("free", start="given", sweeps=0, clamp={"v": rows(5)}).values, ends.values)
    # of a variable that is clamped in part only the free sites start
    found = run.sample("half", start="free", sweeps=0, clamp={"v": rows(5)})
    assert torch.equal(found.values["v"][..., 1:], rows(5)[..., 1:])
    assert torch.equal(found.values["v"][..., 0], run.sample("free", chains=5).values["v"][..., 0])


# ── Gates ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_gates_are_told_with_every_sweep() -> None:
    run = run_of(MODEL + "chain zoned { clamp v  impotent v unless surprise(v) > 0.7  sweeps 8 }\n")
    found = run.sample("zoned", clamp={"v": rows(9)}, every=2)
    assert found.measured["surprise(v)"].shape == found.open["surprise(v) > 0.7"].shape == (9, 4)
    assert torch.equal(found.open["surprise(v) > 0.7"], found.measured["surprise(v)"] > 0.7)
    last = run.sample("zoned", clamp={"v": rows(9)})
    assert torch.equal(last.measured["surprise(v)"], found.measured["surprise(v)"][:, -1])


# ── Averages ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_average_of_an_exact_conditional_is_exact() -> None:
    """h given v needs no averaging: its mean is known in every sweep, while draws of it vary."""
    run = run_of(MODEL.replace("  edge y -- h\n", "") + CHAINS)
    given = rows(5)
    found = run.average("given", clamp={"v": given}, sweeps=4, burn=1)
    eta = run.params["h.bias"] + given.flatten(1).float() @ run.params["v_h.weight"]
    torch.testing.assert_close(found["h"], eta.sigmoid())
    assert torch.equal(found["v"], given.float())
    torch.testing.assert_close(found["y"], run.params["y.bias"].softmax(0).expand(5, 3))


def test_averages_are_near_the_law_and_nearer_than_draws() -> None:
    run = run_of()
    chains, sweeps, burn = 40, 220, 20
    found = run.average("free", chains=chains, sweeps=sweeps, burn=burn)
    draws = run.sample("free", chains=chains, sweeps=sweeps, burn=burn, every=1).values
    for name in ("v", "h"):
        mean = found[name].double().flatten(1)
        wanted = _mean(run, name)
        error = mean.std(0) / chains**0.5
        # 5 standard errors of the mean over independent chains
        assert bool(((mean.mean(0) - wanted).abs() < 5 * error + 1e-6).all())
        drawn = draws[name].double().mean(1).flatten(1)
        assert float(mean.var(0).mean()) < float(drawn.var(0).mean())


def _mean(run: gmc.Run, name: str) -> Tensor:
    """Exact means of a binary variable, by enumeration of its values."""
    sites = run.compiled.checked.model.variable(name)
    every = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * sites.sites)
    p = run.log_likelihood({name: every.reshape(-1, *sites.shape)}).exp()
    return p @ every.double()


def test_averages_do_not_depend_on_the_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of()
    whole = run.average("half", clamp={"v": rows(7)}, burn=2)
    monkeypatch.setattr(sampling, "CELLS", 13 * 2)
    parts = run.average("half", clamp={"v": rows(7)}, burn=2)
    assert near(whole, parts)
