"""Objectives that predict some of the data from the rest, against the oracle's exact conditionals and their derivatives."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from gmc.compiler.conditionals import find_ways
from gmc.compiler.driver import Compiled
from gmc.compiler.pseudo import PseudoLikelihood
from gmc.runtime.engine import Rows
from tests.compiler.replay import EXAMPLE, SEED, compile_example, encode
from tests.compiler.test_gradients import close
from tests.oracle.laws import gradient, log_likelihood, rows_of
from tests.oracle.models import Example, random_values, random_weights
from tests.oracle.sites import Site, as_columns, sites
from tests.slopes import slope, step_on

ROWS = 4
MIXED = Example(
    "mixed",
    "observed v : bernoulli[3]\n observed x : normal(precision = learned)[2]\n edge v -- x\n edge v -- v\n",
    ("",),
)
SUMMED_NORMAL = Example(
    "summed_normal",
    """
    observed v : spin[3]
    observed y : categorical(3)
    latent z : normal(precision = learned)[2]
    edge v -- z
    edge y -- z by lowrank(2)
    edge v -- y
    """,
    ("",),
)
BY_FIELD = ("ising_ring", "potts", MIXED)
BY_CHANGE = ("label_rbm", "conv", "spin_boltzmann", "potts_lateral", SUMMED_NORMAL)
BY_SUM = ("dbm2", "third_order", "gaussian_mixed")


def observed(compiled: Compiled) -> list[str]:
    return [v.name for v in compiled.checked.model.observed]


def data(compiled: Compiled, seed: int, n: int = ROWS) -> tuple[Rows, list[dict[Site, float]]]:
    """Random rows of the observed variables, for a step and for the oracle."""
    model = compiled.checked.model
    names = observed(compiled)
    values = random_values(model, seed, n=n)
    whole = encode(model, as_columns(model, values))
    return Rows({name: whole[name] for name in names}, n), rows_of(model, {name: values[name] for name in names})


def added(parts: list[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([part[name] for part in parts]).sum(0) for name in parts[0]}


def reached(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Equal, and zero where no derivative is given."""
    close({name: found.get(name, torch.zeros_like(value)) for name, value in expected.items()}, expected)


def example_of(which: str | Example) -> Example:
    return EXAMPLE[which] if isinstance(which, str) else which


@pytest.mark.parametrize(
    ("which", "way"),
    [(w, way) for ws, way in ((BY_FIELD, "field"), (BY_CHANGE, "change"), (BY_SUM, "sum")) for w in ws],
    ids=str,
)
def test_pseudo_likelihood(which: str | Example, way: str) -> None:
    """Of every site, against the enumerated conditionals, in each of the ways that they are found."""
    compiled = compile_example(example_of(which), "", "objective nll = pseudo_likelihood\n")
    assert getattr(find_ways(compiled.graph), way)
    model = compiled.checked.model
    weights = random_weights(model, SEED)
    rows, oracle_rows = data(compiled, 41)
    loss, exact = by_hand(compiled, weights, oracle_rows, [every_site(compiled)] * ROWS)
    found = slope(compiled, weights, rows)
    assert found.loss.item() == pytest.approx(loss, abs=1e-8)
    reached(found.gradient, exact)


def every_site(compiled: Compiled) -> list[Site]:
    """The sites of the observed variables, in the order of declaration."""
    return [site for site in sites(compiled.checked.model) if site.variable in observed(compiled)]


def by_hand(
    compiled: Compiled, weights: Mapping[str, Tensor], rows: list[dict[Site, float]], chosen: list[list[Site]]
) -> tuple[float, dict[str, Tensor]]:
    """The mean over rows of the sum over each row's chosen sites of -log p(site | all others), and its derivative, by the oracle."""
    model, everything = compiled.checked.model, every_site(compiled)
    loss, slopes = 0.0, []
    for site in everything:
        some = [row for row, its in zip(rows, chosen, strict=True) if site in its]
        if some:
            rest = [other for other in everything if other != site]
            share = len(some) / len(rows)
            loss -= share * log_likelihood(model, weights, some, rest).mean().item()
            slopes.append({n: -share * g for n, g in gradient(model, weights, some, rest).items()})
    return loss, added(slopes)


@pytest.mark.parametrize("which", ["label_rbm", "third_order", MIXED], ids=str)
def test_pseudo_likelihood_of_drawn_sites(which: str | Example) -> None:
    """k sites of each row, no one twice, each counting N / k times."""
    compiled = compile_example(example_of(which), "", "objective nll = pseudo_likelihood(sites = 3)\n")
    weights = random_weights(compiled.checked.model, SEED)
    rows, oracle_rows = data(compiled, 47)
    (descent,) = compiled.descents("nll")
    assert isinstance(descent, PseudoLikelihood)
    step = step_on(compiled, weights, rows)
    at = descent._choose(step).at
    everything = every_site(compiled)
    assert at is not None and all(len(set(row)) == 3 for row in at.tolist())
    loss, exact = by_hand(compiled, weights, oracle_rows, [[everything[n] for n in row] for row in at.tolist()])
    scale = len(everything) / 3
    found = descent.slope(step)
    assert found.loss.item() == pytest.approx(scale * loss, abs=1e-8)
    reached(found.gradient, {n: scale * g for n, g in exact.items()})


def test_all_sites_are_drawn_alike() -> None:
    """With the chance k / N each, and anew each step."""
    import numpy as np

    from gmc.runtime.step import Place
    from tests.oracle import stats

    compiled = compile_example(EXAMPLE["label_rbm"], "", "objective nll = pseudo_likelihood(sites = 2)\n")
    weights = random_weights(compiled.checked.model, SEED)
    one, _ = data(compiled, 48, n=1)
    rows = Rows({n: x.expand(20_000, -1) for n, x in one.values.items()}, 20_000)
    (descent,) = compiled.descents("nll")
    assert isinstance(descent, PseudoLikelihood)
    chosen = [descent._choose(step_on(compiled, weights, rows, place=Place(n, 0.0, 0))).at for n in range(2)]
    assert not torch.equal(chosen[0], chosen[1])
    for site in range(5):
        has = (chosen[0] == site).any(1).double()
        assert stats.mean_within(np.asarray(has), 2 / 5, comparisons=5).ok


def test_parts_of_a_change_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few fields are held at once."""
    from gmc.compiler import pseudo

    for arguments in ("", "(sites = 4)"):
        compiled = compile_example(EXAMPLE["label_rbm"], "", f"objective nll = pseudo_likelihood{arguments}\n")
        weights = random_weights(compiled.checked.model, SEED)
        rows, _ = data(compiled, 49)
        whole = slope(compiled, weights, rows)
        with monkeypatch.context() as patch:
            patch.setattr(pseudo, "AT_ONCE", 1)
            parts = slope(compiled, weights, rows)
        assert parts.loss.item() == pytest.approx(whole.loss.item(), abs=1e-12)
        close(parts.gradient, whole.gradient)


DISCRIMINATED = [
    ("label_rbm", "y | v"),
    ("label_rbm", "v | y"),
    ("triangle", "a | b"),
    ("potts_lateral", "y | h"),
    ("third_mixed", "y | x"),
    ("third_mixed", "(h, x) | y"),
    ("dbm2", "h2 | (h1, v)"),
    ("gaussian_mixed", "y | x"),
    ("gaussian_mixed", "x | y"),
    ("learned", "y | x"),
]


@pytest.mark.parametrize(("name", "law"), DISCRIMINATED)
@pytest.mark.parametrize("gaps", [False, True], ids=["whole", "gaps"])
def test_discriminative(name: str, law: str, gaps: bool) -> None:
    """-log p(targets | given) of each row, other variables summed out, and what a row lacks too."""
    names = [n.strip("() ") for n in law.replace("|", ",").split(",")]
    extra = f"objective nll = discriminative({law})\n"
    extra += f"chain some {{ clamp {', '.join(names)} where observed }}\n" if gaps else ""
    compiled = compile_example(EXAMPLE[name], "", extra)
    model = compiled.checked.model
    weights = random_weights(model, SEED)
    values = random_values(model, 50, n=ROWS)
    whole = {n: x for n, x in encode(model, as_columns(model, values)).items() if n in names}
    shown = {n: values[n].double() for n in names}
    if gaps:
        for n in names:
            lost = torch.zeros(ROWS, model.variable(n).sites, dtype=torch.bool)
            lost[1, 0] = lost[3, :] = True
            if n in law.split("|")[1] and model.variable(n).family.states is None:
                lost[:] = False
            shown[n] = shown[n].reshape(ROWS, -1).masked_fill(lost, torch.nan).reshape(shown[n].shape)
            whole[n] = whole[n].masked_fill(lost.repeat_interleave(model.variable(n).family.width, 1), torch.nan)
    given = [site for site in sites(model) if site.variable in law.split("|")[1].replace(",", " ").strip("() ").split()]
    oracle_rows = rows_of(model, shown)
    found = slope(compiled, weights, Rows(whole, ROWS))
    expected = -log_likelihood(model, weights, oracle_rows, given).mean().item()
    assert found.loss.item() == pytest.approx(expected, abs=1e-8)
    reached({n: -g for n, g in found.gradient.items()}, gradient(model, weights, oracle_rows, given))
    (descent,) = compiled.descents("nll")
    assert bool(descent.graphs) is not gaps
    if gaps:
        # a row without any target costs nothing
        bare = Rows({n: x[3:4] for n, x in whole.items()}, 1)
        assert abs(slope(compiled, weights, bare).loss.item()) < 1e-10


def test_discriminative_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few rows are held at once; and where not even one can be, by sums over parts of the states."""
    from gmc.compiler import discrimination

    def of(limit: int | None) -> tuple[float, Mapping[str, Tensor]]:
        with monkeypatch.context() as patch:
            if limit is not None:
                patch.setattr(discrimination, "AT_ONCE", limit)
            compiled = compile_example(EXAMPLE["label_rbm"], "", "objective nll = discriminative(y | v)\n")
            weights = random_weights(compiled.checked.model, SEED)
            found = slope(compiled, weights, data(compiled, 51, n=7)[0])
            return found.loss.item(), found.gradient

    loss, exact = of(None)
    for limit in (3 * 4 * 2, 1):
        again, found = of(limit)
        assert again == pytest.approx(loss, abs=1e-12)
        close(found, exact)


def dbm(extra: str, label: bool = True) -> Compiled:
    """4-3-2 units, and a label on the lower latent layer."""
    from gmc.compiler.driver import compile_checked
    from gmc.dsl.check import load_source
    from gmc.dsl.source import Source

    y = "observed y : categorical(3)\n edge y -- h\n" if label else ""
    body = f"observed v : bernoulli[4]\n latent h : bernoulli[3]\n latent g : bernoulli[2]\n edge v -- h\n edge h -- g\n {y}"
    return compile_checked(load_source(Source("net.gm", f"model m {{ {body} }}\n{extra}")).checked)


PREDICT = (
    "chain infer {{ clamp v, y where observed  update mean  sweeps {} }}\nobjective nll = multi_prediction(infer)\n"
)


def unrolled(w: Mapping[str, Tensor], v: Tensor, y: Tensor, seen: tuple[Tensor, Tensor], sweeps: int) -> Tensor:
    """-log p of what is hidden, by mean field written out: pass 0 goes up from what is there, a sweep draws v and g, then h and y as the schedule has it."""
    held = [(s * x) for s, x in zip(seen, (v, y), strict=True)]
    up = w["h.bias"] + held[0] @ w["v_h.weight"] + held[1] @ w["y_h.weight"]
    h = torch.sigmoid(up)
    g = torch.sigmoid(w["g.bias"] + h @ w["h_g.weight"])
    for _ in range(sweeps):
        eta_v, eta_y = w["v.bias"] + h @ w["v_h.weight"].T, w["y.bias"] + h @ w["y_h.weight"].T
        mean = [
            torch.where(s.bool(), x, p)
            for s, x, p in zip(seen, (v, y), (torch.sigmoid(eta_v), eta_y.softmax(1)), strict=True)
        ]
        g = torch.sigmoid(w["g.bias"] + h @ w["h_g.weight"])
        h = torch.sigmoid(w["h.bias"] + mean[0] @ w["v_h.weight"] + mean[1] @ w["y_h.weight"] + g @ w["h_g.weight"].T)
    logs = v * torch.nn.functional.logsigmoid(eta_v) + (1 - v) * torch.nn.functional.logsigmoid(-eta_v)
    logs = ((1 - seen[0]) * logs).sum(1) + ((1 - seen[1]) * y * eta_y.log_softmax(1)).sum(1)
    return -logs.mean()


def hidden_rows(compiled: Compiled, weights: Mapping[str, Tensor], rows: Rows) -> tuple[Tensor, Tensor]:
    """What a step leaves of its rows, ones and zeros in the shape of the statistics."""
    (descent,) = compiled.descents("nll")
    left, _ = descent.hide(step_on(compiled, weights, rows))  # type: ignore[attr-defined]
    return tuple((~left[n].isnan()).double() for n in ("v", "y"))  # type: ignore[return-value]


@pytest.mark.parametrize("sweeps", [1, 3])
def test_multi_prediction(sweeps: int) -> None:
    """The loss is that of mean field written out, and the gradient its derivative through all sweeps; central differences agree."""
    compiled = dbm(PREDICT.format(sweeps))
    weights = random_weights(compiled.checked.model, SEED)
    rows, _ = data(compiled, 42, n=8)
    seen = hidden_rows(compiled, weights, rows)
    assert 0 < seen[0].mean() < 1 and 0 < seen[1].mean() < 1
    found = slope(compiled, weights, rows)
    leaves = {n: w.clone().requires_grad_() for n, w in weights.items()}
    loss = unrolled(leaves, rows.values["v"], rows.values["y"], seen, sweeps)
    assert found.loss.item() == pytest.approx(loss.item(), abs=1e-10)
    exact = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
    reached(found.gradient, dict(zip(leaves, exact, strict=True)))
    for name, at in (("v_h.weight", (1, 2)), ("h_g.weight", (2, 0)), ("y.bias", (1,))):
        ends = []
        for sign in (1.0, -1.0):
            moved = {n: w.clone() for n, w in weights.items()}
            moved[name][at] += sign * 1e-5
            ends.append(slope(compiled, moved, rows).loss.item())
        derivative = found.gradient[name][at].item() if name in found.gradient else 0.0
        assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(derivative, rel=1e-5, abs=1e-9)


def test_what_is_missing_is_never_a_target() -> None:
    """A value that a row lacks is hidden, and its site is not predicted."""
    compiled = dbm(PREDICT.format(2))
    weights = random_weights(compiled.checked.model, SEED)
    rows, _ = data(compiled, 43, n=8)
    (descent,) = compiled.descents("nll")
    lacking = Rows({n: x.clone() for n, x in rows.values.items()}, 8)
    lacking.values["v"][:, 1] = torch.nan
    lacking.values["y"][::2] = torch.nan
    left, targets = descent.hide(step_on(compiled, weights, lacking))  # type: ignore[attr-defined]
    assert left["v"][:, 1].isnan().all() and not targets["v"][:, 1].any() and not targets["y"][::2].any()
    found = slope(compiled, weights, lacking)
    assert found.loss.isfinite() and all(g.isfinite().all() for g in found.gradient.values())


def test_hidden_sites_are_drawn_with_the_chance_asked_for() -> None:
    """Each site by itself, anew each step and each time that a line is descended, alike for a row in whatever batch."""
    import numpy as np

    from gmc.runtime.step import Place
    from tests.oracle import stats

    compiled = dbm(
        "chain infer { clamp v, y where observed  update mean }\nobjective nll = multi_prediction(infer, drop = 0.3)\n"
    )
    weights = random_weights(compiled.checked.model, SEED)
    one, _ = data(compiled, 44, n=1)
    rows = Rows({n: x.expand(20_000, -1) for n, x in one.values.items()}, 20_000)
    (descent,) = compiled.descents("nll")
    places = [Place(0, 0.0, 0), Place(1, 0.0, 0), Place(0, 0.0, 0, again=1)]
    drawn = [descent.hide(step_on(compiled, weights, rows, place=place))[1] for place in places]  # type: ignore[attr-defined]
    for targets in drawn:
        for site in range(4):
            assert stats.mean_within(np.asarray(targets["v"][:, site].double()), 0.3, comparisons=15).ok
        assert stats.mean_within(np.asarray(targets["y"][:, 0].double()), 0.3, comparisons=15).ok
        both = (targets["v"][:, 0] & targets["y"][:, 0]).double()
        assert stats.mean_within(np.asarray(both), 0.09, comparisons=15).ok
    for a, b in ((0, 1), (0, 2), (1, 2)):
        same = (drawn[a]["v"] == drawn[b]["v"]).double().mean().item()
        assert abs(same - 0.58) < 0.02
    few = Rows({n: x[:2] for n, x in rows.values.items()}, 2, torch.tensor([7, 3]), 20_000)
    again = descent.hide(step_on(compiled, weights, few))[1]  # type: ignore[attr-defined]
    assert torch.equal(again["v"], drawn[0]["v"][[7, 3]])


@pytest.mark.parametrize("damping", [0.0, 0.75])
def test_sparsity(damping: float) -> None:
    """The cross-entropy at the running mean of each unit over the batch, and its slope there times that of the batch's mean."""
    extra = f"chain up {{ clamp v, y }}\nobjective nll = sparsity(up, h, target = 0.2, damping = {damping})\n"
    compiled = dbm(extra)
    weights = random_weights(compiled.checked.model, SEED)
    (descent,) = compiled.descents("nll")
    memory: dict[str, Tensor] = {}
    running = None
    for seed in (45, 46):
        rows, _ = data(compiled, seed, n=6)
        step = step_on(compiled, weights, rows, memory=memory)
        ended = step.run("up").value
        leaves = {n: w.clone().requires_grad_() for n, w in weights.items()}
        field = leaves["h.bias"] + rows.values["v"] @ leaves["v_h.weight"] + rows.values["y"] @ leaves["y_h.weight"]
        batch = torch.sigmoid(field + ended["g"] @ leaves["h_g.weight"].T).mean(0)
        assert batch.shape == (3,)
        now = batch.detach()
        running = now if running is None else damping * running + (1 - damping) * now
        at = running.clone().requires_grad_()
        entropy = -(0.2 * at.log() + 0.8 * (1 - at).log()).sum()
        (outer,) = torch.autograd.grad(entropy, at)
        exact = torch.autograd.grad((outer * batch).sum(), list(leaves.values()), materialize_grads=True)
        found = descent.slope(step)
        assert found.loss.item() == pytest.approx(entropy.item(), abs=1e-10)
        reached(found.gradient, dict(zip(leaves, exact, strict=True)))
    torch.testing.assert_close(memory["mean"], running)
