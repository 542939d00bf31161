"""An archive in a folder: compressed segments in `wal`, base backups by pg_basebackup in `base`.

A file gets its name when it is complete and on the disk, so that a crash leaves no half of it. An existing file is
never replaced: archiving the same content again changes nothing, and different content is a conflict.
"""

import gzip
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ..errors import ConflictError, DamagedBackupError, NotFoundError, ProgramFailedError
from ..files import CHOSEN, make_folder, new_file, reading, writing
from ..postgres.url import url_of, variables
from .description import Archive, days_of
from .segments import SEGMENT, SIZE, BaseBackup, name_of, number_of
from .store import Server

PARTIAL = ".partial"
BACKUP, MANIFEST = "backup.json", "backup_manifest"
COMPRESSION = 1  # the fastest: a segment that is not full is mostly zeros


class FolderStore:
    """An archive in a folder of this machine, for example one that is mounted from another."""

    def __init__(self, archive: Archive) -> None:
        self._folder = archive.folder
        self._wal, self._base = self._folder / "wal", self._folder / "base"

    def check(self) -> None:
        parent = self._folder.parent
        if not parent.is_dir():
            raise NotFoundError(
                f"the folder {parent} does not exist", hint=f"Create it, or mount it: mkdir -p {parent}"
            )
        with reading(self._folder):
            next(parent.iterdir(), None)

    def push(self, file: Path) -> None:
        self.check()
        make_folder(self._wal, 0o700, CHOSEN)
        content, target = file.read_bytes(), self._wal / f"{file.name}.gz"
        with reading(target):
            if target.exists():
                if gzip.decompress(target.read_bytes()) != content:
                    raise ConflictError(f"{target} exists with other content", hint="Archive to another folder")
                return
        with new_file(target) as written:
            written.write(gzip.compress(content, COMPRESSION, mtime=0))

    def names(self) -> set[str]:
        self.check()
        with reading(self._wal):
            found = [path.name for path in self._wal.iterdir()] if self._wal.is_dir() else []
        return {name.removesuffix(".gz") for name in found if name.endswith(".gz") and not name.startswith(".")}

    def having(self, names: Collection[str]) -> set[str]:
        return self.names() & set(names)

    def pull(self, names: Sequence[str], folder: Path) -> None:
        for name in names:
            path = self._wal / f"{name}.gz"
            try:
                with reading(path), gzip.open(path, "rb") as read, (folder / name).open("wb") as written:
                    shutil.copyfileobj(read, written, 2**20)
            except (gzip.BadGzipFile, EOFError) as error:
                raise DamagedBackupError(f"{path} is damaged: {error}") from None

    def backups(self) -> list[BaseBackup]:
        self.check()
        with reading(self._base):
            found = sorted(self._base.iterdir()) if self._base.is_dir() else []
        return [_described(each / BACKUP) for each in found if not each.name.endswith(PARTIAL)]

    def take(self, server: Server) -> None:
        self.check()
        begun = datetime.now(UTC)  # the server is on this machine
        name = begun.strftime("%Y%m%dT%H%M%S%f")
        partial = self._base / f"{name}{PARTIAL}"
        make_folder(partial, 0o700, CHOSEN)
        try:
            _run(_pg_basebackup(server, partial), server.url)
            backup = _backup_of(name, begun, datetime.now(UTC), server, partial)
            with writing(partial), new_file(partial / BACKUP) as file:
                file.write(json.dumps(backup.as_dict(), indent=2).encode())
            _flush(partial)
            with writing(self._base):
                partial.rename(self._base / name)
                _flush_folder(self._base)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def fetch(self, backup: BaseBackup, folder: Path) -> None:
        source = self._base / backup.id
        options: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        try:
            with reading(source), tarfile.open(source / "base.tar.gz", "r|gz") as files:
                files.extractall(folder, **options)  # noqa: S202 - fastzero wrote it, and the manifest is checked
        except (tarfile.TarError, EOFError, gzip.BadGzipFile) as error:
            raise DamagedBackupError(f"base backup {backup.id} is damaged: {error}") from None
        shutil.copyfile(source / MANIFEST, folder / MANIFEST)

    def prune(self, keep: str) -> None:
        backups = self.backups()
        kept = _kept(backups, keep, datetime.now(UTC))
        for backup in backups:
            if backup not in kept:
                with writing(self._base):
                    shutil.rmtree(self._base / backup.id)
        for abandoned in self._base.glob(f"*{PARTIAL}"):
            if not any(abandoned.name.startswith(each.id) for each in kept):
                shutil.rmtree(abandoned)
        if kept:
            oldest = min(number_of(backup.begin_wal) for backup in kept)
            for name in self.names():
                if SEGMENT.match(name) and number_of(name) < oldest:
                    (self._wal / f"{name}.gz").unlink()


def _kept(backups: Sequence[BaseBackup], keep: str, now: datetime) -> list[BaseBackup]:
    """Return the backups to keep: the newest ones, or all that are needed to recover to any time in those days."""
    if not keep:
        return list(backups)
    days = days_of(keep)
    if days is None:
        return list(backups[-int(keep) :])
    older = [backup for backup in backups if backup.ended <= now - timedelta(days=days)]
    return [backup for backup in backups if backup not in older[:-1]]


def _pg_basebackup(server: Server, folder: Path) -> list[str]:
    return [
        server.binaries.program("pg_basebackup"),
        f"--pgdata={folder}",
        f"--dbname={url_of(server.url, password=False, require_auth=False)}",
        "--format=tar",
        "--compress=client-gzip:1",
        "--wal-method=none",
        "--checkpoint=fast",
        "--label=fastzero",
        "--no-password",
    ]


def _run(command: Sequence[str], url: str) -> None:
    environment = {**os.environ, **variables(url), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise ProgramFailedError(f"{Path(command[0]).name} failed", evidence=done.stderr.strip())


def _backup_of(name: str, begun: datetime, ended: datetime, server: Server, folder: Path) -> BaseBackup:
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    first = manifest["WAL-Ranges"][0]
    high, _, low = first["Start-LSN"].partition("/")
    location = int(high, 16) * 2**32 + int(low, 16)
    size = sum(path.stat().st_size for path in folder.iterdir())
    begin = name_of(first["Timeline"], location // SIZE)
    return BaseBackup(name, begun, ended, begin, server.system, server.binaries.major, size)


def _described(path: Path) -> BaseBackup:
    try:
        with reading(path):
            return BaseBackup.of_dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError) as error:
        raise DamagedBackupError(f"{path} is damaged: {error}") from None


def _flush(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    _flush_folder(folder)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
