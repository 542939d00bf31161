"""The migration files, read without loading Alembic: what every readiness check needs. Standard library only."""

import ast
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInputError

if TYPE_CHECKING:
    from sqlalchemy import Connection

INSTALLED = Path(__file__).parents[1] / "migrations"
_IDENTIFIERS = ("revision", "down_revision")

# Where Alembic keeps the revision a database is at, without an error where it keeps none yet.
VERSION_TABLE = "alembic_version"
HAS_REVISION = "SELECT to_regclass('alembic_version') IS NOT NULL"
CURRENT_REVISION = "SELECT version_num FROM alembic_version"


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


def current_revision(connection: "Connection") -> str | None:
    """The revision that the database is at, None before the first."""
    from sqlalchemy import text

    if connection.execute(text(HAS_REVISION)).scalar_one():
        return connection.execute(text(CURRENT_REVISION)).scalar_one_or_none()
    return None


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
