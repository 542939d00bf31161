"""A database that is filled beside the one in service, by a role of its own that may do nothing else.

A backup may come from anybody, and its triggers, functions and expressions run while it is restored. So it is restored
by a session that logs in as a new role, which owns the new database and has no other rights: SET ROLE would not do,
since hostile code can undo it. When all is compared, everything is handed to the owner of the database in service, and
the role is dropped. Role and database have one name, NAME_restoring_<8 hexadecimals>.

Who can neither create roles nor is a superuser, as most roles that a URL names, fills the database itself.
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
    """A database that is being filled.

    `url` is how it is reached by the role that fills it, `owner` whose it will be. `password` is that of the role that
    was made for it, None where there is none. `installed` are the extensions that only a superuser could create.
    """

    name: str
    url: str = field(repr=False)
    owner: str
    password: str | None = field(repr=False)
    installed: tuple[extensions.Extension, ...] = ()

    @property
    def has_role(self) -> bool:
        """Whether a role was made for it, which bears its name."""
        return self.password is not None


@contextmanager
def scratch(server: Server, target: Target, *, trusted: bool = False, empty: bool = False) -> Iterator[Scratch]:
    """Make a new, empty database of the same locale, limits and settings as the one in service, for one block.

    With `trusted` the target's own role fills it. Unless it is to be `empty`, it has the extensions of the one in
    service that only a superuser could create. One that was swapped in by the end of it has another name then, and
    stays. Raises DatabasePrivilegeError.
    """
    name = restoring_name(server.name)
    try:
        if trusted or not server.can_create_roles:
            yield _made(server, target, name, empty=empty)
        else:
            yield _made_with_role(server, target, name)
    except BaseException:
        with suppress(FastZeroError):  # what went wrong first is what to tell; the next command sweeps
            server.discard(name)
        raise
    server.discard(name)


def hand_over(server: Server, target: Target, filled: Scratch) -> None:
    """Give a filled database to its owner, with the grants of the one in service, and drop the role that filled it."""
    if not filled.has_role:
        return
    role, owner = quote(filled.name), quote(filled.owner)
    server.execute(f"ALTER ROLE {role} NOLOGIN")
    server.end_sessions_of(filled.name)
    engine = database.create_engine(url_of(target.server_url, filled.name), settings=SETTINGS)
    with engine.begin() as connection:
        content.execute(connection, f"REASSIGN OWNED BY {role} TO {owner}")
        content.execute(connection, f"DROP OWNED BY {role}")  # by now it has grants alone
        for statement in _default_privileges(server, target, connection):
            content.execute(connection, statement)
    for statement in _grants(server, filled.name):
        server.execute(statement)
    server.execute(f"DROP ROLE {role}")


def _made(server: Server, target: Target, name: str, *, empty: bool) -> Scratch:
    owner = _owner(server, target)
    _create(server, name, owner)
    for statement in properties.grants(server.session, server.name, name):
        server.execute(statement)
    installed = () if empty else extensions.install(server, target.server_url, name, owner)
    return Scratch(name, url_of(target.url, name), owner, None, installed)


def _made_with_role(server: Server, target: Target, name: str) -> Scratch:
    password = secrets.token_urlsafe(32)
    _create_role(server, name, password)
    _create(server, name, name)
    server.execute(f"REVOKE ALL ON DATABASE {quote(name)} FROM PUBLIC")
    installed = extensions.install(server, target.server_url, name, name)
    url = as_role(url_of(target.url, name), name, password)
    return Scratch(name, url, _owner(server, target), password, installed)


def _owner(server: Server, target: Target) -> str:
    """Whose the new database will be."""
    owner = properties.owner(server.session, server.name)
    return owner or parse(target.url).get("user") or server.role


def _create(server: Server, name: str, owner: str) -> None:
    attributes = properties.attributes(server.session, server.name)
    server.execute(f"CREATE DATABASE {quote(name)} TEMPLATE template0 OWNER {quote(owner)} {attributes}")
    for statement in properties.settings(server.session, server.name, name):
        server.execute(statement)


def _create_role(server: Server, name: str, password: str) -> None:
    # Of the password only the hash is in the statement, which the server may log.
    encrypt = content.driver(server.session).pgconn.encrypt_password
    hashed = encrypt(password.encode(), name.encode(), b"scram-sha-256").decode()
    server.execute(
        f"CREATE ROLE {quote(name)} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOREPLICATION NOBYPASSRLS"
        f" PASSWORD {literal(hashed)}"
    )
    if not server.is_superuser:  # who is one may give databases away without being a member
        server.execute(f"GRANT {quote(name)} TO {quote(server.role)}")


def _grants(server: Server, name: str) -> list[str]:
    granted = list(properties.grants(server.session, server.name, name))
    return granted or [f"GRANT CONNECT, TEMPORARY ON DATABASE {quote(name)} TO PUBLIC"]


def _default_privileges(server: Server, target: Target, connection: Connection) -> list[str]:
    """The statements that repeat those of the database in service: who fills another cannot grant for other roles."""
    if not server.exists(server.name):
        return []
    schemas = properties.schemas(connection)
    with database.create_engine(target.server_url, settings=SETTINGS).connect() as service:
        return list(properties.default_privileges(service, schemas))
