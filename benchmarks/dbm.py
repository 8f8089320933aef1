"""`examples/dbm.gm`: deep Boltzmann machines on 8x8 digits against the restricted one that they contain.

A DBM whose upper weights are zero is an RBM with the same v and h1, so its likelihood starts where that RBM's ends. An RBM is trained (the same file with `second = 0`), its
weights are put into a DBM whose upper weights are the usual small random ones, and the DBM is trained by the file's own recipe. For control
the RBM is trained as much again.

Small sizes, where every likelihood is summed exactly: 16-12 units, and 16-12-6. The example's own sizes, 128-64 and 128-64-50: a variational bound for
the DBMs, the exact free energy for the RBM, with log Z by annealed importance sampling, which is checked against the exact one at the small sizes.

    python -m benchmarks.dbm
"""

from __future__ import annotations

import itertools
import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import softplus

from benchmarks.common import EXAMPLES, Report, Settings, Values, parallel, say, settings, train

if TYPE_CHECKING:
    from gmc.runtime.run import Run

SMALL = {"16-12": (16, 12, 0), "16-12-6": (16, 12, 6)}
LARGE = {"128-64": (128, 64, 0), "128-64-50": (128, 64, 50)}
Layers = tuple[int, int, int]
LAYERS = ("v", "h1", "h2", "h3")


class Weights:
    """A DBM's parameters in double precision, layer 0 the visible one."""

    def __init__(self, run: Run) -> None:
        self.b = [run.params[f"{name}.bias"].double().flatten() for name in LAYERS]
        self.w = [run.params[f"{a}_{b}.weight"].double() for a, b in itertools.pairwise(LAYERS)]

    def field(self, values: list[Tensor], layer: int) -> Tensor:
        """The input of a layer from its neighbours, `[n, units]`."""
        total = self.b[layer].expand(values[0].shape[0], -1)
        if layer > 0:
            total = total + values[layer - 1] @ self.w[layer - 1]
        if layer < 3:
            total = total + values[layer + 1] @ self.w[layer].T
        return total


def annealed(weights: Weights, base: Tensor, seed: int, chains: int, steps: int) -> tuple[float, float]:
    """log Z by annealed importance sampling, and its standard error.

    The states are (h1, h3); v and h2 are summed out in closed form (Salakhutdinov and Hinton, 2009, with the visible biases `base` at temperature
    infinity). Weights stay in double precision; the mean is taken over the chains' weights, so log Z is low in expectation.
    """
    generator = torch.Generator().manual_seed(seed)
    sizes = [b.shape[0] for b in weights.b]

    def draw(logits: Tensor) -> Tensor:
        return (torch.rand(logits.shape, generator=generator, dtype=torch.float64) < torch.sigmoid(logits)).double()

    x = [draw(torch.zeros(chains, n, dtype=torch.float64)) for n in sizes]
    total = torch.zeros(chains, dtype=torch.float64)
    for step in range(steps):
        low, high = (step / steps) ** 2, ((step + 1) / steps) ** 2
        visible, middle = weights.field(x, 0), weights.field(x, 2)
        total += (high - low) * (x[1] @ weights.b[1] + x[3] @ weights.b[3])
        for sign, beta in ((1, high), (-1, low)):
            summed = softplus(beta * visible + (1 - beta) * base).sum(1) + softplus(beta * middle).sum(1)
            total += sign * summed
        x[0] = draw(high * visible + (1 - high) * base)
        x[2] = draw(high * middle)
        x[1], x[3] = (draw(high * weights.field(x, n)) for n in (1, 3))
    log_z = float(softplus(base).sum()) + sum(sizes[1:]) * math.log(2)
    top = total.max()
    mean = (total - top).exp().mean()
    error = float((total - top).exp().std() / mean / math.sqrt(chains))
    return log_z + float(top + mean.log()), error


def bound(run: Run, weights: Weights, v: Tensor) -> Tensor:
    """-E + entropy at the means of mean field, for each row: with log Z subtracted a lower bound of log p(v); for an RBM log p(v) itself."""
    found = run.sample("positive", clamp={"v": v}, sweeps=100).means
    x = [v.double().flatten(1), *(found[name].double() for name in LAYERS[1:])]
    terms = [x[n] @ weights.b[n] for n in range(4)]
    terms += [((x[n] @ weights.w[n]) * x[n + 1]).sum(1) for n in range(3)]
    terms += [(torch.special.entr(q) + torch.special.entr(1 - q)).sum(1) for q in x[1:]]
    return torch.stack(terms).sum(0)


def sizes(layers: Layers, quick: bool) -> dict[str, object]:
    """The params of the file."""
    first, second, third = layers
    params: dict[str, object] = {"first": first, "second": second, "third": third}
    return params | ({"rounds": 5} if quick else {})


def grown(rbm: Run, layers: Layers, folder: Path, seed: int) -> Path:
    """A weights file: the RBM's, and small random ones for the layers above."""
    from safetensors.torch import save_file

    import gmc

    generator = torch.Generator().manual_seed(seed)
    found = {}
    for parameter in gmc.compile(EXAMPLES / "dbm.gm", sizes(layers, False)).compiled.graph.parameters:
        known = rbm.params.get(parameter.name)
        if known is not None and tuple(known.shape) == tuple(parameter.shape):
            found[parameter.name] = known.contiguous()
        elif parameter.name.endswith("bias"):
            found[parameter.name] = torch.zeros(parameter.shape)
        else:
            found[parameter.name] = 0.01 * torch.randn(parameter.shape, generator=generator)
    path = folder / "grown.safetensors"
    save_file(found, path)
    return path


def exact(run: Run, v: Tensor) -> float:
    """The exact mean log-likelihood."""
    return float(run.log_likelihood({"v": v}).mean())


def held_out(run: Run) -> Tensor:
    """The test rows of the file."""
    data = run.rows("test")
    assert data is not None
    return data.external("v", torch.arange(data.rows), 0)


def base_rates(run: Run) -> Tensor:
    """The logits of the training pixels' smoothed means."""
    data = run.rows("train")
    assert data is not None
    return torch.logit((data.mean("v") * data.rows + 1) / (data.rows + 2))


def work(case: str, seed: int, quick: bool, picture: Path | None) -> Values:
    """One size and seed: the RBM, the DBM that it is put into, the RBM again, and the DBM from nothing."""
    from gmc.runtime.images import save_grid

    layers = (SMALL | LARGE)[case]
    alone = sizes((layers[0], 0, 0), quick)
    file, deep = EXAMPLES / "dbm.gm", sizes(layers, quick)
    rbm = train(file, alone, f"RBM {layers[0]}, seed {seed}", seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        start = grown(rbm, layers, Path(folder), seed)
        dbm = train(file, deep, f"DBM {case} from the RBM, seed {seed}", seed=seed, weights=start)
        begun = type(dbm).of(dbm.compiled, read(start), dbm.device)
        again = train(file, alone, f"RBM {layers[0]} again, seed {seed}", seed=seed, weights=saved(rbm, Path(folder)))
    fresh = train(file, deep, f"DBM {case} from nothing, seed {seed}", seed=seed)
    v = held_out(dbm)
    runs = {"RBM": rbm, "DBM at the start": begun, "DBM": dbm, "RBM again": again, "DBM from nothing": fresh}
    if picture is not None:
        drawn = dbm.sample("dreaming", chains=100, sweeps=20 if quick else None, seed=seed).values["v"]
        save_grid(picture, torch.cat([v[:20], drawn.to(v.dtype)]), dbm.compiled.checked.model.variable("v"), columns=20)
    found = (exact_values if case in SMALL else bound_values)(runs, v, seed, quick)
    say(f"DBM {case}, seed {seed}: {found}")
    return found


def exact_values(runs: dict[str, Run], v: Tensor, seed: int, quick: bool) -> Values:
    """Exact likelihoods; the bound and the annealed log Z beside them."""
    found = {name: exact(run, v) for name, run in runs.items()}
    dbm = runs["DBM"]
    weights = Weights(dbm)
    from gmc.runtime.likelihood import Likelihood

    log_z = Likelihood(dbm.compiled, dbm.params).log_z
    estimate, _ = annealed(weights, base_rates(dbm), seed, *((50, 100) if quick else (250, 2000)))
    gap = found["DBM"] - float(bound(dbm, weights, v).mean()) + log_z
    return found | {"gap of the bound": gap, "annealed log Z, error": abs(estimate - log_z)}


def bound_values(runs: dict[str, Run], v: Tensor, seed: int, quick: bool) -> Values:
    """Bounds with annealed log Z."""
    found, errors = {}, []
    for name, run in runs.items():
        weights = Weights(run)
        log_z, error = annealed(weights, base_rates(run), seed, *((50, 100) if quick else (250, 2000)))
        found[name] = float(bound(run, weights, v).mean()) - log_z
        errors.append(error)
    return found | {"se of log Z, worst": max(errors)}


def read(path: Path) -> dict[str, Tensor]:
    """The arrays of a weights file."""
    from safetensors.torch import load_file

    return load_file(path)


def saved(run: Run, folder: Path) -> Path:
    """A run's parameters as a weights file."""
    from safetensors.torch import save_file

    path = folder / "rbm.safetensors"
    save_file({name: value.contiguous() for name, value in run.params.items()}, path)
    return path


def judge(report: Report) -> None:
    """Holds what was found to the marks."""
    for case in (*SMALL, *LARGE):
        what = "exact" if case in SMALL else "bound, annealed log Z"
        before, after = report.values(case, "RBM"), report.values(case, "DBM")
        gains = [b - a for a, b in zip(before, after, strict=True)]
        control = report.mean(case, "RBM again") - report.mean(case, "RBM")
        report.notes.append(
            f"{case}: mean gain over the RBM {sum(gains) / len(gains):.3f}, the control's {control:.3f}."
        )
        report.mark(f"{case}: DBM above the RBM that it starts from ({what}), worst seed", min(gains), ">", 0.0)
    for case in SMALL:
        before, start = report.values(case, "RBM"), report.values(case, "DBM at the start")
        moved = [abs(a - b) for a, b in zip(before, start, strict=True)]
        gaps, errors = report.values(case, "gap of the bound"), report.values(case, "annealed log Z, error")
        report.mark(f"{case}: the DBM at the start is the RBM, difference", max(moved), "<=", 0.05)
        report.mark(f"{case}: the bound is below the likelihood, smallest gap", min(gaps), ">=", 0.0)
        report.mark(f"{case}: annealed log Z, worst error", max(errors), "<=", 0.2)


def main(given: Settings) -> None:
    """Runs all sizes and seeds."""
    report = Report(given, "Deep Boltzmann machines on 8x8 digits: log-likelihood in nats a held-out digit")
    tasks = []
    for case in (*reversed(LARGE), *reversed(SMALL)):
        for seed in given.count(3):
            picture = report.picture(f"dbm_{case}.png") if seed == 0 and case in LARGE else None
            tasks.append((case, seed, given.quick, picture))
    for number, values in parallel(work, tasks, given.jobs):
        report.add(tasks[number][0], tasks[number][1], values)
    judge(report)
    report.notes.append("RBM again: for control, the RBM trained as much again from where it ended.")
    report.notes.append(
        "Bounds with an annealed log Z are estimates: log Z is low, and the bound high, in expectation."
    )
    report.notes.append("dbm_*.png: a row of held-out digits, then states of 100 dreaming chains.")
    report.finish()


if __name__ == "__main__":
    main(settings("dbm", __doc__))
