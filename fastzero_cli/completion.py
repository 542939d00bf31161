"""What the shell may complete. Silent and quick: whatever fails, there is simply nothing to suggest."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import typer

from fastzero_core.models import TodoSort, TodoState

if TYPE_CHECKING:
    from fastzero_core.fastzero import FastZero

P = ParamSpec("P")
T = TypeVar("T")

CONNECT_TIMEOUT = 1  # seconds
MOST = 50


def _quietly(complete: Callable[P, list[T]]) -> Callable[P, list[T]]:
    """Completion runs at every press of a key: it may not print, and there is nobody to tell of an error."""

    @functools.wraps(complete)
    def attempt(*arguments: P.args, **options: P.kwargs) -> list[T]:
        try:
            return complete(*arguments, **options)
        except Exception:
            return []

    return attempt


def states(incomplete: str) -> list[str]:
    return [state for state in TodoState if state.startswith(incomplete)]


def sorts(incomplete: str) -> list[str]:
    return [sort for sort in TodoSort if sort.startswith(incomplete)]


@_quietly
def project_names(incomplete: str) -> list[str]:
    from fastzero_core.settings import load_settings
    from fastzero_core.stack.project import projects

    names = [project.name for project in projects(load_settings().home)]
    return [name for name in names if name.startswith(incomplete)]


@_quietly
def usernames(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    with _database(_given(ctx)) as fz:
        users = (user for user in fz.users.stream() if user.username.startswith(incomplete))
        return [(user.username, user.email) for user in islice(users, MOST)]


@_quietly
def todo_ids(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    given = _given(ctx)
    with _database(given) as fz:
        todos = fz.todos(given.get("user") or given["settings"].user or given["chosen"])
        newest = todos.list(descending=True, limit=MOST) if not incomplete else todos.stream(descending=True)
        fitting = (todo for todo in newest if str(todo.id).startswith(incomplete))
        return [(str(todo.id), todo.title) for todo in islice(fitting, MOST)]


def _given(ctx: typer.Context) -> dict[str, Any]:
    """The options typed so far, on every level, and what the settings make of them."""
    from fastzero_core.settings import load_settings
    from fastzero_core.stack.project import project_of

    given: dict[str, Any] = {}
    level: Any = ctx
    while level is not None:
        given = {**level.params, **given}
        level = level.parent
    settings = load_settings(project=given.get("project"), database_url=given.get("database_url"))
    return {**given, "settings": settings, "chosen": project_of(settings).current_user}


@contextmanager
def _database(given: dict[str, Any]) -> "Iterator[FastZero]":
    from fastzero_core import database
    from fastzero_core.fastzero import FastZero
    from fastzero_core.stack.project import database_url

    engine = database.create_engine(database_url(given["settings"]), connect_timeout=CONNECT_TIMEOUT)
    with FastZero(engine, autocommit=True) as fz:
        yield fz
