"""fastzero as a library: the operations (`FastZero`), the stack (`Stack`), the records and the errors.

    from fastzero_core import FastZero, Stack

    with Stack("demo").up() as stack:
        with FastZero(stack.database_url) as fz:
            ana = fz.users.add("ana", email="ana@example.com", password="correct horse")
            todo = fz.todos(ana).add("Write the report", state="doing")

Names load when they are first used (PEP 562): importing this package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .care import Stack
    from .errors import (
        AuthenticationError,
        ConflictError,
        FastZeroError,
        InvalidInputError,
        NotAllowedError,
        NotFoundError,
        SchemaError,
        UnavailableError,
        UnhealthyError,
    )
    from .settings import Settings, load_settings
    from .todo_app.fastzero import AsyncFastZero, FastZero
    from .todo_app.models import Identity, NewTodo, Todo, TodoSort, TodoState, User

__version__ = "0.1.0"

_HOMES = {
    "AsyncFastZero": "todo_app.fastzero",
    "FastZero": "todo_app.fastzero",
    "Stack": "care",
    "Settings": "settings",
    "load_settings": "settings",
    **dict.fromkeys(("Identity", "NewTodo", "Todo", "TodoSort", "TodoState", "User"), "todo_app.models"),
    **dict.fromkeys(
        (
            "AuthenticationError",
            "ConflictError",
            "FastZeroError",
            "InvalidInputError",
            "NotAllowedError",
            "NotFoundError",
            "SchemaError",
            "UnavailableError",
            "UnhealthyError",
        ),
        "errors",
    ),
}

__all__ = [
    "AsyncFastZero",
    "AuthenticationError",
    "ConflictError",
    "FastZero",
    "FastZeroError",
    "Identity",
    "InvalidInputError",
    "NewTodo",
    "NotAllowedError",
    "NotFoundError",
    "SchemaError",
    "Settings",
    "Stack",
    "Todo",
    "TodoSort",
    "TodoState",
    "UnavailableError",
    "UnhealthyError",
    "User",
    "load_settings",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value
