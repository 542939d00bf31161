"""The public API of fastzero: `FastZero` (operations), `Stack`, the data classes and the errors.

    from fastzero_core import FastZero, Stack

    with Stack("demo").up() as stack:
        with FastZero(stack.database_url) as fz:
            ana = fz.users.add("ana", email="ana@example.com", password="correct horse")
            todo = fz.todos(ana).add("Write the report", state="doing")

Each name is imported on first use (PEP 562), so importing this package is cheap.
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
    from .todo_app.models import (
        Identity,
        ListInfo,
        Member,
        NewTodo,
        Priority,
        Role,
        Todo,
        TodoChanges,
        TodoFilters,
        TodoSort,
        TodoState,
        User,
    )

__version__ = "0.1.0"

_MODULES = {
    "AsyncFastZero": "todo_app.fastzero",
    "FastZero": "todo_app.fastzero",
    "Stack": "care",
    "Settings": "settings",
    "load_settings": "settings",
    **dict.fromkeys(
        (
            "Identity",
            "ListInfo",
            "Member",
            "NewTodo",
            "Priority",
            "Role",
            "Todo",
            "TodoChanges",
            "TodoFilters",
            "TodoSort",
            "TodoState",
            "User",
        ),
        "todo_app.models",
    ),
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
    "ListInfo",
    "Member",
    "NewTodo",
    "NotAllowedError",
    "NotFoundError",
    "Priority",
    "Role",
    "SchemaError",
    "Settings",
    "Stack",
    "Todo",
    "TodoChanges",
    "TodoFilters",
    "TodoSort",
    "TodoState",
    "UnavailableError",
    "UnhealthyError",
    "User",
    "load_settings",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value
