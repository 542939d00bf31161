"""Open, mark and delete folders safely, and find out who can change one. Standard library only.

In a folder that another user can change, a name can be replaced by a link at any moment. As root, a path is therefore
opened one name at a time, each relative to the folder before it and never again by its full path; a link is followed
only if no other user can have created it. For an ordinary user, the system resolves paths.

Another user can change a folder if the owner is neither root nor this process's user; or if it has no sticky bit and
every user, or a group with another member, can write to it.
"""

import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from errno import EISDIR, ELOOP, ENXIO, EPERM
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from .errors import NotAllowedError

if TYPE_CHECKING:
    import grp

MARK = ".fastzero"
MARK_MAX = 1000  # characters
LINKS_MAX = 40  # the limit of Linux
# Without `O_PATH`, as on macOS, a folder can be opened only if it is readable.
_THROUGH = os.O_DIRECTORY | getattr(os, "O_PATH", os.O_RDONLY)
_NO_FILE = (ELOOP, EISDIR, ENXIO)  # the errors for opening a link, a folder or a socket
_ACL = "system.posix_acl_access"


@dataclass(frozen=True)
class Weakness:
    """A folder that another user can change; `who` is, for example, "user ana", "group staff" or "every user"."""

    folder: Path
    who: str


def weakness(path: Path) -> Weakness | None:
    """Return the first folder in `path`, itself included, that another user can change; None if there is none.

    Folders that do not exist yet are skipped.
    """
    named, real = path.absolute(), path.resolve()
    for folder in (*reversed((named, *named.parents)), *reversed((real, *real.parents))):
        if folder.is_dir() and (found := _weakness_of(folder, folder)):
            return found
    return None


def others_can_add(folder: int) -> bool:
    """Return whether another user can create files in an open folder; true also for one with the sticky bit."""
    return bool(_weakness_of(folder, Path()) or os.fstat(folder).st_mode & stat.S_IWOTH)


def refuse_weak(path: Path) -> None:
    """Raise NotAllowedError if this is root and another user can change a folder or one of its parents.

    If the folder does not exist yet, its nearest existing parent is checked.
    """
    for folder in (path, *path.parents) if os.geteuid() == 0 else ():
        with suppress(FileNotFoundError, NotADirectoryError), opened(folder, own=True):
            return


def refusal(weak: Weakness) -> NotAllowedError:
    """Return the error that root gets for a folder that another user can change."""
    return NotAllowedError(
        f"{weak.folder} can be changed by {weak.who}: as root, fastzero does not work below it",
        hint="Set FASTZERO_HOME to a folder that only root can change, or run fastzero as an ordinary user",
    )


@contextmanager
def parent_of(path: Path, *, own: bool = False, follow: bool = False) -> Iterator[tuple[int, str]]:
    """Open the parent folder of a path. Yields its descriptor, for `dir_fd`, and the last name of the path.

    With `own`, root is refused if another user can change the parent or a folder above it. With `follow`, if the last
    name is a link, its target is opened instead, where root may follow it. Raises NotAllowedError, OSError.
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
    """Open a folder. Yields its descriptor. `own` is as for `parent_of`, and covers the folder itself too."""
    root = os.geteuid() == 0
    with parent_of(path, own=own, follow=True) as (parent, name):
        no_follow = os.O_NOFOLLOW if root else 0
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | no_follow, dir_fd=parent)
    try:
        if root and own and (weak := _weakness_of(descriptor, path)):
            raise refusal(weak)
        yield descriptor
    finally:
        os.close(descriptor)


def make(path: Path, mode: int, *, own: bool = False) -> None:
    """Create a folder in an existing one, unless it exists. Raises the errors of `opened`."""
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
def file_of_owner(
    folder: Path, name: str, flags: int = os.O_RDONLY, *, below: tuple[str, ...] = ()
) -> Iterator[BinaryIO]:
    """Open a file in a folder that may belong to another account, as a data directory may; or `below` it.

    Raises PermissionError unless it is a regular file of the folder's owner, and so for a link; NotAllowedError if
    another user can change a parent of the folder; OSError.
    """
    with _foreign_folder(folder, below) as opened_folder:
        try:
            descriptor = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=opened_folder)
        except OSError as error:
            raise _not_of_owner(folder / name) if error.errno in _NO_FILE else error from None
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.fstat(opened_folder).st_uid:
            os.close(descriptor)
            raise _not_of_owner(folder / name)
    with os.fdopen(descriptor, "rb" if flags == os.O_RDONLY else "r+b", buffering=0) as file:
        yield file


def names_in(folder: Path, *below: str) -> list[str]:
    """Return the names in a folder that may belong to another account, or `below` it; none if it does not exist."""
    try:
        with _foreign_folder(folder, below) as descriptor:
            return sorted(os.listdir(descriptor))  # noqa: PTH208 - by its descriptor
    except (FileNotFoundError, NotADirectoryError):
        return []


def write_mark(folder: Path, text: str) -> None:
    """Mark a folder as created by fastzero: atomically write a file that belongs to the folder's owner."""
    with _foreign_folder(folder) as opened_folder:
        owner, partial = os.fstat(opened_folder), f"{MARK}-{secrets.token_hex(4)}"
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=opened_folder)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            if owner.st_uid != os.geteuid():
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
            file.write(text)
        os.replace(partial, MARK, src_dir_fd=opened_folder, dst_dir_fd=opened_folder)


def mark_of(folder: Path) -> str | None:
    """Return the text of a folder's mark; None if it has none, or one that cannot be read."""
    try:
        with file_of_owner(folder, MARK) as file:
            return file.read(MARK_MAX).decode("utf-8", "replace")
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None


def remove(path: Path) -> None:
    """Delete a folder with its contents, without following links. Raises NotAllowedError, OSError."""
    with parent_of(path, own=True) as (parent, name):
        shutil.rmtree(name, dir_fd=parent)


@contextmanager
def _foreign_folder(folder: Path, below: tuple[str, ...] = ()) -> Iterator[int]:
    """Open a folder that may belong to another account, or one `below` it without following links.

    As root, its parents must be safe from other users.
    """
    with ExitStack() as opened_folders:
        with parent_of(folder, own=True, follow=True) as (parent, name):
            descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=parent)
        opened_folders.callback(os.close, descriptor)
        for each in below:
            descriptor = os.open(each, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
            opened_folders.callback(os.close, descriptor)
        yield descriptor


def _walked(path: Path, *, own: bool, follow: bool) -> tuple[int, str]:
    """Open the parent folder of a path, one name at a time. Return its descriptor and the last name."""
    rest = list(reversed((path if path.is_absolute() else Path.cwd() / path).parts))
    descriptor, here, weak, links = os.open("/", _THROUGH), "/", None, 0
    try:
        while True:
            weak = weak or _weakness_of(descriptor, here)
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
                descriptor, here = deeper, f"{here.rstrip('/')}/{name}"
            else:
                return descriptor, name
    except BaseException:
        os.close(descriptor)
        raise


def _link(folder: int, name: str, here: str, weak: Weakness | None) -> str | None:
    """Return the target of a link; None if it is not a link. Raises NotAllowedError if another user may own it."""
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISLNK(found.st_mode):
        return None
    if weak or found.st_uid not in _trusted():
        who = weak.who if weak else f"user {_user_name(found.st_uid)}"
        raise NotAllowedError(
            f"{Path(here, name)} is a link that {who} can change: as root, fastzero does not follow it",
            hint="Use the path that it leads to",
        )
    return os.readlink(name, dir_fd=folder)


def _weakness_of(folder: int | Path, path: Path | str) -> Weakness | None:
    """Return which other user can change one folder. Its parents are not checked."""
    found = os.stat(folder)  # noqa: PTH116 - it may be a descriptor
    if found.st_uid not in _trusted():
        return Weakness(Path(path), f"user {_user_name(found.st_uid)}")
    if found.st_mode & stat.S_ISVTX:
        return None  # users can replace only their own files there
    if found.st_mode & stat.S_IWOTH:
        return Weakness(Path(path), "every user")
    if found.st_mode & stat.S_IWGRP:
        return _group_weakness(folder, Path(path), found)
    return None


def _group_weakness(folder: int | Path, path: Path, found: os.stat_result) -> Weakness | None:
    """Do the same for a folder that is writable for its group, or for the users of its access control list."""
    import grp

    if _has_acl(folder):
        return Weakness(path, "the users in its access control list")
    try:
        group = grp.getgrgid(found.st_gid)
    except KeyError:
        return Weakness(path, f"group {found.st_gid}")
    return Weakness(path, f"group {group.gr_name}") if _others_in(group, found.st_uid) else None


def _others_in(group: "grp.struct_group", owner: int) -> bool:
    """Return whether the group has a member other than root, this user and the owner, as a private group has not."""
    import pwd

    accounts = pwd.getpwall()
    uids = {each.pw_uid for each in accounts if each.pw_gid == group.gr_gid or each.pw_name in group.gr_mem}
    return bool(uids - {*_trusted(), owner})


def _has_acl(folder: int | Path) -> bool:
    path = folder if isinstance(folder, Path) else Path(f"/proc/self/fd/{folder}")
    try:
        return bool(os.getxattr(path, _ACL))
    except (AttributeError, OSError):  # not Linux, or without a list
        return False


def _trusted() -> tuple[int, int]:
    return (0, os.geteuid())


def _user_name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _not_of_owner(path: Path) -> PermissionError:
    return PermissionError(EPERM, "not a regular file of the folder's owner", str(path))
