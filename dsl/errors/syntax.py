"""Diagnostics of the text and its syntax: GM1xx."""

from __future__ import annotations

from gmc.dsl.diagnostic import Related
from gmc.dsl.errors.catalogue import Finding, diagnostic
from gmc.dsl.source import Span


@diagnostic("GM101", "unexpected text")
def unexpected(span: Span, found: str, expected: str, help: str | None = None) -> Finding:
    """Something stands where the grammar has no place for it."""
    return Finding(f"expected {expected}, found {found}", help)


@diagnostic("GM102", "illegal character")
def illegal_character(span: Span, help: str | None = None) -> Finding:
    """A character that belongs to no token."""
    shown = span.text if span.text.isprintable() else " ".join(f"U+{ord(character):04X}" for character in span.text[:4])
    return Finding(f"`{shown[:40]}` has no meaning here", help)


@diagnostic("GM103", "unterminated string")
def unterminated_string(span: Span) -> Finding:
    """A string without its closing quote on the same line."""
    return Finding("this string has no closing quote", 'end it with `"` on the same line')


@diagnostic("GM104", "unterminated docstring")
def unterminated_docstring(span: Span) -> Finding:
    """A docstring that runs to the end of the file; what follows it was not read."""
    return Finding("this docstring never ends; nothing after it was read", 'close it with `"""`')


@diagnostic("GM105", "malformed number")
def malformed_number(span: Span, help: str) -> Finding:
    """Something that begins like a number and goes on like none."""
    return Finding(f"`{_short(span.text)}` is not a number", help)


@diagnostic("GM106", "number too large")
def number_too_large(span: Span) -> Finding:
    """A number beyond what a 64-bit float holds."""
    return Finding(f"`{_short(span.text)}` is too large", "the largest number is about 1.8e308")


@diagnostic("GM107", "unknown keyword")
def unknown_keyword(span: Span, expected: str, suggestion: str) -> Finding:
    """A name close to the reserved word that could stand there."""
    return Finding(f"expected {expected}, found `{_short(span.text)}`", f"did you mean `{suggestion}`?")


@diagnostic("GM108", "reserved word used as a name")
def reserved_word(span: Span) -> Finding:
    """A reserved word where a name of the user's belongs."""
    word = span.text
    return Finding(f"`{word}` is a reserved word and cannot be a name", f"call it something else, such as `{word}_1`")


@diagnostic("GM109", "missing closing bracket")
def missing_closing(span: Span, closing: str, opening: Span) -> Finding:
    """A bracket that is open where something comes that cannot stand inside it."""
    related = Related(opening, f"this `{opening.text}` is not closed")
    return Finding(f"missing `{closing}`", related=(related,))


@diagnostic("GM110", "unmatched closing bracket")
def unmatched_closing(span: Span, opening: Span | None, closing: str | None) -> Finding:
    """A closing bracket that matches no open one."""
    if opening is None or closing is None:
        return Finding(f"this `{span.text}` closes nothing", "remove it, or add what it should close")
    related = Related(opening, f"this `{opening.text}` is open")
    return Finding(f"`{span.text}` does not close `{opening.text}`", f"write `{closing}`", (related,))


@diagnostic("GM111", "nested too deeply")
def nested_too_deeply(span: Span) -> Finding:
    """Brackets or operators nested beyond the limit; what follows was not read."""
    return Finding(
        "this is nested too deeply; nothing after it was read", "give a part of it a name with `param` or `net`"
    )


@diagnostic("GM112", "docstring of nothing")
def dangling_docstring(span: Span) -> Finding:
    """A docstring that no statement or item follows."""
    return Finding("this docstring documents nothing", "put it before a statement or an item, or make it a `#` comment")


@diagnostic("GM113", "unknown escape")
def unknown_escape(span: Span) -> Finding:
    r"""A backslash in a string before something other than a quote, a backslash, n or t."""
    return Finding(
        f"unknown escape `{span.text}` in a string", 'a backslash is written `\\\\`; there are `\\"`, `\\n`, `\\t` too'
    )


@diagnostic("GM114", "positional argument after a named one")
def positional_after_named(span: Span, named: Span) -> Finding:
    """Positional arguments come first in a call."""
    related = Related(named, "this argument has a name")
    return Finding("this argument has no name but follows one that has", "put it first, or name it", (related,))


@diagnostic("GM115", "schedule out of place")
def schedule_out_of_place(span: Span) -> Finding:
    """An arrow between two values outside an argument, parentheses, `sweeps` and `potent`."""
    return Finding(
        "`a -> b` may stand only in an argument, in parentheses, or after `sweeps` and `potent`",
        "put it in parentheses: `(a -> b)`",
    )


@diagnostic("GM116", "slice with a step")
def slice_with_step(span: Span) -> Finding:
    """A second colon in one slice."""
    return Finding("a slice has no step", "write `[first:last]`")


@diagnostic("GM117", "item out of place")
def item_out_of_place(span: Span, home: str, here: str) -> Finding:
    """A reserved word that begins an item of another kind of block."""
    return Finding(f"`{span.text}` belongs in {home}, and this is {here}")


@diagnostic("GM118", "argument given twice")
def repeated_argument(span: Span, first: Span) -> Finding:
    """Two arguments of one call with the same name."""
    return Finding(f"`{span.text}` is given twice", "keep one of the two", (Related(first, "given here first"),))


@diagnostic("GM119", "trailing comma")
def trailing_comma(span: Span) -> Finding:
    """A comma with nothing after it."""
    return Finding("nothing follows this `,`", "remove it")


@diagnostic("GM120", "file not found")
def file_not_found(span: Span | None, path: str) -> Finding:
    """No file of that name."""
    return Finding(f"there is no file `{path}`")


@diagnostic("GM121", "not a file")
def not_a_file(span: Span | None, path: str) -> Finding:
    """A directory, or something else that cannot be read as a file."""
    return Finding(f"`{path}` is a directory", "name a .gm file in it")


@diagnostic("GM122", "unreadable file")
def unreadable_file(span: Span | None, path: str, reason: str) -> Finding:
    """The operating system refuses to give the file."""
    return Finding(f"`{path}` cannot be read: {reason}")


@diagnostic("GM123", "not UTF-8")
def not_utf8(span: Span, path: str, byte: int, offset: int) -> Finding:
    """A byte that is no part of UTF-8 text."""
    return Finding(
        f"`{path}` is not UTF-8 text: byte {byte:#04x} at offset {offset}", "save it as UTF-8, or name a text file"
    )


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."
