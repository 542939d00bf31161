"""The names of write-ahead log files, and whether an archive has all of those that a recovery needs. Pure.

A segment's name is its timeline, and its number in two parts. Each recovery begins a new timeline, whose history file
names the timelines before it and the number up to which they count.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Self

SIZE = 16 * 2**20  # bytes of a segment, as initdb makes them
_PER_LOG = 2**32 // SIZE
SEGMENT = re.compile(r"[0-9A-F]{24}")
HISTORY = re.compile(r"[0-9A-F]{8}\.history")
ARCHIVED = re.compile(rf"{SEGMENT.pattern}(\.[0-9A-F]{{8}}\.backup|\.partial)?|{HISTORY.pattern}")


@dataclass(frozen=True)
class BaseBackup:
    """A base backup in an archive. A recovery may end at any time after `ended`."""

    id: str
    begun: datetime
    ended: datetime
    begin_wal: str
    system: str
    major: int
    size: int = 0

    @property
    def timeline(self) -> int:
        return int(self.begin_wal[:8], 16)

    def as_dict(self) -> dict[str, Any]:
        """Return the backup as plain values, for JSON."""
        return {**asdict(self), "begun": self.begun.isoformat(), "ended": self.ended.isoformat()}

    @classmethod
    def of_dict(cls, told: Mapping[str, Any]) -> Self:
        """Return the backup that plain values describe. Raises ValueError, TypeError, KeyError."""
        return cls(**{**told, **{name: datetime.fromisoformat(told[name]) for name in ("begun", "ended")}})


@dataclass(frozen=True)
class Chain:
    """The segments from a base backup on, in order, without a gap. `missing` is the first that the archive lacks.

    `missing` is "" if the archive has no later segment, so that the chain is complete as far as one can tell.
    """

    names: tuple[str, ...]
    missing: str = ""


def number_of(name: str) -> int:
    """Return the number of a segment, which does not depend on its timeline."""
    return int(name[8:16], 16) * _PER_LOG + int(name[16:24], 16)


def name_of(timeline: int, number: int) -> str:
    return f"{timeline:08X}{number // _PER_LOG:08X}{number % _PER_LOG:08X}"


def on_later_timelines(name: str, newest: int) -> list[str]:
    """Return the names of a segment on later timelines. [] for other files.

    Each of them has what the segment has, up to the switch of timelines: the segment may not be finished.
    """
    if not SEGMENT.match(name):
        return []
    return [name_of(timeline, number_of(name)) for timeline in range(int(name[:8], 16) + 1, newest + 1)]


def newest_timeline(names: Collection[str]) -> int:
    """Return the newest timeline in an archive."""
    return max((int(name[:8], 16) for name in names), default=1)


def ancestry(history: str) -> dict[int, int]:
    """Return the timelines before that of a history file, each with the number of the last segment that counts."""
    lines = (line.split() for line in history.splitlines() if line.strip() and not line.startswith("#"))
    return {int(words[0]): _number_at(words[1]) for words in lines}


def chain(names: Collection[str], backup: BaseBackup, timeline: int, before: Mapping[int, int]) -> Chain:
    """Return the segments that a recovery of a backup along a timeline needs; `before` is that timeline's ancestry."""
    present = {name for name in names if SEGMENT.fullmatch(name)}
    limits = {**before, timeline: max((number_of(name) for name in present), default=0)}
    counted = {number_of(name) for name in present if number_of(name) <= limits.get(int(name[:8], 16), -1)}
    number, found = number_of(backup.begin_wal), []
    while number in counted:
        of = max(each for each in limits if number <= limits[each] and name_of(each, number) in present)
        found.append(name_of(of, number))
        number += 1
    has_later = any(each > number for each in counted)
    return Chain(tuple(found), name_of(timeline, number) if has_later or not found else "")


def is_on(backup: BaseBackup, timeline: int, before: Mapping[int, int]) -> bool:
    """Return whether a recovery of a backup can follow a timeline."""
    limit = before.get(backup.timeline)
    return backup.timeline == timeline or (limit is not None and number_of(backup.begin_wal) <= limit)


def _number_at(location: str) -> int:
    high, _, low = location.partition("/")
    return (int(high, 16) * 2**32 + int(low, 16)) // SIZE
