"""The options and arguments of `fastzero todo`: whose todos, which ones, and the filters of all commands."""

import functools
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from fastzero_core.errors import InvalidInputError
from fastzero_core.todo_app.models import Priority, TodoFilters, TodoState
from fastzero_core.todo_app.validate import BULK_MAX

from . import completion
from .columns import TODO
from .options import Run
from .style import counted

if TYPE_CHECKING:
    from fastzero_core import FastZero, Todo
    from fastzero_core.todo_app.todos import Todos

T = TypeVar("T")

RANGE_MAX = 10_000_000  # ids of one range, which is kept in memory
SHOWN = [state for state in TodoState if state is not TodoState.TRASH]
WHEN = "such as fri, +3d, 2026-12-24 or '2026-12-24 18:00'"

User = Annotated[
    str | None,
    typer.Option(
        "-u",
        "--user",
        metavar="NAME",
        help="Whose todos: a username, e-mail address or id.",
        autocompletion=completion.usernames,
    ),
]
_LIST = "your list, inbox, or OWNER/NAME for a shared one."


def list_option(*names: str, help: str) -> Any:
    return typer.Option(*names, metavar="LIST", help=help, autocompletion=completion.lists)


InList = Annotated[str | None, list_option("-l", "--list", help=f"The list: {_LIST}")]
WhereList = Annotated[str | None, list_option("--where-list", help=f"Only in this list: {_LIST}")]
ToList = Annotated[str | None, list_option("-l", "--list", help="The list to move to: an own one, or inbox.")]
Ids = Annotated[
    list[str],
    typer.Argument(
        metavar="ID",
        help="Ids as `3 5-9`, or - to read them from standard input.",
        autocompletion=completion.todo_ids,
    ),
]
IdsOrFilters = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ID",
        help="Ids as `3 5-9`, or - to read them from standard input. Without ids, filters select the todos.",
        autocompletion=completion.todo_ids,
    ),
]
Description = Annotated[str | None, typer.Option("-d", "--description", metavar="TEXT", help="More about the todo.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show which todos match the filters, and change nothing.")]
Due = Annotated[
    str | None,
    typer.Option(
        "--due", metavar="WHEN", help=f"When it is due, {WHEN}; none for never.", autocompletion=completion.dates
    ),
]


def state_option(*names: str, help: str = "") -> Any:
    return typer.Option(*names, metavar="STATE", help=help + " | ".join(TodoState), autocompletion=completion.states)


def priority_option(*names: str, help: str = "") -> Any:
    return typer.Option(*names, metavar="LEVEL", help=help + " | ".join(Priority), autocompletion=completion.priorities)


def tag_option(*names: str, help: str) -> Any:
    return typer.Option(*names, metavar="TAG", help=help, autocompletion=completion.tags)


def _moment_option(name: str, help: str) -> Any:
    return typer.Option(name, metavar="WHEN", help=help, autocompletion=completion.dates)


_FILTERS: dict[str, Any] = {
    "states": Annotated[list[str] | None, state_option("-s", "--state", help="May repeat; without it all but trash: ")],
    "priorities": Annotated[list[str] | None, priority_option("--priority", help="May repeat: ")],
    "tags": Annotated[list[str] | None, tag_option("--tag", help="Only with this tag; may repeat for all of them.")],
    "text": Annotated[
        str | None, typer.Option("-t", "--text", metavar="TEXT", help="In title or description, in any case.")
    ],
    "overdue": Annotated[bool, typer.Option("--overdue", help="Only open todos that should be done by now.")],
    "due_before": Annotated[str | None, _moment_option("--due-before", f"Due before a day or time, {WHEN}.")],
    "due_after": Annotated[str | None, _moment_option("--due-after", "Due after a day or time.")],
    "created_before": Annotated[str | None, _moment_option("--created-before", "Created before a day or time.")],
    "created_after": Annotated[str | None, _moment_option("--created-after", "Created after a day or time.")],
}


def with_filters(*, renamed: bool = False) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the options of the filters to a command, which gets those that are given as `where`.

    With `renamed`, two of them have other names, since the command has options with theirs.
    """
    options = {**_FILTERS, **(_RENAMED if renamed else {})}

    def add(function: Callable[..., None]) -> Callable[..., None]:
        own = [each for each in inspect.signature(function).parameters.values() if each.name != "where"]

        @functools.wraps(function)
        def command(*arguments: Any, **named: Any) -> None:
            given = {name: named.pop(name) for name in options}
            where = TodoFilters(**{name: value for name, value in given.items() if value})  # type: ignore[typeddict-item]
            function(*arguments, **named, where=where)

        keyword = inspect.Parameter.KEYWORD_ONLY
        filters = [
            inspect.Parameter(name, keyword, default=False if name == "overdue" else None, annotation=kind)
            for name, kind in options.items()
        ]
        first, *rest = own
        parameters = [first, *(each.replace(kind=keyword) for each in rest), *filters]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return command

    return add


_RENAMED: dict[str, Any] = {
    "states": Annotated[
        list[str] | None,
        state_option("--where-state", help="Only in this state; may repeat; without it all but trash: "),
    ],
    "priorities": Annotated[
        list[str] | None, priority_option("--where-priority", help="Only of this priority; may repeat: ")
    ],
}


def whose(run: Run, user: str | None) -> str | None:
    """Return the named user, else the configured one or the chosen one; None for the only one."""
    from fastzero_core.project import project_of

    if user is not None:
        return user
    return run.settings.user or project_of(run.settings).current_user


def owned(run: Run, fz: "FastZero", user: str | None, in_list: str | None = None) -> "Todos":
    """Return the todos of a user, or of one of the user's lists."""
    return fz.todos(whose(run, user), list=in_list)


def one_id(*words: str) -> int:
    ids = parse_ids(words)
    if len(ids) != 1:
        raise InvalidInputError("one id is wanted here", field="id")
    return ids[0]


def parse_ids(words: Iterable[str]) -> list[int]:
    """Return the ids in words such as `3` and `5-9`; `-` means the words of standard input, which may be empty."""
    ids: list[int] = []
    for word in words:
        ids += parse_ids(sys.stdin.read().split()) if word == "-" else _parse_range(word)
    return ids


def _parse_range(word: str) -> Iterable[int]:
    match = re.fullmatch(r"(\d{1,20})(?:-(\d{1,20}))?", word, re.ASCII)
    if not match:
        hint = (
            "Separate ids with spaces: 3 5-9"
            if "," in word
            else "Use a number, or a range as 5-9; quote text of many words"
        )
        raise InvalidInputError(f"invalid id {word!r}", field="id", hint=hint)
    first = int(match[1])
    last = int(match[2] or first)
    if not 0 <= last - first < RANGE_MAX:
        raise InvalidInputError(
            f"invalid range {word!r}", field="id", hint=f"Give the smaller id first, and at most {RANGE_MAX:,} ids"
        )
    return range(first, last + 1)


def tell(run: Run, todos: "Sequence[Todo]", verb: str, title: str = "") -> None:
    """Print what happened to todos: one with its id and title, several with their number."""
    if not todos and run.render.output == "table":
        run.render.message("Nothing to do: standard input was empty.")
    elif len(todos) == 1:
        run.render.changed(todos, TODO, f"Todo {todos[0].id} {verb}", title or todos[0].title)
    else:
        run.render.changed(todos, TODO, f"{counted(len(todos), 'todo')} {verb}")


def batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Return batches of at most BULK_MAX items, the limit of one statement. All of them run in one transaction."""
    return (items[first : first + BULK_MAX] for first in range(0, len(items), BULK_MAX))
