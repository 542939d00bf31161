"""What writers tried and what was acknowledged, and whether a database holds it: each row once, with its content."""

import hashlib
import itertools
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One write: a title that no other has, and the content that belongs to it."""

    title: str
    content: str


def row_of(title: str) -> Row:
    """The row of a title: 64 to 1,280 characters of content that only this title has."""
    digest = hashlib.sha256(title.encode()).hexdigest()
    return Row(title, digest * (1 + int(digest, 16) % 20))


@dataclass(frozen=True)
class Verdict:
    """What is wrong with a database, by titles. `unknown` are rows that nobody tried to write."""

    lost: tuple[str, ...] = ()
    duplicated: tuple[str, ...] = ()
    altered: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def is_sound(self) -> bool:
        return self == Verdict()


class Ledger:
    """The writes of any number of threads. A write that was tried and not acknowledged may be there or not."""

    def __init__(self, name: str = "write") -> None:
        self._name = name
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._tried: set[str] = set()
        self._acknowledged: set[str] = set()
        self._total = 0

    @property
    def total(self) -> int:
        """How many writes were ever acknowledged."""
        return self._total

    def begin(self) -> Row:
        """A row that is about to be written."""
        with self._lock:
            title = f"{self._name}-{next(self._numbers)}"
            self._tried.add(title)
        return row_of(title)

    def acknowledge(self, row: Row) -> None:
        """Record that the database has promised to keep the row."""
        with self._lock:
            self._acknowledged.add(row.title)
            self._total += 1

    def check(self, *snapshots: Iterable[Row]) -> Verdict:
        """Compare with what is there. With several snapshots a row is kept if one of them has it."""
        counted = [Counter(snapshot) for snapshot in snapshots]
        there = set(itertools.chain.from_iterable(counted))
        titles = {row.title for row in there}
        with self._lock:
            return Verdict(
                lost=_ordered(self._acknowledged - titles),
                duplicated=_ordered(title for each in counted for title, times in _titles(each) if times > 1),
                altered=_ordered(row.title for row in there if row != row_of(row.title)),
                unknown=_ordered(titles - self._tried),
            )

    def forget_all_but(self, rows: Iterable[Row]) -> None:
        """Expect no more than these rows from now on: the others were replaced on purpose, and were accounted for."""
        with self._lock:
            self._acknowledged &= {row.title for row in rows}


def _titles(rows: Counter[Row]) -> Iterable[tuple[str, int]]:
    return Counter(row.title for row in rows.elements()).items()


def _ordered(titles: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(titles)))
