"""A classifier probe: what the latent variables of a trained model know of a label.

Everything is frozen. A chain runs on each row, a standard classifier learns the label from the means of latent variables where it ends, and is scored on other rows, beside two
that know nothing of the model: the most frequent class, and the same classifier on what the chain was given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gmc.dsl.diagnostic import GmcError
from gmc.dsl.model import Chain, Split
from gmc.dsl.source import Span
from gmc.runtime import probe_errors, run_errors
from gmc.runtime.clamping import Trained
from gmc.runtime.classifier import CLASSIFIERS, Classifier, Examples, Floats, Guess, Ints, classify, require_sklearn
from gmc.runtime.dataset import Dataset, order
from gmc.runtime.labels import LEARNED, Labels, labels
from gmc.runtime.request import Course, chain_of, course_of, whole
from gmc.runtime.rowwise import given_to, known_split, require, row_means, rows_in
from gmc.runtime.sampling import chains_together

Mask = NDArray[np.bool_]
Numbers = Callable[[Tensor], Tensor]
"""Of consecutive rows, by their numbers, int64 `[n]`, the inputs of a classifier, `[n, width]`."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How many of some rows a classifier has right; the standard error is that of a binomial share."""

    right: int
    rows: int

    @property
    def value(self) -> float:
        """The share that is right."""
        return self.right / self.rows

    @property
    def error(self) -> float:
        """The share that is wrong."""
        return 1.0 - self.value

    @property
    def standard_error(self) -> float:
        """Of either share: sqrt(p (1 - p) / n)."""
        return math.sqrt(self.value * self.error / self.rows)

    def json(self) -> dict[str, object]:
        """It as data."""
        return {"accuracy": self.value, "error": self.error, "standard_error": self.standard_error}


@dataclass(frozen=True, slots=True)
class Probe:
    """How well a label is told from the means of latent variables.

    `width` counts the numbers of a row's features, `given` are the variables that the chain was given rows of. `majority` is the accuracy of the most frequent class of the training
    rows, `raw` that of the same classifier on the rows of `given` themselves. `how` and `raw_how` say what the two classifiers chose for themselves.
    """

    of: str
    chain: str
    model: Classifier
    features: tuple[str, ...]
    width: int
    given: tuple[str, ...]
    split: Split
    classes: int
    training_rows: int
    seed: int
    accuracy: Accuracy
    majority: Accuracy
    raw: Accuracy
    how: str
    raw_how: str

    @property
    def rows(self) -> int:
        """How many rows were scored."""
        return self.accuracy.rows

    def json(self) -> dict[str, object]:
        """All of it as data."""
        return {
            "probe": self.of,
            "chain": self.chain,
            "model": self.model,
            "features": list(self.features),
            "width": self.width,
            "split": self.split,
            "rows": self.rows,
            "training_rows": self.training_rows,
            "classes": self.classes,
            **self.accuracy.json(),
            "how": self.how,
            "majority": self.majority.json(),
            "raw": {"of": list(self.given), **self.raw.json(), "how": self.raw_how},
            "seed": self.seed,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """Which rows have labels, bool `[rows]` of each split, the classes of those, and a random order of the ones to learn from.

    A class of the scored rows that no training row has is -1, so that it is never right.
    """

    learn: Mask
    score: Mask
    y: Ints
    truth: Ints
    classes: int
    order: Ints
    seed: int


def probe(
    run: Trained,
    of: str,
    *,
    chain: str | None = None,
    model: str = "logistic",
    features: Sequence[str] | None = None,
    split: Split = "test",
    seed: int = 0,
    watch: Callable[[float], None] | None = None,
) -> Probe:
    """See `Run.probe`."""
    require_sklearn()
    seed = whole("the seed", seed, 0)
    kinds: dict[str, Classifier] = {each: each for each in CLASSIFIERS}
    kind = kinds.get(model)
    if kind is None:
        raise GmcError([run_errors.unknown_choice(None, "classifier", model, CLASSIFIERS)], exit_code=2)
    known_split(split)
    if split == LEARNED:
        raise GmcError([probe_errors.on_training_rows(None)], exit_code=2)
    names = _features(run, features)
    train, other = rows_in(run, LEARNED), rows_in(run, split)
    label = labels(run, of, train, split, other)
    runs = _chain(run, label, chain)
    require(run, runs, train, LEARNED)
    require(run, runs, other, split)
    task = _task(run, label, split, seed)
    given = given_to(run, runs)
    course = course_of(runs, None, None, 0)
    total = train.rows + other.rows
    means = [
        partial(_means, run, runs, data, names, seed, course, _told(watch, first, total))
        for data, first in ((train, 0), (other, train.rows))
    ]
    guess, width = _guess(run, kind, task, *means)
    raw, _ = _guess(run, kind, task, *(partial(_rows, data, given) for data in (train, other)))
    commonest = np.full_like(task.truth, np.bincount(task.y).argmax())
    right = [int((found == task.truth).sum()) for found in (guess.classes, commonest, raw.classes)]
    accuracy, majority, beside = (Accuracy(count, len(task.truth)) for count in right)
    counts = (task.classes, len(task.y), seed)
    how = (guess.how, raw.how)
    return Probe(
        label.of, runs.name, kind, names, width, tuple(given), split, *counts, accuracy, majority, beside, *how
    )


# ── What is asked ────────────────────────────────────────────────────────────────────────────────────────────────────


def _features(run: Trained, names: Sequence[str] | None) -> tuple[str, ...]:
    """The latent variables whose means are features: those named, else all."""
    latent = [v.name for v in run.compiled.checked.model.variables if not v.observed and v.sites]
    if not latent:
        raise GmcError([probe_errors.no_feature(run.compiled.checked.model.span, None, latent)], exit_code=2)
    for name in names or ():
        if name not in latent:
            raise GmcError([probe_errors.no_feature(None, name, latent)], exit_code=2)
    return tuple(dict.fromkeys(names)) if names else tuple(latent)


def _chain(run: Trained, label: Labels, name: str | None) -> Chain:
    """The chain of that name, or the one that clamps all observed variables but those that hold the label, and nothing else.

    Raises:
        GmcError: there is none, or not exactly one; or it is given the label, or nothing.
    """
    checked = run.compiled.checked
    if name is not None:
        chain = chain_of(run.compiled, name)
        held = [v for v in given_to(run, chain) if v in label.through]
        if held:
            place = _place(run, chain, held)
            raise GmcError([probe_errors.leak(chain.span, label.of, name, held, place)], exit_code=2)
        if not given_to(run, chain):
            raise GmcError([probe_errors.nothing_given(chain.span, name)], exit_code=2)
        return chain
    wanted = [v.name for v in checked.model.observed if v.name not in label.through]
    fair = [c for c in checked.chains if (given := given_to(run, c)) and not set(given) & set(label.through)]
    fitting = [c for c in fair if wanted and _clamps(c, wanted)]
    if len(fitting) != 1:
        choices = ([c.name for c in fitting], [c.name for c in fair])
        raise GmcError([probe_errors.which_chain(checked.model.span, label.of, wanted, *choices)], exit_code=2)
    return fitting[0]


def _clamps(chain: Chain, names: Sequence[str]) -> bool:
    """Whether a chain clamps these variables to rows, each wholly, and nothing else."""
    plain = all(c.part is None and c.constant is None and c.chain is None for c in chain.clamps)
    return plain and {c.variable for c in chain.clamps} == set(names)


def _place(run: Trained, chain: Chain, held: Sequence[str]) -> Span:
    """Where a chain, or one that it needs, is given one of some variables."""
    for each in run.compiled.checked.with_needs([chain.name]):
        for clamp in each.clamps:
            if clamp.variable in held and clamp.constant is None and clamp.chain is None:
                return clamp.span
        for start in each.starts:
            if not isinstance(start.source, str) and set(start.variables) & set(held):
                return start.span
    return chain.span


def _task(run: Trained, label: Labels, split: Split, seed: int) -> Task:
    """The rows that have a label.

    Raises:
        GmcError: too few of them.
    """

    def few(of: Split, reason: str) -> GmcError:
        return GmcError([probe_errors.too_few(run.compiled.checked.model.span, label.of, of, reason)])

    learn, score = (~np.isnan(values) for values in (label.train, label.other))
    known, y, counts = np.unique(label.train[learn], return_inverse=True, return_counts=True)
    if not score.any():
        raise few(split, "none has a label")
    if len(known) < 2:
        raise few(LEARNED, f"they have {len(known)} class{'' if len(known) == 1 else 'es'}")
    if counts.max() < 5:
        raise few(LEARNED, f"no class has more than {counts.max()}")
    truth = label.other[score]
    at = np.searchsorted(known, truth).clip(max=len(known) - 1)
    classes = np.where(known[at] == truth, at, -1).astype(np.int64)
    shuffled = order(len(y), seed, "probe", 0).numpy()
    return Task(learn, score, y.astype(np.int64), classes, len(known), shuffled, seed)


# ── Numbers of rows ──────────────────────────────────────────────────────────────────────────────────────────────────


def _guess(run: Trained, kind: Classifier, task: Task, learn: Numbers, score: Numbers) -> tuple[Guess, int]:
    """What a classifier on some numbers says of the rows to be scored, and how many numbers a row has."""
    together = chains_together(run.compiled.checked.model.variables, 1)
    x, other = (_table(of, rows, together, run.device) for of, rows in ((learn, task.learn), (score, task.score)))
    return classify(kind, Examples(x, task.y), other, task.order, task.seed), x.shape[1]


def _table(of: Numbers, rows: Mask, together: int, device: torch.device) -> Floats:
    """The numbers of some of the rows, float32 `[rows, width]`, computed for a part at a time."""
    found: Floats | None = None
    at = 0
    for first in range(0, len(rows), together):
        wanted = rows[first : first + together]
        if not wanted.any():
            continue
        numbers = torch.arange(first, first + len(wanted), device=device)
        part = of(numbers).to(torch.float32).cpu().numpy()[wanted]
        found = np.empty((int(rows.sum()), part.shape[1]), dtype=np.float32) if found is None else found
        found[at : at + len(part)] = part
        at += len(part)
    assert found is not None, "there are rows"
    return found


def _means(
    run: Trained,
    chain: Chain,
    data: Dataset,
    names: Sequence[str],
    seed: int,
    course: Course,
    tell: Callable[[int], None],
    rows: Tensor,
) -> Tensor:
    """The mean statistics of latent variables where the chain ends on each of the rows."""
    found = row_means(run, chain, data, names, rows, 1, seed, course)
    tell(int(rows[-1]) + 1)
    return torch.cat([found[name] for name in names], 1)


def _rows(data: Dataset, names: Sequence[str], rows: Tensor) -> Tensor:
    """The statistics of variables as the data have them, NaN where a value is missing."""
    batch = data.batch(rows, 0)
    return torch.cat([batch[name] for name in names], 1)


def _told(watch: Callable[[float], None] | None, first: int, total: int) -> Callable[[int], None]:
    """Tells how many rows of two splits are done, as a share."""
    return lambda rows: None if watch is None else watch((first + rows) / total)
