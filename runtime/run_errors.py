"""Diagnostics of running models: training (GM71x), run folders (GM72x), what the command line asks of a run (GM73x), evaluation (GM74x)."""

from __future__ import annotations

from collections.abc import Sequence

from gmc.dsl.diagnostic import Related, nearest
from gmc.dsl.errors.catalogue import Finding, diagnostic
from gmc.dsl.source import Span


@diagnostic("GM710", "training diverged")
def diverged(span: Span, stage: str, epoch: int, broken: Sequence[str]) -> Finding:
    """A loss or a parameter is infinite or not a number."""
    what = f"{', '.join(broken)} no longer hold finite numbers" if broken else "the loss is no longer finite"
    return Finding(
        f"stage `{stage}` diverged in epoch {epoch}: {what}",
        "lower the learning rate, or raise the precision of unbounded variables; a checkpoint from before is as it was",
    )


@diagnostic("GM711", "too large for an exact sum")
def too_large(span: Span, reason: str) -> Finding:
    """An exact expectation or evaluation that cannot be enumerated."""
    return Finding(f"this cannot be summed exactly: {reason}", "use a sampled chain here, or a smaller model")


@diagnostic("GM712", "nothing to train")
def nothing_to_train(span: Span) -> Finding:
    """`--train` on a file without a `train` statement."""
    return Finding(
        "this file has no `train` statement",
        "add one: `train { minimize OBJECTIVE using sgd(lr = 0.05)  batch 100  epochs 20 }`",
    )


@diagnostic("GM713", "no training data")
def no_training_rows(span: Span) -> Finding:
    """Training with a `data` statement that has no line for the training rows."""
    return Finding(
        "there are no training rows", "give the variables a line without `valid` or `test` in the `data` statement"
    )


@diagnostic("GM714", "variable without rows")
def variable_without_rows(span: Span, variable: str) -> Finding:
    """Training on tensors that leave an observed variable out."""
    return Finding(
        f"the data give no rows of `{variable}`, which is observed", f"pass `data = {{'{variable}': TENSOR, ...}}`"
    )


@diagnostic("GM715", "values do not fit a variable")
def bad_values(span: Span | None, variable: str, told: str, reason: str) -> Finding:
    """Values given from Python that are not rows of a variable."""
    return Finding(
        f"the values for `{variable}`, {told}, do not fit: {reason}",
        "give an array with a row for each example, each in the variable's shape",
    )


@diagnostic("GM716", "no rows to stop by")
def no_rows_to_stop_by(span: Span, stage: str) -> Finding:
    """Training with `stop` on tensors, or on data without a valid row of every observed variable."""
    return Finding(
        f"stage `{stage}` stops by a metric of the valid split, and there are no valid rows",
        "train on data with a valid split, or leave out `stop`",
    )


@diagnostic("GM720", "folder of another run")
def other_run(span: Span | None, path: str, difference: str) -> Finding:
    """A run folder that holds another model's run."""
    return Finding(
        f"`{path}` holds a run of another model: {difference}", "choose another folder with `--out`, or remove that one"
    )


@diagnostic("GM721", "no run to resume")
def nothing_to_resume(span: Span | None, path: str) -> Finding:
    """`--resume` where no run was left, or where its checkpoint was removed."""
    return Finding(
        f"`{path}` holds no checkpoint to resume from", "leave out `--resume`, or name the run's folder with `--out`"
    )


@diagnostic("GM722", "not a run folder")
def not_a_run(span: Span | None, path: str, missing: str) -> Finding:
    """A folder without the files of a run."""
    return Finding(
        f"`{path}` is not the folder of a run: it has no {missing}", "`gmc compile FILE --out FOLDER` makes one"
    )


@diagnostic("GM723", "weights do not fit")
def weights_differ(
    span: Span | None, path: str, missing: Sequence[str], unknown: Sequence[str], shapes: Sequence[str]
) -> Finding:
    """A weights file whose arrays are not the model's."""
    parts = []
    if missing:
        parts.append(f"it lacks {', '.join(missing)}")
    if unknown:
        parts.append(f"it has {', '.join(unknown)}, which the model does not")
    parts += shapes
    return Finding(
        f"the weights in `{path}` do not fit this model: {'; '.join(parts)}", "compile the model they were trained with"
    )


@diagnostic("GM743", "no normalisable law")
def improper(span: Span | None, path: str | None, flaws: Sequence[str]) -> Finding:
    """Weights with which exp(-E) cannot be summed or integrated."""
    where = "this model" if path is None else f"the model with the weights in `{path}`"
    return Finding(
        f"{where} has no normalisable law: {'; '.join(flaws)}",
        "make the couplings of unbounded variables smaller, or of the other sign; weights that gmc trains stay within what has a law",
    )


@diagnostic("GM724", "run settings differ")
def settings_differ(span: Span | None, path: str, what: str, then: str, now: str) -> Finding:
    """A resume with other settings than the run began with."""
    return Finding(
        f"the run in `{path}` began with {what} {then}, not {now}: going on would not give the same bytes",
        f"resume with {what} {then}, or start anew without `--resume` in another folder",
    )


@diagnostic("GM725", "folder in the way")
def folder_in_the_way(span: Span | None, path: str) -> Finding:
    """A file where the run folder should be, or a folder with other things in it."""
    return Finding(f"`{path}` exists and is not the folder of a run", "choose another folder with `--out`")


@diagnostic("GM726", "damaged settings of a run")
def damaged_config(span: Span | None, path: str, reason: str) -> Finding:
    """A config.json that is not what gmc wrote."""
    return Finding(
        f"`{path}` is not what gmc wrote: {reason}",
        "put the file back, or train anew in another folder; the weights beside it can be given with `--weights`",
    )


@diagnostic("GM727", "trained run in the way")
def trained_run(span: Span | None, path: str, file: str) -> Finding:
    """An untrained model would take the place of a trained one."""
    return Finding(
        f"`{path}` holds a trained run (`{file}`), and nothing was written", "choose another folder with `--out`"
    )


@diagnostic("GM730", "unknown name on the command line")
def unknown_choice(span: Span | None, kind: str, name: str, names: Sequence[str]) -> Finding:
    """A chain, variable, split or pass that does not exist."""
    guess = nearest(name, names)
    known = ", ".join(names) or "none"
    return Finding(f"there is no {kind} `{name}`", f"did you mean `{guess}`?" if guess else f"known: {known}")


@diagnostic("GM731", "bad clamp source")
def bad_source(span: Span | None, variable: str, source: str, reason: str) -> Finding:
    """A `--clamp` whose source cannot be read."""
    return Finding(
        f"`--clamp {variable}={source}`: {reason}",
        "a source is a number, `file.npz:key`, `data[3]` or `test[0:64]`",
    )


@diagnostic("GM732", "clamp of what is free")
def clamp_of_free(span: Span, variable: str, chain: str) -> Finding:
    """`--clamp` of a variable that the chain does not clamp from outside."""
    return Finding(
        f"chain `{chain}` does not clamp `{variable}` from data or the command line",
        f"write `clamp {variable}` in a chain, or leave `--clamp {variable}` out",
    )


@diagnostic("GM733", "nothing to clamp it to")
def nothing_to_clamp(span: Span, variable: str, chain: str) -> Finding:
    """A clamped variable without a constant, a `--clamp` or data."""
    return Finding(
        f"chain `{chain}` clamps `{variable}`, and nothing says to what", f"give `--clamp {variable}=SOURCE`"
    )


@diagnostic("GM734", "numbers of rows differ")
def rows_disagree(span: Span | None, counts: Sequence[str]) -> Finding:
    """Clamp sources, or `--chains`, that ask for different numbers of chains."""
    return Finding(
        f"these do not fit together: {', '.join(counts)}",
        "give each source one row for all chains, or a row for each chain",
    )


@diagnostic("GM735", "device not available")
def no_device(span: Span | None, device: str, reason: str) -> Finding:
    """A device that torch does not have here."""
    return Finding(f"device `{device}` is not available: {reason}", "use `--device cpu`")


@diagnostic("GM737", "TensorBoard is not installed")
def no_tensorboard(span: Span | None) -> Finding:
    """`--tensorboard` without the package."""
    return Finding(
        "TensorBoard is not installed here", "`pip install gmc-lang[tensorboard]`, or leave out `--tensorboard`"
    )


@diagnostic("GM738", "number out of range")
def out_of_range(span: Span | None, what: str, number: object, least: int) -> Finding:
    """Fewer chains or sweeps than can be, or no number at all."""
    return Finding(f"{what} is {number!r}", f"it must be a whole number of at least {least}")


@diagnostic("GM739", "no values")
def no_values(span: Span | None, what: str) -> Finding:
    """A call of the Python interface that is given nothing to work on."""
    return Finding(f"{what}: no values were given", "give at least one variable: `{'v': TENSOR}`")


@diagnostic("GM740", "method does not apply")
def no_method(span: Span, method: str, reason: str) -> Finding:
    """An evaluation that is not defined for this model."""
    return Finding(f"`{method}` does not apply: {reason}")


@diagnostic("GM741", "no rows to evaluate")
def no_rows(span: Span, split: str, known: Sequence[str]) -> Finding:
    """A split that the data statement does not have."""
    return Finding(
        f"the data have no {split} rows for every observed variable",
        f"there are rows for: {', '.join(known)}" if known else "add a `data` statement",
    )


@diagnostic("GM742", "failure in a graph")
def graph_failed(span: Span, reason: str, model: Span) -> Finding:
    """A node of a compiled graph failed; the span is what it was emitted for."""
    help = "where the file is right this is a mistake of gmc: please report it, with the file"
    return Finding(f"running what this says failed: {reason}", help, (Related(model, "in this model"),))


@diagnostic("GM744", "start in a circle")
def start_in_circle(span: Span, chain: str, other: str) -> Finding:
    """`--from` a chain that itself needs the chain that is to start from it."""
    if chain == other:
        return Finding(f"chain `{chain}` cannot start from where it ends itself", "name another chain, or leave it out")
    return Finding(
        f"chain `{chain}` cannot start from where `{other}` ends, which needs `{chain}` itself",
        "name a chain that can run first",
    )


@diagnostic("GM745", "nothing to predict")
def not_drawn(span: Span, variable: str, chain: str, why: str) -> Finding:
    """A prediction of what the chain is given, or of a variable that has no sites; `why` ends the sentence."""
    return Finding(
        f"chain `{chain}` draws no site of `{variable}`{why}",
        f"choose a chain that leaves `{variable}` free, wholly or in part, or another variable",
    )


@diagnostic("GM746", "nothing to compare with")
def no_column(span: Span, variable: str, split: str, purpose: str) -> Finding:
    """A prediction that needs rows which the split does not have."""
    return Finding(
        f"the data have no {split} rows of `{variable}`, {purpose}",
        f"give `{variable}` a line for this split in the `data` statement, or choose another split",
    )


@diagnostic("GM747", "chains that cannot be diagnosed")
def not_diagnosable(span: Span, chain: str, reason: str, help: str) -> Finding:
    """Diagnostics of too few chains or sweeps, of chains with laws of their own, or of one that draws nothing."""
    return Finding(f"chain `{chain}` cannot be diagnosed: {reason}", help)


@diagnostic("GM748", "options that do not go together")
def options_disagree(span: Span | None, what: str, help: str) -> Finding:
    """An option, or an argument, that says nothing without another one, or beside it."""
    return Finding(what, help)


@diagnostic("GM749", "no sweep is left")
def nothing_left(span: Span, chain: str, sweeps: int, burn: int) -> Finding:
    """A burn-in as long as the chain."""
    return Finding(
        f"chain `{chain}` runs for {sweeps} sweeps, of which the first {burn} are not to be kept",
        "let it run longer, or keep sweeps from an earlier one on",
    )
