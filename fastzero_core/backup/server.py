"""Swap, keep and drop whole databases of a server.

The swap is one transaction with two renames, so that after a crash one of the two databases is live. During the swap
new sessions wait: a rename locks the database before it checks for sessions.

Databases related to a database NAME, and found by their names:

    NAME_restoring_<8 hexadecimal digits>    being filled; a leftover of a killed command if no command holds the lock
    NAME_before_<time>                       kept from before a swap; checked by its owner and a comment on it
"""

import json
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, text
from sqlalchemy.engine import URL

from ..errors import (
    BackupNotFoundError,
    DatabasePrivilegeError,
    DatabaseUnreachableError,
    FastZeroError,
    InvalidInputError,
    LockedError,
)
from ..polling import wait_until
from ..postgres import database
from ..postgres.sql import literal, quote
from . import content, properties, swap
from .content import Hold

MAINTENANCE = ("postgres", "template1")  # databases to connect to while the database itself is renamed
NAME_MAX = 63  # bytes
_RESTORING, _BEFORE = "_restoring_", "_before_"
STAMP = len("20260101t000000")
PATIENCE = 5  # seconds; the server may notice the end of a command only after the next one has started
SETTINGS = {**database.CATALOG_PATH, "lock_timeout": "10s", "TimeZone": "UTC"}


# True if the owner of the live database, this role or a superuser owns the database.
_HAS_TRUSTED_OWNER = """
    (datdba = (SELECT datdba FROM pg_database WHERE datname = :name)
    OR EXISTS (SELECT FROM pg_roles r WHERE r.oid = datdba AND (rolsuper OR rolname = current_user)))
"""
_LEFTOVER_DATABASES = text(
    "SELECT datname FROM pg_database WHERE datname ~ :pattern"  # noqa: S608
    f" AND ({_HAS_TRUSTED_OWNER} OR pg_get_userbyid(datdba) = datname)"
)
_LEFTOVER_ROLES = text(
    "SELECT rolname FROM pg_roles r WHERE rolname ~ :pattern AND NOT (rolsuper OR rolinherit OR rolcreaterole"
    " OR rolcreatedb OR rolreplication OR rolbypassrls) AND pg_has_role(current_user, oid, 'USAGE WITH ADMIN OPTION')"
    " AND NOT EXISTS (SELECT FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass AND refobjid = r.oid)"
)
_KEPT = text(
    "SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database"  # noqa: S608
    f" WHERE datname ~ :pattern AND {_HAS_TRUSTED_OWNER} ORDER BY datname"
)
_SIZE = text("SELECT pg_database_size(oid) FROM pg_database WHERE datname = :name")


@dataclass(frozen=True)
class KeptDatabase:
    """A database that a swap has replaced. `kept_at` is RFC 3339, `size` is in bytes."""

    database: str
    of: str
    kept_at: str
    size: int


@dataclass(frozen=True)
class _Mark:
    """The content of fastzero's comment on a kept database: when it was kept, and its original comment."""

    at: str
    comment: str | None


class Server:
    """The server of one database, with a session in a maintenance database. Created by `open_server`.

    `session` is in autocommit mode.
    """

    def __init__(self, engine: Engine, session: Connection, name: str) -> None:
        self._engine = engine
        self.session = session
        self.name = name

    @property
    def major(self) -> int:
        return int(self._scalar("SHOW server_version_num")) // 10_000

    def exists(self, name: str) -> bool:
        return bool(self._scalar("SELECT count(*) FROM pg_database WHERE datname = :name", name=name))

    def refuse_unless_able(self, hint_suffix: str = "") -> None:
        """Raise DatabasePrivilegeError if the role lacks the privileges for a swap. `hint_suffix` ends its hint."""
        able = self._scalar("SELECT rolsuper OR rolcreatedb FROM pg_roles WHERE rolname = current_user")
        if not able:
            role = self._scalar("SELECT current_user")
            raise DatabasePrivilegeError(
                f"role {role} is not allowed to create databases, which this requires",
                hint=f"Run as a superuser: ALTER ROLE {quote(role)} CREATEDB{hint_suffix}",
            )
        if self.exists(self.name) and not self._scalar(
            "SELECT pg_has_role(datdba, 'USAGE') FROM pg_database WHERE datname = :name", name=self.name
        ):
            raise DatabasePrivilegeError(f"database {self.name} cannot be replaced: another role owns it")

    @property
    def role(self) -> str:
        return str(self._scalar("SELECT current_user"))

    @property
    def is_superuser(self) -> bool:
        return bool(self._scalar("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"))

    @property
    def can_create_roles(self) -> bool:
        """Whether the role can create roles and databases."""
        may = "rolsuper OR rolcreaterole AND rolcreatedb"
        return bool(self._scalar(f"SELECT {may} FROM pg_roles WHERE rolname = current_user"))  # noqa: S608

    def discard(self, name: str) -> None:
        """Drop a scratch database, if it still has that name, and its temporary role."""
        self.drop(name)
        with self._new_session() as session:
            if session.execute(text("SELECT FROM pg_roles WHERE rolname = :name"), {"name": name}).first() is not None:
                content.execute(session, f"DROP ROLE IF EXISTS {quote(name)}")

    def end_sessions_of(self, role: str) -> None:
        """End all sessions of a role. Waits up to 5 seconds for each to end."""
        end = text("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = :role")
        self.session.execute(end, {"role": role}).all()

    def drop(self, name: str) -> None:
        """Drop a database if it exists, and end its sessions."""
        with self._new_session() as session:
            content.execute(session, f"DROP DATABASE IF EXISTS {quote(name)} WITH (FORCE)")

    def swap(self, new: str, hold: Hold | None = None) -> str | None:
        """Make `new` the live database. Returns the new name of the previous one, None if it did not exist.

        Ends the sessions of the previous database; new ones wait for the swap. The write lock `hold` is released only
        when other sessions can no longer write to the previous database. If a session cannot be ended, raises
        DatabaseBusyError; if the write lock was lost, ConnectionLostError. Both leave everything unchanged.
        """
        if not self.exists(self.name):
            self.execute(f"ALTER DATABASE {quote(new)} RENAME TO {quote(self.name)}")
            return None
        now = datetime.now(UTC)
        kept, comment = self._free_name(now), properties.comment(self.session, self.name)
        mark = json.dumps({"fastzero": "kept", "of": self.name, "at": now.isoformat(), "comment": comment})
        mark_of_new = _marks(self.session, self.name).get(new)
        new_comment = mark_of_new.comment if mark_of_new else comment
        statements = (
            f"ALTER DATABASE {quote(self.name)} RENAME TO {quote(kept)}",
            f"ALTER DATABASE {quote(new)} RENAME TO {quote(self.name)}",
            f"COMMENT ON DATABASE {quote(kept)} IS {literal(mark)}",
            f"COMMENT ON DATABASE {quote(self.name)} IS {literal(new_comment)}",
        )
        swap.rename(self._engine, self.session, statements, (self.name, new), hold)
        return kept

    def allow_connections(self, name: str, allowed: bool) -> None:
        """Allow or forbid connections to a database."""
        self.execute(f"ALTER DATABASE {quote(name)} ALLOW_CONNECTIONS {str(allowed).lower()}")

    def kept(self) -> list[KeptDatabase]:
        """Return the databases kept from before a swap, oldest first."""
        return kept_databases(self.session, self.name)

    def last_kept(self) -> KeptDatabase:
        """Return the database that was kept last. Raises BackupNotFoundError."""
        found = self.kept()
        if not found:
            raise BackupNotFoundError(
                f"database {self.name} has no copy from before a restore", hint="List backups: fastzero db backup list"
            )
        return found[-1]

    def drop_leftovers(self) -> list[str]:
        """Drop the scratch databases and roles that killed commands left. Returns the databases. Requires the lock.

        Such a database has the name of a scratch database, and is owned by its temporary role, the owner of the live
        database, this role or a superuser. Such a role has the name of a temporary role, and neither privileges nor
        objects.
        """
        pattern = {"pattern": f"^{re.escape(_shortened(self.name, _RESTORING, 8))}{_RESTORING}[0-9a-f]{{8}}$"}
        leftovers = list(self.session.execute(_LEFTOVER_DATABASES, {**pattern, "name": self.name}).scalars())
        for leftover in leftovers:
            self.drop(leftover)
        for role in self.session.execute(_LEFTOVER_ROLES, pattern).scalars().all():
            self.execute(f"DROP ROLE IF EXISTS {quote(role)}")
        return leftovers

    def has_role(self, name: str, *, as_owner: bool) -> bool:
        """Return whether a role exists and, with `as_owner`, whether this role can make it the owner of objects."""
        usable = "pg_has_role(oid, 'MEMBER')" if as_owner else "true"
        return bool(self._scalar(f"SELECT count(*) FROM pg_roles WHERE rolname = :name AND {usable}", name=name))  # noqa: S608

    def _free_name(self, now: datetime) -> str:
        base = f"{_shortened(self.name, _BEFORE, STAMP + 3)}{_BEFORE}{now:%Y%m%dt%H%M%S}"
        names = [base, *(f"{base}_{number}" for number in range(2, 100))]
        return next(name for name in names if not self.exists(name))

    def _new_session(self) -> Connection:
        # Ctrl-C during a statement may have closed the connection of `session`.
        return self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    def _scalar(self, statement: str, **parameters: object) -> Any:
        return self.session.execute(text(statement), parameters).scalar_one_or_none()

    def execute(self, statement: str) -> None:
        """Run a statement without parameters, and commit it."""
        content.execute(self.session, statement)


@contextmanager
def open_server(url: str, *, exclusive: bool = True) -> Iterator[Server]:
    """Connect to the server of a database for one block, in which no other command can replace that database.

    First drops what killed commands left. Without `exclusive` it neither locks nor drops: use that only for reading.
    Raises LockedError if another command works on it for PATIENCE seconds.
    """
    parsed = database.parse_url(url)
    name = parsed.database or parsed.username
    if not name:
        raise InvalidInputError("the database URL does not name a database", field="database_url")
    with _maintenance_session(parsed, name) as (engine, session):
        server = Server(engine, session, name)
        if exclusive:
            if not wait_until(lambda: _lock(session, name), PATIENCE):
                raise LockedError(f"another fastzero command is working on database {name}")
            server.drop_leftovers()
        yield server


def _lock(session: Connection, name: str) -> bool:
    """Lock a database until the session ends. Returns False if another command has locked it."""
    lock = text("SELECT pg_try_advisory_lock(hashtextextended(:key, 0))")
    return bool(session.execute(lock, {"key": f"fastzero replaces {name}"}).scalar_one())


def server_major(url: str) -> int:
    """Return the major version of a database's server."""
    engine = database.create_engine(url, settings=SETTINGS)
    with engine.connect() as connection:
        return int(connection.execute(text("SHOW server_version_num")).scalar_one()) // 10_000


def other_databases(url: str) -> list[str]:
    """Return the databases of the server without this one, `postgres` and the templates."""
    engine = database.create_engine(url, settings=SETTINGS)
    others = text(
        "SELECT datname FROM pg_database WHERE datname NOT IN ('postgres', current_database())"
        " AND NOT datistemplate ORDER BY datname"
    )
    with engine.connect() as connection:
        return list(connection.execute(others).scalars())


def kept_databases(connection: Connection, name: str) -> list[KeptDatabase]:
    """Return the databases kept from before a swap of `name`, oldest first. The connection may be to any database.

    The comment alone proves nothing, since the owner of any database can write one. The name must be one that fastzero
    gives, and the owner must be that of the live database, this role or a superuser.
    """
    found = [
        KeptDatabase(kept, name, mark.at, connection.execute(_SIZE, {"name": kept}).scalar_one())
        for kept, mark in _marks(connection, name).items()
    ]
    return sorted(found, key=lambda each: each.kept_at)


def restoring_name(name: str) -> str:
    """Return a new name for a scratch database that is to replace database `name`."""
    return f"{_shortened(name, _RESTORING, 8)}{_RESTORING}{secrets.token_hex(4)}"


@contextmanager
def _maintenance_session(parsed: URL, name: str) -> Iterator[tuple[Engine, Connection]]:
    refusal: FastZeroError | None = None
    for place in MAINTENANCE:
        if place == name:
            continue
        engine = database.create_engine(parsed.set(database=place), settings=SETTINGS)
        try:
            session = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        except (DatabaseUnreachableError, DatabasePrivilegeError) as error:
            refusal = refusal or error
            continue
        with session:
            yield engine, session
        return
    raise refusal or InvalidInputError(f"database {name} is the server's maintenance database", field="database_url")


def _marks(connection: Connection, name: str) -> dict[str, _Mark]:
    """Return fastzero's comments on the databases kept from before a swap of database `name`."""
    base = re.escape(_shortened(name, _BEFORE, STAMP + 3))
    pattern = rf"^{base}{_BEFORE}\d{{8}}t\d{{6}}(_\d{{1,2}})?$"
    rows = connection.execute(_KEPT, {"pattern": pattern, "name": name})
    return {kept: mark for kept, comment in rows if (mark := _mark(comment, name))}


def _mark(comment: str | None, name: str) -> _Mark | None:
    """Parse the comment on a database. Returns None if fastzero did not write it."""
    try:
        mark = json.loads(comment or "")
        if mark["fastzero"] != "kept" or mark["of"] != name or not isinstance(mark["comment"], str | None):
            return None
        return _Mark(datetime.fromisoformat(mark["at"]).isoformat(), mark["comment"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _shortened(name: str, infix: str, more: int) -> str:
    """Shorten a name so that `infix` and `more` bytes can be added to it."""
    return name.encode()[: NAME_MAX - len(infix) - more].decode("utf-8", "ignore")
