"""The SQL statements of an import: todos in a file are matched with the owner's, then changed or added. Pure.

A todo in the file is the owner's todo with the same external id. The id that an export gives to a todo without one
names it too: see `transfer.records.lasting_id`. Each value is a text or NULL, as in COPY.
"""

from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Date,
    MetaData,
    SmallInteger,
    Table,
    Text,
    and_,
    bindparam,
    case,
    cast,
    column,
    delete,
    exists,
    extract,
    func,
    insert,
    literal_column,
    not_,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from .access import IN_LIST, Access, allowed, number
from .models import TodoState
from .orders import TIME
from .tables import todos
from .todo_statements import NOW

# `number` counts the todos of the file, and `line` is where one begins. `own_id` is the id in a lasting id.
COLUMNS: dict[str, Any] = {
    "number": BigInteger(),
    "line": BigInteger(),
    "external_id": Text(),
    "own_id": BigInteger(),
    "title": Text(),
    "description": Text(),
    "state": Text(),
    "priority": SmallInteger(),
    "due_at": TIME,
    "due_on": Date(),
    "tags": ARRAY(Text),
    "created_at": TIME,
    "completed_at": TIME,
}
_SAME = ("title", "description", "state", "priority", "tags")  # columns that are compared as they are

staged = Table(
    "staged_todos",
    MetaData(),
    *(Column(name, kind) for name, kind in COLUMNS.items()),
    schema="pg_temp",
    prefixes=["TEMPORARY"],
)
COPY = f"COPY pg_temp.{staged.name} ({', '.join(COLUMNS)}) FROM STDIN"


@cache
def importing(access: Access, from_staged: bool) -> Any:
    """Return a statement that adds and changes todos, and returns how many of each."""
    given = _matched(access, from_staged)
    parts = _addition(access, given).cte("added"), _change(access, given).cte("changed")
    return select(*(select(func.count()).select_from(part).scalar_subquery() for part in parts))


@cache
def counting(access: Access, from_staged: bool) -> Any:
    """Return a query with the counts of `importing`, which changes nothing."""
    given = _matched(access, from_staged)
    rows = given.outerjoin(todos, and_(*_within(access, todos), *allowed(access), todos.c.id == given.c.todo_id))
    is_new = given.c.todo_id.is_(None)
    return select(func.count().filter(is_new), func.count().filter(not_(is_new), _differs(given))).select_from(rows)


@cache
def repeated() -> Any:
    """Return the lines of staged todos whose external id an earlier one has, with the lines of these."""
    firsts, earlier = _firsts(), staged.alias("earlier")
    rows = staged.join(firsts, _is_repeated(firsts)).join(earlier, earlier.c.number == firsts.c.number)
    return select(staged.c.line, earlier.c.line).select_from(rows).order_by(staged.c.number)


@cache
def without_repeated() -> Any:
    return delete(staged).where(_is_repeated(_firsts()))


def lasting_id(todo: Any) -> ColumnElement[str]:
    """Return `transfer.records.lasting_id` of a todo."""
    microseconds = cast(extract("epoch", todo.c.created_at) * 1_000_000, BigInteger)
    key = func.concat_ws(":", "fastzero", todo.c.user_id, todo.c.id, microseconds)
    digest = func.encode(func.sha256(func.convert_to(key, "UTF8")), "hex")
    id = func.right(func.lpad(func.to_hex(todo.c.id), 16, "0"), 12)
    parts = [func.left(id, 8), func.right(id, 4), *(func.concat("8", func.substr(digest, at, 3)) for at in (1, 4))]
    return func.concat_ws("-", *parts, func.substr(digest, 7, 12))


def _firsts() -> Any:
    id = staged.c.external_id
    several = select(id, func.min(staged.c.number).label("number")).where(id.is_not(None))
    return several.group_by(id).having(func.count() > 1).subquery("firsts")


def _is_repeated(firsts: Any) -> ColumnElement[bool]:
    return and_(staged.c.external_id == firsts.c.external_id, staged.c.number > firsts.c.number)


def _matched(access: Access, from_staged: bool) -> Any:
    """Return the given todos, each with the id of the owner's todo that it names. Without a valid token, none."""
    source: Any = staged if from_staged else _arrays()
    named, own = todos.alias("named"), todos.alias("own")
    id = source.c.external_id
    by_name = and_(*_within(access, named), named.c.external_id == id)
    is_own = and_(own.c.external_id.is_(None), lasting_id(own) == id)
    by_id = and_(*_within(access, own), own.c.id == source.c.own_id, is_own)
    found = select(*(source.c[name] for name in COLUMNS), func.coalesce(named.c.id, own.c.id).label("todo_id"))
    rows = source.outerjoin(named, by_name).outerjoin(own, by_id)
    return found.select_from(rows).where(*allowed(access)).cte("given")


def _within(access: Access, todo: Any) -> list[ColumnElement[bool]]:
    """Return the conditions for todos that may be named: of an owner in any list, of a member in the list alone."""
    mine: list[ColumnElement[bool]] = [todo.c.user_id == number("owner_id")]
    return [*mine, todo.c.list_id == number("place_id")] if access.by_member else mine


def _arrays() -> Any:
    """Return the given todos as a table. Columns are passed as arrays of texts."""
    arrays = [bindparam(f"given_{name}", type_=ARRAY(Text)) for name in COLUMNS]
    texts = func.unnest(*arrays).table_valued(*(column(name, Text) for name in COLUMNS), name="texts").render_derived()
    return select(*(cast(texts.c[name], kind).label(name) for name, kind in COLUMNS.items())).subquery("source")


def _differs(given: Any) -> ColumnElement[bool]:
    """Return whether a todo is not as in the file. Its times are not compared: many formats do not have all digits."""
    same_day = todos.c.due_on.is_not_distinct_from(given.c.due_on)
    moment = and_(given.c.due_on.is_(None), todos.c.due_at.is_distinct_from(given.c.due_at))
    return or_(*(todos.c[name].is_distinct_from(given.c[name]) for name in _SAME), not_(same_day), moment)


def _change(access: Access, given: Any) -> Any:
    values = {name: given.c[name] for name in _SAME} | {
        # The end of a day is another moment in another time zone.
        "due_at": case((todos.c.due_on == given.c.due_on, todos.c.due_at), else_=given.c.due_at),
        "due_on": given.c.due_on,
        "completed_at": _completed_at(given, before=todos.c.completed_at),
        "updated_at": NOW,
    }
    these = *_within(access, todos), *allowed(access), todos.c.id == given.c.todo_id, _differs(given)
    return update(todos).where(*these).values(values).returning(todos.c.id)


def _addition(access: Access, given: Any) -> Any:
    fields = {name: given.c[name] for name in (*_SAME, "due_at", "due_on")} | {
        "external_id": _free_id(given) if access.by_member else given.c.external_id,
        "created_at": func.coalesce(given.c.created_at, NOW),
        "completed_at": _completed_at(given, before=null()),
    }
    if access.within == IN_LIST:
        fields["list_id"] = number("place_id")
    rows = select(number("owner_id"), *fields.values()).where(given.c.todo_id.is_(None))
    return insert(todos).from_select(["user_id", *fields], rows.order_by(given.c.number)).returning(todos.c.id)


def _free_id(given: Any) -> ColumnElement[Any]:
    """Return the external id, or NULL if a todo of the owner in another list has it, which a member is not told."""
    other = todos.alias("other")
    taken = exists().where(other.c.user_id == number("owner_id"), other.c.external_id == given.c.external_id)
    return case((taken, null()), else_=given.c.external_id)


def _completed_at(given: Any, before: Any) -> ColumnElement[Any]:
    """Return when a todo of the file was completed: as before, as in the file, or now."""
    known = func.coalesce(before, given.c.completed_at)
    done = func.coalesce(known, NOW)
    is_state = {state: given.c.state == literal_column(f"'{state}'") for state in (TodoState.DONE, TodoState.TRASH)}
    return case((is_state[TodoState.DONE], done), (is_state[TodoState.TRASH], known))
