"""The operations on todos, on a SQLAlchemy Core connection.

`Todos` is bound to its owner: every statement filters by `user_id`, so that it cannot reach the rows of other users. If
the owner is the Identity of a token, each statement also checks that the token is valid. So a request takes one
statement; only if it finds no rows, a second one determines whether the token is the reason.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Connection, CursorResult, Row, case, delete, func, or_, select, update

from ..errors import InvalidInputError, TodoNotFoundError, TodoNotTrashedError
from . import validate
from .models import Identity, NewTodo, Todo, TodoSort, TodoState
from .tables import todos
from .todo_statements import FIELDS, SORT_COLUMNS, Page, among, contains, deletion, insertion, owned, page, selection
from .users import confirm

# As a query of its own: Citus refuses functions that are not immutable inside of CASE.
_NOW = select(func.now()).scalar_subquery()
# Used for every row of a list: a lookup takes a tenth of the time of TodoState(…).
_STATES = {state.value: state for state in TodoState}
_PAGE = 1000
_BATCH = 10_000

TodoRow = Row[*tuple[Any, ...]]

# In the class, `list` is a method.
TodoList = list[Todo]
IdList = list[int]


class Todos:
    """The operations on the todos of one owner, in the transaction of one connection."""

    def __init__(self, connection: Connection, owner: Identity | int) -> None:
        self._connection = connection
        self._bearer = owner if isinstance(owner, Identity) else None
        self.owner_id = validate.record_id(owner.user_id if isinstance(owner, Identity) else owner, "user")
        self._scope = {"owner_id": self.owner_id}
        if self._bearer is not None:
            self._scope["token_version"] = self._bearer.token_version

    def add(self, title: str, *, description: str = "", state: TodoState | str = TodoState.TODO) -> Todo:
        """Create a todo. Raises InvalidInputError; UserNotFoundError if the owner does not exist."""
        return self._insert([_checked(NewTodo(title, description, state))])[0]

    def add_many(self, new: Iterable[NewTodo]) -> TodoList:
        """Create todos in the order given, all or none. Raises InvalidInputError with the index of an invalid one."""
        checked = list(_each_checked(new))
        if not checked:
            self._confirm()
        return [todo for batch in _batches(checked) for todo in self._insert(batch)]

    def get(self, id: int) -> Todo:
        """Return a todo. Raises TodoNotFoundError."""
        return self.get_many([id])[0]

    def get_many(self, ids: Iterable[int]) -> TodoList:
        """Return the todos with these ids, in this order. Raises TodoNotFoundError with the missing ids."""
        wanted = validate.record_ids(ids)
        return self._in_order(wanted, self._execute(selection(self._with_token), ids=wanted).all())

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
        """Return up to `limit` todos in one of `states` with `text` in title or description, by `sort`, then by id.

        Text is matched literally, anywhere, ignoring case. `title` and `description` are matched in that field only.
        `after` is the last todo of the previous page, or its id. The page starts after it and `offset` more todos.
        Raises InvalidInputError; TodoNotFoundError if `after` is an id that does not exist and `sort` is not the id.
        """
        order = _sort(sort)
        limit, offset = validate.limit(limit), validate.offset(offset)
        values: dict[str, Any] = {"page_size": limit}
        if text is not None:
            values["text"] = _pattern(text, "text")
        if title is not None:
            values["title_part"] = _pattern(title, "title")
        if description is not None:
            values["description_part"] = _pattern(description, "description")
        if after is not None:
            values |= self._last(after, order)
        if offset:
            values["skipped"] = offset
        if states is not None or order is not TodoSort.ID:
            wanted = set(TodoState) if states is None else {validate.state(state) for state in states}
            values |= {"states": sorted(wanted), "reach": limit + offset}
        shape = Page(
            self._with_token,
            order,
            descending,
            states=states is not None,
            text=text is not None,
            title=title is not None,
            description=description is not None,
            after=after is not None,
            offset=offset > 0,
        )
        rows = self._execute(page(shape), **values).all()
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
        """Yield the todos of `list` without a limit. They are read in pages, so that memory use stays constant."""
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
        """Change the given fields of a todo. Raises InvalidInputError, TodoNotFoundError."""
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
        """Set the state of todos, all or none. Those already in that state are not changed.

        Raises InvalidInputError; TodoNotFoundError with the missing ids.
        """
        return self._update(ids, {"state": validate.state(to).value})

    def trash(self, *ids: int) -> TodoList:
        """Move todos to the trash, all or none. Raises TodoNotFoundError."""
        return self.move(*ids, to=TodoState.TRASH)

    def restore(self, *ids: int, to: TodoState | str = TodoState.TODO) -> TodoList:
        """Move todos out of the trash, all or none. Others are not changed. Raises TodoNotFoundError."""
        state = case((todos.c.state == TodoState.TRASH.value, validate.state(to).value), else_=todos.c.state)
        return self._update(ids, {"state": state})

    def remove(self, id: int) -> Todo:
        """Permanently delete a todo, in any state. Raises TodoNotFoundError."""
        wanted = validate.record_ids([id])
        return self._in_order(wanted, self._execute(deletion(self._with_token), ids=wanted).all())[0]

    def purge(self, *ids: int) -> int:
        """Permanently delete todos in the trash, all or none; without ids, the whole trash. Return how many.

        Raises TodoNotFoundError; TodoNotTrashedError if one of them is not in the trash.
        """
        trashed = todos.c.state == TodoState.TRASH.value
        if not ids:
            return self._execute(delete(todos).where(*owned(self._with_token), trashed)).rowcount
        wanted = validate.record_ids(ids)
        among_these = [*among(self._with_token), trashed]
        statement = delete(todos).where(*among_these, _all_there(among_these, len(wanted))).returning(todos.c.id)
        purged = len(self._execute(statement, ids=wanted).all())
        if purged != len(wanted):
            self.require_trashed(*wanted)
        return purged

    def require_trashed(self, *ids: int) -> None:
        """Raise TodoNotTrashedError for todos that are not in the trash, TodoNotFoundError for missing ones."""
        kept = [todo.id for todo in self.get_many(ids) if todo.state is not TodoState.TRASH]
        if kept:
            raise TodoNotTrashedError(f"not in the trash: {', '.join(map(str, kept))}")

    def count(self, states: Iterable[TodoState | str] | None = None, *, text: str | None = None) -> int:
        """Return the number of todos, optionally only in `states` and with `text`, matched as by `list`."""
        statement = select(func.count()).select_from(todos).where(*owned(self._with_token))
        values = {}
        if states is not None:
            statement = statement.where(todos.c.state.in_([validate.state(state).value for state in states]))
        if text is not None:
            statement = statement.where(or_(contains(todos.c.title, "text"), contains(todos.c.description, "text")))
            values["text"] = _pattern(text, "text")
        return int(self._execute(statement, **values).scalar_one())

    def _insert(self, new: Sequence[NewTodo]) -> TodoList:
        """Insert todos with one statement; columns are passed as arrays."""
        values = {
            "titles": [todo.title for todo in new],
            "descriptions": [todo.description for todo in new],
            "states": [str(todo.state) for todo in new],
        }
        added = [_todo(row) for row in self._execute(insertion(self._with_token), **values)]
        if not added:
            self._confirm()
        # Ids are assigned in the order of the input, but the order of RETURNING is not guaranteed.
        return sorted(added, key=lambda todo: todo.id)

    def _confirm(self) -> None:
        """Raise InvalidTokenError if an invalid token is the reason that nothing was found."""
        if self._bearer is not None:
            confirm(self._connection, self._bearer)

    @property
    def _with_token(self) -> bool:
        return self._bearer is not None

    def _execute(self, statement: Any, **values: Any) -> CursorResult[Any]:
        return self._connection.execute(statement, {**self._scope, **values})

    def _update(self, ids: Iterable[int], changes: dict[str, Any]) -> TodoList:
        wanted = validate.record_ids(ids)
        if not wanted:
            raise InvalidInputError("no id given", field="id")
        these = among(self._with_token)
        changed = or_(*(todos.c[name].is_distinct_from(value) for name, value in changes.items()))
        statement = (
            update(todos)
            .where(*these, _all_there(these, len(wanted)))
            .values(**changes, updated_at=case((changed, _NOW), else_=todos.c.updated_at))
            .returning(*FIELDS)
        )
        rows = self._execute(statement, ids=wanted).all()
        # If several ids were given and no row changed, the query raises an error with the missing ids.
        return self._in_order(wanted, rows) if rows or len(wanted) == 1 else self.get_many(wanted)

    def _in_order(self, ids: IdList, rows: Iterable[TodoRow]) -> TodoList:
        found = {row.id: _todo(row) for row in rows}
        if missing := [id for id in ids if id not in found]:
            self._confirm()
            raise TodoNotFoundError(missing)
        return [found[id] for id in ids]

    def _last(self, after: Todo | int, order: TodoSort) -> dict[str, Any]:
        """Return the parameters of the todo after which a page starts."""
        if order is TodoSort.ID:
            return {"last_id": after.id if isinstance(after, Todo) else validate.record_id(after, "after")}
        last = after if isinstance(after, Todo) else self.get(validate.record_id(after, "after"))
        return {"last": getattr(last, SORT_COLUMNS[order].key), "last_id": last.id}


def _all_there(conditions: list[ColumnElement[bool]], count: int) -> ColumnElement[bool]:
    """Return a condition that `count` rows match. It locks them, so that a bulk change is all or none."""
    locked = select(todos.c.id).where(*conditions).with_for_update().cte("locked")
    return select(func.count()).select_from(locked).scalar_subquery() == count


def _sort(value: TodoSort | str) -> TodoSort:
    try:
        return TodoSort(value)
    except ValueError:
        raise InvalidInputError(f"sort {value!r} is not one of {', '.join(TodoSort)}", field="sort") from None


def _pattern(text: str, field: str) -> str:
    """Return the ILIKE pattern that matches a text literally, anywhere."""
    return "%" + re.sub(r"([\\%_])", r"\\\1", validate.text(text, field)) + "%"


def _checked(new: NewTodo) -> NewTodo:
    return NewTodo(validate.title(new.title), validate.description(new.description), validate.state(new.state))


def _each_checked(new: Iterable[NewTodo]) -> Iterator[NewTodo]:
    for index, todo in enumerate(new):
        try:
            yield _checked(todo)
        except InvalidInputError as error:
            raise InvalidInputError(f"todo {index}: {error.message}", field=error.field) from None


def _batches(new: Iterable[NewTodo]) -> Iterator[list[NewTodo]]:
    rest = iter(new)
    while batch := list(islice(rest, _BATCH)):
        yield batch


def _todo(row: TodoRow) -> Todo:
    id, title, description, state, created_at, updated_at, user_id = row
    return Todo(id, title, description, _STATES[state], created_at, updated_at, user_id)
