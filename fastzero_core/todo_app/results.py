"""The results of operations that few commands need: frozen dataclasses. Standard library only."""

from dataclasses import dataclass, field
from datetime import date, datetime


@dataclass(frozen=True, slots=True)
class Invitation:
    """A code that allows one user to sign up before `expires_at`."""

    code: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Calendar:
    """The secret path of a calendar, below the address of the app. Whoever knows it can read the calendar."""

    path: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class CalendarState:
    """Since when a calendar has its present path."""

    created_at: datetime


@dataclass(frozen=True, slots=True)
class FeedStamp:
    """Whose todos a calendar has, a digest that changes with them, and when one was changed last."""

    owner_id: int
    digest: str
    changed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Imported:
    """How many todos of a file were added, changed, and left as they were; and how many were invalid.

    `left_out` has what the valid ones have no field for, by its name in the file, with the number of todos.
    """

    added: int
    changed: int
    unchanged: int
    invalid: int
    left_out: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the history: how many todos a command or request added, changed and removed, and when.

    `title` is that of the first of these todos. `undone` says whether it is undone, and can be redone. `by` is the
    username of who made it: the owner, or a member of a list. Everybody undoes the changes made by oneself.
    """

    entry: int
    at: datetime
    added: int
    changed: int
    removed: int
    title: str
    undone: bool
    by: str


@dataclass(frozen=True, slots=True)
class DayCount:
    """How many todos were created and completed on a day."""

    day: date
    created: int
    completed: int


@dataclass(frozen=True, slots=True)
class TodoStats:
    """Statistics of a user's todos. `completed`, and `throughput` per day, are of the days in `by_day`, oldest first.

    `by_tag` has the most frequent tags outside of the trash. Todos that were purged are not counted.
    """

    total: int
    by_state: dict[str, int]
    by_tag: dict[str, int]
    overdue: int
    completed: int
    throughput: float
    by_day: list[DayCount]
