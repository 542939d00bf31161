"""The SQL statements for todos. Each is built once per shape, since building takes as long as running it.

Values are named parameters: `owner_id` in all statements, and `token_version` in those that also check a token. The
module is pure: it uses no connection and no values.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Column,
    ColumnElement,
    Select,
    Text,
    any_,
    bindparam,
    column,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql.dml import ReturningInsert

from .models import TodoSort
from .tables import todos, users

FIELDS: tuple[Column[Any], ...] = (
    todos.c.id,
    todos.c.title,
    todos.c.description,
    todos.c.state,
    todos.c.created_at,
    todos.c.updated_at,
    todos.c.user_id,
)
SORT_COLUMNS: dict[TodoSort, Column[Any]] = {
    TodoSort.ID: todos.c.id,
    TodoSort.CREATED: todos.c.created_at,
    TodoSort.UPDATED: todos.c.updated_at,
    TodoSort.TITLE: todos.c.title,
}
NEW_FIELDS = ("title", "description", "state")


@dataclass(frozen=True, slots=True)
class Page:
    """The shape of a list: its order and its conditions, without their values.

    The parameters are `states`; the patterns `text`, `title_part` and `description_part`; `last` and `last_id`, the
    sort key and id of the todo after which the page starts; `page_size`, `skipped`, and `reach`, the sum of these two.
    """

    with_token: bool
    order: TodoSort = TodoSort.ID
    descending: bool = False
    states: bool = False
    text: bool = False
    title: bool = False
    description: bool = False
    after: bool = False
    offset: bool = False


def owned(with_token: bool) -> list[ColumnElement[bool]]:
    """Return the conditions of every statement: the owner's rows, and with a token, that it is valid."""
    owner_id = _number("owner_id")
    mine = todos.c.user_id == owner_id
    return [mine, _token_is_valid()] if with_token else [mine]


def among(with_token: bool) -> list[ColumnElement[bool]]:
    """Return the conditions for the owner's todos whose ids are in `ids`."""
    return [*owned(with_token), todos.c.id == any_(bindparam("ids", type_=ARRAY(BigInteger)))]


@cache
def insertion(with_token: bool) -> ReturningInsert[Any]:
    """Return a statement that inserts any number of todos. Their fields are passed as arrays."""
    arrays = [bindparam(f"{name}s", type_=ARRAY(Text)) for name in NEW_FIELDS]
    columns = [column(name, Text) for name in NEW_FIELDS]
    given = func.unnest(*arrays).table_valued(*columns, with_ordinality="position", name="given").render_derived()
    rows = select(_number("owner_id"), *(given.c[name] for name in NEW_FIELDS)).order_by(given.c.position)
    if with_token:
        rows = rows.where(_token_is_valid())
    return insert(todos).from_select(["user_id", *NEW_FIELDS], rows).returning(*FIELDS)


@cache
def selection(with_token: bool) -> Select[Any]:
    return select(*FIELDS).where(*among(with_token))


@cache
def deletion(with_token: bool) -> Any:
    return delete(todos).where(*among(with_token)).returning(*FIELDS)


@cache
def page(shape: Page) -> Select[Any]:
    rows = select(*FIELDS).where(*owned(shape.with_token), *_filters(shape))
    if shape.states or shape.order is not TodoSort.ID:
        rows = _in_states(rows, shape)
    else:
        rows = rows.order_by(*_ordering(todos.c, shape))
    rows = rows.limit(_count("page_size"))
    return rows.offset(_count("skipped")) if shape.offset else rows


def contains(column: Column[Any], parameter: str) -> ColumnElement[bool]:
    return column.ilike(bindparam(parameter, type_=Text))


def _filters(shape: Page) -> list[ColumnElement[bool]]:
    filters = []
    if shape.text:
        filters.append(or_(contains(todos.c.title, "text"), contains(todos.c.description, "text")))
    if shape.title:
        filters.append(contains(todos.c.title, "title_part"))
    if shape.description:
        filters.append(contains(todos.c.description, "description_part"))
    if shape.after:
        filters.append(_is_after(shape))
    return filters


def _is_after(shape: Page) -> ColumnElement[bool]:
    if shape.order is TodoSort.ID:
        last_id = _number("last_id")
        return todos.c.id < last_id if shape.descending else todos.c.id > last_id
    key = SORT_COLUMNS[shape.order]
    here, there = tuple_(key, todos.c.id), tuple_(bindparam("last", type_=key.type), _number("last_id"))
    return here < there if shape.descending else here > there


def _in_states(rows: Select[Any], shape: Page) -> Select[Any]:
    """Limit the rows to some states: read at most `reach` rows of each state by a short index scan, then merge them.

    A plain `state IN (…)` would scan the owner's whole list if the states are rare at its beginning. The indexes start
    with the owner and the state, so sorting without a filter also reads each state separately.
    """
    names = bindparam("states", type_=ARRAY(Text))
    wanted = func.unnest(names).table_valued(column("state", Text), name="wanted").render_derived()
    of_state = (
        rows.where(todos.c.state == wanted.c.state)
        .order_by(*_ordering(todos.c, shape))
        .limit(_count("reach"))
        .lateral("page")
    )
    return select(*of_state.c).select_from(wanted.join(of_state, true())).order_by(*_ordering(of_state.c, shape))


def _ordering(columns: Any, shape: Page) -> list[ColumnElement[Any]]:
    keys = dict.fromkeys([columns[SORT_COLUMNS[shape.order].key], columns.id])
    return [key.desc() if shape.descending else key.asc() for key in keys]


def _token_is_valid() -> ColumnElement[bool]:
    of_owner = users.c.id == _number("owner_id")
    return exists().where(of_owner, users.c.token_version == _number("token_version"))


def _number(name: str) -> BindParameter[int]:
    return bindparam(name, type_=BigInteger)


def _count(name: str) -> BindParameter[int]:
    """Return a number of rows as a literal. For a parameter PostgreSQL assumes a tenth of all rows.

    With that estimate it would plan each run on a large table again, which takes longer than running it.
    """
    return bindparam(name, type_=BigInteger, literal_execute=True)
