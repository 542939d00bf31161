"""Write files atomically, read regular files only, and raise errors that say what to do. Standard library only.

A file is written under a temporary name in its own folder, flushed to the disk, and then renamed. Its writer holds a
lock on it, which ends with the process, so that the next writer can remove the temporary file of a killed one.
"""

import errno
import fcntl
import hashlib
import math
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from . import folders
from .errors import ConflictError, FastZeroError, InvalidInputError, NotAllowedError, UnavailableError
from .polling import wait_until

CHUNK = 2**20
LOCK_EVERY = 0.05  # seconds between two tries
TEXT_MAX = 16 * 2**20  # bytes
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_PARTIAL = re.compile(r"\..+\.partial-[0-9a-f]{8}")


@dataclass(frozen=True)
class Hints:
    """Hints for an OSError: permission denied, disk full, and any other."""

    denied: str
    full: str
    other: str


CHOSEN = Hints(
    "Choose a folder that you can write to", "Free some space, or choose another folder", "Choose another folder"
)
HOME = Hints(
    "Set FASTZERO_HOME to a folder that you own",
    "Free some space, or set FASTZERO_HOME to another folder",
    "Free some space, or set FASTZERO_HOME to another folder",
)


# -- reading ---------------------------------------------------------------------------------------------------


def read_text(path: Path, *, denied: str = CHOSEN.denied, limit: int = TEXT_MAX, own: bool = False) -> str:
    """Return the text of a UTF-8 file of at most `limit` bytes. `denied` is the hint if permission is denied.

    With `own`, root is refused if another user can change the file's folder. Raises FileNotFoundError, since only the
    caller knows what absence means; InvalidInputError for a file that is not regular, too large or not UTF-8;
    NotAllowedError, UnavailableError.
    """
    with reading(path, Hints(denied, CHOSEN.full, CHOSEN.other), absent=True), open_regular(path, own=own) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise InvalidInputError(f"{path} is larger than {limit:,} bytes", hint="Restore the file, or remove it")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInputError(f"{path} is not UTF-8 text", hint="Restore the file, or remove it") from None


def read_chunks(path: Path) -> Iterator[bytes]:
    """Yield a file's bytes in chunks of 1 MiB. Raises the errors of `read_text`."""
    with reading(path), open_regular(path) as file:
        while chunk := file.read(CHUNK):
            yield chunk


def open_regular(path: Path, *, own: bool = False) -> BinaryIO:
    """Open a regular file for reading, without blocking, as opening a FIFO would. `own` is as for `read_text`.

    Raises InvalidInputError if it is not a regular file; NotAllowedError, OSError.
    """
    root = os.geteuid() == 0
    with folders.parent_of(path, own=own, follow=True) as (folder, name):
        # For an ordinary user, `os.open` follows a link. For root, `parent_of` has followed it if that is safe.
        descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | (os.O_NOFOLLOW if root else 0), dir_fd=folder)
        may_be_planted = root and folders.others_can_add(folder)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise InvalidInputError(f"{path} is not a regular file", hint="Choose a file")
        if may_be_planted and found.st_uid == 0 and found.st_nlink > 1:
            raise NotAllowedError(f"{path} is a hard link to a file of root", hint="Use another file, or a copy of it")
        return os.fdopen(descriptor, "rb", buffering=0)
    except BaseException:
        os.close(descriptor)
        raise


def open_append(path: Path, mode: int = 0o600) -> BinaryIO:
    """Open a file of fastzero for appending; create it if needed. Links are not followed. Raises OSError."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    with folders.parent_of(path, own=True) as (folder, name):
        descriptor = os.open(name, flags, mode, dir_fd=folder)
    return os.fdopen(descriptor, "ab")


def take_lock(file: BinaryIO, timeout: float = math.inf) -> bool:
    """Lock an open file until it is closed or the process ends. Return False after `timeout` seconds without it."""
    return wait_until(lambda: _is_locked(file), timeout, every=LOCK_EVERY)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock a file for one block, and wait until no other process has it. Raises OSError."""
    with open_append(path) as file:
        take_lock(file)
        yield


def status(path: Path) -> os.stat_result | None:
    """Return the status of a file, following links; None if it does not exist. Raises InvalidInputError."""
    _refuse_nul(path)
    with reading(path):
        try:
            return path.stat()
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            raise


def path_as_text(path: str) -> str:
    """Return a path as text that can be written to a UTF-8 file, whatever the locale's encoding of file names."""
    return os.fsencode(path).decode("utf-8", "surrogateescape")


def path_from_text(text: str) -> str:
    """Return the path for a result of `path_as_text`, in the locale's encoding of file names."""
    return os.fsdecode(text.encode("utf-8", "surrogateescape"))


# -- writing ---------------------------------------------------------------------------------------------------


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Write a new file with mode 0600, which is created at `path` only if the block succeeds.

    The name is claimed when the block begins. Raises ConflictError if the name exists or another writer has claimed it;
    NotAllowedError, UnavailableError.
    """
    with writing(path), _claimed(path) as (folder, partial, file):
        yield file
        _flush_to_disk(file)
        _publish(folder, partial, path)
        os.fsync(folder)


@contextmanager
def claim(path: Path) -> Iterator[None]:
    """Prevent others from creating a file with this name during the block.

    Raises ConflictError if the name exists or another command has claimed it.
    """
    with writing(path), _claimed(path):
        yield


def write_atomically(path: Path, text: str, *, hints: Hints = HOME) -> None:
    """Replace a file of fastzero, with mode 0600. After a crash it has either the old content or the new.

    With the hints for a path that the user chose, the file has the mode of the user's new files. A link is replaced.
    """
    own = hints is HOME
    make_folder(path.parent, 0o711, hints)
    with writing(path, hints), folders.opened(path.parent, own=own) as folder:
        _remove_abandoned(folder)
        with _partial_file(folder, path, secrets.token_hex(4)) as (partial, file):
            if not own:
                os.umask(umask := os.umask(0o077))
                os.fchmod(file.fileno(), 0o666 & ~umask)
            file.write(text.encode("utf-8"))
            _flush_to_disk(file)
            os.replace(partial, path.name, src_dir_fd=folder, dst_dir_fd=folder)


def remove_file(path: Path) -> None:
    """Delete a file if it exists; a link is not followed. Raises NotAllowedError, UnavailableError."""
    with writing(path), suppress(FileNotFoundError), folders.parent_of(path) as (folder, name):
        os.unlink(name, dir_fd=folder)


def make_folder(path: Path, mode: int, hints: Hints = HOME) -> None:
    """Create a folder and its parents, these with mode 0711, since PostgreSQL may run as another user.

    With the hints for FASTZERO_HOME, root is refused if another user can change the folder. Raises NotAllowedError.
    """
    own = hints is HOME
    with writing(path, hints):
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        for folder in reversed(missing):
            folders.make(folder, mode if folder == path else 0o711, own=own)
        with folders.opened(path, own=own):
            pass


@contextmanager
def _claimed(path: Path) -> Iterator[tuple[int, str, BinaryIO]]:
    """Claim a name. Yields the folder's descriptor, the name of the temporary file, and that file, open."""
    _refuse_nul(path)
    make_folder(path.parent, 0o700, CHOSEN)
    with folders.opened(path.parent) as folder:
        _remove_abandoned(folder)
        # The same for every claim of this name, so that only one can exist.
        mark = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:8]
        with _partial_file(folder, path, mark) as (partial, file):
            if _status(path.name, folder):
                raise ConflictError(f"{path} already exists", hint="Choose another name, or delete that file first")
            yield folder, partial, file


@contextmanager
def _partial_file(folder: int, path: Path, mark: str) -> Iterator[tuple[str, BinaryIO]]:
    """Create a locked temporary file beside `path`. Delete it unless the block renames it. Raises ConflictError."""
    partial = f".{path.name}.partial-{mark}"
    with _locked(folder, path, partial) as file:
        try:
            yield partial, file
        finally:
            if _is_at(file, partial, folder):
                os.unlink(partial, dir_fd=folder)


def _locked(folder: int, path: Path, partial: str) -> BinaryIO:
    while True:
        try:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
        except FileExistsError:
            raise ConflictError(
                f"another command is writing {path}", hint="Wait for it to end, or choose another name"
            ) from None
        file = os.fdopen(descriptor, "wb")
        fcntl.flock(file, fcntl.LOCK_EX)
        if _is_at(file, partial, folder):
            return file
        file.close()  # another command removed it as abandoned before it was locked


def _is_locked(file: BinaryIO) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _remove_abandoned(folder: int) -> None:
    """Remove the temporary files of killed commands."""
    for name in filter(_PARTIAL.fullmatch, os.listdir(folder)):
        with suppress(FileNotFoundError, BlockingIOError):
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
            with os.fdopen(descriptor, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_at(file, name, folder):
                    os.unlink(name, dir_fd=folder)


def _is_at(file: BinaryIO, name: str, folder: int) -> bool:
    """Return whether this open file has that name."""
    found = _status(name, folder)
    return found is not None and os.path.samestat(os.fstat(file.fileno()), found)


def _status(name: str, folder: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _publish(folder: int, partial: str, path: Path) -> None:
    """Give a complete file its final name. Never replaces another file."""
    try:
        os.link(partial, path.name, src_dir_fd=folder, dst_dir_fd=folder)
    except FileExistsError:
        raise ConflictError(f"{path} already exists", hint="Choose another name, or delete that file first") from None
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        # Some file systems do not support links; between fastzero commands the claim is enough.
        os.rename(partial, path.name, src_dir_fd=folder, dst_dir_fd=folder)


def _flush_to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


# -- errors ----------------------------------------------------------------------------------------------------


@contextmanager
def writing(path: Path, hints: Hints = CHOSEN) -> Iterator[None]:
    """Turn an OSError of a block that writes into UnavailableError, NotAllowedError or InvalidInputError."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _file_error("write", path, error, hints) from error


@contextmanager
def reading(path: Path, hints: Hints = CHOSEN, *, absent: bool = False) -> Iterator[None]:
    """Do the same for a block that reads. With `absent`, a FileNotFoundError is passed on unchanged."""
    try:
        yield
    except OSError as error:
        if absent and isinstance(error, FileNotFoundError):
            raise
        raise _file_error("read", path, error, hints) from error


def _refuse_nul(path: Path) -> None:
    if "\0" in str(path):
        raise InvalidInputError(f"invalid file name {str(path)!r}: it contains a NUL character")


def _file_error(verb: str, path: Path, error: OSError, hints: Hints) -> FastZeroError:
    message = f"cannot {verb} {path}: {error.strerror}"
    if error.errno == errno.ENAMETOOLONG:
        return InvalidInputError(f"invalid file name {path.name!r}: it is too long", hint="Use a shorter name")
    if isinstance(error, PermissionError):
        return NotAllowedError(message, hint=hints.denied)
    return UnavailableError(message, hint=hints.full if error.errno in _FULL else hints.other)
