"""The operations on todos, on a SQLAlchemy Core connection.

`Todos` is bound to its owner: every statement filters by `user_id`, so that it cannot reach the rows of other users. If
the owner is the Identity of a token, each statement also checks that the token is valid. So a request takes one
statement; only if it finds no rows, a second one determines whether the token is the reason.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, tzinfo
from itertools import islice
from typing import Any, Unpack

from sqlalchemy import ColumnElement, Connection, CursorResult, delete, func, select, update

from ..errors import ConflictError, InvalidInputError, TodoNotFoundError, TodoNotTrashedError
from . import validate
from .changes import restored, stored_due, stored_moment, values_of, with_times
from .filters import RANKS, matching, require_any
from .models import (
    Identity,
    NewTodo,
    Priority,
    Todo,
    TodoChanges,
    TodoConditions,
    TodoFilters,
    TodoSort,
    TodoState,
    TodoStats,
)
from .placing import placement
from .reports import DAYS_MAX, days_until, stats_of
from .reports import counting as statistics
from .tables import todos
from .todo_rows import TodoRow, sort_keys, todo_of
from .todo_statements import (
    FIELDS,
    TAG_SEPARATOR,
    Page,
    among,
    counting,
    deletion,
    insertion,
    owned,
    page,
    selection,
)
from .todo_statements import matching as conditions
from .transfer.records import Found, Invalid, NewRecord, valid
from .users import confirm

_PAGE = 1000
_BATCH = 10_000
_IMPORT_BATCH = 1000  # of up to 10,000 characters each

# In the class, `list` is a method.
TodoList = list[Todo]
IdList = list[int]


class Todos:
    """The operations on the todos of one owner, in the transaction of one connection.

    `time_zone` is where days begin and end, for dates without a time; None is the time zone of this machine.
    """

    def __init__(self, connection: Connection, owner: Identity | int, *, time_zone: tzinfo | None = None) -> None:
        self._connection = connection
        self._bearer = owner if isinstance(owner, Identity) else None
        self.owner_id = validate.record_id(owner.user_id if isinstance(owner, Identity) else owner, "user")
        self._scope = {"owner_id": self.owner_id}
        if self._bearer is not None:
            self._scope["token_version"] = self._bearer.token_version
        self._zone = time_zone

    def add(
        self,
        title: str,
        *,
        description: str = "",
        state: TodoState | str = TodoState.TODO,
        priority: Priority | str = Priority.NONE,
        due: date | str | None = None,
        tags: Iterable[str] = (),
    ) -> Todo:
        """Create a todo. `due` is a date, a datetime with a time zone, or a text such as `tomorrow` or `fri 18:00`.

        Raises InvalidInputError; UserNotFoundError if the owner does not exist.
        """
        return self._insert([self._checked(NewTodo(title, description, state, priority, due, tags))])[0]

    def add_many(self, new: Iterable[NewTodo]) -> TodoList:
        """Create todos in the order given, all or none. Raises InvalidInputError with the index of an invalid one."""
        checked = list(self._each_checked(new))
        if not checked:
            self._confirm()
        return [todo for batch in _batches(checked) for todo in self._insert(batch)]

    def import_each(
        self, found: Iterable[Found], *, dry_run: bool = False, on_invalid: Callable[[Invalid], None] | None = None
    ) -> int:
        """Create the todos that `transfer.read` yields, in this order. Return how many.

        They are inserted in batches, so that memory use stays constant. `on_invalid` is told of each invalid one, which
        is left out then; else the first one raises InvalidInputError. With `dry_run` all are checked and none is added.
        """
        checked = valid(found, self._checked_record, on_invalid)
        if dry_run:
            return sum(1 for _ in checked)
        added = sum(len(self._insert(batch)) for batch in _batches(checked, _IMPORT_BATCH))
        if not added:
            self._confirm()
        return added

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
        sort: TodoSort | str | None = None,
        descending: bool = False,
        after: Todo | int | None = None,
        offset: int = 0,
        limit: int = 50,
        **filters: Unpack[TodoFilters],
    ) -> TodoList:
        """Return up to `limit` todos that meet all `filters`, by `sort`, then by id.

        Without `sort` they are ordered by id; with a filter on due or created by that time. `after` is the last todo of
        the previous page, or its id. The page starts after it and `offset` more todos.
        Raises InvalidInputError; TodoNotFoundError if `after` is an id that does not exist and the order is not by id.
        """
        found = matching(filters, self._zone, sort=None if sort is None else _sort(sort))
        limit, offset = validate.limit(limit), validate.offset(offset)
        values = {**found.values, "page_size": limit}
        if after is not None:
            values |= self._last(after, found.sort)
        if offset:
            values["skipped"] = offset
        shape = Page(self._with_token, found.sort, descending, found.where, after is not None, offset > 0)
        if shape.is_merged:
            values["reach"] = limit + offset
        rows = self._execute(page(shape), **values).all()
        if not rows:
            self._confirm()
        return [todo_of(row) for row in rows]

    def stream(
        self,
        *,
        sort: TodoSort | str | None = None,
        descending: bool = False,
        after: Todo | int | None = None,
        **filters: Unpack[TodoFilters],
    ) -> Iterator[Todo]:
        """Yield the todos of `list` without a limit. They are read in pages, so that memory use stays constant."""
        kept = TodoFilters(**{name: _reusable(value) for name, value in filters.items()})  # type: ignore[typeddict-item]
        page = self.list(sort=sort, descending=descending, after=after, limit=_PAGE, **kept)
        while page:
            yield from page
            if len(page) < _PAGE:
                return
            page = self.list(sort=sort, descending=descending, after=page[-1], limit=_PAGE, **kept)

    def next(self, limit: int = 10) -> TodoList:
        """Return the todos to work on: in todo or doing, overdue ones first, then by due, then by priority."""
        return self.list(states=[TodoState.TODO, TodoState.DOING], sort=TodoSort.DUE, limit=limit)

    def edit(self, id: int, **changes: Unpack[TodoChanges]) -> Todo:
        """Change the given fields of a todo. Raises InvalidInputError, TodoNotFoundError."""
        return self._update([id], values_of(changes, self._zone))[0]

    def edit_many(self, ids: Iterable[int], **changes: Unpack[TodoChanges]) -> TodoList:
        """Change the given fields of todos, all or none. Raises InvalidInputError; TodoNotFoundError."""
        return self._update(ids, values_of(changes, self._zone))

    def check_changes(self, changes: TodoChanges) -> None:
        """Raise InvalidInputError for changes that are invalid or empty. Uses no database."""
        values_of(changes, self._zone)

    def edit_matching(
        self, changes: TodoChanges, *, expected: int | None = None, **filters: Unpack[TodoFilters]
    ) -> int:
        """Change all todos that meet all `filters`, in one statement. Return how many.

        `expected` is how many they must be; without any filter it must be given. Raises InvalidInputError;
        ConflictError if another number of todos match, and changes nothing then.
        """
        if expected is None:
            require_any(filters)
        found = matching(filters, self._zone)
        these = conditions(self._with_token, found.where)
        locked = select(todos.c.id).where(*these).with_for_update(of=todos).cte("locked")
        statement = update(todos).where(*owned(self._with_token), todos.c.id.in_(select(locked.c.id)))
        if expected is not None:
            statement = statement.where(select(func.count()).select_from(locked).scalar_subquery() == expected)
        changed = self._execute(statement.values(**with_times(values_of(changes, self._zone))), **found.values).rowcount
        if expected is not None and changed != expected:
            raise ConflictError(
                f"{self.count(**filters)} todos match now, not {expected}",
                hint="Nothing was changed; look at them again",
            )
        if not changed:
            self._confirm()
        return changed

    def place(self, id: int, *, before: int | None = None, after: int | None = None) -> Todo:
        """Move a todo directly before or after another one of its state in the order made by hand.

        Raises InvalidInputError unless exactly one of `before` and `after` is given; TodoNotFoundError.
        """
        others = [each for each in (before, after) if each is not None]
        if len(others) != 1:
            raise InvalidInputError("give one other todo: before or after", field="before")
        ids = validate.record_ids([id, *others])
        if len(ids) == 1:
            return self.get(id)
        values = {"moved": ids[0], "target": ids[1]}
        row = self._execute(placement(self._with_token, before is not None), **values).first()
        return todo_of(row) if row else self.get_many(ids)[0]

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
        return self._update(ids, restored(validate.state(to)))

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

    def count(self, states: Iterable[TodoState | str] | None = None, **filters: Unpack[TodoConditions]) -> int:
        """Return the number of todos that meet all filters, as `list` does."""
        found = matching({"states": states, **filters}, self._zone)
        counted = int(self._execute(counting(self._with_token, found.where), **found.values).scalar_one())
        if not counted:
            self._confirm()
        return counted

    def stats(self, days: int = 14) -> TodoStats:
        """Return statistics, by day for the last `days` days, today included. Raises InvalidInputError."""
        if not 1 <= days <= DAYS_MAX:
            raise InvalidInputError(f"days must be between 1 and {DAYS_MAX}", field="days")
        each, bounds = days_until(datetime.now(UTC).astimezone(self._zone).date(), days, self._zone)
        values = {"bounds": bounds, "first": bounds[0], "end": bounds[-1]}
        found = stats_of(self._execute(statistics(self._with_token), **values).all(), each)
        if not found.total:
            self._confirm()
        return found

    def _insert(self, new: Sequence[dict[str, Any]]) -> TodoList:
        """Insert todos with one statement; columns are passed as arrays."""
        values = {f"new_{name}": [todo[name] for todo in new] for name in new[0]}
        statement = insertion(self._with_token, "created_at" in new[0])
        added = [todo_of(row) for row in self._execute(statement, **values)]
        if not added:
            self._confirm()
        # Ids are assigned in the order of the input, but the order of RETURNING is not guaranteed.
        return sorted(added, key=lambda todo: todo.id)

    def _checked(self, new: NewTodo) -> dict[str, Any]:
        """Return the columns of a new todo."""
        due_at, due_on = stored_due(new.due, self._zone)
        return {
            "title": validate.title(new.title),
            "description": validate.description(new.description),
            "state": validate.state(new.state).value,
            "priority": RANKS[validate.priority(new.priority)],
            "due_at": due_at,
            "due_on": due_on,
            "tags": TAG_SEPARATOR.join(validate.tags(new.tags)),
        }

    def _checked_record(self, record: NewRecord) -> dict[str, Any]:
        """Return the columns of a new todo with its times."""
        times = {"created_at": record.created_at, "completed_at": record.completed_at}
        return self._checked(record.todo) | {
            name: None if value is None else stored_moment(value, self._zone, name) for name, value in times.items()
        }

    def _each_checked(self, new: Iterable[NewTodo]) -> Iterator[dict[str, Any]]:
        for index, todo in enumerate(new):
            try:
                yield self._checked(todo)
            except InvalidInputError as error:
                raise InvalidInputError(f"todo {index}: {error.message}", field=error.field) from None

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
        statement = (
            update(todos).where(*these, _all_there(these, len(wanted))).values(**with_times(changes)).returning(*FIELDS)
        )
        rows = self._execute(statement, ids=wanted).all()
        # If several ids were given and no row changed, the query raises an error with the missing ids.
        return self._in_order(wanted, rows) if rows or len(wanted) == 1 else self.get_many(wanted)

    def _in_order(self, ids: IdList, rows: Iterable[TodoRow]) -> TodoList:
        found = {row.id: todo_of(row) for row in rows}
        if missing := [id for id in ids if id not in found]:
            self._confirm()
            raise TodoNotFoundError(missing)
        return [found[id] for id in ids]

    def _last(self, after: Todo | int, order: TodoSort) -> dict[str, Any]:
        """Return the parameters of the todo after which a page starts."""
        if order is TodoSort.ID:
            return {"last_id": after.id if isinstance(after, Todo) else validate.record_id(after, "after")}
        last = after if isinstance(after, Todo) else self.get(validate.record_id(after, "after"))
        return {"last_id": last.id} | {f"last_{number}": key for number, key in enumerate(sort_keys(last, order))}


def _all_there(conditions: list[ColumnElement[bool]], count: int) -> ColumnElement[bool]:
    """Return a condition that `count` rows match. It locks them, so that a bulk change is all or none."""
    locked = select(todos.c.id).where(*conditions).with_for_update().cte("locked")
    return select(func.count()).select_from(locked).scalar_subquery() == count


def _sort(value: TodoSort | str) -> TodoSort:
    try:
        return TodoSort(value)
    except ValueError:
        raise InvalidInputError(f"sort {value!r} is not one of {', '.join(TodoSort)}", field="sort") from None


def _batches(new: Iterable[dict[str, Any]], size: int = _BATCH) -> Iterator[list[dict[str, Any]]]:
    rest = iter(new)
    while batch := list(islice(rest, size)):
        yield batch


def _reusable(value: Any) -> Any:
    """Return a filter's value that can be read more than once."""
    return [*value] if isinstance(value, Iterator) else value
