"""List, find and prune the backups in a folder."""

import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..errors import BackupNotFoundError, ConflictError, DamagedBackupError, FastZeroError, InvalidInputError
from ..files import claim, reading, remove_file, status
from .manifest import SUFFIX, read_manifest

ENDING = ".dump"
STEM_MAX = 63  # the maximum length of a database's name in PostgreSQL
_NAME = re.compile(r"[A-Za-z0-9][\w.+-]{0,99}", re.ASCII)


@dataclass(frozen=True)
class Backup:
    """A backup in a folder, described by its manifest. `size` is in bytes; `problem` is why it cannot be read."""

    name: str
    taken_at: str
    database: str
    revision: str | None
    server_version: str
    rows: int
    size: int
    file: str
    problem: str = ""


def new_path(folder: Path, database: str, name: str | None = None) -> Path:
    """Return the first free path for a backup. Raises InvalidInputError.

    The path is not reserved. `dump.take` reserves it, so that two backups in the same second get different names.
    """
    paths = new_paths(folder, database, name)
    return next((path for path in paths if not os.path.lexists(path)), paths[-1])


def new_paths(folder: Path, database: str, name: str | None = None) -> list[Path]:
    """Return paths to try for a backup: one for a given name, else several with the database and the time, in order.

    Raises InvalidInputError.
    """
    if name is None:
        stem = f"{re.sub(r'[^A-Za-z0-9_-]', '_', database)[:STEM_MAX]}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        return [folder / f"{stem}{more}{ENDING}" for more in ("", *(f"-{number}" for number in range(2, 1000)))]
    if not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"invalid backup name {name!r}",
            field="name",
            hint="Use 1 to 100 letters, digits and . _ + -, starting with a letter or a digit",
        )
    return [folder / f"{name.removesuffix(ENDING)}{ENDING}"]


def find(folder: Path, wanted: str | Path) -> Path:
    """Return the path of a backup. `wanted` is a path if it is a Path or contains a slash, else a name in the folder.

    Raises BackupNotFoundError, DamagedBackupError if it is not a regular file.
    """
    is_path = isinstance(wanted, Path) or os.sep in wanted
    candidates = [Path(wanted)] if is_path else [folder / wanted, folder / f"{wanted}{ENDING}"]
    existing = {path: found for path in candidates if (found := status(path)) is not None}
    for path, each in existing.items():
        if stat.S_ISREG(each.st_mode):
            return path.absolute()
    if existing:
        raise DamagedBackupError(f"{next(iter(existing))} is not a regular file")
    in_current_folder = not is_path and is_in_current_folder(wanted)
    hint = f"To use the file in the current folder: {os.curdir}/{wanted}" if in_current_folder else None
    raise BackupNotFoundError(f"backup {str(wanted)!r} does not exist", hint=hint)


def is_in_current_folder(wanted: str | Path) -> bool:
    """Return whether a file in the current folder has the same name as a backup."""
    return isinstance(wanted, str) and os.sep not in wanted and status(Path(wanted)) is not None


def backups(folder: Path) -> list[Backup]:
    """Return the folder's backups, oldest first."""
    found = []
    for path in _entries(folder, ENDING):
        with suppress(BackupNotFoundError):  # just removed by another command, or a broken link
            found.append(read_backup(path))
    return sorted(found, key=lambda each: (each.taken_at, len(each.name), each.name))


def surplus(folder: Path, keep: int, database: str | None = None) -> list[Backup]:
    """Return all but the newest `keep` backups, of one database or of all. Ignores backups with a problem."""
    found = [each for each in backups(folder) if not each.problem and database in (None, each.database)]
    return found[: max(0, len(found) - keep)]


def prune(folder: Path, keep: int, database: str | None = None) -> list[Backup]:
    """Delete all but the newest `keep` backups, of one database or of all. Returns the deleted ones.

    Also deletes manifests without a backup, but not that of a backup that is being written.
    """
    deleted = surplus(folder, keep, database)
    for each in deleted:
        remove_file(Path(each.file))
    for orphan in filter(_is_file, _entries(folder, SUFFIX)):
        with suppress(ConflictError, InvalidInputError), claim(orphan.with_name(orphan.name.removesuffix(SUFFIX))):
            remove_file(orphan)
    return deleted


def read_backup(path: Path) -> Backup:
    """Return a backup as its manifest describes it. Raises BackupNotFoundError."""
    name, size = path.name.removesuffix(ENDING), 0
    try:
        size = _size(path)
        manifest = read_manifest(path)
    except BackupNotFoundError:
        raise
    except FastZeroError as error:
        return Backup(name, "", "", None, "", 0, size, str(path), error.message)
    return Backup(
        name=name,
        taken_at=manifest.taken_at,
        database=manifest.database,
        revision=manifest.revision,
        server_version=manifest.server_version,
        rows=manifest.rows,
        size=size,
        file=str(path),
    )


def _size(path: Path) -> int:
    found = status(path)
    return found.st_size if found else 0


def _entries(folder: Path, ending: str) -> list[Path]:
    with reading(folder):
        names = folder.glob(f"*{ending}") if folder.is_dir() else ()
        return [path for path in names if not path.name.startswith(".")]


def _is_file(path: Path) -> bool:
    return path.is_symlink() or path.is_file()
