"""Archive the database of a stack, and recover it to a point in time.

The project's record says where the archive is, and the stack that it describes then has an archiver. So enabling an
archive is one write of the record, and `up` carries it out. A recovery is a move to a new place: the record names the
place as one that is being filled, the data is recovered there, and one write of the record puts it into service.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ..archive.description import ARCHIVER, CREDENTIALS, MAX_KEPT, PAUSED, Archive, state_folder
from ..errors import ConflictError, FastZeroError, InvalidInputError, NotFoundError, UnavailableError
from ..events import Notice
from ..files import write_atomically
from ..postgres.account import service_user
from ..project import Place
from . import plan
from .actions import Action, Kind, Verb
from .places import MovableStack
from .recovering import Recovering, programs_for
from .sealing import connected, finish, seal
from .session import Session

if TYPE_CHECKING:
    from ..archive.recovery import Recovery
    from ..archive.segments import BaseBackup
    from ..archive.status import ArchiveStatus
    from ..archive.store import Store

_SYSTEM_AT = 24  # bytes before the system identifier in a segment
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
        by default 10 GiB, and at most half of the free space. Raises InvalidInputError in containers, NotFoundError,
        NotAllowedError, ConflictError for an archive of another system, UnavailableError.
        """
        with self.session(timeout) as session:
            limit = max_kept or min(MAX_KEPT, _free_at(Path(session.known.data or "/")) // 2)
            archive = Archive(url, self.project.name, endpoint_url=endpoint_url, keep=keep, max_kept=limit)
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
        return status.status(archive, Path(session.known.data), _store(session, archive), counted)

    def archive_backups(self, archive: Archive | None = None, credentials: Path | None = None) -> "list[BaseBackup]":
        """Return the base backups in an archive, by default the project's, oldest first."""
        session = self.look()
        return _store(session, archive or archive_of(session), credentials).backups()

    def back_up_to_archive(self, *, timeout: float | None = None) -> "BaseBackup":
        """Take a base backup now, and delete what is no longer kept. Resumes archiving if it was paused."""
        with self.session(timeout) as session, session.database_running("a base backup is taken"):
            return _take(session, archive_of(session))

    def verify_archive(self, *, timeout: float | None = None) -> Verified:
        """Recover everything in the archive beside the database, check every page, and delete it again.

        Raises ArchiveIncompleteError, BackupMismatchError, BackupNotFoundError.
        """
        from ..archive.recover import recovered

        with self.session(timeout) as session:
            archive = archive_of(session)
            found = self._prepared(session, archive, None, None)
            data, binaries = Path(session.known.data), programs_for(found.backup.major)
            with recovered(found, data, binaries, service_user(), name=str(archive), on_event=self._on_event):
                return Verified(str(archive), found.backup.id, len(found.chain.names), found.reachable)

    def plan_recovery(
        self, time: datetime | None, archive: Archive | None = None, credentials: Path | None = None
    ) -> "Recovery":
        """Return what a recovery to a time needs, None for all that is archived. Changes nothing.

        `archive` is by default the project's. Raises BackupNotFoundError, ArchiveIncompleteError.
        """
        with self.session() as session:
            return self._prepared(session, archive or archive_of(session), time, credentials)

    def recover(
        self, recovery: "Recovery", archive: Archive | None = None, *, timeout: float | None = None
    ) -> Place | None:
        """Recover the database to a new place, and put it into service. Returns the place before, which is kept.

        Without a stack, creates one, and returns None. Raises ArchiveIncompleteError, BackupMismatchError.
        """
        with self.session(timeout) as session:
            name = str(archive or archive_of(session))
            return Recovering(session, recovery, name).run()

    def _prepared(
        self, session: Session, archive: Archive, time: datetime | None, credentials: Path | None
    ) -> "Recovery":
        from ..archive.recovery import prepare

        if session.record and session.record.archive == archive:
            _seal_if_possible(session, archive)
        return prepare(_store(session, archive, credentials), time, name=str(archive))


def archive_of(session: Session) -> Archive:
    """Return the project's archive. Raises NotFoundError if none is enabled."""
    archive = session.known.archive
    if archive is None:
        raise NotFoundError(
            f"the database of project {session.project.name} is not archived",
            hint="Archive it: fastzero db archive enable --to URL. To restore from an archive: --from URL",
        )
    return archive


def _store(session: Session, archive: Archive, credentials: Path | None = None) -> "Store":
    from ..archive.store import store_of

    return store_of(archive, credentials or session.project.secret_file(CREDENTIALS))


def _enable(session: Session, archive: Archive, credentials: str | None) -> Archive:
    before = session.known
    if before.runtime != "embedded":
        raise InvalidInputError(
            "a database in containers cannot be archived yet",
            field="runtime",
            hint="Move it first: fastzero db move --to embedded. Or take backups: fastzero db backup",
        )
    with _as_file(session, credentials) as file:
        store = _store(session, archive, file)
        store.check()
        session.ensure_up()
        archive = replace(archive, system=_system(session))
        _refuse_another_system(store, archive)
    (state_folder(Path(before.data)) / PAUSED).unlink(missing_ok=True)
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
    project, before = session.project, session.known
    actions = []
    if credentials is not None:
        old = project.secret(CREDENTIALS) if project.has_secret(CREDENTIALS) else ""
        actions.append(Action(Verb.SET, Kind.SECRET, CREDENTIALS, "the archive needs them", subject=(old, credentials)))
    after = replace(before, archive=archive)
    cause = f"it is archived to {archive}" if archive else "it is not archived any more"
    actions.append(Action(Verb.WRITE, Kind.RECORD, "project.json", cause, subject=(before, after)))
    if archive is None and before.archive:
        spec = session.spec()
        actions += plan.plan_stop(spec, session.observe_quickly(spec, before), [ARCHIVER], cause)
    session.run(actions)
    session.ensure_up()


def _take(session: Session, archive: Archive) -> "BaseBackup":
    from ..archive.store import Server

    store, data = _store(session, archive), Path(session.known.data)
    (state_folder(data) / PAUSED).unlink(missing_ok=True)
    with connected(session) as connection:
        if row := connection.execute(_TABLESPACES).fetchone():
            raise ConflictError(f"tablespace {row[0]} lies outside of the data directory and cannot be archived")
    seal(session)
    url = session.project.superuser_url()
    store.take(Server(url, programs_for(_major(session)), archive.system))
    store.prune(archive.keep)
    return store.backups()[-1]


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


def _refuse_another_system(store: "Store", archive: Archive) -> None:
    """Raise ConflictError if an archive has the write-ahead log of another server."""
    from tempfile import TemporaryDirectory

    from ..archive.segments import SEGMENT

    names = sorted(filter(SEGMENT.fullmatch, store.names()))
    if not names:
        return
    with TemporaryDirectory(prefix="fastzero-wal-") as folder:
        store.pull(names[-1:], Path(folder))
        header = (Path(folder) / names[-1]).read_bytes()[: _SYSTEM_AT + 8]
    found = str(struct.unpack_from("=Q", header, _SYSTEM_AT)[0])
    if found != archive.system:
        raise ConflictError(
            f"{archive} is the archive of another server: its system is {found}, and this one's {archive.system}",
            hint="Nothing was changed. Archive to another prefix: --to",
        )


def _free_at(folder: Path) -> int:
    from shutil import disk_usage

    return disk_usage(folder).free


def _major(session: Session) -> int:
    from ..backup.server import server_major

    return server_major(session.project.database_url())
