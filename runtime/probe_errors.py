"""Diagnostics of classifier probes: GM76x."""

from __future__ import annotations

from collections.abc import Sequence

from gmc.dsl.diagnostic import Related
from gmc.dsl.errors.catalogue import Finding, diagnostic
from gmc.dsl.errors.phrases import did_you_mean, one_of, quoted
from gmc.dsl.source import Span


@diagnostic("GM760", "scikit-learn is not installed")
def no_sklearn(span: Span | None) -> Finding:
    """A probe without the package that its classifiers are from."""
    return Finding(
        "a probe needs scikit-learn, which is not installed here",
        "`pip install 'gmc-lang[probe]'`, or `pip install scikit-learn`",
    )


@diagnostic("GM761", "no chain for the probe")
def which_chain(span: Span, of: str, given: Sequence[str], fitting: Sequence[str], others: Sequence[str]) -> Finding:
    """No chain was named, and not exactly one clamps the other observed variables and nothing else."""
    wanted = f"clamps {', '.join(quoted(given))} and nothing else" if given else "clamps an observed variable"
    if fitting:
        return Finding(
            f"several chains could give the features for `{of}`: each of {', '.join(quoted(fitting))} {wanted}",
            f"choose one with `--chain`: {one_of(quoted(fitting))}",
        )
    written = f"add `chain features {{ clamp {', '.join(given)} }}` to the file" if given else "write one"
    choices = f", or choose one with `--chain`: {one_of(quoted(others))}" if others else ""
    return Finding(f"no chain {wanted}, to give the features for `{of}`", written + choices)


@diagnostic("GM762", "label given to the chain")
def leak(span: Span, of: str, chain: str, through: Sequence[str], place: Span) -> Finding:
    """The chain that computes the features is clamped to, or starts from, what is to be predicted; `through` are the variables that hold it."""
    held = ", ".join(quoted(through))
    same = "" if list(through) == [of] else f", which {'holds' if len(through) == 1 else 'hold'} `{of}`"
    return Finding(
        f"chain `{chain}` is given {held}{same}: its features would tell the label",
        f"choose a chain that leaves {held} free",
        (Related(place, "it is given here"),),
    )


@diagnostic("GM763", "no such label")
def unknown_label(span: Span | None, of: str, variables: Sequence[str], columns: Sequence[str]) -> Finding:
    """What is to be predicted is neither an observed variable nor a column."""
    names = [*variables, *columns]
    found = ", ".join(quoted(columns)) or "none"
    help = (
        did_you_mean(of, names) or f"observed variables: {', '.join(quoted(variables))}; columns of the data: {found}"
    )
    return Finding(f"`{of}` is neither an observed variable of the model nor a column of its data", help)


@diagnostic("GM764", "not a label")
def no_label(span: Span | None, of: str, reason: str) -> Finding:
    """What is to be predicted does not put each row into one of a few classes."""
    return Finding(
        f"`{of}` cannot be predicted by a classifier: {reason}",
        "a label is one whole number a row: a categorical or Bernoulli variable without a shape, or such a column",
    )


@diagnostic("GM765", "column without a partner")
def no_partner(span: Span, of: str, split: str, names: Sequence[str], tried: Sequence[str]) -> Finding:
    """A column that goes with the training rows, and none that goes with the rows to be scored."""
    asked = f" (there is no {one_of(quoted(tried))})" if tried else ""
    return Finding(
        f"`{of}` goes with the training rows, and nothing says which column holds the same for the {split} rows{asked}",
        f"name both: `--probe {of}/COLUMN`; the columns are {', '.join(quoted(names))}",
    )


@diagnostic("GM766", "labels of other rows")
def rows_differ(span: Span, column: str, count: int, split: str, rows: int) -> Finding:
    """A column that does not have a value for each row of a split."""
    return Finding(
        f"column `{column}` has {count} values, but the data have {rows} {split} rows",
        "name the column that belongs to these rows: `--probe TRAIN/OTHER`",
    )


@diagnostic("GM767", "not a feature")
def no_feature(span: Span | None, name: str | None, latent: Sequence[str]) -> Finding:
    """`--features` that is no latent variable, or a model that has none."""
    if name is None or not latent:
        return Finding(
            "the model has no latent variable whose means could be features", "a probe tells what latent variables know"
        )
    help = did_you_mean(name, latent) or f"latent variables: {', '.join(quoted(latent))}"
    return Finding(f"`{name}` is not a latent variable of the model, so it is no feature", help)


@diagnostic("GM768", "too little to learn from")
def too_few(span: Span | None, of: str, split: str, reason: str) -> Finding:
    """A split without labelled rows, or training rows of one class, or too few to hold some out."""
    return Finding(
        f"the {split} rows of `{of}` are too few for a probe: {reason}",
        "a probe needs training rows of two classes, at least five of one of them, and rows to be scored",
    )


@diagnostic("GM769", "scored on what it learned from")
def on_training_rows(span: Span | None) -> Finding:
    """A probe of the training split, from which the classifier is made."""
    return Finding(
        "the classifier learns from the training rows", "score it on others: `--split test` or `--split valid`"
    )


@diagnostic("GM770", "features that know nothing of the rows")
def nothing_given(span: Span, chain: str) -> Finding:
    """A probe with a chain that is neither clamped to data nor starts from them."""
    return Finding(
        f"chain `{chain}` is given nothing of the rows, so its features say nothing of them",
        "choose a chain that clamps the other observed variables",
    )
