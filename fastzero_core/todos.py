"""The operations on todos, each written once, on a Core connection.

`Todos` is bound to its owner: every statement carries `user_id`, so nobody reaches another's rows by accident.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Row,
    Select,
    Text,
    and_,
    any_,
    case,
    column,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from . import validate
from .errors import InvalidInputError, TodoNotFoundError, TodoNotTrashedError
from .models import NewTodo, Todo, TodoSort, TodoState
from .tables import todos

_FIELDS: tuple[Column[Any], ...] = (
    todos.c.id,
    todos.c.title,
    todos.c.description,
    todos.c.state,
    todos.c.created_at,
    todos.c.updated_at,
    todos.c.user_id,
)
_SORT_COLUMNS: dict[TodoSort, Column[Any]] = {
    TodoSort.ID: todos.c.id,
    TodoSort.CREATED: todos.c.created_at,
    TodoSort.UPDATED: todos.c.updated_at,
    TodoSort.TITLE: todos.c.title,
}
# Every row of a list needs one: a look-up costs a tenth of TodoState(…).
_STATES = {state.value: state for state in TodoState}
_PAGE = 1000

TodoRow = Row[*tuple[Any, ...]]

# Inside Todos, whose method it is, `list` means something else.
TodoList = list[Todo]
IdList = list[int]


class Todos:
    """The todos of one owner, on one connection: part of its transaction."""

    def __init__(self, connection: Connection, owner_id: int) -> None:
        self._connection = connection
        self.owner_id = validate.record_id(owner_id, "user")

    def add(self, title: str, *, description: str = "", state: TodoState | str = TodoState.TODO) -> Todo:
        """Create a todo. Raises InvalidInputError, or UserNotFoundError if the owner is gone."""
        statement = insert(todos).values(self._values(NewTodo(title, description, state))).returning(*_FIELDS)
        return _todo(self._connection.execute(statement).one())

    def add_many(self, new: Iterable[NewTodo]) -> TodoList:
        """Create todos in the order given, all or none. Raises InvalidInputError that names the index of a bad one."""
        rows = []
        for index, todo in enumerate(new):
            try:
                rows.append(self._values(todo))
            except InvalidInputError as error:
                raise InvalidInputError(f"todo {index}: {error.message}", field=error.field) from None
        if not rows:
            return []
        statement = insert(todos).returning(*_FIELDS, sort_by_parameter_order=True)
        return [_todo(row) for row in self._connection.execute(statement, rows)]

    def get(self, id: int) -> Todo:
        """One todo. Raises TodoNotFoundError."""
        return self.get_many([id])[0]

    def get_many(self, ids: Iterable[int]) -> TodoList:
        """The todos of these ids, in this order. Raises TodoNotFoundError that names the missing."""
        wanted = validate.record_ids(ids)
        return _in_order(wanted, self._connection.execute(select(*_FIELDS).where(self._among(wanted))).all())

    def list(
        self,
        *,
        states: Iterable[TodoState | str] | None = None,
        text: str | None = None,
        sort: TodoSort | str = TodoSort.ID,
        descending: bool = False,
        after: Todo | int | None = None,
        limit: int = 50,
    ) -> TodoList:
        """Up to `limit` todos that are in one of `states` and have `text` in title or description.

        Text is matched anywhere, literally and without regard to case. `after` is the last todo of the page
        before, or its id; the page begins behind it. Sorted by `sort`, then by id.
        Raises InvalidInputError, or TodoNotFoundError if `after` is the id of no todo and sorting needs more than it.
        """
        order = _sort(sort)
        conditions = [todos.c.user_id == self.owner_id]
        if text is not None:
            conditions.append(_contains(validate.text(text, "text")))
        if after is not None:
            conditions.append(self._behind(after, order, descending))
        page = select(*_FIELDS).where(*conditions)
        limit = validate.limit(limit)
        if states is None and order is TodoSort.ID:
            page = page.order_by(*_ordering(todos.c, order, descending)).limit(limit)
        else:
            wanted = set(TodoState) if states is None else {validate.state(state) for state in states}
            page = _in_states(page, wanted, order, descending, limit)
        return [_todo(row) for row in self._connection.execute(page).all()]

    def stream(
        self,
        *,
        states: Iterable[TodoState | str] | None = None,
        text: str | None = None,
        sort: TodoSort | str = TodoSort.ID,
        descending: bool = False,
        after: Todo | int | None = None,
    ) -> Iterator[Todo]:
        """What `list` gives, without a limit: read page by page, so that memory stays flat."""
        filters: dict[str, Any] = {
            "states": None if states is None else list(states),
            "text": text,
            "sort": sort,
            "descending": descending,
            "limit": _PAGE,
        }
        page = self.list(after=after, **filters)
        while page:
            yield from page
            page = self.list(after=page[-1], **filters) if len(page) == _PAGE else []

    def edit(self, id: int, *, title: str | None = None, description: str | None = None) -> Todo:
        """Change what is given. Raises InvalidInputError or TodoNotFoundError."""
        changes: dict[str, Any] = {}
        if title is not None:
            changes["title"] = validate.title(title)
        if description is not None:
            changes["description"] = validate.description(description)
        if not changes:
            raise InvalidInputError("nothing to change: give a title or a description")
        return self._update([id], changes)[0]

    def move(self, *ids: int, to: TodoState | str) -> TodoList:
        """Bring todos into a state, all or none; those already there stay as they are.

        Raises InvalidInputError, or TodoNotFoundError that names the missing.
        """
        return self._update(ids, {"state": validate.state(to).value})

    def trash(self, *ids: int) -> TodoList:
        """Move todos to the trash, all or none. Raises TodoNotFoundError."""
        return self.move(*ids, to=TodoState.TRASH)

    def restore(self, *ids: int, to: TodoState | str = TodoState.TODO) -> TodoList:
        """Take todos out of the trash, all or none; those not in it stay as they are. Raises TodoNotFoundError."""
        state = case((todos.c.state == TodoState.TRASH.value, validate.state(to).value), else_=todos.c.state)
        return self._update(ids, {"state": state})

    def purge(self, *ids: int) -> int:
        """Delete todos in the trash for ever, all or none; without ids all that are there. Returns how many.

        Raises TodoNotFoundError, or TodoNotTrashedError if one of them is not in the trash.
        """
        trashed = and_(todos.c.user_id == self.owner_id, todos.c.state == TodoState.TRASH.value)
        if not ids:
            return self._connection.execute(delete(todos).where(trashed)).rowcount
        wanted = validate.record_ids(ids)
        complete = self._all_there(wanted, trashed)
        statement = delete(todos).where(trashed, self._among(wanted), complete).returning(todos.c.id)
        purged = len(self._connection.execute(statement).all())
        if purged != len(wanted):
            kept = [todo.id for todo in self.get_many(wanted) if todo.state is not TodoState.TRASH]
            raise TodoNotTrashedError(f"not in the trash: {', '.join(map(str, kept))}")
        return purged

    def count(self, states: Iterable[TodoState | str] | None = None, *, text: str | None = None) -> int:
        """How many todos there are, in these states or in all, and with `text` as `list` matches it."""
        statement = select(func.count()).select_from(todos).where(todos.c.user_id == self.owner_id)
        if states is not None:
            statement = statement.where(todos.c.state.in_([validate.state(state).value for state in states]))
        if text is not None:
            statement = statement.where(_contains(validate.text(text, "text")))
        return self._connection.execute(statement).scalar_one()

    def _values(self, new: NewTodo) -> dict[str, Any]:
        return {
            "user_id": self.owner_id,
            "title": validate.title(new.title),
            "description": validate.description(new.description),
            "state": validate.state(new.state).value,
        }

    def _among(self, ids: IdList) -> ColumnElement[bool]:
        return and_(todos.c.user_id == self.owner_id, todos.c.id == any_(literal(ids, ARRAY(BigInteger))))

    def _all_there(self, ids: IdList, also: ColumnElement[bool] | None = None) -> ColumnElement[bool]:
        """Whether all of `ids` exist; it locks them, so that a bulk change is all or nothing."""
        rows = select(todos.c.id).where(self._among(ids)).with_for_update()
        locked = (rows if also is None else rows.where(also)).cte("locked")
        return select(func.count()).select_from(locked).scalar_subquery() == len(ids)

    def _update(self, ids: Iterable[int], changes: dict[str, Any]) -> TodoList:
        wanted = validate.record_ids(ids)
        if not wanted:
            raise InvalidInputError("no id given", field="id")
        changed = or_(*(todos.c[name].is_distinct_from(value) for name, value in changes.items()))
        statement = (
            update(todos)
            .where(self._among(wanted), self._all_there(wanted))
            .values(**changes, updated_at=case((changed, func.now()), else_=todos.c.updated_at))
            .returning(*_FIELDS)
        )
        rows = self._connection.execute(statement).all()
        # With none changed, the read names those that are missing.
        return _in_order(wanted, rows) if rows else self.get_many(wanted)

    def _behind(self, after: Todo | int, order: TodoSort, descending: bool) -> ColumnElement[bool]:
        if order is TodoSort.ID:
            last_id = after.id if isinstance(after, Todo) else validate.record_id(after, "after")
            return todos.c.id < last_id if descending else todos.c.id > last_id
        last = after if isinstance(after, Todo) else self.get(validate.record_id(after, "after"))
        column = _SORT_COLUMNS[order]
        here, there = tuple_(column, todos.c.id), tuple_(literal(getattr(last, column.key)), literal(last.id))
        return here < there if descending else here > there


def _sort(value: TodoSort | str) -> TodoSort:
    try:
        return TodoSort(value)
    except ValueError:
        raise InvalidInputError(f"sort {value!r} is not one of {', '.join(TodoSort)}", field="sort") from None


def _contains(text: str) -> ColumnElement[bool]:
    pattern = "%" + re.sub(r"([\\%_])", r"\\\1", text) + "%"
    return or_(todos.c.title.ilike(pattern), todos.c.description.ilike(pattern))


def _ordering(columns: Any, order: TodoSort, descending: bool) -> list[ColumnElement[Any]]:
    keys = dict.fromkeys([columns[_SORT_COLUMNS[order].key], columns.id])
    return [key.desc() if descending else key.asc() for key in keys]


def _in_states(page: Select[Any], states: set[TodoState], order: TodoSort, descending: bool, limit: int) -> Select[Any]:
    """The page over some states: at most `limit` rows of each state by a short index scan, then merged.

    A plain `state IN (…)` walks the owner's whole list when the wanted states are rare at its beginning. Each state
    has an index for each order, and none spans the states: sorting without a filter is a page over all of them.
    """
    names = literal(sorted(states), ARRAY(Text))
    wanted = func.unnest(names).table_valued(column("state", Text), name="wanted").render_derived()
    of_state = (
        page.where(todos.c.state == wanted.c.state)
        .order_by(*_ordering(todos.c, order, descending))
        .limit(limit)
        .lateral("page")
    )
    return (
        select(*of_state.c)
        .select_from(wanted.join(of_state, true()))
        .order_by(*_ordering(of_state.c, order, descending))
        .limit(limit)
    )


def _in_order(ids: list[int], rows: Iterable[TodoRow]) -> list[Todo]:
    found = {row.id: _todo(row) for row in rows}
    missing = [id for id in ids if id not in found]
    if missing:
        raise TodoNotFoundError(missing)
    return [found[id] for id in ids]


def _todo(row: TodoRow) -> Todo:
    id, title, description, state, created_at, updated_at, user_id = row
    return Todo(id, title, description, _STATES[state], created_at, updated_at, user_id)
