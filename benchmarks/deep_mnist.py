"""Boltzmann machines on MNIST: an RBM by annealed importance sampling, and DBMs of two layers, trained in three ways, by their variational bound.

The literature argues whether a deep Boltzmann machine needs greedy pretraining. Here the same machine is pretrained and then trained jointly, trained jointly from zero weights with
centring (Montavon & Mueller 2012), and trained jointly from zero weights without. Beside them the RBM of the same first layer.

10,000 images, 784-200 and 784-200-200 units, three seeds; with `--full` the published sizes, 784-500 and 784-500-1000, on all 60,000 (for a GPU). Pixels are
binarised afresh each epoch with their grey value as the probability of 1; the 10,000 test images once. log Z by annealed importance sampling (AIS), forward and reverse.

    python -m benchmarks.deep_mnist
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.common import MODELS, Report, Settings, Values, Watch, parallel, settings

if TYPE_CHECKING:
    from torch import Tensor

    from gmc.runtime.run import Run

RBM, PRETRAINED, CENTRED, PLAIN = "RBM", "DBM, pretrained", "DBM, joint, centred", "DBM, joint, plain"
JOINT = "train joint"
PRETRAIN = "train pretrain"
BEST = "log p, or its bound"


@dataclass(frozen=True, slots=True)
class Size:
    """How large, and how long."""

    images: int
    first: int
    second: int
    rounds: int
    below: int
    chains: int
    temperatures: int


SMALL = Size(10_000, 200, 200, 40, 20, 100, 3_000)
FULL = Size(60_000, 500, 1000, 300, 50, 1000, 20_000)
QUICK = Size(200, 40, 30, 2, 1, 10, 50)
PUBLISHED = {RBM: -86.34, PRETRAINED: -84.62}
"""RBM of 500 by CD-25, and the bound of a DBM 500-1000 (Salakhutdinov & Murray 2008; Salakhutdinov & Hinton 2009), at full size."""


def text_of(case: str) -> str:
    """The file with the stages of a case."""
    text = (MODELS / "deep_mnist.gm").read_text(encoding="utf-8")
    head, _, stages = text.partition(PRETRAIN)
    pretrain, _, joint = stages.partition(JOINT)
    joint = JOINT + joint
    if case == PRETRAINED:
        return head + PRETRAIN + pretrain + joint
    return head + (joint.replace("minimize plain", "minimize centred") if case == CENTRED else joint)


def first_rows(data: Path, rows: int, folder: Path) -> Path:
    """The first training rows, and all test rows, as an archive of their own."""
    with np.load(data) as archive:
        if rows >= len(archive["x_train"]):
            return data
        path = folder / "mnist.npz"
        np.savez(path, x_train=archive["x_train"][:rows], x_test=archive["x_test"])
    return path


def from_zero(params: Mapping[str, Tensor], folder: Path) -> Path:
    """A weights file with the same biases and without weights."""
    import torch
    from safetensors.torch import save_file

    path = folder / "zero.safetensors"
    zero = {n: torch.zeros_like(p) if n.endswith(".weight") else p.contiguous() for n, p in params.items()}
    save_file(zero, path)
    return path


def trained(case: str, seed: int, data: Path, size: Size, device: str, folder: Path) -> Run:
    """The machine of a case."""
    import gmc

    second = 0 if case == RBM else size.second
    params = {"first": size.first, "second": second, "rounds": size.rounds, "below": size.below}
    model = gmc.compile(text_of(case), params, str(first_rows(data, size.images, folder)))
    weights = None
    if case in {CENTRED, PLAIN}:
        import torch

        from gmc.runtime.dataset import load_data
        from gmc.runtime.initial import initial_parameters

        rows = load_data(model.checked, seed, torch.device("cpu"), torch.float32).train
        weights = from_zero(initial_parameters(model.compiled.graph, seed, rows), folder)
    return model.train(seed=seed, device=device, weights=weights, watch=Watch(f"{case}, seed {seed}"))


def evaluated(run: Run, case: str, seed: int, size: Size) -> Values:
    """The log-likelihood, or its bound, of the test images, with log Z from both sides."""
    method = "ais" if case == RBM else "bound"
    found = run.evaluate(method, "test", seed=seed, chains=size.chains, temperatures=size.temperatures, reverse=True)
    assert found.log_z is not None and found.reverse is not None and found.partition is not None
    values = {
        BEST: found.mean,
        "se of the rows": found.rows_error,
        "log Z": found.log_z,
        "se of log Z": found.log_z_error,
        "the same by reverse AIS": found.reverse,
    }
    if case == RBM:
        below = run.evaluate("raise", "test", seed=seed, rows=100, chains=10, temperatures=size.temperatures // 10)
        same = run.evaluate("ais", "test", seed=seed, rows=100, chains=size.chains, temperatures=size.temperatures)
        values |= {"RAISE, 100 images": below.mean, "AIS, the same images": same.mean}
    return values


def work(case: str, seed: int, data: Path, size: Size, device: str, picture: Path | None) -> Values:
    """Trains with one seed, evaluates, and draws samples."""
    import time

    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        run = trained(case, seed, data, size, device, Path(folder))
        spent = time.monotonic() - started
        values = evaluated(run, case, seed, size)
        if picture is not None:
            from gmc.runtime.images import save_grid

            drawn = run.average("dreaming", chains=100, burn=999, seed=seed)["v"]
            save_grid(picture, drawn, run.compiled.checked.model.variable("v"), columns=20)
    return {**values, "training, s": round(spent, 1)}


def main(given: Settings) -> None:
    """Runs all cases and seeds."""
    data = given.data_file("mnist.npz")
    size = QUICK if given.quick else FULL if given.full else SMALL
    report = Report(
        given, "Boltzmann machines on MNIST, binarised at random: log-likelihood or its bound, nats a test image"
    )
    cases = (PRETRAINED, CENTRED, PLAIN, RBM)
    tasks = []
    for seed in given.count(3):
        for case in cases:
            name = f"deep_mnist-{case.replace(', ', '-').replace(' ', '_')}.png"
            picture = report.picture(name) if seed == 0 else None
            tasks.append((case, seed, data, size, given.device, picture))
    for number, values in parallel(work, tasks, given.jobs):
        report.add(tasks[number][0], tasks[number][1], values)
    judge(report, given.full)
    report.notes.append(
        "The RBM's number is an estimate of its log-likelihood, the DBMs' are estimates of a lower bound of theirs."
    )
    report.notes.append(
        "log Z by AIS is low, and so the number high, in expectation; by reverse AIS the other way round."
    )
    report.notes.append("deep_mnist-*.png: pixel probabilities of 100 dreaming chains after 1,000 sweeps.")
    report.finish()


def judge(report: Report, full: bool) -> None:
    """Holds what was found to the marks."""
    for case, bound in PUBLISHED.items() if full else ():
        report.mark(f"{case}: mean over seeds", report.mean(case, BEST), ">=", bound)
    centred, plain = report.values(CENTRED, BEST), report.values(PLAIN, BEST)
    away = [a - b for a, b in zip(centred, plain, strict=True)]
    report.mark("joint training: centred above plain, worst seed", min(away), ">", 0.0)
    for case in (RBM, PRETRAINED, CENTRED, PLAIN):
        report.mark(f"{case}: standard error of log Z, worst seed", max(report.values(case, "se of log Z")), "<=", 0.5)
    gain = report.mean(PRETRAINED, BEST) - report.mean(RBM, BEST)
    report.notes.append(f"The pretrained DBM's bound less the RBM's log-likelihood, mean over seeds: {gain:.2f} nats.")


if __name__ == "__main__":
    main(settings("deep_mnist", __doc__))
