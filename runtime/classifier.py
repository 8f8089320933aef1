"""Standard classifiers on frozen numbers: logistic regression and a network with one hidden layer, both of scikit-learn.

What they may choose, the penalty and when to stop, they choose by rows held out of those they learn from.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from gmc.dsl.diagnostic import GmcError
from gmc.runtime import probe_errors

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Classifier = Literal["logistic", "mlp"]
CLASSIFIERS: tuple[Classifier, ...] = get_args(Classifier)

HELD_OUT = 5
"""One row of so many of each class is held out."""
PENALTIES = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
"""L2 penalties to choose from, as multiples of half the squared weights beside the mean loss of a row."""
ITERATIONS = 500
"""Steps of L-BFGS at most."""
HIDDEN, BATCH, EPOCHS, PATIENCE = 256, 128, 200, 10
"""Of the network: hidden units, rows a step, epochs at most, and epochs without a better one after which it stops."""


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Numbers `[rows, width]` and the classes `[rows]` that go with them, as numbers from 0."""

    x: Floats
    y: Ints

    def __getitem__(self, rows: Ints) -> Examples:
        return Examples(self.x[rows], self.y[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Guess:
    """The predicted class of each row, int64 `[rows]`, and how it came about."""

    classes: Ints
    how: str


def require_sklearn() -> None:
    """Raises GmcError where scikit-learn is not installed."""
    try:
        import sklearn  # noqa: F401
    except ImportError:
        raise GmcError([probe_errors.no_sklearn(None)]) from None


def held_out(y: Ints, order: Ints) -> tuple[Ints, Ints]:
    """Which rows to learn from and which to hold out, both sorted: of each class the first fifth, rounded down, in the given order of all rows.

    The second is empty where no class has as many as five rows.
    """
    chosen = np.zeros(len(y), dtype=np.bool_)
    for each in np.unique(y):
        members = order[y[order] == each]
        chosen[members[: len(members) // HELD_OUT]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def classify(kind: Classifier, train: Examples, x: Floats, order: Ints, seed: int) -> Guess:
    """Learns from `train` and predicts the classes of the rows `x`; both arrays are overwritten.

    `order` is a random order of the training rows. The same arguments give the same classes.
    """
    _standardise(train.x, x)
    learn, held = held_out(train.y, order)
    return _LEARNERS[kind](train, learn, held, x, seed)


def _standardise(train: Floats, other: Floats) -> None:
    """Mean 0 and deviation 1 over the training rows, in place; what is missing (NaN) becomes the mean, what never varies 0."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler(copy=False).fit(train)
    for x in (train, other):
        x[:] = scaler.transform(x)
        np.nan_to_num(x, copy=False, nan=0.0)


def _logistic(train: Examples, learn: Ints, held: Ints, x: Floats, seed: int) -> Guess:
    """Multinomial logistic regression: the penalty under which the held-out rows are most probable, then all rows."""
    from sklearn.linear_model import LogisticRegression

    part, rest = train[learn], train[held]

    def fitted(model: Any, penalty: float, of: Examples) -> Any:
        # scikit-learn's C multiplies the sum of the losses
        return model.set_params(C=1.0 / (penalty * len(of.y))).fit(of.x, of.y)

    path = LogisticRegression(max_iter=ITERATIONS, warm_start=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged is told below
        scores = [_score(fitted(path, penalty, part), rest) for penalty in PENALTIES]
        best = PENALTIES[int(np.argmax(scores))]
        model = fitted(LogisticRegression(max_iter=ITERATIONS), best, train)
    steps = int(model.n_iter_.max())
    how = f"L2 {best:g}" + (f", stopped after {steps} steps before it converged" if steps >= ITERATIONS else "")
    return Guess(model.predict(x).astype(np.int64), how)


def _mlp(train: Examples, learn: Ints, held: Ints, x: Floats, seed: int) -> Guess:
    """One hidden layer of rectifiers by Adam: the weights of the epoch after which the held-out rows are most probable."""
    from sklearn.neural_network import MLPClassifier

    part, rest = train[learn], train[held]
    batch, start = min(BATCH, len(part.y)), int(np.random.SeedSequence(seed).generate_state(1)[0])
    network: Any = MLPClassifier  # what it says of its types is wrong
    model = network((HIDDEN,), batch_size=batch, random_state=start)
    classes, best, kept, at = np.unique(train.y), -np.inf, model, 0
    for epoch in range(1, EPOCHS + 1):
        model.partial_fit(part.x, part.y, classes=classes)
        score = _score(model, rest)
        if score > best:
            best, kept, at = score, copy.deepcopy(model), epoch
        if epoch - at >= PATIENCE:
            break
    return Guess(kept.predict(x).astype(np.int64), f"stopped at epoch {at}")


def _score(model: Any, on: Examples) -> float:
    """The mean log probability of the right class; steadier than the accuracy where few rows are held out."""
    chance = model.predict_proba(on.x)[np.arange(len(on.y)), on.y]
    return float(np.mean(np.log(np.maximum(chance, np.finfo(np.float32).tiny))))


_LEARNERS: dict[Classifier, Callable[[Examples, Ints, Ints, Floats, int], Guess]] = {"logistic": _logistic, "mlp": _mlp}
