"""Diagnostics of evaluations: GM75x."""

from __future__ import annotations

from collections.abc import Sequence

from gmc.dsl.diagnostic import Severity
from gmc.dsl.errors.catalogue import Finding, diagnostic
from gmc.dsl.source import Span


@diagnostic("GM750", "uneven weights", Severity.WARNING)
def uneven_weights(span: Span, what: str, effective: float, count: int, spread: float) -> Finding:
    """Importance weights of which a few chains have nearly all."""
    return Finding(
        f"the weights behind {what} are uneven: they are worth {effective:.3g} of {count} chains, and their logs spread by {spread:.3g} nats, so that "
        "the error too is understated",
        "use more temperatures, `--temperatures 10000` or `--temperatures adaptive`, and more chains",
    )


@diagnostic("GM751", "option of another method")
def option_of_another(span: Span | None, method: str, option: str, methods: Sequence[str]) -> Finding:
    """An option that the method makes no use of."""
    takes = f"{', '.join(methods)} {'takes' if len(methods) == 1 else 'take'} it" if methods else None
    return Finding(f"method `{method}` takes no {option}", f"leave it out; {takes}" if takes else "leave it out")


@diagnostic("GM752", "mean field has not settled", Severity.WARNING)
def not_settled(span: Span, rows: int, of: int, change: float, tolerance: float) -> Finding:
    """Coordinate ascent that stopped before its fixed point."""
    return Finding(
        f"mean field has not settled in {rows} of {of} rows: means still change by {change:.2g}, more than {tolerance:.2g}; the bound holds, and could be higher",
        "it can be let go: in Python `evaluate('bound', tolerance = 1e-5)`, and with less damping it settles sooner",
    )


@diagnostic("GM753", "temperatures that are none")
def bad_temperatures(span: Span | None, given: str) -> Finding:
    """What `--temperatures` cannot be."""
    return Finding(
        f"`{given}` says no temperatures",
        "give a number of at least 1, `classic`, `adaptive`, or `adaptive:SHARE` with a share between 0 and 1 such as `adaptive:0.999`",
    )


@diagnostic("GM754", "too many temperatures")
def endless_pilot(span: Span, share: float) -> Finding:
    """A pilot run whose steps become too short."""
    return Finding(
        f"no 200,000 temperatures keep the effective sample size of each step at {share:g} of the chains",
        "ask for a smaller share, `--temperatures adaptive:0.99`, or for a number of temperatures",
    )


@diagnostic("GM755", "share out of range")
def share_out_of_range(span: Span | None, what: str, number: object) -> Finding:
    """A tolerance or a damping that is not between 0 and 1."""
    return Finding(f"{what} is {number!r}", "it must be at least 0 and below 1")
