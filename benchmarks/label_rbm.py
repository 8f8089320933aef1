"""`examples/label_rbm.gm`: digits are recognised by a joint model of image and label, in three ways.

Three stratified splits of 360 held-out digits. The label is predicted by the exact p(y | v), by p(y | h) averaged over the states at which chains
with the image clamped end, and by mean field. Logistic regression and three nearest neighbours see the same pixels.

    python -m benchmarks.label_rbm
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from benchmarks.common import EXAMPLES, Report, Settings, Values, parallel, settings, train

if TYPE_CHECKING:
    from gmc.runtime.run import Run

CHAINS = 32
"""Chains a held-out digit."""
WAYS = ("exact", "clamped chain", "mean field")


def exact(run: Run, v: Tensor) -> Tensor:
    """log p(v, y) + log Z for every y, `[rows, 10]`, from which p(y | v) follows without log Z."""
    from gmc.runtime.clamping import encode_values
    from gmc.runtime.likelihood import Likelihood

    held = Likelihood(run.compiled, run.params)
    statistic = encode_values(run.compiled, "v", v)
    labels = [encode_values(run.compiled, "y", torch.full((v.shape[0],), y)) for y in range(10)]
    return torch.stack([held.unnormalised({"v": statistic, "y": label}) for label in labels], 1)


def clamped(run: Run, v: Tensor, seed: int) -> Tensor:
    """p(y | h) `[rows, 10]`, averaged over chains that draw y and h with the image clamped."""
    drawn = run.sample("predict", clamp={"v": v.repeat_interleave(CHAINS, 0)}, seed=seed)
    field = run.params["y.bias"] + drawn.values["h"].to(run.dtype) @ run.params["y_h.weight"].T
    return field.softmax(1).reshape(v.shape[0], CHAINS, 10).mean(1)


def peers(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> Values:
    """The accuracies of two standard classifiers on the same pixels."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    (x, y), (x_test, y_test) = [(v.flatten(1).numpy(), label.numpy()) for v, label in (train, test)]
    models = {"logistic regression": LogisticRegression(max_iter=5000), "3-NN": KNeighborsClassifier(3)}
    return {name: 100 * float(model.fit(x, y).score(x_test, y_test)) for name, model in models.items()}


def work(fold: int, quick: bool) -> Values:
    """Trains on one split and predicts its held-out digits; accuracies in percent."""
    params = {"fold": fold} | ({"rounds": 5} if quick else {})
    run = train(EXAMPLES / "label_rbm.gm", params, f"split {fold}", seed=fold)
    pairs = []
    for data in (run.rows("train"), run.rows("test")):
        assert data is not None
        numbers = torch.arange(data.rows)
        pairs.append((data.external("v", numbers, 0), data.external("y", numbers, 0).to(torch.int64)))
    v, y = pairs[1]
    guess = run.sample("guess", clamp={"v": v}).means["y"]
    scores = dict(zip(WAYS, (exact(run, v), clamped(run, v, fold), guess), strict=True))
    found = {way: 100 * float((score.argmax(1) == y).double().mean()) for way, score in scores.items()}
    return found | peers(pairs[0], pairs[1])


def main(given: Settings) -> None:
    """Runs all splits."""
    report = Report(given, "Labels of 360 held-out digits by a joint RBM: accuracy in percent")
    tasks = [(fold, given.quick) for fold in given.count(3)]
    for number, values in parallel(work, tasks, given.jobs):
        report.add("three splits", tasks[number][0], values)
    mean = {name: report.mean("three splits", name) for name in (*WAYS, "logistic regression", "3-NN")}
    report.mark("exact p(y | v): mean of the splits", mean["exact"], ">=", 94.0)
    report.mark("clamped chain: away from exact, points", abs(mean["clamped chain"] - mean["exact"]), "<=", 1.5)
    report.mark("mean field: away from exact, points", abs(mean["mean field"] - mean["exact"]), "<=", 1.5)
    others = ", ".join(f"{name} {mean[name]:.2f}" for name in ("logistic regression", "3-NN"))
    report.notes.append(f"On the same pixels, mean of the splits: {others}. The seed is the number of the split.")
    report.finish()


if __name__ == "__main__":
    main(settings("label_rbm", __doc__))
