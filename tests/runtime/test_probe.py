"""Probes: their features against the formula, their classifiers against independent fits, and what they refuse."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import gmc
from gmc.dsl.diagnostic import Diagnostic, GmcError
from gmc.dsl.errors.catalogue import catalogue, explain
from gmc.runtime import classifier, sampling
from gmc.runtime import probe as probing
from gmc.runtime.classifier import PENALTIES, Examples, classify, held_out
from gmc.runtime.dataset import order
from gmc.runtime.labels import renamed
from gmc.runtime.probe import Probe

RBM = """\
model rbm {
  observed v : bernoulli[8, 8]
  latent h : bernoulli[64]
  edge v -- h
}
data digits(held_out = 360) {
  v = image | threshold(0.5)
  test v = test_image | threshold(0.5)
}
chain posterior { clamp v }
chain negative { start persistent(50)  sweeps 1 }
objective nll = likelihood(positive = posterior, negative = negative)
train { minimize nll using sgd(lr = 0.05)  batch 50  epochs 12 }
"""
CODES = [code for code in catalogue() if "GM760" <= code < "GM780"]


@pytest.fixture(scope="module")
def digits() -> gmc.Run:
    """A small machine that has learned the digits."""
    return gmc.compile(RBM).train()


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[np.ndarray, np.ndarray]]:
    """The inputs of each classifier as it was given them, training rows and others: features first, then the data."""
    found: list[tuple[np.ndarray, np.ndarray]] = []

    def classify(kind: str, train: Examples, x: np.ndarray, *rest: object) -> object:
        found.append((train.x.copy(), x.copy()))
        return classifier.classify(kind, train, x, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(probing, "classify", classify)
    return found


def raised(call: Callable[[], object]) -> Diagnostic:
    """The one diagnostic of a call."""
    with pytest.raises(GmcError) as caught:
        call()
    (found,) = caught.value.diagnostics
    return found


def rows(run: gmc.Run, split: str, name: str) -> np.ndarray:
    data = run.rows(split)  # type: ignore[arg-type]
    assert data is not None
    return data.external(name, torch.arange(data.rows), 0).numpy()


def stem(found: Probe) -> tuple[object, ...]:
    return (found.accuracy, found.majority, found.raw, found.how, found.raw_how)


# ── On digits ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_digits(digits: gmc.Run, seen: list[tuple[np.ndarray, np.ndarray]]) -> None:
    found = digits.probe("label")
    assert (found.of, found.chain, found.features, found.width, found.given) == (
        "label",
        "posterior",
        ("h",),
        64,
        ("v",),
    )
    assert (found.rows, found.training_rows, found.classes, found.split) == (360, 1437, 10, "test")
    assert found.accuracy.value > 0.8 > 0.2 > found.majority.value
    assert found.raw.value > 0.85
    p = found.accuracy.value
    assert found.accuracy.standard_error == pytest.approx(math.sqrt(p * (1 - p) / 360))
    assert found.accuracy.error == pytest.approx(1 - p)
    for split, x, raw in zip(("train", "test"), seen[0], seen[1], strict=True):
        v = rows(digits, split, "v").reshape(-1, 64).astype(np.float64)
        weight, bias = digits.params["v_h.weight"].double().numpy(), digits.params["h.bias"].double().numpy()
        assert x.dtype == raw.dtype == np.float32
        np.testing.assert_allclose(x, 1 / (1 + np.exp(-(bias + v @ weight.reshape(64, 64)))), atol=1e-5)
        np.testing.assert_array_equal(raw, v)


def test_majority_is_the_share_of_the_most_frequent_training_class(digits: gmc.Run) -> None:
    source = digits.compiled.checked.data
    assert source is not None
    columns = source.source.load(Path(), source.source_span)  # type: ignore[attr-defined]
    commonest = np.bincount(columns.read("label")).argmax()
    assert digits.probe("label").majority.right == int((columns.read("test_label") == commonest).sum())


@pytest.mark.parametrize("model", ["logistic", "mlp"])
def test_same_seed_same_result(digits: gmc.Run, model: classifier.Classifier) -> None:
    first, again = (digits.probe("label", model=model, seed=5) for _ in range(2))
    assert first == again
    assert first.accuracy.value > 0.75


def test_the_parts_that_rows_run_in_do_not_matter(
    digits: gmc.Run, seen: list[tuple[np.ndarray, np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = digits.probe("label", seed=1)
    monkeypatch.setattr(sampling, "CELLS", 128 * 100)
    told: list[float] = []
    parts = digits.probe("label", seed=1, watch=told.append)
    assert len(told) == 15 + 4 and told == sorted(told) and told[-1] == 1.0
    for one, other in zip(seen[:2], seen[2:], strict=True):
        for x, y in zip(one, other, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)
    assert abs(whole.accuracy.right - parts.accuracy.right) <= 3 and whole.raw == parts.raw


def test_features_that_know_nothing_are_reported_so(digits: gmc.Run) -> None:
    """Without couplings the features are the same for every row, so that only the most frequent class is left."""
    blank = gmc.compile(RBM).run({name: torch.zeros_like(p) for name, p in digits.params.items()})
    found = blank.probe("label")
    assert found.accuracy == found.majority
    assert found.raw.value > 0.85


def test_random_weights_are_no_better_than_they_are(digits: gmc.Run) -> None:
    """Four random projections tell digits apart a little, and far worse than the pixels do."""
    model = gmc.compile(RBM.replace("[64]", "[4]"))
    generator = torch.Generator().manual_seed(0)
    run = model.run({p.name: torch.randn(p.shape, generator=generator) for p in model.compiled.graph.parameters})
    found = run.probe("label")
    assert found.width == 4
    assert found.majority.value < found.accuracy.value < found.raw.value - 0.2


# ── Chains and features ──────────────────────────────────────────────────────────────────────────────────────────────

DEEP = """\
model m {
  observed v : bernoulli[6]
  observed y : categorical(3)
  observed b : bernoulli
  latent g : bernoulli[4]
  latent h : categorical(3)[2]
  edge v -- g
  edge g -- h
  edge h -- y
  edge g -- b
}
data npz("d.npz") {
  v = v_train  y = y_train  b = b_train
  test v = v_test  test y = y_test  test b = b_test
  valid v = v_test
}
chain all { clamp v, y, b }
chain for_y { clamp v, b  sweeps 2 }
chain for_b { clamp v, y  sweeps 2 }
chain part { clamp v[:3], b  sweeps 2 }
chain after { clamp v  start h from all  sweeps 2 }
chain begun { clamp v  start y from data  sweeps 1 }
chain constant { clamp v, b  clamp y = 1  sweeps 2 }
chain free { sweeps 1 }
"""
COUNT = 60


def arrays() -> dict[str, np.ndarray]:
    """Labels that the first numbers of a row tell."""
    rng = np.random.default_rng(3)
    found = {}
    for split, count in (("train", 2 * COUNT), ("test", COUNT)):
        v = rng.integers(0, 2, (count, 6))
        found |= {f"v_{split}": v, f"y_{split}": v[:, 0] + v[:, 1], f"b_{split}": v[:, 2]}
        found |= {f"other_{split}": 3 * v[:, 3] - 1, f"real_{split}": v + 0.5, f"text_{split}": v[:, 0].astype(str)}
    found["gaps_train"] = np.where(np.arange(2 * COUNT) % 2, np.nan, found["y_train"])
    found["gaps_test"] = np.where(np.arange(COUNT) % 3, found["y_test"], np.nan)
    found |= {"lone": found["y_train"], "all_one": np.ones(2 * COUNT), "partner": np.full(COUNT, 7)}
    found |= {"half_train": found["y_train"] / 2, "half_test": found["y_test"] / 2, "none_test": np.full(COUNT, np.nan)}
    return found | {"distinct": np.arange(2 * COUNT)}


def make(folder: Path, text: str = DEEP, **more: np.ndarray) -> gmc.Run:
    np.savez(folder / "d.npz", **{**arrays(), **more})
    (folder / "m.gm").write_text(text)
    model = gmc.compile(folder / "m.gm")
    generator = torch.Generator().manual_seed(0)
    return model.run({p.name: 2 * torch.randn(p.shape, generator=generator) for p in model.compiled.graph.parameters})


@pytest.fixture
def deep(tmp_path: Path) -> gmc.Run:
    return make(tmp_path)


@pytest.mark.parametrize(("of", "chain", "given"), [("y", "for_y", ("v", "b")), ("b", "for_b", ("v", "y"))])
def test_the_chain_is_found(deep: gmc.Run, of: str, chain: str, given: tuple[str, ...]) -> None:
    found = deep.probe(of)
    assert (found.chain, found.given, found.features, found.width) == (chain, given, ("g", "h"), 4 + 2 * 3)
    assert found.raw.value == 1.0, "the data tell these labels"
    assert found.classes == (3 if of == "y" else 2)


def test_features_can_be_chosen(deep: gmc.Run, seen: list[tuple[np.ndarray, np.ndarray]]) -> None:
    found = deep.probe("y", features=("h",), seed=2)
    assert (found.features, found.width) == (("h",), 6)
    data = deep.rows("test")
    assert data is not None
    clamp = {name: rows(deep, "test", name) for name in ("v", "b")}
    wanted = deep.average("for_y", clamp=clamp, seed=2, burn=1)["h"].reshape(COUNT, -1)
    np.testing.assert_allclose(seen[0][1], wanted.numpy(), atol=1e-6)


def test_a_column_that_the_model_does_not_use(deep: gmc.Run) -> None:
    derived = deep.probe("other_train", chain="all")
    assert (derived.of, derived.given, derived.classes, derived.raw.value) == ("other_train", ("v", "y", "b"), 2, 1.0)
    assert derived == deep.probe("other_train/other_test"), "the chain that clamps all is the one"


def test_rows_without_a_label_are_left_out(deep: gmc.Run, seen: list[tuple[np.ndarray, np.ndarray]]) -> None:
    found = deep.probe("gaps_train", chain="part")
    assert (found.training_rows, found.rows) == (COUNT, COUNT - COUNT // 3)
    v = rows(deep, "test", "v")[np.arange(COUNT) % 3 != 0]
    np.testing.assert_array_equal(seen[1][1][:, :6], v)


def test_a_class_that_was_never_seen_is_never_right(deep: gmc.Run) -> None:
    found = deep.probe("y_train/partner", chain="part")
    assert (found.accuracy.right, found.majority.right, found.raw.right) == (0, 0, 0)


def test_a_label_clamped_to_a_constant_tells_nothing(deep: gmc.Run) -> None:
    assert deep.probe("y", chain="constant").given == ("v", "b")


@pytest.mark.parametrize(
    ("name", "old", "new", "wanted"),
    [
        ("label", "image", "test_image", "test_label"),
        ("y_train", "x_train", "x_test", "y_test"),
        ("train/labels", "train/images", "test/images", "test/labels"),
        ("y", "x", "x_test", "y_test"),
        ("test_label", "test_image", "image", "label"),
        ("y", "x", "x", "y"),
        ("y", "x_train", "x_test", None),
        ("rainy_train", "x_train", "x_test", None),
        ("label", "ab", "axb", None),
    ],
)
def test_names_of_partners(name: str, old: str, new: str, wanted: str | None) -> None:
    assert renamed(name, old, new) == wanted


# ── Classifiers ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_fifth_of_each_class_is_held_out() -> None:
    y = np.repeat([0, 1, 2], [50, 4, 11]).astype(np.int64)
    learn, held = held_out(y, order(len(y), 0, "probe", 0).numpy())
    assert np.array_equal(np.sort(np.concatenate((learn, held))), np.arange(len(y)))
    assert np.bincount(y[held], minlength=3).tolist() == [10, 0, 2]
    other = held_out(y, order(len(y), 1, "probe", 0).numpy())[1]
    assert not np.array_equal(held, other)


def noisy(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two classes that differ in one of many numbers, which come in other units."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, count).astype(np.int64)
    x = rng.standard_normal((count, 40))
    x[:, 0] += 2.0 * y
    return (1e3 * x + 5e3).astype(np.float32), y


def test_the_penalty_is_the_one_under_which_the_held_out_rows_are_most_probable() -> None:
    from sklearn.linear_model import LogisticRegression

    (x, y), (x_test, y_test) = noisy(150, 0), noisy(2000, 1)
    chosen = order(len(y), 0, "probe", 0).numpy()
    found = classify("logistic", Examples(x.copy(), y), x_test.copy(), chosen, 0)
    mean, deviation = x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64)
    z, z_test = (x - mean) / deviation, (x_test - mean) / deviation
    learn, held = held_out(y, chosen)

    def fit(penalty: float, of: np.ndarray) -> LogisticRegression:
        return LogisticRegression(C=1 / (penalty * len(of)), max_iter=5000, tol=1e-8).fit(z[of], y[of])

    margins = [(2 * y[held] - 1) * fit(penalty, learn).decision_function(z[held]) for penalty in PENALTIES]
    scores = [float(-np.logaddexp(0, -margin).mean()) for margin in margins]
    best = PENALTIES[int(np.argmax(scores))]
    assert max(scores) > min(scores)
    assert found.how == f"L2 {best:g}"
    wanted = fit(best, np.arange(len(y))).predict(z_test)
    assert float(np.mean(found.classes == wanted)) > 0.995
    assert float(np.mean(found.classes == y_test)) > 0.75


def test_a_network_learns_what_no_line_parts() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1500, 2)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] > 0).astype(np.int64)
    train, rest = slice(0, 1000), slice(1000, None)

    def accuracy(kind: classifier.Classifier) -> float:
        chosen = order(1000, 0, "probe", 0).numpy()
        return float(
            np.mean(classify(kind, Examples(x[train].copy(), y[train]), x[rest].copy(), chosen, 0).classes == y[rest])
        )

    assert accuracy("mlp") > 0.93
    assert accuracy("logistic") < 0.75


def test_missing_and_constant_numbers_become_the_mean() -> None:
    (x, y), (other, truth) = noisy(200, 2), noisy(200, 3)
    x[::2, 5], other[::3, 5], x[:, 7], other[:, 7] = np.nan, np.nan, 4.0, 4.0
    found = classify("logistic", Examples(x, y), other, order(200, 0, "probe", 0).numpy(), 0)
    assert np.isfinite(x).all() and np.isfinite(other).all()
    assert np.abs(np.delete(x, (5, 7), 1).std(0) - 1).max() < 1e-3 and not x[:, 7].any() and not x[::2, 5].any()
    assert float(np.mean(found.classes == truth)) > 0.7


# ── Refusals ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("of", "more", "code", "told"),
    [
        ("y", {"chain": "all"}, "GM762", "given `y`"),
        ("y", {"chain": "for_b"}, "GM762", "given `y`"),
        ("y", {"chain": "after"}, "GM762", "given `y`"),
        ("y", {"chain": "begun"}, "GM762", "given `y`"),
        ("y_train", {"chain": "all"}, "GM762", "given `y`, which holds `y_train`"),
        ("y", {"chain": "fory"}, "GM730", "no chain `fory`"),
        ("y", {"chain": "free"}, "GM770", "given nothing"),
        ("z", {}, "GM763", "neither"),
        ("y_train/z", {}, "GM763", "`z`"),
        ("v", {}, "GM764", "6 sites"),
        ("g", {}, "GM764", "latent"),
        ("real_train", {"chain": "all"}, "GM764", "each row has 6 numbers"),
        ("half_train", {"chain": "all"}, "GM764", "no whole numbers: 0.5"),
        ("text_train", {"chain": "all"}, "GM655", "does not hold numbers"),
        ("lone", {"chain": "part"}, "GM765", "nothing says which column"),
        ("other_train/other_train", {}, "GM766", "120 values, but the data have 60 test rows"),
        ("y", {"features": ["v"]}, "GM767", "not a latent"),
        ("all_one/partner", {}, "GM768", "they have 1 class"),
        ("distinct/partner", {}, "GM768", "no class has more than 1"),
        ("y_train/none_test", {}, "GM768", "none has a label"),
        ("y", {"split": "train"}, "GM769", "learns from the training rows"),
        ("y", {"split": "valid"}, "GM746", "no valid rows of `y`"),
        ("y", {"model": "forest"}, "GM730", "no classifier `forest`"),
        ("y", {"seed": -1}, "GM738", "the seed"),
    ],
)
def test_mistakes(deep: gmc.Run, of: str, more: dict[str, object], code: str, told: str) -> None:
    found = raised(lambda: deep.probe(of, **more))  # type: ignore[arg-type]
    assert found.code == code
    assert told in found.message


def test_no_chain_or_several_fit(tmp_path: Path) -> None:
    several = raised(lambda: make(tmp_path, DEEP + "chain too { clamp b, v  sweeps 3 }\n").probe("y"))
    assert (several.code, "`for_y`, `too`" in several.message) == ("GM761", True)
    assert several.help is not None and "`for_y` or `too`" in several.help
    none = raised(lambda: make(tmp_path, DEEP.replace("chain for_y { clamp v, b  sweeps 2 }", "")).probe("y"))
    assert none.code == "GM761"
    assert none.help is not None and "`chain features { clamp v, b }`" in none.help and "`part`" in none.help
    assert "`all`" not in none.help and "`after`" not in none.help, "these would be leaks"


def test_a_model_without_latent_variables(tmp_path: Path) -> None:
    text = "model m { observed v : bernoulli[6]  observed y : categorical(3)  edge v -- y }\n"
    text += 'data npz("d.npz") { v = v_train  y = y_train  test v = v_test  test y = y_test }\nchain c { clamp v }\n'
    assert raised(lambda: make(tmp_path, text).probe("y")).code == "GM767"


def test_no_data_at_all() -> None:
    model = gmc.compile(RBM[: RBM.index("data")] + "chain posterior { clamp v }\n")
    run = model.run({p.name: torch.zeros(p.shape) for p in model.compiled.graph.parameters})
    assert raised(lambda: run.probe("label")).code == "GM741"


def test_without_scikit_learn(deep: gmc.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    found = raised(lambda: deep.probe("y"))
    assert found.code == "GM760"
    assert found.help is not None and "gmc-lang[probe]" in found.help


@pytest.mark.parametrize("code", CODES)
def test_page(code: str) -> None:
    page = explain(code)
    assert page.startswith(f"# {code}: {catalogue()[code].title}\n\n")
    assert len(re.findall(r"^## (?:Wrong|Right)$", page, re.MULTILINE)) in {0, 2}


def test_every_code_is_brought_about_here() -> None:
    text = Path(__file__).read_text()
    assert [code for code in CODES if f'"{code}"' not in text] == []
