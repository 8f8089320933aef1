"""RBM on the fixed binarised MNIST (Larochelle's files): log-likelihood by annealed importance sampling (AIS), with early stopping on the valid images.

10,000 images and 200 hidden units, PCD-5, three seeds; with `--full` all 50,000 and 500 hidden units (for a GPU). Every fifth epoch the valid images are evaluated by AIS; training
stops after three looks without a gain, and the best weights are kept. The numbers cannot be compared with those of images that are binarised afresh (`deep_mnist`).

    python -m benchmarks.fixed_mnist
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.common import MODELS, Report, Settings, Values, Watch, parallel, settings

CASE = "RBM, fixed binarisation"
LL = "test log-likelihood"
PUBLISHED = -86.34


def first_rows(data: Path, rows: int, held_out: int, folder: Path) -> Path:
    """The first training and held-out rows as an archive of their own."""
    path = folder / "binarized_mnist.npz"
    with np.load(data) as archive:
        parts = {"x_train": archive["x_train"][:rows]}
        parts |= {name: archive[name][:held_out] for name in ("x_valid", "x_test")}
        np.savez(path, **parts)
    return path


def work(seed: int, data: Path, hidden: int, images: int, rounds: int, quick: bool, device: str) -> Values:
    """Trains with one seed and evaluates the best weights."""
    import gmc

    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        rows = first_rows(data, images, 100 if quick else 10_000, Path(folder))
        model = gmc.compile(MODELS / "fixed_mnist.gm", {"hidden": hidden, "rounds": rounds}, str(rows))
        epochs: list[int] = []
        watch = Watch(f"seed {seed}")

        def note(progress: gmc.Progress) -> None:
            watch(progress)
            epochs.append(progress.epoch)

        run = model.train(seed=seed, device=device, watch=note)
        spent = time.monotonic() - started
        temperatures = 50 if quick else 5000
        found = run.evaluate("ais", "test", seed=seed, chains=100, temperatures=temperatures, reverse=True)
        below = run.evaluate("raise", "test", seed=seed, rows=100, chains=10, temperatures=temperatures // 10)
        same = run.evaluate("ais", "test", seed=seed, rows=100, chains=100, temperatures=temperatures)
    assert found.log_z is not None and found.reverse is not None
    return {
        LL: found.mean,
        "se of the rows": found.rows_error,
        "log Z": found.log_z,
        "se of log Z": found.log_z_error,
        "the same by reverse AIS": found.reverse,
        "RAISE, 100 images": below.mean,
        "AIS, the same images": same.mean,
        "epochs": float(max(epochs)),
        "training, s": round(spent, 1),
    }


def main(given: Settings) -> None:
    """Runs all seeds."""
    data = given.data_file("binarized_mnist.npz")
    hidden, images, rounds = (10, 200, 2) if given.quick else (500, 50_000, 300) if given.full else (200, 10_000, 60)
    report = Report(given, "RBM on the fixed binarised MNIST: log-likelihood in nats a test image, by AIS")
    tasks = [(seed, data, hidden, images, rounds, given.quick, given.device) for seed in given.count(3)]
    for number, values in parallel(work, tasks, given.jobs):
        report.add(CASE, tasks[number][0], values)
    if given.full:
        report.mark("mean over seeds", report.mean(CASE, LL), ">=", PUBLISHED)
    report.mark("standard error of log Z, worst seed", max(report.values(CASE, "se of log Z")), "<=", 0.5)
    ways = zip(report.values(CASE, LL), report.values(CASE, "the same by reverse AIS"), strict=True)
    report.mark("forward and reverse AIS, greatest difference", max(abs(a - b) for a, b in ways), "<=", 1.0)
    report.notes.append(f"Published for 500 hidden units, CD-25, 60,000 images: {PUBLISHED}.")
    report.notes.append("RAISE is a lower bound of the annealed model's log-likelihood; AIS is high in expectation.")
    report.finish()


if __name__ == "__main__":
    main(settings("fixed_mnist", __doc__))
