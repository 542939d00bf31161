"""Files: written whole or not at all, read only if regular, with errors that say what to do. Standard library only.

A file is written under another name beside its own, brought to the disk, and gets its own name last. Its writer locks
it; the lock ends with the writer, so that the next one can remove what a killed one left.
"""

import errno
import fcntl
import hashlib
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

CHUNK = 2**20
TEXT_MAX = 16 * 2**20  # bytes
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_PARTIAL = re.compile(r"\..+\.partial-[0-9a-f]{8}")


@dataclass(frozen=True)
class Hints:
    """What to do where the system refuses a file: for want of permission, of space, or for another reason."""

    denied: str
    full: str
    other: str


CHOSEN = Hints("Choose a place that is yours", "Make room there, or choose another place", "Choose another place")
HOME = Hints(
    "Set FASTZERO_HOME to a folder of yours",
    "Free some space, or set FASTZERO_HOME to another folder",
    "Free some space, or set FASTZERO_HOME to another folder",
)


# -- reading ---------------------------------------------------------------------------------------------------


def read_text(path: Path, *, denied: str = CHOSEN.denied, limit: int = TEXT_MAX, own: bool = False) -> str:
    """Return the text of a UTF-8 file of at most `limit` bytes. `denied` is the hint where this user may not read it.

    `own` says that only this user, and root, should be able to change its folder: root is refused where others can.
    Raises FileNotFoundError as it is, since the caller knows what absence means; InvalidInputError for what is not a
    regular file, too large or not UTF-8; NotAllowedError, UnavailableError.
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
    """Yield a file's bytes, a mebibyte at a time. Raises as `read_text` does."""
    with reading(path), open_regular(path) as file:
        while chunk := file.read(CHUNK):
            yield chunk


def open_regular(path: Path, *, own: bool = False) -> BinaryIO:
    """Open a regular file for reading. Raises OSError, NotAllowedError, and InvalidInputError for anything else.

    It never waits: opening a FIFO would, until somebody writes to it. `own` is as for `read_text`.
    """
    root = os.geteuid() == 0
    with folders.parent_of(path, own=own, follow=True) as (folder, name):
        # An ordinary user's link is followed here; root's was, if root may follow it.
        descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | (os.O_NOFOLLOW if root else 0), dir_fd=folder)
        may_be_planted = root and folders.others_can_add(folder)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise InvalidInputError(f"{path} is not a regular file", hint="Choose a file")
        if may_be_planted and found.st_uid == 0 and found.st_nlink > 1:
            raise NotAllowedError(f"{path} is a second name of a file of root's", hint="Name another file, or copy it")
        return os.fdopen(descriptor, "rb", buffering=0)
    except BaseException:
        os.close(descriptor)
        raise


def open_append(path: Path, mode: int = 0o600) -> BinaryIO:
    """Open a file of fastzero's own to append to, and create it if needed. A link is not followed. Raises OSError."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    with folders.parent_of(path, own=True) as (folder, name):
        descriptor = os.open(name, flags, mode, dir_fd=folder)
    return os.fdopen(descriptor, "ab")


def status(path: Path) -> os.stat_result | None:
    """Return what the system knows of a file, links followed; None if there is none. Raises InvalidInputError."""
    _refuse_nul(path)
    with reading(path):
        try:
            return path.stat()
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            raise


def path_as_text(path: str) -> str:
    """Return a path as a UTF-8 file has it, whichever encoding file names have in this process's locale."""
    return os.fsencode(path).decode("utf-8", "surrogateescape")


def path_from_text(text: str) -> str:
    """Return the path that `path_as_text` wrote, as this process's locale has it."""
    return os.fsdecode(text.encode("utf-8", "surrogateescape"))


# -- writing ---------------------------------------------------------------------------------------------------


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Write a 0600 file that is at `path` once the block ends well, and else nowhere.

    From the beginning of the block the name is claimed: of two writers one gets ConflictError, as anybody does for a
    name that exists. Raises NotAllowedError, UnavailableError.
    """
    with writing(path), _claimed(path) as (folder, partial, file):
        yield file
        _bring_to_disk(file)
        _give_name(folder, partial, path)
        os.fsync(folder)


@contextmanager
def claim(path: Path) -> Iterator[None]:
    """Keep others from making a file of this name for one block.

    Raises ConflictError if the name exists, or if another command has claimed it.
    """
    with writing(path), _claimed(path):
        yield


def write_atomically(path: Path, text: str) -> None:
    """Write a 0600 file of fastzero's own that has either its old content or the new, also after a crash."""
    make_folder(path.parent, 0o711)
    with writing(path, HOME), folders.opened(path.parent, own=True) as folder:
        _remove_abandoned(folder)
        with _partial_file(folder, path, secrets.token_hex(4)) as (partial, file):
            file.write(text.encode("utf-8"))
            _bring_to_disk(file)
            os.replace(partial, path.name, src_dir_fd=folder, dst_dir_fd=folder)


def remove_file(path: Path) -> None:
    """Delete a file if it is there; of a link the link itself. Raises NotAllowedError, UnavailableError."""
    with writing(path), suppress(FileNotFoundError), folders.parent_of(path) as (folder, name):
        os.unlink(name, dir_fd=folder)


def make_folder(path: Path, mode: int, hints: Hints = HOME) -> None:
    """Create a folder and its parents. Anybody may enter the parents, since PostgreSQL may run as another user.

    One of fastzero's own is refused to root where another user can change it. Raises NotAllowedError.
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
    """Claim a name. Yields the folder's descriptor, and the file in it that is the claim with its name."""
    _refuse_nul(path)
    make_folder(path.parent, 0o700, CHOSEN)
    with folders.opened(path.parent) as folder:
        _remove_abandoned(folder)
        # The same for every claim of a name, so that there can be one alone.
        mark = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:8]
        with _partial_file(folder, path, mark) as (partial, file):
            if _status(path.name, folder):
                raise ConflictError(f"{path} is there already", hint="Choose another name, or remove that one first")
            yield folder, partial, file


@contextmanager
def _partial_file(folder: int, path: Path, mark: str) -> Iterator[tuple[str, BinaryIO]]:
    """A locked new file beside `path`, which the block may rename; else it is removed. Raises ConflictError."""
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
        file.close()  # another command took it for abandoned, since it was not locked yet


def _remove_abandoned(folder: int) -> None:
    """Remove what killed commands were writing."""
    for name in filter(_PARTIAL.fullmatch, os.listdir(folder)):
        with suppress(FileNotFoundError, BlockingIOError):
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
            with os.fdopen(descriptor, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_at(file, name, folder):
                    os.unlink(name, dir_fd=folder)


def _is_at(file: BinaryIO, name: str, folder: int) -> bool:
    """Whether this open file has that name."""
    there = _status(name, folder)
    return there is not None and os.path.samestat(os.fstat(file.fileno()), there)


def _status(name: str, folder: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _give_name(folder: int, partial: str, path: Path) -> None:
    """Name a whole file, never in place of another."""
    try:
        os.link(partial, path.name, src_dir_fd=folder, dst_dir_fd=folder)
    except FileExistsError:
        raise ConflictError(f"{path} is there already", hint="Choose another name, or remove that one first") from None
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        # Some file systems know no links; among our own commands the claim is enough.
        os.rename(partial, path.name, src_dir_fd=folder, dst_dir_fd=folder)


def _bring_to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


# -- errors ----------------------------------------------------------------------------------------------------


@contextmanager
def writing(path: Path, hints: Hints = CHOSEN) -> Iterator[None]:
    """Raise UnavailableError, NotAllowedError or InvalidInputError where the block meets an OSError."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _file_error("write", path, error, hints) from error


@contextmanager
def reading(path: Path, hints: Hints = CHOSEN, *, absent: bool = False) -> Iterator[None]:
    """Raise the same for a block that reads; with `absent`, FileNotFoundError as it is."""
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
