"""The arguments and results of the operations: frozen dataclasses and enums. Standard library only."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import TypedDict

CALENDAR_PREFIX = "/calendar/"


class TodoState(StrEnum):
    DRAFT = "draft"
    TODO = "todo"
    DOING = "doing"
    DONE = "done"
    TRASH = "trash"


class Priority(StrEnum):
    NONE = "none"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Role(StrEnum):
    """What a member of a list may do: a viewer reads its todos, an editor changes them too, an owner shares it too."""

    VIEWER = "viewer"
    EDITOR = "editor"
    OWNER = "owner"


INBOX = "inbox"  # the list of todos that are in no other one
OPEN = (TodoState.DRAFT, TodoState.TODO, TodoState.DOING)


class TodoSort(StrEnum):
    """The sort key of a list of todos. Equal keys are ordered by id.

    DUE starts with the earliest; equal ones, and those that are not due, are ordered by priority. PRIORITY starts with
    the highest. POSITION is the order made by hand with `place`.
    """

    ID = "id"
    CREATED = "created"
    UPDATED = "updated"
    TITLE = "title"
    DUE = "due"
    PRIORITY = "priority"
    POSITION = "position"


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
class NewTodo:
    """The fields of a todo to create with `add_many`. `due` is a date, a datetime with a time zone, or a text."""

    title: str
    description: str = ""
    state: TodoState | str = TodoState.TODO
    priority: Priority | str = Priority.NONE
    due: datetime | date | str | None = None
    tags: Iterable[str] = ()


@dataclass(frozen=True, slots=True)
class Todo:
    """A todo. `due` is a datetime, or a date if it is due on a whole day. `completed_at` is when it became done."""

    id: int
    title: str
    description: str
    state: TodoState
    created_at: datetime
    updated_at: datetime
    user_id: int
    priority: Priority = Priority.NONE
    due: datetime | date | None = None
    tags: tuple[str, ...] = ()
    completed_at: datetime | None = None
    list: str = INBOX  # the name of its list
    external_id: str | None = None  # what another program calls it
    due_at: datetime | None = field(default=None, repr=False)  # when it becomes overdue; of a whole day its end
    position: Decimal | None = field(default=None, repr=False)  # in the order made by hand, None as long as by id


@dataclass(frozen=True, slots=True)
class ListInfo:
    """A list as a user sees it. `owner` is the username of the user `user_id`; `role` is the role of who asks."""

    id: int
    name: str
    owner: str
    role: Role
    members: int
    created_at: datetime
    user_id: int


@dataclass(frozen=True, slots=True)
class Member:
    """A user who shares another user's list, and the role. After `share`, `former` is the role of before, if any."""

    id: int
    username: str
    role: Role
    former: Role | None = field(default=None, repr=False, compare=False)


class TodoConditions(TypedDict, total=False):
    """Conditions that a todo must meet, all of them. Text is matched literally, anywhere, ignoring case.

    Times are datetimes with a time zone; dates mean before the beginning or after the end of that day. Both may be as
    people type them: see `due.parse`.
    """

    text: str | None  # in title or description
    title: str | None
    description: str | None
    tags: Iterable[str]  # all of them
    priorities: Iterable[Priority | str] | None  # one of them
    due_before: date | str | None
    due_after: date | str | None
    overdue: bool
    created_before: date | str | None
    created_after: date | str | None


class TodoFilters(TodoConditions, total=False):
    states: Iterable[TodoState | str] | None  # one of them


class TodoChanges(TypedDict, total=False):
    """Changes of a todo; what is not given or None stays. `due` "none" means not due; `tags` replaces all tags.

    `list` moves it to another list of its owner, by name or id.
    """

    title: str | None
    description: str | None
    state: TodoState | str | None
    priority: Priority | str | None
    due: date | str | None
    tags: Iterable[str] | None
    add_tags: Iterable[str]
    remove_tags: Iterable[str]
    list: int | str | None
