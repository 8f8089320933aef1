"""`gmc eval`: how well a trained model explains data."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, cast

import click

from gmc.commands.frame import command
from gmc.commands.options import Choice, Whole, seed_option
from gmc.commands.probing import Asked, answer, probe_options
from gmc.commands.progress import Share
from gmc.commands.report import Reporter, put

if TYPE_CHECKING:
    from gmc.dsl.model import Split
    from gmc.runtime.estimate import LogMean
    from gmc.runtime.evaluation import Evaluation
    from gmc.runtime.partition import Partition

METHODS = {
    "exact": "log-likelihood by enumeration, for small models",
    "ais": "log-likelihood with log Z by annealed importance sampling",
    "raise": "a lower bound in expectation, by annealing from the data",
    "bound": "the variational lower bound by mean field, or by `~>` edges",
    "pseudo": "pseudo-likelihood, which is no likelihood",
}
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"


@command(
    "eval",
    "Evaluate a trained model on data.",
    examples=[
        "gmc eval runs/rbm",
        "gmc eval runs/rbm --method ais --temperatures 10000 --reverse",
        "gmc eval runs/dbm --method bound --temperatures adaptive",
        "gmc eval runs/rbm --method pseudo --split train",
        "gmc eval runs/label_rbm --probe y --chain guess",
    ],
)
@click.argument("run", metavar="RUN")
@click.option(
    "--method",
    type=Choice(list(METHODS)),
    default="exact",
    show_default=True,
    metavar="METHOD",
    help="; ".join(f"{name}: {told}" for name, told in METHODS.items()) + ".",
)
@click.option(
    "--split",
    type=Choice(["train", "valid", "test"]),
    default="test",
    show_default=True,
    metavar="SPLIT",
    help="Which rows: train, valid or test.",
)
@click.option(
    "--rows", type=Whole(1), metavar="N", help="Evaluate N of the rows, chosen by the seed  [default: all; raise: 100]"
)
@click.option(
    "--chains",
    type=Whole(1),
    metavar="N",
    help="How many chains, for log Z (ais, bound) or for each row (raise)  [default: 100; raise: 10]",
)
@click.option(
    "--temperatures",
    metavar="K",
    help="A number, evenly spaced; classic, 14,500 of them denser near 1; adaptive or adaptive:SHARE, by a pilot run  [default: 1000]",
)
@click.option(
    "--samples",
    type=Whole(1),
    metavar="N",
    help="How many draws of each row from `~>` edges, where these are not summed (bound)  [default: 100]",
)
@click.option("--reverse", is_flag=True, default=None, help="Anneal in reverse too: log Z from above (ais, bound).")
@seed_option
@click.option(
    "--device",
    default="cpu",
    show_default=True,
    metavar="NAMES",
    help="Where to compute: cpu, cuda, cuda:1, mps; chains are shared out over several, as cuda:0,cuda:1.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@probe_options
@click.pass_obj
def main(
    reporter: Reporter,
    run: str,
    method: str,
    split: str,
    rows: int | None,
    chains: int | None,
    temperatures: str | None,
    samples: int | None,
    reverse: bool | None,
    seed: int,
    device: str,
    as_json: bool,
    asked: Asked | None,
) -> None:
    """Evaluate the model in the run folder RUN: the mean over the rows in nats, its standard error, and how far both can be believed.

    With --probe the accuracy of a classifier that learns LABEL from the model's latent variables instead, with nothing of the model changed.
    """
    if asked is not None:
        answer(asked, run, split, seed, device, as_json)
        return

    from gmc.runtime.run import open_run

    devices = [name.strip() for name in device.split(",")]
    opened = open_run(run, devices[0])
    progress = Share(reporter, f"{method} on the {split} rows")
    try:
        found = opened.evaluate(
            method,
            cast("Split", split),
            rows=rows,
            seed=seed,
            chains=chains,
            temperatures=temperatures,
            samples=samples,
            reverse=reverse,
            devices=devices if len(devices) > 1 else (),
            watch=progress,
        )
    finally:
        progress.close()
    put(json.dumps({"run": run, "split": split, **found.json()}) + "\n" if as_json else text(found, split))
    reporter.show(found.warnings)


def text(found: Evaluation, split: str) -> str:
    """The evaluation for a person."""
    lines = [
        found.quantity,
        f"mean     {found.mean:.6g}{_error(found)}, nats a row",
        f"rows     {found.rows} of the {split} split",
        f"kind     {found.kind}; bias: {found.bias}",
    ]
    if found.partition is not None:
        lines += _log_z(found.partition)
    if found.reverse is not None:
        lines.append(f"         with the reverse log Z the mean is {found.reverse:.6g}")
    if found.partition is None and found.effective is not None:
        lines.append(f"weights  worth {found.effective:.3g} of {found.chains} chains in the median row")
    return "\n".join([*lines, f"method   {found.method}: {found.how}"]) + "\n"


def _error(found: Evaluation) -> str:
    """The standard error, and what it is of."""
    if found.rows < 2:
        return ""
    if math.isnan(found.log_z_error):
        return f" {PLUS_MINUS} {found.rows_error:.4g} (standard error of the rows alone; that of log Z is not known)"
    if not found.log_z_error:
        return f" {PLUS_MINUS} {found.standard_error:.4g} (standard error of the mean)"
    parts = f"{found.rows_error:.2g} of the rows, {found.log_z_error:.2g} of log Z"
    return f" {PLUS_MINUS} {found.standard_error:.4g} (standard error: {parts})"


def _log_z(found: Partition) -> list[str]:
    """log Z, and how far it may be off."""
    if found.forward is None:
        return [f"log Z    {found.value:.6g}"]
    lines = [f"log Z    {_estimate(found.forward)}; biased low", f"weights  {_weights(found.forward)}"]
    if found.reverse is not None:
        lines += [
            f"reverse  {_estimate(found.reverse)}; biased high; {_weights(found.reverse)}",
            f"         gap {found.gap:.3g}; began at {found.start}",
        ]
    return lines


def _estimate(found: LogMean) -> str:
    if math.isnan(found.standard_error):
        return f"{found.value:.6g}"
    low = "-inf" if math.isinf(found.low) else f"{found.low:.6g}"
    high = "inf" if math.isinf(found.high) else f"{found.high:.6g}"
    return f"{found.value:.6g} {PLUS_MINUS} {found.standard_error:.2g} ({low} to {high} by three standard errors)"


def _weights(found: LogMean) -> str:
    spread = "" if math.isnan(found.spread) else f"; their logs spread by {found.spread:.2g} nats"
    return f"worth {found.effective:.3g} of {found.count} chains{spread}"
