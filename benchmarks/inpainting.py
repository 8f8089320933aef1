"""Half of an image of MNIST is filled in from the other half, by the deep Boltzmann machine of `examples/dbm.gm` at 784-256-256.

Trained on the thresholded images by the example's recipe, with a higher rate. Of 1,000 test images (every tenth) a half is given; the other is filled by the average of p(v | h)
over the sweeps from 20 to 120 of a chain that clamps what is given. Beside it one sample of the same chain, mean field, the mean of the ten training images that are
nearest in the given half, and the mean and the median of all training images, which are what the marks are relative to.

    python -m benchmarks.inpainting
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from benchmarks.common import MODELS, RESULTS, ROOT, Report, Settings, Values, parallel, settings, train

if TYPE_CHECKING:
    from gmc.runtime.run import Run

WIDTH = 28
HALVES: dict[str, tuple[int, slice]] = {"left": (2, slice(0, 14)), "lower": (1, slice(14, 28))}
"""The axis of `[rows, height, width]` that is cut, and what is hidden along it."""
MARKS = {"left": (25.0, 25.0), "lower": (15.0, 20.0)}
"""How far the error and the wrong pixels must be below those of the mean and the median image, in percent."""
AVERAGE, SAMPLE, FIELD, NEAREST, ALL = "average", "one sample", "mean field", "10 nearest", "mean and median"
SHOWN = 16
"""Images of the picture."""


def hidden(half: str) -> Tensor:
    """Which pixels of an image are to be filled in, bool `[28, 28]`."""
    axis, part = HALVES[half]
    mask = torch.zeros(WIDTH, WIDTH, dtype=torch.bool)
    mask.index_fill_(axis - 1, torch.arange(WIDTH)[part], True)
    return mask


def rows_of(run: Run, split: str, step: int) -> Tensor:
    """Every `step`th image of a split, float32 `[rows, 28, 28]`."""
    data = run.rows("train" if split == "train" else "test")
    assert data is not None
    return data.external("v", torch.arange(0, data.rows, step), 0).float()


def nearest(known: Tensor, given: Tensor, mask: Tensor, k: int = 10) -> Tensor:
    """The mean of the `k` known images that differ in the fewest pixels where `mask` is false, `[rows, 28, 28]`."""
    seen, asked = known[:, ~mask], given[:, ~mask]
    found = []
    for part in asked.split(100):
        # of zeros and ones the number of differing pixels, less what does not depend on the known image
        away = seen.sum(1) - 2 * part @ seen.T
        found.append(known[away.topk(k, dim=1, largest=False).indices].mean(1))
    return torch.cat(found)


def fills(run: Run, half: str, known: Tensor, given: Tensor, seed: int) -> dict[str, Tensor]:
    """The images as filled in, by each way, `[rows, 28, 28]`; all but what `half` hides is as given."""
    found = {
        AVERAGE: run.average(half, clamp={"v": given}, burn=19, seed=seed)["v"],
        SAMPLE: run.sample(half, clamp={"v": given}, seed=seed).values["v"],
        FIELD: run.sample(f"{half}_mean", clamp={"v": given}).means["v"],
        NEAREST: nearest(known, given, hidden(half)),
        ALL: known.mean(0).expand_as(given),
    }
    return {name: torch.where(hidden(half), value.float(), given) for name, value in found.items()}


def errors(filled: Tensor, truth: Tensor, mask: Tensor) -> tuple[float, float]:
    """Mean squared error of a hidden pixel, and the percentage of them that are wrong when rounded (the rounded mean of zeros and ones is their median)."""
    off = filled[:, mask] - truth[:, mask]
    wrong = (filled[:, mask] >= 0.5) != (truth[:, mask] >= 0.5)
    return float(off.square().mean()), 100 * float(wrong.float().mean())


def work(seed: int, data: Path, quick: bool, picture: Path | None) -> dict[str, Values]:
    """Trains with one seed and fills in; values by case."""
    params = {"rounds": 1, "first": 16, "second": 16} if quick else {}
    run = train(MODELS / "inpainting_dbm.gm", params, f"seed {seed}", seed=seed, data=data)
    known, given = rows_of(run, "train", 1), rows_of(run, "test", 100 if quick else 10)
    found, shown = {}, []
    for half in HALVES:
        filled = fills(run, half, known, given, seed)
        error, wrong = errors(filled[ALL], given, hidden(half))
        for name, value in filled.items():
            mine = errors(value, given, hidden(half))
            found[f"{half} half: {name}"] = {
                "squared error": mine[0],
                "wrong pixels, %": mine[1],
                "error below the mean image's, %": 100 * (1 - mine[0] / error),
                "wrong below the median image's, %": 100 * (1 - mine[1] / wrong),
            }
        some = torch.arange(SHOWN) * (given.shape[0] // SHOWN)
        blank = given.masked_fill(hidden(half), float("nan"))
        shown += [each[some] for each in (blank, filled[AVERAGE], filled[SAMPLE], given)]
    if picture is not None:
        from gmc.runtime.images import save_grid

        variable = run.compiled.checked.model.variable("v")
        save_grid(picture, torch.cat(shown), variable, columns=SHOWN, scale=2)
    return found


def main(given: Settings) -> None:
    """Runs all seeds."""
    data = given.data_file("mnist.npz")
    report = Report(given, "Halves of 1,000 MNIST test images filled in by a DBM 784-256-256")
    picture = report.picture("inpainting.png")
    tasks = [(seed, data, given.quick, picture if seed == 0 else None) for seed in given.count(3)]
    for number, found in parallel(work, tasks, given.jobs):
        for case, values in found.items():
            report.add(case, tasks[number][0], values)
    for half, bounds in MARKS.items():
        names = ("error below the mean image's, %", "wrong below the median image's, %")
        for name, bound in zip(names, bounds, strict=True):
            worst = min(report.values(f"{half} half: {AVERAGE}", name))
            report.mark(f"{half} half: {name}, worst seed", worst, ">=", bound)
    report.notes.append(
        "average: of p(v | h) over sweeps 20 to 120. 10 nearest, mean and median are of training images, without a model."
    )
    report.notes.append("inpainting.png: given, average, one sample, true; first the left halves, then the lower ones.")
    report.finish()
    if picture is not None and given.results == RESULTS:
        shutil.copy(picture, ROOT / "docs" / "pictures" / picture.name)


if __name__ == "__main__":
    main(settings("inpainting", __doc__))
