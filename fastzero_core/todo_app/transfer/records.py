"""What readers yield: a todo with its times, or why a line is none. Pure."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from typing import Any, TypeVar
from uuid import NAMESPACE_URL, uuid5

from ...errors import InvalidInputError
from ..due import beginning_of
from ..models import NewTodo, Todo
from ..validate import TAG_MAX

T = TypeVar("T")
_NOT_UTF_8 = re.compile("[\udc80-\udcff]")  # how Python decodes bytes that are not UTF-8
_NOT_IN_A_TAG = re.compile(r"[^\w./:@+-]+")
_FIELDS = ("title", "description", "state", "priority", "due", "tags", "created_at", "completed_at")
_OF_THE_DATABASE = ("id", "user_id", "updated_at")  # in our own exports; a new todo gets its own


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A todo in a file, and the number of its first line. Times are moments, days, or texts as for `due`."""

    line: int
    todo: NewTodo
    created_at: date | str | None = None
    completed_at: date | str | None = None


@dataclass(frozen=True, slots=True)
class Invalid:
    """Why what begins at a line cannot be a todo."""

    line: int
    reason: str


Found = NewRecord | Invalid


def found(line: int, build: Callable[[], NewRecord]) -> Found:
    """Return a record, or Invalid with the reason why it cannot be built."""
    try:
        return build()
    except InvalidInputError as error:
        return Invalid(line, error.message)


def valid(
    records: Iterable[Found], check: Callable[[NewRecord], T], on_invalid: Callable[[Invalid], None] | None
) -> Iterator[T]:
    """Yield the checked records. Tell of invalid ones, or raise InvalidInputError for the first one."""
    for record in records:
        try:
            if isinstance(record, Invalid):
                raise InvalidInputError(record.reason)
            yield check(record)
        except InvalidInputError as error:
            if on_invalid is None:
                raise InvalidInputError(
                    f"line {record.line}: {error.message}", field=error.field, hint=error.hint
                ) from None
            on_invalid(Invalid(record.line, error.message))


def of_fields(line: int, fields: Mapping[str, Any]) -> NewRecord:
    """Return the record with these fields, named as in our exports. Raises InvalidInputError."""
    refuse_unknown(fields)
    given = {name: value for name, value in fields.items() if value is not None and name in _FIELDS}
    for name, value in given.items():
        if not isinstance(value, str) and name != "tags":
            raise InvalidInputError(f"{name} is not a text", field=name)
    if "title" not in given:
        raise InvalidInputError("title is missing", field="title")
    times = {name: given.pop(name, None) or None for name in ("created_at", "completed_at")}
    return NewRecord(line, NewTodo(**given), **times)


def refuse_unknown(names: Iterable[str]) -> None:
    """Raise InvalidInputError for a field that would be lost."""
    for name in names:
        if name not in _FIELDS and name not in _OF_THE_DATABASE:
            raise InvalidInputError(
                f"unknown field {name!r}", field=name, hint=f"Rename or remove it; the fields are {', '.join(_FIELDS)}"
            )


def text_of(line: str) -> str:
    """Return a text that was UTF-8. Raises InvalidInputError."""
    if _NOT_UTF_8.search(line):
        raise InvalidInputError("not UTF-8", hint="Convert the file: iconv -t UTF-8")
    return line


def as_tag(name: str) -> str:
    """Return the nearest tag to a name that another program allows: `Home office` is `home-office`. May be empty."""
    return _NOT_IN_A_TAG.sub("-", name.strip()).strip("./:@+-")[:TAG_MAX].lower()


def as_tags(names: Iterable[str]) -> list[str]:
    return [tag for tag in map(as_tag, names) if tag]


def utc(moment: datetime) -> str:
    """Return a moment as iCalendar and Taskwarrior write it, to the second."""
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def lasting_id(todo: Todo) -> str:
    """Return a UUID of a todo: the same each time, and another one for a todo of another database."""
    return str(uuid5(NAMESPACE_URL, f"fastzero:{todo.user_id}:{todo.id}:{todo.created_at.isoformat()}"))


def whole_day(moment: datetime, zone: tzinfo | None) -> date | None:
    """Return the day that begins at a moment in `zone`, if one does."""
    local = moment.astimezone(zone)
    return local.date() if beginning_of(local.date(), zone) == moment else None


def day_of(moment: datetime, zone: tzinfo | None) -> str:
    return moment.astimezone(zone).date().isoformat()
