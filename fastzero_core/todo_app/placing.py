"""The statement that places a todo beside another one in the order made by hand.

A position is a number of any precision, so that there is always another one between two. Todos that were never placed
are at their ids, so that no position has to be written when todos are added.
"""

from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Integer, Numeric, bindparam, case, cast, func, literal_column, select, update

from .access import Access, owned
from .orders import position_key
from .tables import todos
from .todo_statements import FIELDS, NOW


@cache
def placement(access: Access, before: bool) -> Any:
    """Return a statement that moves the todo `moved` directly before or after `target`, among those of its state."""
    key = position_key(todos.c)
    mine = owned(access)
    id, other = bindparam("moved", type_=BigInteger), bindparam("target", type_=BigInteger)
    target = select(key.label("key"), todos.c.state).where(*mine, todos.c.id == other).cte("target")
    beyond = key < target.c.key if before else key > target.c.key
    others = select(key.label("key")).where(*mine, todos.c.state == target.c.state, beyond, todos.c.id != id)
    neighbour = others.order_by(key.desc() if before else key.asc()).limit(1).cte("neighbour")
    there, beside = (select(each.c.key).scalar_subquery() for each in (target, neighbour))
    at_the_end = there - 1 if before else there + 1
    position = case((beside.is_(None), at_the_end), else_=_between(there, beside))
    return (
        update(todos)
        .where(*mine, todos.c.id == id, select(target.c.key).exists())
        .values(position=position, updated_at=NOW)
        .returning(*FIELDS)
    )


def _between(one: Any, other: Any) -> Any:
    """Return a number between two, with as few digits as possible."""
    middle = (one + other) * literal_column("0.5", Numeric)
    digits = 1 - cast(func.floor(func.log(func.abs(one - other))), Integer)
    return func.round(middle, func.greatest(digits, 0))
