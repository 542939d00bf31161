"""What readers yield: a todo with its times, or why a line is none. Pure."""

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, NamedTuple, TypeVar

from ...errors import InvalidInputError
from ..due import beginning_of
from ..models import NewTodo, Priority, Todo, TodoState
from ..validate import EXTERNAL_ID_MAX, TAG_MAX

T = TypeVar("T")
_NOT_UTF_8 = re.compile("[\udc80-\udcff]")  # how Python decodes bytes that are not UTF-8
_NOT_IN_A_TAG = re.compile(r"[^\w./:@+-]+")
_LASTING_ID = re.compile(r"([0-9a-f]{8})-([0-9a-f]{4})-8[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}", re.ASCII)
_LASTING_ID_LENGTH = 36
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OF_TODO = ("title", "description", "state", "priority", "due", "tags")
_TIMES = ("created_at", "completed_at")
_FIELDS = frozenset({*_OF_TODO, *_TIMES, "external_id"})
# In our own exports; a new todo gets its own, and is added to the list that the import is for.
_OF_THE_DATABASE = frozenset({"id", "user_id", "updated_at", "list"})
_KNOWN = _FIELDS | _OF_THE_DATABASE


class NewRecord(NamedTuple):  # made faster than a dataclass: files may have millions
    """A todo in a file, and the number of its first line. Times are moments, days, or texts as for `due`.

    `left_out` names what the file says about it and a todo has no field for.
    """

    line: int
    todo: NewTodo
    created_at: date | str | None = None
    completed_at: date | str | None = None
    external_id: str | None = None
    left_out: Collection[str] = ()


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


def of_fields(line: int, fields: Mapping[str, Any], tags: Iterable[str]) -> NewRecord:
    """Return the record with these fields, named as in our exports. Raises InvalidInputError."""
    if not fields.keys() <= _KNOWN:
        refuse_unknown(fields)
    for name, value in fields.items():
        if not isinstance(value, str) and value is not None and not _is_other(name, value):
            raise InvalidInputError(f"{name} is not a text", field=name)
    return of_texts(line, fields, tags)


def of_texts(line: int, fields: Mapping[str, Any], tags: Iterable[str]) -> NewRecord:
    """Return the record with fields that are known, and texts. Raises InvalidInputError."""
    get = fields.get
    title, description, state, priority = get("title"), get("description"), get("state"), get("priority")
    if title is None:
        raise InvalidInputError("title is missing", field="title")
    todo = NewTodo(
        title,
        "" if description is None else description,
        TodoState.TODO if state is None else state,
        Priority.NONE if priority is None else priority,
        get("due"),
        tags,
    )
    return NewRecord(line, todo, get("created_at") or None, get("completed_at") or None, _id_of(fields))


def _is_other(name: str, value: Any) -> bool:
    """Return whether a field may have a value that is not a text."""
    return name == "tags" or (name in ("id", "user_id") and isinstance(value, int))


def refuse_unknown(names: Iterable[str]) -> None:
    """Raise InvalidInputError for a field that would be lost."""
    for name in names:
        if name not in _KNOWN:
            known = ", ".join((*_OF_TODO, *_TIMES, "external_id"))
            raise InvalidInputError(
                f"unknown field {name!r}", field=name, hint=f"Rename or remove it; the fields are {known}"
            )


def as_external_id(text: str) -> str | None:
    """Return what another program calls a todo, as an external id; of one that is too long its digest."""
    id = text.strip()
    if len(id) > EXTERNAL_ID_MAX:
        return f"sha256:{hashlib.sha256(id.encode('utf-8', 'surrogatepass')).hexdigest()}"
    return id or None


def _id_of(fields: Mapping[str, Any]) -> str | None:
    """Return the external id; without one, that of an export for a todo as our lists show it; else the `id` alone."""
    if given := fields.get("external_id"):
        return as_external_id(given)
    if fields.get("id") is None:
        return None
    try:
        numbers = int(fields["user_id"]), int(fields["id"])
        return lasting_id(*numbers, datetime.fromisoformat(fields["created_at"]))
    except (KeyError, TypeError, ValueError):  # not of our lists
        return as_external_id(str(fields["id"]))


def text_of(line: str) -> str:
    """Return a text that was UTF-8. Raises InvalidInputError."""
    if not line.isascii() and _NOT_UTF_8.search(line):
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


def external_id(todo: Todo) -> str:
    """Return what other programs call a todo: its external id, else a lasting one."""
    return todo.external_id or lasting_id(todo.user_id, todo.id, todo.created_at)


def lasting_id(user_id: int, id: int, created_at: datetime) -> str:
    """Return a UUID of a todo: the same each time, and another one for a todo of another database.

    It begins with 48 bits of the id, by which an import finds the todo again. `import_statements` has the same in SQL.
    """
    microseconds = (created_at - _EPOCH) // timedelta(microseconds=1)
    digest = hashlib.sha256(f"fastzero:{user_id}:{id}:{microseconds}".encode()).hexdigest()
    beginning = f"{id:016x}"[-12:]
    return f"{beginning[:8]}-{beginning[8:]}-8{digest[:3]}-8{digest[3:6]}-{digest[6:18]}"


def own_id(external_id: str) -> str | None:
    """Return the id of the todo that a lasting id may be of."""
    if len(external_id) != _LASTING_ID_LENGTH:
        return None
    match = _LASTING_ID.fullmatch(external_id)
    return str(int(match[1] + match[2], 16)) if match else None


def whole_day(moment: datetime, zone: tzinfo | None) -> date | None:
    """Return the day that begins at a moment in `zone`, if one does."""
    local = moment.astimezone(zone)
    return local.date() if beginning_of(local.date(), zone) == moment else None


def day_of(moment: datetime, zone: tzinfo | None) -> str:
    return moment.astimezone(zone).date().isoformat()
