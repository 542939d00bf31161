"""Draw the board and the statistics of todos as lines that fit a terminal. Prints nothing."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from fastzero_core.formats import as_dict

from .layout import GAP, STATE_CODES, cells_of, colored, due_code, due_text, printable, shortened
from .style import DETAIL, counted, symbols

if TYPE_CHECKING:
    from fastzero_core.todo_app.models import Todo
    from fastzero_core.todo_app.results import TodoStats

MIN_COLUMN = 12  # cells; narrower columns are drawn one below the other
BAR_MAX = 40  # cells
_BAR = "━"

Piece = tuple[str, str]
"""A text and its colour as an ANSI code."""


def board_lines(columns: "Mapping[str, tuple[Sequence[Todo], int]]", room: int, color: bool) -> Iterator[str]:
    """Yield the lines of a board: states side by side, or one below the other if they do not fit."""
    width = (room - GAP * (len(columns) - 1)) // max(1, len(columns))
    is_stacked = width < MIN_COLUMN
    width = room if is_stacked else width
    drawn = [list(_column(state, todos, more, width)) for state, (todos, more) in columns.items()]
    if is_stacked:
        for column in drawn:
            yield from (_line([piece], width, color) for piece in column)
        return
    for pieces in zip_longest(*drawn, fillvalue=[]):
        yield _line(list(pieces), width, color)


def stats_lines(stats: "TodoStats", room: int, color: bool) -> Iterator[str]:
    """Yield the lines of statistics: a summary, then bars by state, by tag and by day."""
    days = len(stats.by_day)
    yield symbols(
        DETAIL.join(
            [
                counted(stats.total, "todo"),
                f"{stats.overdue:,} overdue",
                f"{stats.completed:,} completed in {counted(days, 'day')}",
                f"{stats.throughput:,} per day",
            ]
        )
    )
    yield from _bars("state", list(stats.by_state.items()), room, color)
    yield from _bars("tag", [(printable(tag), count) for tag, count in stats.by_tag.items()], room, color)
    yield from _bars("completed on", [(f"{day.day}", day.completed) for day in stats.by_day], room, color)


def _bars(title: str, counts: Sequence[tuple[str, int]], room: int, color: bool) -> Iterator[str]:
    if not counts:
        return
    first = max(cells_of(text) for text, _ in [(title, 0), *counts])
    digits = max(len(f"{count:,}") for _, count in counts)
    length = max(0, min(BAR_MAX, room - first - digits - 2 * GAP))
    most = max(count for _, count in counts) or 1
    yield colored(title, "1" if color else "")
    for text, count in counts:
        bar = symbols(_BAR * -(-count * length // most))  # at least one cell for what is not zero
        name = text + " " * (first - cells_of(text))
        yield f"{name}  {count:>{digits},}  {colored(bar, STATE_CODES.get(text, '36') if color else '')}".rstrip()


def _column(state: str, todos: "Sequence[Todo]", more: int, width: int) -> Iterator[list[Piece]]:
    yield [column_title(state, len(todos) + more)]
    for todo in todos:
        yield from card_of(todo, width)
    if more:
        yield [(symbols(f"… {more} more"), "2")]


def column_title(state: str, count: int) -> Piece:
    return f"{state} {count}", f"1;{STATE_CODES[state]}"


def card_of(todo: "Todo", width: int) -> Iterator[list[Piece]]:
    """Yield the lines of a card: its id and title, and its details if it has any."""
    yield [(shortened(f"{todo.id} {printable(todo.title)}", width), "")]
    if details := details_of(todo):
        yield [("  ", ""), *fitted(details, width - 2)]


def details_of(todo: "Todo") -> list[Piece]:
    """Return the priority, the due date and the tags that a todo has."""
    due = due_text(as_dict(todo))
    pieces = [
        (str(todo.priority) if todo.priority != "none" else "", STATE_CODES.get(todo.priority, "")),
        (due, due_code(due) or "2"),
        (" ".join(f"#{tag}" for tag in todo.tags), "2"),
    ]
    return [(printable(text), code) for text, code in pieces if text]


def fitted(pieces: Sequence[Piece], width: int) -> Iterator[Piece]:
    """Yield the pieces with a separator between them; the one that does not fit is cut, and others are left out."""
    for number, (text, code) in enumerate(pieces):
        separator = symbols(DETAIL) if number else ""
        room = width - cells_of(separator)
        if room < 2:
            return
        yield separator, "2"
        yield shortened(text, room), code
        width = room - cells_of(text)


def padded(pieces: Sequence[Piece], width: int) -> list[Piece]:
    """Return the pieces with spaces up to a width."""
    return [*pieces, (" " * (width - sum(cells_of(text) for text, _ in pieces)), "")]


def _line(columns: Sequence[Sequence[Piece]], width: int, color: bool) -> str:
    cells = (
        "".join(colored(text, code if color else "") for text, code in padded(pieces, width)) for pieces in columns
    )
    return (" " * GAP).join(cells).rstrip()
