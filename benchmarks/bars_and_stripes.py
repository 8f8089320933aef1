"""Bars and stripes, 3x3: exact total log-likelihood of the 16 rows, by CD-1, PCD-1 and PCD-5.

The data are the 8 patterns of whole rows and the 8 of whole columns, so blank and full stand twice; the best any model can do is
-41.59 nats in all. 16 hidden units, batches and chains of 64, learning rate 0.05 -> 0 over 20,000 updates, five seeds.

    python -m benchmarks.bars_and_stripes
"""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.common import MODELS, Report, Settings, Values, parallel, settings, train

CASES: dict[str, tuple[str, dict[str, int]]] = {
    "PCD-5": ("bars_pcd.gm", {"steps": 5}),
    "PCD-1": ("bars_pcd.gm", {"steps": 1}),
    "CD-1": ("bars_cd.gm", {"steps": 1}),
}
EPOCH = 1000
"""Updates an epoch; the rows are repeated to fill it, so that every batch has 64."""


def patterns() -> NDArray[np.uint8]:
    """The 16 rows, `[16, 3, 3]`."""
    bars = [np.tile(np.array(bits, dtype=np.uint8)[:, None], (1, 3)) for bits in itertools.product((0, 1), repeat=3)]
    return np.stack([*bars, *(bar.T for bar in bars)])


def optimum() -> float:
    """The total log-likelihood of the rows' own frequencies."""
    _, counts = np.unique(patterns().reshape(16, 9), axis=0, return_counts=True)
    return float((counts * np.log(counts / 16)).sum())


def work(case: str, seed: int, quick: bool) -> Values:
    """Trains with one seed and sums the likelihood."""
    name, overrides = CASES[case]
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "bars.npz"
        np.savez(data, x=np.tile(patterns(), (64 * EPOCH // 16, 1, 1)))
        sizes = overrides | {"rounds": 1 if quick else 20}
        run = train(MODELS / name, sizes, f"{case}, seed {seed}", seed=seed, data=data)
    return {"total log-likelihood": float(run.log_likelihood({"v": torch.from_numpy(patterns())}).sum())}


def main(given: Settings) -> None:
    """Runs all cases and seeds."""
    report = Report(given, "Bars and stripes 3x3: exact log-likelihood of the 16 rows in all, in nats")
    tasks = [(case, seed, given.quick) for case in CASES for seed in given.count(5)]
    for number, values in parallel(work, tasks, given.jobs):
        report.add(tasks[number][0], tasks[number][1], values)
    mean = {case: report.mean(case, "total log-likelihood") for case in CASES}
    report.mark("PCD-1: mean over seeds", mean["PCD-1"], ">", -44.0)
    report.mark("PCD-1: worst seed", min(report.values("PCD-1", "total log-likelihood")), ">=", -45.0)
    report.mark("PCD-5: mean over seeds", mean["PCD-5"], ">", -43.2)
    report.mark("PCD-1 above CD-1, means", mean["PCD-1"] - mean["CD-1"], ">=", 4.0)
    report.mark("CD-1: mean over seeds, no more than the optimum", mean["CD-1"], "<=", optimum())
    report.notes.append(f"The optimum is {optimum():.2f}.")
    report.finish()


if __name__ == "__main__":
    main(settings("bars_and_stripes", __doc__))
