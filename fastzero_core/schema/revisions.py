"""Read the head revision from the migration files, and the revision of a database.

Readiness checks use this, so it loads neither Alembic nor SQLAlchemy.
"""

import ast
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInputError, SchemaDriftError
from ..postgres.driver_errors import translate
from ..postgres.sql import quote
from ..postgres.url import parse, session_options, url_of

if TYPE_CHECKING:
    from psycopg import AsyncConnection, Connection

INSTALLED = Path(__file__).parents[1] / "migrations"
_IDENTIFIERS = ("revision", "down_revision")
_ASSIGNMENTS = re.compile(r"^(?:down_)?revision\b.*", re.MULTILINE)

VERSION_TABLE = "alembic_version"
CONNECT_TIMEOUT = 5  # seconds
HEADS_MAX = 100
_LIMITS = {"lock_timeout": "5s", "statement_timeout": "60s"}

# Finds the table with the revision. Names and operators are qualified, since the database's owner sets its search path
# and may have created others with the same names.
_LOCATE = """
    SELECT n.nspname, c.relname, c.relkind OPERATOR(pg_catalog.=) 'r' AND EXISTS (
        SELECT FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) a.atttypid
        WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attname OPERATOR(pg_catalog.=) 'version_num'
            AND t.oid OPERATOR(pg_catalog.=) ANY ('{varchar,text}'::pg_catalog.regtype[]::pg_catalog.oid[]))
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(%s)
"""


def folder() -> Path:
    """Return the folder of the migrations: in the package if it was installed from a wheel, else in the checkout."""
    return INSTALLED if is_installed() else INSTALLED.parents[1] / "migrations"


def is_installed() -> bool:
    """Return whether the migrations are part of an installed package, and must not be changed."""
    return INSTALLED.is_dir()


@cache
def head_revision() -> str:
    """Return the newest revision of the code. Raises InvalidInputError if the migrations do not have one head."""
    revisions, replaced = set(), set()
    for path in (folder() / "versions").glob("*.py"):
        values = _identifiers(path)
        if "revision" in values:
            revisions.add(values["revision"])
            replaced.add(values.get("down_revision"))
    heads = sorted(revisions - replaced)
    if len(heads) != 1:
        raise InvalidInputError(f"the migrations must have one head; they have: {', '.join(heads) or 'none'}")
    return str(heads[0])


def names() -> list[str]:
    """Return the revisions of the built-in application, in the order of their files. Nothing is imported for it."""
    files = sorted((folder() / "versions").glob("*.py"))
    return [str(found["revision"]) for found in map(_identifiers, files) if "revision" in found]


def revision_of(url: str, *, timeout: int = CONNECT_TIMEOUT) -> str | None:
    """Return the revision of the database at `url`, None before the first. `timeout`, in seconds, is for connecting.

    Does not run code of the database's owner. Raises SchemaDriftError if `alembic_version` is not Alembic's table, and
    connection errors.
    """
    return _single(revisions_of(url, timeout=timeout))


def revisions_of(url: str, table: str = VERSION_TABLE, *, timeout: int = CONNECT_TIMEOUT) -> list[str]:
    """Return the sorted revisions of the database at `url`, more than one if its schema has several heads.

    `table` is the table with the revisions, quoted for SQL. Raises the errors of `revision_of`.
    """
    with _connected(url, timeout) as connection:
        found = _checked(connection.execute(_LOCATE, [table]).fetchone())
        return read(connection, *found) if found else []


def located(url: str, table: str = VERSION_TABLE, *, timeout: int = CONNECT_TIMEOUT) -> tuple[str, str] | None:
    """Return the schema and the name of the table with the revisions, None if it does not exist.

    `table` is its name, quoted for SQL and resolved by the session's search path. Raises the errors of `revision_of`.
    """
    with _connected(url, timeout) as connection:
        return _checked(connection.execute(_LOCATE, [table]).fetchone())


def read(connection: "Connection[Any]", schema: str, table: str) -> list[str]:
    """Return the sorted revisions in that table."""
    with connection.cursor() as cursor, cursor.copy(_copy(schema, table)) as copy:
        found = sorted(row[0] for row in islice(copy.rows(), HEADS_MAX + 1))
        if len(found) > HEADS_MAX:
            raise _multiple_revisions_error(found)  # inside the block, so that the driver cancels the rest of the COPY
        return found


async def read_async(connection: "AsyncConnection[Any]") -> str | None:
    """Return the revision of a database like `revision_of`, over an asyncio connection."""
    try:
        found = _checked(await (await connection.execute(_LOCATE, [VERSION_TABLE])).fetchone())
        if found is None:
            return None
        async with connection.cursor() as cursor, cursor.copy(_copy(*found)) as copy:
            return _single([row[0] async for row in copy.rows()])
    except _driver_error() as error:
        raise translate(error) from error


@contextmanager
def _connected(url: str, timeout: int) -> "Iterator[Connection[Any]]":
    import psycopg

    plain = url_of(url)
    options = " ".join([session_options(_LIMITS), parse(url).get("options", "")])
    try:
        with psycopg.connect(
            plain, connect_timeout=timeout, application_name="fastzero", autocommit=True, options=options
        ) as connection:
            yield connection
    except psycopg.Error as error:
        raise translate(error) from error


def _driver_error() -> type[Exception]:
    import psycopg

    return psycopg.Error


def _copy(schema: str, table: str) -> str:
    # COPY is not planned. Planning a query would run functions in the expressions of the table's indexes.
    return f"COPY {quote(schema)}.{quote(table)} (version_num) TO STDOUT"


def _checked(found: tuple[str, str, bool] | None) -> tuple[str, str] | None:
    if found is None:
        return None
    schema, table, is_ordinary = found
    if not is_ordinary:
        raise SchemaDriftError(
            f"{schema}.{table} was not created by Alembic",
            hint="Rename it, then create the schema: fastzero migrate",
        )
    return schema, table


def _single(found: list[str]) -> str | None:
    if len(found) > 1:
        raise _multiple_revisions_error(found)
    return found[0] if found else None


def _multiple_revisions_error(found: list[str]) -> SchemaDriftError:
    return SchemaDriftError(
        f"the database is at several revisions: {', '.join(sorted(found)[:5])}",
        hint="Keep one of them in the table alembic_version: fastzero migrate stamp REVISION",
    )


def _identifiers(path: Path) -> dict[str, Any]:
    """Return the values of `revision` and `down_revision` in a revision file.

    Only the lines of their assignments are parsed, which takes a tenth of the time, unless one goes over several lines.
    """
    text = path.read_text(encoding="utf-8")
    values = {}
    try:
        parsed = ast.parse("\n".join(_ASSIGNMENTS.findall(text)))
    except SyntaxError:
        parsed = ast.parse(text)
    for node in parsed.body:
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value) if name in _IDENTIFIERS:
                values[name] = ast.literal_eval(value)
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name in _IDENTIFIERS:
                values[name] = ast.literal_eval(value)
    return values
