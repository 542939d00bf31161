"""Create a scratch database next to the live one, and a role that can only fill it.

A backup may come from an untrusted source, and its triggers, functions and expressions run during a restore. So the
restore logs in as a new role, which owns the new database and has no other privileges. SET ROLE would not be enough:
hostile code can reset it. After the comparison everything is reassigned to the owner of the live database, and the role
is dropped. The role and the database have the same name, NAME_restoring_<8 hexadecimal digits>.

A role that cannot create roles, as most roles in a database URL, fills the scratch database itself.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from sqlalchemy import Connection

from ..errors import FastZeroError
from ..postgres import database
from ..postgres.sql import literal, quote
from ..postgres.url import as_role, parse, url_of
from . import content, extensions, properties
from .server import SETTINGS, Server, restoring_name
from .target import Target


@dataclass(frozen=True)
class Scratch:
    """A database to fill.

    `url` is for the role that fills it; `owner` is the owner after `reassign_to_owner`. `password` is that of the
    temporary role, None without such a role. `installed` are the extensions that a superuser created in it.
    """

    name: str
    url: str = field(repr=False)
    owner: str
    password: str | None = field(repr=False)
    installed: tuple[extensions.Extension, ...] = ()

    @property
    def has_role(self) -> bool:
        """Whether a temporary role of the same name fills it."""
        return self.password is not None


@contextmanager
def scratch(server: Server, target: Target, *, trusted: bool = False, empty: bool = False) -> Iterator[Scratch]:
    """Create an empty database with the locale, limits and settings of the live one; drop it after the block.

    With `trusted` the target's own role fills it. It has the untrusted extensions of the live one, unless it is to be
    `empty`. A database that the block swaps with the live one has another name by then, so it is not dropped. Raises
    DatabasePrivilegeError.
    """
    name = restoring_name(server.name)
    try:
        if trusted or not server.can_create_roles:
            yield _create_for_own_role(server, target, name, empty=empty)
        else:
            yield _create_with_role(server, target, name)
    except BaseException:
        with suppress(FastZeroError):  # the first error is the one to report; the next command cleans up
            server.discard(name)
        raise
    server.discard(name)


def reassign_to_owner(server: Server, target: Target, new: Scratch) -> None:
    """Reassign a filled database to its owner, copy the live database's grants, and drop the temporary role."""
    if not new.has_role:
        return
    role, owner = quote(new.name), quote(new.owner)
    server.execute(f"ALTER ROLE {role} NOLOGIN")
    server.end_sessions_of(new.name)
    engine = database.create_engine(url_of(target.server_url, new.name), settings=SETTINGS)
    with engine.begin() as connection:
        content.execute(connection, f"REASSIGN OWNED BY {role} TO {owner}")
        content.execute(connection, f"DROP OWNED BY {role}")  # revokes its grants: it does not own objects any more
        for statement in _default_privileges(server, target, connection):
            content.execute(connection, statement)
    for statement in _grants(server, new.name):
        server.execute(statement)
    server.execute(f"DROP ROLE {role}")


def _create_for_own_role(server: Server, target: Target, name: str, *, empty: bool) -> Scratch:
    owner = _owner(server, target)
    _create(server, name, owner)
    for statement in properties.grants(server.session, server.name, name):
        server.execute(statement)
    installed = () if empty else extensions.install(server, target.server_url, name, owner)
    return Scratch(name, url_of(target.url, name), owner, None, installed)


def _create_with_role(server: Server, target: Target, name: str) -> Scratch:
    password = secrets.token_urlsafe(32)
    _create_role(server, name, password)
    _create(server, name, name)
    server.execute(f"REVOKE ALL ON DATABASE {quote(name)} FROM PUBLIC")
    installed = extensions.install(server, target.server_url, name, name)
    url = as_role(url_of(target.url, name), name, password)
    return Scratch(name, url, _owner(server, target), password, installed)


def _owner(server: Server, target: Target) -> str:
    """Return the role that will own the new database."""
    owner = properties.owner(server.session, server.name)
    return owner or parse(target.url).get("user") or server.role


def _create(server: Server, name: str, owner: str) -> None:
    attributes = properties.attributes(server.session, server.name)
    server.execute(f"CREATE DATABASE {quote(name)} TEMPLATE template0 OWNER {quote(owner)} {attributes}")
    for statement in properties.settings(server.session, server.name, name):
        server.execute(statement)


def _create_role(server: Server, name: str, password: str) -> None:
    # The server may log the statement, so it contains only the hash of the password.
    encrypt = content.driver(server.session).pgconn.encrypt_password
    hashed = encrypt(password.encode(), name.encode(), b"scram-sha-256").decode()
    server.execute(
        f"CREATE ROLE {quote(name)} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOREPLICATION NOBYPASSRLS"
        f" PASSWORD {literal(hashed)}"
    )
    if not server.is_superuser:  # other roles must be a member of the role that is to own a database
        server.execute(f"GRANT {quote(name)} TO {quote(server.role)}")


def _grants(server: Server, name: str) -> list[str]:
    granted = list(properties.grants(server.session, server.name, name))
    return granted or [f"GRANT CONNECT, TEMPORARY ON DATABASE {quote(name)} TO PUBLIC"]


def _default_privileges(server: Server, target: Target, connection: Connection) -> list[str]:
    """Return the statements that copy the live database's default privileges, which the temporary role cannot set."""
    if not server.exists(server.name):
        return []
    schemas = properties.schemas(connection)
    with database.create_engine(target.server_url, settings=SETTINGS).connect() as service:
        return list(properties.default_privileges(service, schemas))
