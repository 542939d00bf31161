"""Read the log files of local processes: the two streams of each process as one log, ordered by time.

The time of a line, in UTC, is the one that it begins with, as PostgreSQL and the app write it. A line without a time
belongs to the line above it.
"""

import heapq
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import dropwhile
from pathlib import Path
from typing import BinaryIO

from ...errors import InvalidInputError, UnavailableError
from ...files import open_regular, reading
from ...polling import poll
from ..lines import LogLine

Files = Mapping[str, Path]
"""The log of a process, by stream."""

BLOCK = 2**16  # bytes that are first read from the end of a log
SEARCHED = 2**20  # bytes in which to search for the time of the first line of a tail
EVERY = 0.1  # seconds between two reads of a followed log

# As `2026-01-31 12:00:00.123 UTC …`, and as `{"time": "2026-01-31T12:00:00.123Z", …`.
_TIME = rb'(?:\{"time": ")?(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d{1,6})?)'

_Line = tuple[datetime | None, LogLine]
_Timed = tuple[datetime, LogLine]


def read(
    logs: Mapping[str, Files], *, tail: int | None = None, follow: bool = False, since: datetime | None = None
) -> Iterator[LogLine]:
    """Yield the lines of these processes' logs, ordered by time; with `follow`, also new lines, without end.

    `tail` is the number of lines of each process, of both streams together: the last ones by time. With `since`, lines
    before that time are left out, and so are those without a time.
    """
    streams = {name: [_Stream(name, each, path) for each, path in files.items()] for name, files in logs.items()}
    logs_of_processes = []
    for each in streams.values():
        lines = _merged([stream.lines(tail, since, to_the_end=not follow) for stream in each])
        logs_of_processes.append(lines if tail is None else lines[max(0, len(lines) - tail) :])
    yield from _lines(_merged(logs_of_processes))
    while follow:
        yield from poll(lambda: _new_lines(streams.values()), math.inf, every=EVERY)


def _new_lines(streams: "Iterable[Sequence[_Stream]]") -> list[LogLine]:
    return _lines(_merged([stream.new_lines() for each in streams for stream in each]))


def _merged(streams: Sequence[Sequence[_Timed]]) -> list[_Timed]:
    """Merge streams by time. Each stream keeps its own order, even if a clock was set back."""
    return list(heapq.merge(*streams, key=lambda timed: timed[0]))


def _lines(timed: Iterable[_Timed]) -> list[LogLine]:
    return [replace(line, time=moment) for moment, line in timed]


class _Stream:
    """Reads complete lines of a growing log, and starts at the beginning again if the log was replaced."""

    def __init__(self, name: str, stream: str, path: Path) -> None:
        self._name, self._stream, self._path = name, stream, path
        self._offset = 0
        self._rest = b""
        self._moment: datetime | None = None  # the time of the previous line
        self._written_at = datetime.now(UTC)

    def lines(self, tail: int | None, since: datetime | None, *, to_the_end: bool) -> list[_Timed]:
        """Return the existing lines; with `tail`, at least as many of the last lines.

        `to_the_end` includes a last line without a newline: a crash may cut it off.
        """
        if tail is not None:
            self._offset = self._beginning_of(tail)
        lines = list(self._unread())
        if to_the_end and self._rest:
            lines.append(self._line(self._rest))
        if since is not None:
            lines = list(dropwhile(lambda line: line[0] is None or line[0] < since, lines))
        return self._timed(lines)

    def new_lines(self) -> list[_Timed]:
        return self._timed(list(self._unread()))

    def _timed(self, lines: Sequence[_Line]) -> list[_Timed]:
        """Give each line a time: lines above the first time get that time, or else the time of the last write."""
        first = next((moment for moment, _ in lines if moment), self._written_at)
        return [(moment or first, line) for moment, line in lines]

    def _beginning_of(self, tail: int) -> int:
        try:
            with _opened(self._path) as file:
                return _beginning_of(file, tail)
        except FileNotFoundError:
            return 0

    def _unread(self) -> Iterator[_Line]:
        try:
            with _opened(self._path) as file:
                status = os.fstat(file.fileno())
                self._written_at = datetime.fromtimestamp(status.st_mtime, UTC)
                if status.st_size < self._offset:
                    self._offset, self._rest = 0, b""
                file.seek(self._offset)
                data = file.read()
                self._offset = file.tell()
        except FileNotFoundError:
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            yield self._line(line)

    def _line(self, text: bytes) -> _Line:
        self._moment = _time_of(text) or self._moment
        return self._moment, LogLine(self._name, self._stream, text.decode("utf-8", "replace"))


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with reading(path, absent=True), open_regular(path, own=True) as file:
            yield file
    except InvalidInputError as error:
        raise UnavailableError(error.message, hint="Remove it") from None


def _time_of(line: bytes) -> datetime | None:
    match = re.match(_TIME, line)
    try:
        return datetime.fromisoformat(match[1].decode()).replace(tzinfo=UTC) if match else None
    except ValueError:  # as 2026-99-99
        return None


def _beginning_of(file: BinaryIO, tail: int) -> int:
    """Return the offset at which to read the last `tail` lines with their times, without reading all of a long log."""
    size = os.fstat(file.fileno()).st_size
    length = BLOCK
    while length < size:
        file.seek(size - length)
        begin = _cut(file.read(length), tail)
        if begin is not None:
            return size - length + begin
        length *= 2
    return 0


def _cut(block: bytes, tail: int) -> int | None:
    """Return the offset in a log's last bytes of a line with a time to start at, None if more bytes are needed."""
    # The bytes after the last newline may be a line too.
    head, *lines = block.rsplit(b"\n", tail + 1)
    if len(lines) <= tail:
        return None
    if re.match(_TIME, lines[0]):
        return len(head) + 1
    first_whole_line = head.find(b"\n") + 1 or len(head)
    times = list(re.compile(rb"^" + _TIME, re.MULTILINE).finditer(head, first_whole_line))
    if times:
        return times[-1].start()
    return len(head) + 1 if len(block) >= SEARCHED else None


def size_of(log: Path) -> int:
    """Return the size of a log in bytes, 0 if it does not exist."""
    return log.stat().st_size if log.exists() else 0


def written_since(log: Path, offset: int) -> str:
    """Return what was written to a log since it was `offset` bytes long, or since it was replaced for its size."""
    with reading(log), open_regular(log, own=True) as file:
        text = file.read()
    return text[offset if offset <= len(text) else 0 :].decode("utf-8", "replace")
