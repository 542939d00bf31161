"""Undo, redo and the log of changes, on a SQLAlchemy Core connection.

Triggers in the database note every change of a user's todos, whichever program makes it. All changes of one transaction
are one entry: so is one command and one request. About the newest 1,000 entries are kept. A new change ends what can be
redone.
"""

from functools import cache
from typing import Any

from sqlalchemy import (
    Boolean,
    Connection,
    Integer,
    Select,
    and_,
    any_,
    bindparam,
    case,
    column,
    func,
    not_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by
from sqlalchemy.types import BigInteger, Text

from ..errors import InvalidInputError
from . import validate
from .models import Entry, Identity
from .tables import todo_history, todos, users
from .users import confirm

STEPS_MAX = 1000

Entries = list[Entry]


class History:
    """The history of the todos of one owner, in the transaction of one connection."""

    def __init__(self, connection: Connection, owner: Identity | int) -> None:
        self._connection = connection
        self._bearer = owner if isinstance(owner, Identity) else None
        self.owner_id = validate.record_id(owner.user_id if isinstance(owner, Identity) else owner, "user")
        self._scope: dict[str, Any] = {"owner_id": self.owner_id}
        if self._bearer is not None:
            self._scope["token_version"] = self._bearer.token_version

    def undo(self, steps: int = 1) -> Entries:
        """Undo the last changes, all or none. Return their entries, the newest first.

        Raises NotFoundError if there are fewer; ConflictError if a todo was changed in another way since.
        """
        return self._exchange(steps, undo=True)

    def redo(self, steps: int = 1) -> Entries:
        """Redo the changes that were undone last, all or none. Return their entries. Raises the errors of `undo`."""
        return self._exchange(steps, undo=False)

    def log(self, limit: int = 20) -> Entries:
        """Return the newest entries, the newest first."""
        return self._read(_newest(self._bearer is not None), limit=validate.limit(limit))

    def _exchange(self, steps: int, *, undo: bool) -> Entries:
        if not 1 <= steps <= STEPS_MAX:
            raise InvalidInputError(f"steps must be 1 to {STEPS_MAX}", field="steps")
        return self._read(_exchange(self._bearer is not None), undo=undo, steps=steps)

    def _read(self, chosen: Any, **values: Any) -> Entries:
        """Return the entries whose numbers a statement returns, in its order."""
        numbers = list(self._connection.execute(chosen, {**self._scope, **values}).scalars())
        if not numbers and self._bearer is not None:
            confirm(self._connection, self._bearer)
        rows = self._connection.execute(_entries(), {"owner_id": self.owner_id, "entries": numbers})
        found = {row.entry: Entry(*row) for row in rows}
        return [found[number] for number in numbers]


def _owner(with_token: bool) -> Any:
    """Return the user, with a token only if it is valid. A function that is joined to it runs for that row alone."""
    conditions = [users.c.id == bindparam("owner_id", type_=BigInteger)]
    if with_token:
        conditions.append(users.c.token_version == bindparam("token_version", type_=BigInteger))
    return select(users.c.id).where(*conditions).subquery("owner")


@cache
def _exchange(with_token: bool) -> Select[Any]:
    owner = _owner(with_token)
    arguments = (owner.c.id, bindparam("undo", type_=Boolean), bindparam("steps", type_=Integer))
    done = func.exchange_todos(*arguments).table_valued(column("entry", BigInteger), name="done")
    for_owner = done.render_derived().lateral()
    return select(for_owner.c.entry).select_from(owner.join(for_owner, true()))


@cache
def _newest(with_token: bool) -> Select[Any]:
    owner, entry = _owner(with_token), todo_history.c.entry
    mine = select(entry).join(owner, todo_history.c.user_id == owner.c.id)
    return mine.group_by(entry).order_by(entry.desc()).limit(bindparam("limit", type_=BigInteger))


@cache
def _entries() -> Select[Any]:
    change = todo_history.c
    # What the user did, also for a change that is undone now.
    is_new = case((change.undone, change.stamp.is_(None)), else_=change.other.is_(None))
    is_gone = case((change.undone, change.other.is_(None)), else_=change.stamp.is_(None))
    title = func.coalesce(todos.c.title, change.other["title"].astext, "")
    titles = func.array_agg(aggregate_order_by(title, change.todo_id), type_=ARRAY(Text))
    same = and_(todos.c.user_id == change.user_id, todos.c.id == change.todo_id)
    return (
        select(
            change.entry,
            func.min(change.at),
            func.count().filter(is_new, not_(is_gone)),
            func.count().filter(not_(is_new), not_(is_gone)),
            func.count().filter(is_gone, not_(is_new)),
            titles[1],
            func.bool_or(change.undone),
        )
        .select_from(todo_history.outerjoin(todos, same))
        .where(change.user_id == bindparam("owner_id", type_=BigInteger))
        .where(change.entry == any_(bindparam("entries", type_=ARRAY(BigInteger))))
        .group_by(change.entry)
    )
