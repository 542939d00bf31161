"""What the command line writes, HTTP reads, and the other way round; what one refuses, both do in the same words."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.cli.conftest import fastzero as fastzero
from tests.cli.shell import Result

from .client import PASSWORD, Account, Client
from .conftest import ServeApp

Cli = Callable[..., Result]


@pytest.fixture
def app(serve_app: ServeApp, database_url: str) -> Client:
    return serve_app(database_url)


@pytest.fixture
def cli(fastzero: Run, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """A command on the same database, with a password on its standard input."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    return lambda *words: fastzero(*words, stdin=f"{PASSWORD}\n")


def add_ana(cli: Cli) -> None:
    added = cli("user", "add", "ana", "--email", "ana@example.com", "--password-stdin")
    assert added.code == 0, added.err


def test_a_user_of_the_command_line_logs_in_over_http(app: Client, cli: Cli) -> None:
    add_ana(cli)
    assert app.log_in("ana@example.com").status == 200


def test_a_user_of_http_is_one_of_the_command_line(app: Client, cli: Cli) -> None:
    ana = app.sign_up("ana")
    shown = json.loads(cli("user", "show", "ana", "-o", "json").out)
    assert (shown["id"], shown["email"]) == (ana.id, ana.email)


def test_todos_are_the_same_in_both(app: Client, cli: Cli) -> None:
    add_ana(cli)
    token = app.token("ana")
    cli("todo", "add", "From the shell", "-d", "described", "-s", "doing")
    app.post("/todos/", {"title": "From HTTP"}, token)
    over_http = app.get("/todos/", token).json["todos"]
    in_the_shell = json.loads(cli("todo", "list", "--all", "-o", "json").out)
    assert [todo["title"] for todo in over_http] == ["From the shell", "From HTTP"]
    for one, other in zip(over_http, in_the_shell, strict=True):
        assert {name: one[name] for name in ("id", "title", "state")} == {
            name: other[name] for name in ("id", "title", "state")
        }


def test_another_password_from_the_shell_voids_tokens_of_http(app: Client, cli: Cli) -> None:
    ana: Account = app.sign_up("ana")
    assert cli("user", "passwd", "ana", "--password-stdin").code == 0
    assert app.get("/todos/", ana.token).status == 401


INVALID_TODOS: list[tuple[list[str], dict[str, Any]]] = [
    ([""], {"title": ""}),
    (["x" * 201], {"title": "x" * 201}),
    (["x", "-s", "later"], {"title": "x", "state": "later"}),
    (["x", "-d", "y" * 10_001], {"title": "x", "description": "y" * 10_001}),
]


@pytest.mark.parametrize(("words", "body"), INVALID_TODOS)
def test_an_invalid_todo_is_refused_in_the_same_words(
    words: list[str], body: dict[str, Any], app: Client, cli: Cli
) -> None:
    ana = app.sign_up("ana")
    (error,) = app.post("/todos/", body, ana.token).detail
    assert cli("todo", "add", *words).err.startswith(f"Error: {error['msg']}")


@pytest.mark.parametrize(
    ("name", "email"),
    [("a b", "a@example.com"), ("7", "a@example.com"), ("x" * 51, "a@example.com"), ("ana", "nowhere")],
)
def test_an_invalid_user_is_refused_in_the_same_words(name: str, email: str, app: Client, cli: Cli) -> None:
    (error,) = app.post("/users/", {"username": name, "email": email, "password": PASSWORD}).detail
    refused = cli("user", "add", name, "--email", email, "--password-stdin")
    assert refused.err.startswith(f"Error: {error['msg']}")
