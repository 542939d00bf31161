"""The arguments and results of the operations: frozen dataclasses and enums. Standard library only."""

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
    """The sort key of a list of todos. Equal keys are ordered by id."""

    ID = "id"
    CREATED = "created"
    UPDATED = "updated"
    TITLE = "title"


@dataclass(frozen=True, slots=True)
class User:
    """An account, without its password hash."""

    id: int
    username: str
    email: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Identity:
    """The user a token was issued to. The token is valid while the user exists and has this token version."""

    user_id: int
    token_version: int


@dataclass(frozen=True, slots=True)
class Invitation:
    """A code that allows one user to sign up before `expires_at`."""

    code: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class NewTodo:
    """The fields of a todo to create with `add_many`."""

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
