"""The rows of todos: read as `Todo`, and the sort keys of one. Pure."""

from typing import Any

from sqlalchemy import Row

from .filters import PRIORITIES, RANKS
from .models import INBOX, Priority, Todo, TodoSort, TodoState
from .orders import INFINITY

TodoRow = Row[*tuple[Any, ...]]

# Used for every row of a list: a lookup takes a tenth of the time of TodoState(…).
_STATES = {state.value: state for state in TodoState}
_PRIORITIES = (Priority.NONE, *PRIORITIES)  # by their numbers in the database


def todo_of(row: TodoRow) -> Todo:
    (
        id, title, description, state, created_at, updated_at, user_id,
        priority, due_on, tags, completed_at, due_at, position, list, external_id,
    ) = row  # fmt: skip
    return Todo(
        id,
        title,
        description,
        _STATES[state],
        created_at,
        updated_at,
        user_id,
        _PRIORITIES[priority],
        due_on or due_at,
        tuple(tags),
        completed_at,
        list or INBOX,
        external_id,
        due_at,
        position,
    )


def sort_keys(todo: Todo, order: TodoSort) -> list[Any]:
    """Return the values of a todo's sort keys, without its id, as parameters of a page."""
    match order:
        case TodoSort.DUE:
            return [todo.due_at.isoformat() if todo.due_at else INFINITY, RANKS[todo.priority]]
        case TodoSort.PRIORITY:
            return [RANKS[todo.priority]]
        case TodoSort.POSITION:
            return [todo.id if todo.position is None else todo.position]
        case TodoSort.TITLE:
            return [todo.title]
        case TodoSort.CREATED:
            return [todo.created_at.isoformat()]
    return [todo.updated_at.isoformat()]
