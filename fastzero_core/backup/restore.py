"""Restore a backup: fill a new database, compare it with the manifest, then swap it with the live database.

Code in a backup runs as a role created for the restore, if the target's role or the stack can create one: see
`scratch`. With `trusted` it runs as the target's own role, which then also restores owners.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, text

from ..errors import DamagedBackupError, DatabaseNotEmptyError, SchemaOutdatedError
from ..events import Listener, Notice, Progress, ignore
from ..files import status
from ..postgres import database, roles
from ..postgres.ownership import SCHEMAS
from ..schema import migrate, revisions
from ..schema.interface import Schema
from . import content
from .content import Hold
from .fill import WITHOUT_OWNERS, fill, programs_for
from .manifest import Manifest, check_archive
from .scratch import Scratch, reassign_to_owner, scratch
from .server import KeptDatabase, Server, open_server
from .target import Target

INTO_EMPTY_HINT = ". Or restore into an empty one: --into-empty"
_SCHEMAS = text(SCHEMAS.replace("%s", "current_user"))


@dataclass(frozen=True)
class RestorePlan:
    """A checked restore that has not changed anything yet. Created by `plan_restore`.

    `database` is replaced, or filled with `into_empty`; `origin` is the database that was backed up. `rows`, `size` in
    bytes, `revision`, `server_version` and `taken_at`, RFC 3339, describe the backup. With `upgrade` its schema is
    older than the code's and will be migrated. With `trusted` the code in it runs as the target's own role.
    """

    archive: Path
    database: str
    into_empty: bool
    origin: str
    taken_at: str
    rows: int
    size: int
    revision: str | None
    server_version: str
    upgrade: bool
    trusted: bool
    manifest: Manifest = field(repr=False)
    identity: tuple[int, ...] = field(repr=False)

    def refuse_if_changed(self) -> None:
        """Raise DamagedBackupError if the file was changed or replaced since it was checked."""
        if _identity(self.archive) != self.identity:
            raise DamagedBackupError(f"{self.archive} has changed since it was checked")


@dataclass(frozen=True)
class Restored:
    """The live database after a restore; `kept` is the new name of the previous one."""

    database: str
    revision: str | None
    rows: int
    kept: str | None


@dataclass(frozen=True)
class Verified:
    """A backup that was restored to a scratch database and matched its manifest. `size` is in bytes."""

    file: str
    database: str
    taken_at: str
    revision: str | None
    server_version: str
    size: int
    tables: int
    rows: int


def verify(target: Target, archive: Path, *, trusted: bool = False, on_event: Listener = ignore) -> Verified:
    """Restore a backup to a scratch database on the target's server, compare it, and drop it.

    Code in the backup runs as a temporary role, with `trusted` as the target's own role. Raises DamagedBackupError
    before it changes anything, BackupMismatchError, DatabasePrivilegeError, DatabaseFullError.
    """
    manifest = check_archive(archive, on_event)
    with open_server(target.server_url) as server:
        server.refuse_unless_able()
        with scratch(server, target, trusted=trusted) as new:
            fill(target, server, new, archive, manifest, on_event=on_event)
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


def plan_restore(
    target: Target, archive: Path, *, into_empty: bool = False, trusted: bool = False, on_event: Listener = ignore
) -> RestorePlan:
    """Check a backup and all other conditions of its restore. Changes nothing.

    Raises DamagedBackupError, SchemaNewerError, VersionMismatchError, BinariesNotFoundError, DatabasePrivilegeError,
    and with `into_empty` DatabaseNotEmptyError.
    """
    identity = _identity(archive)
    manifest = check_archive(archive, on_event)
    upgrade = manifest.revision is not None and _schema(target).is_behind(manifest.revision)
    with open_server(target.server_url, exclusive=False) as server:
        if into_empty:
            _refuse_unless_empty(target.url)
        else:
            server.refuse_unless_able(INTO_EMPTY_HINT)
        programs_for(target, server, manifest)
    return RestorePlan(
        archive=archive,
        database=target.database,
        into_empty=into_empty,
        origin=manifest.database,
        taken_at=manifest.taken_at,
        rows=manifest.rows,
        size=manifest.size,
        revision=manifest.revision,
        server_version=manifest.server_version,
        upgrade=upgrade,
        trusted=trusted,
        manifest=manifest,
        identity=identity,
    )


def refuse_unless_able(target: Target) -> None:
    """Raise DatabasePrivilegeError if the role lacks the privileges for a reset."""
    with open_server(target.server_url, exclusive=False) as server:
        server.refuse_unless_able()


def restore(
    target: Target,
    backup: Path | RestorePlan,
    *,
    upgrade: bool = False,
    trusted: bool = False,
    hold: Hold | None = None,
    on_event: Listener = ignore,
) -> Restored:
    """Restore a backup in place of the live database, which is kept under a name with the date.

    `backup` is a file, or the plan that the caller accepted. The older schema of a file is migrated only with
    `upgrade`. The old database stays live until the swap, and also if anything fails; `hold`, a write lock, is released
    by the swap. Raises the errors of `plan_restore` and `verify`, and SchemaOutdatedError.
    """
    if isinstance(backup, RestorePlan):
        plan = backup
    else:
        plan = _plan_for_file(target, backup, upgrade, trusted=trusted, on_event=on_event)
    if plan.into_empty:
        return _restore_into_empty(target, plan, on_event)
    with open_server(target.server_url) as server:
        server.refuse_unless_able(INTO_EMPTY_HINT)
        kept = _replace(target, server, plan, hold, on_event)
        _close_to_app(target, server, kept)
    return Restored(server.name, _revision_after(target, plan), plan.rows, kept)


def _replace(target: Target, server: Server, plan: RestorePlan, hold: Hold | None, on_event: Listener) -> str | None:
    """Fill a new database and swap it with the live one. Returns the new name of the previous one."""
    with scratch(server, target, trusted=plan.trusted) as new:
        options = _ownership(server, new, plan.manifest, on_event)
        _fill(target, server, new, plan, options, on_event)
        _finish(new.url, plan, on_event)
        reassign_to_owner(server, target, new)
        _admit_app(target, new.name)
        on_event(Progress("swap"))
        return server.swap(new.name, hold)


def restore_into_empty(
    target: Target, archive: Path, *, upgrade: bool = False, trusted: bool = False, on_event: Listener = ignore
) -> Restored:
    """Restore to the database itself, which must not have tables: for roles that cannot create databases.

    Runs in one transaction. If a role for the code in the backup can be created, that role fills a new database, which
    replaces the empty one. Raises DatabaseNotEmptyError, and the errors of `restore`.
    """
    plan = _plan_for_file(target, archive, upgrade, into_empty=True, trusted=trusted, on_event=on_event)
    return _restore_into_empty(target, plan, on_event)


def _restore_into_empty(target: Target, plan: RestorePlan, on_event: Listener) -> Restored:
    _refuse_unless_empty(target.url)
    if not plan.trusted and _can_create_roles(target):
        return _replace_empty(target, plan, on_event)
    with open_server(target.server_url, exclusive=False) as server:
        itself = Scratch(server.name, target.url, server.role, None)
        options = [*_ownership(server, itself, plan.manifest, on_event), "--single-transaction"]
        _fill(target, server, itself, plan, options, on_event)
    _finish(target.url, plan, on_event)
    return Restored(server.name, _revision_after(target, plan), plan.rows, None)


def _replace_empty(target: Target, plan: RestorePlan, on_event: Listener) -> Restored:
    """Replace the database, and drop the old one unless tables were created in it since the check."""
    with open_server(target.server_url) as server:
        server.refuse_unless_able()
        kept = _replace(target, server, plan, None, on_event)
        if kept is not None and _is_still_empty(target, server, kept):
            server.drop(kept)
            kept = None
    return Restored(server.name, _revision_after(target, plan), plan.rows, kept)


def _can_create_roles(target: Target) -> bool:
    with open_server(target.server_url, exclusive=False) as server:
        return server.can_create_roles


def _is_still_empty(target: Target, server: Server, kept: str) -> bool:
    return not _tables(database.url_of(target.server_url, kept))


def _plan_for_file(
    target: Target,
    archive: Path,
    upgrade: bool,
    *,
    into_empty: bool = False,
    trusted: bool = False,
    on_event: Listener,
) -> RestorePlan:
    """Return the plan for a file. Raises SchemaOutdatedError if it needs `upgrade` and the caller did not allow it."""
    plan = plan_restore(target, archive, into_empty=into_empty, trusted=trusted, on_event=on_event)
    if plan.upgrade and not upgrade:
        raise SchemaOutdatedError(
            f"the backup's schema is at {plan.revision}, older than the code's {_schema(target).head()}",
            hint="Nothing was changed. Migrate it after the restore: --yes",
        )
    return plan


def undo(target: Target, *, hold: Hold | None = None) -> Restored:
    """Swap the live database with the one that was kept last.

    `hold`, a write lock, is released by the swap. Raises BackupNotFoundError if none is kept.
    """
    with open_server(target.server_url) as server:
        server.refuse_unless_able()
        previous = server.last_kept()
        server.allow_connections(previous.database, True)
        _admit_app(target, previous.database)  # it may be older than the app's role
        kept = server.swap(previous.database, hold)
        _close_to_app(target, server, kept)
    engine = database.create_engine(target.url, settings=content.SESSION_SETTINGS)
    with engine.connect() as connection:
        found = ",".join(revisions.revisions_of(target.url, target.version_table)) or None
        return Restored(server.name, found, _rows(connection), kept)


def last_kept(target: Target) -> KeptDatabase:
    """Return the database that `undo` would restore. Raises BackupNotFoundError."""
    with open_server(target.server_url, exclusive=False) as server:
        return server.last_kept()


def kept_databases(target: Target) -> list[KeptDatabase]:
    """Return the databases that restores have replaced and kept, oldest first."""
    with open_server(target.server_url, exclusive=False) as server:
        return server.kept()


def drop_kept(target: Target) -> list[KeptDatabase]:
    """Drop the databases that restores have replaced and kept. Returns them."""
    with open_server(target.server_url) as server:
        kept = server.kept()
        for each in kept:
            server.drop(each.database)
        return kept


def reset(target: Target, *, hold: Hold | None = None, on_event: Listener = ignore) -> Restored:
    """Replace the live database by an empty one at head, and drop it.

    If the caller takes a backup while it has the write lock `hold`, the backup contains everything that is dropped.
    """
    with open_server(target.server_url) as server:
        server.refuse_unless_able()
        with scratch(server, target, trusted=True, empty=True) as new:
            on_event(Progress("migrate"))
            _schema(target).up(new.url)
            _admit_app(target, new.name)
            on_event(Progress("swap"))
            kept = server.swap(new.name, hold)
        if kept is not None:
            server.drop(kept)
    return Restored(server.name, _schema(target).head() or None, 0, None)


def _revision_after(target: Target, plan: RestorePlan) -> str | None:
    return _schema(target).head() if plan.upgrade else plan.revision


def _schema(target: Target) -> Schema:
    return target.schema or migrate


def _identity(archive: Path) -> tuple[int, ...]:
    """Return values that change if the file is replaced or written."""
    found = status(archive)
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns) if found else ()


def _ownership(server: Server, new: Scratch, manifest: Manifest, on_event: Listener) -> Sequence[str]:
    """Return the pg_restore options for owners and grants; leave both out if this server lacks a role for them."""
    missing = [name for name in manifest.grantees if not server.has_role(name, as_owner=False)]
    if not new.has_role:
        missing += [name for name in manifest.owners if not server.has_role(name, as_owner=True)]
    if missing:
        roles = ", ".join(sorted(set(missing)))
        on_event(Notice(f"owners and grants are not restored: this role cannot use {roles}"))
        return WITHOUT_OWNERS
    if not new.has_role:
        return ()
    if others := sorted({*manifest.owners} - {new.owner}):
        notice = f"objects owned by {', '.join(others)} in the backup are now owned by {new.owner}"
        on_event(Notice(f"{notice}. To restore the owners as well: --trusted"))
    return ("--no-owner",)


def _fill(
    target: Target, server: Server, new: Scratch, plan: RestorePlan, options: Sequence[str], on_event: Listener
) -> None:
    plan.refuse_if_changed()
    fill(target, server, new, plan.archive, plan.manifest, options=options, on_event=on_event)


def _finish(url: str, plan: RestorePlan, on_event: Listener) -> None:
    """Prepare a restored database for use: migrate its schema if the plan says so, and collect statistics."""
    if plan.upgrade:
        on_event(Progress("migrate"))
        migrate.up(url)
    on_event(Progress("analyze"))
    _analyze(url)


def _admit_app(target: Target, name: str) -> None:
    """Grant the app's role access to the rows of a database, if the app has its own role."""
    if not target.app_is_admitted:
        return
    engine = database.create_engine(database.url_of(target.url, name), settings=content.SESSION_SETTINGS)
    with engine.begin() as connection:
        for statement in roles.row_privileges(list(connection.execute(_SCHEMAS).scalars())):
            content.execute(connection, statement)


def _close_to_app(target: Target, server: Server, kept: str | None) -> None:
    """Forbid connections to a kept database if the app has its own role, which has privileges there too."""
    if kept and target.app_is_admitted:
        server.allow_connections(kept, False)


def _analyze(url: str) -> None:
    """Collect the planner's statistics, which pg_restore does not restore."""
    engine = database.create_engine(url, settings=content.SESSION_SETTINGS)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))


def _refuse_unless_empty(url: str) -> None:
    if tables := _tables(url):
        raise DatabaseNotEmptyError(f"the database is not empty: it has {', '.join(tables[:5])}")


def _tables(url: str) -> list[str]:
    engine = database.create_engine(url, settings=content.SESSION_SETTINGS)
    with engine.connect() as connection:
        return content.table_names(connection)


def _rows(connection: Connection) -> int:
    return sum(table.rows for table in content.table_contents(connection).values())
