"""Files that are whole or not there: written under another name, brought to the disk, renamed.

Standard library only.
"""

import errno
import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from .errors import ConflictError, FastZeroError, NotAllowedError, UnavailableError

CHUNK = 2**20
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PARTIAL = re.compile(r"\..+\.partial-[0-9a-f]{8}")


def read_chunks(path: Path) -> Iterator[bytes]:
    """A file's bytes, a mebibyte at a time."""
    with reading(path), path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            yield chunk


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file that only its owner may read, which is at `path` once the block ends well, and else nowhere.

    What a killed command left beside it is removed first. Raises ConflictError if there is one already.
    """
    with writing(path):
        make_private_folder(path.parent)
        _remove_abandoned(path.parent)
        if path.exists():
            raise ConflictError(f"{path} is there already", hint="Choose another name, or remove that one first")
        partial = path.with_name(f".{path.name}.partial-{secrets.token_hex(4)}")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # by this others know that its writer lives
                yield file
                os.fsync(file.fileno())
            partial.rename(path)
            sync_folder(path.parent)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def make_private_folder(path: Path) -> None:
    """The folder, and those above it, which only their owner may enter where they are made."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def make_folder(path: Path, mode: int) -> None:
    """Create the folder with its parents. Those in between may be entered: PostgreSQL may run as another user."""
    with writing(path):
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            folder.chmod(mode if folder == path else 0o711)


def sync_folder(path: Path) -> None:
    """Bring what was renamed in a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raises UnavailableError or NotAllowedError where the block meets an error of the file system's."""
    with _file_errors("write", path):
        yield


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """The same for a block that reads."""
    with _file_errors("read", path):
        yield


@contextmanager
def _file_errors(verb: str, path: Path) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except PermissionError as error:
        raise NotAllowedError(f"cannot {verb} {path}: {error.strerror}", hint="Choose a place that is yours") from error
    except OSError as error:
        raise _file_error(verb, path, error) from error


def _file_error(verb: str, path: Path, error: OSError) -> FastZeroError:
    full = error.errno in _FULL
    hint = "Make room there, or choose another place" if full else "Choose another place"
    return UnavailableError(f"cannot {verb} {path}: {error.strerror}", hint=hint)


def _remove_abandoned(folder: Path) -> None:
    for path in folder.iterdir():
        if _PARTIAL.fullmatch(path.name):
            with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
