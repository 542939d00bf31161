"""Bringing a backup back: into a database of its own first, compared with its manifest there, then swapped in.

Whatever code a backup holds runs as a role that was made for its restore, where the target's role or the stack may make
one: see `scratch`. Only with `trusted` it runs as the target's own role, which then restores owners as well.
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
from .fill import FOR_TRIAL, fill, programs_for
from .manifest import Manifest, check_archive
from .scratch import Scratch, hand_over, scratch
from .server import KeptDatabase, Server, at_server
from .target import Target

OTHERWISE = ". Or restore into an empty one: --into-empty"
_SCHEMAS = text(SCHEMAS.replace("%s", "current_user"))


@dataclass(frozen=True)
class RestorePlan:
    """What a restore would do, found out before anything is asked or touched. Made by `plan_restore`.

    `database` is the one that is replaced, or filled with `into_empty`; `origin` the one that was backed up. `rows`
    and `size`, in bytes, are the backup's, as are `revision`, `server_version` and `taken_at`, RFC 3339. With `upgrade`
    its schema is older than the code's, and will be migrated. With `trusted` the code that it holds runs as the
    target's own role.
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
        """Raise DamagedBackupError if the file is not the one that was checked."""
        if _identity(self.archive) != self.identity:
            raise DamagedBackupError(f"{self.archive} has changed since it was checked")


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


def verify(target: Target, archive: Path, *, trusted: bool = False, on_event: Listener = ignore) -> Verified:
    """Restore a backup into a scratch database of the target's server, compare, and drop it again.

    Its code runs as a role made for it, with `trusted` as the target's own. Raises DamagedBackupError before anything
    is touched, BackupMismatchError, DatabasePrivilegeError, DatabaseFullError.
    """
    manifest = check_archive(archive, on_event)
    with at_server(target.server_url) as server:
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
    """Check a backup byte for byte, and everything else that could refuse its restore. Nothing is touched.

    Raises DamagedBackupError, SchemaNewerError, VersionMismatchError, BinariesNotFoundError, DatabasePrivilegeError,
    and with `into_empty` DatabaseNotEmptyError.
    """
    identity = _identity(archive)
    manifest = check_archive(archive, on_event)
    upgrade = manifest.revision is not None and _schema(target).is_behind(manifest.revision)
    with at_server(target.server_url, exclusive=False) as server:
        if into_empty:
            _refuse_unless_empty(target.url)
        else:
            server.refuse_unless_able(OTHERWISE)
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
    """Raises DatabasePrivilegeError where the role may not do what a reset needs."""
    with at_server(target.server_url, exclusive=False) as server:
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
    """Put what a backup holds into service in place of the database, which is kept under a dated name.

    `backup` is a file, or the plan that the caller has agreed to. A file's older schema is migrated only with
    `upgrade`. Until the swap the old database serves, and if anything fails it goes on to; a hold on writes lasts
    until then. Raises as `plan_restore` and `verify` do, and SchemaOutdatedError.
    """
    if isinstance(backup, RestorePlan):
        plan = backup
    else:
        plan = _agreed(target, backup, upgrade, trusted=trusted, on_event=on_event)
    if plan.into_empty:
        return _restore_into_empty(target, plan, on_event)
    with at_server(target.server_url) as server:
        server.refuse_unless_able(OTHERWISE)
        kept = _replace(target, server, plan, hold, on_event)
        _close_to_app(target, server, kept)
    return Restored(server.name, _revision_after(target, plan), plan.rows, kept)


def _replace(target: Target, server: Server, plan: RestorePlan, hold: Hold | None, on_event: Listener) -> str | None:
    """Fill a database beside the one in service and swap it in. Returns the name that the one before has now."""
    with scratch(server, target, trusted=plan.trusted) as new:
        options = _ownership(server, new, plan.manifest, on_event)
        _fill(target, server, new, plan, options, on_event)
        _finish(new.url, plan, on_event)
        hand_over(server, target, new)
        _admit_app(target, new.name)
        on_event(Progress("swap"))
        return server.swap(new.name, hold)


def restore_into_empty(
    target: Target, archive: Path, *, upgrade: bool = False, trusted: bool = False, on_event: Listener = ignore
) -> Restored:
    """Restore into the database itself, which must hold no tables: for roles that may not create databases.

    All or nothing, in one transaction. Where a role can be made for the backup's code, the database is replaced by one
    that it has filled. Raises DatabaseNotEmptyError, and as `restore` does.
    """
    plan = _agreed(target, archive, upgrade, into_empty=True, trusted=trusted, on_event=on_event)
    return _restore_into_empty(target, plan, on_event)


def _restore_into_empty(target: Target, plan: RestorePlan, on_event: Listener) -> Restored:
    _refuse_unless_empty(target.url)
    if not plan.trusted and _can_create_roles(target):
        return _replace_empty(target, plan, on_event)
    with at_server(target.server_url, exclusive=False) as server:
        itself = Scratch(server.name, target.url, server.role, None)
        options = [*_ownership(server, itself, plan.manifest, on_event), "--single-transaction"]
        _fill(target, server, itself, plan, options, on_event)
    _finish(target.url, plan, on_event)
    return Restored(server.name, _revision_after(target, plan), plan.rows, None)


def _replace_empty(target: Target, plan: RestorePlan, on_event: Listener) -> Restored:
    """Replace the database, and drop it, unless somebody has made tables in it until then."""
    with at_server(target.server_url) as server:
        server.refuse_unless_able()
        kept = _replace(target, server, plan, None, on_event)
        if kept is not None and _is_still_empty(target, server, kept):
            server.drop(kept)
            kept = None
    return Restored(server.name, _revision_after(target, plan), plan.rows, kept)


def _can_create_roles(target: Target) -> bool:
    with at_server(target.server_url, exclusive=False) as server:
        return server.can_create_roles


def _is_still_empty(target: Target, server: Server, kept: str) -> bool:
    return not _tables(database.url_of(target.server_url, kept))


def _agreed(
    target: Target,
    archive: Path,
    upgrade: bool,
    *,
    into_empty: bool = False,
    trusted: bool = False,
    on_event: Listener,
) -> RestorePlan:
    """The plan for a file, if what the caller has agreed to covers it. Raises SchemaOutdatedError."""
    plan = plan_restore(target, archive, into_empty=into_empty, trusted=trusted, on_event=on_event)
    if plan.upgrade and not upgrade:
        raise SchemaOutdatedError(
            f"the backup's schema is at {plan.revision}, the code's at {_schema(target).head()}",
            hint="Nothing was changed. Let it be migrated: --yes",
        )
    return plan


def undo(target: Target, *, hold: Hold | None = None) -> Restored:
    """Put the database back that was kept last; the one in service now is kept in its place.

    A hold on writes lasts until the swap. Raises BackupNotFoundError if none is kept.
    """
    with at_server(target.server_url) as server:
        server.refuse_unless_able()
        back = server.last_kept()
        server.allow_connections(back.database, True)
        _admit_app(target, back.database)  # it may have been kept before the app had a role of its own
        kept = server.swap(back.database, hold)
        _close_to_app(target, server, kept)
    engine = database.create_engine(target.url, settings=content.SESSION)
    with engine.connect() as connection:
        found = ",".join(revisions.revisions_of(target.url, target.version_table)) or None
        return Restored(server.name, found, _rows(connection), kept)


def last_kept(target: Target) -> KeptDatabase:
    """The database that `undo` would put back. Raises BackupNotFoundError."""
    with at_server(target.server_url, exclusive=False) as server:
        return server.last_kept()


def kept_databases(target: Target) -> list[KeptDatabase]:
    """The databases kept from before a restore, oldest first."""
    with at_server(target.server_url, exclusive=False) as server:
        return server.kept()


def drop_kept(target: Target) -> list[KeptDatabase]:
    """Drop the databases kept from before a restore. Returns them."""
    with at_server(target.server_url) as server:
        kept = server.kept()
        for each in kept:
            server.drop(each.database)
        return kept


def reset(target: Target, *, hold: Hold | None = None, on_event: Listener = ignore) -> Restored:
    """Put an empty database at head into service, and drop the one before it.

    With a hold on writes, a backup that is taken while it holds has everything that is dropped.
    """
    with at_server(target.server_url) as server:
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
    """What tells a file from another that was put in its place, or written since."""
    found = status(archive)
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns) if found else ()


def _ownership(server: Server, new: Scratch, manifest: Manifest, on_event: Listener) -> Sequence[str]:
    """The options that leave owners and grants out, where not every role that they name is usable here."""
    missing = [name for name in manifest.grantees if not server.has_role(name, as_owner=False)]
    if not new.has_role:
        missing += [name for name in manifest.owners if not server.has_role(name, as_owner=True)]
    if missing:
        roles = ", ".join(sorted(set(missing)))
        on_event(Notice(f"owners and grants are left out: this role cannot use {roles}"))
        return FOR_TRIAL
    if not new.has_role:
        return ()
    if others := sorted({*manifest.owners} - {new.owner}):
        told = f"what belonged to {', '.join(others)} in the backup belongs to {new.owner}"
        on_event(Notice(f"{told}. With --trusted each has its own owner"))
    return ("--no-owner",)


def _fill(
    target: Target, server: Server, new: Scratch, plan: RestorePlan, options: Sequence[str], on_event: Listener
) -> None:
    plan.refuse_if_changed()
    fill(target, server, new, plan.archive, plan.manifest, options=options, on_event=on_event)


def _finish(url: str, plan: RestorePlan, on_event: Listener) -> None:
    """What a restored database needs before it serves: the schema of the code, and statistics to plan by."""
    if plan.upgrade:
        on_event(Progress("migrate"))
        migrate.up(url)
    on_event(Progress("analyze"))
    _analyze(url)


def _admit_app(target: Target, name: str) -> None:
    """Let the app's role use the rows of a database, if it has one."""
    if not target.app_is_admitted:
        return
    engine = database.create_engine(database.url_of(target.url, name), settings=content.SESSION)
    with engine.begin() as connection:
        for statement in roles.row_privileges(list(connection.execute(_SCHEMAS).scalars())):
            content.execute(connection, statement)


def _close_to_app(target: Target, server: Server, kept: str | None) -> None:
    """Let nobody into a kept database while the app has a role of its own, which has its rights there too."""
    if kept and target.app_is_admitted:
        server.allow_connections(kept, False)


def _analyze(url: str) -> None:
    """Gather the statistics that queries are planned by: a restored database has none."""
    engine = database.create_engine(url, settings=content.SESSION)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))


def _refuse_unless_empty(url: str) -> None:
    if tables := _tables(url):
        raise DatabaseNotEmptyError(f"the database is not empty: it has {', '.join(tables[:5])}")


def _tables(url: str) -> list[str]:
    engine = database.create_engine(url, settings=content.SESSION)
    with engine.connect() as connection:
        return content.table_names(connection)


def _rows(connection: Connection) -> int:
    return sum(table.rows for table in content.table_contents(connection).values())
