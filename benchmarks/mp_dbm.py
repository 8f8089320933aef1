"""A multi-prediction deep Boltzmann machine (MP-DBM) as a classifier and as an inpainter, against the same machine trained by likelihood.

784-200-200 units with ten labels on top, the first 10,000 thresholded training images; tested on the 10,000 test images: the label by mean field given the image, and the left half given the
right one. The other machine is pretrained layer by layer and then trained jointly (mean field against persistent chains). From both 1,000 images are drawn by label, and read by their three nearest
training images. Three seeds.

    python -m benchmarks.mp_dbm
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.common import MODELS, Report, Settings, Values, Watch, parallel, settings

if TYPE_CHECKING:
    from gmc.runtime.run import Run

CASES = {"MP-DBM": ("multi_prediction",), "DBM by likelihood": ("pretrain", "joint")}
IMAGES = 10_000
ERROR, LEFT = "label error, %", "left half: squared error"
BELOW = "below the mean image's, %"
DRAWN = "drawn images read as their label, %"
SHOWN = 16


def text_of(stages: tuple[str, ...]) -> str:
    """The file with some of its stages."""
    text = (MODELS / "mp_dbm.gm").read_text(encoding="utf-8")
    head, *rest = text.split("\ntrain ")
    return head + "".join(f"\ntrain {stage}" for stage in rest if stage.split()[0] in stages)


def first_rows(data: Path, rows: int, folder: Path) -> Path:
    """The first training rows, and all test rows, as an archive of their own."""
    path = folder / "mnist.npz"
    with np.load(data) as archive:
        train = {name: archive[name][:rows] for name in ("x_train", "y_train")}
        np.savez(path, x_test=archive["x_test"], y_test=archive["y_test"], **train)
    return path


def inpainted(run: Run, picture: Path | None) -> Values:
    """The left halves of the test images by mean field, and by the mean training image."""
    import torch

    test, train = run.rows("test"), run.rows("train")
    assert test is not None and train is not None
    given = test.external("v", torch.arange(test.rows), 0).float()
    filled = run.predict("left", "v", split="test").mean
    mean = train.mean("v").float().reshape(28, 28)
    left = (slice(None), slice(None), slice(0, 14))
    error = float((filled[left] - given[left]).square().mean())
    base = float((mean[:, :14] - given[left]).square().mean())
    if picture is not None:
        from gmc.runtime.images import save_grid

        some = torch.arange(SHOWN) * (given.shape[0] // SHOWN)
        blank = given[some].clone()
        blank[left] = float("nan")
        shown = torch.cat([blank, filled[some], given[some]])
        save_grid(picture, shown, run.compiled.checked.model.variable("v"), columns=SHOWN, scale=2)
    return {LEFT: error, BELOW: 100 * (1 - error / base)}


def drawn(run: Run, seed: int, sweeps: int | None, picture: Path | None) -> Values:
    """1,000 images drawn by label, and for how many of them three nearest training images say the same."""
    import torch
    from sklearn.neighbors import KNeighborsClassifier

    train = run.rows("train")
    assert train is not None
    rows = torch.arange(train.rows)
    reader = KNeighborsClassifier(3).fit(
        train.external("v", rows, 0).flatten(1).numpy(), train.external("y", rows, 0).numpy()
    )
    labels = torch.arange(10).repeat(100)
    images = run.sample("draw", clamp={"y": labels}, sweeps=sweeps, seed=seed).means["v"]
    if picture is not None:
        from gmc.runtime.images import save_grid

        save_grid(picture, images[:100], run.compiled.checked.model.variable("v"), columns=10)
    read = reader.predict((images >= 0.5).flatten(1).numpy())
    return {DRAWN: 100 * float((torch.as_tensor(read) == labels).float().mean())}


def work(case: str, seed: int, data: Path, quick: bool, device: str, picture: Path | None) -> Values:
    """Trains with one seed, classifies and fills in."""
    import gmc

    sizes = {"first": 20, "second": 20, "rounds": 1} if quick else {}
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        rows = first_rows(data, 500 if quick else IMAGES, Path(folder))
        model = gmc.compile(text_of(CASES[case]), sizes, str(rows))
        run = model.train(seed=seed, device=device, watch=Watch(f"{case}, seed {seed}"))
        spent = time.monotonic() - started
        found = run.predict("classify", "y", split="test", seed=seed)
        assert found.best is not None
        wrong = float((found.best != found.data).float().mean())
        labelled = None if picture is None else picture.with_name(picture.name.replace(".png", "-by_label.png"))
        more = drawn(run, seed, 10 if quick else None, labelled)
        return {ERROR: 100 * wrong, **inpainted(run, picture), **more, "training, s": round(spent, 1)}


def main(given: Settings) -> None:
    """Runs both machines and all seeds."""
    data = given.data_file("mnist.npz")
    report = Report(given, "MP-DBM 784-200-200 with labels, 10,000 MNIST images: classifier and inpainter")
    tasks = []
    for seed in given.count(3):
        for case in CASES:
            name = f"mp_dbm-{case.replace(' ', '_')}.png"
            picture = report.picture(name) if seed == 0 else None
            if seed == 0:
                report.picture(name.replace(".png", "-by_label.png"))
            tasks.append((case, seed, data, given.quick, given.device, picture))
    for number, values in parallel(work, tasks, given.jobs):
        report.add(tasks[number][0], tasks[number][1], values)
    mine, other = (report.values(case, ERROR) for case in CASES)
    gains = [b - a for a, b in zip(mine, other, strict=True)]
    report.mark("MP-DBM: label error below that of likelihood, worst seed, points", min(gains), ">", 0.0)
    below = min(report.values("MP-DBM", BELOW))
    report.mark("MP-DBM: left half, error below the mean image's, worst seed, %", below, ">=", 25.0)
    report.notes.append("Published for 60,000 images and larger layers (Goodfellow et al. 2013): 0.88 % errors.")
    report.notes.append("Labels and halves by 20 sweeps of mean field, in both. mp_dbm-*.png: given, filled in, true.")
    report.notes.append(
        "mp_dbm-*-by_label.png: pixel probabilities after 1,000 sweeps with y clamped, a column a label."
    )
    report.finish()


if __name__ == "__main__":
    main(settings("mp_dbm", __doc__))
