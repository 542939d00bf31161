"""What every operation takes and returns: frozen dataclasses and plain enums. Standard library only."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class TodoState(StrEnum):
    DRAFT = "draft"
    TODO = "todo"
    DOING = "doing"
    DONE = "done"
    TRASH = "trash"


class TodoSort(StrEnum):
    """What a list of todos is ordered by; ties are broken by id."""

    ID = "id"
    CREATED = "created"
    UPDATED = "updated"
    TITLE = "title"


@dataclass(frozen=True, slots=True)
class User:
    """One account. The password's hash never leaves the database through it."""

    id: int
    username: str
    email: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a token is of. It holds for as long as the user exists and has this token version."""

    user_id: int
    token_version: int


@dataclass(frozen=True, slots=True)
class Invitation:
    """A code with which one user may sign up before `expires_at`."""

    code: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class NewTodo:
    """A todo to be: what `add_many` takes."""

    title: str
    description: str = ""
    state: TodoState | str = TodoState.TODO


@dataclass(frozen=True, slots=True)
class Todo:
    id: int
    title: str
    description: str
    state: TodoState
    created_at: datetime
    updated_at: datetime
    user_id: int
