"""The operations on todos, each written once, on a Core connection.

`Todos` is bound to its owner: every statement carries `user_id`, so nobody reaches another's rows by accident. Where
the owner is the Identity of a token, a statement also finds nothing unless the token holds: so an authenticated request
takes one, and only where that found nothing does a second one tell whether it was the token's fault.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
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
from .models import Identity, NewTodo, Todo, TodoSort, TodoState
from .tables import todos
from .users import confirm, holds

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
_BATCH = 10_000

TodoRow = Row[*tuple[Any, ...]]

# Inside Todos, whose method it is, `list` means something else.
TodoList = list[Todo]
IdList = list[int]


class Todos:
    """The todos of one owner, on one connection: part of its transaction."""

    def __init__(self, connection: Connection, owner: Identity | int) -> None:
        self._connection = connection
        self._bearer = owner if isinstance(owner, Identity) else None
        self.owner_id = validate.record_id(owner.user_id if isinstance(owner, Identity) else owner, "user")
        self._holds = true() if self._bearer is None else holds(self._bearer)
        self._owned = and_(todos.c.user_id == self.owner_id, self._holds)

    def add(self, title: str, *, description: str = "", state: TodoState | str = TodoState.TODO) -> Todo:
        """Create a todo. Raises InvalidInputError, or UserNotFoundError if the owner is gone."""
        return self.add_many([NewTodo(title, description, state)])[0]

    def add_many(self, new: Iterable[NewTodo]) -> TodoList:
        """Create todos in the order given, all or none. Raises InvalidInputError that names the index of a bad one."""
        added = []
        for batch in _batches(_checked(new)):
            added += self._insert(batch)
        return added

    def get(self, id: int) -> Todo:
        """One todo. Raises TodoNotFoundError."""
        return self.get_many([id])[0]

    def get_many(self, ids: Iterable[int]) -> TodoList:
        """The todos of these ids, in this order. Raises TodoNotFoundError that names the missing."""
        wanted = validate.record_ids(ids)
        return self._in_order(wanted, self._connection.execute(select(*_FIELDS).where(self._among(wanted))).all())

    def list(
        self,
        *,
        states: Iterable[TodoState | str] | None = None,
        text: str | None = None,
        title: str | None = None,
        description: str | None = None,
        sort: TodoSort | str = TodoSort.ID,
        descending: bool = False,
        after: Todo | int | None = None,
        offset: int = 0,
        limit: int = 50,
    ) -> TodoList:
        """Up to `limit` todos that are in one of `states` and have `text` in title or description.

        Text is matched anywhere, literally and without regard to case; `title` and `description` in theirs alone.
        `after` is the last todo of the page before, or its id; the page begins behind it, and behind `offset` more.
        Sorted by `sort`, then by id.
        Raises InvalidInputError, or TodoNotFoundError if `after` is the id of no todo and sorting needs more than it.
        """
        order = _sort(sort)
        conditions = [self._owned]
        if text is not None:
            conditions.append(or_(_has(todos.c.title, text, "text"), _has(todos.c.description, text, "text")))
        if title is not None:
            conditions.append(_has(todos.c.title, title, "title"))
        if description is not None:
            conditions.append(_has(todos.c.description, description, "description"))
        if after is not None:
            conditions.append(self._behind(after, order, descending))
        page = select(*_FIELDS).where(*conditions)
        limit, offset = validate.limit(limit), validate.offset(offset)
        if states is None and order is TodoSort.ID:
            page = page.order_by(*_ordering(todos.c, order, descending)).limit(limit)
        else:
            wanted = set(TodoState) if states is None else {validate.state(state) for state in states}
            page = _in_states(page, wanted, order, descending, limit + offset).limit(limit)
        rows = self._connection.execute(page.offset(offset) if offset else page).all()
        if not rows:
            self._confirm()
        return [_todo(row) for row in rows]

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

    def edit(
        self,
        id: int,
        *,
        title: str | None = None,
        description: str | None = None,
        state: TodoState | str | None = None,
    ) -> Todo:
        """Change what is given. Raises InvalidInputError or TodoNotFoundError."""
        changes: dict[str, Any] = {}
        if title is not None:
            changes["title"] = validate.title(title)
        if description is not None:
            changes["description"] = validate.description(description)
        if state is not None:
            changes["state"] = validate.state(state).value
        if not changes:
            raise InvalidInputError("nothing to change: give a title, a description or a state")
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

    def remove(self, id: int) -> Todo:
        """Delete a todo for ever, in the trash or not. Raises TodoNotFoundError."""
        statement = delete(todos).where(self._among(validate.record_ids([id]))).returning(*_FIELDS)
        return self._in_order([id], self._connection.execute(statement).all())[0]

    def purge(self, *ids: int) -> int:
        """Delete todos in the trash for ever, all or none; without ids all that are there. Returns how many.

        Raises TodoNotFoundError, or TodoNotTrashedError if one of them is not in the trash.
        """
        trashed = and_(self._owned, todos.c.state == TodoState.TRASH.value)
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
        statement = select(func.count()).select_from(todos).where(self._owned)
        if states is not None:
            statement = statement.where(todos.c.state.in_([validate.state(state).value for state in states]))
        if text is not None:
            statement = statement.where(or_(_has(todos.c.title, text, "text"), _has(todos.c.description, text, "text")))
        return self._connection.execute(statement).scalar_one()

    def _insert(self, new: Sequence[NewTodo]) -> TodoList:
        """One statement, however many there are: columns go as arrays."""
        columns = {
            "title": [todo.title for todo in new],
            "description": [todo.description for todo in new],
            "state": [str(todo.state) for todo in new],
        }
        arrays = [literal(values, ARRAY(Text)) for values in columns.values()]
        given = func.unnest(*arrays).table_valued(
            *(column(name, Text) for name in columns), with_ordinality="position", name="given"
        )
        given = given.render_derived()
        rows = select(literal(self.owner_id, BigInteger), *(given.c[name] for name in columns))
        ordered = rows.where(self._holds).order_by(given.c.position)
        statement = insert(todos).from_select(["user_id", *columns], ordered).returning(*_FIELDS)
        added = [_todo(row) for row in self._connection.execute(statement)]
        if not added:
            self._confirm()
        # Ids are given in the order of the rows; in which order these come back is nowhere promised.
        return sorted(added, key=lambda todo: todo.id)

    def _confirm(self) -> None:
        """Raises InvalidTokenError if that is why nothing was found."""
        if self._bearer is not None:
            confirm(self._connection, self._bearer)

    def _among(self, ids: IdList) -> ColumnElement[bool]:
        return and_(self._owned, todos.c.id == any_(literal(ids, ARRAY(BigInteger))))

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
        return self._in_order(wanted, rows) if rows else self.get_many(wanted)

    def _in_order(self, ids: IdList, rows: Iterable[TodoRow]) -> TodoList:
        found = {row.id: _todo(row) for row in rows}
        if missing := [id for id in ids if id not in found]:
            self._confirm()
            raise TodoNotFoundError(missing)
        return [found[id] for id in ids]

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


def _has(column: Column[Any], text: str, field: str) -> ColumnElement[bool]:
    pattern = re.sub(r"([\\%_])", r"\\\1", validate.text(text, field))
    return column.ilike(f"%{pattern}%")


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


def _checked(new: Iterable[NewTodo]) -> Iterator[NewTodo]:
    for index, todo in enumerate(new):
        try:
            state = validate.state(todo.state)
            yield NewTodo(validate.title(todo.title), validate.description(todo.description), state)
        except InvalidInputError as error:
            raise InvalidInputError(f"todo {index}: {error.message}", field=error.field) from None


def _batches(new: Iterable[NewTodo]) -> Iterator[list[NewTodo]]:
    rest = iter(new)
    while batch := list(islice(rest, _BATCH)):
        yield batch


def _todo(row: TodoRow) -> Todo:
    id, title, description, state, created_at, updated_at, user_id = row
    return Todo(id, title, description, _STATES[state], created_at, updated_at, user_id)
