"""Learning from rows with gaps: bars and stripes, 3x3, with 30 % of the entries missing at random.

500 rows are drawn with replacement from the 16 of `bars_and_stripes.py`. The positive chain is `clamp v where observed  start persistent(1)`: each row keeps a fill of its
own, and every update draws it anew by one sweep, given what the row has. What is reported is the exact log-likelihood of the 16 complete rows in all, for

- `gaps`: the rows with gaps, 60,000 updates;
- `whole`: PCD-1 on the same 500 rows without gaps;
- `whole rows only`: PCD-1 on those of the rows with gaps that have none;
- `filled once`: PCD-1 on the rows with each gap filled once by a draw from its column's frequencies.

The last two are what one does without a model of what is missing. All but the first run for 20,000 updates and for 60,000, and the better one counts. Learning rate 0.05 -> 0, batches and chains of 64, 16 hidden units, five seeds.

    python -m benchmarks.missing_data
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.bars_and_stripes import patterns
from benchmarks.common import MODELS, Report, Settings, Values, Watch, parallel, say, settings

ROWS, BATCH, MISSING = 500, 64, 0.3
GAPS, WHOLE, ONLY, FILLED = "gaps", "whole", "whole rows only", "filled once"
LONG, SHORT = 60_000, 20_000
"""Updates."""
CASES = ((GAPS, LONG), (WHOLE, SHORT), (WHOLE, LONG), (ONLY, LONG), (FILLED, LONG), (ONLY, SHORT), (FILLED, SHORT))
TOTAL = "total log-likelihood"

Rows = NDArray[np.float32]


def rows_with_gaps(seed: int) -> tuple[Rows, Rows]:
    """500 rows `[500, 3, 3]`, and the same with NaN in 30 % of the places."""
    generator = np.random.default_rng(seed)
    whole = patterns()[generator.integers(0, 16, ROWS)].astype(np.float32)
    return whole, np.where(generator.random(whole.shape) < MISSING, np.float32(np.nan), whole)


def rows_of(kind: str, seed: int) -> Rows:
    """The rows that a case learns from, `[500, 3, 3]`; where there are fewer they are repeated, so that an epoch is as long."""
    whole, gaps = rows_with_gaps(seed)
    match kind:
        case "gaps":
            return gaps
        case "whole":
            return whole
        case "whole rows only":
            return np.resize(gaps[~np.isnan(gaps).any((1, 2))], whole.shape)
        case _:
            drawn = np.random.default_rng([seed, 1]).random(gaps.shape) < np.nanmean(gaps, axis=0)
            return np.where(np.isnan(gaps), drawn.astype(np.float32), gaps)


def work(kind: str, updates: int, seed: int, quick: bool) -> Values:
    """Trains with one seed and sums the likelihood."""
    import gmc

    epochs = round(updates / math.ceil(ROWS / BATCH) / (100 if quick else 1))
    model = gmc.compile(MODELS / ("bars_missing.gm" if kind == GAPS else "bars_pcd.gm"), {"rounds": epochs})
    watch = Watch(f"{label(kind, updates)}, seed {seed}")
    run = model.train(data={"v": torch.from_numpy(rows_of(kind, seed))}, seed=seed, watch=watch)
    found = float(run.log_likelihood({"v": torch.from_numpy(patterns())}).sum())
    say(f"{watch.label}: {found:.2f}")
    return {TOTAL: found}


def label(kind: str, updates: int) -> str:
    """A case's name in the tables."""
    return f"{kind}, {updates:,} updates"


def best(report: Report, kind: str) -> float:
    """The mean over the seeds of a kind, after as many updates as it does best with."""
    return max(report.mean(label(k, updates), TOTAL) for k, updates in CASES if k == kind)


def main(given: Settings) -> None:
    """Runs all cases and seeds."""
    report = Report(given, "Bars and stripes with 30 % missing: exact log-likelihood of the 16 whole rows, in nats")
    tasks = [(kind, updates, seed, given.quick) for kind, updates in CASES for seed in given.count(5)]
    for number, values in parallel(work, tasks, given.jobs):
        kind, updates, seed, _ = tasks[number]
        report.add(label(kind, updates), seed, values)
    gaps, reference = report.mean(label(GAPS, LONG), TOTAL), best(report, WHOLE)
    report.mark("rows with gaps below whole rows, nats", reference - gaps, "<=", 1.0)
    report.mark("whole rows only below rows with gaps, nats", gaps - best(report, ONLY), ">=", 10.0)
    report.mark("filled once below rows with gaps, nats", gaps - best(report, FILLED), ">=", 20.0)
    report.notes.append("Means over the seeds; of the lengths that were tried the better one is compared.")
    left = ", ".join(str(int((~np.isnan(rows_with_gaps(seed)[1]).any((1, 2))).sum())) for seed in given.count(5))
    report.notes.append(f"Of 500 rows, without gaps: {left} (one number a seed).")
    report.finish()


if __name__ == "__main__":
    main(settings("missing_data", __doc__))
