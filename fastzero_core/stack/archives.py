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

from ..archive.description import ARCHIVER, CREDENTIALS, MAX_KEPT, Archive
from ..errors import ConflictError, FastZeroError, NotFoundError, UnavailableError
from ..events import Notice
from ..files import write_atomically
from ..project import Place
from . import plan, rotation, steps
from .actions import Action, Kind, Verb
from .archivist import archivist_of
from .places import MovableStack
from .recovering import Recovering
from .sealing import connected, finish, seal
from .session import Session

if TYPE_CHECKING:
    from ..archive.recovery import RecoveryPlan
    from ..archive.segments import BaseBackup
    from ..archive.status import ArchiveStatus

_TABLESPACES = "SELECT spcname FROM pg_catalog.pg_tablespace WHERE spcname !~ '^pg_' LIMIT 1"


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
            _write_archive(session, None)
            return archive

    def archive_status(self) -> "ArchiveStatus":
        """Return the state of the archive. Raises NotFoundError if none is enabled."""
        from ..archive import status

        session = self.look()
        archive = archive_of(session)
        is_running = session.runtime.is_alive(session.spec().database.name)
        counted = status.statistics(self.superuser_url) if is_running else status.ServerStatistics()
        archivist = archivist_of(session, archive)
        return status.status(archive, archivist.condition(), counted, archivist.backups)

    def archive_backups(self, archive: Archive | None = None, credentials: Path | None = None) -> "list[BaseBackup]":
        """Return the base backups in an archive, by default the project's, oldest first."""
        session = self.look()
        return archivist_of(session, archive or archive_of(session), credentials).backups()

    def back_up_to_archive(self, *, timeout: float | None = None) -> "BaseBackup":
        """Take a base backup now, and delete what is no longer kept. Resumes archiving if it was paused."""
        with self.session(timeout) as session, session.database_running("a base backup is taken"):
            return _take(session, archive_of(session))

    def verify_archive(self, *, timeout: float | None = None) -> Verified:
        """Recover everything in the archive beside the database, check every page, and delete it again.

        Raises ArchiveIncompleteError, BackupMismatchError, BackupNotFoundError.
        """
        with self.session(timeout) as session:
            archive = archive_of(session)
            found = _planned(session, archive, None, None)
            archivist_of(session, archive).verify()
            return Verified(str(archive), found.backup.id, found.segments, found.reachable)

    def plan_recovery(
        self, time: datetime | None, archive: Archive | None = None, credentials: Path | None = None
    ) -> "RecoveryPlan":
        """Return what a recovery to a time needs, None for all that is archived. Changes nothing.

        `archive` is by default the project's. Raises BackupNotFoundError, ArchiveIncompleteError.
        """
        with self.session() as session:
            return _planned(session, archive or archive_of(session), time, credentials)

    def recover(self, found: "RecoveryPlan", *, timeout: float | None = None) -> Place | None:
        """Recover the database to a new place, and put it into service. Returns the place before, which is kept.

        Without a stack, creates one, and returns None. Raises ArchiveIncompleteError, BackupMismatchError,
        VersionMismatchError for a base backup of another version than a new stack would have.
        """
        with self.session(timeout) as session:
            return Recovering(session, found).run()


def _planned(session: Session, archive: Archive, time: datetime | None, credentials: Path | None) -> "RecoveryPlan":
    if session.record and session.record.archive == archive:
        _seal_if_possible(session, archive)
    return replace(archivist_of(session, archive, credentials).plan(time), credentials=credentials)


def archive_of(session: Session) -> Archive:
    """Return the project's archive. Raises NotFoundError if none is enabled."""
    archive = session.known.archive
    if archive is None:
        raise NotFoundError(
            f"the database of project {session.project.name} is not archived",
            hint="Archive it: fastzero db archive enable --to URL. To restore from an archive: --from URL",
        )
    return archive


def _enable(session: Session, archive: Archive, credentials: str | None) -> Archive:
    before = session.known
    with _as_file(session, credentials) as file:
        archivist = archivist_of(session, archive, file)
        free = archivist.check()
        session.ensure_up()
        archive = replace(archive, max_kept=archive.max_kept or min(MAX_KEPT, free // 2), system=_system(session))
        if (found := archivist.system()) not in ("", archive.system):
            raise ConflictError(
                f"{archive} is the archive of another server: its system is {found}, and this one's {archive.system}",
                hint="Nothing was changed. Archive to another prefix: --to",
            )
    if before.archive:
        archivist_of(session, before.archive).resume()
    try:
        _write_archive(session, archive, credentials)
        _take(session, archive)
    except BaseException:
        with suppress(FastZeroError):  # the first error is the one to report
            _write_archive(session, before.archive)
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


def _write_archive(session: Session, archive: Archive | None, credentials: str | None = None) -> None:
    """Write the record with another archive, and carry it out."""
    before = session.known
    actions = _secret(session, archive, credentials)
    after = replace(before, archive=archive)
    cause = f"it is archived to {archive}" if archive else "it is not archived any more"
    actions.append(Action(Verb.WRITE, Kind.RECORD, "project.json", cause, subject=(before, after)))
    spec = session.spec()
    gone = [each for each in spec.services if each.name == ARCHIVER and archive is None]
    actions += plan.plan_down(spec, session.observe_quickly(spec, before), [each.name for each in gone]) if gone else []
    session.run(actions)
    session.ensure_up()
    session.run(steps.remove_data(each, cause) for each in gone if each.volume)


def _secret(session: Session, archive: Archive | None, credentials: str | None) -> list[Action]:
    """Return the actions that set the credentials of an archive, also in a running archiver."""
    project, spec = session.project, session.whole_spec()
    old = project.secret(CREDENTIALS) if project.has_secret(CREDENTIALS) else None
    if archive is None or archive.is_folder or credentials in (None, old):
        # A container reads a file even if the archive needs no credentials, as on a machine that has its own.
        credentials = "" if archive and not archive.is_folder and old is None else None
    if credentials is None:
        return []
    observed = session.observe_quickly(spec, session.known)
    return rotation.plan_secret(spec, observed, CREDENTIALS, old or "", credentials, "the archive needs them")


def _take(session: Session, archive: Archive) -> "BaseBackup":
    from ..backup.server import server_major

    archivist = archivist_of(session, archive)
    archivist.resume()
    with connected(session) as connection:
        if row := connection.execute(_TABLESPACES).fetchone():
            raise ConflictError(f"tablespace {row[0]} lies outside of the data directory and cannot be archived")
    seal(session)
    return archivist.take(server_major(session.project.database_url()))


def _seal_if_possible(session: Session, archive: Archive) -> None:
    """Archive what was written until now, if the database runs."""
    if not session.runtime.is_alive(session.spec().database.name):
        return
    try:
        seal(session)
    except UnavailableError as error:
        session.on_event(Notice(f"the latest changes are not in {archive}: {error.message}"))


def _system(session: Session) -> str:
    with connected(session) as connection:
        row = connection.execute("SELECT system_identifier FROM pg_catalog.pg_control_system()").fetchone()
        assert row is not None, "the function returns a row"
        return str(int(row[0]) % 2**64)
