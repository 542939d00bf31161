"""Read the properties of a database besides its content: owner, locale, limits, grants, settings, comment.

Most functions return the statements that set the same properties on another database. The session may be connected to
any database of the server.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, text

from ..postgres.sql import assignment as assignment
from ..postgres.sql import elements as elements
from ..postgres.sql import literal, quote

_KINDS = {"r": "TABLES", "S": "SEQUENCES", "f": "FUNCTIONS", "T": "TYPES", "n": "SCHEMAS", "L": "LARGE OBJECTS"}
_DEFAULT_PRIVILEGES = text(
    "SELECT pg_get_userbyid(defaclrole), nspname, defaclobjtype::text, g.rolname, privilege_type, is_grantable"
    " FROM pg_default_acl CROSS JOIN aclexplode(defaclacl) LEFT JOIN pg_namespace n ON n.oid = defaclnamespace"
    " LEFT JOIN pg_roles g ON g.oid = grantee ORDER BY 1, 2, 3, 4, 5"
)


def attributes(session: Connection, name: str) -> str:
    """Return the options of CREATE DATABASE that copy `name`, without its owner; empty if it does not exist."""
    row = session.execute(
        text(
            "SELECT to_jsonb(d) FROM (SELECT *, pg_encoding_to_char(encoding) AS encoding_name,"
            " spcname FROM pg_database"
            " JOIN pg_tablespace t ON t.oid = dattablespace WHERE datname = :name) AS d"
        ),
        {"name": name},
    ).scalar_one_or_none()
    return "" if row is None else " ".join(f"{word} {value}" for word, value in _options(row))


def statements(session: Connection, name: str) -> Iterator[str]:
    """Yield the statements that set the properties of database `name` on one of the same name on another server."""
    limit = session.execute(text("SELECT datconnlimit FROM pg_database WHERE datname = :name"), {"name": name})
    yield f"ALTER DATABASE {quote(name)} CONNECTION LIMIT {limit.scalar_one()}"
    yield f"COMMENT ON DATABASE {quote(name)} IS {literal(comment(session, name))}"
    yield from grants(session, name, name)
    yield from settings(session, name, name)


def owner(session: Connection, name: str) -> str | None:
    """Return the role that owns a database, None if the database does not exist."""
    found = session.execute(
        text("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = :name"), {"name": name}
    ).scalar_one_or_none()
    return None if found is None else str(found)


def grants(session: Connection, name: str, new: str) -> Iterator[str]:
    """Yield the statements that copy the grants of database `name` to `new`."""
    granted = text(
        "SELECT coalesce(quote_ident(rolname), 'PUBLIC'), privilege_type, is_grantable FROM pg_database"
        " CROSS JOIN aclexplode(datacl) LEFT JOIN pg_roles r ON r.oid = grantee WHERE datname = :name"
    )
    rows = session.execute(granted, {"name": name}).all()
    if rows:
        yield f"REVOKE ALL ON DATABASE {quote(new)} FROM PUBLIC"
    for grantee, privilege, grantable in rows:
        option = " WITH GRANT OPTION" if grantable and grantee != "PUBLIC" else ""
        yield f"GRANT {privilege} ON DATABASE {quote(new)} TO {grantee}{option}"


def settings(session: Connection, name: str, new: str) -> Iterator[str]:
    """Yield the statements that copy the settings of database `name` to `new`."""
    made = text(
        "SELECT quote_ident(rolname), unnest(setconfig) FROM pg_db_role_setting"
        " JOIN pg_database d ON d.oid = setdatabase LEFT JOIN pg_roles r ON r.oid = setrole WHERE datname = :name"
    )
    for role, written in session.execute(made, {"name": name}):
        scope = f"ROLE {role} IN DATABASE" if role else "DATABASE"
        yield f"ALTER {scope} {quote(new)} {assignment(*written.split('=', 1))}"


def default_privileges(connection: Connection, schemas: Collection[str]) -> Iterator[str]:
    """Yield the statements that copy this database's default privileges to another one that has these schemas."""
    rows = connection.execute(_DEFAULT_PRIVILEGES).all()
    for role, schema, kind in dict.fromkeys(tuple(row)[:3] for row in rows):
        if schema is None:  # global default privileges replace the built-in ones
            yield f"ALTER DEFAULT PRIVILEGES FOR ROLE {quote(role)} REVOKE ALL ON {_KINDS[kind]} FROM PUBLIC"
    for role, schema, kind, grantee, privilege, grantable in rows:
        if schema is None or schema in schemas:
            scope = "" if schema is None else f" IN SCHEMA {quote(schema)}"
            option = " WITH GRANT OPTION" if grantable and grantee != role else ""
            granted = f"GRANT {privilege} ON {_KINDS[kind]} TO {'PUBLIC' if grantee is None else quote(grantee)}"
            yield f"ALTER DEFAULT PRIVILEGES FOR ROLE {quote(role)}{scope} {granted}{option}"


def schemas(connection: Connection) -> list[str]:
    """Return the names of a database's schemas."""
    return list(connection.execute(text("SELECT nspname FROM pg_namespace")).scalars())


def comment(session: Connection, name: str) -> str | None:
    """Return the comment on a database."""
    written = text("SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = :name")
    found: str | None = session.execute(written, {"name": name}).scalar_one_or_none()
    return found


def _options(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    providers = {"b": "builtin", "c": "libc", "i": "icu"}
    provider = providers[row["datlocprovider"]]
    locale = row.get("datlocale") or row.get("daticulocale")
    yield "ENCODING", literal(row["encoding_name"])
    yield "LOCALE_PROVIDER", provider
    yield "LC_COLLATE", literal(row["datcollate"])
    yield "LC_CTYPE", literal(row["datctype"])
    if locale:
        yield f"{provider}_LOCALE", literal(locale)
    if row["spcname"] != "pg_default":  # ordinary roles can use the default tablespace, but not name it
        yield "TABLESPACE", quote(row["spcname"])
    yield "CONNECTION LIMIT", str(row["datconnlimit"])
