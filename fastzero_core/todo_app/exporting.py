"""Export todos page by page: PostgreSQL writes the lines of CSV and JSON, Python those of other formats."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any

from sqlalchemy import Connection

from .. import formats
from ..errors import PoolExhaustedError
from ..postgres.database import connect, writes_utc
from . import export_statements
from .filters import Matching
from .models import Identity, ListInfo
from .owner import OfOwner, each_commits
from .todo_statements import Page
from .transfer.files import FIELDS

FORMATS = export_statements.FORMATS  # whose lines PostgreSQL writes
_READERS = 2  # connections besides
_ENOUGH, _TOO_MUCH = 1_000_000, 4_000_000  # characters of a page
# Of what another connection reads, in some statements: with more, fewer ends are looked for.
_ENOUGH_AHEAD, _TOO_MUCH_AHEAD, _PARTS = 4_000_000, 16_000_000, 2
_HEADS = {"csv": ",".join(FIELDS) + "\n", "json": "[\n  ", "ndjson": ""}


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of `count` todos as CSV or NDJSON, and the id of the last one."""

    text: str = ""
    last: int | None = None
    count: int = 0


NextLines = Callable[[int | None, int], Lines]
"""Return the lines of a number of todos after one, which has an id."""


class Exporting(OfOwner):
    """The export of the todos of one owner that match, in one of FORMATS, on one connection."""

    def __init__(
        self,
        connection: Connection,
        user: Identity | int,
        place: ListInfo | str | None,
        format: str,
        found: Matching,
    ) -> None:
        super().__init__(connection, user, place)
        self._format = format
        self._found = found

    def lines(self, after: int | None, limit: int, until: int | None = None) -> Lines:
        """Return the lines of up to `limit` todos, those with the next ids, which are not beyond `until`."""
        shape = Page(self._access, where=self._found.where, after=after is not None, until=until is not None)
        query = export_statements.lines(shape, self._format, writes_utc(self._connection))
        found: Any = self._execute(query, **self._values(after, until, page_size=limit, reach=limit)).one()
        if found.count:
            return Lines(*found)
        self._confirm()
        return Lines()

    def pages(self, size: int) -> Iterator[Lines]:
        """Yield the lines of all todos; `size` is the number of the first page.

        If each statement is a transaction of its own, two more connections read the pages after the first one: a
        session of PostgreSQL uses one processor, and writing the lines takes most of the time.
        """
        first = self.lines(None, size)
        if first.count:
            yield first
        if first.count < size:
            return
        with self._beside() as others:
            if others:
                yield from self._ahead(others, first.last, first.count * _ENOUGH_AHEAD // len(first.text) + 1)
            else:
                yield from one_by_one(self.lines, _next_size(size, first), first.last)

    def _ahead(self, others: Sequence["Exporting"], after: int | None, size: int) -> Iterator[Lines]:
        """Yield pages that other connections read, while the caller uses the pages before."""
        free: SimpleQueue[Exporting] = SimpleQueue()
        for each in others:
            free.put(each)
        reading: deque[tuple[Future[list[Lines]], int | None]] = deque()
        is_left = True
        with ThreadPoolExecutor(len(others)) as threads:
            while is_left or reading:
                while is_left and len(reading) <= len(others):
                    end = self._end(after, size)
                    reading.append((threads.submit(_read, free, after, end, size // _PARTS + 1), end))
                    is_left, after = end is not None, end
                part, until = reading.popleft()
                found = part.result()
                yield from found
                length, count = sum(len(lines.text) for lines in found), sum(lines.count for lines in found)
                if length > _TOO_MUCH_AHEAD:
                    yield from one_by_one(partial(self.lines, until=until), found[-1].count, found[-1].last)
                if count:
                    size = count * _ENOUGH_AHEAD // length + 1

    def _end(self, after: int | None, size: int) -> int | None:
        """Return the id of the last todo of a page, None if fewer are left."""
        shape = Page(self._access, where=self._found.where, after=after is not None, offset=True)
        values = self._values(after, None, page_size=1, skipped=size - 1, reach=size)
        found: int | None = self._execute(export_statements.ids(shape), **values).scalar()
        return found

    def _values(self, after: int | None, until: int | None, **counts: int) -> dict[str, Any]:
        ends = {name: id for name, id in (("last_id", after), ("until_id", until)) if id is not None}
        return {**self._found.values, **ends, **counts}

    @contextmanager
    def _beside(self) -> Iterator[list["Exporting"]]:
        """Yield the same on other connections; none where they would not see the same, or the server has none left."""
        engine = self._connection.engine
        with ExitStack() as stack:
            others = []
            if each_commits(self._connection) and not engine.dialect.is_async:
                with suppress(PoolExhaustedError):
                    for _ in range(_READERS):
                        connection = stack.enter_context(connect(engine))
                        connection = connection.execution_options(isolation_level="AUTOCOMMIT")
                        connection.execute(export_statements.allocation())
                        others.append(Exporting(connection, self._asker, self._place, self._format, self._found))
            yield others


def one_by_one(next_lines: NextLines, size: int, after: int | None = None) -> Iterator[Lines]:
    """Yield the pages after a todo. `size` is the number of the first one."""
    while (lines := next_lines(after, size)).count:
        yield lines
        if lines.count < size:
            return
        after, size = lines.last, _next_size(size, lines)


def _read(free: "SimpleQueue[Exporting]", after: int | None, end: int | None, size: int) -> list[Lines]:
    """Return the lines up to a todo, or only the first ones, if they are longer than expected.

    `size` is the number of todos of the first statement.
    """
    source = free.get()
    try:
        found, length = [], 0
        for lines in one_by_one(partial(source.lines, until=end), size, after):
            found.append(lines)
            length += len(lines.text)
            if length > _TOO_MUCH_AHEAD:
                break
        return found
    finally:
        free.put(source)


def written(pages: Iterable[Lines], format: str) -> Iterator[str]:
    """Yield the text of a file."""
    is_array = format == "json"
    head = _HEADS[format]
    end = "[]\n"
    for lines in pages:
        text = lines.text if format == "csv" else formats.escaped(lines.text)
        yield head
        yield text[:-1].replace("\n", ",\n  ") if is_array else text
        head = ",\n  " if is_array else ""
        end = "\n]\n"
    if is_array:
        yield end


def _next_size(size: int, lines: Lines) -> int:
    """Return the size of the next page. Larger ones take less time for each todo, up to a length of their text."""
    if len(lines.text) < _ENOUGH:
        return size * 2
    return max(size // 2, 1) if len(lines.text) > _TOO_MUCH else size
