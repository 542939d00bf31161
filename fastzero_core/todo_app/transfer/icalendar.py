"""Read and write the todos (VTODO) of iCalendar, RFC 5545.

A small reader of its own: what a todo has no field for, such as alarms and recurrence, is left out, and named. What the
format cannot express is in properties of our own, `X-FASTZERO-…`, percent-encoded.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import TextIO
from urllib.parse import quote, unquote

from ...errors import InvalidInputError
from .. import due as due_dates
from ..models import NewTodo, Priority, Todo, TodoState
from .records import Found, NewRecord, as_external_id, as_tags, external_id, found, text_of, utc

_LINE = re.compile(r'([\w-]+)((?:;[\w-]+=(?:"[^"]*"|[^":;])*)*):(.*)', re.ASCII | re.DOTALL)
_ZONE = re.compile(r';TZID="?([^";]+)', re.IGNORECASE)
_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(\d\d)(Z?))?", re.ASCII)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_STATES = {
    "NEEDS-ACTION": TodoState.TODO,
    "IN-PROCESS": TodoState.DOING,
    "COMPLETED": TodoState.DONE,
    "CANCELLED": TodoState.TRASH,
}
_STATUS = {state: status for status, state in _STATES.items()}
_NUMBERS = {Priority.HIGH: 1, Priority.MEDIUM: 5, Priority.LOW: 9}
_OWN = "X-FASTZERO-"
_READ = frozenset(
    (
        *("SUMMARY", "DESCRIPTION", "STATUS", "PRIORITY", "DUE", "CATEGORIES", "CREATED", "COMPLETED", "UID"),
        *("RECURRENCE-ID", "DTSTAMP", "LAST-MODIFIED", "SEQUENCE"),  # the last three say which version it is
    )
)
_FOLD = 75  # octets


@dataclass
class _Component:
    """A VTODO as it is read: each property with its parameters and value; the last one counts, except of CATEGORIES.

    A component in it, such as an alarm, counts as a property without a value.
    """

    line: int
    values: dict[str, tuple[str, str]] = field(default_factory=dict)
    categories: list[str] = field(default_factory=list)


def read(stream: TextIO, zone: tzinfo | None) -> Iterator[Found]:
    """Yield the todos of calendars. Raises InvalidInputError if one does not end."""
    open_: list[str] = []
    todo = _Component(0)
    for number, text in _unfolded(stream):
        match = _LINE.fullmatch(text)
        name, parameters, value = (match[1].upper(), match[2], match[3]) if match else ("", "", "")
        if name == "BEGIN":
            open_.append(value.strip().upper())
            if open_[-1] == "VTODO":
                todo = _Component(number)
            elif open_[-2:-1] == ["VTODO"]:
                todo.values[open_[-1]] = ("", "")
        elif name == "END":
            if not open_ or open_.pop() != value.strip().upper():
                raise InvalidInputError(f"line {number}: END:{value} ends nothing", field="file")
            if value.strip().upper() == "VTODO":
                yield _found(todo)
        elif not open_:
            raise InvalidInputError(f"line {number}: not iCalendar", field="file")
        elif open_[-1] == "VTODO":  # and not an alarm in it
            todo.values[name] = (parameters, value)
            if name == "CATEGORIES":
                todo.categories += re.findall(r"(?:\\.|[^\\,])+", value)
    if open_:
        raise InvalidInputError(f"{open_[-1]} does not end", field="file")


def write(todos: Iterable[Todo], zone: tzinfo | None) -> Iterator[str]:
    yield "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//fastzero//todos//EN\r\n"
    for todo in todos:
        yield "".join(_folded(line) for line in _properties(todo))
    yield "END:VCALENDAR\r\n"


def _unfolded(stream: TextIO) -> Iterator[tuple[int, str]]:
    """Yield each content line with its number. A character that was folded between its bytes is put together."""
    first, parts = 1, [""]
    for number, line in enumerate(stream, 1):
        if line[0] in " \t":
            parts.append(line[1:].rstrip("\r\n"))
            continue
        yield from _whole(first, parts)
        first, parts = number, [line.rstrip("\r\n")]
    yield from _whole(first, parts)


def _whole(number: int, parts: list[str]) -> Iterator[tuple[int, str]]:
    text = "".join(parts)
    if text:
        yield number, text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def _found(todo: _Component) -> Found:
    return found(todo.line, lambda: _record(todo))


def _record(todo: _Component) -> NewRecord:
    status = _text(todo, "STATUS").upper() or ("COMPLETED" if "COMPLETED" in todo.values else "NEEDS-ACTION")
    if status not in _STATES:
        raise InvalidInputError(f"STATUS {status!r} is not one of {', '.join(_STATES)}", field="status")
    state = _own(todo, "STATE") or _STATES[status]
    new = NewTodo(
        _own(todo, "TITLE") or _text(todo, "SUMMARY"),
        _own(todo, "DESCRIPTION") or _text(todo, "DESCRIPTION"),
        state,
        _priority(_text(todo, "PRIORITY")),
        _own(todo, "DUE") or _time(todo, "DUE"),
        as_tags(map(_unescaped, todo.categories)),
    )
    left_out = [name for name in todo.values if name not in _READ and not name.startswith(_OWN)]
    return NewRecord(todo.line, new, _time(todo, "CREATED"), _time(todo, "COMPLETED"), _id(todo), left_out)


def _id(todo: _Component) -> str | None:
    """Return the UID. One instance of a recurring todo, which was changed, has that of the others."""
    instance = todo.values.get("RECURRENCE-ID", ("", ""))[1]
    return as_external_id(f"{_text(todo, 'UID')} {instance}")


def _text(todo: _Component, name: str) -> str:
    return _unescaped(todo.values.get(name, ("", ""))[1])


def _own(todo: _Component, name: str) -> str:
    return unquote(todo.values.get(_OWN + name, ("", ""))[1])


def _unescaped(value: str) -> str:
    return _ESCAPE.sub(lambda found: "\n" if found[1] in "nN" else found[1], text_of(value))


def _priority(text: str) -> Priority:
    if not text.isdecimal() or int(text[:9]) == 0:
        return Priority.NONE
    number = int(text[:9])
    return Priority.HIGH if number < 5 else Priority.MEDIUM if number == 5 else Priority.LOW


def _time(todo: _Component, name: str) -> str | None:
    """Return a time as a text for `due`: a day, or a moment, which without a zone is local."""
    parameters, value = todo.values.get(name, ("", ""))
    if not value:
        return None
    match = _TIME.fullmatch(value.strip())
    if not match:
        raise InvalidInputError(f"invalid {name} {value!r}", field=name.lower())
    year, month, day, hour, minute, second, is_utc = match.groups()
    date = f"{year}-{month}-{day}"
    if hour is None:
        return date
    local = f"{date} {hour}:{minute}:{second}{is_utc}"
    zone = _ZONE.search(parameters)
    if not zone or is_utc:
        return local
    moment = due_dates.parse(local, _zone(zone[1]))
    assert moment is not None, "it is not `none`"
    return moment.isoformat()


@lru_cache(64)
def _zone(name: str) -> tzinfo:
    """Return the time zone of a TZID. Some programs put a path of their own before the name."""
    parts = name.split("/")[-3:]
    for first in range(len(parts)):
        with suppress(InvalidInputError):
            return due_dates.zone("/".join(parts[first:]))
    raise InvalidInputError(f"unknown time zone {name!r}", field="due")


def _properties(todo: Todo) -> Iterator[str]:
    yield "BEGIN:VTODO"
    yield f"UID:{_escaped(external_id(todo))}"
    yield f"DTSTAMP:{utc(todo.updated_at)}"
    yield f"CREATED:{utc(todo.created_at)}"
    yield f"LAST-MODIFIED:{utc(todo.updated_at)}"
    yield from _texts("SUMMARY", "TITLE", todo.title)
    yield from _texts("DESCRIPTION", "DESCRIPTION", todo.description)
    yield f"STATUS:{_STATUS.get(todo.state, 'NEEDS-ACTION')}"
    if todo.state not in _STATUS:
        yield f"{_OWN}STATE:{todo.state}"
    if todo.completed_at:
        yield f"COMPLETED:{utc(todo.completed_at)}"
    if todo.priority in _NUMBERS:
        yield f"PRIORITY:{_NUMBERS[todo.priority]}"
    if isinstance(todo.due, datetime):
        yield f"DUE:{utc(todo.due)}"
        if todo.due.microsecond:
            yield f"{_OWN}DUE:{quote(todo.due.isoformat())}"
    elif todo.due:
        yield f"DUE;VALUE=DATE:{todo.due:%Y%m%d}"
    if todo.tags:
        yield f"CATEGORIES:{','.join(todo.tags)}"
    yield "END:VTODO"


def _texts(name: str, own: str, text: str) -> Iterator[str]:
    """Yield a text, and again what cannot be in one, which is a carriage return."""
    if text:
        yield f"{name}:{_escaped(text)}"
    if "\r" in text:
        yield f"{_OWN}{own}:{quote(text)}"


def _escaped(text: str) -> str:
    return re.sub(r"([\\;,])", r"\\\1", text).replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\\n")


def _folded(line: str) -> str:
    """Return a content line, folded after at most 75 octets and between characters."""
    if len(line.encode()) <= _FOLD:
        return line + "\r\n"
    lines, size = [""], 0
    for character in line:
        width = len(character.encode())
        if size + width > _FOLD:
            lines.append(" ")
            size = 1
        lines[-1] += character
        size += width
    return "\r\n".join(lines) + "\r\n"
