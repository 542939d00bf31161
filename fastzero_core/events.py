"""What the library tells of while it works, as data: a caller hands over `on_event`, the command line renders it.

Standard library only, and nothing of the other rooms.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Notice:
    """A sentence to the person: something that was chosen, found or left."""

    text: str


@dataclass(frozen=True)
class ActionStarted:
    """An action of a plan begins."""

    action: Any


@dataclass(frozen=True)
class ActionDone:
    """An action of a plan has ended well, after so many seconds."""

    action: Any
    seconds: float


@dataclass(frozen=True)
class Progress:
    """How far a long step is. `total` is None where it is not known; both are counted in `unit`, bytes or rows."""

    step: str
    done: int = 0
    total: int | None = None
    unit: str = ""


@dataclass(frozen=True, slots=True)
class RevisionApplied:
    """A revision of the schema was applied, or taken back; `locked` are the tables that others waited for meanwhile."""

    revision: str
    message: str
    direction: str  # "up" or "down"
    seconds: float
    locked: list[str] = field(default_factory=list)


Event = Notice | ActionStarted | ActionDone | Progress | RevisionApplied
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The listener of a caller who does not want to know."""
