"""The interface of an archive's storage, and how to open the storage of an archive."""

import os
import shutil
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..postgres.binaries import Binaries
from .description import Archive
from .segments import BaseBackup


@dataclass(frozen=True)
class Server:
    """A running server that is backed up: the URL of its superuser, its programs, and its identifier."""

    url: str
    binaries: Binaries
    system: str


class Store(Protocol):
    """The storage of one archive. Every method raises NotFoundError, NotAllowedError or UnavailableError."""

    def check(self) -> None:
        """Raise an error unless the archive can be reached."""

    def push(self, file: Path) -> None:
        """Archive a file of write-ahead log under its name, whole or not at all. Raises ConflictError."""

    def names(self) -> set[str]:
        """Return the names of the archived files of write-ahead log."""

    def having(self, names: Collection[str]) -> set[str]:
        """Return those of the named files of write-ahead log that are archived."""

    def pull(self, names: Sequence[str], folder: Path) -> None:
        """Fetch files of write-ahead log to a folder."""

    def backups(self) -> list[BaseBackup]:
        """Return the complete base backups, oldest first."""

    def take(self, server: Server) -> None:
        """Take a base backup of a running server."""

    def fetch(self, backup: BaseBackup, folder: Path) -> None:
        """Restore the files of a base backup to an empty folder, and check them as far as the archive allows."""

    def prune(self, keep: str) -> None:
        """Delete the base backups that `keep` does not keep, and the write-ahead log from before the oldest one."""


def store_of(archive: Archive, credentials: Path | None = None) -> Store:
    """Return the storage of an archive. `credentials` is a file in the form of AWS, by default those of boto3."""
    if archive.is_folder:
        from .folder import FolderStore

        return FolderStore(archive)
    from .cloud import CloudStore

    return CloudStore(archive, credentials)


def python(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module as a program."""
    return [sys.executable, "-P", "-m", module, *arguments]


def copied(source: Path, target: Path) -> None:
    """Copy a file and flush the copy to the disk."""
    with source.open("rb") as read, target.open("xb") as written:
        shutil.copyfileobj(read, written, 2**20)
        written.flush()
        os.fsync(written.fileno())
