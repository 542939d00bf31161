"""Suggest values for the completion of shells. Silent and fast: on any error, suggests nothing."""

import functools
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar

import typer

from .layout import printable

if TYPE_CHECKING:
    from fastzero_core.todo_app.fastzero import FastZero
    from fastzero_core.todo_app.models import Todo
    from fastzero_core.todo_app.todos import Todos

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE = 1  # seconds
MOST = 50

# The characters of valid names and ids. A hostile database or folder may contain others, which a shell would run.
_NAME = re.compile(r"[\w.+][\w.+-]{0,99}")
_ID = re.compile(r"[0-9]{1,19}")
# Shells evaluate the output of Typer's scripts, and Rich reads brackets as markup. Fullwidth forms are safe in both.
_HARMLESS = {ord(character): ord(character) + 0xFEE0 for character in "\\`$\"'[]"}


def _quietly(complete: Callable[P, list[T]]) -> Callable[P, list[T]]:
    """Make a completion return an empty list on any error. It runs at every press of a key, and must not print."""

    @functools.wraps(complete)
    def attempt(*arguments: P.args, **options: P.kwargs) -> list[T]:
        try:
            return complete(*arguments, **options)
        except Exception:
            return []

    return attempt


def _give_up(*_: object) -> NoReturn:
    raise TimeoutError


def servers(incomplete: str) -> list[str]:
    from fastzero_core.ha.configuration import SERVER, names

    return [name for name in names(SERVER) if name.startswith(incomplete)]


def states(incomplete: str) -> list[str]:
    from fastzero_core.todo_app.models import TodoState

    return [state for state in TodoState if state.startswith(incomplete)]


def sorts(incomplete: str) -> list[str]:
    from fastzero_core.todo_app.models import TodoSort

    return [sort for sort in TodoSort if sort.startswith(incomplete)]


def priorities(incomplete: str) -> list[str]:
    from fastzero_core.todo_app.models import Priority

    return [priority for priority in Priority if priority.startswith(incomplete)]


def dates(incomplete: str) -> list[str]:
    return [word for word in ("today", "tomorrow", "+3d", "+1w", "none") if word.startswith(incomplete)]


@_quietly
def tags(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    given = _given(ctx)
    with _database(given) as fz:
        found = fz.todos(_user(given), list=given.get("in_list")).stats(days=1).by_tag
        return [(tag, f"{count} todos") for tag, count in found.items() if _is_offered(tag, incomplete)]


@_quietly
def lists(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    from fastzero_core.todo_app.models import INBOX

    given = _given(ctx)
    with _database(given) as fz:
        user = fz.users.get(_user(given)) if _user(given) else fz.users.only()
        own = [(INBOX, "")]
        for each in fz.lists(user).list():
            is_own = each.user_id == user.id
            own.append((each.name, "") if is_own else (f"{each.owner}/{each.name}", each.role.value))
        return [(key, role) for key, role in own if key.startswith(incomplete) and _is_harmless(key)]


def _is_harmless(key: str) -> bool:
    owner, separator, name = key.partition("/")
    return all(_NAME.fullmatch(part) for part in ((owner, name) if separator else (owner,)))


def _user(given: dict[str, Any]) -> Any:
    return given.get("user") or given["settings"].user or given["chosen"]


@_quietly
def project_names(incomplete: str) -> list[str]:
    from fastzero_core.project import projects
    from fastzero_core.settings import PROJECT_NAME, load_settings

    names = [project.name for project in projects(load_settings().home)]
    return [name for name in names if name.startswith(incomplete) and PROJECT_NAME.fullmatch(name)]


@_quietly
def usernames(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    with _database(_given(ctx)) as fz:
        users = (user for user in fz.users.stream() if _is_offered(user.username, incomplete))
        return [(user.username, _help(user.email)) for user in islice(users, MOST)]


@_quietly
def backups(ctx: typer.Context, incomplete: str) -> list[str]:
    from fastzero_core.care import database_of

    found = database_of(_given(ctx)["settings"]).backups()
    return [backup.name for backup in reversed(found) if _is_offered(backup.name, incomplete)]


@_quietly
def services(ctx: typer.Context, incomplete: str) -> list[str]:
    from fastzero_core.project import project_of
    from fastzero_core.stack.spec import APP_SERVICE, DATABASE_SERVICE

    record = project_of(_given(ctx)["settings"]).record
    processes = record.processes if record else (APP_SERVICE,)
    several = servers("") if record and record.members else []
    return [name for name in (DATABASE_SERVICE, *several, *processes) if _is_offered(name, incomplete)]


@_quietly
def revisions(incomplete: str) -> list[str]:
    from fastzero_core.schema.revisions import names

    return [name for name in ("head", "base", *reversed(names())) if _is_offered(name, incomplete)]


@_quietly
def places(ctx: typer.Context, incomplete: str) -> list[str]:
    from fastzero_core.project import project_of

    record = project_of(_given(ctx)["settings"]).record
    kept = record.kept if record else ()
    return [place.name for place in kept if _is_offered(place.name, incomplete)]


@_quietly
def todo_ids(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    given = _given(ctx)
    with _database(given) as fz:
        todos = fz.todos(_user(given), list=given.get("in_list"))
        found = _beginning_with(todos, incomplete) if incomplete else todos.list(descending=True, limit=MOST)
        return [(str(todo.id), _help(todo.title)) for todo in islice(found, MOST) if _ID.fullmatch(str(todo.id))]


def _beginning_with(todos: "Todos", digits: str) -> "Iterator[Todo]":
    """Yield the todos whose ids begin with these digits, newest first: 4200–4299, 420–429, 42, each from its end."""
    from fastzero_core.todo_app.validate import BIGINT_MAX

    for more in range(len(str(BIGINT_MAX)) - len(digits), -1, -1):
        first, beyond = int(digits) * 10**more, (int(digits) + 1) * 10**more
        page = todos.list(descending=True, after=beyond, limit=MOST) if beyond <= BIGINT_MAX else []
        yield from (todo for todo in page if todo.id >= first)


def _is_offered(name: str, incomplete: str) -> bool:
    """Return whether a name begins with `incomplete`, and is not evaluated by a shell or read as an option."""
    return name.startswith(incomplete) and _NAME.fullmatch(name) is not None


def _help(text: str) -> str:
    # Typer formats help texts with Rich, which would wrap long ones: shells read each line as a suggestion.
    os.environ.setdefault("TERMINAL_WIDTH", "1000")
    return printable(text).translate(_HARMLESS)


def _given(ctx: typer.Context) -> dict[str, Any]:
    """Return the options typed so far, on every level, with the settings and the chosen user that result from them."""
    from fastzero_core.project import project_of
    from fastzero_core.settings import load_settings

    given: dict[str, Any] = {}
    level: Any = ctx
    while level is not None:
        given = {**{name: value for name, value in level.params.items() if value is not None}, **given}
        level = level.parent
    settings = load_settings(project=given.get("project"), database_url=given.get("database_url"))
    return {**given, "settings": settings, "chosen": project_of(settings).current_user}


@contextmanager
def _database(given: dict[str, Any]) -> "Iterator[FastZero]":
    from fastzero_core.project import database_url
    from fastzero_core.todo_app.fastzero import FastZero

    # Not every wait has its own timeout: a server may accept a connection and never answer.
    signal.signal(signal.SIGALRM, _give_up)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        with FastZero(database_url(given["settings"]), autocommit=True) as fz:
            yield fz
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
