"""Create the extensions that only a superuser can create, in a database that another role fills.

Such extensions of the live database are created in the new one while it is empty: a superuser has approved them by
creating them. Other extensions of a backup must be ones that the owner of a database can create.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import text

from ..postgres import database
from ..postgres.sql import literal, quote
from ..postgres.url import url_of
from . import content
from .server import SETTINGS, Server

_UNTRUSTED = text("""
    SELECT x.extname AS name, n.nspname AS schema, x.extversion AS version
    FROM pg_extension x JOIN pg_namespace n ON n.oid = x.extnamespace
    JOIN pg_available_extension_versions v ON v.name = x.extname AND v.version = x.extversion
    WHERE v.superuser AND NOT v.trusted ORDER BY x.oid
""")


@dataclass(frozen=True)
class Extension:
    """An extension of a database, its schema and its version."""

    name: str
    schema: str
    version: str


def install(server: Server, server_url: str, to: str, owner: str) -> tuple[Extension, ...]:
    """Create the live database's untrusted extensions in the empty database `to`. Returns them.

    Their schemas are owned by `owner`, the role that owns the new database.
    """
    if not (server.is_superuser and server.exists(server.name)):
        return ()
    with database.create_engine(server_url, settings=SETTINGS).connect() as service:
        found = tuple(Extension(**row) for row in service.execute(_UNTRUSTED).mappings())
    if found:
        with database.create_engine(url_of(server_url, to), settings=SETTINGS).begin() as connection:
            for statement in _creations(found, owner):
                content.execute(connection, statement)
    return found


def entries_to_restore(listing: str, installed: Sequence[Extension], *, default_privileges: bool) -> str:
    """Return the entries of an archive's table of contents that a role can restore.

    Leaves out the extensions in `installed` with their schemas, which already exist, and default privileges unless the
    role can set `default_privileges`.
    """
    left_out = [] if default_privileges else ["DEFAULT ACL "]
    for each in installed:
        left_out += [f"EXTENSION - {each.name} ", f"SCHEMA - {each.schema} "]
        left_out += [f"COMMENT - EXTENSION {name} " for name in (each.name, quote(each.name))]
    kept = re.compile(rf"\d+; \d+ \d+ (?!{'|'.join(map(re.escape, left_out))})")
    return "".join(line for line in listing.splitlines(keepends=True) if kept.match(line))


def _creations(found: Sequence[Extension], owner: str) -> Iterator[str]:
    schemas = {each.schema for each in found} - {"public", "pg_catalog"}
    for schema in schemas:
        yield f"CREATE SCHEMA {quote(schema)}"
    for each in found:
        yield f"CREATE EXTENSION {quote(each.name)} SCHEMA {quote(each.schema)} VERSION {literal(each.version)} CASCADE"
    for schema in schemas:
        yield f"ALTER SCHEMA {quote(schema)} OWNER TO {quote(owner)}"
