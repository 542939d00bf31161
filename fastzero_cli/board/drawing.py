"""Draw a board as lines that fill a part of the screen. Pure, but for the current time in due dates."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..charts import Piece, card_of, column_title, details_of, fitted, padded
from ..layout import GAP, colored, printable
from ..style import symbols
from .selection import Board

if TYPE_CHECKING:
    from fastzero_core import Todo

MIN_COLUMN = 18  # cells; if there is room for fewer columns, the others are reached by going there
SELECTED = "7"  # reverse video, which is visible without colours too


class Drawing:
    """Draws a board, and remembers how far each column is scrolled."""

    def __init__(self) -> None:
        self._tops: dict[str, int] = {}
        self._left = 0
        self._places: dict[tuple[int, int], int] = {}  # the card at a line of a column
        self._width = MIN_COLUMN

    def lines(self, board: Board, width: int, height: int) -> Iterator[str]:
        """Yield the lines, with ANSI codes."""
        if not board.columns:
            return
        shown = self._shown(board, width)
        self._width = (width - GAP * (len(shown) - 1)) // len(shown)
        self._places.clear()
        columns = [self._column(board, index, height) for index in shown]
        for line in range(height):
            cells = (padded(column[line] if line < len(column) else [], self._width) for column in columns)
            yield (" " * GAP).join("".join(colored(*piece) for piece in pieces) for pieces in cells)

    def hidden(self, board: Board, width: int) -> tuple[Sequence[str], Sequence[str]]:
        """Return the states on the left and on the right that do not fit."""
        shown = self._shown(board, width)
        return board.states[: shown.start], board.states[shown.stop :]

    def card_at(self, x: int, y: int) -> tuple[int, int] | None:
        """Return the column and row of the card that was drawn there last."""
        column = self._left + x // (self._width + GAP)
        row = self._places.get((column, y))
        return None if row is None else (column, row)

    def _shown(self, board: Board, width: int) -> range:
        """Return the columns that fit, with the selected one among them."""
        count = max(1, min(len(board.columns), (width + GAP) // (MIN_COLUMN + GAP)))
        self._left = max(board.column - count + 1, min(self._left, board.column, len(board.columns) - count))
        return range(self._left, self._left + count)

    def _column(self, board: Board, index: int, height: int) -> list[list[Piece]]:
        state = board.states[index]
        todos, more = board.columns[state]
        is_current = index == board.column
        cards = [list(card_of(todo, self._width)) for todo in todos]
        top = self._top(state, cards, height - 2, board.row if is_current else None)
        title, code = column_title(state, len(todos) + more)
        lines = [[(title, f"{code};4" if is_current else code), *_above(top)]]
        for row in range(top, len(cards)):
            if len(lines) + len(cards[row]) > height - 1:
                return [*lines, [(symbols(f"↓ {len(cards) - row + more}"), "2")]]
            self._places.update(((index, len(lines) + line), row) for line in range(len(cards[row])))
            is_selected = is_current and row == board.row
            lines += [_reversed(line, self._width) for line in cards[row]] if is_selected else cards[row]
        return [*lines, [(symbols(f"… {more} more"), "2")]] if more else lines

    def _top(self, state: str, cards: Sequence[Sequence[object]], height: int, selected: int | None) -> int:
        """Return the first card to show, so that the selected one is visible."""
        top = min(self._tops.get(state, 0), max(0, len(cards) - 1))
        while top and sum(map(len, cards[top - 1 :])) <= height:  # room below that cards above can use
            top -= 1
        if selected is not None:
            top = min(top, selected)
            while top < selected and sum(map(len, cards[top : selected + 1])) > height:
                top += 1
        self._tops[state] = top
        return top


def summary(todo: "Todo", width: int) -> Iterator[str]:
    """Yield two lines about a todo, with ANSI codes: its title, then its details and its description's beginning."""
    about = printable(todo.description.partition("\n")[0])
    title = [(f"{todo.id} {printable(todo.title)}", "1")]
    for pieces in (title, [*details_of(todo), *([(about, "2")] if about else [])]):
        yield "".join(colored(*piece) for piece in fitted(pieces, width))


def _above(count: int) -> list[Piece]:
    return [(symbols(f" ↑ {count}"), "2")] if count else []


def _reversed(pieces: Sequence[Piece], width: int) -> list[Piece]:
    return [(text, SELECTED) for text, _ in padded(pieces, width) if text]
