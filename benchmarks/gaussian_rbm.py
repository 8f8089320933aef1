"""Gaussian-Bernoulli RBMs: a small one against its closed form, and `examples/gaussian_rbm.gm` on the Frey faces.

With h summed out, v is a mixture of 32 normals N(b + W h, 1/beta): log-likelihoods, first and second moments of v and h, and conditionals given a part of v
follow from it. On the faces likelihoods cannot be summed at 100 hidden units; what is looked at is how well the lower half of held-out frames is filled in, beside
the pixels' means and a linear regression.

    python -m benchmarks.gaussian_rbm
"""

from __future__ import annotations

import itertools
import math
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import EXAMPLES, MODELS, Report, Settings, Values, parallel, say, settings, train

Floats = NDArray[np.float64]
CHAINS, SWEEPS, BETA = 100_000, 100, 2.5
FALSE_ALARM = 1e-6


def hidden() -> Floats:
    """All states of h, `[32, 5]`."""
    return np.array(list(itertools.product((0.0, 1.0), repeat=5)))


def weights(seed: int) -> dict[str, Floats]:
    """Weights and biases, as single precision holds them; hidden biases balance the components, so that many of them count."""
    rng = np.random.default_rng(seed)
    w, b = 0.5 * rng.standard_normal((6, 5)), 0.5 * rng.standard_normal((2, 3))
    c = 0.5 * rng.standard_normal(5) - BETA * (w.T @ b.ravel() + (w**2).sum(0) / 2)
    found = {"v.bias": b, "h.bias": c, "v_h.weight": w}
    return {name: value.astype(np.float32).astype(np.float64) for name, value in found.items()}


def mixture(w: dict[str, Floats]) -> tuple[Floats, Floats, float]:
    """log-weights [32] and means [32, 6] of the mixture, and log Z.

    The integral over v of exp(-beta v^2/2 + beta v (b + W h) + c h) is exp(c h + beta |b + W h|^2 / 2) (2 pi / beta)^(6/2).
    """
    h = hidden()
    means = w["v.bias"].ravel() + h @ w["v_h.weight"].T
    logs = h @ w["h.bias"] + BETA / 2 * (means**2).sum(1)
    total = float(np.logaddexp.reduce(logs))
    return logs - total, means, total + 3 * math.log(2 * math.pi / BETA)


def conditional(logs: Floats, means: Floats, known: NDArray[np.int64], value: Floats) -> tuple[Floats, Floats]:
    """The mixture of the other sites, given the known ones."""
    logs = logs - BETA / 2 * ((value - means[:, known]) ** 2).sum(1)
    return logs - np.logaddexp.reduce(logs), means


def deviation(v: Floats, h: Floats, logs: Floats, means: Floats) -> tuple[float, float]:
    """The largest deviation of a first or second moment of (v, h) in standard errors, and the largest that chance explains.

    Standard errors are those of the law: given h all sites are independent, so the variance of a product follows from second and fourth moments. Products that are not 0 in
    fewer than 100 chains, as expected, are left out: their means are no normal numbers.
    """
    from scipy.stats import norm

    p, width, n = np.exp(logs), v.shape[1], len(v)
    first = np.concatenate([means, hidden()], 1)
    second, fourth = first.copy(), first.copy()  # h is its own square
    second[:, :width] = means**2 + 1 / BETA
    fourth[:, :width] = means**4 + 6 * means**2 / BETA + 3 / BETA**2
    i, j = np.triu_indices(first.shape[1])
    law = np.concatenate([p @ first, p @ np.where(i == j, second[:, i], first[:, i] * first[:, j])])
    square = np.concatenate([p @ second, p @ np.where(i == j, fourth[:, i], second[:, i] * second[:, j])])
    drawn = np.concatenate([v, h], 1)
    seen = np.concatenate([drawn.mean(0), (drawn[:, i] * drawn[:, j]).mean(0)])
    # how often a product is not 0: that of the hidden units in it
    on = np.concatenate([np.ones((len(p), width)), hidden()], 1)
    often = np.concatenate([p @ on, p @ (on[:, i] * on[:, j])])
    never = np.concatenate([p @ (1 - on), p @ (1 - on[:, i] * on[:, j])])
    binary = np.concatenate([np.arange(first.shape[1]) >= width, (i >= width) & (j >= width)])
    kept = (often * n >= 100) & (~binary | (never * n >= 100))
    z = np.abs(seen - law)[kept] / np.sqrt((square - law**2)[kept] / n)
    return float(z.max()), float(norm.isf(FALSE_ALARM / 2 / z.size))


def small(seed: int, quick: bool) -> Values:
    """The small model with one set of weights."""
    import torch

    import gmc
    from gmc.runtime.likelihood import Likelihood

    w = weights(seed)
    model = gmc.compile(MODELS / "gaussian_small.gm", {"precision": str(BETA)})
    run = model.run({name: torch.from_numpy(value).float() for name, value in w.items()})
    logs, means, log_z = mixture(w)
    found = {"log Z error": abs(Likelihood(run.compiled, run.params).log_z - log_z)}
    chains, sweeps = (500, 20) if quick else (CHAINS, SWEEPS)
    drawn = run.sample("free", chains=chains, sweeps=sweeps, seed=seed).values
    v, h = (drawn[name].double().reshape(chains, -1) for name in ("v", "h"))
    squares = ((v.numpy()[:1000, None] - means) ** 2).sum(2)
    mine = np.logaddexp.reduce(logs - BETA / 2 * squares, axis=1) - 3 * math.log(2 * math.pi / BETA)
    told = run.log_likelihood({"v": v[:1000].reshape(-1, 2, 3)}).numpy()
    found["log p(v) error"] = float(np.abs(told - mine).max())
    found["free: largest z"], found["limit"] = deviation(v.numpy(), h.numpy(), logs, means)
    known = np.array([1, 2, 4, 5])
    given = torch.from_numpy(means[-1]).float().reshape(1, 2, 3)
    drawn = run.sample("part", chains=chains, sweeps=sweeps, clamp={"v": given}, seed=seed).values
    v, h = (drawn[name].double().reshape(chains, -1) for name in ("v", "h"))
    logs, means = conditional(logs, means, known, given.double().numpy().ravel()[known])
    rest = np.array([0, 3])
    found["part: largest z"], _ = deviation(v.numpy()[:, rest], h.numpy(), logs, means[:, rest])
    say(f"small model, seed {seed} done")
    return found


def faces(seed: int, data: Path, quick: bool, picture: Path | None) -> Values:
    """The example trained on nine frames of ten; errors of the lower halves of the others, in standard deviations of the pixels."""
    import torch

    from gmc.runtime.images import save_grid

    x = np.load(data)["x"].astype(np.float64) / 255
    held = np.random.default_rng(seed).permutation(len(x)) < len(x) // 10
    mean, deviation = x[~held].mean(0), x[~held].std(0)
    z = (x - mean) / deviation
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "faces.npz"
        np.savez(path, x=np.load(data)["x"][~held])
        params = {"rounds": 5} if quick else {}
        run = train(EXAMPLES / "gaussian_rbm.gm", params, f"faces, seed {seed}", seed=seed, data=path)
    frames = torch.from_numpy(z[held]).float()
    repeats = 2 if quick else 10
    filled = torch.zeros_like(frames)
    for n in range(repeats):
        filled += run.sample("inpaint", clamp={"v": frames}, seed=n).values["v"] / repeats
    dreams = run.sample("dreaming", chains=100, sweeps=10 if quick else None, seed=seed)
    field = run.params["v.bias"].flatten() + dreams.values["h"].to(run.dtype) @ run.params["v_h.weight"].T
    # grey values of the mean given h: the noise of a pixel itself shows nothing
    grey = field.reshape(-1, 28, 20).double().numpy() * deviation + mean
    if picture is not None:
        save_grid(picture, np.concatenate([x[held][:20], grey[:80]]).clip(0, 1), columns=20)
    upper, lower = z[:, :14].reshape(len(z), -1), z[:, 14:].reshape(len(z), -1)
    ridge = np.linalg.solve(upper[~held].T @ upper[~held] + 100 * np.eye(280), upper[~held].T @ lower[~held])
    errors = {
        "filled in": filled[:, 14:].reshape(len(frames), -1).double().numpy() - lower[held],
        "means": lower[held],
        "ridge regression": upper[held] @ ridge - lower[held],
    }
    found = {f"rmse: {name}": float(np.sqrt((e**2).mean())) for name, e in errors.items()}
    return found | {"spread of dreams": float(((grey - mean) / deviation).std())}


def work(kind: str, seed: int, data: Path | None, quick: bool, picture: Path | None) -> Values:
    """One task."""
    if data is None:
        return small(seed, quick)
    return faces(seed, data, quick, picture)


def main(given: Settings) -> None:
    """Runs all seeds of both."""
    report = Report(given, "Gaussian RBMs: a small one against its closed form, one on the Frey faces")
    data = given.data_file("frey_faces.npz")
    tasks: list[tuple[str, int, Path | None, bool, Path | None]] = []
    for seed in given.count(3):
        picture = report.picture("gaussian_rbm_faces.png") if seed == 0 else None
        tasks.append(("faces", seed, data, given.quick, picture))
    tasks += [("closed form", seed, None, given.quick, None) for seed in given.count(3)]
    for number, values in parallel(work, tasks, given.jobs):
        report.add(tasks[number][0], tasks[number][1], values)
    limit = min(report.values("closed form", "limit"))
    for name in ("free", "part"):
        worst = max(report.values("closed form", f"{name}: largest z"))
        report.mark(f"chain {name}: worst first or second moment, standard errors", worst, "<=", limit)
    for name in ("log Z error", "log p(v) error"):
        report.mark(f"closed form: {name}", max(report.values("closed form", name)), "<=", 1e-4)
    filled, means = report.mean("faces", "rmse: filled in"), report.mean("faces", "rmse: means")
    report.mark("faces: error of the filled-in half over that of the means", filled / means, "<", 1.0)
    report.notes.append(f"Closed form: {CHAINS} chains of {SWEEPS} sweeps a seed; the limit is a false alarm in 1e6.")
    report.notes.append("Faces: rmse in standard deviations of a pixel, 196 held-out frames, mean of 10 fillings.")
    report.notes.append("gaussian_rbm_faces.png: a row of held-out frames, then dreams (the mean of v given h).")
    report.finish()


if __name__ == "__main__":
    main(settings("gaussian_rbm", __doc__))
