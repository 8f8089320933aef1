"""`examples/potts.gm`, categorical sites with a third-order term, against an enumeration that shares no code with gmc.

Random couplings of standard deviation 0.8. All single and pair probabilities of the 2,916 states, for the free chain and for the one that clamps
a variable; and log Z.

    python -m benchmarks.potts
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import EXAMPLES, Report, Settings, Values, parallel, say, settings

Floats = NDArray[np.float64]
CHAINS, SWEEPS = 40_000, 150
FALSE_ALARM = 1e-6
"""The chance that a right sampler fails one of the marks, about."""
GRID = ((0, 2), (1, 3), (0, 1), (2, 3))
"""The bonds of the 2x2 grid, in the order of `grid.weight`: along the first axis, then the second."""


def states() -> NDArray[np.int64]:
    """All states: a (4 sites), b (2), c (2)."""
    return np.array(list(itertools.product(*[range(3)] * 6, *[range(2)] * 2)))


def statistics(values: NDArray[np.int64]) -> Floats:
    """One-hot statistics of a and b, and c itself, `[n, 20]`."""
    hot = np.eye(3)[values[:, :6]].reshape(len(values), 18)
    return np.concatenate([hot, values[:, 6:].astype(np.float64)], 1)


def weights(seed: int) -> dict[str, Floats]:
    """Couplings and biases."""
    rng = np.random.default_rng(seed)
    shapes = {"a.bias": (2, 2, 3), "b.bias": (2, 3), "c.bias": (2,), "grid.weight": (4,), "triad.weight": (12, 6, 2)}
    return {name: 0.8 * rng.standard_normal(shape) for name, shape in shapes.items()}


def minus_energy(t: Floats, w: dict[str, Floats]) -> Floats:
    """-E of statistics `[n, 20]`: biases, bonds between equal neighbours, and sum of W_ijk a_i b_j c_k."""
    a, b, c = t[:, :12], t[:, 12:18], t[:, 18:]
    sites = a.reshape(-1, 4, 3)
    bonds = np.stack([(sites[:, i] * sites[:, j]).sum(1) for i, j in GRID], 1) @ w["grid.weight"]
    triad = np.einsum("ni,nj,nk,ijk->n", a, b, c, w["triad.weight"])
    fields = [a @ w["a.bias"].ravel(), b @ w["b.bias"].ravel(), c @ w["c.bias"].ravel()]
    total: Floats = np.stack([*fields, bonds, triad]).sum(0)
    return total


def deviation(drawn: Floats, t: Floats, p: Floats) -> tuple[float, float]:
    """The largest deviation of a single or pair probability in its standard errors, and the largest that chance explains."""
    from scipy.stats import norm

    upper = np.triu_indices(t.shape[1])
    law = (t.T @ (t * p[:, None]))[upper]
    seen = (drawn.T @ drawn / len(drawn))[upper]
    sure = (law < 1e-12) | (law > 1 - 1e-12)
    if not np.allclose(seen[sure], law[sure]):
        return math.inf, 0.0
    z = np.abs(seen - law)[~sure] / np.sqrt((law * (1 - law))[~sure] / len(drawn))
    return float(z.max()), float(norm.isf(FALSE_ALARM / 2 / z.size))


def work(seed: int, quick: bool) -> Values:
    """Samples and sums one set of couplings."""
    import torch

    import gmc
    from gmc.runtime.likelihood import Likelihood

    w = weights(seed)
    # single precision, as a run has; the enumeration takes the same rounded numbers
    w = {name: value.astype(np.float32).astype(np.float64) for name, value in w.items()}
    model = gmc.compile(EXAMPLES / "potts.gm")
    run = model.run({name: torch.from_numpy(value).float() for name, value in w.items()})
    all_states = states()
    t = statistics(all_states)
    energy = minus_energy(t, w)
    log_z = float(np.logaddexp.reduce(energy))
    found = {"log Z": log_z, "log Z error": abs(Likelihood(run.compiled, run.params).log_z - log_z)}
    for chain in ("free", "middle"):
        kept = np.ones(len(t), dtype=bool) if chain == "free" else (all_states[:, 4:6] == 1).all(1)
        p = np.exp(energy[kept] - np.logaddexp.reduce(energy[kept]))
        drawn = run.sample(chain, chains=500 if quick else CHAINS, sweeps=20 if quick else SWEEPS, seed=seed).values
        columns = [drawn[name].reshape(len(drawn[name]), -1).numpy() for name in ("a", "b", "c")]
        z, limit = deviation(statistics(np.concatenate(columns, 1).astype(np.int64)), t[kept], p)
        found |= {f"{chain}: largest z": z, f"{chain}: limit": limit}
    say(f"seed {seed} done")
    return found


def main(given: Settings) -> None:
    """Runs all seeds."""
    report = Report(given, "Potts sites with a third-order term: samples and log Z against enumeration")
    tasks = [(seed, given.quick) for seed in given.count(3)]
    for number, values in parallel(work, tasks, given.jobs):
        report.add("random couplings", tasks[number][0], values)
    case = "random couplings"
    for chain in ("free", "middle"):
        worst, limit = max(report.values(case, f"{chain}: largest z")), min(report.values(case, f"{chain}: limit"))
        report.mark(f"chain {chain}: worst single or pair, standard errors", worst, "<=", limit)
    report.mark("log Z: gmc's sum and the enumeration differ", max(report.values(case, "log Z error")), "<=", 1e-9)
    report.notes.append(f"{CHAINS} chains of {SWEEPS} sweeps a seed. The limit is that of a false alarm in 1e6.")
    report.finish()


if __name__ == "__main__":
    main(settings("potts", __doc__))
