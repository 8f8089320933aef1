"""Reading and writing the user's files, without torch."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gmc.dsl.diagnostic import GmcError


def replace(path: Path, data: bytes) -> None:
    """Puts `data` into a file, whole or not at all; a link stays a link, and permissions stay.

    Raises:
        GmcError: it could not be written; what was there is as it was.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside `path` to write into; where the block ends well it takes its place, else nothing of it remains.

    A link stays a link, and permissions stay.

    Raises:
        GmcError: it could not be written, then or in the block; what was there is as it was.
    """
    try:
        place = path.resolve()
        temporary = place.with_name(f".{place.name}.{secrets.token_hex(4)}.tmp")
        temporary.touch()  # what cannot be written is to fail before the work is done
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise _not_written(path, error) from None
    try:
        yield temporary
        if place.exists():
            temporary.chmod(place.stat().st_mode & 0o7777)
        temporary.replace(place)
    except OSError as error:
        raise _not_written(path, error) from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def create(path: Path, data: bytes) -> None:
    """Makes a new file.

    Raises:
        GmcError: something is there already, or it could not be written.
    """
    from gmc.commands import errors

    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        raise GmcError([errors.file_exists(None, str(path))], exit_code=2) from None
    except (OSError, ValueError) as error:
        raise _not_written(path, error) from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise _not_written(path, error) from None


def _not_written(path: Path, error: Exception) -> GmcError:
    from gmc.runtime import errors

    reason = (isinstance(error, OSError) and error.strerror) or str(error)
    kept = False
    with suppress(OSError, ValueError):
        kept = path.is_file()
    return GmcError([errors.not_written(None, str(path), reason, kept)])
