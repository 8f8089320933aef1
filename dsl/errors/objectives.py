"""Diagnostics of objectives and training: GM5xx."""

from __future__ import annotations

from collections.abc import Sequence

from gmc.dsl.diagnostic import Related, Severity
from gmc.dsl.errors.catalogue import Finding, diagnostic
from gmc.dsl.errors.phrases import all_of, quoted
from gmc.dsl.source import Span


@diagnostic("GM501", "objective expected")
def not_an_objective(span: Span, known: Sequence[str]) -> Finding:
    """A number where an objective belongs."""
    help = f"there are {all_of(quoted(known))}" if len(known) > 1 else f"write a call of {all_of(quoted(known))}"
    return Finding("this is a number, and an objective belongs here", help if known else None)


@diagnostic("GM502", "product of objectives")
def product_of_objectives(span: Span, op: str) -> Finding:
    """Two objectives multiplied, or something divided by one."""
    message = (
        "objectives cannot be multiplied with each other" if op == "*" else "nothing can be divided by an objective"
    )
    return Finding(message, "an objective is a sum of calls, each times a number")


@diagnostic("GM503", "objective inside an objective")
def objective_in_sum(span: Span, name: str, declared: Span) -> Finding:
    """The name of an objective where a call of a registered one belongs."""
    related = (Related(declared, f"`{name}` is declared here"),)
    return Finding(f"`{name}` is an objective of this file, and a sum holds calls", "write its call out here", related)


@diagnostic("GM504", "objective does not fit")
def problem(span: Span, word: str, message: str, help: str | None, related: Sequence[tuple[Span, str]] = ()) -> Finding:
    """A registered objective that cannot be used on these chains, this model or these data."""
    return Finding(f"`{word}`: {message}", help, tuple(Related(place, note) for place, note in related))


@diagnostic("GM510", "item missing from a stage")
def missing_item(span: Span, stage: str, item: str) -> Finding:
    """A stage without `minimize`, `batch` or `epochs`."""
    example = {"minimize": "minimize OBJECTIVE using sgd(lr = 0.05)", "batch": "batch 100", "epochs": "epochs 20"}
    return Finding(f"the stage `{stage}` has no `{item}`", f"add `{example[item]}`")


@diagnostic("GM511", "parameter in two lines")
def of_twice(span: Span, name: str, first: Span) -> Finding:
    """A variable or an edge that two `minimize` lines of a stage name."""
    related = (Related(first, "taken here"),)
    return Finding(f"`{name}` is already taken by another line of this stage", "leave it to one of them", related)


@diagnostic("GM512", "two lines for all parameters")
def all_twice(span: Span, first: Span) -> Finding:
    """Two `minimize` lines without `of` in a stage."""
    related = (Related(first, "this line takes them"),)
    help = "say `of NAME, ...` in one of them, or minimize a sum of the two objectives"
    return Finding("the parameters of this line are already taken by another line of this stage", help, related)


@diagnostic("GM513", "nothing to train")
def nothing_to_train(span: Span, name: str, why: str) -> Finding:
    """`of` a variable or an edge that has no parameter."""
    return Finding(f"`{name}` has nothing to train: {why}", "remove it here")


@diagnostic("GM514", "training without data")
def no_data(span: Span, stage: str) -> Finding:
    """A `train` statement in a file without a data statement."""
    return Finding(f"the stage `{stage}` has no data to train on", "write `data digits { v = image }`")


@diagnostic("GM515", "nothing to clamp to")
def nothing_to_clamp_to(span: Span, name: str, chain: str, stage: str, user: Span) -> Finding:
    """A variable that a chain clamps, in training, and that has no training rows."""
    return Finding(
        f"`{name}` is clamped in `{chain}`, and the data have no training rows for it",
        f"write `{name} = COLUMN` in the data statement, or clamp it to a number or `from` a chain",
        (Related(user, f"the stage `{stage}` uses `{chain}`"),),
    )


@diagnostic("GM520", "nothing to read")
def nothing_to_read(span: Span, name: str, word: str, user: Span) -> Finding:
    """A variable whose rows an objective reads, and that has no training rows."""
    return Finding(
        f"`{word}` reads `{name}`, and the data have no training rows for it",
        f"write `{name} = COLUMN` in the data statement",
        (Related(user, "minimized here"),),
    )


@diagnostic("GM516", "parameter never trained", Severity.WARNING)
def never_trained(span: Span, name: str) -> Finding:
    """A variable or an edge whose parameters no stage changes."""
    return Finding(f"no stage trains `{name}`", "name it in an `of`, or leave one `minimize` line without `of`")


@diagnostic("GM517", "nothing to watch", Severity.NOTE)
def nothing_to_watch(span: Span, stage: str) -> Finding:
    """`watch` in a file whose data have no valid split."""
    return Finding(
        f"`{stage}` watches metrics of the valid split, and the data have none: nothing is measured",
        "add lines such as `valid VAR = COLUMN` to the data statement, or leave out `watch`",
    )


@diagnostic("GM518", "nothing to stop by")
def nothing_to_stop_by(span: Span, stage: str, watches: bool) -> Finding:
    """`stop` in a stage that watches no metric, or in a file whose data have no valid split to watch it on."""
    if not watches:
        return Finding(
            f"`{stage}` stops by the first metric that it watches, and it watches none",
            "add `watch pseudo`, or another metric",
        )
    return Finding(
        f"`{stage}` stops by a metric of the valid split, and the data have none",
        "add lines such as `valid VAR = COLUMN` to the data statement, or leave out `stop`",
    )


@diagnostic("GM519", "weights of no single unit")
def no_units(span: Span, edge: str, factor: str, declared: Span) -> Finding:
    """`max_norm` on an edge whose weights do not belong to one unit each."""
    return Finding(
        f"this bounds the incoming weights of each unit, and those of `{edge}` (`{factor}`) do not belong to single units",
        f"leave out `max_norm`, or give `{edge}` a line of its own: `minimize OBJECTIVE of {edge} using ...`",
        (Related(declared, f"`{edge}` is declared here"),),
    )
