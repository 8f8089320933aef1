"""Data sets: batches of statistics that depend on row and epoch alone, and everything that can be wrong with data."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gmc.dsl.diagnostic import Diagnostic, GmcError
from gmc.runtime.dataset import Dataset, Datasets, order

Loads = Callable[..., Datasets]
Refused = Callable[..., Diagnostic]

RNG = np.random.default_rng(3)
GREY = RNG.integers(0, 256, (40, 2, 3), dtype=np.uint8)
LABEL = RNG.integers(0, 4, 40)
BITS = (GREY > 127).astype(np.uint8)


def everything(split: Dataset | None, epoch: int = 0) -> dict[str, torch.Tensor]:
    assert split is not None
    return split.batch(torch.arange(split.rows), epoch)


# ── Batches ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_batches_are_statistics_in_site_order(loads: Loads) -> None:
    types = "v : bernoulli[2, 3]\ny : categorical(4)\ns : spin[2, 3]\nx : normal[6]"
    data = """data npz("data.npz") {
      y = label  v = grey | threshold(128)  x = grey | scale(1/255) | flatten  s = grey | threshold(128) | spin }"""
    loaded = loads(types, data, grey=GREY, label=LABEL)
    assert loaded.valid is None
    assert loaded.test is None
    train = loaded.train
    assert train is not None
    assert train.rows == 40
    assert train.variables == ("v", "y", "s", "x")
    batch = train.batch(torch.tensor([5, 3, 5]), 0)
    rows = [5, 3, 5]
    assert all(tensor.dtype == torch.float32 for tensor in batch.values())
    assert batch["v"].tolist() == BITS[rows].reshape(3, 6).tolist()
    assert batch["s"].tolist() == (2.0 * BITS[rows].reshape(3, 6) - 1).tolist()
    assert batch["y"].tolist() == np.eye(4)[LABEL[rows]].tolist()
    assert torch.allclose(batch["x"], torch.from_numpy(GREY[rows].reshape(3, 6) / np.float32(255)))
    assert train.external("y", torch.tensor([5, 3]), 0).tolist() == LABEL[[5, 3]].tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_are_kept_in_the_smallest_type(loads: Loads, dtype: torch.dtype) -> None:
    types = "a : normal[2]\nb : normal[2]\nc : normal[2]\nd : normal[2]"
    data = 'data npz("data.npz") { a = a  b = b  c = c  d = d }'
    arrays = {
        "a": np.array([[0.0, 255.0]]),
        "b": np.array([[-1, 300]], dtype=np.int64),
        "c": np.array([[0.1, 2.0]]),
        "d": np.array([[1 << 20, 0]], dtype=np.uint32),
    }
    loaded = loads(types, data, dtype=dtype, **arrays)
    assert loaded.train is not None
    stored = {name: values.stored.dtype for name, values in loaded.train.values.items()}
    assert stored == {"a": torch.uint8, "b": torch.int16, "c": dtype, "d": dtype}
    for name, statistic in everything(loaded.train).items():
        assert statistic.dtype == dtype
        assert torch.equal(statistic, torch.from_numpy(arrays[name].astype(np.float64)).to(dtype))


@pytest.mark.parametrize("dtype", ["b1", "i1", ">i2", "u2", "u4", "u8", "f2", ">f4", ">f8"])
def test_columns_of_every_type_of_number(loads: Loads, dtype: str) -> None:
    values = np.array([[0, 1], [1, 1]]).astype(dtype)
    loaded = loads("v : bernoulli[2]", 'data npz("data.npz") { v = x }', x=values)
    assert everything(loaded.train)["v"].tolist() == [[0, 1], [1, 1]]


def test_integers_beyond_int64_are_numbers_too(loads: Loads) -> None:
    loaded = loads("v : normal", 'data npz("data.npz") { v = x }', x=np.array([2**64 - 1], dtype=np.uint64))
    assert everything(loaded.train)["v"].item() == 2.0**64


def test_data_larger_than_a_part_are_whole(loads: Loads, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = loads("v : bernoulli[2, 3]", DRAWN, grey=GREY)
    monkeypatch.setattr("gmc.runtime.loading.CHUNK", 13)
    parts = loads("v : bernoulli[2, 3]", DRAWN, grey=GREY)
    for split in ("train", "test"):
        assert torch.equal(everything(getattr(whole, split))["v"], everything(getattr(parts, split))["v"])


# ── Draws ────────────────────────────────────────────────────────────────────────────────────────────────────────────

DRAWN = """data npz("data.npz") {
  v = grey | scale(1/255) | binarize  valid v = grey | scale(1/255) | binarize  test v = grey | scale(1/255) | binarize }"""


def test_a_row_does_not_depend_on_its_batch(loads: Loads) -> None:
    train = loads("v : bernoulli[2, 3]", DRAWN, grey=GREY).train
    assert train is not None
    whole = everything(train, epoch=4)["v"]
    rows = torch.tensor([39, 0, 7, 7, 12])
    assert torch.equal(train.batch(rows, 4)["v"], whole[rows])
    assert torch.equal(train.batch(torch.tensor([7]), 4)["v"][0], whole[7])


def test_training_rows_are_drawn_each_epoch_and_others_once(loads: Loads) -> None:
    loaded = loads("v : bernoulli[2, 3]", DRAWN, grey=GREY)
    first, second = (everything(loaded.train, epoch)["v"] for epoch in (0, 1))
    assert not torch.equal(first, second)
    assert torch.equal(first, everything(loads("v : bernoulli[2, 3]", DRAWN).train, 0)["v"])
    for split in (loaded.valid, loaded.test):
        assert torch.equal(everything(split, 0)["v"], everything(split, 9)["v"])
        assert split is not None
        assert split.values["v"].stored.dtype == torch.uint8
    assert not torch.equal(everything(loaded.valid)["v"], everything(loaded.test)["v"])
    assert not torch.equal(first, everything(loads("v : bernoulli[2, 3]", DRAWN, seed=1).train, 0)["v"])


def test_variables_are_drawn_independently(loads: Loads) -> None:
    types, half = "v : bernoulli[8]\nw : bernoulli[8]", np.full((500, 8), 0.5)
    batch = everything(loads(types, 'data npz("data.npz") { v = x | binarize  w = x | binarize }', x=half).train)
    share = float((batch["v"] == batch["w"]).double().mean())
    assert abs(share - 0.5) < 6 * 0.5 / 4000**0.5


def test_what_follows_a_draw_runs_each_epoch(loads: Loads) -> None:
    data = 'data npz("data.npz") { v = grey | scale(1/255) | binarize | spin | flatten }'
    train = loads("v : spin[6]", data, grey=GREY).train
    assert train is not None
    plain = loads("v : bernoulli[2, 3]", 'data npz("data.npz") { v = grey | scale(1/255) | binarize }').train
    assert torch.equal(everything(train, 3)["v"], 2 * everything(plain, 3)["v"] - 1)


def test_masks_after_a_draw_belong_to_their_rows(loads: Loads) -> None:
    seen = np.ones((40, 2, 3), dtype=np.uint8)
    data = 'data npz("data.npz") { v = grey | scale(1/255) | binarize | mask(seen) }'
    masked = loads("v : bernoulli[2, 3]", data, grey=GREY, seen=seen).train
    plain = loads("v : bernoulli[2, 3]", 'data npz("data.npz") { v = grey | scale(1/255) | binarize }').train
    assert torch.equal(everything(masked, 2)["v"], everything(plain, 2)["v"])


# ── Means ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_mean_of_fixed_values(loads: Loads) -> None:
    types, data = "v : bernoulli[2, 3]\ny : categorical(4)", 'data npz("data.npz") { v = bits  y = label }'
    train = loads(types, data, bits=BITS, label=LABEL).train
    assert train is not None
    assert np.allclose(train.mean("v"), BITS.reshape(40, 6).mean(axis=0), rtol=1e-14)
    assert np.allclose(train.mean("y"), np.bincount(LABEL, minlength=4) / 40, rtol=1e-14)


def test_mean_of_drawn_values_is_that_of_the_probabilities(loads: Loads) -> None:
    p = GREY.reshape(40, 6) / 255
    types = "v : bernoulli[6]\ns : spin[6]\ny : categorical(2)[6]\nt : bernoulli[6]"
    data = """data npz("data.npz") { v = grey | flatten | scale(1/255) | binarize
      s = grey | flatten | scale(1/255) | binarize | spin  y = grey | flatten | scale(1/255) | binarize
      t = grey | scale(1/255) | binarize | flatten }"""
    train = loads(types, data, dtype=torch.float64, grey=GREY).train
    assert train is not None
    assert np.allclose(train.mean("v"), p.mean(axis=0))
    assert np.allclose(train.mean("s"), 2 * p.mean(axis=0) - 1)
    assert np.allclose(train.mean("y"), np.stack((1 - p, p), axis=2).reshape(40, 12).mean(axis=0))
    assert torch.allclose(train.mean("t"), everything(train)["t"].mean(dim=0))


# ── Constants ────────────────────────────────────────────────────────────────────────────────────────────────────────

STANDARD = 'data npz("data.npz") { v = a | standardize  test v = b | standardize }'
A, B = RNG.normal(5.0, 2.0, (30, 3)), RNG.normal(9.0, 1.0, (20, 3))


def test_other_rows_are_standardized_by_the_training_rows(loads: Loads) -> None:
    loaded = loads("v : normal[3]", STANDARD, dtype=torch.float64, a=A, b=B)
    assert set(loaded.constants) == {"v.0.mean", "v.0.std"}
    assert np.allclose(everything(loaded.train)["v"], (A - A.mean(axis=0)) / A.std(axis=0))
    assert np.allclose(everything(loaded.test)["v"], (B - A.mean(axis=0)) / A.std(axis=0))


def test_stored_constants_take_the_place_of_training_rows(loads: Loads) -> None:
    loaded = loads("v : normal[3]", STANDARD, a=A, b=B)
    again = loads("v : normal[3]", STANDARD, a=A[:10], b=B, constants=dict(loaded.constants))
    assert torch.equal(everything(loaded.test)["v"], everything(again.test)["v"])
    assert torch.equal(everything(loaded.train)["v"][:10], everything(again.train)["v"])
    alone = 'data npz("data.npz") { test v = b | standardize }'
    tested = loads("v : normal[3]", alone, constants=dict(loaded.constants))
    assert torch.equal(everything(loaded.test)["v"], everything(tested.test)["v"])


def test_standardize_needs_training_rows(refused: Refused) -> None:
    found = refused("v : normal[3]", 'data npz("data.npz") { test v = b | standardize }', b=B)
    assert found.code == "GM660"
    assert found.span is not None
    assert found.span.text == "standardize"
    assert found.help == "end the line `v = ...` with `| standardize` too"


# ── What can be wrong ────────────────────────────────────────────────────────────────────────────────────────────────


def check(found: Diagnostic, code: str, at: str, message: str, help: str | None = None) -> None:
    """A diagnostic has the code, stands at the text `at` and says these things."""
    assert found.code == code
    assert found.span is not None
    assert found.span.text == at
    assert re.search(message, found.message), found.message
    assert help is None or re.search(help, found.help or ""), found.help


def test_missing_file(refused: Refused) -> None:
    found = refused("v : bernoulli[2]", 'data npz("nowhere.npz") { v = x }')
    check(found, "GM650", 'npz("nowhere.npz")', "there is no `nowhere.npz`", "--data")


def test_pickled_array(refused: Refused) -> None:
    found = refused("v : bernoulli[2]", 'data npz("data.npz") { v = x }', x=np.array([[0], [0, 1]], dtype=object))
    check(found, "GM652", 'npz("data.npz")', "`x` in `data.npz`", "np.savez")


def test_wrong_column(refused: Refused) -> None:
    found = refused("v : bernoulli[8, 8]", "data digits { v = imgae | threshold(0.5) }")
    check(found, "GM654", "imgae", "no column `imgae`", "did you mean `image`")
    found = refused("v : bernoulli[8, 8]", "data digits { v = x | threshold(0.5) }")
    check(found, "GM654", "x", "no column `x`", "`image`, `label`\n.*held_out = 360")
    found = refused("v : bernoulli[8, 8]", "data digits { v = image | threshold(0.5) | mask(sene) }")
    check(found, "GM654", "mask(sene)", "no column `sene`")


def test_no_rows(refused: Refused) -> None:
    data = 'data npz("data.npz") { v = x }'
    for x in (np.zeros((0, 2)), np.float64(1.0), np.zeros((2, 0))):
        check(refused("v : bernoulli[2]", data, x=np.asarray(x)), "GM653", "x", "`x` is empty")


def test_not_numbers(refused: Refused) -> None:
    data = 'data npz("data.npz") { v = x }'
    check(refused("v : bernoulli", data, x=np.array(["a", "b"])), "GM655", "x", "does not hold numbers: text")
    check(refused("v : bernoulli", data, x=np.array([1j])), "GM655", "x", "complex128")
    check(refused("v : bernoulli", data, x=np.array(["2020-01-01"], dtype="M8[D]")), "GM655", "x", "datetime64")


@pytest.mark.parametrize(
    ("type_", "shape", "fitting"),
    [
        ("bernoulli[6]", (2, 3), "flatten"),
        ("bernoulli[1, 2, 3]", (2, 3), "unsqueeze(0)"),
        ("bernoulli[2, 3, 1]", (2, 3), "unsqueeze(2)"),
        ("bernoulli[3, 4, 2]", (4, 2, 3), "channels_first"),
        ("bernoulli[16]", (2,), "unpack_bits"),
        ("bernoulli[16]", (1, 2), "unpack_bits | flatten"),
        ("bernoulli[1, 16]", (2,), "unpack_bits | unsqueeze(0)"),
        ("bernoulli[1, 6]", (2, 3), "flatten | unsqueeze(0)"),
    ],
)
def test_wrong_shape_names_what_would_fit(refused: Refused, type_: str, shape: tuple[int, ...], fitting: str) -> None:
    found = refused(f"v : {type_}", 'data npz("data.npz") { v = x }', x=np.zeros((5, *shape), dtype=np.uint8))
    check(found, "GM656", "v = x", re.escape(f"shape {list(shape)}, but `v` has"), f"^add `\\| {re.escape(fitting)}`$")
    assert found.related[0].span.text == f"observed v : {type_}"


def test_wrong_shape_that_nothing_mends(refused: Refused) -> None:
    found = refused("v : bernoulli[3, 2]", 'data npz("data.npz") { v = x }', x=np.zeros((5, 2, 3)))
    check(found, "GM656", "v = x", r"shape \[2, 3\], but `v` has \[3, 2\]", r"declare `v` with \[2, 3\]")
    found = refused("v : bernoulli", 'data npz("data.npz") { v = x }', x=np.zeros((5, 1)))
    check(found, "GM656", "v = x", r"shape \[1\], but `v` has no axes")


def test_missing_values(refused: Refused) -> None:
    x = np.zeros((5, 2, 2))
    x[3, 1, 0] = x[4] = np.nan
    found = refused("v : bernoulli[2, 2]", 'data npz("data.npz") { v = x }', x=x)
    check(
        found, "GM657", "v = x", r"^5 values are missing \(NaN\) of the 20 for `v`; the first is in row 3 at \[1, 0\]$"
    )
    seen = np.array([1, 1, 0, 1, 1])
    data = 'data npz("data.npz") { v = x | scale(0) | mask(seen) }'
    check(refused("v : normal[2]", data, x=np.ones((5, 2)), seen=seen), "GM657", data[23:-2], "^2 values .* row 2")
    drawn = 'data npz("data.npz") { v = x | binarize | mask(seen) }'
    check(refused("v : bernoulli[2]", drawn), "GM657", drawn[23:-2], "^2 values .* row 2")


@pytest.mark.parametrize(
    ("type_", "value", "message", "help"),
    [
        ("bernoulli[2]", 0.5, r"takes 0 or 1, but row 3 has 0\.5 at \[1\]$", "binarize.*threshold"),
        ("bernoulli[2]", 255, "row 3 has 255", r"scale\(1/255\)"),
        ("bernoulli[2]", 16, "row 3 has 16", r"scale\(1/16\)"),
        ("bernoulli[2]", -1, "row 3 has -1", "threshold"),
        ("spin[2]", 1, r"row 0 has 0 at \[0\] \(9 values are outside\)", r"^`\| spin`"),
        ("spin[2]", 0.5, "row 0 has 0", r"threshold\(0\.5\) \| spin"),
        ("categorical(3)[2]", 3, "row 3 has 3", r"`categorical\(4\)` would"),
        ("categorical(3)[2]", 0.5, r"row 3 has 0\.5", "whole number"),
        ("categorical(3)[2]", -1, "row 3 has -1", "whole number"),
        ("normal[2]", np.inf, "row 3 has inf", None),
    ],
)
def test_values_outside_the_support(refused: Refused, type_: str, value: float, message: str, help: str | None) -> None:
    x = np.zeros((5, 2))
    x[3, 1] = value
    found = refused(f"v : {type_}", 'data npz("data.npz") { v = x }', x=x)
    check(found, "GM658", "v = x", message, help)
    assert found.related[0].span.text == f"observed v : {type_}"


def test_values_that_a_draw_leaves_outside(refused: Refused) -> None:
    x = np.full((50, 2), 0.5)
    check(
        refused("v : spin[2]", 'data npz("data.npz") { v = x | binarize }', x=x), "GM658", "v = x | binarize", "row 0"
    )
    tested = 'data npz("data.npz") { test v = x | binarize | scale(2) }'
    check(refused("v : bernoulli[2]", tested), "GM658", tested[23:-2], "has 2 ")


def test_labels_out_of_range(refused: Refused) -> None:
    found = refused("y : categorical(9)", "data digits { y = label }")
    check(found, "GM658", "y = label", r"but row 9 has 9 \(180 values are outside\)", r"categorical\(10\)")


def test_transforms_that_do_not_fit(refused: Refused) -> None:
    grey = 'data npz("data.npz") { v = grey | binarize }'
    found = refused("v : bernoulli[2, 3]", grey, grey=GREY)
    check(found, "GM660", "binarize", r"takes probabilities.*row 0 has", r"scale\(1/255\)")
    late = GREY.copy() // 255
    late[31, 0, 2] = 7
    check(refused("v : bernoulli[2, 3]", grey, grey=late), "GM660", "binarize", "row 31 has 7")
    packed = 'data npz("data.npz") { v = grey | scale(1) | unpack_bits }'
    check(refused("v : bernoulli[2, 24]", packed), "GM660", "unpack_bits", "bytes", "first in the pipe")
    spun = 'data npz("data.npz") { v = grey | spin }'
    check(refused("v : spin[2, 3]", spun), "GM660", "spin", "row 31 has 7")


def test_rows_that_differ(refused: Refused) -> None:
    types = "v : bernoulli[2, 3]\ny : categorical(4)"
    found = refused(types, 'data npz("data.npz") { v = bits  y = label }', bits=BITS, label=LABEL[:30])
    check(found, "GM659", "y = label", "`y` has 30 rows, but `v` has 40")
    assert found.related[0].span.text == "v = bits"
    masked = 'data npz("data.npz") { v = bits | mask(label) }'
    check(refused("v : bernoulli[2, 3]", masked), "GM659", "mask(label)", "`label` has 30 rows, but `bits` has 40")


def test_all_mistakes_are_told_at_once(loads: Loads) -> None:
    types = "v : bernoulli[2, 3]\ny : categorical(2)"
    data = 'data npz("data.npz") { v = bist  test v = bits | flatten  y = label  test y = label | standardize }'
    with pytest.raises(GmcError) as caught:
        loads(types, data, bits=BITS, label=LABEL)
    assert [found.code for found in caught.value.diagnostics] == ["GM654", "GM658"]


def test_a_file_without_data_has_none(loads: Loads) -> None:
    assert loads("v : bernoulli[2, 3]", "") == Datasets()


# ── Order ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_order_is_a_permutation_that_depends_on_its_arguments_alone() -> None:
    first = order(1000, 5, "joint", 2)
    assert first.dtype == torch.int64
    assert first.sort().values.tolist() == list(range(1000))
    assert torch.equal(first, order(1000, 5, "joint", 2))
    for other in (order(1000, 6, "joint", 2), order(1000, 5, "pretrain", 2), order(1000, 5, "joint", 3)):
        # a random permutation has one fixed point on average, more than 12 with chance 1e-10
        assert int((other == first).sum()) <= 12
    assert int((first == torch.arange(1000)).sum()) <= 12
    assert order(1, 0, "a", 0).tolist() == [0]


def test_orders_are_uniform() -> None:
    counts = np.zeros((4, 4))
    n = 1200
    for epoch in range(n):
        counts[np.arange(4), order(4, 0, "s", epoch).numpy()] += 1
    # each place holds each row a quarter of the time; six standard deviations
    assert (np.abs(counts - n / 4) < 6 * (n * 3 / 16) ** 0.5).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["binarized_mnist", "mnist"])
def test_data_sets_beside_the_project(loads: Loads, name: str) -> None:
    path = Path(__file__).parents[2].parent / "shared" / "data" / f"{name}.npz"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    pipe = "x_train | unpack_bits" if name == "binarized_mnist" else "x_train | scale(1/255) | flatten | binarize"
    train = loads("v : bernoulli[784]", f'data npz("{path}") {{ v = {pipe} }}').train
    assert train is not None
    assert abs(float(train.mean("v").mean()) - (0.130562 if name == "binarized_mnist" else 33.3184 / 255)) < 1e-6
