"""From DOT text to a picture, by the program `dot` of graphviz where it is installed."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gmc.compiler import errors
from gmc.dsl.diagnostic import Diagnostic, GmcError

DRAWN = (".svg", ".png", ".pdf")
KNOWN = (*DRAWN, ".dot")
DPI = 144
TIME_LIMIT = 120.0
"""Seconds after which `dot` is stopped."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """The file that was written, and what there is to say of it."""

    path: Path
    diagnostics: tuple[Diagnostic, ...] = ()


def render(dot: str, path: Path) -> Rendered:
    """Writes a picture, its kind by the ending: .svg, .png, .pdf, or .dot for the text itself; whole or not at all.

    Without graphviz, or where it fails, the text is written beside it with the ending .dot, and a warning says so.

    Raises:
        GmcError: another ending, or a place that may not be written to.
    """
    ending = path.suffix.lower()
    if ending not in KNOWN:
        raise GmcError(errors.unknown_picture(None, str(path), KNOWN), exit_code=2)
    text = dot.encode("utf-8")
    if ending == ".dot":
        _write(path, text)
        return Rendered(path)
    if shutil.which("dot") is None:
        beside = path.with_suffix(".dot")
        _write(beside, text)
        return Rendered(beside, (errors.no_graphviz(None, str(path), str(beside)),))
    drawn = _run(text, ending[1:])
    if isinstance(drawn, str):
        beside = path.with_suffix(".dot")
        _write(beside, text)
        return Rendered(beside, (errors.graphviz_failed(None, str(path), str(beside), drawn),))
    _write(path, drawn)
    return Rendered(path)


def svg(dot: str) -> str | None:
    """The picture as SVG for a notebook; None where graphviz is missing or fails."""
    if shutil.which("dot") is None:
        return None
    drawn = _run(dot.encode("utf-8"), "svg")
    return None if isinstance(drawn, str) else drawn.decode("utf-8")


def _run(text: bytes, kind: str) -> bytes | str:
    """The picture's bytes, or why there are none."""
    # only a bitmap has dots; elsewhere the option would scale the picture
    options = [f"-Gdpi={DPI}"] if kind == "png" else []
    try:
        done = subprocess.run(
            ["dot", f"-T{kind}", *options], input=text, capture_output=True, check=False, timeout=TIME_LIMIT
        )
    except subprocess.TimeoutExpired:
        return f"it took more than {TIME_LIMIT:g} seconds"
    except OSError as error:
        return error.strerror or str(error)
    if done.returncode != 0 or not done.stdout:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        return said[0] if said else f"it ended with code {done.returncode}"
    return done.stdout


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        try:
            temporary.write_bytes(data)
            os.replace(temporary, path)  # noqa: PTH105  # the atomic one
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise GmcError(errors.picture_not_written(None, str(path), error.strerror or str(error))) from error
