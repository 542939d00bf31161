"""Undo, redo and the log of changes, on a SQLAlchemy Core connection.

Triggers in the database note every change of a user's todos, whichever program makes it. All changes of one transaction
are one entry: so is one command and one request. About the newest 1,000 entries are kept. Everybody undoes the changes
made by oneself, a member of a list those made in it. A new change ends what can be redone.
"""

from functools import cache
from typing import Any

from sqlalchemy import (
    Boolean,
    Integer,
    Select,
    and_,
    any_,
    bindparam,
    case,
    cast,
    column,
    func,
    not_,
    null,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by
from sqlalchemy.types import BigInteger, Text

from ..errors import InvalidInputError
from . import validate
from .access import ALL, IN_LIST, Access, allowed, number
from .owner import OfOwner
from .results import Entry
from .tables import todo_history, todos, users

STEPS_MAX = 1000

Entries = list[Entry]


class History(OfOwner):
    """The history of the todos of one owner, in the transaction of one connection.

    With a list as `place` it has the entries about todos of that list; of a member those alone that the member made.
    """

    def undo(self, steps: int = 1) -> Entries:
        """Undo the last changes, all or none. Return their entries, the newest first.

        Raises NotFoundError if there are fewer; ConflictError if a todo was changed in another way since;
        ListRoleError for a viewer.
        """
        return self._exchange(steps, undo=True)

    def redo(self, steps: int = 1) -> Entries:
        """Redo the changes that were undone last, all or none. Return their entries. Raises the errors of `undo`."""
        return self._exchange(steps, undo=False)

    def log(self, limit: int = 20) -> Entries:
        """Return the newest entries, the newest first."""
        return self._read(_newest(self._access), limit=validate.limit(limit))

    def _exchange(self, steps: int, *, undo: bool) -> Entries:
        if not 1 <= steps <= STEPS_MAX:
            raise InvalidInputError(f"steps must be 1 to {STEPS_MAX}", field="steps")
        return self._read(_exchange(self._to_change), changes=True, undo=undo, steps=steps)

    def _read(self, chosen: Any, *, changes: bool = False, **values: Any) -> Entries:
        """Return the entries whose numbers a statement returns, in its order."""
        numbers = list((self._change if changes else self._execute)(chosen, **values).scalars())
        if not numbers:
            self._confirm(changes=changes)
            return []
        rows: Any = self._execute(_entries(self._access), entries=numbers)
        found: dict[int, Entry] = {row[0]: Entry(*row) for row in rows}
        return [found[number] for number in numbers]


def _owner(access: Access) -> Any:
    """Return the owner if access is allowed. A function that is joined to it runs for that row alone."""
    return select(users.c.id).where(users.c.id == number("owner_id"), *allowed(access)).subquery("owner")


def _here(access: Access) -> list[Any]:
    """Return the conditions for the changes of `todo_history`, joined with their todos, that somebody sees."""
    change = todo_history.c
    conditions: list[Any] = [change.user_id == number("owner_id")]
    if access.within == IN_LIST:
        there = cast(change.other["list_id"].astext, BigInteger)
        conditions.append(or_(todos.c.list_id == number("place_id"), there == number("place_id")))
    if access.by_member:
        conditions.append(change.actor == number("member_id"))
    return conditions


def _changes() -> Any:
    same = and_(todos.c.user_id == todo_history.c.user_id, todos.c.id == todo_history.c.todo_id)
    return todo_history.outerjoin(todos, same)


@cache
def _exchange(access: Access) -> Select[Any]:
    owner, none = _owner(access), cast(null(), BigInteger)
    member = number("member_id") if access.by_member else none
    place = number("place_id") if access.within == IN_LIST else none
    steps = (owner.c.id, bindparam("undo", type_=Boolean), bindparam("steps", type_=Integer))
    done = func.exchange_changes(*steps, member, place).table_valued(column("entry", BigInteger), name="done")
    for_owner = done.render_derived().lateral()
    return select(for_owner.c.entry).select_from(owner.join(for_owner, true()))


@cache
def _newest(access: Access) -> Select[Any]:
    owner, entry = _owner(access), todo_history.c.entry
    rows = todo_history if access.within == ALL else _changes()
    mine = select(entry).select_from(rows.join(owner, todo_history.c.user_id == owner.c.id)).where(*_here(access))
    return mine.group_by(entry).order_by(entry.desc()).limit(bindparam("limit", type_=BigInteger))


@cache
def _entries(access: Access) -> Select[Any]:
    change = todo_history.c
    # What the user did, also for a change that is undone now.
    is_new = case((change.undone, change.stamp.is_(None)), else_=change.other.is_(None))
    is_gone = case((change.undone, change.other.is_(None)), else_=change.stamp.is_(None))
    title = func.coalesce(todos.c.title, change.other["title"].astext, "")
    titles = func.array_agg(aggregate_order_by(title, change.todo_id), type_=ARRAY(Text))
    actor = users.c.id == func.coalesce(change.actor, change.user_id)
    return (
        select(
            change.entry,
            func.min(change.at),
            func.count().filter(is_new, not_(is_gone)),
            func.count().filter(not_(is_new), not_(is_gone)),
            func.count().filter(is_gone, not_(is_new)),
            titles[1],
            func.bool_or(change.undone),
            func.coalesce(func.min(users.c.username), ""),
        )
        .select_from(_changes().outerjoin(users, actor))
        .where(*_here(access), *allowed(access))
        .where(change.entry == any_(bindparam("entries", type_=ARRAY(BigInteger))))
        .group_by(change.entry)
    )
