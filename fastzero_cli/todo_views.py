"""fastzero todo list, next and stats: todos to look at."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastzero_core.todo_app.models import OPEN, TodoFilters, TodoState

from . import completion
from .charts import board_lines, stats_lines
from .columns import TODO
from .options import Run
from .todo_options import SHOWN, User, owned, with_filters
from .tree import Group

if TYPE_CHECKING:
    from fastzero_core import Todo
    from fastzero_core.todo_app.todos import Todos

group = Group("views", "")

BOARD_CARDS = 20
BY_TIME = ("overdue", "due_before", "due_after", "created_before", "created_after")  # filters that imply an order


@group.command(
    "list", example="fastzero todo list -s doing -s todo --text report --tag work\nfastzero todo list --board"
)
@with_filters()
def list_(
    run: Run,
    all: Annotated[bool, typer.Option("-a", "--all", help="Include the trash.")] = False,
    sort: Annotated[
        str | None,
        typer.Option(
            "--sort",
            metavar="BY",
            help="id | created | updated | title | due | priority | position; without it by id, with filters on due or"
            " created by these, on a terminal open todos first.",
            autocompletion=completion.sorts,
        ),
    ] = None,
    reverse: Annotated[bool, typer.Option("-r", "--reverse", help="Reverse the order.")] = False,
    after: Annotated[int | None, typer.Option("--after", metavar="ID", help="Start after this todo.")] = None,
    limit: Annotated[int | None, typer.Option("-n", "--limit", metavar="N", help="Maximum number to show.")] = None,
    board: Annotated[
        bool, typer.Option("--board", help="Show the states as columns, in the order made by hand.")
    ] = False,
    user: User = None,
    *,
    where: TodoFilters,
) -> None:
    """List todos."""
    filters: Any = {"states": None if all else SHOWN, **where}
    page: Any = {"sort": sort, "descending": reverse, "after": after}
    with run.fastzero(autocommit=True) as fz:
        todos = owned(run, fz, user)
        if board and run.settings.output in (None, "table"):
            columns = _board(todos, filters, {**page, "sort": sort or "position"}, limit or BOARD_CARDS)
            run.render.lines(partial(board_lines, columns))
        elif run.render.output == "table" and not (sort or reverse or after or where.keys() & {*BY_TIME}):
            _list_open_first(run, todos, filters, limit)
        elif limit is not None:
            run.render.many(todos.list(limit=limit, **page, **filters), TODO)
        else:
            run.render.many(todos.stream(**page, **filters), TODO, paged=True)


@group.command(example="fastzero todo next\nfastzero todo next -n 1 -o ids")
def next(
    run: Run,
    limit: Annotated[int, typer.Option("-n", "--limit", metavar="N", help="Maximum number to show.")] = 10,
    user: User = None,
) -> None:
    """List what to work on next.

    Todos in todo or doing: overdue ones first, then by due, then by priority.
    """
    with run.fastzero(autocommit=True) as fz:
        run.render.many(owned(run, fz, user).next(limit), TODO, none="Nothing to do.")


@group.command(example="fastzero todo stats\nfastzero todo stats --days 30 -o json")
def stats(
    run: Run,
    days: Annotated[int, typer.Option("--days", metavar="N", help="How many days to count, up to today.")] = 14,
    user: User = None,
) -> None:
    """Show statistics: todos by state, tag and day, what is overdue, and what was completed."""
    with run.fastzero(autocommit=True) as fz:
        found = owned(run, fz, user).stats(days)
    if run.render.output == "table":
        run.render.lines(partial(stats_lines, found))
    else:
        run.render.one(found, ())


def _list_open_first(run: Run, todos: "Todos", filters: Any, limit: int | None) -> None:
    """List open todos before closed ones, and print how many `limit` left out."""
    shown = 0
    states = filters["states"] or list(TodoState)

    def counted_rows() -> "Iterator[Todo]":
        nonlocal shown
        groups = [[each for each in states if (each in OPEN) is is_open] for is_open in (True, False)]
        rows = chain.from_iterable(todos.stream(**{**filters, "states": each}) for each in groups if each)
        for shown, todo in enumerate(islice(rows, limit), 1):  # noqa: B007
            yield todo

    run.render.many(counted_rows(), TODO, paged=True)
    if limit is not None and (more := todos.count(**{**filters, "states": states}) - shown) > 0:
        run.render.message(f"… and {more:,} more")


def _board(todos: "Todos", filters: Any, page: Any, limit: int) -> "dict[str, tuple[Sequence[Todo], int]]":
    """Return the first todos of each state, and how many more there are."""
    columns: dict[str, tuple[Sequence[Todo], int]] = {}
    for state in filters["states"] or list(TodoState):
        of_state = {**filters, "states": [state]}
        cards = todos.list(limit=limit, **page, **of_state)
        columns[str(state)] = cards, todos.count(**of_state) - limit if len(cards) == limit else 0
    return columns
