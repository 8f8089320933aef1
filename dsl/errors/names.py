"""Diagnostics of names: GM2xx."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gmc.dsl.diagnostic import Related
from gmc.dsl.errors.catalogue import Finding, diagnostic
from gmc.dsl.errors.phrases import a, all_of, did_you_mean, kind_name, one_of
from gmc.dsl.source import Span

COMMAND_LINE = frozenset({"GM209", "GM210", "GM219", "GM604"})
"""Codes of what is wrong with the command line rather than the file."""


@diagnostic("GM201", "name declared twice")
def clash(span: Span, name: str, what: str, first_what: str, first: Span, *, made_edge: bool) -> Finding:
    """Two params, nets, variables, edges, chains or objectives of one name."""
    message = f"`{name}` is already {a(first_what)}"
    if made_edge and "edge" in {what, first_what}:
        message += "; an edge without a name is called by its variables"
        help = "name the edge: `edge NAME : ...`"
    else:
        help = f"give this {what} another name"
    return Finding(message, help, (Related(first, "first declared here"),))


@diagnostic("GM202", "name hides a word of the language")
def hides_word(span: Span, name: str, kinds: Sequence[str]) -> Finding:
    """A user's name that is registered as a type, a factor, an objective, a metric and so on."""
    what = all_of([a(kind_name(kind)) for kind in kinds]) if kinds else "a word of the language"
    return Finding(f"`{name}` is {what}, and no name may hide it", f"call it something else, such as `{name}_1`")


@diagnostic("GM203", "unknown name")
def unknown_name(span: Span, name: str, wanted: Sequence[str], candidates: Iterable[str]) -> Finding:
    """A name that the file does not declare."""
    return Finding(f"there is no {one_of(wanted)} `{name}`", did_you_mean(name, candidates))


@diagnostic("GM204", "name of another kind")
def wrong_kind(span: Span, name: str, what: str, wanted: Sequence[str], declared: Span) -> Finding:
    """A name that is declared, as something else than what belongs there."""
    message = f"`{name}` is {a(what)}, and {one_of([a(w) for w in wanted])} belongs here"
    return Finding(message, related=(Related(declared, "declared here"),))


@diagnostic("GM205", "unknown word")
def unknown_word(span: Span, name: str, kind: str, candidates: Iterable[str]) -> Finding:
    """A name where a registered word belongs, and none of that name is."""
    return Finding(f"there is no {kind_name(kind)} `{name}`", did_you_mean(name, candidates))


@diagnostic("GM206", "word of another kind")
def wrong_word(span: Span, name: str, is_a: Sequence[str], kind: str, candidates: Iterable[str]) -> Finding:
    """A registered word where a word of another kind belongs."""
    message = f"`{name}` is {all_of([a(kind_name(k)) for k in is_a])}, and {a(kind_name(kind))} belongs here"
    return Finding(message, did_you_mean(name, candidates))


@diagnostic("GM207", "word expected")
def word_expected(span: Span, kind: str, candidates: Sequence[str]) -> Finding:
    """An expression where a registered word, with or without arguments, belongs."""
    return Finding(f"{a(kind_name(kind))} belongs here", did_you_mean("", candidates))


@diagnostic("GM208", "parameter used before its declaration")
def param_used_early(span: Span, name: str, declared: Span) -> Finding:
    """A param whose value needs one that stands further down, or itself."""
    help = "a param may use those above it; move its declaration up"
    return Finding(f"`{name}` has no value yet", help, (Related(declared, "declared here"),))


@diagnostic("GM209", "unknown parameter on the command line")
def unknown_override(span: Span | None, name: str, candidates: Sequence[str]) -> Finding:
    """`--set NAME=VALUE` for a param that the file does not have."""
    help = did_you_mean(name, candidates) or (None if candidates else "this file has no params")
    return Finding(f"--set {name}: there is no param `{name}`", help)


@diagnostic("GM210", "value on the command line is not a number")
def bad_override(span: Span | None, name: str, value: str) -> Finding:
    """`--set NAME=VALUE` with a value that is no number."""
    return Finding(f"--set {name}: `{value[:40]}` is not a number", f"write --set {name}=3, or 0.5, or 2e-4")


@diagnostic("GM219", "no data statement for the command line")
def data_without_statement(span: Span | None) -> Finding:
    """`--data` for a file that has no data statement."""
    return Finding("--data: this file has no data statement", "leave --data out, or write `data npz { v = COLUMN }`")


@diagnostic("GM211", "import circle")
def import_circle(span: Span, path: str, chain: Sequence[str]) -> Finding:
    """A file that imports itself, directly or through others."""
    return Finding(f"`{path}` imports itself: {' -> '.join(chain)}", "move what both need to a third file")


@diagnostic("GM212", "imported file is wrong")
def import_failed(span: Span, path: str, reasons: Sequence[str]) -> Finding:
    """An imported file that cannot be read, or does not parse; then its own diagnostics are shown too."""
    if reasons:
        return Finding(f"`{path}` cannot be imported: {'; '.join(reasons)}", "paths start from the folder of this file")
    return Finding(f"`{path}` cannot be imported: it has mistakes of its own", "mend it first")


@diagnostic("GM213", "file imported twice")
def imported_twice(span: Span, path: str, first: Span) -> Finding:
    """The same file imported by two statements of one file."""
    return Finding(f"`{path}` is already imported", "remove this line", (Related(first, "first imported here"),))


@diagnostic("GM214", "no model")
def no_model(span: Span) -> Finding:
    """A file without a `model` statement."""
    help = "write `model NAME { observed v : bernoulli[8]  latent h : bernoulli[4]  edge v -- h }`"
    return Finding("this file has no model", help)


@diagnostic("GM215", "statement given twice")
def repeated_statement(span: Span, what: str, first: Span) -> Finding:
    """A second `model` or `data` statement."""
    related = (Related(first, "the first is here"),)
    return Finding(f"a file has one `{what}` statement, and this is another", "keep one, or split the file", related)


@diagnostic("GM216", "item given twice")
def repeated_item(span: Span, what: str, where: str, first: Span) -> Finding:
    """A second item of a kind that a chain or a stage has once."""
    return Finding(f"{where} has one `{what}`, and this is another", "keep one", (Related(first, "the first is here"),))


@diagnostic("GM217", "stage name used twice")
def repeated_stage(span: Span, name: str, first: Span, *, named: bool) -> Finding:
    """Two `train` statements of one name, or two without a name."""
    message = f"there is already a stage `{name}`" if named else "there is already a stage without a name"
    return Finding(
        message, "give each stage a name of its own: `train NAME { ... }`", (Related(first, "first declared here"),)
    )


@diagnostic("GM218", "name given twice")
def repeated_name(span: Span, name: str, first: Span) -> Finding:
    """A list or a block that holds a name twice."""
    return Finding(f"`{name}` is given twice", "remove one", (Related(first, "given here first"),))
