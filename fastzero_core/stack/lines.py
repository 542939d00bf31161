"""A line of a service's log, whichever runtime it comes from."""

from dataclasses import dataclass
from datetime import datetime

STREAMS = ("stdout", "stderr")


@dataclass(frozen=True)
class LogLine:
    service: str
    stream: str
    text: str


def moment_of(text: str | None) -> datetime | None:
    """An engine's time, in any zone and to the nanosecond; None for none, which engines write as the year 1."""
    if not text or text.startswith("0001"):
        return None
    return datetime.fromisoformat(text)
