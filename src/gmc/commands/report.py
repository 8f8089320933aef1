"""What goes where: artefacts to stdout, diagnostics and all talk to stderr, as text or as JSON lines."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import TextIO

import click

from gmc.dsl.diagnostic import Diagnostic, GmcError, render_all


class Reporter:
    """Writes diagnostics and progress to stderr.

    As text, or as JSON lines: then each line of stderr is one diagnostic, and nothing else is written there.
    """

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self._before = False

    def show(self, diagnostics: Sequence[Diagnostic]) -> None:
        """Diagnostics, in the given order."""
        if not diagnostics:
            return
        if self.as_json:
            for found in diagnostics:
                self._write(json.dumps(found.to_json()))
            return
        self._write(("\n" if self._before else "") + render_all(diagnostics))
        self._before = True

    def say(self, text: str) -> None:
        """A line for a person; nothing in JSON."""
        if not self.as_json:
            self._write(text)

    def _write(self, text: str) -> None:
        try:
            click.echo(text, err=True)
        except OSError:  # nobody listens; the exit code still tells
            silence(sys.stderr)


def put(text: str) -> None:
    """An artefact, or a part of one, to stdout as it is.

    Raises:
        BrokenPipeError: the reader has closed it.
        GmcError: it could not be written.
    """
    put_bytes(text.encode("utf-8", "backslashreplace"))


def put_bytes(data: bytes) -> None:
    """The same of bytes."""
    from gmc.runtime import errors

    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        silence(sys.stdout)
        reason = error.strerror or type(error).__name__
        raise GmcError([errors.not_written(None, "standard output", reason, False)]) from None
    except (AttributeError, ValueError):  # closed before gmc began: what is written is not wanted
        return


def silence(stream: TextIO | None) -> None:
    """Sends all that a stream still holds to nowhere, so that Python does not complain of it at its end."""
    try:
        if stream is not None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
    except (OSError, ValueError):  # no file behind it
        return
