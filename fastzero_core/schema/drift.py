"""Compare a live schema with the models, without running code of the database's owner."""

import re
from typing import TYPE_CHECKING, Any

from ..postgres import database
from . import revisions

if TYPE_CHECKING:
    from alembic.migration import MigrationContext
    from sqlalchemy import Connection, MetaData

# The type cast that PostgreSQL adds to a literal.
_TYPE = re.compile(r"::[\w .\"]+(\([\d,]+\))?(\[\])?$")


def differences(url: str) -> list[str]:
    """Return the differences, one line each, in the schema that contains the table `alembic_version`."""
    located = revisions.located(url)
    engine = database.create_engine(url, settings=database.CATALOG_SETTINGS)
    with engine.connect() as connection:
        return [_describe(difference) for difference in _compare(connection, located[0] if located else "public")]


def compare_defaults_by_text(context: "MigrationContext") -> None:
    """Make Alembic compare the defaults of columns as text.

    By default Alembic lets the server evaluate both, which would run functions of the database's owner.
    """

    def differs(_: Any, __: Any, ours: str | None, live: str | None) -> bool:
        return _plain(live) != _plain(ours)

    context.impl.compare_server_default = differs  # type: ignore[method-assign]


def _compare(connection: "Connection", schema: str) -> list[Any]:
    """Return the differences. Qualifies every name, since the session's search path contains only pg_catalog."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    options = {
        "compare_type": True,
        "compare_server_default": True,
        "include_schemas": True,
        "include_name": lambda name, kind, _: kind != "schema" or name == schema,
        "version_table_schema": schema,
    }
    context = MigrationContext.configure(connection, opts=options)
    compare_defaults_by_text(context)
    return list(compare_metadata(context, _models_in(schema)))


def _models_in(schema: str) -> "MetaData":
    from sqlalchemy import MetaData

    from ..todo_app.tables import metadata

    copy = MetaData(naming_convention=metadata.naming_convention)
    for table in metadata.sorted_tables:
        table.to_metadata(copy, schema=schema, referred_schema_fn=lambda *_: schema)
    return copy


def _plain(default: str | None) -> str | None:
    return None if default is None else _TYPE.sub("", default).strip("'")


def _describe(difference: Any) -> str:
    if isinstance(difference, list):
        return "; ".join(_describe(part) for part in difference)
    verb, *subjects = difference
    if verb.startswith("modify_"):
        _, table, column, _, live, ours = subjects
        return f"{verb.replace('_', ' ')} {table}.{column}: {live} → {ours}"
    if verb.endswith("_column"):
        subjects = subjects[1:]  # without the schema, which is the same for all
    names = [str(getattr(subject, "name", subject)) for subject in subjects if subject is not None]
    return f"{verb.replace('_', ' ')} {'.'.join(names)}"
