"""The backups of a folder: listed, found by name, pruned."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..errors import BackupNotFoundError, DamagedBackupError, InvalidInputError
from .manifest import SUFFIX, manifest_path, read_manifest

ENDING = ".dump"
_NAME = re.compile(r"[A-Za-z0-9][\w.+-]{0,99}", re.ASCII)


@dataclass(frozen=True)
class Backup:
    """One backup of a folder, by what its manifest says; `problem` tells of one that says nothing."""

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
    """Where the next backup goes, under its name or under the database's and the time. Raises InvalidInputError."""
    if name is not None:
        if not _NAME.fullmatch(name):
            raise InvalidInputError(
                f"{name!r} is no name for a backup: 1 to 100 of a-z, 0-9 and . _ + -, a letter or digit first",
                field="name",
            )
        return folder / f"{name.removesuffix(ENDING)}{ENDING}"
    stem = f"{re.sub(r'[^A-Za-z0-9_-]', '_', database)}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    paths = (folder / f"{stem}{more}{ENDING}" for more in ("", *(f"-{number}" for number in range(2, 1000))))
    return next(path for path in paths if not path.exists())


def find(folder: Path, wanted: str) -> Path:
    """A backup by its path or by its name in the folder. Raises BackupNotFoundError."""
    for path in (Path(wanted), folder / wanted, folder / f"{wanted}{ENDING}"):
        if path.is_file():
            return path.absolute()
    raise BackupNotFoundError(f"there is no backup {wanted}")


def backups(folder: Path) -> list[Backup]:
    """The folder's backups, oldest first."""
    paths = [path for path in folder.glob(f"*{ENDING}") if not path.name.startswith(".")] if folder.is_dir() else []
    return sorted(map(described, paths), key=lambda each: (each.taken_at, each.name))


def surplus(folder: Path, keep: int) -> list[Backup]:
    """All but the newest `keep` backups; one that says nothing of itself is none of them."""
    found = [each for each in backups(folder) if not each.problem]
    return found[: max(0, len(found) - keep)]


def prune(folder: Path, keep: int) -> list[Backup]:
    """Delete all but the newest `keep` backups, and manifests without one. Returns those deleted."""
    gone = surplus(folder, keep)
    for each in gone:
        path = Path(each.file)
        path.unlink(missing_ok=True)  # first: a manifest alone is no backup
        manifest_path(path).unlink(missing_ok=True)
    for orphan in folder.glob(f"*{SUFFIX}") if folder.is_dir() else ():
        if not orphan.with_name(orphan.name.removesuffix(SUFFIX)).exists():
            orphan.unlink(missing_ok=True)
    return gone


def described(path: Path) -> Backup:
    """One backup, by what its manifest says."""
    size = path.stat().st_size
    try:
        manifest = read_manifest(path)
    except DamagedBackupError as error:
        return Backup(path.name.removesuffix(ENDING), "", "", None, "", 0, size, str(path), error.message)
    return Backup(
        name=path.name.removesuffix(ENDING),
        taken_at=manifest.taken_at,
        database=manifest.database,
        revision=manifest.revision,
        server_version=manifest.server_version,
        rows=manifest.rows,
        size=size,
        file=str(path),
    )
