"""Diagnostics of chains: GM4xx."""

from __future__ import annotations

from collections.abc import Sequence

from gmc.dsl.diagnostic import Related, Severity
from gmc.dsl.errors.catalogue import Finding, diagnostic
from gmc.dsl.errors.phrases import all_of, did_you_mean, one_of, plural, quoted
from gmc.dsl.source import Span


@diagnostic("GM401", "too many slices")
def too_many_axes(span: Span, name: str, given: int, shape: Sequence[int], declared: Span) -> Finding:
    """A part with more slices than the variable has axes."""
    axes = plural(len(shape), "axis") if shape else "no axes"
    related = (Related(declared, f"`{name}` is declared here"),)
    return Finding(
        f"`{name}` has {axes}, and {plural(given, 'slice')} {'is' if given == 1 else 'are'} given", None, related
    )


@diagnostic("GM402", "index out of range")
def index_out_of_range(span: Span, name: str, index: int, size: int) -> Finding:
    """An index that is no site of its axis."""
    return Finding(f"{index} lies outside this axis of `{name}`, which runs from 0 to {size - 1}")


@diagnostic("GM403", "slice out of range")
def slice_out_of_range(span: Span, name: str, bound: int, size: int) -> Finding:
    """A bound of a slice beyond its axis."""
    return Finding(f"{bound} lies outside this axis of `{name}`, which has {plural(size, 'site')}")


@diagnostic("GM404", "empty slice")
def empty_slice(span: Span, name: str, first: int, last: int) -> Finding:
    """A slice that holds no site."""
    return Finding(f"this part of `{name}` is empty: it runs from {first} up to, not including, {last}")


@diagnostic("GM405", "constant for several variables")
def constant_for_several(span: Span, names: Sequence[str]) -> Finding:
    """`clamp a, b = 1`."""
    help = "write " + " and ".join(f"`clamp {name} = ...`" for name in names)
    return Finding("a constant is for one variable", help)


@diagnostic("GM406", "constant outside the support")
def constant_outside(span: Span, name: str, value: float, support: str, declared: Span) -> Finding:
    """A variable clamped to a value it cannot take."""
    related = (Related(declared, f"`{name}` is declared here"),)
    return Finding(f"`{name}` cannot be {value:g}: its values are {support}", None, related)


@diagnostic("GM407", "site clamped twice")
def clamped_twice(span: Span, name: str, first: Span) -> Finding:
    """Two clamps that share a site."""
    related = (Related(first, "already clamped here"),)
    return Finding(f"sites of `{name}` are clamped twice", "several clamps may hold parts that do not overlap", related)


@diagnostic("GM408", "chains in a circle")
def circle(span: Span, path: Sequence[str]) -> Finding:
    """Chains of which each needs the next one's end, and the last the first one's."""
    if len(path) == 2:
        return Finding(f"`{path[0]}` needs its own end before it begins", "name another chain, or leave this out")
    return Finding(
        f"these chains wait for each other: {' -> '.join(path)}", "let one of them start from something else"
    )


@diagnostic("GM409", "variable started twice")
def started_twice(span: Span, name: str | None, first: Span) -> Finding:
    """Two starts for one variable, or two lines for every free variable."""
    what = f"`{name}` has" if name is not None else "every free variable has"
    return Finding(f"{what} a start already", "keep one of the two", (Related(first, "given here"),))


@diagnostic("GM410", "start of a clamped variable")
def start_of_clamped(span: Span, name: str, chain: str) -> Finding:
    """A start for a variable that is never drawn."""
    return Finding(f"`{name}` is clamped in `{chain}` and never drawn, so it has no start", "remove it here")


@diagnostic("GM411", "start without a column")
def start_without_column(span: Span, name: str) -> Finding:
    """`start VAR from data` where the data give the variable no training rows."""
    return Finding(f"the data have no training rows for `{name}`", f"write `{name} = COLUMN` in the data statement")


@diagnostic("GM412", "start without data")
def start_without_data(span: Span) -> Finding:
    """`start data` in a file without data."""
    return Finding("there are no data to start from", "write a data statement, such as `data digits { v = image }`")


@diagnostic("GM413", "chain with arguments")
def chain_with_arguments(span: Span, name: str) -> Finding:
    """A chain's name used like a call."""
    return Finding(f"the chain `{name}` takes no arguments", f"write `{name}`")


@diagnostic("GM414", "unknown update")
def unknown_update(span: Span, name: str, known: Sequence[str]) -> Finding:
    """An update that is neither a draw, nor a mean, nor a mode."""
    help = did_you_mean(name, known)
    return Finding(f"an update is {one_of(quoted(known))}, and not `{name}`", help if help and "?" in help else None)


@diagnostic("GM429", "no mode")
def no_mode(span: Span, name: str, why: str, declared: Span) -> Finding:
    """`update mode` of a free variable whose law need not have a most probable value."""
    return Finding(
        f"`{name}` has no most probable value: {why}",
        "write `update mean` or `update sample`",
        (Related(declared, f"`{name}` is declared here"),),
    )


@diagnostic("GM415", "update of a clamped variable")
def sweep_of_clamped(span: Span, name: str) -> Finding:
    """A written sweep that draws a variable which is wholly clamped."""
    return Finding(f"`{name}` is clamped, and a sweep draws only what is free", "remove it from the sweep")


@diagnostic("GM416", "free variable missing from the sweep")
def sweep_misses(span: Span, names: Sequence[str]) -> Finding:
    """A written sweep that leaves out a free variable."""
    verb = "is" if len(names) == 1 else "are"
    help = f"add `then {{{', '.join(names)}}}`" if len(names) == 1 else "add them to blocks"
    return Finding(
        f"{all_of(quoted(names))} {verb} free and not in this sweep", f"{help}, or clamp what is not to be drawn"
    )


@diagnostic("GM417", "edge inside a block")
def edge_in_block(span: Span, last: str, first: str, edge: str, other: Span, declared: Span) -> Finding:
    """A block that draws both ends of an edge at once."""
    related = (Related(other, f"`{first}` is drawn in the same block"), Related(declared, f"`{edge}` joins them"))
    help = f"draw them one after the other: `{{{first}}} then {{{last}}}`"
    return Finding(f"`{first}` and `{last}` are joined by `{edge}` and cannot be drawn at once", help, related)


@diagnostic("GM418", "nothing is free", Severity.WARNING)
def nothing_free(span: Span, name: str) -> Finding:
    """A chain that clamps everything, and that no objective compares."""
    return Finding(f"nothing is free in `{name}`, and no objective compares it", "clamp less, or remove the chain")


@diagnostic("GM419", "where observed of what every row has")
def observed_anyway(span: Span, chain: str | None) -> Finding:
    """`where observed` beside a constant or beside `from CHAIN`, which leave no gap."""
    what = "a constant is" if chain is None else f"where `{chain}` ended is"
    help = "leave out `where observed`, or this; with `where observed` alone the data say which sites are clamped"
    return Finding(f"{what} known for every row, so that `where observed` clamps all of it", help)


@diagnostic("GM420", "start from what is missing")
def start_from_missing(span: Span, name: str, clamp: Span) -> Finding:
    """`start v from data` for a variable that is clamped where observed."""
    related = (Related(clamp, "clamped where observed"),)
    help = f"write `start {name} from noise`, or no start: then it is drawn from what is known"
    return Finding(f"what the data have of `{name}` is clamped, and the rest is missing", help, related)


@diagnostic("GM421", "start does not fit")
def start_misfit(span: Span, name: str, start: str, why: str, declared: Span) -> Finding:
    """A registered start that a variable's type or shape cannot take."""
    related = (Related(declared, f"`{name}` is declared here"),)
    return Finding(f"`{name}` cannot start from `{start}`: {why}", None, related)


@diagnostic("GM434", "start does not go with the chain")
def start_refused(span: Span, message: str, help: str | None, related: Sequence[tuple[Span, str]]) -> Finding:
    """A registered start that does not go with what else the chain says."""
    return Finding(message, help, tuple(Related(place, text) for place, text in related))


@diagnostic("GM431", "no kernel")
def no_kernel(span: Span, chain: str, name: str, reasons: Sequence[tuple[Span, str]], help: str) -> Finding:
    """A free variable that neither a `~>` edge nor the joint draws."""
    related = tuple(Related(place, text) for place, text in reasons)
    return Finding(f"nothing draws `{name}` in `{chain}`", help, related)


@diagnostic("GM432", "several kernels")
def several_kernels(span: Span, chain: str, name: str, edges: Sequence[tuple[Span, str]]) -> Finding:
    """A free variable that more than one `~>` edge could draw."""
    names = [edge for _, edge in edges]
    help = f"name one in a written sweep: `{{{name} by {names[0]}}}`"
    related = tuple(Related(place, f"`{edge}` is here") for place, edge in edges)
    return Finding(f"{all_of(quoted(names))} could each draw `{name}` in `{chain}`", help, related)


@diagnostic("GM433", "named edge does not draw the variable")
def no_kernel_of(span: Span, name: str, edge: str, declared: Span, choices: Sequence[str]) -> Finding:
    """`VARIABLE by EDGE` where the edge is no `~>` edge into the variable."""
    help = f"{one_of(quoted(choices))} can draw it" if choices else f"leave `by {edge}` out: then the joint draws it"
    return Finding(f"`{edge}` is no `~>` edge into `{name}`", help, (Related(declared, f"`{edge}` is here"),))
