"""Carry out what the record says about the archive: its archiver, and the base backup with which it begins.

An archive is that of one server. An upgrade, a move and the use of a kept place make another server, which is archived
to a folder of its own, `demo.2` after `demo`, beginning with a base backup. A recovery finds the folder with its time.
"""

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ..archive.description import BACKED_UP_AT, CREDENTIALS, Archive
from ..errors import (
    BackupNotFoundError,
    ConflictError,
    FastZeroError,
    InvalidInputError,
    NotAllowedError,
    NotFoundError,
    UnavailableError,
)
from ..events import Notice
from ..project import DATABASE
from . import plan, rotation, steps
from .actions import Action, Kind, Verb
from .archiver import archivers
from .archivist import archivist_of, runtime_for
from .runtime import there_stays
from .sealing import connected, seal
from .session import Session
from .spec import ServiceSpec, StackSpec

if TYPE_CHECKING:
    from ..archive.recovery import RecoveryPlan
    from ..archive.segments import BaseBackup

_TABLESPACES = "SELECT spcname FROM pg_catalog.pg_tablespace WHERE spcname !~ '^pg_' LIMIT 1"


def archive_of(session: Session) -> Archive:
    """Return the project's archive. Raises NotFoundError if none is enabled."""
    archive = session.known.archive
    if archive is None:
        raise NotFoundError(
            f"the database of project {session.project.name} is not archived",
            hint="Archive it: fastzero db archive enable --to URL. To restore from an archive: --from URL",
        )
    return archive


def refuse_folder(session: Session, archive: Archive) -> None:
    """Raise InvalidInputError for an archive in a folder if the project is in a swarm."""
    if archive.is_folder and runtime_for(session) == "swarm":
        raise InvalidInputError(
            "the nodes of a swarm have no folder in common, and one on the database's node would be lost with it",
            field="to",
            hint="Nothing was changed. Use a bucket: s3://bucket/prefix, with --endpoint-url if it is not at AWS",
        )


def begin(session: Session) -> None:
    """Begin the archive of a server that has none yet. If that fails, emits a notice: the next `up` tries again."""
    archive = session.known.archive
    if archive is None or archive.system:
        return
    try:
        take(session)
    except FastZeroError as error:
        text = f"the database is not archived to {archive} yet: {error.message}"
        session.on_event(Notice(f"{text}. Then: fastzero db archive backup"))


def following(session: Session, archive: Archive, runtime: str) -> Archive:
    """Return the archive of the next server, in a runtime, and check that it can be reached from there."""
    if not archive.is_folder and not session.project.has_secret(CREDENTIALS):
        session.project.replace_secret(CREDENTIALS, "")  # a container reads it
    after = archive.of_next_server()
    archivist_of(session, after, runtime=runtime).check()
    return after


def of_this_server(session: Session, archive: Archive, credentials: Path | None) -> Archive:
    """Return the last folder of the running server in an archive. Raises ConflictError if only others are in it."""
    system, each, own = _system(session), archive, list[Archive]()
    while found := archivist_of(session, each, credentials).system():
        own += [each] if found == system else []
        each = each.following()
    if each != archive and not own:
        raise ConflictError(
            f"{archive} is the archive of another server: this one's system is {system}",
            hint="Nothing was changed. Archive to another prefix: --to",
        )
    return replace(own[-1] if own else archive, system=system)


def _free_for_this_server(session: Session, archive: Archive) -> Archive:
    """Return the first folder from that of `archive` on that no other server has written to."""
    system, archivist = _system(session), archivist_of(session, archive)
    archivist.check()  # which in containers also makes the folder
    while archivist.system() not in ("", system):
        archive = archive.following()
        archivist = archivist_of(session, archive)
        archivist.check()
    return replace(archive, system=system)


def planned(session: Session, archive: Archive, time: datetime | None, credentials: Path | None) -> "RecoveryPlan":
    """Return what a recovery to a time needs, from the newest server that was archived before it."""
    is_own = session.record is not None and session.record.archive == archive
    if is_own:
        _seal_if_possible(session, archive)
    newest = archive if is_own else _newest(session, archive, credentials)
    refusals: list[FastZeroError] = []
    for each in newest.until_now() if time else [newest]:
        try:
            found = archivist_of(session, each, credentials).plan(time)
        except (BackupNotFoundError, NotAllowedError) as error:
            if isinstance(error, NotAllowedError):
                session.on_event(Notice(f"{each} is left out: {error.message}. {error.hint}"))
            refusals.append(error)
        else:
            if each != newest:
                session.on_event(Notice(f"that time is in the archive of a server before: {each}"))
            return replace(found, credentials=credentials)
    raise next((each for each in reversed(refusals) if isinstance(each, BackupNotFoundError)), refusals[-1])


def _newest(session: Session, archive: Archive, credentials: Path | None) -> Archive:
    """Return the archive of the last server of a project that has a base backup."""
    while archivist_of(session, after := archive.following(), credentials).backups():
        archive = after
    return archive


def write_archive(session: Session, archive: Archive | None, credentials: str | None = None) -> None:
    """Write the record with another archive, and carry it out."""
    before = session.known
    actions = _secret(session, archive, credentials)
    after = replace(before, archive=archive)
    cause = f"it is archived to {archive}" if archive else "it is not archived any more"
    actions.append(Action(Verb.WRITE, Kind.RECORD, "project.json", cause, subject=(before, after)))
    spec = session.spec()
    gone = archivers(spec) if archive is None else ()
    actions += plan.plan_down(spec, session.observe_quickly(spec, before), [each.name for each in gone]) if gone else []
    session.run(actions)
    session.ensure_up()
    if before.runtime == "swarm":
        _tell_of_volumes(session, gone)
    else:
        session.run(steps.remove_data(each, cause) for each in gone if each.volume)


def _tell_of_volumes(session: Session, gone: tuple[ServiceSpec, ...]) -> None:
    """Tell of the volumes that archivers leave on other nodes of a swarm.

    Stopped tasks of before keep the one on this node in use. It goes with the project.
    """
    kept = {each.volume for each in session.spec().services}
    for volume, where in session.performer.swarm().remaining(StackSpec(session.project.name, gone)):
        if volume not in kept:
            session.on_event(Notice(there_stays(volume, where)))


def _secret(session: Session, archive: Archive | None, credentials: str | None) -> list[Action]:
    """Return the actions that set the credentials of an archive, also in a running archiver."""
    project, spec = session.project, session.whole_spec()
    old = project.secret(CREDENTIALS) if project.has_secret(CREDENTIALS) else None
    # Without any it is empty: a container reads the file in any case.
    after = (old or "") if credentials is None else credentials
    if archive is None or archive.is_folder or after == old:
        return []
    observed = session.observe_quickly(spec, session.known)
    return rotation.plan_secret(spec, observed, CREDENTIALS, old or "", after, "the archive needs them")


def take(session: Session) -> "BaseBackup":
    """Take a base backup, and resume archiving if it was paused. Raises ConflictError for tablespaces elsewhere."""
    from ..backup.server import server_major

    archive = archive_of(session)
    if not archive.system:
        archive = _free_for_this_server(session, archive)
        write_archive(session, archive)
    archivist = archivist_of(session, archive)
    archivist.resume()
    with connected(session) as connection:
        if row := connection.execute(_TABLESPACES).fetchone():
            raise ConflictError(f"tablespace {row[0]} lies outside of the data directory and cannot be archived")
    seal(session)
    taken = archivist.take(server_major(session.project.database_url()))
    with connected(session) as connection:  # so that everyone who reads the database's metrics can see its age
        setting = f"ALTER DATABASE {DATABASE} SET {BACKED_UP_AT} = '{taken.ended.timestamp():.0f}'"
        connection.execute(setting.encode())
    return taken


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
