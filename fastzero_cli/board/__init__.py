"""fastzero todo board: a full-screen board. Only the command itself imports Textual, an optional package."""

import os
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

from fastzero_core.errors import DependenciesMissingError, InvalidInputError
from fastzero_core.todo_app.models import TodoFilters

from ..options import Run
from ..style import has_color
from ..todo_options import SHOWN, InList, User, whose, with_filters
from ..tree import Group

if TYPE_CHECKING:
    from .app import BoardApp
    from .store import Store

group = Group("board")


@group.command(example="fastzero todo board\nfastzero todo board --tag work")
@with_filters()
def board(
    run: Run,
    all: Annotated[bool, typer.Option("-a", "--all", help="Include the trash.")] = False,
    user: User = None,
    in_list: InList = None,
    *,
    where: TodoFilters,
) -> None:
    """Show a full-screen board, to add, edit and move todos by keys.

    Press ? for the keys. Changes from elsewhere appear within two seconds. It needs `pip install 'fastzero[tui]'`.
    """
    _require_terminal(run)
    filters = TodoFilters(**{"states": None if all else SHOWN, **where})
    app = _app(*_store(run, user, in_list, filters))
    app.run()
    if app.failure:
        raise app.failure
    if app.return_code:
        raise SystemExit(app.return_code)


def _require_terminal(run: Run) -> None:
    """Raise DependenciesMissingError without Textual, and InvalidInputError unless a person is at a terminal."""
    if not find_spec("textual"):
        raise DependenciesMissingError("the board needs Textual", hint="Install it: pip install 'fastzero[tui]'")
    streams = (sys.stdin, sys.stdout, sys.stderr)
    if run.settings.no_input or os.environ.get("TERM") == "dumb" or not all(each.isatty() for each in streams):
        raise InvalidInputError("the board needs a terminal", field="board", hint="Use: fastzero todo list --board")


def _store(run: Run, user: str | None, in_list: str | None, filters: TodoFilters) -> "tuple[Store, str]":
    """Return the access to the todos of a user, and the username. Raises their errors before the screen is taken."""
    from .store import Store

    with run.fastzero(autocommit=True) as fz:
        name = whose(run, user)
        owner = fz.users.only() if name is None else fz.users.get(name)
        fz.todos(owner, list=in_list)
    return Store(run.database_url, owner.id, filters, in_list=in_list), owner.username


def _app(store: "Store", username: str) -> "BoardApp":
    color = has_color(sys.stdout)
    os.environ.pop("NO_COLOR", None)  # an empty one means something to Textual
    if not color:
        os.environ["NO_COLOR"] = "1"
    from .app import BoardApp

    return BoardApp(store, username)
