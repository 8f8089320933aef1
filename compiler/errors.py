"""Diagnostics of pictures: GM8xx."""

from __future__ import annotations

from gmc.dsl.diagnostic import Severity
from gmc.dsl.errors.catalogue import Finding, diagnostic
from gmc.dsl.errors.phrases import all_of
from gmc.dsl.source import Span


@diagnostic("GM801", "picture not drawn", Severity.WARNING)
def no_graphviz(span: Span | None, asked: str, written: str) -> Finding:
    """The program `dot` is not installed; the text it would draw was written instead."""
    return Finding(
        f"`{asked}` needs the program `dot` of graphviz, which is not installed; its text was written to `{written}`",
        "install graphviz: `apt install graphviz`, `brew install graphviz` or `conda install graphviz`\n"
        f"and then `dot -T{_extension(asked)} -o {asked} {written}`, or run this again",
    )


@diagnostic("GM802", "graphviz failed", Severity.WARNING)
def graphviz_failed(span: Span | None, asked: str, written: str, reason: str) -> Finding:
    """The program `dot` is there but gave no picture; the text it would draw was written instead."""
    return Finding(
        f"`dot` did not draw `{asked}`: {reason}; its text was written to `{written}`",
        "see that `dot -V` works and that graphviz was installed whole; or draw the text elsewhere",
    )


@diagnostic("GM803", "unknown kind of picture")
def unknown_picture(span: Span | None, path: str, known: tuple[str, ...]) -> Finding:
    """A file name whose ending names no kind of picture."""
    return Finding(f"the ending of `{path}` names no kind of picture", f"pictures end in {all_of(known)}")


@diagnostic("GM804", "picture not written")
def picture_not_written(span: Span | None, path: str, reason: str) -> Finding:
    """The operating system refused to write a picture."""
    return Finding(f"`{path}` could not be written: {reason}", "choose a folder that is there and may be written to")


def _extension(path: str) -> str:
    return path.rpartition(".")[2].lower()
