"""`gmc predict`: what a chain says of a variable, against the data."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from gmc.commands.archive import write_arrays
from gmc.commands.frame import command
from gmc.commands.options import Choice, Whole, chain_option, device_option, seed_option
from gmc.commands.pictures import ending
from gmc.commands.progress import Share
from gmc.commands.report import Reporter, put
from gmc.commands.schedule import chosen

if TYPE_CHECKING:
    from gmc.dsl.model import Split
    from gmc.runtime.predicting import Prediction


@command(
    "predict",
    "Predict a variable from the rest of the data.",
    examples=[
        "gmc predict runs/label_rbm --chain predict --of y",
        "gmc predict runs/label_rbm --chain predict --of y --sweeps 120 --burn 20 --json",
        "gmc predict runs/rbm --chain inpaint --of v --split train --out filled.npz",
    ],
)
@click.argument("run", metavar="RUN")
@chain_option("The chain to run; needed where the model has more than one.")
@click.option(
    "--of", required=True, metavar="VAR", help="The variable to predict; the chain must draw it, wholly or in part."
)
@click.option(
    "--split",
    type=Choice(["train", "valid", "test"]),
    default="test",
    show_default=True,
    metavar="SPLIT",
    help="Which rows: train, valid or test.",
)
@click.option("--sweeps", type=Whole(0), metavar="N", help="How many sweeps  [default: what the chain says]")
@click.option(
    "--burn",
    type=Whole(0),
    metavar="N",
    help="Average over the sweeps after the first N  [default: the last sweep alone]",
)
@click.option("--chains", type=Whole(1), default=1, metavar="K", help="How many chains for each row  [default: 1]")
@seed_option
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--out", metavar="FILE", help="Write means, most probable values and data to FILE (.npz).")
@click.pass_obj
def main(
    reporter: Reporter,
    run: str,
    chain: str | None,
    of: str,
    split: str,
    sweeps: int | None,
    burn: int | None,
    chains: int,
    seed: int,
    device: str,
    as_json: bool,
    out: str | None,
) -> None:
    """Run a chain of the model in the run folder RUN on every row of a split, clamped to what the data have, and compare the mean of VAR with the data.

    For a variable with finitely many values the accuracy of the most probable one, and the log score: the mean log probability of the true one. For any other the
    root mean squared and the mean absolute error. Standard errors are over the rows. Of a variable that is clamped in part the free sites count.
    """
    if out is not None:
        ending(out, (".npz",))

    from gmc.runtime.run import open_run

    opened = open_run(run, device)
    runs = chosen(opened.compiled.checked.chains, chain, alone=True)[0]
    progress = Share(reporter, f"{runs.name} on the {split} rows")
    try:
        found = opened.predict(
            runs.name,
            of,
            split=cast("Split", split),
            sweeps=sweeps,
            burn=burn,
            chains=chains,
            seed=seed,
            watch=progress,
        )
    finally:
        progress.close()
    if out is not None:
        arrays = {"mean": found.mean, "data": found.data, "drawn": found.drawn}
        write_arrays(Path(out), arrays if found.best is None else {**arrays, "best": found.best})
    put(json.dumps({"run": run, **found.json()}) + "\n" if as_json else text(found))
    if out is not None:
        reporter.say(f"wrote {out}")


def text(found: Prediction) -> str:
    """The prediction for a person."""
    lines = [
        f"{found.variable} by chain {found.chain}: {found.rows} rows of the {found.split} split, {found.sites} sites"
    ]
    wide = max(len(score.name) for score in found.scores)
    for score in found.scores:
        unsure = math.isnan(score.standard_error)
        error = "" if unsure else f" \N{PLUS-MINUS SIGN} {score.standard_error:.2g} (standard error over the rows)"
        lines.append(f"{score.name.ljust(wide)}  {score.value:.4g}{error}, {score.unit}")
    return "\n".join([*lines, f"{'how'.ljust(wide)}  {found.how}"]) + "\n"
