"""Commands run in this process, where that is enough: `fastzero("todo", "list")` answers with code, out and err.

`database` is where they work, through DATABASE_URL; `ana` is a user there whom they can see.
"""

import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pytest
from sqlalchemy.engine import make_url

from fastzero_cli.main import main
from fastzero_core import FastZero, User

from .shell import Result


class Run(Protocol):
    def __call__(self, *words: object, stdin: str = "", terminal: int | None = None) -> Result: ...


class Stdin(io.TextIOWrapper):
    def __init__(self, text: str) -> None:
        super().__init__(io.BytesIO(text.encode("utf-8", "surrogateescape")), encoding="utf-8")


@pytest.fixture
def fastzero(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: object, stdin: str = "", terminal: int | None = None) -> Result:
        """With `terminal` the output goes to one of so many columns."""
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["fastzero", *map(str, words)])
            patch.setattr(sys, "stdin", Stdin(stdin))
            patch.setattr(sys.stdout, "isatty", lambda: terminal is not None)
            if terminal is not None:
                patch.setenv("COLUMNS", str(terminal))
            capsys.readouterr()
            try:
                code = main()
            except SystemExit as end:
                code = int(end.code or 0)
        return Result(code, *capsys.readouterr())

    return run


@pytest.fixture
def database(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("DATABASE_URL", database_url)
    return database_url


@pytest.fixture
def add_user(database: str) -> Callable[[str], User]:
    def add(name: str) -> User:
        with FastZero(database) as fz:
            return fz.users.add(name, email=f"{name}@example.com", password="correct horse")

    return add


@pytest.fixture
def ana(add_user: Callable[[str], User]) -> User:
    return add_user("ana")


@pytest.fixture
def titles(database: str) -> Callable[[], list[str]]:
    """The titles of all todos there are, read by another session."""

    def read() -> list[str]:
        with psycopg.connect(database) as connection:
            return [title for (title,) in connection.execute("SELECT title FROM todos ORDER BY id")]

    return read


@pytest.fixture
def sql(database: str) -> Callable[[str], None]:
    def execute(statement: str) -> None:
        with psycopg.connect(database) as connection:
            connection.execute(statement.encode())

    return execute


@pytest.fixture
def chosen_user() -> Callable[[], str | None]:
    """Whom `fastzero user use` chose in the default project."""

    def read() -> str | None:
        file = Path(os.environ["FASTZERO_HOME"]) / "projects" / "fastzero" / "user"
        return file.read_text().strip() or None if file.exists() else None

    return read


def records(result: Result) -> Any:
    """What a command printed with `-o json`."""
    assert result.code == 0, result.err
    return json.loads(result.out)


def with_login(url: str, username: str | None = None, password: str | None = None) -> str:
    """The URL for another user, or with another password."""
    return make_url(url).set(username=username, password=password).render_as_string(hide_password=False)
