"""What differs between a live schema and the models."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Connection


def differences(connection: "Connection") -> list[str]:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from ..todo_app.tables import metadata

    options = {"compare_type": True, "compare_server_default": True}
    found = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
    return [_describe(difference) for difference in found]


def _describe(difference: Any) -> str:
    if isinstance(difference, list):
        return "; ".join(_describe(part) for part in difference)
    verb, *subjects = difference
    if verb.startswith("modify_"):
        _, table, column, _, live, ours = subjects
        return f"{verb.replace('_', ' ')} {table}.{column}: {live} → {ours}"
    names = [str(getattr(subject, "name", subject)) for subject in subjects if subject is not None]
    return f"{verb.replace('_', ' ')} {'.'.join(names)}"
