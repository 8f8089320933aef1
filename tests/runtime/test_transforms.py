"""Transforms: what they do to values, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gmc.compiler.draws import row_keys
from gmc.runtime.transform import Misfit, Rows, Transform
from gmc.runtime.transforms.binarize import Binarize
from gmc.runtime.transforms.channels_first import ChannelsFirst
from gmc.runtime.transforms.flatten import Flatten
from gmc.runtime.transforms.mask import Mask
from gmc.runtime.transforms.scale import Scale
from gmc.runtime.transforms.spin import Spin
from gmc.runtime.transforms.standardize import Standardize
from gmc.runtime.transforms.threshold import Threshold
from gmc.runtime.transforms.unpack_bits import UnpackBits
from gmc.runtime.transforms.unsqueeze import Unsqueeze

NAN = float("nan")


def given(count: int = 1, epoch: int = 0, site: int = 0, **others: torch.Tensor) -> Rows:
    return Rows(row_keys(7, "data/train/v", torch.arange(count)), epoch, site, others)


def same(a: torch.Tensor, b: torch.Tensor | list[object]) -> bool:
    return bool(np.array_equal(a.numpy(), np.asarray(b), equal_nan=True))


def test_scale_of_bytes_ends_at_one_exactly() -> None:
    for most in range(1, 256):
        x = torch.arange(most + 1, dtype=torch.uint8).unsqueeze(1)
        y = Scale(factor=1 / most).apply(x, given())
        assert y.dtype == torch.float64
        assert float(y.max()) <= 1.0
        assert float(y.max()) > 1.0 - 1e-15
        assert torch.equal((y * most).round().to(torch.uint8), x)


def test_threshold_includes_the_level_and_keeps_what_is_missing() -> None:
    x = torch.tensor([[0.0, 0.5, 0.49, NAN]])
    assert same(Threshold(level=0.5).apply(x, given()), [[0, 1, 0, NAN]])
    whole = Threshold(level=127.5).apply(torch.tensor([[127, 128]], dtype=torch.uint8), given())
    assert whole.dtype == torch.uint8
    assert whole.tolist() == [[0, 1]]


def test_binarize_has_the_probabilities_it_is_given() -> None:
    p = torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0])
    n = 40_000
    x = Binarize().apply(p.repeat(n, 1), given(n))
    count = x.to(torch.float64).sum(dim=0)
    assert set(x.unique().tolist()) == {0.0, 1.0}
    assert (float(count[0]), float(count[4])) == (0.0, n)
    # six standard deviations: a false alarm in 2e-9 for each of three
    assert bool(((count - n * p).abs() <= 6 * (n * p * (1 - p)).sqrt()).all())


def test_binarize_draws_by_row_site_and_epoch() -> None:
    p = torch.full((50, 40), 0.5)
    first = Binarize().apply(p, given(50))
    assert torch.equal(first, Binarize().apply(p, given(50)))
    for other in (given(50, epoch=1), given(50, site=1)):
        share = float((first == Binarize().apply(p, other)).float().mean())
        assert abs(share - 0.5) < 6 * 0.5 / 2000**0.5
    assert len({tuple(row.tolist()) for row in first}) == 50
    assert same(Binarize().apply(torch.tensor([[NAN, 1.0]]), given()), [[NAN, 1.0]])


@pytest.mark.parametrize("value", [1.5, -0.25, 255.0])
def test_binarize_refuses_what_is_no_probability(value: float) -> None:
    x = torch.tensor([[0.5, 1.0], [NAN, value]])
    with pytest.raises(Misfit, match=f"{value:g}") as caught:
        Binarize().check(x, given(2))
    assert caught.value.row == 1
    assert (caught.value.help is not None) == (value > 1)
    Binarize().check(x[:1], given())


def test_shapes() -> None:
    x = torch.arange(24, dtype=torch.uint8).reshape(1, 2, 3, 4)
    assert torch.equal(Flatten().apply(x, given()), torch.arange(24, dtype=torch.uint8).unsqueeze(0))
    assert Flatten().apply(torch.zeros(5), given()).shape == (5, 1)
    assert torch.equal(ChannelsFirst().apply(x, given()), x.permute(0, 3, 1, 2))
    for axis, shape in {0: (1, 2, 3, 4), 1: (2, 1, 3, 4), 3: (2, 3, 4, 1), -1: (2, 3, 4, 1), -4: (1, 2, 3, 4)}.items():
        step = Unsqueeze(axis=axis)
        step.check(x, given())
        assert step.apply(x, given()).shape == (1, *shape)


@pytest.mark.parametrize("axis", [4, -5])
def test_unsqueeze_refuses_an_axis_out_of_range(axis: int) -> None:
    with pytest.raises(Misfit, match="between -4 and 3"):
        Unsqueeze(axis=axis).check(torch.zeros(1, 2, 3, 4), given())


def test_channels_first_refuses_other_than_three_axes() -> None:
    with pytest.raises(Misfit, match=r"\[28, 28\]"):
        ChannelsFirst().check(torch.zeros(1, 28, 28), given())


def test_unpack_bits_is_numpys() -> None:
    x = np.random.default_rng(0).integers(0, 256, (5, 3, 11), dtype=np.uint8)
    assert same(UnpackBits().apply(torch.from_numpy(x), given()), np.unpackbits(x, axis=-1))
    for wrong in (torch.zeros(2, 3), torch.zeros(2, dtype=torch.uint8), torch.zeros(2, 3, dtype=torch.int16)):
        with pytest.raises(Misfit):
            UnpackBits().check(wrong, given())


def test_standardize_in_parts_is_numpys_mean_and_deviation() -> None:
    x = np.random.default_rng(1).normal(1e6, [1.0, 20.0, 0.1], (1000, 3))
    x[:, 1][::3] = np.nan
    fitted = Standardize().fit(torch.from_numpy(part) for part in np.split(x, [1, 10, 700]))
    assert np.allclose(fitted["mean"], np.nanmean(x, axis=0), rtol=1e-14)
    assert np.allclose(fitted["std"], np.nanstd(x, axis=0), rtol=1e-9)
    rows = Rows(torch.empty((0, 2), dtype=torch.int32), 0, 0, constants=fitted)
    y = Standardize().apply(torch.from_numpy(x), rows).numpy()
    assert np.allclose(np.nanmean(y, axis=0), 0, atol=1e-8)  # what float64 leaves of 1e6 over 0.1
    assert np.allclose(np.nanstd(y, axis=0), 1)
    assert (np.isnan(y) == np.isnan(x)).all()


def test_standardize_only_shifts_what_never_varies() -> None:
    x = torch.full((7, 2), 0.1, dtype=torch.float64)
    x[:, 1] = NAN
    fitted = Standardize().fit([x[:3], x[3:]])
    assert fitted["std"].tolist() == [1.0, 1.0]
    assert abs(float(fitted["mean"][0]) - 0.1) < 1e-15


def test_standardize_refuses_rows_of_another_shape() -> None:
    fitted = Standardize().fit([torch.rand(5, 2)])
    rows = Rows(torch.empty((0, 2), dtype=torch.int32), 0, 0, constants=fitted)
    with pytest.raises(Misfit, match=r"\[2\].*\[3\]"):
        Standardize().check(torch.rand(5, 3), rows)


def test_spin() -> None:
    assert Spin().apply(torch.tensor([[0, 1]], dtype=torch.uint8), given()).tolist() == [[-1, 1]]
    assert same(Spin().apply(torch.tensor([[0.0, 1.0, NAN]]), given()), [[-1, 1, NAN]])
    Spin().check(torch.tensor([[0.0, 1.0, NAN]]), given())
    with pytest.raises(Misfit, match=r"0\.5"):
        Spin().check(torch.tensor([[0.0, 0.5]]), given())


def test_mask_hides_sites_or_whole_rows() -> None:
    x = torch.tensor([[1, 2], [3, 4]], dtype=torch.uint8)
    step = Mask(column="seen")
    assert step.columns == ("seen",)
    sites, rows = given(2, seen=torch.tensor([[1, 0], [2, 1]])), given(2, seen=torch.tensor([0.0, 1.0]))
    step.check(x, sites)
    step.check(x, rows)
    assert same(step.apply(x, sites), [[1, NAN], [3, 4]])
    assert same(step.apply(x, rows), [[NAN, NAN], [3, 4]])
    with pytest.raises(Misfit, match=r"\[2\].*\[3\]"):
        step.check(x, given(2, seen=torch.zeros(2, 3)))


@pytest.mark.parametrize(
    "step", [Scale(factor=2), Threshold(level=0.5), Binarize(), Spin(), Flatten(), Unsqueeze(axis=0)], ids=str
)
def test_values_are_left_as_they_were(step: Transform) -> None:
    x = torch.tensor([[0.0, 1.0]])
    step.apply(x, given())
    assert x.tolist() == [[0.0, 1.0]]
