"""The SQL statements for todos. Each is built once per shape, since building takes as long as running it.

Values are named parameters, of the condition of access (see `access`) in all statements. The module is pure: it uses
no connection and no values.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Column,
    ColumnElement,
    Date,
    DateTime,
    Executable,
    Select,
    SmallInteger,
    Text,
    any_,
    bindparam,
    case,
    cast,
    column,
    delete,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql.dml import ReturningInsert

from ..postgres.database import UNPREPARED
from .access import ALL, IN_LIST, Access, allowed, number, owned
from .models import TodoSort, TodoState
from .orders import MOMENTS, SORT_KEYS, TIME
from .tables import lists, todo_tags, todos


def _list_name(owner_id: ColumnElement[int], list_id: ColumnElement[int]) -> ColumnElement[Any]:
    """Return the name of a todo's list. Most todos are in the inbox, and need no query for it."""
    name = select(lists.c.name).where(lists.c.user_id == owner_id, lists.c.id == list_id).scalar_subquery()
    return case((list_id.is_not(None), name)).label("list_name")


# The columns are literal, since SQLAlchemy does not correlate a query in RETURNING of an INSERT.
_LIST = _list_name(literal_column("todos.user_id", BigInteger), literal_column("todos.list_id", BigInteger))
FIELDS: tuple[ColumnElement[Any], ...] = (
    todos.c.id,
    todos.c.title,
    todos.c.description,
    todos.c.state,
    todos.c.created_at,
    todos.c.updated_at,
    todos.c.user_id,
    todos.c.priority,
    todos.c.due_on,
    todos.c.tags,
    todos.c.completed_at,
    todos.c.due_at,
    todos.c.position,
    _LIST,
    todos.c.external_id,
)
# As a query of its own: Citus refuses functions that are not immutable inside of CASE.
NOW = select(func.now()).scalar_subquery()
_BY_PRIORITY = (TodoSort.ID, TodoSort.PRIORITY)  # the orders in which an index continues with the priority
# The columns of new todos, each with the type of its array. The tags of a todo are joined, since PostgreSQL has no
# arrays of arrays of different lengths.
NEW_FIELDS: dict[str, Any] = {
    "title": Text,
    "description": Text,
    "state": Text,
    "priority": SmallInteger,
    "due_at": TIME,
    "due_on": Date,
    "tags": Text,
}
TAG_SEPARATOR = ","

Statement = TypeVar("Statement", bound=Executable)


@dataclass(frozen=True, slots=True)
class Conditions:
    """The shape of the conditions of a list, without their values.

    `states` and `priorities`, by their numbers, are those wanted, None means any: as few sets of them exist, they are a
    part of the shape. PostgreSQL does not know how many elements an array has that is a parameter, and would plan each
    run again. `tags` is how many the todo must have. The parameters are the patterns `text`, `title_part` and
    `description_part`; `tag_0`, `tag_1` …; and the `moments`, which are those of `MOMENTS` that limit the list, and are
    exclusive. A range with an end that is never reached would be planned as a narrow one, and each run again.
    """

    states: tuple[str, ...] | None = None
    priorities: tuple[int, ...] | None = None
    text: bool = False
    title: bool = False
    description: bool = False
    tags: int = 0
    moments: tuple[str, ...] = ()

    @property
    def has_text(self) -> bool:
        return self.text or self.title or self.description


@dataclass(frozen=True, slots=True)
class Page:
    """The shape of a list: its order and its conditions, without their values.

    The parameters are those of `Conditions`; `last_0`, `last_1` and `last_id`, the sort keys and the id of the todo
    after which the page starts; `page_size`, `skipped`, and `reach`, the sum of these two. `states` is given for every
    order but that by id. With `until`, which is for the order by id alone, no id is beyond `until_id`.
    """

    access: Access
    order: TodoSort = TodoSort.ID
    descending: bool = False
    where: Conditions = Conditions()
    after: bool = False
    offset: bool = False
    until: bool = False

    @property
    def is_merged(self) -> bool:
        """Whether each state is read separately, and not all of them from an index in the order of the list."""
        return bool(self.where.states) and not self._can_follow_tag

    @property
    def follows_tag(self) -> bool:
        """Whether todos are read in the order of the index of tags. A list, text and times may have a better one."""
        where = self.where
        return self._can_follow_tag and self.access.within == ALL and not (where.has_text or where.moments)

    @property
    def _can_follow_tag(self) -> bool:
        return self.where.tags > 0 and not self.where.priorities and self.order is TodoSort.ID


def among(access: Access, is_one: bool) -> list[ColumnElement[bool]]:
    """Return the conditions for the todo `one_id`, or for those whose ids are in `ids`.

    PostgreSQL expects ten ids in an array, and reads all entries of a user in another index if users have few todos on
    average: one of them who has many would wait long for one todo.
    """
    ids = number("one_id") if is_one else any_(bindparam("ids", type_=ARRAY(BigInteger)))
    return [*owned(access), todos.c.id == ids]


def unprepared(statement: Statement, where: Conditions) -> Statement:
    """Return a statement with the conditions. With a text it is not prepared: a text may be rare, or in all todos."""
    return statement.execution_options(**{UNPREPARED: True}) if where.has_text else statement


def matching(access: Access, where: Conditions) -> list[ColumnElement[bool]]:
    """Return the conditions for the todos that meet all of `where`."""
    return [*owned(access), *_filters(where), *_one_of(where)]


@cache
def insertion(access: Access) -> ReturningInsert[Any]:
    """Return a statement that inserts any number of todos. Their fields are passed as arrays."""
    arrays = [_array(f"new_{name}", kind) for name, kind in NEW_FIELDS.items()]
    columns = [column(name, kind) for name, kind in NEW_FIELDS.items()]
    given = func.unnest(*arrays).table_valued(*columns, with_ordinality="number", name="given").render_derived()
    fields = {name: given.c[name] for name in NEW_FIELDS} | {
        "tags": func.string_to_array(given.c.tags, literal_column(f"'{TAG_SEPARATOR}'"), type_=ARRAY(Text)),
        "completed_at": case((given.c.state == literal_column(f"'{TodoState.DONE}'"), NOW)),
    }
    if access.within == IN_LIST:
        fields["list_id"] = number("place_id")
    rows = select(number("owner_id"), *fields.values()).where(*allowed(access)).order_by(given.c.number)
    return insert(todos).from_select(["user_id", *fields], rows).returning(*FIELDS)


@cache
def selection(access: Access, is_one: bool) -> Select[Any]:
    return select(*FIELDS).where(*among(access, is_one))


@cache
def deletion(access: Access) -> Any:
    """Return a statement that deletes the todo `one_id`."""
    return delete(todos).where(*among(access, is_one=True)).returning(*FIELDS)


@cache
def counting(access: Access, where: Conditions) -> Select[Any]:
    return unprepared(select(func.count()).select_from(todos).where(*matching(access, where)), where)


@cache
def page(shape: Page) -> Select[Any]:
    if shape.follows_tag:
        rows = _with_tag(shape)
    else:
        rows = select(*FIELDS).where(*owned(shape.access), *_filters(shape.where, shape.order))
        if shape.after:
            rows = rows.where(_is_after(shape))
        if shape.until:
            rows = rows.where(todos.c.id <= number("until_id"))
        if shape.is_merged:
            rows = _in_states(rows, shape)
        else:
            rows = rows.where(*_one_of(shape.where)).order_by(*_ordering(todos.c, shape))
    rows = unprepared(rows.limit(_count("page_size")), shape.where)
    has_skipped = shape.follows_tag and shape.where.tags == 1
    return rows.offset(_count("skipped")) if shape.offset and not has_skipped else rows


def all_there(conditions: list[ColumnElement[bool]], count: int) -> ColumnElement[bool]:
    """Return a condition that `count` rows match. It locks them, so that a change of several is all or none."""
    locked = select(todos.c.id).where(*conditions).with_for_update().cte("locked")
    return select(func.count()).select_from(locked).scalar_subquery() == count


def _filters(where: Conditions, order: TodoSort | None = None) -> list[ColumnElement[bool]]:
    """Return the conditions that all todos must meet. `order` is that of a page."""
    filters = []
    if where.text:
        filters.append(or_(_contains(todos.c.title, "text"), _contains(todos.c.description, "text")))
    if where.title:
        filters.append(_contains(todos.c.title, "title_part"))
    if where.description:
        filters.append(_contains(todos.c.description, "description_part"))
    filters += [_has_tag(f"tag_{number}", where.states) for number in range(where.tags)]
    return filters + [MOMENTS[name](todos.c, _moment(name, order)) for name in where.moments]


def _moment(name: str, order: TodoSort | None) -> Any:
    """Return the parameter for a moment.

    A page that is sorted by this moment is read from the same index in any case, but PostgreSQL would plan each run
    again if few todos are before it. Of a query for the moment, the planner does not know the value.
    """
    moment = bindparam(name, type_=TIME)
    return select(moment).scalar_subquery() if order and name.startswith(order) else moment


def _one_of(where: Conditions) -> list[ColumnElement[bool]]:
    """Return the conditions for the states and priorities."""
    found: list[ColumnElement[bool]] = []
    if where.states is not None:
        found.append(todos.c.state.in_(list(map(_literal, where.states))))
    if where.priorities is not None:
        found.append(todos.c.priority.in_(list(map(_literal, where.priorities))))
    return found


def _contains(column: Column[Any], parameter: str) -> ColumnElement[bool]:
    return column.ilike(bindparam(parameter, type_=Text))


def _has_tag(parameter: str, states: tuple[str, ...] | None) -> ColumnElement[bool]:
    """Return the condition that the todo has a tag."""
    return exists().where(*_tagged(parameter, states), todo_tags.c.todo_id == todos.c.id)


def _tagged(parameter: str, states: tuple[str, ...] | None) -> list[ColumnElement[bool]]:
    """Return the conditions for the owner's entries of a tag. Their index is in the order of ids, with the states."""
    found = [todo_tags.c.user_id == number("owner_id"), todo_tags.c.tag == bindparam(parameter, type_=Text)]
    return found if states is None else [*found, todo_tags.c.state.in_(list(map(_literal, states)))]


def _with_tag(shape: Page) -> Select[Any]:
    """Return the todos that have the first of the tags, one after the other in the order of the index of tags.

    A plain EXISTS would be planned for a tag as frequent as the average: if the tag is rare, that reads the whole list.
    With one tag, the ids of the page are known before a todo is read. They are an array, whose length PostgreSQL takes
    to be the same for each tag: it plans once. Each of these todos is read by itself, for the reason in `among`.
    """
    where, id = shape.where, todo_tags.c.todo_id
    entries = select(id).where(*_tagged("tag_0", where.states))
    if shape.after:
        entries = entries.where(id < number("last_id") if shape.descending else id > number("last_id"))
    if shape.until:
        entries = entries.where(id <= number("until_id"))
    entries = entries.order_by(*_directed([id], shape))
    todo = select(*FIELDS).where(*owned(shape.access), *_one_of(where))
    if where.tags == 1:
        entries = entries.limit(_count("page_size"))
        entries = entries.offset(_count("skipped")) if shape.offset else entries
        ids = func.array(entries.scalar_subquery(), type_=ARRAY(BigInteger))
        each = func.unnest(ids).table_valued(column("id", BigInteger), name="each").render_derived()
        one = _one(todo.where(todos.c.id == each.c.id))
        return select(*one.c).select_from(each.join(one, true())).order_by(*_directed([one.c.id], shape))
    others = [_has_tag(f"tag_{number}", where.states) for number in range(1, where.tags)]
    one = _one(todo.where(*others, todos.c.id == id))
    return entries.with_only_columns(*one.c).select_from(todo_tags.join(one, true()))


def _one(todo: Select[Any]) -> Any:
    """Return a query for one todo as a part of another one. It runs for each row, however this would be planned."""
    return todo.limit(literal_column("1")).lateral("todo")


def _is_after(shape: Page) -> ColumnElement[bool]:
    keys = SORT_KEYS[shape.order](todos.c)
    last: list[ColumnElement[Any]] = [_last(number, key) for number, key in enumerate(keys)]
    here, there = tuple_(*keys, todos.c.id), tuple_(*last, number("last_id"))
    if not keys:
        return todos.c.id < number("last_id") if shape.descending else todos.c.id > number("last_id")
    return here < there if shape.descending else here > there


def _last(number: int, key: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the parameter with the sort key of the last todo: a moment as text, since Python has no infinite one."""
    name = f"last_{number}"
    return (
        cast(bindparam(name, type_=Text), TIME) if isinstance(key.type, DateTime) else bindparam(name, type_=key.type)
    )


def _in_states(rows: Select[Any], shape: Page) -> Select[Any]:
    """Limit the rows to some states: merge those of each state, of which no more are read than the page needs.

    A plain `state IN (…)` would scan the owner's whole list if the states are rare at its beginning. The indexes start
    with the owner and the state, so sorting without a filter also reads each state separately. Where the index
    continues with the priority, each priority is read separately as well. A state without a todo that has the tags or
    one of the priorities is left out: its index would be read to the end.
    """
    states, ranks = shape.where.states or (), shape.where.priorities
    if ranks is not None and not (ranks and shape.order in _BY_PRIORITY):
        rows, ranks = rows.where(*_one_of(replace(shape.where, states=None))), None
    keys = [key.label(f"key_{number}") for number, key in enumerate(SORT_KEYS[shape.order](todos.c))]
    columns = (todos.c.list_id if field is _LIST else field for field in FIELDS)
    order = [*keys, todos.c.id]
    of_each = rows.with_only_columns(*columns, *keys).order_by(*_directed(order, shape)).limit(_count("reach"))
    of_states = [of_each.where(todos.c.state == state, *_in_use(shape, state)) for state in map(_literal, states)]
    if ranks is None:
        read = of_states
    else:
        read = [each.where(todos.c.priority == rank) for each in of_states for rank in map(_literal, ranks)]
    merged = union_all(*read).subquery("t")  # a short name, for the reason in _directed
    list_name = _list_name(merged.c.user_id, merged.c.list_id)
    fields = (list_name if field is _LIST else merged.c[field.name] for field in FIELDS)
    return select(*fields).order_by(*_directed((merged.c[key.name] for key in order), shape))


def _in_use(shape: Page, state: Any) -> list[ColumnElement[bool]]:
    """Return the conditions for a state in which the owner has todos with each tag, and with one of the priorities."""
    tags = [f"tag_{each}" for each in range(shape.where.tags)]
    found: list[ColumnElement[bool]] = [exists().where(*_tagged(tag, None), todo_tags.c.state == state) for tag in tags]
    if shape.where.priorities and shape.order not in _BY_PRIORITY:
        some = todos.alias("some")
        ranks = some.c.priority.in_(list(map(_literal, shape.where.priorities)))
        found.append(exists().where(some.c.user_id == number("owner_id"), some.c.state == state, ranks))
    return found


def _literal(value: Any) -> ColumnElement[Any]:
    """Return a state or the number of a priority as a constant."""
    return literal_column(f"'{value}'", Text) if isinstance(value, str) else literal_column(str(value), SmallInteger)


def _ordering(columns: Any, shape: Page) -> list[ColumnElement[Any]]:
    return _directed([*SORT_KEYS[shape.order](columns), columns.id], shape)


def _directed(keys: Iterable[ColumnElement[Any]], shape: Page) -> list[ColumnElement[Any]]:
    # Ascending is the default. psycopg reads a statement of more than 4,096 characters again each time.
    return [key.desc() if shape.descending else key for key in keys]


def _array(name: str, kind: Any) -> BindParameter[Any]:
    return bindparam(name, type_=ARRAY(kind))


def _count(name: str) -> BindParameter[int]:
    """Return a number of rows as a literal. For a parameter PostgreSQL assumes a tenth of all rows.

    With that estimate it would plan each run on a large table again, which takes longer than running it.
    """
    return bindparam(name, type_=BigInteger, literal_execute=True)
