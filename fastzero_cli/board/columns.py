"""Read the columns of a board: the first todos of each state, and how many more there are."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fastzero_core.todo_app.models import TodoState

if TYPE_CHECKING:
    from fastzero_core import Todo
    from fastzero_core.todo_app.todos import Todos

    Columns = Mapping[str, tuple[Sequence[Todo], int]]
    """By state: the todos to show, and how many more there are."""


def columns_of(todos: "Todos", filters: Any, page: Any, limit: int, *, of_closed: Any = None) -> "Columns":
    """Return the columns of the states in `filters`. `page` is their order, `of_closed` that of done and trash."""
    columns: dict[str, tuple[Sequence[Todo], int]] = {}
    for state in filters["states"] or list(TodoState):
        of_state = {**filters, "states": [state]}
        is_closed = of_closed and state in (TodoState.DONE, TodoState.TRASH)
        cards = todos.list(limit=limit, **(of_closed if is_closed else page), **of_state)
        columns[str(state)] = cards, todos.count(**of_state) - limit if len(cards) == limit else 0
    return columns
