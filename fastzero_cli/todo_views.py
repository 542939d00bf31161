"""fastzero todo list, next and stats: todos to look at."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastzero_core.todo_app.models import OPEN, TodoFilters, TodoState

from . import completion
from .board.columns import columns_of
from .charts import board_lines, stats_lines
from .columns import TODO, TODO_IN_LISTS, Column
from .options import Run
from .todo_options import SHOWN, InList, User, owned, with_filters
from .tree import Group

if TYPE_CHECKING:
    from fastzero_core import FastZero, Todo
    from fastzero_core.todo_app.todos import Todos

group = Group("views")

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
    in_list: InList = None,
    *,
    where: TodoFilters,
) -> None:
    """List todos."""
    filters: Any = {"states": None if all else SHOWN, **where}
    page: Any = {"sort": sort, "descending": reverse, "after": after}
    with run.fastzero(autocommit=True) as fz:
        todos = owned(run, fz, user, in_list)
        columns = TODO if in_list or run.render.output != "table" else _columns(fz, todos)
        if board and run.settings.output in (None, "table"):
            states = columns_of(todos, filters, {**page, "sort": sort or "position"}, limit or BOARD_CARDS)
            run.render.lines(partial(board_lines, states))
        elif run.render.output == "table" and not (sort or reverse or after or where.keys() & {*BY_TIME}):
            _list_open_first(run, todos, filters, limit, columns)
        elif limit is not None:
            run.render.many(todos.list(limit=limit, **page, **filters), columns)
        else:
            run.render.many(todos.stream(**page, **filters), columns, paged=True)


@group.command(example="fastzero todo next\nfastzero todo next -n 1 -o ids")
def next(
    run: Run,
    limit: Annotated[int, typer.Option("-n", "--limit", metavar="N", help="Maximum number to show.")] = 10,
    user: User = None,
    in_list: InList = None,
) -> None:
    """List what to work on next.

    Todos in todo or doing: overdue ones first, then by due, then by priority.
    """
    with run.fastzero(autocommit=True) as fz:
        run.render.many(owned(run, fz, user, in_list).next(limit), TODO, none="Nothing to do.")


@group.command(example="fastzero todo stats\nfastzero todo stats --days 30 -o json")
def stats(
    run: Run,
    days: Annotated[int, typer.Option("--days", metavar="N", help="How many days to count, up to today.")] = 14,
    user: User = None,
    in_list: InList = None,
) -> None:
    """Show statistics: todos by state, tag and day, what is overdue, and what was completed."""
    with run.fastzero(autocommit=True) as fz:
        found = owned(run, fz, user, in_list).stats(days)
    if run.render.output == "table":
        run.render.lines(partial(stats_lines, found))
    else:
        run.render.one(found, ())


def _columns(fz: "FastZero", todos: "Todos") -> Sequence[Column]:
    """Return the columns of todos of all lists: with the list, if the user has one besides the inbox."""
    return TODO_IN_LISTS if any(each.user_id == todos.user_id for each in fz.lists(todos.user_id).list()) else TODO


def _list_open_first(run: Run, todos: "Todos", filters: Any, limit: int | None, columns: Sequence[Column]) -> None:
    """List open todos before closed ones, and print how many `limit` left out."""
    shown = 0
    states = filters["states"] or list(TodoState)

    def counted_rows() -> "Iterator[Todo]":
        nonlocal shown
        groups = [[each for each in states if (each in OPEN) is is_open] for is_open in (True, False)]
        rows = chain.from_iterable(todos.stream(**{**filters, "states": each}) for each in groups if each)
        for shown, todo in enumerate(islice(rows, limit), 1):  # noqa: B007
            yield todo

    run.render.many(counted_rows(), columns, paged=True)
    if limit is not None and (more := todos.count(**{**filters, "states": states}) - shown) > 0:
        run.render.message(f"… and {more:,} more")
