"""Migrations of another tool than Alembic's own command: what cannot be read is refused with that tool's command."""

from pathlib import Path
from typing import Any, cast

import pytest

from fastzero_core.application.reading import parse
from fastzero_core.errors import InvalidInputError
from fastzero_core.stack.own_schema import ApplicationSchema
from fastzero_core.stack.session import Session


def refused(migrate: str, folder: Path) -> InvalidInputError:
    application = parse(f'[application]\ncommand = "serve"\nmigrate = {migrate}\n', folder)
    assert application is not None
    unused: Any = None  # its files are read before any session
    with pytest.raises(InvalidInputError) as failed:
        ApplicationSchema(cast(Session, unused), application).history()
    return failed.value


@pytest.mark.parametrize(
    ("command", "shows"),
    [
        ("flask db upgrade", "flask db current"),
        ("litestar --app app:app database upgrade --no-prompt", "COMMAND"),
        ("litestar database upgrade --no-prompt", "litestar database show-current-revision"),
        ("python manage.py migrate --noinput", "python manage.py showmigrations"),
        ("make migrations", "COMMAND"),
    ],
)
def test_the_tool_that_shows_them_is_named(command: str, shows: str, tmp_path: Path) -> None:
    error = refused(f'"{command}"', tmp_path)

    assert repr(command) in str(error)
    assert f"fastzero run -- {shows}." in (error.hint or "")


def test_an_application_without_migrations_is_told_so(tmp_path: Path) -> None:
    error = refused("false", tmp_path)

    assert "has no migrations" in str(error)
    assert "migrate" in (error.hint or "")
