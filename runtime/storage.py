"""Files of a run: written whole or not at all, and read with suspicion.

A file is written beside its place and moved there, so that whoever reads it, also after a kill or a power cut, finds the old bytes or the
new ones. Tensor files are safetensors; their metadata is one JSON object, so that equal contents are equal bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from gmc.dsl.diagnostic import Diagnostic, GmcError
from gmc.runtime import errors
from gmc.runtime.source import reason

METADATA = "gmc"
"""The one metadata key: safetensors writes several in an order that changes from run to run."""


def write_bytes(path: Path, data: bytes) -> None:
    """Puts `data` at `path`, atomically and durably.

    Raises:
        GmcError: the disk is full, or the place may not be written; what was at `path` is as it was.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        try:
            # as open() makes files, but never through a link that someone put there
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            try:
                _write_all(handle, data)
                os.fsync(handle)
            finally:
                os.close(handle)
            temporary.replace(path)
        except BaseException:  # a Ctrl-C too leaves nothing behind
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise GmcError(errors.not_written(None, str(path), reason(error), is_there(path))) from error


def is_there(path: Path) -> bool:
    """Whether something is there, as far as that can be told."""
    try:
        return path.exists()
    except OSError:  # such as a name that is too long
        return False


def make_folder(folder: Path) -> None:
    """Makes a folder, and those that it is in.

    Raises:
        GmcError: a file is in the way, or the place may not be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise GmcError(errors.not_written(None, str(folder), reason(error), False)) from error


def remove_file(path: Path) -> None:
    """Removes a file, if it is there.

    Raises:
        GmcError: it may not be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise GmcError(errors.not_written(None, str(path), reason(error), True)) from error


def leftovers(folder: Path) -> list[Path]:
    """What writes that were killed midway left in a folder."""
    return list(folder.glob(".*.tmp"))


def remove_leftovers(folder: Path) -> None:
    """Removes them; only for the process that owns the run."""
    for leftover in leftovers(folder):
        with suppress(OSError):
            leftover.unlink()


def write_text(path: Path, text: str) -> None:
    """Puts `text` at `path` in UTF-8, as `write_bytes` does."""
    write_bytes(path, text.encode("utf-8"))


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> None:
    """Writes tensors with what `metadata` says of them (`fingerprint`: of which model they are), as `write_bytes` does.

    A digest of both is added, because safetensors has no checksum of its own.
    """
    # a copy each: safetensors refuses views that share memory
    own = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in sorted(tensors.items())}
    described = json.dumps({**metadata, "digest": digest(own, metadata)}, sort_keys=True)
    write_bytes(path, save_tensors(own, {METADATA: described}))


def read_tensors(path: Path, fingerprint: str | None = None) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors of a file, on the CPU, and its metadata; with `fingerprint`, only if it belongs to that model.

    Raises:
        GmcError: there is no such file, it is damaged, or of another model (or, with `fingerprint`, of none).
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise GmcError(errors.run_file_not_found(None, str(path))) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise GmcError(errors.damaged_file(None, str(path), reason(error))) from None
    try:
        tensors = load_tensors(data)
        metadata = _metadata(data)
    except (SafetensorError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        why = "it is empty" if not data else f"it is cut short, altered or of another format ({error})"
        raise GmcError(errors.damaged_file(None, str(path), why)) from None
    if "digest" in metadata and metadata.pop("digest") != digest(tensors, metadata):
        raise GmcError(errors.damaged_file(None, str(path), "its bytes are not those that were written"))
    if fingerprint is not None and "fingerprint" not in metadata:
        raise GmcError(errors.foreign_file(None, str(path)))
    if fingerprint is not None and metadata["fingerprint"] != fingerprint:
        raise GmcError(errors.other_model(None, str(path)))
    return tensors, metadata


def digest(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> str:
    """A digest of names, types, shapes and contents of tensors on the CPU, and of what is said of them."""
    total = hashlib.blake2b(json.dumps(dict(metadata), sort_keys=True).encode(), digest_size=16)
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        # reshape first: a scalar has no bytes to view
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


class MetricsLog:
    """An append-only file of JSON lines that a resumed run cuts back to where its checkpoint was made."""

    def __init__(self, path: Path, length: int) -> None:
        self._path = path
        self._length = length

    @property
    def length(self) -> int:
        """Its bytes; what a checkpoint records, after `sync`."""
        return self._length

    def append(self, record: Mapping[str, object]) -> None:
        """Adds a line; a number that is not finite is written as null, for which JSON has no word.

        Raises:
            GmcError: the line could not be written; the file ends with the line before.
        """
        line = json.dumps({key: _finite(value) for key, value in record.items()}, allow_nan=False) + "\n"
        try:
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            try:
                _write_all(handle, line.encode("utf-8"))
            except OSError:
                os.ftruncate(handle, self._length)
                raise
            finally:
                os.close(handle)
        except OSError as error:
            raise GmcError(errors.not_written(None, str(self._path), reason(error), True)) from error
        self._length += len(line.encode("utf-8"))

    def sync(self) -> None:
        """Makes sure that all lines are on the disk, before a checkpoint counts on them."""
        try:
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o666)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise GmcError(errors.not_written(None, str(self._path), reason(error), True)) from error


def open_metrics(path: Path, length: int = 0) -> tuple[MetricsLog, tuple[Diagnostic, ...]]:
    """The log at `path`, cut to its first `length` bytes; a warning if it has fewer, which stops nothing.

    Raises:
        GmcError: the file may not be written.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            present = os.fstat(handle).st_size
            if present > length:
                os.ftruncate(handle, length)
                os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise GmcError(errors.not_written(None, str(path), reason(error), is_there(path))) from error
    missing = length - present
    warnings = (errors.metrics_short(None, str(path), missing),) if missing > 0 else ()
    return MetricsLog(path, min(present, length)), warnings


def _write_all(handle: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]


def _sync_folder(folder: Path) -> None:
    """Makes the new name durable too; Windows cannot open a folder and needs none of it."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _metadata(data: bytes) -> dict[str, str]:
    """What `write_tensors` was told; nothing for a file that another program wrote."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size]).get("__metadata__", {})
    return {str(key): str(value) for key, value in json.loads(header.get(METADATA, "{}")).items()}


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
