"""`gmc eval --probe`: its options, and what it prints."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click
from click.core import ParameterSource

from gmc.commands.options import Choice, chain_option
from gmc.commands.progress import Share
from gmc.commands.report import put

if TYPE_CHECKING:
    from gmc.dsl.model import Split
    from gmc.runtime.classifier import Classifier
    from gmc.runtime.probe import Accuracy, Probe

F = TypeVar("F", bound=Callable[..., Any])
CLASSIFIERS = {"logistic": "logistic regression", "mlp": "a network with one hidden layer"}
SHARED = {"run", "split", "seed", "device", "as_json"}
"""What else of the command a probe listens to."""
OPTIONS = (
    click.option(
        "--probe",
        metavar="LABEL",
        help="Learn LABEL, an observed variable or a column of the data, from the means of latent variables.",
    ),
    chain_option(
        "The chain whose means a probe takes  [default: the one that clamps the other observed variables and nothing else]"
    ),
    click.option(
        "--model",
        type=Choice(list(CLASSIFIERS)),
        metavar="KIND",
        help="What a probe learns by: logistic (regression) or mlp  [default: logistic]",
    ),
    click.option("--features", metavar="VARS", help="The latent variables a probe looks at, as h1,h2  [default: all]"),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A probe that was asked for."""

    label: str
    chain: str | None
    model: Classifier
    features: tuple[str, ...] | None


def probe_options(function: F) -> F:
    """`--probe` and what belongs to it, as `asked`: None without it."""

    @wraps(function)
    def folded(*args: Any, probe: str | None, **rest: Any) -> Any:
        about = {name: rest.pop(name) for name in ("chain", "model", "features")}
        return function(*args, asked=asked(probe, **about), **rest)

    for option in reversed(OPTIONS):
        folded = option(folded)
    return cast("F", folded)


def asked(label: str | None, chain: str | None, model: str | None, features: str | None) -> Asked | None:
    """The options together; UsageError for those that do not go together."""
    context = click.get_current_context()
    told = {str(p.name): p.opts[0] for p in context.command.params if _told(context, p)}
    own = {"probe", "chain", "model", "features"}
    if label is None:
        for name in sorted(own & told.keys()):
            raise click.UsageError(f"{told[name]} is about a probe: add --probe LABEL.", context)
        return None
    for name in sorted(told.keys() - own - SHARED):
        raise click.UsageError(f"--probe takes no {told[name]}: leave one of them out.", context)
    names = None if features is None else tuple(name.strip() for name in features.split(","))
    return Asked(label, chain, cast("Classifier", model or "logistic"), names)


def _told(context: click.Context, param: click.Parameter) -> bool:
    """Whether an option was written on the command line."""
    option = isinstance(param, click.Option) and param.expose_value
    return option and context.get_parameter_source(str(param.name)) is ParameterSource.COMMANDLINE


def answer(about: Asked, run: str, split: str, seed: int, device: str, as_json: bool) -> None:
    """Runs the probe and prints what it found."""
    from gmc.runtime.run import open_run

    opened = open_run(run, device)
    progress = Share(click.get_current_context().obj, f"features for {about.label}")
    try:
        found = opened.probe(
            about.label,
            chain=about.chain,
            model=about.model,
            features=about.features,
            split=cast("Split", split),
            seed=seed,
            watch=progress,
        )
    finally:
        progress.close()
    put(json.dumps({"run": run, **found.json()}) + "\n" if as_json else text(found))


def text(found: Probe) -> str:
    """The probe for a person."""
    raw = f"{', '.join(found.given)} itself" if len(found.given) == 1 else ", ".join(found.given)
    rows = {
        "the features": f"{_share(found.accuracy)}; {found.how}",
        raw: f"{_share(found.raw)}; {found.raw_how}",
        "most frequent class": _share(found.majority),
    }
    wide = max(map(len, rows))
    features = f"means of {', '.join(found.features)} where chain {found.chain} ends, {found.width} numbers a row"
    return (
        f"{found.of}, {found.classes} classes, by {CLASSIFIERS[found.model]}: {found.rows} rows of the {found.split} split, "
        f"learned from {found.training_rows} training rows\n"
        "accuracy from\n"
        + "".join(f"  {name.ljust(wide)}  {value}\n" for name, value in rows.items())
        + f"features  {features}; frozen\nseed      {found.seed}\n"
    )


def _share(found: Accuracy) -> str:
    return f"{found.value:.4f} \N{PLUS-MINUS SIGN} {found.standard_error:.4f} (standard error), error {100 * found.error:.2f} %"
