"""`examples/ising.gm`, 32x32 with periodic boundaries: energy and magnetisation against exact results.

Energies are held to Kaufman's exact partition function of the finite torus (B. Kaufman, Phys. Rev. 76, 1232, 1949; A. E. Ferdinand and M. E. Fisher,
Phys. Rev. 185, 832, 1969, eq. 2.1), magnetisations to Yang's formula below the critical temperature, and at every temperature to a sampler of another
kind, Swendsen and Wang's clusters, which does not slow down near the critical point. Onsager's and Yang's infinite lattices stand beside them.

    python -m benchmarks.ising
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import EXAMPLES, Report, Settings, Values, parallel, say, settings

if TYPE_CHECKING:
    import torch

SIDE = 32
CRITICAL = 2 / math.log(1 + math.sqrt(2))
LIMIT = 4.0
"""Standard errors allowed; eight comparisons of right numbers fail with a chance of 5e-4."""

# temperature: the chain of the file, its sweeps. Below the critical point chains from noise may stay in stripes for ever, so they start ordered.
CASES: dict[float, tuple[str, int]] = {CRITICAL: ("ordered", 6000), 1.8: ("ordered", 1000), 3.0: ("hot", 1000)}
CHAINS = 256


def log_z_torus(side: int, coupling: float) -> float:
    """log Z of the Ising model on a periodic square lattice (Kaufman's formula).

    Z = (2 sinh 2K)^(N/2) / 2 * (prod 2 cosh(n g_odd / 2) + prod 2 sinh(n g_odd / 2) + prod 2 cosh(n g_even / 2) + prod 2 sinh(n g_even / 2)) with
    cosh g_l = cosh 2K coth 2K - cos(pi l / n), and g_0 = 2K + log tanh K, negative above the critical temperature.
    """
    n, k = side, coupling
    level = math.cosh(2 * k) / math.tanh(2 * k)
    gamma = np.arccosh(np.maximum(level - np.cos(np.pi * np.arange(2 * n) / n), 1.0))
    gamma[0] = 2 * k + math.log(math.tanh(k))
    logs, signs = [], []
    for part in (gamma[1::2], gamma[0::2]):
        half = n * np.abs(part) / 2
        logs += [float(np.sum(half + np.log1p(np.exp(-2 * half)))), float(np.sum(half + np.log(-np.expm1(-2 * half))))]
        signs += [1.0, float(np.prod(np.sign(part)))]
    top = max(logs)
    total = sum(sign * math.exp(value - top) for sign, value in zip(signs, logs, strict=True))
    return n * n / 2 * math.log(2 * math.sinh(2 * k)) - math.log(2) + top + math.log(total)


def energy_torus(side: int, coupling: float) -> float:
    """The energy a site of the torus, by a central difference of log Z of fourth order."""
    h = 1e-3
    slope = 8 * (log_z_torus(side, coupling + h) - log_z_torus(side, coupling - h))
    slope -= log_z_torus(side, coupling + 2 * h) - log_z_torus(side, coupling - 2 * h)
    return -slope / (12 * h) / side**2


def energy_onsager(coupling: float) -> float:
    """The energy a site of the infinite lattice: u = -coth(2K) (1 + (2 / pi) (2 tanh^2(2K) - 1) K1(k)), k = 2 sinh(2K) / cosh^2(2K)."""
    from scipy.special import ellipkm1

    rest = 2 * math.tanh(2 * coupling) ** 2 - 1  # 1 - k^2 is its square
    term = 0.0 if abs(rest) < 1e-12 else 2 / math.pi * rest * float(ellipkm1(rest**2))
    return -(1 + term) / math.tanh(2 * coupling)


def magnetisation_yang(coupling: float) -> float:
    """The spontaneous magnetisation of the infinite lattice, (1 - sinh(2K)^-4)^(1/8) below the critical temperature."""
    rest = 1 - math.sinh(2 * coupling) ** -4
    return rest**0.125 if rest > 1e-9 else 0.0


def energies(spins: NDArray[np.float64]) -> NDArray[np.float64]:
    """The energy a site of each configuration `[n, side, side]`."""
    bonds = spins * np.roll(spins, 1, 1) + spins * np.roll(spins, 1, 2)
    total: NDArray[np.float64] = -bonds.mean((1, 2))
    return total


def clusters(temperature: float, seed: int, quick: bool) -> Values:
    """|m| and energy a site from Swendsen and Wang's cluster updates, with standard errors from independent replicas."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    rng = np.random.default_rng(seed)
    replicas, sweeps, burn = (4, 40, 10) if quick else (32, 1200, 100)
    grid = np.arange(replicas * SIDE * SIDE).reshape(replicas, SIDE, SIDE)
    first = np.concatenate([grid.ravel(), grid.ravel()])
    second = np.concatenate([np.roll(grid, -1, 1).ravel(), np.roll(grid, -1, 2).ravel()])
    spins = np.ones(grid.size)
    found = []
    for sweep in range(sweeps):
        held = (spins[first] == spins[second]) & (rng.random(first.size) < -math.expm1(-2 / temperature))
        graph = coo_matrix((np.ones(int(held.sum())), (first[held], second[held])), shape=(grid.size, grid.size))
        count, labels = connected_components(graph, directed=False)
        spins = rng.choice((-1.0, 1.0), count)[labels]
        if sweep >= burn:
            each = spins.reshape(grid.shape)
            found.append(np.stack([np.abs(each.mean((1, 2))), energies(each)]))
    m, u = np.mean(found, 0)
    error = [float(x.std(ddof=1)) / math.sqrt(replicas) for x in (m, u)]
    say(f"T = {temperature:.4f}: cluster updates done")
    return {"|m|": float(m.mean()), "se |m|": error[0], "energy": float(u.mean()), "se energy": error[1]}


def gibbs(temperature: float, seed: int, quick: bool) -> Values:
    """The same from gmc's blocked Gibbs chains, all independent, each looked at once, at its end."""
    import gmc

    chain, sweeps = CASES[temperature]
    chains, sweeps = (16, 50) if quick else (CHAINS, sweeps)
    overrides = {"side": str(SIDE), "coupling": repr(1 / temperature)}
    run = gmc.compile(EXAMPLES / "ising.gm", overrides).run({})
    drawn: torch.Tensor = run.sample(chain, chains=chains, sweeps=sweeps, seed=seed).values["s"]
    spins = drawn.double().numpy()
    m, u = np.abs(spins.mean((1, 2))), energies(spins)
    error = [float(x.std(ddof=1)) / math.sqrt(chains) for x in (m, u)]
    say(f"T = {temperature:.4f}, seed {seed}: {sweeps} sweeps done")
    return {"|m|": float(m.mean()), "se |m|": error[0], "energy": float(u.mean()), "se energy": error[1]}


def work(kind: str, temperature: float, seed: int, quick: bool) -> Values:
    """One task."""
    return (clusters if kind == "clusters" else gibbs)(temperature, seed, quick)


def small_difference() -> float:
    """log Z of a 4x4 torus: Kaufman's formula against gmc's enumeration of its 65,536 states."""
    import gmc
    from gmc.runtime.likelihood import Likelihood

    model = gmc.compile(EXAMPLES / "ising.gm", {"side": "4", "coupling": "0.37"})
    return abs(Likelihood(model.compiled, {}).log_z - log_z_torus(4, 0.37))


def main(given: Settings) -> None:
    """Runs all temperatures and seeds."""
    report = Report(given, f"Ising model, {SIDE}x{SIDE} periodic: energy and |magnetisation| a site (J = k = 1)")
    tasks = [("gibbs", t, seed, given.quick) for t in CASES for seed in given.count(3)]
    tasks[3:3] = [("clusters", t, 100, given.quick) for t in CASES]
    other: dict[float, Values] = {}
    for number, values in parallel(work, tasks, given.jobs):
        kind, temperature, seed, _ = tasks[number]
        report.add(f"T = {temperature:.4f}, {kind}", seed, values)
        if kind == "clusters":
            other[temperature] = values
    for t in sorted(CASES):
        compare(report, t, other[t])
    report.mark("log Z of a 4x4 torus: Kaufman's formula and gmc's enumeration differ", small_difference(), "<=", 1e-9)
    report.notes.append(f"{CHAINS} independent chains a seed, each seen once; standard errors (se) from their spread.")
    report.finish()


def compare(report: Report, temperature: float, other: Values) -> None:
    """Sets the pooled means of a temperature beside the exact results."""
    case, k = f"T = {temperature:.4f}, gibbs", 1 / temperature
    seeds = len(report.values(case, "energy"))
    u, m = report.mean(case, "energy"), report.mean(case, "|m|")
    error = {
        name: math.sqrt(sum(e * e for e in report.values(case, f"se {name}"))) / seeds for name in ("energy", "|m|")
    }
    torus, onsager, yang = energy_torus(SIDE, k), energy_onsager(k), magnetisation_yang(k)
    report.add(
        f"T = {temperature:.4f}, compared",
        0,
        {"energy": u, "Kaufman": torus, "Onsager": onsager, "|m|": m, "clusters": other["|m|"], "Yang": yang},
    )
    title = f"T = {temperature:.4f}"
    report.mark(f"{title}: energy from Kaufman's, standard errors", abs(u - torus) / error["energy"], "<=", LIMIT)
    both = math.hypot(error["|m|"], other["se |m|"])
    report.mark(f"{title}: |m| from the cluster sampler's, standard errors", abs(m - other["|m|"]) / both, "<=", LIMIT)
    if temperature < CRITICAL - 0.1:
        report.mark(f"{title}: |m| from Yang's, standard errors", abs(m - yang) / error["|m|"], "<=", LIMIT)
        report.mark(f"{title}: energy from Onsager's, standard errors", abs(u - onsager) / error["energy"], "<=", LIMIT)
    else:
        report.notes.append(
            f"{title}: the finite lattice differs from the infinite one by {torus - onsager:+.5f} in energy, by {other['|m|'] - yang:+.4f} in |m|."
        )


if __name__ == "__main__":
    main(settings("ising", __doc__))
