"""A server's databases as whole things: made like another, swapped with it, kept, dropped.

The swap is one transaction of two renames, so that a crash leaves the one or the other in service. While it lasts,
PostgreSQL itself keeps new sessions waiting: a rename locks the database before it looks whether anybody is in it.

What belongs to a database NAME, and is its only in name:

    NAME_restoring_<8 hexadecimals>    being filled; without a holder of the lock it is what a killed command left
    NAME_before_<time>                 kept from before a swap; its owner and a comment on it say so
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
from ..postgres import database
from ..postgres.sql import literal, quote
from . import content, properties, swap
from .content import Hold

MAINTENANCE = ("postgres", "template1")  # where a session may stand while the database itself is renamed
NAME_MAX = 63  # bytes
_RESTORING, _BEFORE = "_restoring_", "_before_"
STAMP = len("20260101t000000")
SETTINGS = {**database.CATALOG_PATH, "lock_timeout": "10s", "TimeZone": "UTC"}


# Whether a database is of who owns the one in service, of this role, or of a superuser.
_OURS = """
    (datdba = (SELECT datdba FROM pg_database WHERE datname = :name)
    OR EXISTS (SELECT FROM pg_roles r WHERE r.oid = datdba AND (rolsuper OR rolname = current_user)))
"""
_LEFT_DATABASES = text(
    f"SELECT datname FROM pg_database WHERE datname ~ :pattern AND ({_OURS} OR pg_get_userbyid(datdba) = datname)"  # noqa: S608
)
_LEFT_ROLES = text(
    "SELECT rolname FROM pg_roles r WHERE rolname ~ :pattern AND NOT (rolsuper OR rolinherit OR rolcreaterole"
    " OR rolcreatedb OR rolreplication OR rolbypassrls) AND pg_has_role(current_user, oid, 'USAGE WITH ADMIN OPTION')"
    " AND NOT EXISTS (SELECT FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass AND refobjid = r.oid)"
)
_KEPT = text(
    "SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database"  # noqa: S608
    f" WHERE datname ~ :pattern AND {_OURS} ORDER BY datname"
)
_SIZE = text("SELECT pg_database_size(oid) FROM pg_database WHERE datname = :name")


@dataclass(frozen=True)
class KeptDatabase:
    """A database that was in service before a swap. `kept_at` is RFC 3339, `size` in bytes."""

    database: str
    of: str
    kept_at: str
    size: int


@dataclass(frozen=True)
class _Mark:
    """What fastzero writes down on a database that it keeps: when, and the comment that it had."""

    at: str
    comment: str | None


class Server:
    """The server of one database, seen from a session of its maintenance database. Make one with `at_server`.

    `session` commits by itself.
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

    def refuse_unless_able(self, otherwise: str = "") -> None:
        """Raises DatabasePrivilegeError where the role may not do what a swap needs; `otherwise` ends its hint."""
        able = self._scalar("SELECT rolsuper OR rolcreatedb FROM pg_roles WHERE rolname = current_user")
        if not able:
            role = self._scalar("SELECT current_user")
            raise DatabasePrivilegeError(
                f"role {role} may not create databases, which this needs",
                hint=f"As a superuser: ALTER ROLE {quote(role)} CREATEDB{otherwise}",
            )
        if self.exists(self.name) and not self._scalar(
            "SELECT pg_has_role(datdba, 'USAGE') FROM pg_database WHERE datname = :name", name=self.name
        ):
            raise DatabasePrivilegeError(f"database {self.name} belongs to another role, so that it cannot be replaced")

    @property
    def role(self) -> str:
        return str(self._scalar("SELECT current_user"))

    @property
    def is_superuser(self) -> bool:
        return bool(self._scalar("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"))

    @property
    def can_create_roles(self) -> bool:
        """Whether the role may make another one, and a database for it."""
        may = "rolsuper OR rolcreaterole AND rolcreatedb"
        return bool(self._scalar(f"SELECT {may} FROM pg_roles WHERE rolname = current_user"))  # noqa: S608

    def discard(self, name: str) -> None:
        """Drop a database that was being filled, if it still has that name, and the role that was made for it."""
        self.drop(name)
        with self._new_session() as session:
            if session.execute(text("SELECT FROM pg_roles WHERE rolname = :name"), {"name": name}).first() is not None:
                content.execute(session, f"DROP ROLE IF EXISTS {quote(name)}")

    def end_sessions_of(self, role: str) -> None:
        """End all sessions of a role, and wait until they have ended."""
        end = text("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = :role")
        self.session.execute(end, {"role": role}).all()

    def drop(self, name: str) -> None:
        """Drop a database with all sessions in it, if it is there."""
        with self._new_session() as session:
            content.execute(session, f"DROP DATABASE IF EXISTS {quote(name)} WITH (FORCE)")

    def swap(self, new: str, hold: Hold | None = None) -> str | None:
        """Put `new` into service. Returns the name under which the database is kept that was, if there was one.

        Its sessions are ended; until the swap is made, new ones wait. A hold on writes is released in the moment from
        which on nobody can write to the old one. Raises DatabaseBusyError with nothing changed if a session cannot be
        ended, ConnectionLostError with nothing changed if the hold was lost.
        """
        if not self.exists(self.name):
            self.execute(f"ALTER DATABASE {quote(new)} RENAME TO {quote(self.name)}")
            return None
        now = datetime.now(UTC)
        kept, comment = self._free_name(now), properties.comment(self.session, self.name)
        mark = json.dumps({"fastzero": "kept", "of": self.name, "at": now.isoformat(), "comment": comment})
        back = _marks(self.session, self.name).get(new)
        returning = back.comment if back else comment
        statements = (
            f"ALTER DATABASE {quote(self.name)} RENAME TO {quote(kept)}",
            f"ALTER DATABASE {quote(new)} RENAME TO {quote(self.name)}",
            f"COMMENT ON DATABASE {quote(kept)} IS {literal(mark)}",
            f"COMMENT ON DATABASE {quote(self.name)} IS {literal(returning)}",
        )
        swap.rename(self._engine, self.session, statements, (self.name, new), hold)
        return kept

    def allow_connections(self, name: str, allowed: bool) -> None:
        """Let sessions into a database, or none."""
        self.execute(f"ALTER DATABASE {quote(name)} ALLOW_CONNECTIONS {str(allowed).lower()}")

    def kept(self) -> list[KeptDatabase]:
        """The databases kept from before a swap, oldest first."""
        return kept_databases(self.session, self.name)

    def last_kept(self) -> KeptDatabase:
        """The one kept last. Raises BackupNotFoundError."""
        found = self.kept()
        if not found:
            raise BackupNotFoundError(
                f"no database is kept from before a restore of {self.name}", hint="See: fastzero db backup list"
            )
        return found[-1]

    def sweep(self) -> list[str]:
        """Drop what killed commands left half made. Only for who holds the lock.

        A database is theirs by its name and its owner: the role that was made to fill it, or who owns the one in
        service. A role is theirs by its name, and has neither rights nor anything that is its own.
        """
        pattern = {"pattern": f"^{re.escape(_shortened(self.name, _RESTORING, 8))}{_RESTORING}[0-9a-f]{{8}}$"}
        leftovers = list(self.session.execute(_LEFT_DATABASES, {**pattern, "name": self.name}).scalars())
        for leftover in leftovers:
            self.drop(leftover)
        for role in self.session.execute(_LEFT_ROLES, pattern).scalars().all():
            self.execute(f"DROP ROLE IF EXISTS {quote(role)}")
        return leftovers

    def has_role(self, name: str, *, as_owner: bool) -> bool:
        """Whether a role is there and, with `as_owner`, may be given things by this one."""
        usable = "pg_has_role(oid, 'MEMBER')" if as_owner else "true"
        return bool(self._scalar(f"SELECT count(*) FROM pg_roles WHERE rolname = :name AND {usable}", name=name))  # noqa: S608

    def _free_name(self, now: datetime) -> str:
        base = f"{_shortened(self.name, _BEFORE, STAMP + 3)}{_BEFORE}{now:%Y%m%dt%H%M%S}"
        names = [base, *(f"{base}_{number}" for number in range(2, 100))]
        return next(name for name in names if not self.exists(name))

    def _new_session(self) -> Connection:
        # Ctrl-C in a statement may have cost the session its connection.
        return self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    def _scalar(self, statement: str, **parameters: object) -> Any:
        return self.session.execute(text(statement), parameters).scalar_one_or_none()

    def execute(self, statement: str) -> None:
        """Run a statement that is written out, and commit it."""
        content.execute(self.session, statement)


@contextmanager
def at_server(url: str, *, exclusive: bool = True) -> Iterator[Server]:
    """The server of a database, for one block in which no other command replaces that database.

    What killed commands left half made is dropped first. Without `exclusive` neither is so: for looking alone.
    Raises LockedError.
    """
    parsed = database.parse_url(url)
    name = parsed.database or parsed.username
    if not name:
        raise InvalidInputError("the database URL names no database", field="database_url")
    with _maintenance_session(parsed, name) as (engine, session):
        server = Server(engine, session, name)
        if exclusive:
            key = {"key": f"fastzero replaces {name}"}
            if not session.execute(text("SELECT pg_try_advisory_lock(hashtextextended(:key, 0))"), key).scalar_one():
                raise LockedError(f"another fastzero command is at work on database {name}")
            server.sweep()
        yield server
        if exclusive:  # not only by the end of the session, which the server may notice after the next command began
            session.execute(text("SELECT pg_advisory_unlock(hashtextextended(:key, 0))"), key)


def server_major(url: str) -> int:
    """The major version of a database's server."""
    engine = database.create_engine(url, settings=SETTINGS)
    with engine.connect() as connection:
        return int(connection.execute(text("SHOW server_version_num")).scalar_one()) // 10_000


def other_databases(url: str) -> list[str]:
    """The databases of the server besides this one and those that every server has."""
    engine = database.create_engine(url, settings=SETTINGS)
    others = text(
        "SELECT datname FROM pg_database WHERE datname NOT IN ('postgres', current_database())"
        " AND NOT datistemplate ORDER BY datname"
    )
    with engine.connect() as connection:
        return list(connection.execute(others).scalars())


def kept_databases(connection: Connection, name: str) -> list[KeptDatabase]:
    """The databases kept from before a swap of database `name`, oldest first, seen from any database of the server.

    A comment alone says nothing: whoever owns a database may write it. It must have a name that fastzero gives, and be
    of the same owner, of this role, or of a superuser.
    """
    found = [
        KeptDatabase(kept, name, mark.at, connection.execute(_SIZE, {"name": kept}).scalar_one())
        for kept, mark in _marks(connection, name).items()
    ]
    return sorted(found, key=lambda each: each.kept_at)


def restoring_name(name: str) -> str:
    """A new name for a database that is being filled, to replace database `name`."""
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
    raise refusal or InvalidInputError(f"database {name} is the maintenance database itself", field="database_url")


def _marks(connection: Connection, name: str) -> dict[str, _Mark]:
    """What fastzero has written down on the databases kept from before a swap of database `name`."""
    base = re.escape(_shortened(name, _BEFORE, STAMP + 3))
    pattern = rf"^{base}{_BEFORE}\d{{8}}t\d{{6}}(_\d{{1,2}})?$"
    rows = connection.execute(_KEPT, {"pattern": pattern, "name": name})
    return {kept: mark for kept, comment in rows if (mark := _mark(comment, name))}


def _mark(comment: str | None, name: str) -> _Mark | None:
    """The mark that a comment is, None for one that fastzero has not written."""
    try:
        mark = json.loads(comment or "")
        if mark["fastzero"] != "kept" or mark["of"] != name or not isinstance(mark["comment"], str | None):
            return None
        return _Mark(datetime.fromisoformat(mark["at"]).isoformat(), mark["comment"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _shortened(name: str, infix: str, more: int) -> str:
    """As much of a name as leaves room for what is put behind it."""
    return name.encode()[: NAME_MAX - len(infix) - more].decode("utf-8", "ignore")
