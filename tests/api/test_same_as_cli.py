"""What the command line writes, HTTP reads, and the other way round; what one refuses, both do in the same words."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from .client import PASSWORD, Account, Client
from .conftest import ServeApp

pytestmark = pytest.mark.slow

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def app(serve_app: ServeApp, database_url: str) -> Client:
    return serve_app(database_url)


@pytest.fixture
def fastzero(database_url: str) -> Cli:
    """A command on the same database, with a password on its standard input."""

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "fastzero_cli", *words],
            env={**os.environ, "DATABASE_URL": database_url},
            input=f"{PASSWORD}\n",
            capture_output=True,
            text=True,
        )

    return run


def add_ana(fastzero: Cli) -> None:
    added = fastzero("user", "add", "ana", "--email", "ana@example.com", "--password-stdin")
    assert added.returncode == 0, added.stderr


def test_a_user_of_the_command_line_logs_in_over_http(app: Client, fastzero: Cli) -> None:
    add_ana(fastzero)
    assert app.log_in("ana@example.com").status == 200


def test_a_user_of_http_is_one_of_the_command_line(app: Client, fastzero: Cli) -> None:
    ana = app.sign_up("ana")
    shown = json.loads(fastzero("user", "show", "ana", "-o", "json").stdout)
    assert (shown["id"], shown["email"]) == (ana.id, ana.email)


def test_todos_are_the_same_in_both(app: Client, fastzero: Cli) -> None:
    add_ana(fastzero)
    token = app.token("ana")
    fastzero("todo", "add", "From the shell", "-d", "described", "-s", "doing")
    app.post("/todos/", {"title": "From HTTP"}, token)
    over_http = app.get("/todos/", token).json["todos"]
    in_the_shell = json.loads(fastzero("todo", "list", "--all", "-o", "json").stdout)
    assert [todo["title"] for todo in over_http] == ["From the shell", "From HTTP"]
    for one, other in zip(over_http, in_the_shell, strict=True):
        assert {name: one[name] for name in ("id", "title", "state")} == {
            name: other[name] for name in ("id", "title", "state")
        }


def test_another_password_from_the_shell_voids_tokens_of_http(app: Client, fastzero: Cli) -> None:
    ana: Account = app.sign_up("ana")
    assert fastzero("user", "passwd", "ana", "--password-stdin").returncode == 0
    assert app.get("/todos/", ana.token).status == 401


INVALID_TODOS: list[tuple[list[str], dict[str, Any]]] = [
    ([""], {"title": ""}),
    (["x" * 201], {"title": "x" * 201}),
    (["x", "-s", "later"], {"title": "x", "state": "later"}),
    (["x", "-d", "y" * 10_001], {"title": "x", "description": "y" * 10_001}),
]


@pytest.mark.parametrize(("words", "body"), INVALID_TODOS)
def test_an_invalid_todo_is_refused_in_the_same_words(
    words: list[str], body: dict[str, Any], app: Client, fastzero: Cli
) -> None:
    ana = app.sign_up("ana")
    (error,) = app.post("/todos/", body, ana.token).detail
    assert fastzero("todo", "add", *words).stderr.startswith(f"Error: {error['msg']}")


@pytest.mark.parametrize(
    ("name", "email"),
    [("a b", "a@example.com"), ("7", "a@example.com"), ("x" * 51, "a@example.com"), ("ana", "nowhere")],
)
def test_an_invalid_user_is_refused_in_the_same_words(name: str, email: str, app: Client, fastzero: Cli) -> None:
    (error,) = app.post("/users/", {"username": name, "email": email, "password": PASSWORD}).detail
    refused = fastzero("user", "add", name, "--email", email, "--password-stdin")
    assert refused.stderr.startswith(f"Error: {error['msg']}")
