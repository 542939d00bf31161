"""fastzero todo: the todos of one user."""

import re
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastzero_core.errors import ConflictError, InvalidInputError
from fastzero_core.todo_app import validate
from fastzero_core.todo_app.models import NewTodo, TodoState
from fastzero_core.todo_app.validate import BULK_MAX

from . import completion
from .columns import TODO
from .options import Run, Yes
from .style import counted
from .tree import Group

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastzero_core import FastZero, Todo
    from fastzero_core.todo_app.todos import Todos

group = Group(
    "todo",
    "Add, list and change todos.",
    example="fastzero todo add 'Write the report'\nfastzero todo list\nfastzero todo done 1",
)

BOARD_CARDS = 20
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
Description = Annotated[
    str | None, typer.Option("-d", "--description", metavar="TEXT", help="What there is to say beyond the title.")
]


@group.command(
    example="fastzero todo add 'Write the report' -d 'For Friday' -s doing\ncat titles.txt | fastzero todo add -",
)
def add(
    run: Run,
    title: Annotated[
        str,
        typer.Argument(metavar="TITLE|-", help="The title; - reads one a line; behind -- it may begin with a dash."),
    ],
    description: Description = None,
    state: StateOption = TodoState.TODO.value,
    user: User = None,
) -> None:
    """Add a todo, or one a line.

    With - each line of standard input is a title; all are added, or none.
    """
    titles = _titles() if title == "-" else []
    with run.fastzero() as fz:
        todos = owned(run, fz, user)
        if title == "-":
            added = todos.add_many(NewTodo(each, description or "", state) for each in titles)
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
    all: Annotated[bool, typer.Option("-a", "--all", help="With the trash.")] = False,
    text: Annotated[
        str | None, typer.Option("-t", "--text", metavar="TEXT", help="In title or description, in any case.")
    ] = None,
    sort: Annotated[
        str,
        typer.Option("--sort", metavar="BY", help="id | created | updated | title", autocompletion=completion.sorts),
    ] = "id",
    reverse: Annotated[bool, typer.Option("-r", "--reverse", help="Descending.")] = False,
    after: Annotated[int | None, typer.Option("--after", metavar="ID", help="Begin behind this todo.")] = None,
    limit: Annotated[int | None, typer.Option("-n", "--limit", metavar="N", help="At most so many.")] = None,
    board: Annotated[bool, typer.Option("--board", help="The states as columns.")] = False,
    user: User = None,
) -> None:
    """List todos."""
    states = state or (None if all else SHOWN)
    filters: dict[str, Any] = {"text": text, "sort": sort, "descending": reverse, "after": after}
    with run.fastzero(autocommit=True) as fz:
        todos = owned(run, fz, user)
        if board and run.settings.output in (None, "table"):
            run.render.board(_board(todos, states or list(TodoState), filters, limit or BOARD_CARDS))
        elif limit is not None:
            run.render.many(todos.list(states=states, limit=limit, **filters), TODO)
        else:
            run.render.many(todos.stream(states=states, **filters), TODO)


@group.command(example="fastzero todo show 3\nfastzero todo show 3 5-9 -o json")
def show(run: Run, ids: Ids, user: User = None) -> None:
    """Show todos with all their fields."""
    with run.fastzero(autocommit=True) as fz:
        found = owned(run, fz, user).get_many(parse_ids(ids))
    if len(found) == 1:
        run.render.one(found[0], TODO)
    else:
        run.render.many(found, TODO)


@group.command(example="fastzero todo edit 3 --title 'Write the whole report'")
def edit(
    run: Run,
    id: Id,
    title: Annotated[str | None, typer.Option("--title", metavar="TEXT", help="The new title.")] = None,
    description: Description = None,
    user: User = None,
) -> None:
    """Change a todo's title or description."""
    with run.fastzero() as fz:
        todo = owned(run, fz, user).edit(one_id(id), title=title, description=description)
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
    """Bring todos into a state, all or none."""
    _move(run, ids, user, to)


@group.command(example="fastzero todo start 3")
def start(run: Run, ids: Ids, user: User = None) -> None:
    """Bring todos into the state doing."""
    _move(run, ids, user, TodoState.DOING)


@group.command(example="fastzero todo done 3 5-9\nfastzero todo list --text report -o ids | fastzero todo done -")
def done(run: Run, ids: Ids, user: User = None) -> None:
    """Bring todos into the state done."""
    _move(run, ids, user, TodoState.DONE)


@group.command(example="fastzero todo reopen 3")
def reopen(run: Run, ids: Ids, user: User = None) -> None:
    """Bring todos back into the state todo."""
    _move(run, ids, user, TodoState.TODO)


@group.command(example="fastzero todo trash 3")
def trash(run: Run, ids: Ids, user: User = None) -> None:
    """Move todos to the trash.

    `restore` brings them back.
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
        restored = owned(run, fz, user).restore(*wanted, to=to) if wanted else []
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
    wanted = parse_ids(ids or [])
    if ids and not wanted:
        raise InvalidInputError("no id given", field="id", hint="Without any id at all, the whole trash is purged")
    database = run.doomed
    with run.fastzero(autocommit=True) as fz:
        count = len(set(wanted)) or owned(run, fz, user).count([TodoState.TRASH])
    if count:
        run.confirm(
            lambda: f"In {database.description}: {counted(count, 'todo')} in the trash will be permanently deleted.",
            yes,
        )
    with run.fastzero() as fz:
        purged = owned(run, fz, user).purge(*wanted)
        if purged != count and not yes:
            raise ConflictError(f"the trash has {counted(purged, 'todo')} now, not {count}", hint="Nothing was deleted")
    run.render.proof({"purged": purged}, (), f"{counted(purged, 'todo')} permanently deleted")


def owned(run: Run, fz: "FastZero", user: str | None) -> "Todos":
    """The todos of the named user, of the configured one, of the chosen one, or of the only one."""
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
    """Ids from words as `3` and `5-9`; `-` stands for the words of standard input, of which there may be none."""
    ids: list[int] = []
    for word in words:
        ids += parse_ids(sys.stdin.read().split()) if word == "-" else _parse_range(word)
    return ids


def _parse_range(word: str) -> Iterable[int]:
    match = re.fullmatch(r"(\d{1,20})(?:-(\d{1,20}))?", word, re.ASCII)
    if not match:
        raise InvalidInputError(f"{word!r} is no id", field="id", hint="Ids look like 3, or 5-9 for a range")
    first = int(match[1])
    last = int(match[2] or first)
    if not 0 <= last - first < BULK_MAX:
        raise InvalidInputError(f"{word} is no range of at most {BULK_MAX} ids", field="id")
    return range(first, last + 1)


def _move(run: Run, ids: list[str], user: str | None, state: str) -> None:
    wanted = parse_ids(ids)
    with run.fastzero() as fz:
        moved = owned(run, fz, user).move(*wanted, to=state) if wanted else []
    _tell(run, moved, VERBS[str(state)])


def _tell(run: Run, todos: "Sequence[Todo]", verb: str, title: str = "") -> None:
    """Tell what became of todos: one by its id and title, several by their number."""
    if len(todos) == 1:
        run.render.changed(todos, TODO, f"Todo {todos[0].id} {verb}", title or todos[0].title)
    else:
        run.render.changed(todos, TODO, f"{counted(len(todos), 'todo')} {verb}")


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
    """A title for each line that is not blank. Raises InvalidInputError that names the line of a bad one."""
    titles = []
    for number, line in enumerate(sys.stdin.read().split("\n"), 1):
        if line.strip():
            try:
                titles.append(validate.title(line))
            except InvalidInputError as error:
                raise InvalidInputError(f"line {number}: {error.message}", field="title") from None
    return titles
