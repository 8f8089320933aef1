"""Reading and writing the user's files, without torch."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from gmc.dsl.diagnostic import GmcError


def replace(path: Path, data: bytes) -> None:
    """Puts `data` into a file, whole or not at all; a link stays a link, and permissions stay.

    Raises:
        GmcError: it could not be written; what was there is as it was.
    """
    try:
        place = path.resolve()
        temporary = place.with_name(f".{place.name}.{secrets.token_hex(4)}.tmp")
        try:
            temporary.write_bytes(data)
            if place.exists():
                temporary.chmod(place.stat().st_mode & 0o7777)
            temporary.replace(place)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        raise _not_written(path, error) from None


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
