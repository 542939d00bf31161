"""The orders of lists: by which keys todos are sorted, and which moments limit a list. Pure."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, DateTime, Numeric, cast, func, literal_column

from .models import TodoSort

TIME = DateTime(timezone=True)
INFINITY = "infinity"


def due_key(columns: Any) -> ColumnElement[Any]:
    """Return when a todo is due; those that are not due come last. The same expression is in an index."""
    return func.coalesce(columns.due_at, literal_column("'infinity'::timestamptz", TIME))


def position_key(columns: Any) -> ColumnElement[Any]:
    return func.coalesce(columns.position, cast(columns.id, Numeric))


SORT_KEYS: dict[TodoSort, Callable[[Any], list[ColumnElement[Any]]]] = {
    TodoSort.ID: lambda columns: [],
    TodoSort.CREATED: lambda columns: [columns.created_at],
    TodoSort.UPDATED: lambda columns: [columns.updated_at],
    TodoSort.TITLE: lambda columns: [columns.title],
    TodoSort.DUE: lambda columns: [due_key(columns), columns.priority],
    TodoSort.PRIORITY: lambda columns: [columns.priority],
    TodoSort.POSITION: lambda columns: [position_key(columns)],
}
MOMENTS: dict[str, Callable[[Any, ColumnElement[Any]], ColumnElement[bool]]] = {
    "due_after": lambda columns, moment: due_key(columns) > moment,
    "due_before": lambda columns, moment: due_key(columns) < moment,
    "created_after": lambda columns, moment: columns.created_at > moment,
    "created_before": lambda columns, moment: columns.created_at < moment,
}
