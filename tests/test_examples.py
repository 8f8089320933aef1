"""Every example: in the one style, its schedules drawn, trained at a reduced size, and each of its chains sampled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gmc
from gmc.dsl.model import Stage
from gmc.runtime import gallery
from gmc.runtime.model import Model
from gmc.runtime.run import Run
from gmc.runtime.sampling import Stream
from tests.cli.invoking import invoke

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
FILES = sorted(EXAMPLES.glob("*.gm"))

SMALL = {
    "boltzmann": ({"hidden": 2, "rounds": 1},),
    "dbm": ({"first": 5, "second": 3, "rounds": 1}, {"first": 5, "second": 3, "third": 2, "rounds": 1}),
    "dbm_pretrained": ({"first": 5, "second": 3, "rounds": 1},),
    "dbn": ({"first": 5, "second": 3, "rounds": 1},),
    "four_modes": ({"first": 5, "second": 3, "rounds": 1},),
    "gaussian_rbm": ({"hidden": 3, "rounds": 2},),
    "ising": ({"side": 4}, {"side": 5, "coupling": 0.2}),
    "label_rbm": ({"hidden": 4, "rounds": 1},),
    "potts": ({}, {"states": 4}),
    "rbm": ({"hidden": 4, "rounds": 1},),
    "rbm_mnist": ({"hidden": 4, "steps": 1, "rounds": 2},),
}
"""The params of the reduced runs of each example."""


def pixels(*shape: int) -> np.ndarray:
    """Noise like 8-bit images."""
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


DATA = {
    "gaussian_rbm": {"x": (30, 28, 20)},
    "rbm_mnist": {"x_train": (30, 28, 28), "x_test": (10, 28, 28)},
}
"""The columns that stand in for files that do not come with gmc."""

GIVEN = {("four_modes", "mind"): ("h1", "h2"), ("four_modes", "startled"): ("h1", "h2")}
"""What chains clamp that the data do not have: it is taken from where the file's first chain ended."""


def shorten(monkeypatch: pytest.MonkeyPatch) -> None:
    """All sampling, that for the pictures of a run too, takes two sweeps and draws few tiles."""
    stream = Run.stream

    def shortly(run: Run, chain: str, **options: Any) -> Stream:
        # what keeps several sweeps says itself how many
        return stream(run, chain, **options if options.get("every") else {**options, "sweeps": 2})

    monkeypatch.setattr(Run, "stream", shortly)
    monkeypatch.setattr(gallery, "TILES", 4)


def phases(model: Model, stage: Stage) -> int:
    """How many times over a stage runs its epochs."""
    return max(d.phases for line in stage.minimize for d in model.compiled.descents(line.objective))


def runs() -> list[tuple[Path, dict[str, float]]]:
    return [(path, dict(params)) for path in FILES for params in SMALL[path.stem]]


def name(case: object) -> str:
    if isinstance(case, Path):
        return case.stem
    return " ".join(f"{key}={value}" for key, value in case.items()) if isinstance(case, dict) else str(case)


def test_every_example_has_a_reduced_run() -> None:
    assert {path.stem for path in FILES} == set(SMALL)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_style(path: Path) -> None:
    result = invoke("fmt", "--check", str(path))
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("path", FILES, ids=name)
def test_compiles_as_it_is(path: Path) -> None:
    """At full size, without its data: no mistake, no warning, a docstring, and a schedule for each chain."""
    model = gmc.compile(path)
    assert not model.warnings
    assert model.checked.doc
    assert len(model.compiled.schedules) == len(model.checked.chains) > 0
    drawn = sum(len(schedule.blocks) + len(schedule.deferred) for schedule in model.compiled.schedules.values())
    assert drawn > 0
    for chain in model.checked.chains:
        assert f"chain {chain.name}" in model.schedule(chain.name).dot


@pytest.mark.parametrize(("path", "params"), runs(), ids=name)
def test_trains_and_samples(
    path: Path, params: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten(monkeypatch)
    run = tmp_path / "run"
    words = ["compile", str(path), "--out", str(run)]
    for param, value in params.items():
        words += ["--set", f"{param}={value}"]
    if path.stem in DATA:
        np.savez(tmp_path / "fake.npz", **{column: pixels(*shape) for column, shape in DATA[path.stem].items()})
        words += ["--data", str(tmp_path / "fake.npz")]
    model = gmc.compile(path, set=params)
    checked = model.checked
    result = invoke(*words, *(["--train"] if checked.stages else []))
    assert result.exit_code == 0, result.output
    assert (run / "weights.safetensors").is_file()
    if checked.stages:
        epochs = sum(stage.epochs * phases(model, stage) for stage in checked.stages)
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        assert len(lines) == epochs
        assert all(np.isfinite(value) for line in lines for value in line.values() if not isinstance(value, str))
    for chain in checked.chains:
        out = tmp_path / f"{chain.name}.npz"
        given = [f"{v}={tmp_path / checked.chains[0].name}.npz:{v}" for v in GIVEN.get((path.stem, chain.name), ())]
        clamps = [word for source in given for word in ("--clamp", source)]
        result = invoke("sample", str(run), "--chain", chain.name, "--chains", "3", *clamps, "--out", str(out))
        assert result.exit_code == 0, f"{chain.name}\n{result.output}"
        with np.load(out, allow_pickle=False) as samples:
            for variable in checked.model.variables:
                assert samples[variable.name].shape == (3, *variable.shape)
                assert np.isfinite(samples[variable.name]).all()
        drawn = run / f"schedule-{chain.name}.svg"
        if not checked.stages:
            picture = invoke("schedule", str(path), "--chain", chain.name, "-o", str(drawn))
            assert picture.exit_code == 0, picture.output
        assert drawn.is_file() or drawn.with_suffix(".dot").is_file()  # the latter where there is no graphviz


@pytest.mark.parametrize(("page", "example"), [("four_modes", "four_modes"), ("deep", "dbm_pretrained")])
def test_the_tutorial_shows_the_example_as_it_is(page: str, example: str) -> None:
    text = (EXAMPLES.parent / f"docs/tutorials/{page}.md").read_text(encoding="utf-8")
    assert f"```gm\n{(EXAMPLES / f'{example}.gm').read_text(encoding='utf-8')}```\n" in text
