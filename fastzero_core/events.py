"""How far a command is, for those who want to hear of it. Standard library only."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a command is. `total` is None where it is not known; both are counted in `unit`, bytes or rows.

    A `notice` is a word to the person, and no step.
    """

    step: str = ""
    done: int = 0
    total: int | None = None
    unit: str = ""
    notice: str = ""


Listener = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """For those who do not want to hear of it."""
