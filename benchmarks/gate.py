"""A gate that opens for the unexpected: `impotent v unless surprise(v) > t` on digits.

An RBM is trained on thresholded 8x8 digits. A chain clamps the image, starts h where another chain that clamps it ends, and is let through where the mean negative log
p(pixel | h) exceeds t. With t at the 99 % quantile over the training rows, how many held-out digits get through, as they are and with 13 of their
64 pixels (20 %) flipped? h is one draw from p(h | v), or its mean. Three splits of 360 held-out digits.

    python -m benchmarks.gate
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from benchmarks.common import MODELS, Report, Settings, Values, parallel, settings, train

if TYPE_CHECKING:
    from gmc.runtime.run import Run

CHAINS = {"one draw of h": "zoned_out", "mean of h": "zoned_out_mean"}
QUANTILE = 0.99
FLIPPED = 13
"""Pixels of 64."""


def rows_of(run: Run, split: str) -> Tensor:
    """All images of a split, `[rows, 8, 8]`."""
    data = run.rows("train" if split == "train" else "test")
    assert data is not None
    return data.external("v", torch.arange(data.rows), 0).float()


def flipped(images: Tensor, count: int, seed: int) -> Tensor:
    """The images with `count` pixels of each flipped, chosen at random."""
    flat = images.flatten(1)
    order = torch.rand(flat.shape, generator=torch.Generator().manual_seed(seed)).argsort(1)
    return flat.scatter(1, order[:, :count], 1 - flat.gather(1, order[:, :count])).reshape(images.shape)


def let_through(run: Run, chain: str, images: Tensor, seed: int) -> float:
    """How many chains that clamp the images have an open gate, in percent."""
    (gate,) = run.sample(chain, clamp={"v": images}, seed=seed).open.values()
    return 100 * float(gate.double().mean())


def work(fold: int, quick: bool) -> dict[str, Values]:
    """Trains on one split, sets the gates' thresholds and tries them; values by case."""
    import gmc

    params: dict[str, object] = {"fold": fold, "rounds": 5} if quick else {"fold": fold}
    file = MODELS / "gate.gm"
    run = train(file, params, f"split {fold}", seed=fold)
    clean, odd = rows_of(run, "test"), flipped(rows_of(run, "test"), FLIPPED, fold)
    found = {}
    for case, chain in CHAINS.items():
        (surprise,) = run.sample(chain, clamp={"v": rows_of(run, "train")}, seed=fold).measured.values()
        level = float(surprise.double().quantile(QUANTILE))
        gated = gmc.compile(file, params | {"level": level}).run(run.params)
        found[case] = {
            "threshold, nats a pixel": level,
            "clean, % let through": let_through(gated, chain, clean, fold + 1),
            "flipped, % let through": let_through(gated, chain, odd, fold + 1),
        }
    return found


def main(given: Settings) -> None:
    """Runs all splits."""
    report = Report(given, "A gate on digits, open where surprise exceeds the 99 % quantile of training rows")
    tasks = [(fold, given.quick) for fold in given.count(3)]
    for number, found in parallel(work, tasks, given.jobs):
        for case, values in found.items():
            report.add(case, tasks[number][0], values)
    for case in CHAINS:
        report.mark(f"{case}: clean, worst split", max(report.values(case, "clean, % let through")), "<=", 5.0)
        report.mark(f"{case}: flipped, worst split", min(report.values(case, "flipped, % let through")), ">=", 95.0)
    report.notes.append("The seed is the number of the split; 360 held-out digits each.")
    report.finish()


if __name__ == "__main__":
    main(settings("gate", __doc__))
