"""`gmc sample`: a chain of a trained model."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gmc.commands.archive import write_stream
from gmc.commands.frame import USAGE, command
from gmc.commands.mixing import mixing_text
from gmc.commands.options import Whole, chain_option, device_option, pairs, seed_option
from gmc.commands.pictures import ending
from gmc.commands.progress import Share
from gmc.commands.report import Reporter, put
from gmc.commands.schedule import chosen
from gmc.dsl.diagnostic import GmcError

if TYPE_CHECKING:
    from torch import Tensor

    from gmc.dsl.model import Chain
    from gmc.runtime.sampling import Part, Stream

KINDS = (".npz", ".png", ".gif")
SHOWN = 8
"""Chains of which values are printed."""
FRAMES = 100
"""Of an animation, at most, where `--every` is not given."""


@command(
    "sample",
    "Run a chain of a trained model.",
    examples=[
        "gmc sample runs/rbm --chain dreaming --sweeps 1000 --out dreams.png",
        "gmc sample runs/rbm --chain dreaming --chains 25 --every 10 --out dreams.gif",
        "gmc sample runs/rbm --chain inpaint --clamp v=test[0:64] --out inpainted.npz",
        "gmc sample runs/label_rbm --chain draw --clamp y=3 --chains 10 --out threes.png",
        "gmc sample runs/rbm --chain dreaming --chains 100 --sweeps 10000 --every 1 --out many.npz",
        "gmc sample runs/rbm --chain dreaming --chains 4 --sweeps 5000 --burn 500 --diagnose",
    ],
)
@click.argument("run", metavar="RUN")
@chain_option("The chain to run; needed where the model has more than one.")
@click.option(
    "--chains",
    type=Whole(1),
    metavar="B",
    help="How many copies  [default: the rows of the clamp source, else 64, or 4 with --diagnose]",
)
@click.option("--sweeps", type=Whole(0), metavar="N", help="How many sweeps  [default: what the chain says]")
@click.option(
    "--from", "start", metavar="CHAIN", help="Start every free variable from where CHAIN ends on the same rows."
)
@click.option(
    "--every", type=Whole(1), metavar="N", help="Keep every N-th sweep, and the last one  [default: the last one alone]"
)
@click.option("--burn", type=Whole(0), default=0, metavar="N", help="Keep none of the first N sweeps.")
@pairs(
    "--clamp",
    "clamp",
    "VAR=SOURCE",
    "VAR=SOURCE, such as v=test[0:64]",
    "Clamp VAR to a number, file.npz:key, data[3] or test[0:64]; may be repeated.",
)
@click.option(
    "--diagnose",
    is_flag=True,
    help="Tell how well the chains mix, from every sweep, or those that --every and --burn keep.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the diagnosis as one JSON object.")
@seed_option
@device_option
@click.option(
    "--out", metavar="FILE", help="Write the samples to FILE: arrays (.npz), images (.png) or an animation (.gif)."
)
@click.pass_obj
def main(
    reporter: Reporter,
    run: str,
    chain: str | None,
    chains: int | None,
    sweeps: int | None,
    start: str | None,
    every: int | None,
    burn: int,
    clamp: dict[str, str],
    diagnose: bool,
    as_json: bool,
    seed: int,
    device: str,
    out: str | None,
) -> None:
    """Run a chain of the model in the run folder RUN, and keep its variables as they are after the last sweep.

    An .npz has an array for each variable, a row a chain, and with --every a second axis for the kept sweeps; it is written as the chains run, so that any number of samples
    fits into memory. A .png has a tile a chain, and with --every a row a chain and a column a kept sweep; a .gif has a frame for each kept sweep, a hundred without
    --every. Without --out a summary is printed.
    """
    kind = ending(out, KINDS) if out is not None else None
    if as_json and not diagnose:
        from gmc.runtime.run_errors import options_disagree

        what = "`--json` is given without `--diagnose`"
        raise GmcError([options_disagree(None, what, "add `--diagnose`, or leave out `--json`")], exit_code=USAGE)

    from gmc.runtime.diagnosing import DEFAULT_CHAINS, Diary
    from gmc.runtime.run import open_run

    opened = open_run(run, device)
    runs = chosen(opened.compiled.checked.chains, chain, alone=True)[0]
    progress = Share(reporter, runs.name)
    stream = opened.stream(
        runs.name,
        chains=chains,
        sweeps=sweeps,
        clamp=clamp,
        seed=seed,
        start=start,
        every=every or (1 if diagnose else frames(runs, sweeps, burn) if kind == ".gif" else None),
        burn=burn,
        means=False,
        watch=progress,
        fallback=DEFAULT_CHAINS if diagnose else None,
    )
    diary = Diary(stream) if diagnose else None
    tally = Tally(stream)
    parts: Iterable[Part] = stream if diary is None else diary
    try:
        if out is None:
            tally.take(parts)
        elif kind == ".npz":
            write_stream(Path(out), stream, parts)
        else:
            picture(stream, parts, Path(out), moving=kind == ".gif")
    finally:
        progress.close()
    if diary is not None:
        found = diary.diagnosis()
        put(json.dumps({"run": run, **found.json()}) + "\n" if as_json else mixing_text(found))
    elif out is None:
        put(tally.text())
    if out is not None:
        reporter.say(f"wrote {out}")


def frames(chain: Chain, sweeps: int | None, burn: int) -> int:
    """From one frame of an animation to the next, in sweeps, where the user does not say it."""
    from gmc.runtime.request import course_of

    course = course_of(chain, sweeps, 1, burn)
    return max(1, -(-course.count // FRAMES))


def picture(stream: Stream, parts: Iterable[Part], path: Path, *, moving: bool) -> None:
    """Draws the samples of the variable that shows most: the largest observed one, or of latent ones the largest."""
    from gmc.runtime.images import animate, save_grid
    from gmc.runtime.sampling import collect

    variable = max(stream.variables, key=lambda v: (v.observed, v.sites))
    values = collect(stream, parts).values[variable.name]
    if moving:
        animate(path, values, variable)
    else:
        save_grid(path, values if stream.kept is None else values.flatten(0, 1), variable, columns=stream.kept)


class Tally:
    """What can be said of samples in a few lines, taken from them as they come."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.sums: dict[str, float] = {}
        self.ends: dict[str, tuple[float, float]] = {}
        self.numbers: dict[str, int] = {}
        self.first: dict[str, Tensor] = {}
        self.open: dict[str, int] = {}
        self.steps: list[int] = []
        self.settled = 0
        self.accepted: list[Tensor] = []
        self.moves = 0

    def take(self, parts: Iterable[Part]) -> None:
        """Takes all parts in."""
        for part in parts:
            for name, value in part.samples.values.items():
                array = value.cpu().double()
                low, high = self.ends.get(name, (float("inf"), float("-inf")))
                if array.numel():
                    self.ends[name] = (min(low, float(array.min())), max(high, float(array.max())))
                self.sums[name] = self.sums.get(name, 0.0) + float(array.sum())
                self.numbers[name] = self.numbers.get(name, 0) + array.numel()
                self.first.setdefault(name, array)
            for gate, opened in part.samples.open.items():
                self.open[gate] = self.open.get(gate, 0) + int(opened.sum())
            self._noted(part)

    def _noted(self, part: Part) -> None:
        """Takes in how the chains stopped, after the last of the sweeps that are kept, and which moves between temperatures were accepted."""
        found = part.samples.notes
        if "accepted" in found:
            moves = found["accepted"].double()
            self.accepted.append(moves.flatten(0, -2).sum(0))
            self.moves += moves[..., 0].numel()
        if "sweeps" in found and part.samples.sweeps[-1] == self.stream.request.course.sweeps:
            last = {name: x if self.stream.kept is None else x[:, -1] for name, x in found.items()}
            self.steps += last["sweeps"].tolist()
            self.settled += int((last["change"] < self._tolerance).sum())

    @property
    def _tolerance(self) -> float:
        return self.stream.request.chain.rule.stops

    def text(self) -> str:
        """Each variable's shape, mean and values, as far as they fit a line, and how often each gate was open."""
        stream = self.stream
        counts = [stream.chains] if stream.kept is None else [stream.chains, stream.kept]
        lines = [f"chain {stream.name}, seed {stream.request.seed}"]
        for variable in stream.variables:
            name, shape = variable.name, " x ".join(map(str, (*counts, *variable.shape)))
            line = f"  {name}  [{shape}]"
            if self.numbers[name]:
                low, high = self.ends[name]
                line += f"  mean {self.sums[name] / self.numbers[name]:.4g}, from {low:.4g} to {high:.4g}"
            if stream.kept is None and not variable.shape:
                shown = ", ".join(f"{each:g}" for each in self.first[name][:SHOWN].tolist())
                line += f": {shown}{', ..' if stream.chains > SHOWN else ''}"
            lines.append(line)
        total = stream.chains * (stream.kept or 1)
        what = "chains" if stream.kept is None else "sweeps"
        lines += [f"  gate {gate}  open in {count} of {total} {what}" for gate, count in self.open.items()]
        if self.steps:
            low, high = min(self.steps), max(self.steps)
            took = f"after {high} sweeps" if low == high else f"after {low} to {high} sweeps"
            lines += [f"  settled to {self._tolerance:g}  {self.settled} of {stream.chains} chains, {took}"]
        if self.accepted:
            shares = (sum(self.accepted[1:], self.accepted[0]) / self.moves).tolist()
            what = "exchanges, hottest pair first" if len(shares) > 1 else "transitions"
            lines += [f"  accepted {what}  {', '.join(f'{share:.0%}' for share in shares)}"]
        return "\n".join(lines) + "\n"
