"""fastzero todo: the todos of one user."""

import re
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastzero_core.errors import InvalidInputError
from fastzero_core.events import Progress
from fastzero_core.todo_app import validate
from fastzero_core.todo_app.models import NewTodo, Priority, TodoState

from .columns import TODO
from .options import Run
from .todo_options import (
    Description,
    Due,
    Ids,
    InList,
    User,
    batches,
    owned,
    parse_ids,
    priority_option,
    state_option,
    tag_option,
    tell,
)
from .tree import Group

if TYPE_CHECKING:
    from fastzero_core import Todo
    from fastzero_core.todo_app.todos import Todos

group = Group(
    "todo",
    example="fastzero todo add 'Write the report' --due fri\nfastzero todo list\nfastzero todo done 1",
)

_NOT_UTF_8 = re.compile("[\udc80-\udcff]")  # how Python decodes bytes that are not UTF-8
Tags = Annotated[list[str] | None, tag_option("--tag", help="A tag; may repeat.")]


@group.command(
    example="fastzero todo add 'Write the report' --due fri --priority high --tag work\n"
    "cat titles.txt | fastzero todo add -",
)
def add(
    run: Run,
    title: Annotated[
        str,
        typer.Argument(
            metavar="TITLE|-", help="The title. - reads one title a line; put -- before one that starts with a dash."
        ),
    ],
    description: Description = None,
    state: Annotated[str, state_option("-s", "--state")] = TodoState.TODO.value,
    priority: Annotated[str, priority_option("--priority")] = Priority.NONE.value,
    due: Due = None,
    tag: Tags = None,
    user: User = None,
    in_list: InList = None,
) -> None:
    """Add a todo, or one for each line of standard input.

    With - each line of standard input is a title; all are added, or none.
    """
    titles = _titles() if title == "-" else []
    fields: Any = {
        "description": description or "",
        "state": state,
        "priority": priority,
        "due": due,
        "tags": tag or (),
    }
    with run.fastzero() as fz:
        todos = owned(run, fz, user, in_list)
        if title == "-":
            added = _add_many(run, todos, [NewTodo(each, **fields) for each in titles])
        else:
            added = [todos.add(title, **fields)]
    tell(run, added, "added", added[0].title if len(added) == 1 else "")


group.add_commands("todo_views", "list", "next", "stats")
group.add_commands("board", "board")
group.add_commands("history", "undo", "redo", "log")
group.add_commands("transfer", "import", "export")
group.add_commands("todo_changes", "edit", "tag", "move", "start", "done", "reopen", "trash", "restore", "purge")


@group.command(example="fastzero todo show 3\nfastzero todo show 3 5-9 -o json")
def show(run: Run, ids: Ids, user: User = None, in_list: InList = None) -> None:
    """Show todos with all their fields."""
    with run.fastzero(autocommit=True) as fz:
        todos = owned(run, fz, user, in_list)
        found = [todo for batch in batches(parse_ids(ids)) for todo in todos.get_many(batch)]
    if len(found) == 1:
        run.render.one(found[0], TODO)
    else:
        run.render.each(found, TODO)


def _add_many(run: Run, todos: "Todos", new: list[NewTodo]) -> "list[Todo]":
    """Add todos in one transaction, and show the progress."""
    added: list[Todo] = []
    for batch in batches(new) if new else [[]]:
        run.render.event(Progress("Adding todos", len(added), len(new), "todos"))
        added += todos.add_many(batch)
    return added


def _titles() -> list[str]:
    """Return a title for each line that is not blank. Raises InvalidInputError with the number of an invalid line."""
    titles = []
    for number, line in enumerate(sys.stdin.read().split("\n"), 1):
        if _NOT_UTF_8.search(line):
            raise InvalidInputError(f"line {number} is not UTF-8", field="title", hint="Convert it: iconv -t UTF-8")
        if line.strip():
            try:
                titles.append(validate.title(line))
            except InvalidInputError as error:
                raise InvalidInputError(f"line {number}: {error.message}", field="title") from None
    return titles
