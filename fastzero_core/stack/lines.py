"""A line of a service's log, whichever runtime it comes from."""

from dataclasses import dataclass, field
from datetime import datetime

STREAMS = ("stdout", "stderr")


@dataclass(frozen=True)
class LogLine:
    """One line, and when it was written: by its own text, or by the engine."""

    service: str
    stream: str
    text: str
    time: datetime | None = field(default=None, compare=False)


def moment_of(text: str | None) -> datetime | None:
    """An engine's time, in any zone and to the nanosecond; None for none, which engines write as the year 1."""
    if not text or text.startswith("0001"):
        return None
    return datetime.fromisoformat(text)
