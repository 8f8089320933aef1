"""RBM with 16 hidden units on thresholded MNIST, centred and plain, on the images and on the inverted ones: exact test log-likelihood.

PCD-1, batches of 100, 100 persistent chains, weights from 0.01 N(0, 1), visible biases at the logits of the pixels' means, learning rate 0.05 that falls to 0 in 50 epochs. A
pixel is 1 where its grey value is at least half of the greatest (threshold 0.5); inverted images are 1 - x. Three seeds each.

    python -m benchmarks.rbm_centred
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.common import MODELS, Report, Settings, Values, Watch, parallel, settings

CASES = {
    "centred": ("centred", 1),
    "centred, inverted": ("centred", -1),
    "plain": ("plain", 1),
    "plain, inverted": ("plain", -1),
}
MARK = -141.0
LL = "test log-likelihood"


def work(case: str, seed: int, data: Path, quick: bool) -> Values:
    """Trains with one seed and sums the likelihood."""
    import gmc

    objective, sign = CASES[case]
    text = (MODELS / "rbm_centred.gm").read_text(encoding="utf-8")
    text = text.replace("minimize centred", f"minimize {objective}")
    model = gmc.compile(text, {"sign": sign, "rounds": 1 if quick else 50}, str(data))
    run = model.train(seed=seed, watch=Watch(f"{case}, seed {seed}"))
    found = run.evaluate("exact", "test")
    assert found.log_z is not None
    return {LL: found.mean, "standard error": found.standard_error, "log Z": found.log_z}


def main(given: Settings) -> None:
    """Runs all cases and seeds."""
    data = given.data_file("mnist.npz")
    report = Report(
        given, "RBM, 16 hidden units, thresholded MNIST, centred and plain: exact log-likelihood, nats a test image"
    )
    tasks = [(case, seed, data, given.quick) for case in CASES for seed in given.count(3)]
    for number, values in parallel(work, tasks, given.jobs):
        report.add(tasks[number][0], tasks[number][1], values)
    centred, plain, inverted = (report.values(case, LL) for case in ("centred", "plain", "centred, inverted"))
    report.mark("centred, worst seed", min(centred), ">=", MARK)
    report.mark("centred above plain, worst seed", min(a - b for a, b in zip(centred, plain, strict=True)), ">", 0.0)
    away = max(abs(a - b) for a, b in zip(centred, inverted, strict=True))
    report.mark("centred: images against inverted ones, worst seed", away, "<=", 1.0)
    change = report.mean("plain, inverted", LL) - report.mean("plain", LL)
    report.notes.append(f"Plain: the inverted images change the mean by {change:.2f} nats.")
    report.notes.append("Published (PyDeep, lr 0.01): centred -142.56, plain -149.05; inverted: -142.09 and -183.36.")
    report.notes.append("The standard error is that of the mean over the 10,000 test images; the values are exact.")
    report.finish()


if __name__ == "__main__":
    main(settings("rbm_centred", __doc__))
