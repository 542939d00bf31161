"""Progress events. A caller passes `on_event` to receive them; the command line renders them.

Uses only the standard library and no other module of fastzero.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Notice:
    """A message for the user about something that was chosen, found or left in place."""

    text: str


@dataclass(frozen=True)
class ActionStarted:
    """An action of a plan has started."""

    action: Any


@dataclass(frozen=True)
class ActionDone:
    """An action of a plan has succeeded after `seconds`."""

    action: Any
    seconds: float


@dataclass(frozen=True)
class Progress:
    """The progress of a long step. `done` and `total` are in `unit` (bytes or rows); `total` is None if unknown."""

    step: str
    done: int = 0
    total: int | None = None
    unit: str = ""


@dataclass(frozen=True, slots=True)
class RevisionApplied:
    """A revision was applied or reverted. `locked` are the tables that it locked against other sessions."""

    revision: str
    message: str
    direction: str  # "up" or "down"
    seconds: float
    locked: list[str] = field(default_factory=list)


Event = Notice | ActionStarted | ActionDone | Progress | RevisionApplied
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Discard an event: the default listener."""
