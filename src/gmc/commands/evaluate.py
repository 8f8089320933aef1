"""`gmc eval`: how well a trained model explains data."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

import click

from gmc.commands.frame import command
from gmc.commands.options import Choice, device_option
from gmc.commands.report import put

if TYPE_CHECKING:
    from gmc.dsl.model import Split
    from gmc.runtime.evaluation import Evaluation

METHODS = ("exact", "pseudo")


@command(
    "eval",
    "Evaluate a trained model on data.",
    examples=["gmc eval runs/rbm", "gmc eval runs/rbm --method pseudo --split train", "gmc eval runs/rbm --json"],
)
@click.argument("run", metavar="RUN")
@click.option(
    "--method",
    type=Choice(METHODS),
    default="exact",
    show_default=True,
    metavar="METHOD",
    help="exact: log-likelihood by enumeration, for small models; pseudo: pseudo-log-likelihood.",
)
@click.option(
    "--split",
    type=Choice(["train", "valid", "test"]),
    default="test",
    show_default=True,
    metavar="SPLIT",
    help="Which rows: train, valid or test.",
)
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(run: str, method: str, split: str, device: str, as_json: bool) -> None:
    """Evaluate the model in the run folder RUN: the mean over the rows in nats, its standard error, and how it was computed."""
    from gmc.runtime.run import open_run

    found = open_run(run, device).evaluate(method, cast("Split", split))
    put(json.dumps({"run": run, "split": split, **found.json()}) + "\n" if as_json else text(found, split))


def text(found: Evaluation, split: str) -> str:
    """The evaluation for a person."""
    error = "" if found.rows < 2 else f" \N{PLUS-MINUS SIGN} {found.standard_error:.4g} (standard error of the mean)"
    lines = [
        f"{found.quantity}",
        f"mean     {found.mean:.6g}{error}, nats a row",
        f"rows     {found.rows} of the {split} split",
    ]
    if found.log_z is not None:
        lines.append(f"log Z    {found.log_z:.6g}")
    return "\n".join([*lines, f"method   {found.method}: {found.how}"]) + "\n"
