"""Import todos: check them, hand them over, then change and add them by one statement.

Few todos are passed as parameters of the statement. Many are copied to a temporary table first, so that memory use
stays constant; this needs the privilege to create one, and a block that is one transaction.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, tzinfo
from functools import lru_cache
from itertools import chain, islice
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.schema import CreateTable, DropTable

from ..errors import InvalidInputError
from ..postgres.copying import copy_in, escaped
from . import due, validate
from . import import_statements as statements
from .filters import RANKS
from .import_statements import COLUMNS, staged
from .models import TodoState
from .owner import OfOwner
from .results import Imported
from .transfer.records import Found, Invalid, NewRecord, own_id, valid

FEW = 10_000  # todos
FEW_TEXT = 4 * 1024 * 1024  # characters
_CACHED = 8192  # days and sets of tags, of which few are different
_IN_UTC = re.compile(r"(?!9999)(?:19|[2-9]\d)\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,6})?\+00:00", re.ASCII)

_NAMES_MAX, _NAME_MAX = 100, 100  # different names of what is left out, and characters of one
_OTHERS = "…"
_NOT_DUE = (None, None)
_STATES: dict[str, str] = {state.value: state.value for state in TodoState}
_RANKS: dict[str, str] = {priority.value: str(rank) for priority, rank in RANKS.items()}

Row = tuple[str | None, ...]
"""A checked todo of a file: the texts of `import_statements.COLUMNS` without its number."""

OnInvalid = Callable[[Invalid], None] | None


class Problems:
    """Tells of invalid todos and counts them. Without `on_invalid`, the first one raises InvalidInputError.

    It also counts by name what is left out of valid ones.
    """

    def __init__(self, on_invalid: OnInvalid) -> None:
        self.count = 0
        self._on_invalid = on_invalid
        self._left_out: Counter[str] = Counter()

    @property
    def left_out(self) -> dict[str, int]:
        return dict(sorted(self._left_out.items()))

    def leave_out(self, names: Iterable[str]) -> None:
        """Count names. Beyond a number of different ones they are one, so that memory use stays constant."""
        for name in names:
            shown = name[:_NAME_MAX].encode("utf-8", "replace").decode()
            is_one_more = shown not in self._left_out and len(self._left_out) >= _NAMES_MAX
            self._left_out[_OTHERS if is_one_more else shown] += 1

    @property
    def add(self) -> OnInvalid:
        return self._add if self._on_invalid else None

    def repeated(self, line: int, first: int) -> None:
        message = f"the same id as in line {first}"
        if self._on_invalid is None:
            raise InvalidInputError(f"line {line}: {message}", field="external_id")
        self._add(Invalid(line, message))

    def _add(self, invalid: Invalid) -> None:
        assert self._on_invalid is not None, "else the first one was raised"
        self.count += 1
        self._on_invalid(invalid)


def rows_of(found: Iterable[Found], zone: tzinfo | None, problems: Problems) -> Iterator[Row]:
    """Yield the rows of valid todos, and tell of others. Pure."""
    return valid(found, _Checking(zone, problems).row, problems.add)


class Importing(OfOwner):
    """The import of the todos of one owner, in the transaction of one connection."""

    def run(self, rows: Iterable[Row], problems: Problems, *, dry_run: bool = False) -> Imported:
        """Change and add todos, or only count them. Of several with one external id, all but the first are invalid."""
        source = iter(rows)
        few = _few(source)
        following = next(source, None)
        if following is None:
            return self._pass(few, problems, dry_run)
        return self._stage(chain(few, [following], source), problems, dry_run)

    def _pass(self, few: list[Row], problems: Problems, dry_run: bool) -> Imported:
        """Import todos that are passed as parameters."""
        given = [(str(number), *row) for number, row in enumerate(without_repeated(few, problems))]
        values = {f"given_{name}": [row[at] for row in given] for at, name in enumerate(COLUMNS)}
        added, changed = self._counted(False, dry_run, **values)
        return Imported(added, changed, len(given) - added - changed, problems.count, problems.left_out)

    def _stage(self, rows: Iterable[Row], problems: Problems, dry_run: bool) -> Imported:
        """Import todos by a temporary table."""
        with self._connection.begin_nested(), self._unlimited():
            self._connection.execute(CreateTable(staged))
            given = copy_in(self._connection, statements.COPY, _lines(rows))
            before = problems.count
            for row in self._connection.execute(statements.repeated()):
                problems.repeated(*row)
            if problems.count > before:
                given -= self._connection.execute(statements.without_repeated()).rowcount
            added, changed = self._counted(True, dry_run)
            self._connection.execute(DropTable(staged))
        return Imported(added, changed, given - added - changed, problems.count, problems.left_out)

    def _counted(self, from_staged: bool, dry_run: bool, **values: Any) -> tuple[int, int]:
        """Return how many todos were added and changed."""
        statement = statements.counting if dry_run else statements.importing
        counts: Any = self._change(statement(self._to_change, from_staged), **values).one()
        added, changed = counts
        if not added and not changed:
            self._confirm(changes=True)
        return added, changed

    @contextmanager
    def _unlimited(self) -> Iterator[None]:
        """Let statements take longer than the limit of the session: how many todos there are is up to the caller."""
        before = self._connection.execute(select(func.current_setting("statement_timeout"))).scalar_one()
        self._connection.execute(select(func.set_config("statement_timeout", "0", True)))
        yield
        self._connection.execute(select(func.set_config("statement_timeout", before, True)))


class _Checking:
    """Checks todos of one file. Dates are read once, as there are fewer days than todos."""

    def __init__(self, zone: tzinfo | None, problems: Problems) -> None:
        self._zone = zone
        self._problems = problems
        self._due = lru_cache(_CACHED)(self._read_due)
        self._tags = lru_cache(_CACHED)(_tags)

    def row(self, record: NewRecord) -> Row:
        line, todo, created_at, completed_at, id, left_out = record
        due_at, due_on = self._due(todo.due) if todo.due else _NOT_DUE
        row = (
            str(line),
            id and validate.external_id(id),
            id and own_id(id),
            validate.title(todo.title),
            todo.description and validate.description(todo.description),
            _STATES.get(todo.state) or validate.state(todo.state).value,
            _RANKS.get(todo.priority) or str(RANKS[validate.priority(todo.priority)]),
            due_at,
            due_on,
            self._tags(tuple(todo.tags)),
            self._moment(created_at, "created_at"),
            self._moment(completed_at, "completed_at"),
        )
        if left_out:
            self._problems.leave_out(left_out)
        return row

    def _read_due(self, value: date | str) -> tuple[str | None, str | None]:
        found = due.read(value, self._zone)
        if found is None:
            return None, None
        day = due.whole_day(found)
        return due.end_of(found, self._zone).isoformat(), None if day is None else day.isoformat()

    def _moment(self, value: date | str | None, field: str) -> str | None:
        """Return a moment, or the beginning of a day."""
        if value is None or (isinstance(value, str) and _is_in_utc(value)):
            return value
        found = due.read(value, self._zone, field)
        return None if found is None else due.beginning_of(found, self._zone).isoformat()


def _is_in_utc(text: str) -> bool:
    """Return whether a text is a moment as our exports have it, which PostgreSQL reads as it is."""
    if not _IN_UTC.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:  # no such day or hour
        return False
    return True


def _tags(tags: tuple[str, ...]) -> str:
    checked = validate.tags(tags)
    return f"""{{"{'","'.join(checked)}"}}""" if checked else "{}"


def _few(source: Iterator[Row]) -> list[Row]:
    """Return the first todos, as many as can be passed as parameters."""
    rows, text = [], 0
    for row in islice(source, FEW):
        rows.append(row)
        text += sum(len(field) for field in row if field)
        if text > FEW_TEXT:
            break
    return rows


def without_repeated(rows: Iterable[Row], problems: Problems) -> Iterator[Row]:
    """Yield the rows but those whose external id an earlier one has. Keeps all ids in memory. Pure."""
    firsts: dict[str, str | None] = {}
    for row in rows:
        line, id = row[:2]
        if id in firsts:
            problems.repeated(int(line or 0), int(firsts[id] or 0))
            continue
        if id is not None:
            firsts[id] = line
        yield row


def _lines(rows: Iterable[Row]) -> Iterator[str]:
    """Yield the lines of COPY. Only texts that people write have to be escaped."""
    for number, row in enumerate(rows):
        line, id, own, title, description, *rest = row
        texts = (id and escaped(id), own, title and escaped(title), description and escaped(description))
        fields = (str(number), line, *texts, *rest)
        yield "\t".join(["\\N" if field is None else field for field in fields]) + "\n"
