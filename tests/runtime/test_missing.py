"""Missing values: NaN through transforms, storage, means and batches; who may lack what, and what is said where a chain needs it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

import gmc.runtime.words  # noqa: F401 - fills the vocabulary
from gmc.compiler.draws import row_keys
from gmc.compiler.driver import Compiled, compile_checked
from gmc.compiler.families.bernoulli import Bernoulli
from gmc.compiler.families.categorical import Categorical
from gmc.compiler.graph import family
from gmc.dsl.check import load_source
from gmc.dsl.diagnostic import Diagnostic, GmcError, Severity
from gmc.dsl.source import Source
from gmc.dsl.vocabulary import VOCABULARY
from gmc.runtime import missing
from gmc.runtime.dataset import Dataset, Datasets
from gmc.runtime.initial import initial_parameters
from gmc.runtime.pipe import compact
from gmc.runtime.tensor_data import TensorData
from gmc.runtime.train import Trainer
from gmc.runtime.transform import Rows, Transform
from gmc.runtime.transforms.binarize import Binarize
from gmc.runtime.transforms.channels_first import ChannelsFirst
from gmc.runtime.transforms.crop import Crop
from gmc.runtime.transforms.flatten import Flatten
from gmc.runtime.transforms.mask import Mask
from gmc.runtime.transforms.scale import Scale
from gmc.runtime.transforms.spin import Spin
from gmc.runtime.transforms.standardize import Standardize
from gmc.runtime.transforms.threshold import Threshold
from gmc.runtime.transforms.unsqueeze import Unsqueeze

Loads = Callable[..., Datasets]
Refused = Callable[..., Diagnostic]

NAN = float("nan")
RNG = np.random.default_rng(5)
HOLES = RNG.random((40, 2, 3)) < 0.3
GREY = np.where(HOLES, np.nan, RNG.random((40, 2, 3)))
ABSENT = torch.from_numpy(HOLES.reshape(40, 6))
FLAWLESS = RNG.random((40, 2, 3))
LABEL = np.where(RNG.random(40) < 0.3, np.nan, RNG.integers(0, 4, 40).astype(np.float64))
ASKS = "\nchain fill { clamp v where observed }"


def everything(split: Dataset | None, epoch: int = 0) -> dict[str, Tensor]:
    assert split is not None
    return split.batch(torch.arange(split.rows), epoch)


def compiled(chains: str, stages: str = "", variables: str = "observed v : bernoulli[4]") -> Compiled:
    """A model of v and more, with a latent h; its data are never read."""
    names = [line.split()[1] for line in variables.split("\n") if line.strip()]
    edges = "  ".join(f"edge {name} -- h" for name in names)
    data = f'data npz("none.npz") {{ {"  ".join(f"{name} = {name}" for name in names)} }}'
    text = f"model m {{\n{variables}\nlatent h : bernoulli[2]\n{edges}\n}}\n{data}\n{chains}\n{stages}\n"
    return compile_checked(load_source(Source("m.gm", text), {}, None).checked)


# ── Transforms ───────────────────────────────────────────────────────────────────────────────────────────────────────

CARRY: list[tuple[Transform, Callable[[Tensor], Tensor]]] = [
    (Binarize(), lambda x: x),
    (ChannelsFirst(), lambda x: x.movedim(-1, 1)),
    (Crop(height=2, width=2, left=1), lambda x: x[..., :2, 1:3]),
    (Flatten(), lambda x: x.reshape(len(x), -1)),
    (Mask(column="seen"), lambda x: x),
    (Scale(factor=0.5), lambda x: x),
    (Spin(), lambda x: x),
    (Standardize(), lambda x: x),
    (Threshold(level=0.5), lambda x: x),
    (Unsqueeze(axis=0), lambda x: x.unsqueeze(1)),
]


@pytest.mark.parametrize(("transform", "moved"), CARRY, ids=[step.word for step, _ in CARRY])
def test_every_transform_carries_what_is_missing(transform: Transform, moved: Callable[[Tensor], Tensor]) -> None:
    holes = torch.rand((20, 4, 5, 3), generator=torch.Generator().manual_seed(1)) < 0.3
    whole = (torch.rand(holes.shape, generator=torch.Generator().manual_seed(2)) < 0.5).to(torch.float32)
    x = whole.masked_fill(holes, NAN)
    keys, others = row_keys(0, "data/train/v", torch.arange(20)), {"seen": torch.ones(20)}
    rows = Rows(keys, 0, 0, others, transform.fit([x]) if transform.fits else {})
    transform.check(x, rows)
    found = transform.apply(x, rows)
    assert torch.equal(found.isnan(), moved(holes))
    # what is there comes out as if nothing were missing
    if not transform.fits:
        expected = transform.apply(whole, rows)
        assert torch.equal(found[~found.isnan()], expected.to(found.dtype)[~found.isnan()])


def test_no_transform_is_left_out() -> None:
    # bytes alone have bits, and no byte is missing
    assert {step.word for step, _ in CARRY} == set(VOCABULARY.names("transform")) - {"unpack_bits"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_compact_storage_keeps_what_is_missing(dtype: torch.dtype) -> None:
    for values in ([0.0, NAN, 1.0], [NAN, NAN], [-3.0, NAN], [0.5, NAN]):
        x = torch.tensor(values, dtype=torch.float64)
        found = compact(x, dtype)
        assert torch.equal(found.isnan(), x.isnan())
        assert torch.equal(found[~found.isnan()].to(torch.float64), x[~x.isnan()])


# ── Statistics ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Watchful(Categorical):
    """A family that would not survive a missing value."""

    def encode(self, values: Tensor) -> Tensor:
        assert not bool(self.unclaimed(values).any())
        return super().encode(values)


def test_families_never_see_what_is_missing() -> None:
    kind = Watchful(k=3)
    values = torch.tensor([[2.0, NAN], [NAN, 0.0], [NAN, NAN]], dtype=torch.float64)
    found = missing.encode(kind, values)
    assert found.dtype == torch.float64
    n = [NAN] * 3
    expected = torch.tensor([[0, 0, 1, *n], [*n, 1, 0, 0], [*n, *n]], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    assert missing.encode(kind, values[2:]).shape == (1, 6)
    assert missing.encode(kind, values[2:]).isnan().all()
    whole = torch.tensor([[2, 1]])
    assert torch.equal(missing.encode(kind, whole), kind.encode(whole))


def test_means_are_of_what_is_there() -> None:
    kind = Categorical(k=2)
    total = torch.tensor([1.0, 3.0, 0.0, 0.0, 2.0, 0.0], dtype=torch.float64)
    count = torch.tensor([4, 4, 0, 0, 2, 2])
    # the site that no row has: the mean of (1/4, 3/4) and (1, 0)
    assert missing.observed_mean(kind, total, count).tolist() == [0.25, 0.75, 0.625, 0.375, 1.0, 0.0]
    assert missing.observed_mean(kind, total * 0, count * 0).isnan().all()
    assert missing.observed_mean(Bernoulli(), total, count + 4).tolist() == (total / (count + 4)).tolist()


def test_rows_are_grouped_by_what_they_have() -> None:
    model = compiled("", variables="observed v : bernoulli[4]\nobserved y : categorical(3)[2]").checked.model
    generator = torch.Generator().manual_seed(3)
    holes = torch.rand((50, 6), generator=generator) < 0.5
    v = torch.ones(50, 4).masked_fill(holes[:, :4], NAN)
    y = torch.ones(50, 6).masked_fill(holes[:, 4:].repeat_interleave(3, dim=1), NAN)
    seen = torch.zeros(50, dtype=torch.int64)
    for rows, regions in missing.patterns({"v": v, "y": y}, model):
        seen[rows] += 1
        for row in rows:
            for name, here in (("v", ~holes[row, :4]), ("y", ~holes[row, 4:])):
                sites = regions[name].sites.tolist() if name in regions else []
                assert sites == here.nonzero()[:, 0].tolist()
    assert (seen == 1).all()
    ((rows, regions),) = missing.patterns({"v": torch.ones(3, 4)}, model)
    assert rows.tolist() == [0, 1, 2]
    assert regions["v"].whole


# ── Loading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("type_", "column", "pipe", "value"),
    [
        ("bernoulli[2, 3]", "grey", "threshold(0.5)", lambda x: (x >= 0.5) * 1.0),
        ("bernoulli[6]", "grey", "flatten | threshold(0.5)", lambda x: (x >= 0.5) * 1.0),
        ("spin[2, 3]", "grey", "threshold(0.5) | spin", lambda x: (x >= 0.5) * 2.0 - 1.0),
        ("normal[2, 3]", "grey", "scale(3)", lambda x: 3 * x),
        ("normal[2, 3]", "grey", "standardize", lambda x: (x - np.nanmean(x, 0)) / np.nanstd(x, 0)),
    ],
)
def test_batches_have_nan_where_a_value_is_missing(
    loads: Loads, type_: str, column: str, pipe: str, value: Callable[[np.ndarray], np.ndarray]
) -> None:
    data = f'data npz("data.npz") {{ v = {column} | {pipe} }}{ASKS}'
    train = loads(f"v : {type_}", data, dtype=torch.float64, grey=GREY).train
    assert train is not None
    found = everything(train)["v"]
    assert torch.equal(found.isnan(), ABSENT)
    expected = value(GREY).reshape(40, 6)[~HOLES.reshape(40, 6)]
    np.testing.assert_allclose(found[~ABSENT].numpy(), expected, rtol=1e-12)
    gaps = train.gaps("v")
    assert gaps is not None
    assert torch.equal(gaps, ABSENT.any(0))
    rows = torch.tensor([7, 3])
    np.testing.assert_array_equal(train.external("v", rows, 0).reshape(2, 6).isnan(), ABSENT[rows])


def test_missing_labels(loads: Loads) -> None:
    data = 'data npz("data.npz") { v = label }' + ASKS
    train = loads("v : categorical(4)", data, label=LABEL).train
    assert train is not None
    found = everything(train)["v"]
    here = ~np.isnan(LABEL)
    assert found[~here].isnan().all()
    assert found[here].tolist() == np.eye(4)[LABEL[here].astype(int)].tolist()
    np.testing.assert_allclose(train.mean("v"), np.bincount(LABEL[here].astype(int), minlength=4) / here.sum())


@pytest.mark.parametrize("seen", [RNG.integers(0, 2, (40, 2, 3)), RNG.integers(0, 2, 40)], ids=["sites", "rows"])
@pytest.mark.parametrize("drawn", [False, True])
def test_masked_columns(loads: Loads, seen: np.ndarray, drawn: bool) -> None:
    pipe = "binarize | mask(seen)" if drawn else "threshold(0.5) | mask(seen)"
    data = f'data npz("data.npz") {{ v = grey | {pipe}  test v = grey | {pipe} }}{ASKS}'
    loaded = loads("v : bernoulli[2, 3]", data, grey=FLAWLESS, seen=seen)
    hidden = np.broadcast_to(seen.reshape(40, *seen.shape[1:], *[1] * (3 - seen.ndim)) == 0, (40, 2, 3)).reshape(40, 6)
    plain = loads("v : bernoulli[2, 3]", data.replace(" | mask(seen)", ""), grey=FLAWLESS)
    for split, other in ((loaded.train, plain.train), (loaded.test, plain.test)):
        assert split is not None
        for epoch in (0, 3):
            found = everything(split, epoch)["v"]
            np.testing.assert_array_equal(found.isnan(), hidden)
            assert torch.equal(found[~found.isnan()], everything(other, epoch)["v"][~found.isnan()])
        gaps = split.gaps("v")
        assert gaps is not None
        np.testing.assert_array_equal(gaps, hidden.any(0))


def test_missing_probabilities_are_never_drawn(loads: Loads) -> None:
    data = 'data npz("data.npz") { v = grey | binarize  test v = grey | binarize }' + ASKS
    loaded = loads("v : bernoulli[2, 3]", data, dtype=torch.float64, grey=GREY)
    for split in (loaded.train, loaded.test):
        for epoch in range(3):
            found = everything(split, epoch)["v"]
            assert torch.equal(found.isnan(), ABSENT)
            assert set(found[~ABSENT].tolist()) == {0.0, 1.0}
    assert loaded.train is not None
    np.testing.assert_allclose(loaded.train.mean("v"), np.nanmean(GREY, 0).reshape(6))


def test_parts_do_not_matter(loads: Loads, monkeypatch: pytest.MonkeyPatch) -> None:
    late = FLAWLESS.copy()
    late[30:, 1, 2] = np.nan
    data = 'data npz("data.npz") { v = grey | threshold(0.5) }' + ASKS
    whole = loads("v : bernoulli[2, 3]", data, grey=late).train
    monkeypatch.setattr("gmc.runtime.loading.CHUNK", 13)
    parts = loads("v : bernoulli[2, 3]", data, grey=late).train
    assert whole is not None
    assert parts is not None
    torch.testing.assert_close(everything(whole), everything(parts), rtol=0, atol=0, equal_nan=True)
    for train in (whole, parts):
        gaps = train.gaps("v")
        assert gaps is not None
        assert gaps.tolist() == [False] * 5 + [True]


def test_data_without_gaps_have_none(loads: Loads) -> None:
    data = 'data npz("data.npz") { v = grey | threshold(0.5) }' + ASKS
    train = loads("v : bernoulli[2, 3]", data, grey=FLAWLESS).train
    assert train is not None
    assert train.gaps("v") is None
    assert train.values["v"].stored.dtype == torch.uint8


def test_first_biases_are_of_what_is_there(loads: Loads) -> None:
    x = np.array([[1, 0, np.nan], [1, 1, np.nan], [np.nan, 1, np.nan], [0, 1, np.nan]])
    data = 'data npz("data.npz") { v = x  w = y }\nchain fill { clamp v, w where observed }'
    loaded = loads("v : bernoulli[3]\nw : normal[2]", data, x=x, y=np.full((4, 2), np.nan))
    train = loaded.train
    assert train is not None
    # the third site is in no row: the mean of 2/3 and 3/4; nothing at all is known of w
    means = torch.tensor([2 / 3, 3 / 4, 17 / 24], dtype=torch.float64)
    torch.testing.assert_close(train.mean("v"), means)
    assert train.mean("w").isnan().all()
    model = compiled("", variables="observed v : bernoulli[3]\nobserved w : normal[2]")
    found = initial_parameters(model.graph, 0, train)
    torch.testing.assert_close(found["v.bias"], torch.logit(means))
    assert found["w.bias"].tolist() == [0, 0]


@pytest.mark.parametrize("part", [1 << 21, 13])
def test_variances_are_of_what_is_there(loads: Loads, part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gmc.runtime.loading.CHUNK", part)
    x = 1000 + GREY.reshape(40, 6)
    x[:, 5] = np.nan
    data = 'data npz("data.npz") { v = x }' + ASKS
    train = loads("v : normal[6]", data, dtype=torch.float64, x=x).train
    assert train is not None
    expected = np.nanvar(x[:, :5], axis=0)
    model = compiled("chain fill { clamp v where observed }", variables="observed v : normal[6]")
    given = TensorData.of(model, {"v": torch.from_numpy(x)}, torch.device("cpu"), torch.float64)
    for found in (train.variance("v"), given.variance("v")):
        np.testing.assert_allclose(found[:5], expected, rtol=1e-8)
        np.testing.assert_allclose(found[5], expected.mean(), rtol=1e-8)


# ── What may be missing ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("split", ["", "valid ", "test "])
def test_only_what_a_chain_clamps_where_observed_may_be_missing(refused: Refused, split: str) -> None:
    x = np.zeros((5, 2, 2))
    x[1, 0, 0] = x[3, 1, 1] = x[4, 1, 0] = np.nan
    data = f'data npz("data.npz") {{ {split}v = x }}'
    right = data + "\nchain right { clamp v[:, 1:] where observed }"
    found = refused("v : bernoulli[2, 2]", right, x=x)
    assert found.code == "GM657"
    assert found.message == "2 values are missing (NaN) of the 20 for `v`; the first is in row 1 at [0, 0]"
    assert found.help is not None
    assert "clamp v where observed" in found.help
    plain = data + "\nchain plain { clamp v }"
    assert refused("v : bernoulli[2, 2]", plain, x=x).message.startswith("3 values are missing")


def test_two_chains_may_ask_for_a_part_each(loads: Loads) -> None:
    data = 'data npz("data.npz") { v = x }'
    chains = "\nchain left { clamp v[0] where observed }\nchain right { clamp v[1] where observed }"
    x = np.array([[np.nan, 1], [0, np.nan]])
    assert everything(loads("v : bernoulli[2]", data + chains, x=x).train)["v"].isnan().sum() == 2


def test_values_outside_the_support_are_told_beside_gaps(refused: Refused) -> None:
    x = np.array([[0.0, np.nan], [3.0, 1.0]])
    found = refused("v : bernoulli[2]", 'data npz("data.npz") { v = x }' + ASKS, x=x)
    assert found.code == "GM658"
    assert "row 1 has 3 at [0]" in found.message
    assert "scale(1/3)" in (found.help or "")


# ── What chains need ─────────────────────────────────────────────────────────────────────────────────────────────────

GAPS = torch.tensor([[1.0, 0.0, 1.0, 0.0], [1.0, 1.0, 0.0, NAN], [NAN, 1.0, 1.0, 1.0]])


@pytest.mark.parametrize(
    ("chain", "code", "at"),
    [
        ("chain c { clamp v }", "GM661", "row 1 has no value of it at [3]"),
        ("chain c { clamp v[:1] }", "GM661", "row 2 has no value of it at [0]"),
        ("chain c { clamp v[:1]  clamp v[1:] where observed }", "GM661", "row 2"),
        ("chain c { start v from data  sweeps 1 }", "GM662", "row 1 has no value of it at [3]"),
        ("chain c { clamp v where observed }", None, ""),
        ("chain c { clamp v[1:3] }", None, ""),
        ("chain c { clamp v[0], v[3] where observed  clamp v[1:3] }", None, ""),
        ("chain c { clamp v = 1 }", None, ""),
        ("chain other { sweeps 1 }\nchain c { clamp v from other }", None, ""),
        ("chain c { clamp h from other }\nchain other { clamp v }", "GM661", "chain `other` clamps `v`"),
    ],
)
def test_what_a_chain_reads_must_be_there(chain: str, code: str | None, at: str) -> None:
    checked = compiled(chain).checked
    chains = checked.with_needs(["c"])
    if code is None:
        missing.refuse_gaps(checked.model, chains, {"v": GAPS})
        return
    with pytest.raises(GmcError) as caught:
        missing.refuse_gaps(checked.model, chains, {"v": GAPS})
    (found,) = caught.value.diagnostics
    assert found.code == code
    assert at in found.message
    assert found.span is not None
    assert found.help is not None


TRAIN = """objective nll = likelihood(positive = up, negative = down)
train { minimize nll using sgd(lr = 0.1)  batch 2  epochs 1 }"""


def tensors(model: Compiled, values: Tensor) -> TensorData:
    return TensorData.of(model, {"v": values}, torch.device("cpu"), torch.float32)


def test_training_names_the_first_row_that_lacks_something(monkeypatch: pytest.MonkeyPatch) -> None:
    chains = "chain up { clamp v }\nchain down { }\nchain fill { clamp v where observed }"
    model = compiled(chains, TRAIN)
    data = tensors(model, torch.cat((GAPS[:1], GAPS[:1], GAPS[:1], GAPS)))
    for part in (4096, 2):
        monkeypatch.setattr(missing, "PART", part)
        with pytest.raises(GmcError) as caught:
            Trainer(model, data, {}, 0)
        (found,) = caught.value.diagnostics
        assert found.code == "GM661"
        assert found.message == "chain `up` clamps `v`, but training row 4 has no value of it at [3]"
        assert found.span is not None
        assert found.span.text == "v"


def test_chains_that_no_stage_uses_may_need_more() -> None:
    chains = "chain up { clamp v where observed }\nchain down { }\nchain other { clamp v }"
    model = compiled(chains, TRAIN)
    missing.refuse_training_gaps(model.checked, tensors(model, GAPS))
    assert missing.needless(model.checked, tensors(model, GAPS)) == []


def test_a_start_of_a_chain_that_a_stage_compares() -> None:
    chains = "chain up { clamp v where observed }\nchain down { start data  sweeps 1 }"
    model = compiled(chains, TRAIN)
    with pytest.raises(GmcError) as caught:
        missing.refuse_training_gaps(model.checked, tensors(model, GAPS))
    (found,) = caught.value.diagnostics
    assert found.code == "GM662"
    assert found.message == "chain `down` starts `v` from the data, but training row 1 has no value of it at [3]"


@pytest.mark.parametrize("chain", ["clamp v where observed", "clamp v[1:3] where observed"])
def test_where_observed_of_what_every_row_has_is_a_warning(chain: str) -> None:
    model = compiled(f"chain up {{ {chain} }}\nchain down {{ }}", TRAIN)
    found = missing.needless(model.checked, tensors(model, GAPS[:1]))
    assert [d.code for d in found] == ["GM663"]
    assert found[0].severity is Severity.WARNING
    assert found[0].span is not None
    middle = GAPS.clone()
    middle[0, 1] = NAN
    assert missing.needless(model.checked, tensors(model, middle[:1])) == []


# ── Tensors ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_tensors_with_gaps() -> None:
    variables = "observed v : bernoulli[4]\nobserved y : categorical(3)"
    model = compiled("chain fill { clamp v, y where observed }", variables=variables)
    y = torch.tensor([NAN, 2.0, 1.0])
    data = TensorData.of(model, {"v": GAPS, "y": y}, torch.device("cpu"), torch.float32)
    batch = data.batch(torch.tensor([2, 0]), 0)
    torch.testing.assert_close(batch["v"], GAPS[[2, 0]], rtol=0, atol=0, equal_nan=True)
    expected = torch.tensor([[0, 1, 0], [NAN] * 3])
    torch.testing.assert_close(batch["y"], expected, rtol=0, atol=0, equal_nan=True)
    gaps = data.gaps("v"), data.gaps("y")
    assert gaps[0] is not None
    assert gaps[1] is not None
    assert gaps[0].tolist() == [True, False, False, True]
    assert gaps[1].tolist() == [True]
    assert data.mean("v").tolist() == pytest.approx([1, 2 / 3, 2 / 3, 0.5])
    assert data.mean("y").tolist() == [0, 0.5, 0.5]
    assert tensors(compiled("chain fill { clamp v where observed }"), GAPS[:1]).gaps("v") is None


def test_tensors_with_gaps_that_no_chain_asks_for() -> None:
    model = compiled("chain fill { clamp v[3] where observed }")
    with pytest.raises(GmcError) as caught:
        tensors(model, GAPS)
    (found,) = caught.value.diagnostics
    assert found.code == "GM657"
    assert found.message == "1 value is missing (NaN) of the 12 for `v`; the first is in row 2 at [0]"
    assert found.span is not None


def test_infinity_is_not_missing() -> None:
    model = compiled("chain fill { clamp v where observed }", variables="observed v : normal[2]")
    with pytest.raises(GmcError, match="GM715"):
        tensors(model, torch.tensor([[NAN, torch.inf]]))
    assert family(model.checked.model.variable("v")).width == 1
