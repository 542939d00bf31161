"""Archive the database of a stack, and recover it to a point in time.

The project's record says where the archive is, and the stack that it describes then has an archiver. So enabling an
archive is one write of the record, and `up` carries it out. A recovery is a move to a new place: the record names the
place as one that is being filled, the data is recovered there, and one write of the record puts it into service.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ..archive.description import CREDENTIALS, MAX_KEPT, Archive
from ..errors import FastZeroError
from ..files import write_atomically
from ..project import Place
from .archiving import archive_of, of_this_server, planned, refuse_folder, take, write_archive
from .archivist import archivist_of
from .places import MovableStack
from .recovering import Recovering
from .sealing import finish
from .session import Session

if TYPE_CHECKING:
    from ..archive.recovery import RecoveryPlan
    from ..archive.segments import BaseBackup
    from ..archive.status import ArchiveStatus


@dataclass(frozen=True)
class Verified:
    """A verified archive: the base backup that was recovered, and the last time that can be reached."""

    archive: str
    backup: str
    segments: int
    reachable: datetime | None


class ArchivedStack(MovableStack):
    """A stack whose database can be archived and recovered."""

    def enable_archive(
        self,
        url: str,
        *,
        endpoint_url: str = "",
        keep: str = "",
        max_kept: int | None = None,
        credentials: str | None = None,
        timeout: float | None = None,
    ) -> Archive:
        """Archive the database to `url` from now on, beginning with a base backup. Restarts the database.

        `credentials` is the text of a file in the form of AWS; None keeps those of the project. `max_kept` is in bytes,
        by default 10 GiB, and at most half of the free space. For a database in containers, a file:// URL is a folder
        of the engine's machine. Raises NotFoundError, NotAllowedError, ConflictError for an archive of another system,
        UnavailableError.
        """
        with self.session(timeout) as session:
            archive = Archive(url, self.project.name, endpoint_url=endpoint_url, keep=keep, max_kept=max_kept or 0)
            return _enable(session, archive, credentials)

    def disable_archive(self, *, timeout: float | None = None) -> Archive:
        """Stop archiving. What is archived stays. Restarts the database. Raises NotFoundError if none is enabled."""
        with self.session(timeout) as session:
            archive = archive_of(session)
            finish(session, is_last=False)
            write_archive(session, None)
            return archive

    def archive_status(self) -> "ArchiveStatus":
        """Return the state of the archive. Raises NotFoundError if none is enabled.

        A manager of a swarm that has no gateway to the server does not know what the server counts: the last archived
        segment, and the failures.
        """
        from ..archive import status

        session = self.look()
        archive = archive_of(session)
        archivist = archivist_of(session, archive)
        is_reached = session.runtime.is_alive(session.spec().database.name) and archivist.reaches_server()
        counted = status.statistics(self.superuser_url) if is_reached else status.ServerStatistics()
        return status.status(archive, archivist.condition(), counted, archivist.backups)

    def archive_backups(self, archive: Archive | None = None, credentials: Path | None = None) -> "list[BaseBackup]":
        """Return the base backups in an archive, by default the project's, oldest first."""
        session = self.look()
        return archivist_of(session, archive or archive_of(session), credentials).backups()

    def back_up_to_archive(self, *, timeout: float | None = None) -> "BaseBackup":
        """Take a base backup now, and delete what is no longer kept. Resumes archiving if it was paused."""
        with self.session(timeout) as session, session.database_running("a base backup is taken"):
            return take(session)

    def verify_archive(self, *, timeout: float | None = None) -> Verified:
        """Recover everything in the archive beside the database, check every page, and delete it again.

        Raises ArchiveIncompleteError, BackupMismatchError, BackupNotFoundError.
        """
        with self.session(timeout) as session:
            archive = archive_of(session)
            found = planned(session, archive, None, None)
            archivist_of(session, archive).verify()
            return Verified(str(archive), found.backup.id, found.segments, found.reachable)

    def plan_recovery(
        self, time: datetime | None, archive: Archive | None = None, credentials: Path | None = None
    ) -> "RecoveryPlan":
        """Return what a recovery to a time needs, None for all that is archived. Changes nothing.

        `archive` is by default the project's. Raises BackupNotFoundError, ArchiveIncompleteError.
        """
        with self.session() as session:
            archive = archive or archive_of(session)
            refuse_folder(session, archive)
            return planned(session, archive, time, credentials)

    def recover(self, found: "RecoveryPlan", *, timeout: float | None = None) -> Place | None:
        """Recover the database to a new place, and put it into service. Returns the place before, which is kept.

        A database with standbys is recovered to one server, and then moves to three. Without a stack, creates one, and
        returns None. Raises ArchiveIncompleteError, BackupMismatchError, VersionMismatchError for a base backup of
        another version than a new stack would have.
        """
        with self.session(timeout) as session:
            return Recovering(session, found).run()


def _enable(session: Session, archive: Archive, credentials: str | None) -> Archive:
    before = session.known
    refuse_folder(session, archive)
    with _as_file(session, credentials) as file:
        free = archivist_of(session, archive, file).check()
        session.ensure_up()
        limit = archive.max_kept or min(MAX_KEPT, free // 2)
        archive = of_this_server(session, replace(archive, max_kept=limit), file)
    if before.archive:
        archivist_of(session, before.archive).resume()
    try:
        write_archive(session, archive, credentials)
        take(session)
    except BaseException:
        with suppress(FastZeroError):  # the first error is the one to report
            write_archive(session, before.archive)
        raise
    return archive


@contextmanager
def _as_file(session: Session, credentials: str | None) -> Iterator[Path | None]:
    """Write credentials to a temporary file for one block."""
    if credentials is None:
        yield None
        return
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(dir=session.project.folder, prefix=".archive.partial-") as folder:
        file = Path(folder) / CREDENTIALS
        write_atomically(file, credentials)
        yield file
