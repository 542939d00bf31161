"""A line of a service's log, in any runtime."""

from dataclasses import dataclass, field
from datetime import datetime

STREAMS = ("stdout", "stderr")


@dataclass(frozen=True)
class LogLine:
    """One line of a log. `time` is when it was written, from its text or from the engine, None if it is unknown."""

    service: str
    stream: str
    text: str
    time: datetime | None = field(default=None, compare=False)


def moment_of(text: str | None) -> datetime | None:
    """Return an engine's time, in any time zone and with nanoseconds; None without one, or for the year 1 (no time)."""
    if not text or text.startswith("0001"):
        return None
    return datetime.fromisoformat(text)
