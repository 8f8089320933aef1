"""`gmc compile`: a file compiled, shown stage by stage, trained."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gmc.commands.frame import Interrupted, command
from gmc.commands.loading import blame
from gmc.commands.options import Choice, data_option, device_option, seed_option, set_option
from gmc.commands.progress import Watch, values_text
from gmc.commands.report import Reporter, put
from gmc.dsl.diagnostic import GmcError

if TYPE_CHECKING:
    from gmc.runtime.model import Model
    from gmc.runtime.run import Run

STAGES = ("ast", "model", "graph", "schedule", "fx", "fx-opt")


@command(
    "compile",
    "Compile a file, and train it.",
    examples=[
        "gmc compile rbm.gm --train",
        "gmc compile rbm.gm --train --set hidden=64 --seed 1 --out runs/small",
        "gmc compile rbm.gm --train --resume",
        "gmc compile rbm.gm --emit schedule",
        "gmc compile rbm.gm --passes=-hoist --emit fx-opt",
        "gmc compile ising.gm --weights couplings.safetensors --out runs/ising",
    ],
)
@click.argument("file")
@set_option
@data_option
@click.option(
    "--weights", metavar="FILE", help="Start from the weights in FILE (.safetensors) rather than from random ones."
)
@click.option("--train", is_flag=True, help="Run the train stages.")
@click.option("--out", metavar="RUN", help="The run folder  [default: runs/NAME, where FILE is NAME.gm]")
@click.option("--resume", is_flag=True, help="Go on where a training that was interrupted left off.")
@device_option
@seed_option
@click.option(
    "--emit",
    type=Choice(STAGES),
    metavar="STAGE",
    help=f"Print what a stage makes of the file, and write nothing: {', '.join(STAGES)}.",
)
@click.option(
    "--passes",
    default="",
    metavar="SWITCHES",
    help="Switch passes over the graphs off, such as -hoist or -share,-prune.",
)
@click.option("--tensorboard", is_flag=True, help="Also write the metrics for TensorBoard.")
@click.pass_context
def main(
    ctx: click.Context,
    file: str,
    overrides: dict[str, str],
    data: str | None,
    weights: str | None,
    train: bool,
    out: str | None,
    resume: bool,
    device: str,
    seed: int,
    emit: str | None,
    passes: str,
    tensorboard: bool,
) -> None:
    """Compile FILE.

    With --train its train stages are run, and the run folder is left with weights, metrics, checkpoints and pictures. Without it the run folder holds the
    model as it is before training, or with --weights; a trained run of the model that is there already stays as it is.
    """
    reporter: Reporter = ctx.obj
    refuse(ctx, train=train, resume=resume, tensorboard=tensorboard, emit=emit, out=out, weights=weights)
    if emit == "ast":
        put(syntax_tree(file))
        return

    from gmc.runtime.model import compile_file

    with blame(file, overrides, data):
        model = compile_file(file, overrides, data, passes)
    reporter.show(model.warnings)
    folder = Path(out) if out else Path("runs") / Path(file).stem
    start = Path(weights) if weights else None
    if emit is not None:
        put(emitted(model, emit))
    elif train:
        again = resume_command(file, overrides, data, weights, out, device, seed, passes)
        train_model(
            reporter, model, folder, start, again, resume=resume, device=device, seed=seed, tensorboard=tensorboard
        )
    else:
        from gmc.runtime.untrained import trained

        # a trained run is in the way only of who asks for this folder or for other weights
        stays = out is None and start is None and trained(folder) is not None
        if not stays:
            model.save(folder, seed=seed, weights=start)
        put(listing(model) + folder_text(folder))


def refuse(
    ctx: click.Context,
    *,
    train: bool,
    resume: bool,
    tensorboard: bool,
    emit: str | None,
    out: str | None,
    weights: str | None,
) -> None:
    """UsageError for options that do not go together."""
    needless = {"--train": train, "--out": out, "--weights": weights, "--resume": resume, "--tensorboard": tensorboard}
    for option, given in needless.items():
        if emit is not None and given:
            raise click.UsageError(f"--emit only prints: leave {option} out.", ctx)
    for option in ("--resume", "--tensorboard"):
        if needless[option] and not train:
            raise click.UsageError(f"{option} is about training: add --train.", ctx)


def syntax_tree(file: str) -> str:
    """The syntax tree of a file, which may be wrong otherwise.

    Raises:
        GmcError: it cannot be read, or its syntax is wrong.
    """
    from gmc.dsl import parser

    parsed = parser.load(file)
    if not parsed.ok:
        raise GmcError(parsed.diagnostics)

    from gmc.compiler.emit import emit_ast

    return emit_ast(parsed.file)


def emitted(model: Model, stage: str) -> str:
    """The text of a stage."""
    from gmc.compiler.emit import emit
    from gmc.dsl.parser import parse

    return emit(stage, parse(model.checked.source).file, model.compiled)


def train_model(
    reporter: Reporter,
    model: Model,
    folder: Path,
    weights: Path | None,
    again: str,
    *,
    resume: bool,
    device: str,
    seed: int,
    tensorboard: bool,
) -> None:
    """Trains, draws the pictures of the run, and sums up.

    Raises:
        Interrupted: with the command that goes on.
    """
    from gmc.runtime import training
    from gmc.runtime.gallery import write_gallery

    watch = Watch(reporter)
    try:
        run = model.train(
            folder, seed=seed, device=device, resume=resume, weights=weights, watch=watch, tensorboard=tensorboard
        )
    except training.Interrupted:
        watch.close()
        raise Interrupted(f"interrupted; a checkpoint is in {folder}\nto go on:  {again}") from None
    finally:
        watch.close()
    reporter.show(run.warnings)
    reporter.show(write_gallery(run))
    put(trained_text(run, folder, watch))


def resume_command(
    file: str,
    overrides: Mapping[str, str],
    data: str | None,
    weights: str | None,
    out: str | None,
    device: str,
    seed: int,
    passes: str,
) -> str:
    """The command that goes on with an interrupted training."""
    words = ["gmc", "compile", file, "--train", "--resume"]
    for name, number in overrides.items():
        words += ["--set", f"{name}={number}"]
    for option, value in {"--data": data, "--weights": weights, "--out": out}.items():
        if value is not None:
            words += [option, value]
    words += ["--seed", str(seed)] if seed else []
    words += ["--device", device] if device != "cpu" else []
    words += [f"--passes={passes}"] if passes else []
    return shlex.join(words)


def trained_text(run: Run, folder: Path, watch: Watch) -> str:
    """What came of a training, for stdout."""
    lines = [folder_text(folder)]
    if watch.last is not None and watch.last.report is not None:
        lines.append(
            f"loss     {values_text(watch.last.report.values)} (stage {watch.last.stage}, epoch {watch.last.epoch})\n"
        )
    lines.append(f"time     {watch.seconds:.1f} s\n")
    return "".join(lines)


def folder_text(folder: Path) -> str:
    """A run folder and its files."""
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    return f"run      {folder}\nfiles    {', '.join(names)}\n"


def listing(model: Model) -> str:
    """What was compiled: the model's size, and each chain's blocks."""
    from math import prod

    from gmc.dsl.errors.phrases import plural

    graph = model.compiled.graph
    numbers = sum(prod(parameter.shape) for parameter in graph.parameters)
    lines = [
        f"model    {graph.model.name}: {plural(len(graph.variables), 'variable')}, {plural(len(graph.terms), 'edge')}, {plural(numbers, 'parameter')}"
    ]
    for name, schedule in model.compiled.schedules.items():
        program = model.compiled.program(name)
        operations = sum(node.op == "call_function" for node in program.sweep.each.graph.nodes)
        lines.append(
            f"chain    {name}: {plural(len(schedule.blocks), 'block')}, {plural(operations, 'operation')} a sweep"
        )
    lines += [f"train    {stage.name}: {plural(stage.epochs, 'epoch')}" for stage in model.checked.stages]
    return "\n".join(lines) + "\n"
