"""Diagnostics of gains and gates in chains: GM422-GM428, GM430."""

from __future__ import annotations

from collections.abc import Sequence

from gmc.dsl.diagnostic import Related, Severity
from gmc.dsl.errors.catalogue import Finding, diagnostic
from gmc.dsl.errors.phrases import all_of, one_of, quoted
from gmc.dsl.source import Span


@diagnostic("GM422", "gain out of range")
def gain_out_of_range(span: Span, value: float, *, of_edge: bool, runs: bool) -> Finding:
    """A message scaled by a number outside [0, 1], or an edge by a negative one."""
    wanted = "the gain of an edge is at least 0" if of_edge else "the gain of a message lies between 0 and 1"
    help = "only an edge may have a larger one: `potent EDGE = ...`" if value > 1 else None
    return Finding(f"{wanted}, and this {'one reaches' if runs else 'is'} {value:.12g}", help)


@diagnostic("GM423", "edge with a target")
def edge_with_target(span: Span, name: str) -> Finding:
    """`potent EDGE -> v`: the gain of an edge scales its term, and so the messages both ways."""
    help = "name the edge alone, or for one message the variable that sends it"
    return Finding(f"`{name}` is an edge, and only a variable sends messages", help)


@diagnostic("GM424", "no edge for a message")
def no_edge_between(span: Span, sender: str, receiver: str, joined: Sequence[str]) -> Finding:
    """`potent v -> h` where no edge joins v and h, or `v -> v` where v has no lateral edge."""
    if sender == receiver:
        message = f"`{sender}` has no lateral edge, and so sends itself nothing"
    else:
        message = f"no edge joins `{sender}` and `{receiver}`, so that nothing is sent from one to the other"
    return Finding(message, f"`{sender}` sends messages to {all_of(quoted(joined))}" if joined else None)


@diagnostic("GM425", "gain without effect", Severity.WARNING)
def no_effect(span: Span, sender: str | None, receivers: Sequence[str], chain: str) -> Finding:
    """A gain that scales no message, because there is none or all who would receive it are clamped."""
    if not receivers:
        return Finding(f"this gain scales nothing: no edge leads from `{sender}`", "remove it")
    verb = "is" if len(receivers) == 1 else "are"
    return Finding(f"this gain scales nothing: {all_of(quoted(receivers))} {verb} clamped in `{chain}`", "remove it")


@diagnostic("GM426", "gate on an edge")
def gate_on_edge(span: Span, name: str) -> Finding:
    """`impotent EDGE unless ...`."""
    return Finding(
        f"`{name}` is an edge, and `unless` is for what a variable sends",
        "name the variable: `impotent VARIABLE unless ...`, or `impotent VARIABLE -> TARGET unless ...`",
    )


@diagnostic("GM427", "gate at a single value")
def gate_at_a_value(span: Span) -> Finding:
    """`unless surprise(v) == t`."""
    operators = one_of(quoted((">", ">=", "<", "<=")))
    return Finding("a gate opens above or below a number, and not at one", f"compare by {operators}")


@diagnostic("GM428", "condition without a clamped site")
def nothing_clamped(span: Span, condition: str, name: str, chain: str, clamped: Sequence[str]) -> Finding:
    """A condition of a variable of which the chain clamps nothing."""
    help = "clamp it, or a part of it"
    if clamped:
        help += f", or measure what is clamped: {all_of(quoted(clamped))}"
    return Finding(f"`{condition}` is measured on clamped sites, and `{chain}` clamps none of `{name}`", help)


@diagnostic("GM430", "gain that leaves no law")
def gain_without_law(span: Span, edge: str, declared: Span) -> Finding:
    """A gain above 1 on an edge into unbounded values, whose couplings are as strong as they may be at 1."""
    return Finding(
        f"a gain above 1 may leave no normalisable law: values that `{edge}` joins are unbounded, and only its own couplings are kept small enough",
        "the gain of such an edge lies between 0 and 1",
        (Related(declared, f"`{edge}` is here"),),
    )
