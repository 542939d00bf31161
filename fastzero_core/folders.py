"""Folders: who can change one, how one is opened, marked as made by fastzero, and deleted. Standard library only.

In a folder that another user can change, any name can become a link to anywhere at any moment. As root, a path is
therefore walked one name at a time, each opened below the one before and never by its path again; links are followed
only where nobody but root can have made them. An ordinary user's paths are opened as the system opens them.

Who can change a folder: its owner, if that is neither root nor this process's user; and without the sticky bit every
user or the members of its group, where the mode lets them write. A group that has no other member is no one else.
"""

import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from errno import EISDIR, ELOOP, ENXIO, EPERM
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from .errors import NotAllowedError

if TYPE_CHECKING:
    import grp

MARK = ".fastzero"
MARK_MAX = 1000  # characters
LINKS_MAX = 40  # as many as Linux follows
# Without `O_PATH`, as on macOS, a folder must be readable to be walked through.
_THROUGH = os.O_DIRECTORY | getattr(os, "O_PATH", os.O_RDONLY)
_NO_FILE = (ELOOP, EISDIR, ENXIO)  # what opening a link, a folder or a socket gives
_ACL = "system.posix_acl_access"


@dataclass(frozen=True)
class Weakness:
    """A folder that another user can change; `who` as in "user ana", "group staff" or "every user"."""

    folder: Path
    who: str


def weakness(path: Path) -> Weakness | None:
    """Return the first folder on the way to `path`, itself included, that another user can change; None without one.

    What does not exist yet is left out.
    """
    named, real = path.absolute(), path.resolve()
    for folder in (*reversed((named, *named.parents)), *reversed((real, *real.parents))):
        if folder.is_dir() and (found := _judged(folder, folder)):
            return found
    return None


def others_can_add(folder: int) -> bool:
    """Return whether another user can make files in an open folder, also where those of others are safe from him."""
    return bool(_judged(folder, Path()) or os.fstat(folder).st_mode & stat.S_IWOTH)


def refuse_weak(path: Path) -> None:
    """Raises NotAllowedError for root, where another user can change a folder or one on the way to it.

    Of what does not exist yet, the part that does is looked at.
    """
    for folder in (path, *path.parents) if os.geteuid() == 0 else ():
        with suppress(FileNotFoundError, NotADirectoryError), opened(folder, own=True):
            return


def refusal(weak: Weakness) -> NotAllowedError:
    """Return what root is told of a folder that somebody else can change."""
    return NotAllowedError(
        f"{weak.folder} can be changed by {weak.who}: as root, fastzero does not work below it",
        hint="Set FASTZERO_HOME to a folder that only root can change, or run fastzero as an ordinary user",
    )


@contextmanager
def parent_of(path: Path, *, own: bool = False, follow: bool = False) -> Iterator[tuple[int, str]]:
    """Open the folder that a path lies in. Yields its descriptor, for `dir_fd`, and the name of the path in it.

    With `own`, root is refused where another user can change that folder or one on the way. With `follow` the name is
    what a link of that name leads to, where root may follow it. Raises NotAllowedError, OSError.
    """
    if os.geteuid() != 0:
        descriptor, name = os.open(path.parent, _THROUGH), path.name or "."
    else:
        descriptor, name = _walked(path, own=own, follow=follow)
    try:
        yield descriptor, name
    finally:
        os.close(descriptor)


@contextmanager
def opened(path: Path, *, own: bool = False) -> Iterator[int]:
    """Open a folder. Yields its descriptor. With `own`, root is refused as by `parent_of`, for the folder as well."""
    root = os.geteuid() == 0
    with parent_of(path, own=own, follow=True) as (parent, name):
        where = os.O_NOFOLLOW if root else 0
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | where, dir_fd=parent)
    try:
        if root and own and (weak := _judged(descriptor, path)):
            raise refusal(weak)
        yield descriptor
    finally:
        os.close(descriptor)


def make(path: Path, mode: int, *, own: bool = False) -> None:
    """Create a folder in one that exists, unless it is there. Raises as `opened` does."""
    with parent_of(path, own=own) as (parent, name):
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            return
        made = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        try:
            os.fchmod(made, mode)
        finally:
            os.close(made)


@contextmanager
def file_of_owner(folder: Path, name: str, flags: int = os.O_RDONLY) -> Iterator[BinaryIO]:
    """Open a file of a folder that may be another account's, as a data directory is.

    Raises PermissionError for all but a regular file of the folder's owner, a link for example; NotAllowedError where
    the way to the folder is another user's to change; OSError.
    """
    with _inside(folder) as inside:
        try:
            descriptor = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=inside)
        except OSError as error:
            raise _not_the_owners(folder / name) if error.errno in _NO_FILE else error from None
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.fstat(inside).st_uid:
            os.close(descriptor)
            raise _not_the_owners(folder / name)
    with os.fdopen(descriptor, "rb" if flags == os.O_RDONLY else "r+b", buffering=0) as file:
        yield file


def names_in(folder: Path) -> list[str]:
    """Return the names in a folder that may be another account's; none where there is no folder."""
    try:
        with _inside(folder) as inside:
            return sorted(os.listdir(inside))  # noqa: PTH208 - by its descriptor
    except (FileNotFoundError, NotADirectoryError):
        return []


def write_mark(folder: Path, text: str) -> None:
    """Mark a folder as made by fastzero, in a file of the folder's owner. It is whole, or not there."""
    with _inside(folder) as inside:
        owner, partial = os.fstat(inside), f"{MARK}-{secrets.token_hex(4)}"
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=inside)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            if owner.st_uid != os.geteuid():
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
            file.write(text)
        os.replace(partial, MARK, src_dir_fd=inside, dst_dir_fd=inside)


def mark_of(folder: Path) -> str | None:
    """Return what a folder's mark says, None for a folder without one, or with one that cannot be read."""
    try:
        with file_of_owner(folder, MARK) as file:
            return file.read(MARK_MAX).decode("utf-8", "replace")
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None


def remove(path: Path) -> None:
    """Delete a folder with all that is in it, following no link. Raises NotAllowedError, OSError."""
    with parent_of(path, own=True) as (parent, name):
        shutil.rmtree(name, dir_fd=parent)


@contextmanager
def _inside(folder: Path) -> Iterator[int]:
    """Open a folder that may be another account's, in one that only root can change."""
    with parent_of(folder, own=True, follow=True) as (parent, name):
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _walked(path: Path, *, own: bool, follow: bool) -> tuple[int, str]:
    """Open the folder that a path lies in, one name after another, and return the last name with it."""
    rest = list(reversed((path if path.is_absolute() else Path.cwd() / path).parts))
    descriptor, here, weak, links = os.open("/", _THROUGH), Path("/"), None, 0
    try:
        while True:
            weak = weak or _judged(descriptor, here)
            if weak and own:
                raise refusal(weak)
            name = rest.pop()
            if (rest or follow) and (target := _link(descriptor, name, here, weak)):
                rest += reversed(Path(target).parts)
                links += 1
                if links > LINKS_MAX:
                    raise OSError(ELOOP, os.strerror(ELOOP), str(path))
            elif rest:
                deeper = os.open(name, _THROUGH | os.O_NOFOLLOW, dir_fd=descriptor)
                os.close(descriptor)
                descriptor, here = deeper, here / name
            else:
                return descriptor, name
    except BaseException:
        os.close(descriptor)
        raise


def _link(folder: int, name: str, here: Path, weak: Weakness | None) -> str | None:
    """Return where a link leads to, None for what is none. Raises NotAllowedError if another user may have made it."""
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISLNK(found.st_mode):
        return None
    if weak or found.st_uid not in _trusted():
        who = weak.who if weak else f"user {_user_name(found.st_uid)}"
        raise NotAllowedError(
            f"{here / name} is a link that {who} can change: as root, fastzero does not follow it",
            hint="Name what it leads to",
        )
    return os.readlink(name, dir_fd=folder)


def _judged(folder: int | Path, path: Path) -> Weakness | None:
    """Return who else can change one folder, its parents aside."""
    found = os.stat(folder)  # noqa: PTH116 - it may be a descriptor
    if found.st_uid not in _trusted():
        return Weakness(path, f"user {_user_name(found.st_uid)}")
    if found.st_mode & stat.S_ISVTX:
        return None  # there, others cannot replace what is not theirs
    if found.st_mode & stat.S_IWOTH:
        return Weakness(path, "every user")
    if found.st_mode & stat.S_IWGRP:
        return _judged_group(folder, path, found)
    return None


def _judged_group(folder: int | Path, path: Path, found: os.stat_result) -> Weakness | None:
    """The same of a folder that a group may write, or those whom its access control list names."""
    import grp

    if _has_acl(folder):
        return Weakness(path, "those whom its access control list names")
    try:
        group = grp.getgrgid(found.st_gid)
    except KeyError:
        return Weakness(path, f"group {found.st_gid}")
    return Weakness(path, f"group {group.gr_name}") if _others_in(group, found.st_uid) else None


def _others_in(group: "grp.struct_group", owner: int) -> bool:
    """Whether anybody else is in the group of a folder: its owner may be alone, as in a group of the user's own."""
    import pwd

    accounts = pwd.getpwall()
    uids = {each.pw_uid for each in accounts if each.pw_gid == group.gr_gid or each.pw_name in group.gr_mem}
    return bool(uids - {*_trusted(), owner})


def _has_acl(folder: int | Path) -> bool:
    path = folder if isinstance(folder, Path) else Path(f"/proc/self/fd/{folder}")
    try:
        return bool(os.getxattr(path, _ACL))
    except (AttributeError, OSError):  # not Linux, or no list
        return False


def _trusted() -> tuple[int, int]:
    return (0, os.geteuid())


def _user_name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _not_the_owners(path: Path) -> PermissionError:
    return PermissionError(EPERM, "it is not a regular file of the folder's owner", str(path))
