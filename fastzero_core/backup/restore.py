"""Bringing a backup back: into a database of its own first, compared with its manifest there, then swapped in."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, text

from ..errors import DatabaseNotEmptyError, SchemaOutdatedError, VersionMismatchError
from ..events import Listener, Notice, Progress, ignore
from ..postgres import database
from ..postgres.programs import Programs
from ..schema import migrate, revisions
from ..schema.revisions import head_revision
from . import content
from .manifest import Manifest, check_archive, read_manifest
from .server import KeptDatabase, Server, at_server
from .target import Target
from .watch import copied_rows

FOR_TRIAL = ("--no-owner", "--no-privileges")  # whoever tries owns all of it
OTHERWISE = ". Or restore into an empty one: --into-empty"
JOBS = 2  # sessions of pg_restore: tables and indexes side by side
TIMEOUTS_SINCE = 17  # pg_restore sets transaction_timeout, which older servers do not know


@dataclass(frozen=True)
class Restored:
    """A database that was put into service; `kept` is the name that the one before it has now."""

    database: str
    revision: str | None
    rows: int
    kept: str | None


@dataclass(frozen=True)
class Verified:
    """A backup that was restored for trial and found to be what its manifest says."""

    file: str
    database: str
    taken_at: str
    revision: str | None
    server_version: str
    size: int
    tables: int
    rows: int


def verify(target: Target, archive: Path, *, on_event: Listener = ignore) -> Verified:
    """Restore a backup into a scratch database of the target's server, compare, and drop it again.

    Raises DamagedBackupError before anything is touched, BackupMismatchError, DatabasePrivilegeError,
    DatabaseFullError.
    """
    manifest = check_archive(archive, on_event)
    with at_server(target.url) as server:
        server.refuse_unless_able()
        with server.scratch() as name:
            fill(target, server, name, archive, manifest, on_event=on_event)
    return Verified(
        file=str(archive),
        database=manifest.database,
        taken_at=manifest.taken_at,
        revision=manifest.revision,
        server_version=manifest.server_version,
        size=manifest.size,
        tables=len(manifest.tables),
        rows=manifest.rows,
    )


def check(target: Target, archive: Path, *, upgrade: bool = False, on_event: Listener = ignore) -> None:
    """Raises what `restore` would before it touches anything."""
    manifest = check_archive(archive, on_event)
    _refuse_other_schema(manifest, upgrade)
    with at_server(target.url, exclusive=False) as server:
        server.refuse_unless_able(OTHERWISE)
        _programs(target, server, manifest)


def refuse_unless_able(target: Target) -> None:
    """Raises DatabasePrivilegeError where the role may not do what a reset needs."""
    with at_server(target.url, exclusive=False) as server:
        server.refuse_unless_able()


def restore(target: Target, archive: Path, *, upgrade: bool = False, on_event: Listener = ignore) -> Restored:
    """Put what a backup holds into service in place of the database, which is kept under a dated name.

    With `upgrade` an older schema is migrated to head before. Until the swap the old database serves, and if
    anything fails it goes on to. Raises as `verify` does, and SchemaOutdatedError, SchemaNewerError.
    """
    manifest = check_archive(archive, on_event)
    _refuse_other_schema(manifest, upgrade)
    with at_server(target.url) as server:
        server.refuse_unless_able(OTHERWISE)
        options = _ownership(server, manifest, on_event)
        with server.scratch() as name:
            fill(target, server, name, archive, manifest, options=options, on_event=on_event)
            _finish(database.url_of(target.url, name), manifest, on_event)
            on_event(Progress("swap"))
            kept = server.swap(name)
    return Restored(server.name, _revision_after(manifest), manifest.rows, kept)


def restore_into_empty(
    target: Target, archive: Path, *, upgrade: bool = False, on_event: Listener = ignore
) -> Restored:
    """Restore into the database itself, which must hold no tables: for roles that may not create databases.

    All or nothing, in one transaction. Raises DatabaseNotEmptyError, and as `restore` does.
    """
    manifest = check_archive(archive, on_event)
    _refuse_other_schema(manifest, upgrade)
    with at_server(target.url, exclusive=False) as server:
        _refuse_unless_empty(target.url)
        options = [*_ownership(server, manifest, on_event), "--single-transaction"]
        fill(target, server, server.name, archive, manifest, options=options, on_event=on_event)
    _finish(target.url, manifest, on_event)
    return Restored(server.name, _revision_after(manifest), manifest.rows, None)


def undo(target: Target) -> Restored:
    """Put the database back that was kept last; the one in service now is kept in its place.

    Raises BackupNotFoundError if none is kept.
    """
    with at_server(target.url) as server:
        server.refuse_unless_able()
        back = server.last_kept()
        kept = server.swap(back.database)
    engine = database.create_engine(target.url)
    with engine.connect() as connection:
        return Restored(server.name, revisions.current_revision(connection), _rows(connection), kept)


def last_kept(target: Target) -> KeptDatabase:
    """The database that `undo` would put back. Raises BackupNotFoundError."""
    with at_server(target.url, exclusive=False) as server:
        return server.last_kept()


def kept_databases(target: Target) -> list[KeptDatabase]:
    """The databases kept from before a restore, oldest first."""
    with at_server(target.url, exclusive=False) as server:
        return server.kept()


def drop_kept(target: Target) -> list[KeptDatabase]:
    """Drop the databases kept from before a restore. Returns them."""
    with at_server(target.url) as server:
        kept = server.kept()
        for each in kept:
            server.drop(each.database)
        return kept


def reset(target: Target, *, on_event: Listener = ignore) -> Restored:
    """Put an empty database at head into service, and drop the one before it."""
    with at_server(target.url) as server:
        server.refuse_unless_able()
        with server.scratch() as name:
            on_event(Progress("migrate"))
            migrate.up(database.url_of(target.url, name))
            on_event(Progress("swap"))
            kept = server.swap(name)
        if kept is not None:
            server.drop(kept)
    return Restored(server.name, head_revision(), 0, None)


def needs_upgrade(archive: Path) -> bool:
    """Whether a backup's schema is older than the code. Raises SchemaNewerError, DamagedBackupError."""
    manifest = read_manifest(archive)
    return manifest.revision is not None and bool(migrate.pending(manifest.revision))


def _refuse_other_schema(manifest: Manifest, upgrade: bool) -> None:
    if manifest.revision is None:
        return  # it holds no schema of fastzero's
    if migrate.pending(manifest.revision) and not upgrade:
        raise SchemaOutdatedError(
            f"the backup's schema is at {manifest.revision}, the code's at {head_revision()}",
            hint="Nothing was changed. Let it be migrated: --yes",
        )


def _revision_after(manifest: Manifest) -> str | None:
    return None if manifest.revision is None else head_revision()


def _programs(target: Target, server: Server, manifest: Manifest) -> Programs:
    if manifest.server_major > server.major:
        raise VersionMismatchError(
            f"the backup is of PostgreSQL {manifest.server_major}, the server of {server.major}",
            hint="Nothing was changed. Restore it on a server of its own version, or a newer one",
        )
    programs = target.programs(server.major)
    if programs.major >= TIMEOUTS_SINCE > server.major:
        raise VersionMismatchError(
            f"pg_restore is of PostgreSQL {programs.major} here, which the server's {server.major} does not understand",
            hint=f"Install those of its own version: your system's postgresql-client-{server.major}",
        )
    return programs


def _ownership(server: Server, manifest: Manifest, on_event: Listener) -> Sequence[str]:
    """The options that leave owners and grants out, where not every role that they name is usable here."""
    missing = [name for name in manifest.owners if not server.has_role(name, as_owner=True)]
    missing += [name for name in manifest.grantees if not server.has_role(name, as_owner=False)]
    if not missing:
        return ()
    roles = ", ".join(sorted(set(missing)))
    on_event(Notice(f"owners and grants are left out: this role cannot use {roles}"))
    return FOR_TRIAL


def fill(
    target: Target,
    server: Server,
    name: str,
    archive: Path,
    manifest: Manifest,
    *,
    options: Sequence[str] = FOR_TRIAL,
    on_event: Listener = ignore,
) -> None:
    """Restore into a database, and compare. Raises BackupMismatchError."""
    programs = _programs(target, server, manifest)
    jobs = [] if "--single-transaction" in options else [f"--jobs={JOBS}"]
    arguments = ["--exit-on-error", "--no-password", *jobs, *options]
    with copied_rows(database.url_of(target.url, name), "restore", manifest.rows, on_event):
        programs.run("pg_restore", arguments, name, archive=archive)
    on_event(Progress("compare"))
    engine = database.create_engine(database.url_of(target.url, name), settings=content.SESSION)
    with engine.connect() as connection:
        content.compare(connection, manifest)


def _finish(url: str, manifest: Manifest, on_event: Listener) -> None:
    """What a restored database needs before it serves: the schema of the code, and statistics to plan by."""
    if manifest.revision is not None and migrate.pending(manifest.revision):
        on_event(Progress("migrate"))
        migrate.up(url)
    on_event(Progress("analyze"))
    _analyze(url)


def _analyze(url: str) -> None:
    """Gather the statistics that queries are planned by: a restored database has none."""
    engine = database.create_engine(url, settings=content.SESSION)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))


def _refuse_unless_empty(url: str) -> None:
    engine = database.create_engine(url, settings=content.SESSION)
    with engine.connect() as connection:
        tables = list(content.table_contents(connection))
    if tables:
        raise DatabaseNotEmptyError(f"the database is not empty: it has {', '.join(tables[:5])}")


def _rows(connection: Connection) -> int:
    return sum(table.rows for table in content.table_contents(connection).values())
