"""The SQL statements of an export: PostgreSQL itself writes the lines of CSV and JSON. Pure.

The lines of a page are one text, so that Python handles no single todo. They have the fields of `transfer.files.write`
in the same order; JSON is compact, and characters that it escapes for terminals are left to `formats.escaped`. Most of
the time goes into moments, so that those next to each other are written by one `replace`.
"""

from collections.abc import Callable
from functools import cache, reduce
from itertools import groupby
from typing import Any

from sqlalchemy import Select, Text, case, cast, func, literal_column, select
from sqlalchemy.dialects.postgresql import aggregate_order_by

from .filters import PRIORITIES
from .import_statements import lasting_id
from .models import INBOX
from .todo_statements import Page, page, unprepared

_DAY, _MOMENT = "YYYY-MM-DD", 'YYYY-MM-DD"T"HH24:MI:SS.US'


@cache
def lines(shape: Page, format: str, is_utc: bool) -> Select[Any]:
    """Return a query for the lines of a page in one text, with the id of the last todo and their number.

    `is_utc` is whether the session writes times in UTC and as ISO: this takes a third of the time of `to_char`.
    """
    found = page(shape).subquery("page")
    text = func.string_agg(_LINES[format](found, is_utc), aggregate_order_by(_text(""), found.c.id))
    return unprepared(select(text, func.max(found.c.id), func.count()).select_from(found), shape.where)


@cache
def allocation() -> Select[Any]:
    """Return a query that allocates and frees 16 MB, more than usual pages need.

    After that, glibc keeps the memory of pages: until a process has freed a block of a size once, it returns such
    blocks to the system and asks for them again (mallopt(3), M_MMAP_THRESHOLD), in a third of the time of an export.
    """
    kilobyte = func.repeat(_text("x"), literal_column("1000"))
    return select(func.octet_length(func.repeat(kilobyte, literal_column("16000"))))


@cache
def ids(shape: Page) -> Select[Any]:
    return unprepared(select(page(shape).subquery("page").c.id), shape.where)


def _csv(found: Any, is_utc: bool) -> Any:
    todo = found.c
    due = case(
        (todo.due_on.is_not(None), _joined(_day(todo, is_utc), ",")),
        (todo.due_at.is_not(None), _joined(*_moment(todo.due_at, is_utc), ",")),
        else_=_text(","),
    )
    plain = _with_t(
        *(todo.state, ",", *_moment(todo.created_at, is_utc), ",", *_moment(todo.updated_at, is_utc), ","),
        *(cast(todo.user_id, Text), ",", _priority(todo), ",", due),
    )
    external_id = case((todo.external_id.is_(None), lasting_id(found)), else_=_joined(*_in_quotes(todo.external_id)))
    return _joined(
        *(cast(todo.id, Text), ",", *_in_quotes(todo.title), ","),
        _unless(todo.description == _text(""), ",", *_in_quotes(todo.description), ","),
        plain,
        _unless(todo.tags == _NO_TAGS, "[],", *_in_quotes(_tags(todo)), ","),
        _unless(todo.completed_at.is_(None), ",", _with_t(*_moment(todo.completed_at, is_utc)), ","),
        _unless(todo.list_name.is_(None), f"{INBOX},", *_in_quotes(todo.list_name), ","),
        *(external_id, "\n"),
    )


def _json(found: Any, is_utc: bool) -> Any:
    todo = found.c
    due = case(
        (todo.due_on.is_not(None), _joined('"', _day(todo, is_utc), '",')),
        (todo.due_at.is_not(None), _joined('"', *_moment(todo.due_at, is_utc), '",')),
        else_=_text("null,"),
    )
    plain = _with_t(
        *(',"state":"', todo.state, '","created_at":"', *_moment(todo.created_at, is_utc)),
        *('","updated_at":"', *_moment(todo.updated_at, is_utc), '","user_id":', cast(todo.user_id, Text)),
        *(',"priority":"', _priority(todo), '","due":', due, '"tags":'),
    )
    completed = '"', _with_t(*_moment(todo.completed_at, is_utc)), '",'
    return _joined(
        *('{"id":', cast(todo.id, Text), ',"title":', _string(todo.title), ',"description":'),
        *(_unless(todo.description == _text(""), '""', _string(todo.description)), plain),
        *(_unless(todo.tags == _NO_TAGS, "[]", _tags(todo)), ',"completed_at":'),
        *(_unless(todo.completed_at.is_(None), "null,", *completed), '"list":'),
        *(_unless(todo.list_name.is_(None), f'"{INBOX}"', _string(todo.list_name)), ',"external_id":'),
        *(_string(func.coalesce(todo.external_id, lasting_id(found))), "}\n"),
    )


def _joined(*parts: Any) -> Any:
    """Return the texts as one, none of which is NULL, with as few `||` as can be.

    `||` takes two thirds of the time of `concat`, but as much for a comma as for a field.
    """
    texts: list[Any] = []
    for is_constant, group in groupby(parts, lambda part: isinstance(part, str)):
        neighbours = list(group)
        texts += [_text("".join(neighbours))] if is_constant else neighbours
    return reduce(lambda before, text: before.op("||")(text), texts)


def _with_t(*parts: Any) -> Any:
    """Return texts with moments as one, in which the only spaces are those before their times."""
    return func.replace(_joined(*parts), _text(" "), _text("T"))


def _moment(time: Any, is_utc: bool) -> tuple[Any, str]:
    """Return the parts of a moment in UTC. A fraction of a second has as many digits as it needs."""
    if is_utc:
        return cast(time, Text), ":00"
    return func.to_char(func.timezone(_text("UTC"), time), _text(_MOMENT)), "+00:00"


def _day(todo: Any, is_utc: bool) -> Any:
    return cast(todo.due_on, Text) if is_utc else func.to_char(todo.due_on, _text(_DAY))


def _priority(todo: Any) -> Any:
    names = {rank: _text(priority.value) for rank, priority in enumerate(PRIORITIES, 1)}
    return case(*((todo.priority == literal_column(str(rank)), name) for rank, name in names.items()))


def _tags(todo: Any) -> Any:
    return cast(func.to_json(todo.tags), Text)


def _string(text: Any) -> Any:
    """Return a text as JSON."""
    return cast(func.to_json(text), Text)


def _unless(condition: Any, text: str, *others: Any) -> Any:
    return case((condition, _text(text)), else_=_joined(*others))


def _in_quotes(field: Any) -> tuple[Any, ...]:
    """Return the parts of a field of CSV. To find out which texts need quotes would take longer than to write them."""
    return '"', func.replace(field, _text('"'), _text('""')), '"'


def _text(value: str) -> Any:
    """Return a text as a constant."""
    return literal_column("E'{}'".format(value.replace("\n", r"\n").replace("\r", r"\r")), Text)


_NO_TAGS: Any = literal_column("'{}'::text[]")
_LINES: dict[str, Callable[[Any, bool], Any]] = {"csv": _csv, "json": _json, "ndjson": _json}
FORMATS = tuple(_LINES)
