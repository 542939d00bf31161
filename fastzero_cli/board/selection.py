"""The columns of a board and the selected card. Pure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastzero_core import Todo

    from .columns import Columns

FIRST_SELECTED = "todo"


class Board:
    """The columns that were read last, none before the first time, and which card is selected."""

    def __init__(self) -> None:
        self.columns: Columns = {}
        self.column = self.row = 0

    @property
    def states(self) -> list[str]:
        return list(self.columns)

    @property
    def state(self) -> str:
        """The state of the selected column, empty before there are columns."""
        return self.states[self.column] if self.columns else ""

    @property
    def cards(self) -> "Sequence[Todo]":
        """The cards of the selected column."""
        return self.columns[self.state][0] if self.columns else ()

    @property
    def selected(self) -> "Todo | None":
        return self.cards[self.row] if self.cards else None

    def update(self, columns: "Columns") -> None:
        """Replace the columns. The same todo stays selected; if it is not there, the one in its place."""
        selected = self.selected
        if not self.columns and FIRST_SELECTED in columns:
            self.column = list(columns).index(FIRST_SELECTED)
        self.columns = columns
        if selected is None or not self.select(selected.id):
            self.go()

    def select(self, id: int) -> bool:
        """Select a todo, and return whether the board has it."""
        for column, (cards, _) in enumerate(self.columns.values()):
            for row, card in enumerate(cards):
                if card.id == id:
                    self.column, self.row = column, row
                    return True
        return False

    def go_to_cards(self) -> None:
        """Select the first column that has cards, if the selected one has none."""
        if not self.cards:
            filled = [column for column, (cards, _) in enumerate(self.columns.values()) if cards]
            self.column, self.row = (filled or [self.column])[0], 0

    def go(self, columns: int = 0, rows: int = 0) -> None:
        """Select the card so many columns to the right and rows below, or the nearest one."""
        self.column = _within(self.column + columns, len(self.columns))
        self.row = _within(self.row + rows, len(self.cards))

    def beside(self, id: int, columns: int) -> str | None:
        """Return the state so many columns to the right of a todo's; None if the board does not have both."""
        for column, (cards, _) in enumerate(self.columns.values()):
            if any(card.id == id for card in cards) and 0 <= column + columns < len(self.columns):
                return self.states[column + columns]
        return None

    def neighbour(self, id: int, rows: int) -> "Todo | None":
        """Return the card so many rows below a todo in its column; None if there is none."""
        for cards, _ in self.columns.values():
            ids = [card.id for card in cards]
            if id in ids and 0 <= ids.index(id) + rows < len(ids):
                return cards[ids.index(id) + rows]
        return None


def _within(index: int, count: int) -> int:
    return max(0, min(index, count - 1))
