"""fastzero todo: the todos of one user."""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from fastzero_core.errors import ConflictError, InvalidInputError
from fastzero_core.events import Progress
from fastzero_core.todo_app import validate
from fastzero_core.todo_app.models import NewTodo, TodoState
from fastzero_core.todo_app.validate import BULK_MAX

from . import completion
from .columns import TODO
from .options import Run, Yes
from .style import counted
from .tree import Group

if TYPE_CHECKING:
    from fastzero_core import FastZero, Todo
    from fastzero_core.todo_app.todos import Todos

group = Group(
    "todo",
    "Add, list and change todos.",
    example="fastzero todo add 'Write the report'\nfastzero todo list\nfastzero todo done 1",
)

BOARD_CARDS = 20
CLOSED = (TodoState.DONE, TodoState.TRASH)
RANGE_MAX = 10_000_000  # ids of one range, which is kept in memory
T = TypeVar("T")
_NOT_UTF_8 = re.compile("[\udc80-\udcff]")  # how Python decodes bytes that are not UTF-8
VERBS = {
    "draft": "moved to draft",
    "todo": "reopened",
    "doing": "started",
    "done": "done",
    "trash": "moved to the trash",
}
SHOWN = [state for state in TodoState if state is not TodoState.TRASH]

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
Ids = Annotated[
    list[str],
    typer.Argument(
        metavar="ID",
        help="Ids as `3 5-9`, or - to read them from standard input.",
        autocompletion=completion.todo_ids,
    ),
]
Id = Annotated[str, typer.Argument(metavar="ID", help="The todo's id.", autocompletion=completion.todo_ids)]
StateOption = Annotated[
    str, typer.Option("-s", "--state", metavar="STATE", help=" | ".join(TodoState), autocompletion=completion.states)
]
Description = Annotated[str | None, typer.Option("-d", "--description", metavar="TEXT", help="More about the todo.")]


@group.command(
    example="fastzero todo add 'Write the report' -d 'For Friday' -s doing\ncat titles.txt | fastzero todo add -",
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
    state: StateOption = TodoState.TODO.value,
    user: User = None,
) -> None:
    """Add a todo, or one for each line of standard input.

    With - each line of standard input is a title; all are added, or none.
    """
    titles = _titles() if title == "-" else []
    with run.fastzero() as fz:
        todos = owned(run, fz, user)
        if title == "-":
            added = _add_many(run, todos, [NewTodo(each, description or "", state) for each in titles])
        else:
            added = [todos.add(title, description=description or "", state=state)]
    _tell(run, added, "added", added[0].title if len(added) == 1 else "")


@group.command("list", example="fastzero todo list -s doing -s todo --text report\nfastzero todo list --board")
def list_(
    run: Run,
    state: Annotated[
        list[str] | None,
        typer.Option(
            "-s",
            "--state",
            metavar="STATE",
            help=" | ".join(TodoState) + "; may repeat. Without it all but trash.",
            autocompletion=completion.states,
        ),
    ] = None,
    all: Annotated[bool, typer.Option("-a", "--all", help="Include the trash.")] = False,
    text: Annotated[
        str | None, typer.Option("-t", "--text", metavar="TEXT", help="In title or description, in any case.")
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            "--sort",
            metavar="BY",
            help="id | created | updated | title; without it by id, on a terminal open todos first.",
            autocompletion=completion.sorts,
        ),
    ] = None,
    reverse: Annotated[bool, typer.Option("-r", "--reverse", help="Reverse the order.")] = False,
    after: Annotated[int | None, typer.Option("--after", metavar="ID", help="Start after this todo.")] = None,
    limit: Annotated[int | None, typer.Option("-n", "--limit", metavar="N", help="Maximum number to show.")] = None,
    board: Annotated[bool, typer.Option("--board", help="Show the states as columns.")] = False,
    user: User = None,
) -> None:
    """List todos."""
    states = state or (None if all else SHOWN)
    filters: dict[str, Any] = {"text": text, "sort": sort or "id", "descending": reverse, "after": after}
    with run.fastzero(autocommit=True) as fz:
        todos = owned(run, fz, user)
        if board and run.settings.output in (None, "table"):
            run.render.board(_board(todos, states or list(TodoState), filters, limit or BOARD_CARDS))
        elif run.render.output == "table" and not (sort or reverse or after):
            _list_open_first(run, todos, states or list(TodoState), text, limit)
        elif limit is not None:
            run.render.many(todos.list(states=states, limit=limit, **filters), TODO)
        else:
            run.render.many(todos.stream(states=states, **filters), TODO, paged=True)


@group.command(example="fastzero todo show 3\nfastzero todo show 3 5-9 -o json")
def show(run: Run, ids: Ids, user: User = None) -> None:
    """Show todos with all their fields."""
    with run.fastzero(autocommit=True) as fz:
        todos = owned(run, fz, user)
        found = [todo for batch in _batches(parse_ids(ids)) for todo in todos.get_many(batch)]
    if len(found) == 1:
        run.render.one(found[0], TODO)
    else:
        run.render.each(found, TODO)


@group.command(example="fastzero todo edit 3 --title 'Write the whole report'")
def edit(
    run: Run,
    id: Id,
    title: Annotated[str | None, typer.Option("--title", metavar="TEXT", help="The new title.")] = None,
    description: Description = None,
    state: Annotated[
        str | None,
        typer.Option("-s", "--state", metavar="STATE", help=" | ".join(TodoState), autocompletion=completion.states),
    ] = None,
    user: User = None,
) -> None:
    """Change a todo's title, description or state."""
    with run.fastzero() as fz:
        todo = owned(run, fz, user).edit(one_id(id), title=title, description=description, state=state)
    _tell(run, [todo], "changed", todo.title)


@group.command(example="fastzero todo move 3 5-9 --to doing")
def move(
    run: Run,
    ids: Ids,
    to: Annotated[
        str, typer.Option("--to", metavar="STATE", help=" | ".join(TodoState), autocompletion=completion.states)
    ],
    user: User = None,
) -> None:
    """Move todos to a state, all or none."""
    _move(run, ids, user, to)


@group.command(example="fastzero todo start 3")
def start(run: Run, ids: Ids, user: User = None) -> None:
    """Start todos: move them to doing."""
    _move(run, ids, user, TodoState.DOING)


@group.command(example="fastzero todo done 3 5-9\nfastzero todo list --text report -o ids | fastzero todo done -")
def done(run: Run, ids: Ids, user: User = None) -> None:
    """Complete todos: move them to done."""
    _move(run, ids, user, TodoState.DONE)


@group.command(example="fastzero todo reopen 3")
def reopen(run: Run, ids: Ids, user: User = None) -> None:
    """Reopen todos: move them back to todo."""
    _move(run, ids, user, TodoState.TODO)


@group.command(example="fastzero todo trash 3")
def trash(run: Run, ids: Ids, user: User = None) -> None:
    """Move todos to the trash.

    `restore` takes them out again.
    """
    _move(run, ids, user, TodoState.TRASH)


@group.command(example="fastzero todo restore 3")
def restore(
    run: Run,
    ids: Ids,
    to: Annotated[
        str, typer.Option("--to", metavar="STATE", help=" | ".join(TodoState), autocompletion=completion.states)
    ] = TodoState.TODO.value,
    user: User = None,
) -> None:
    """Take todos out of the trash.

    Those that are not in it stay as they are.
    """
    wanted = parse_ids(ids)
    with run.fastzero() as fz:
        todos = owned(run, fz, user)
        restored = [todo for batch in _batches(wanted) for todo in todos.restore(*batch, to=to)]
    _tell(run, restored, "restored")


@group.command(example="fastzero todo purge 3\nfastzero todo purge --yes")
def purge(
    run: Run,
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", help="Ids as `3 5-9`, or - for standard input; without any, the whole trash."),
    ] = None,
    yes: Yes = False,
    user: User = None,
) -> None:
    """Permanently delete todos in the trash."""
    wanted = list(dict.fromkeys(parse_ids(ids or [])))
    if ids and not wanted:
        raise InvalidInputError("no id given", field="id", hint="Without any id at all, the whole trash is purged")
    database = run.doomed
    with run.fastzero(autocommit=True) as fz:
        todos = owned(run, fz, user)
        for batch in _batches(wanted):
            todos.require_trashed(*batch)
        count = len(wanted) or todos.count([TodoState.TRASH])
    if count:
        run.confirm(
            lambda: f"In {database.description}: {counted(count, 'todo')} in the trash will be permanently deleted.",
            yes,
        )
    with run.fastzero() as fz:
        todos = owned(run, fz, user)
        purged = sum(todos.purge(*batch) for batch in _batches(wanted)) if wanted else todos.purge()
        if purged != count and not yes:
            raise ConflictError(f"the trash has {counted(purged, 'todo')} now, not {count}", hint="Nothing was deleted")
    run.render.proof({"purged": purged}, (), f"{counted(purged, 'todo')} permanently deleted")


def owned(run: Run, fz: "FastZero", user: str | None) -> "Todos":
    """Return the todos of the named user, else of the configured one, the chosen one, or the only one."""
    from fastzero_core.project import project_of

    if user is not None:
        return fz.todos(user)
    return fz.todos(run.settings.user or project_of(run.settings).current_user)


def one_id(text: str) -> int:
    ids = parse_ids([text])
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
        hint = "Separate ids with spaces: 3 5-9" if "," in word else "Use a number, or a range as 5-9"
        raise InvalidInputError(f"invalid id {word!r}", field="id", hint=hint)
    first = int(match[1])
    last = int(match[2] or first)
    if not 0 <= last - first < RANGE_MAX:
        raise InvalidInputError(
            f"invalid range {word!r}", field="id", hint=f"Give the smaller id first, and at most {RANGE_MAX:,} ids"
        )
    return range(first, last + 1)


def _move(run: Run, ids: list[str], user: str | None, state: str) -> None:
    wanted = parse_ids(ids)
    with run.fastzero() as fz:
        todos = owned(run, fz, user)
        moved = [todo for batch in _batches(wanted) for todo in todos.move(*batch, to=state)]
    _tell(run, moved, VERBS[str(state)])


def _tell(run: Run, todos: "Sequence[Todo]", verb: str, title: str = "") -> None:
    """Print what happened to todos: one with its id and title, several with their number."""
    if not todos and run.render.output == "table":
        run.render.message("Nothing to do: standard input was empty.")
    elif len(todos) == 1:
        run.render.changed(todos, TODO, f"Todo {todos[0].id} {verb}", title or todos[0].title)
    else:
        run.render.changed(todos, TODO, f"{counted(len(todos), 'todo')} {verb}")


def _add_many(run: Run, todos: "Todos", new: list[NewTodo]) -> "list[Todo]":
    """Add todos in one transaction, and show the progress."""
    added: list[Todo] = []
    for batch in _batches(new) if new else [[]]:
        run.render.event(Progress("Adding todos", len(added), len(new), "todos"))
        added += todos.add_many(batch)
    return added


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Return batches of at most BULK_MAX items, the limit of one statement. All of them run in one transaction."""
    return (items[first : first + BULK_MAX] for first in range(0, len(items), BULK_MAX))


def _list_open_first(run: Run, todos: "Todos", states: Sequence[str], text: str | None, limit: int | None) -> None:
    """List open todos before closed ones, and print how many `limit` left out."""
    shown = 0

    def counted_rows() -> "Iterator[Todo]":
        nonlocal shown
        groups = [[each for each in states if (each in CLOSED) is closed] for closed in (False, True)]
        rows = chain.from_iterable(todos.stream(states=group, text=text) for group in groups if group)
        for shown, todo in enumerate(islice(rows, limit), 1):  # noqa: B007
            yield todo

    run.render.many(counted_rows(), TODO, paged=True)
    if limit is not None and (more := todos.count(states, text=text) - shown) > 0:
        run.render.message(f"… and {more:,} more")


def _board(
    todos: "Todos", states: Iterable[str], filters: dict[str, Any], limit: int
) -> dict[str, tuple[list[str], int]]:
    columns = {}
    for state in states:
        cards = todos.list(states=[state], limit=limit, **filters)
        more = todos.count([state], text=filters["text"]) - limit if len(cards) == limit else 0
        columns[str(state)] = ([f"{todo.id} {todo.title}" for todo in cards], more)
    return columns


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
