"""`gmc sample`: a chain of a trained model."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gmc.commands import files
from gmc.commands.frame import command
from gmc.commands.options import Whole, chain_option, device_option, pairs, seed_option
from gmc.commands.pictures import ending
from gmc.commands.report import Reporter, put
from gmc.commands.schedule import chosen

if TYPE_CHECKING:
    from gmc.runtime.run import Run
    from gmc.runtime.sampling import Samples

KINDS = (".npz", ".png")
SHOWN = 8
"""Chains of which values are printed."""


@command(
    "sample",
    "Run a chain of a trained model.",
    examples=[
        "gmc sample runs/rbm --chain dreaming --sweeps 1000 --out dreams.png",
        "gmc sample runs/rbm --chain inpaint --clamp v=test[0:64] --out inpainted.npz",
        "gmc sample runs/label_rbm --chain draw --clamp y=3 --chains 10 --out threes.png",
    ],
)
@click.argument("run", metavar="RUN")
@chain_option("The chain to run; needed where the model has more than one.")
@click.option(
    "--chains",
    type=Whole(1),
    metavar="B",
    help="How many copies  [default: the rows of the clamp source, else 64]",
)
@click.option("--sweeps", type=Whole(0), metavar="N", help="How many sweeps  [default: what the chain says]")
@pairs(
    "--clamp",
    "clamp",
    "VAR=SOURCE",
    "VAR=SOURCE, such as v=test[0:64]",
    "Clamp VAR to a number, file.npz:key, data[3] or test[0:64]; may be repeated.",
)
@seed_option
@device_option
@click.option("--out", metavar="FILE", help="Write the samples to FILE: arrays (.npz) or images (.png).")
@click.pass_obj
def main(
    reporter: Reporter,
    run: str,
    chain: str | None,
    chains: int | None,
    sweeps: int | None,
    clamp: dict[str, str],
    seed: int,
    device: str,
    out: str | None,
) -> None:
    """Run a chain of the model in the run folder RUN, and keep its variables as they are after the last sweep.

    An .npz has an array for each variable, a row a chain; without --out a summary is printed.
    """
    kind = ending(out, KINDS) if out is not None else None

    from gmc.runtime.run import open_run

    opened = open_run(run, device)
    name = chosen(opened.compiled.checked.chains, chain, alone=True)[0].name
    samples = opened.sample(name, chains=chains, sweeps=sweeps, clamp=clamp, seed=seed)
    if out is None:
        put(summary(samples))
        return
    if kind == ".npz":
        files.replace(Path(out), arrays(samples))
    else:
        picture(opened, samples, Path(out))
    reporter.say(f"wrote {out}")


def arrays(samples: Samples) -> bytes:
    """The samples as an .npz file; equal samples are equal bytes."""
    from numpy.lib.format import write_array

    held = io.BytesIO()
    # not np.savez, which has no place for a variable called `file`
    with zipfile.ZipFile(held, "w") as archive:
        for name, value in samples.values.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                write_array(member, value.cpu().numpy(), allow_pickle=False)
    return held.getvalue()


def picture(run: Run, samples: Samples, path: Path) -> None:
    """Draws the samples of the variable that shows most: the largest observed one, or of latent ones the largest."""
    from gmc.runtime.images import save_grid

    variable = max(run.compiled.checked.model.variables, key=lambda v: (v.observed, v.sites))
    save_grid(path, samples.values[variable.name], variable)


def summary(samples: Samples) -> str:
    """Each variable's shape, mean and values, as far as they fit a line."""
    lines = [f"chain {samples.chain}, seed {samples.seed}"]
    for name, value in samples.values.items():
        array = value.cpu().double()
        shape = " x ".join(map(str, array.shape))
        line = f"  {name}  [{shape}]  mean {array.mean():.4g}, from {array.min():.4g} to {array.max():.4g}"
        if array.ndim == 1:
            shown = ", ".join(f"{each:g}" for each in array[:SHOWN].tolist())
            line += f": {shown}{', ..' if len(array) > SHOWN else ''}"
        lines.append(line)
    return "\n".join(lines) + "\n"
