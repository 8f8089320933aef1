"""Images: every site where it belongs, ranges by family, files whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

import gmc.runtime.words  # noqa: F401
from gmc.compiler.graph import FactorGraph, build_graph
from gmc.dsl.diagnostic import GmcError
from gmc.dsl.model import Edge, Model, Variable
from gmc.dsl.source import Source
from gmc.dsl.vocabulary import VOCABULARY, FactorWord, FamilyWord
from gmc.runtime.images import (
    FRAME,
    GAP,
    MISSING,
    NEGATIVE,
    PAUSE,
    POSITIVE,
    STATES,
    animate,
    curves,
    diverging,
    filters,
    grid,
    save_grid,
)

SPAN = Source("test.gm", "model").span(0, 5)
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def variable(name: str, kind: str, *shape: int, observed: bool = True, **arguments: object) -> Variable:
    word = VOCABULARY.get("family", kind)
    assert word is not None and issubclass(word, FamilyWord)
    return Variable(name, observed, word(**arguments), shape, SPAN)


def model(variables: list[Variable], *edges: tuple[str, str, str, dict[str, Any]]) -> FactorGraph:
    made = []
    for first, second, kind, arguments in edges:
        word = VOCABULARY.get("factor", kind)
        assert word is not None and issubclass(word, FactorWord)
        made.append(Edge(f"{first}_{second}", (first, second), word(**arguments), SPAN))
    return build_graph(Model("m", tuple(variables), tuple(made), SPAN))


def pixels(image: np.ndarray) -> list[list[tuple[int, ...]]]:
    return [[tuple(int(c) for c in pixel) for pixel in row] for row in image]


def test_tiles_stand_in_rows() -> None:
    v = variable("v", "bernoulli", 1, 2)
    image = grid(torch.tensor([[[1, 0]], [[0, 1]], [[1, 1]]]), v, columns=2, scale=1)
    assert pixels(image) == [
        [GAP] * 7,
        [GAP, WHITE, BLACK, GAP, BLACK, WHITE, GAP],
        [GAP] * 7,
        [GAP, WHITE, WHITE, GAP, GAP, GAP, GAP],
        [GAP] * 7,
    ]


def test_padding_and_scale() -> None:
    v = variable("v", "bernoulli", 2, 2)
    image = grid(np.eye(2)[None], v, padding=0, scale=3)
    assert image.shape == (6, 6, 3) and image.dtype == np.uint8
    assert np.array_equal(image[..., 0], np.kron(np.eye(2), np.ones((3, 3))) * 255)


def test_small_images_are_enlarged_and_large_ones_not() -> None:
    assert grid(np.zeros((1, 8, 8))).shape[0] == 160
    assert grid(np.zeros((1, 900, 900))).shape[:2] == (902, 902)


def test_grids_are_about_square() -> None:
    assert grid(np.zeros((100, 8, 8)), scale=1).shape[:2] == (91, 91)
    rows, columns, _ = grid(np.zeros((12, 2, 20)), scale=1).shape
    assert 0.5 < rows / columns < 2


def test_range_of_spins() -> None:
    v = variable("v", "spin", 1, 3)
    image = grid(torch.tensor([[[-1.0, 0.0, 1.0]]]), v, padding=0, scale=1)
    assert image[0, :, 0].tolist() == [0, 128, 255]


def test_range_of_means() -> None:
    v = variable("v", "bernoulli", 1, 2)
    assert grid(torch.tensor([[[0.2, 0.6]]]), v, padding=0, scale=1)[0, :, 0].tolist() == [51, 153]


def test_range_of_normals_leaves_outliers_out() -> None:
    values = np.linspace(-1, 1, 1000).reshape(1, 20, 50)
    values[0, 0, 0] = -1e6
    image = grid(values, variable("v", "normal", 20, 50), padding=0, scale=1)[..., 0]
    assert image[0, 0] == 0 and image[-1, -1] == 255
    assert abs(int(image[10, 0]) - 128) < 4
    flat = grid(np.full((1, 2, 2), 7.0), variable("w", "normal", 2, 2), padding=0, scale=1)
    assert (flat == 128).all()


def test_states_have_colours() -> None:
    v = variable("v", "categorical", 1, 3, k=3)
    assert pixels(grid(torch.tensor([[[2, 0, 1]]]), v, padding=0, scale=1)) == [[STATES[2], STATES[0], STATES[1]]]
    shares = torch.zeros(1, 1, 3, 3)
    shares[0, 0, :, 0] = 1.0
    shares[0, 0, 1] = torch.tensor([0.5, 0.5, 0.0])
    ((first, mixed, _),) = pixels(grid(shares, v, padding=0, scale=1))
    assert first == STATES[0]
    assert mixed == tuple(round(c / 2) for c in STATES[1])


def test_many_states_have_different_colours() -> None:
    v = variable("v", "categorical", 1, 24, k=24)
    row = pixels(grid(torch.arange(24).reshape(1, 1, 24), v, padding=0, scale=1))[0]
    assert len(set(row)) == 24


def test_three_channels_are_colours_and_others_stand_side_by_side() -> None:
    red = np.zeros((1, 3, 1, 1))
    red[0, 0] = 1
    assert pixels(grid(red, variable("v", "bernoulli", 3, 1, 1), padding=0, scale=1)) == [[(255, 0, 0)]]
    assert grid(np.zeros((1, 1, 4, 5)), padding=0, scale=1).shape == (4, 5, 3)
    two = np.zeros((1, 2, 1, 2))
    two[0, 1] = 1
    assert pixels(grid(two, padding=0, scale=1)) == [[BLACK, BLACK, WHITE, WHITE]]
    states = variable("s", "categorical", 2, 1, 1, k=2)
    assert pixels(grid(np.array([[[[0]], [[1]]]]), states, padding=0, scale=1)) == [[STATES[0], STATES[1]]]


def test_lists_of_sites() -> None:
    assert grid(np.zeros((1, 16)), padding=0, scale=1).shape == (1, 16, 3)
    assert grid(np.zeros((1, 64)), padding=0, scale=1).shape == (8, 8, 3)
    assert grid(np.zeros((1, 48)), padding=0, scale=1).shape == (6, 8, 3)
    rest = grid(np.ones((1, 23)), padding=0, scale=1)
    assert rest.shape == (4, 6, 3)
    assert pixels(rest)[-1][-2:] == [WHITE, GAP], "a place that no site has"


def test_single_sites() -> None:
    assert pixels(grid(np.array([0.0, 1.0]), variable("v", "bernoulli"), padding=0, scale=1)) == [[BLACK], [WHITE]]
    label = variable("y", "categorical", k=3)
    assert pixels(grid(torch.tensor([2, 1]), label, padding=0, scale=1)) == [[STATES[2]], [STATES[1]]]
    assert pixels(grid(torch.eye(3)[[2, 1]], label, padding=0, scale=1)) == [[STATES[2]], [STATES[1]]]


def test_missing_values_are_seen() -> None:
    assert pixels(grid(np.array([[[np.nan, 1.0]]]), padding=0, scale=1)) == [[MISSING, WHITE]]
    v = variable("v", "categorical", 1, 2, k=2)
    assert pixels(grid(np.array([[[np.nan, 1.0]]]), v, padding=0, scale=1)) == [[MISSING, STATES[1]]]


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="v has shape"):
        grid(np.zeros((1, 3, 3)), variable("v", "bernoulli", 2, 2))
    with pytest.raises(ValueError, match="v has shape"):
        grid(np.zeros((1, 3, 3)), variable("v", "categorical", 2, 2, k=3))
    with pytest.raises(ValueError, match="nothing to show"):
        grid(np.zeros((0, 3, 3)))


def test_grids_are_saved_as_they_are(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((7, 5, 4))
    save_grid(tmp_path / "s.png", values, columns=3, scale=2)
    with Pillow.open(tmp_path / "s.png") as kept:
        assert np.array_equal(np.asarray(kept), grid(values, columns=3, scale=2))
    first = (tmp_path / "s.png").read_bytes()
    save_grid(tmp_path / "s.png", values, columns=3, scale=2)
    assert (tmp_path / "s.png").read_bytes() == first
    assert [p.name for p in tmp_path.iterdir()] == ["s.png"]
    with pytest.raises(GmcError):
        save_grid(tmp_path / "nowhere" / "s.png", values)


def test_signs_have_colours() -> None:
    image = diverging(np.array([[[-2.0, 0.0, 2.0, 1.0]]]), padding=0, scale=1)
    half = tuple(round(255 + (c - 255) / 2) for c in POSITIVE)
    ((low, zero, high, middle),) = pixels(image)
    assert (low, zero, high) == (NEGATIVE, WHITE, POSITIVE)
    assert all(abs(a - b) <= 1 for a, b in zip(middle, half, strict=True))
    assert (diverging(np.zeros((1, 2, 2)), padding=0, scale=1) == 255).all()


def test_dense_filters_are_the_units_weights() -> None:
    graph = model(
        [variable("v", "bernoulli", 2, 3), variable("h", "bernoulli", 4, observed=False)], ("h", "v", "dense", {})
    )
    weight = torch.arange(24, dtype=torch.float32).reshape(4, 6) - 11.5
    found = filters(graph, {"h_v.weight": weight, "v.bias": torch.zeros(2, 3)})
    assert list(found) == ["h_v"]
    order = [int(n) for n in weight.norm(dim=1).argsort(descending=True, stable=True)]
    assert np.array_equal(found["h_v"], diverging(weight.numpy().astype(np.float64).reshape(4, 2, 3)[order]))


def test_only_the_largest_hundred_are_shown() -> None:
    graph = model(
        [variable("v", "bernoulli", 1, 1), variable("h", "bernoulli", 150, observed=False)], ("v", "h", "dense", {})
    )
    image = filters(graph, {"v_h.weight": torch.arange(150.0)[None]})["v_h"]
    # ten by ten tiles of a site with gaps between: 21 sites a side
    side = image.shape[0] // 21
    centres = image[side + side // 2 :: 2 * side, side + side // 2 :: 2 * side]
    assert image.shape[0] == image.shape[1] == 21 * side and centres.shape == (10, 10, 3)
    assert pixels(centres)[0][0] == POSITIVE, "the largest comes first"
    assert (np.diff(centres[..., 1].ravel().astype(int)) >= 0).all()


def test_convolutional_and_low_rank_filters() -> None:
    variables = [
        variable("v", "bernoulli", 6, 6),
        variable("h", "bernoulli", 2, 4, 4, observed=False),
        variable("z", "bernoulli", 5, observed=False),
    ]
    graph = model(variables, ("v", "h", "conv", {"kernel": 3}), ("v", "z", "lowrank", {"k": 2}))
    kernels, down = torch.randn(2, 1, 3, 3), torch.randn(36, 2)
    found = filters(graph, {"v_h.weight": kernels, "v_z.weight.0": down, "v_z.weight.1": torch.randn(5, 2)})
    by_norm = kernels.double()[[int(n) for n in kernels.flatten(1).norm(dim=1).argsort(descending=True)]]
    assert np.array_equal(found["v_h"], diverging(by_norm.numpy()))
    components = down.T.double().reshape(2, 6, 6)[[int(n) for n in down.norm(dim=0).argsort(descending=True)]]
    assert np.array_equal(found["v_z"], diverging(components.numpy()))


def test_colour_filters_and_states() -> None:
    variables = [
        variable("v", "normal", 3, 2, 2),
        variable("x", "categorical", 2, 2, k=3),
        variable("h", "bernoulli", 1, observed=False),
    ]
    graph = model(variables, ("v", "h", "dense", {}), ("x", "h", "dense", {}))
    weight = torch.zeros(12, 1)
    weight[0] = 1.0
    found = filters(graph, {"v_h.weight": weight, "x_h.weight": weight})
    coloured = {pixel for row in pixels(found["v_h"]) for pixel in row}
    assert (255, 128, 128) in coloured and (128, 128, 128) in coloured
    states = found["x_h"]
    assert states.shape[1] == 2 * states.shape[0], "three maps of two by two side by side, and a gap around"
    assert POSITIVE in {pixel for row in pixels(states) for pixel in row}


def test_what_is_no_image_has_no_filters() -> None:
    variables = [
        variable("v", "bernoulli", 6),
        variable("w", "bernoulli", 2, 2, observed=False),
        variable("s", "spin", 2, 2),
    ]
    graph = model(variables, ("v", "w", "dense", {}), ("s", "s", "lattice", {}))
    assert filters(graph, {"v_w.weight": torch.ones(6, 4), "s_s.weight": torch.ones(1)}) == {}


ROWS = [
    {
        "stage": stage,
        "epoch": epoch,
        "updates": 10 * epoch,
        "nll": 30.0 - epoch,
        "pseudo": None if epoch == 2 else 1.0 / epoch,
    }
    for stage in ("pretrain", "joint")
    for epoch in range(1, 6)
]


def test_curves(tmp_path: Path) -> None:
    assert curves(tmp_path / "c.png", ROWS)
    with Pillow.open(tmp_path / "c.png") as image:
        two = image.size
        assert np.asarray(image.convert("L")).std() > 5, "something is drawn"
    first = (tmp_path / "c.png").read_bytes()
    assert curves(tmp_path / "c.png", iter(ROWS)) and (tmp_path / "c.png").read_bytes() == first
    assert curves(tmp_path / "one.png", [{k: v for k, v in row.items() if k != "pseudo"} for row in ROWS])
    with Pillow.open(io.BytesIO((tmp_path / "one.png").read_bytes())) as image:
        assert image.size[0] < two[0], "a panel for each number"


def test_nothing_to_plot(tmp_path: Path) -> None:
    assert not curves(tmp_path / "c.png", [])
    assert not curves(tmp_path / "c.png", [{"stage": "train", "epoch": 1, "updates": 3}])
    assert not curves(tmp_path / "c.png", [{"epoch": 1, "nll": None}])
    assert list(tmp_path.iterdir()) == []


def test_curves_need_no_display(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setenv("MPLBACKEND", "no-such-backend")
    assert curves(tmp_path / "c.png", ROWS)


# ── Animations ───────────────────────────────────────────────────────────────────────────────────────────────────────


def frames(path: Path) -> list[np.ndarray]:
    with Pillow.open(path) as image:
        found = []
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            found.append(np.asarray(image.convert("RGB")))
        return found


@pytest.mark.parametrize("kind", ["bernoulli", "categorical"])
def test_each_frame_is_the_grid_of_its_sweep(tmp_path: Path, kind: str) -> None:
    shown = variable("v", kind, 3, 4, **({"k": 3} if kind == "categorical" else {}))
    values = torch.randint(0, 2, (5, 6, 3, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    animate(tmp_path / "a.gif", values, shown)
    found = frames(tmp_path / "a.gif")
    assert len(found) == 6
    for number, image in enumerate(found):
        np.testing.assert_array_equal(image, grid(values[:, number], shown))
    with Pillow.open(tmp_path / "a.gif") as image:
        assert image.info["loop"] == 0
        assert image.info["duration"] == FRAME
        image.seek(5)
        assert image.info["duration"] == PAUSE


def test_frames_share_black_and_white(tmp_path: Path) -> None:
    shown = variable("x", "normal", 2, 2)
    values = torch.stack((torch.zeros(1, 2, 2), torch.ones(1, 2, 2)), 1)
    values[0, :, 0, 0] = torch.tensor([-1.0, 2.0])
    animate(tmp_path / "a.gif", values, shown)
    first, second = frames(tmp_path / "a.gif")
    height, width, _ = first.shape
    inside = (first[5 * height // 8, 5 * width // 8], second[5 * height // 8, 5 * width // 8])
    assert int(inside[0][0]) < int(inside[1][0]), "0 is darker than 1, also in a frame of its own"


def test_animations_are_whole_or_not_there(tmp_path: Path) -> None:
    shown = variable("v", "bernoulli", 2, 2)
    with pytest.raises(ValueError, match="nothing to show"):
        animate(tmp_path / "a.gif", torch.zeros(0, 3, 2, 2), shown)
    with pytest.raises(ValueError, match="has shape"):
        animate(tmp_path / "a.gif", torch.zeros(1, 3, 4), shown)
    with pytest.raises(GmcError):
        animate(tmp_path / "no" / "a.gif", torch.zeros(1, 3, 2, 2), shown)
    assert not list(tmp_path.iterdir())
    animate(tmp_path / "a.gif", torch.ones(2, 1, 2, 2), shown)
    before = (tmp_path / "a.gif").read_bytes()
    animate(tmp_path / "a.gif", torch.ones(2, 1, 2, 2), shown)
    assert (tmp_path / "a.gif").read_bytes() == before
