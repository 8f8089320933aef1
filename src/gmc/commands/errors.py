"""Diagnostics of the command line: GM81x, and GM899 for what no user can mend."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gmc.dsl.diagnostic import Diagnostic
from gmc.dsl.errors.catalogue import Finding, diagnostic
from gmc.dsl.errors.names import COMMAND_LINE
from gmc.dsl.errors.phrases import did_you_mean, one_of, quoted
from gmc.dsl.source import Span

WRONG_COMMAND = COMMAND_LINE | {"GM120", "GM121", "GM722", "GM810", "GM811", "GM812", "GM813", "GM814", "GM727"}
"""Codes of what another command line would mend, rather than another model or other data."""


@diagnostic("GM810", "wrong command line")
def usage(span: Span | None, message: str, help: str | None) -> Finding:
    """An option or argument that is unknown, missing, or of the wrong form."""
    return Finding(message, help)


@diagnostic("GM811", "file in the way")
def file_exists(span: Span | None, path: str) -> Finding:
    """A new file would take the place of one that is there."""
    return Finding(f"`{path}` exists already, and nothing was written", "choose another name, or remove it")


@diagnostic("GM812", "unknown code")
def unknown_code(span: Span | None, code: str, codes: Iterable[str]) -> Finding:
    """`gmc explain` of a code that no diagnostic has."""
    help = did_you_mean(code, codes) or "`gmc explain` without a code lists all of them"
    return Finding(f"no diagnostic has the code `{code}`", help)


@diagnostic("GM813", "unknown kind of file")
def unknown_ending(span: Span | None, path: str, endings: Sequence[str]) -> Finding:
    """An output file whose name does not end in one of the kinds that can be written."""
    return Finding(f"`{path}` does not say which kind of file to write", f"let its name end in {one_of(endings)}")


@diagnostic("GM814", "no chain chosen")
def which_chain(span: Span | None, names: Sequence[str]) -> Finding:
    """Something that is about one chain, without `--chain`, in a file that does not have exactly one."""
    if not names:
        return Finding("this file has no chain", "add one: `chain dreaming { sweeps 100 }`")
    return Finding("this is about one chain", f"choose one with `--chain`: {one_of(quoted(names))}")


@diagnostic("GM815", "out of memory")
def out_of_memory(span: Span | None, reason: str) -> Finding:
    """More memory was asked for than there is."""
    return Finding(f"there is not enough memory: {reason}", "use a smaller batch, fewer chains or a smaller model")


@diagnostic("GM899", "bug in gmc")
def bug(span: Span | None, error: str, where: str) -> Finding:
    """An exception that should not have left the program: gmc is wrong, whatever the input."""
    return Finding(f"gmc failed: {error}", f"this is a mistake of gmc, not yours; please report it {where}")


def exit_code(diagnostics: Sequence[Diagnostic]) -> int:
    """0 without errors, 2 where another command line would mend them all, else 1."""
    wrong = [found for found in diagnostics if found.is_error]
    if not wrong:
        return 0
    return 2 if all(found.code in WRONG_COMMAND for found in wrong) else 1
