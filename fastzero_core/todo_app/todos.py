"""The operations on todos, on a SQLAlchemy Core connection.

`Todos` is bound to its owner: every statement filters by `user_id`, so that it cannot reach the rows of other users. It
can be bound to one list, also of another owner: then each statement also checks the membership. If the user is the
Identity of a token, each statement checks that the token is valid. So a request takes one statement; only if it finds
no rows, a second one determines the reason.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, tzinfo
from itertools import islice
from typing import TYPE_CHECKING, Any, Unpack

from sqlalchemy import ColumnElement, Connection, delete, func, select, update

from ..errors import ConflictError, InvalidInputError, TodoNotFoundError, TodoNotTrashedError
from . import validate
from .access import IN_LIST, owned
from .changes import new_values, restored, values_of, with_times
from .filters import matching, require_any, reusable
from .models import (
    Identity,
    ListInfo,
    NewTodo,
    Priority,
    Todo,
    TodoChanges,
    TodoConditions,
    TodoFilters,
    TodoSort,
    TodoState,
)
from .owner import OfOwner
from .placing import placement
from .tables import todos
from .todo_rows import TodoRow, sort_keys, todo_of
from .todo_statements import FIELDS, Page, all_there, among, counting, deletion, insertion, page, selection, unprepared
from .todo_statements import matching as conditions

if TYPE_CHECKING:
    from .exporting import Exporting, Lines
    from .importing import Problems, Row
    from .results import Imported, TodoStats
    from .transfer.records import Found, Invalid

_PAGE = 1000
_BATCH = 10_000

# In the class, `list` is a method.
TodoList = list[Todo]
IdList = list[int]
Clauses = list[ColumnElement[bool]]


class Todos(OfOwner):
    """The operations on the todos of one owner, or of one list, in the transaction of one connection.

    `place` is a list of the user, or one of which the user is a member, or INBOX. Without it the todos are those of all
    of the user's own lists, and new ones are added to the inbox. A change raises ListRoleError for a viewer.
    `time_zone` is where days begin and end, for dates without a time; None is the time zone of this machine.
    """

    def __init__(
        self,
        connection: Connection,
        user: Identity | int,
        place: ListInfo | str | None = None,
        *,
        time_zone: tzinfo | None = None,
    ) -> None:
        super().__init__(connection, user, place)
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
        return self._insert([new_values(NewTodo(title, description, state, priority, due, tags), self._zone)])[0]

    def add_many(self, new: Iterable[NewTodo]) -> TodoList:
        """Create todos in the order given, all or none. Raises InvalidInputError with the index of an invalid one."""
        checked = list(self._each_checked(new))
        if not checked:
            self._confirm()
        return [todo for batch in _batches(checked) for todo in self._insert(batch)]

    def import_each(
        self, found: "Iterable[Found]", *, dry_run: bool = False, on_invalid: "Callable[[Invalid], None] | None" = None
    ) -> "Imported":
        """Add the todos that `transfer.read` yields, in this order, and change those whose external id is known.

        All or none, and one entry of the history. Memory use stays constant. `on_invalid` is told of each invalid one,
        which is left out then; else the first one raises InvalidInputError. With `dry_run` nothing is changed.
        """
        from .importing import Problems, rows_of

        problems = Problems(on_invalid)
        return self.import_rows(rows_of(found, self._zone, problems), problems, dry_run=dry_run)

    def import_rows(self, rows: "Iterable[Row]", problems: "Problems", *, dry_run: bool = False) -> "Imported":
        """Import what `importing.rows_of` yields, as `import_each` does."""
        from .importing import Importing

        return Importing(self._connection, self._asker, self._place).run(rows, problems, dry_run=dry_run)

    def get(self, id: int) -> Todo:
        """Return a todo. Raises TodoNotFoundError."""
        return self.get_many([id])[0]

    def get_many(self, ids: Iterable[int]) -> TodoList:
        """Return the todos with these ids, in this order. Raises TodoNotFoundError with the missing ids."""
        wanted = validate.record_ids(ids)
        rows = self._execute(selection(self._access, len(wanted) == 1), **_given(wanted))
        return self._in_order(wanted, rows)

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
        order = None if sort is None else validate.sort(sort)
        shape, values = self._page(order, descending, after, offset, limit, filters)
        rows = self._execute(page(shape), **values).all()
        if not rows:
            self._confirm()
        return [todo_of(row) for row in rows]

    def export(self, format: str, **filters: Unpack[TodoFilters]) -> Iterator[str]:
        """Yield the text of a file with the todos that meet all `filters`, by id. Memory use stays constant.

        They are read in pages, by three connections if each statement commits by itself. Raises InvalidInputError, also
        for an unknown format.
        """
        from . import exporting
        from .transfer import files

        if format not in exporting.FORMATS:
            return files.write(self.stream(sort=TodoSort.ID, **filters), format, self._zone)
        return exporting.written(self._exporting(format, filters).pages(_PAGE), format)

    def export_lines(self, format: str, after: int | None, limit: int, **filters: Unpack[TodoFilters]) -> "Lines":
        """Return the lines of up to `limit` todos, those with the next ids, in one of `exporting.FORMATS`."""
        return self._exporting(format, filters).lines(after, validate.limit(limit))

    def _exporting(self, format: str, filters: Any) -> "Exporting":
        from .exporting import Exporting

        found = matching(filters, self._zone, sort=TodoSort.ID, by_state=self._access.within == IN_LIST)
        return Exporting(self._connection, self._asker, self._place, format, found)

    def stream(
        self,
        *,
        sort: TodoSort | str | None = None,
        descending: bool = False,
        after: Todo | int | None = None,
        **filters: Unpack[TodoFilters],
    ) -> Iterator[Todo]:
        """Yield the todos of `list` without a limit. They are read in pages, so that memory use stays constant."""
        kept = reusable(filters)
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
        return self._update([id], self._values(changes))[0]

    def edit_many(self, ids: Iterable[int], **changes: Unpack[TodoChanges]) -> TodoList:
        """Change the given fields of todos, all or none. Raises InvalidInputError; TodoNotFoundError."""
        return self._update(ids, self._values(changes))

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
        values, access = self._values(changes), self._to_change
        these = conditions(access, found.where)
        locked = select(todos.c.id).where(*these).with_for_update(of=todos).cte("locked")
        statement = update(todos).where(*owned(access), todos.c.id.in_(select(locked.c.id)))
        if expected is not None:
            statement = statement.where(select(func.count()).select_from(locked).scalar_subquery() == expected)
        statement = unprepared(statement.values(**with_times(values)), found.where)
        changed = self._change(statement, **found.values).rowcount
        if expected is not None and changed != expected:
            raise ConflictError(
                f"{self.count(**filters)} todos match now, not {expected}",
                hint="Nothing was changed; look at them again",
            )
        if not changed:
            self._confirm(changes=True)
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
        row = self._change(placement(self._to_change, before is not None), **values).first()
        if row is None:
            self._confirm_change()
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
        return self._in_order(wanted, self._change(deletion(self._to_change), **_given(wanted)), changes=True)[0]

    def purge(self, *ids: int) -> int:
        """Permanently delete todos in the trash, all or none; without ids, the whole trash. Return how many.

        Raises TodoNotFoundError; TodoNotTrashedError if one of them is not in the trash.
        """
        trashed = todos.c.state == TodoState.TRASH.value
        if not ids:
            purged = self._change(delete(todos).where(*owned(self._to_change), trashed)).rowcount
            if not purged:
                self._confirm(changes=True)
            return purged
        wanted = validate.record_ids(ids)
        these = self._each(wanted, trashed)
        purged = len(self._change(delete(todos).where(*these).returning(todos.c.id), **_given(wanted)).all())
        if purged != len(wanted):
            self._confirm_change()
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
        counted = int(self._execute(counting(self._access, found.where), **found.values).scalar_one())
        if not counted:
            self._confirm()
        return counted

    def stats(self, days: int = 14) -> "TodoStats":
        """Return statistics, by day for the last `days` days, today included. Raises InvalidInputError."""
        from .reports import DAYS_MAX, days_until, stats_of
        from .reports import counting as statistics

        if not 1 <= days <= DAYS_MAX:
            raise InvalidInputError(f"days must be between 1 and {DAYS_MAX}", field="days")
        each, bounds = days_until(datetime.now(UTC).astimezone(self._zone).date(), days, self._zone)
        values = {"bounds": bounds, "first": bounds[0], "end": bounds[-1]}
        found = stats_of(self._execute(statistics(self._access), **values).all(), each)
        if not found.total:
            self._confirm()
        return found

    def _insert(self, new: Sequence[dict[str, Any]]) -> TodoList:
        """Insert todos with one statement; columns are passed as arrays."""
        values = {f"new_{name}": [todo[name] for todo in new] for name in new[0]}
        added = [todo_of(row) for row in self._change(insertion(self._to_change), **values)]
        if not added:
            self._confirm(changes=True)
        # Ids are assigned in the order of the input, but the order of RETURNING is not guaranteed.
        return sorted(added, key=lambda todo: todo.id)

    def _values(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Return the columns that change with their values. Raises InvalidInputError, ListNotFoundError."""
        values = values_of(changes, self._zone)
        if "list_id" in values:
            values["list_id"] = self._own_list(values["list_id"])
        return values

    def _each_checked(self, new: Iterable[NewTodo]) -> Iterator[dict[str, Any]]:
        for index, todo in enumerate(new):
            try:
                yield new_values(todo, self._zone)
            except InvalidInputError as error:
                raise InvalidInputError(f"todo {index}: {error.message}", field=error.field) from None

    def _update(self, ids: Iterable[int], changes: dict[str, Any]) -> TodoList:
        wanted = validate.record_ids(ids)
        if not wanted:
            raise InvalidInputError("no id given", field="id")
        statement = update(todos).where(*self._each(wanted)).values(**with_times(changes)).returning(*FIELDS)
        rows = self._change(statement, **_given(wanted)).all()
        if rows or len(wanted) == 1:
            return self._in_order(wanted, rows, changes=True)
        self._confirm_change()
        return self.get_many(wanted)  # raises an error with the missing ids

    def _each(self, ids: IdList, *more: ColumnElement[bool]) -> Clauses:
        """Return the conditions for a change of todos, all or none."""
        is_one = len(ids) == 1
        these = [*among(self._to_change, is_one), *more]
        return these if is_one else [*these, all_there(these, len(ids))]

    def _in_order(self, ids: IdList, rows: Iterable[TodoRow], *, changes: bool = False) -> TodoList:
        found = {row.id: todo_of(row) for row in rows}
        if missing := [id for id in ids if id not in found]:
            self._confirm(changes=changes)
            raise TodoNotFoundError(missing)
        return [found[id] for id in ids]

    def _page(
        self, order: TodoSort | None, descending: bool, after: Todo | int | None, offset: int, limit: int, filters: Any
    ) -> tuple[Page, dict[str, Any]]:
        """Return the shape of a page, and its values."""
        found = matching(filters, self._zone, sort=order, by_state=self._access.within == IN_LIST)
        limit, offset = validate.limit(limit), validate.offset(offset)
        values = {**found.values, "page_size": limit, "reach": limit + offset}
        if after is not None:
            values |= self._last(after, found.sort)
        if offset:
            values["skipped"] = offset
        return Page(self._access, found.sort, descending, found.where, after is not None, offset > 0), values

    def _last(self, after: Todo | int, order: TodoSort) -> dict[str, Any]:
        """Return the parameters of the todo after which a page starts."""
        if order is TodoSort.ID:
            return {"last_id": after.id if isinstance(after, Todo) else validate.record_id(after, "after")}
        last = after if isinstance(after, Todo) else self.get(validate.record_id(after, "after"))
        return {"last_id": last.id} | {f"last_{number}": key for number, key in enumerate(sort_keys(last, order))}


def _given(ids: IdList) -> dict[str, Any]:
    """Return the parameters of `among`."""
    return {"one_id": ids[0]} if len(ids) == 1 else {"ids": ids}


def _batches(new: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    rest = iter(new)
    while batch := list(islice(rest, _BATCH)):
        yield batch
