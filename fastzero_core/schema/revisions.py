"""Which revision the migration files end with, and which one a database is at: what every readiness check needs.

Neither Alembic nor SQLAlchemy is loaded for it.
"""

import ast
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

VERSION_TABLE = "alembic_version"
CONNECT_TIMEOUT = 5  # seconds
MOST_HEADS = 100
_LIMITS = {"lock_timeout": "5s", "statement_timeout": "60s"}

# Where Alembic keeps the revision. Names and operators are qualified: a database's owner decides on its search path,
# and may have made others of the same name.
_LOCATE = """
    SELECT n.nspname, c.relname, c.relkind OPERATOR(pg_catalog.=) 'r' AND EXISTS (
        SELECT FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) a.atttypid
        WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attname OPERATOR(pg_catalog.=) 'version_num'
            AND t.oid OPERATOR(pg_catalog.=) ANY ('{varchar,text}'::pg_catalog.regtype[]::pg_catalog.oid[]))
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(%s)
"""


def folder() -> Path:
    """Return where the migrations are: in the package if it was installed from a wheel, else in the checkout."""
    return INSTALLED if is_installed() else INSTALLED.parents[1] / "migrations"


def is_installed() -> bool:
    """Return whether the migrations are part of an installed package, where nobody may add to them."""
    return INSTALLED.is_dir()


@cache
def head_revision() -> str:
    """The code's newest revision. Raises InvalidInputError if there is not exactly one."""
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
    """Return the revision that the database at `url` is at, None before the first.

    Nothing of the database's owner runs. Raises SchemaDriftError where `alembic_version` is not Alembic's table, and
    what says why the database does not answer.
    """
    return _single(revisions_of(url, timeout=timeout))


def revisions_of(url: str, table: str = VERSION_TABLE, *, timeout: int = CONNECT_TIMEOUT) -> list[str]:
    """Return the revisions that the database at `url` is at, several where its schema has several heads; in order.

    `table` is where they are written, as SQL writes its name. Raises as `revision_of` does.
    """
    with _connected(url, timeout) as connection:
        found = _checked(connection.execute(_LOCATE, [table]).fetchone())
        return read(connection, *found) if found else []


def located(url: str, table: str = VERSION_TABLE, *, timeout: int = CONNECT_TIMEOUT) -> tuple[str, str] | None:
    """Return schema and name of the table that revisions are written in, None without one.

    `table` is its name as SQL writes it, found as the session's search path has it. Raises as `revision_of` does.
    """
    with _connected(url, timeout) as connection:
        return _checked(connection.execute(_LOCATE, [table]).fetchone())


def read(connection: "Connection[Any]", schema: str, table: str) -> list[str]:
    """Return the revisions in that table, in order."""
    with connection.cursor() as cursor, cursor.copy(_copy(schema, table)) as copy:
        found = sorted(row[0] for row in islice(copy.rows(), MOST_HEADS + 1))
        if len(found) > MOST_HEADS:
            raise _several(found)  # here, so that the driver gives up what is not read
        return found


async def read_async(connection: "AsyncConnection[Any]") -> str | None:
    """Return what `revision_of` does, over a connection of asyncio's."""
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
    # Unlike a query it is not planned, which would run functions in expressions of the table's indexes.
    return f"COPY {quote(schema)}.{quote(table)} (version_num) TO STDOUT"


def _checked(found: tuple[str, str, bool] | None) -> tuple[str, str] | None:
    if found is None:
        return None
    schema, table, is_ordinary = found
    if not is_ordinary:
        raise SchemaDriftError(
            f"{schema}.{table} is not a table that Alembic has made",
            hint="Rename it, then create the schema: fastzero migrate",
        )
    return schema, table


def _single(found: list[str]) -> str | None:
    if len(found) > 1:
        raise _several(found)
    return found[0] if found else None


def _several(found: list[str]) -> SchemaDriftError:
    return SchemaDriftError(
        f"the database is at several revisions: {', '.join(sorted(found)[:5])}",
        hint="Keep one of them in the table alembic_version: fastzero migrate stamp REVISION",
    )


def _identifiers(path: Path) -> dict[str, Any]:
    """What a revision file says of itself: `revision` and `down_revision`."""
    values = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value) if name in _IDENTIFIERS:
                values[name] = ast.literal_eval(value)
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name in _IDENTIFIERS:
                values[name] = ast.literal_eval(value)
    return values
