"""The statement of the statistics of todos: all of them are counted by one query."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import date, datetime, timedelta, tzinfo
from functools import cache
from typing import Any

from sqlalchemy import Text, bindparam, cast, exists, func, literal_column, select, union_all
from sqlalchemy.dialects.postgresql import ARRAY

from . import due
from .access import ALL, Access, allowed, number, owned
from .models import OPEN, TodoState
from .orders import TIME, due_key
from .results import DayCount, TodoStats
from .tables import todo_tags, todos

DAYS_MAX = 366
TAGS_SHOWN = 50


@cache
def counting(access: Access) -> Any:
    """Return a query for rows of a kind, a key and a number. `bounds` are the beginnings of days, and the end."""
    mine, count = owned(access), func.count()
    open_states = todos.c.state.in_([literal_column(f"'{state}'") for state in OPEN])
    tagged = todo_tags.c.state != literal_column(f"'{TodoState.TRASH}'")
    tags = (
        select(_kind("tag"), todo_tags.c.tag, count.label("count"))
        .where(todo_tags.c.user_id == number("owner_id"), *_tagged_here(access), tagged)
        .group_by(todo_tags.c.tag)
        .order_by(count.desc(), todo_tags.c.tag)
        .limit(TAGS_SHOWN)
        .subquery("tags")
    )
    return union_all(
        select(_kind("state"), todos.c.state, count).where(*mine).group_by(todos.c.state),
        select(tags),
        select(_kind("overdue"), literal_column("''"), count).where(*mine, open_states, due_key(todos.c) < func.now()),
        *(_by_day(mine, name, todos.c[f"{name}_at"]) for name in ("created", "completed")),
    )


def _tagged_here(access: Access) -> list[Any]:
    """Return the conditions of access for a tag; in one list those of its todo, which is looked up."""
    if access.within == ALL:
        return allowed(access)
    here = exists().where(todos.c.user_id == todo_tags.c.user_id, todos.c.id == todo_tags.c.todo_id, *owned(access))
    return [here]


def days_until(last: date, count: int, zone: tzinfo | None) -> tuple[list[date], list[datetime]]:
    """Return the days up to the last one, and their beginnings with the end of the last one."""
    days = [last - timedelta(days=count - 1 - number) for number in range(count)]
    return days, [due.beginning_of(day, zone) for day in (*days, last + timedelta(days=1))]


def stats_of(rows: Iterable[Any], days: list[date]) -> TodoStats:
    """Return the statistics in the rows of `counting`."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for kind, key, count in rows:
        found[kind][key] = count
    created, completed = ([found[name].get(str(number), 0) for number in _numbers(days)] for name in _BY_DAY)
    return TodoStats(
        total=sum(found["state"].values()),
        by_state={state.value: found["state"].get(state, 0) for state in TodoState},
        by_tag=found["tag"],
        overdue=found["overdue"].get("", 0),
        completed=sum(completed),
        throughput=round(sum(completed) / len(days), 2),
        by_day=[DayCount(*each) for each in zip(days, created, completed, strict=True)],
    )


_BY_DAY = ("created", "completed")


def _numbers(days: list[date]) -> range:
    return range(1, len(days) + 1)


def _kind(name: str) -> Any:
    return literal_column(f"'{name}'").label("kind")


def _by_day(mine: Any, name: str, moment: Any) -> Any:
    bounds = bindparam("bounds", type_=ARRAY(TIME))
    ends = [moment >= bindparam("first", type_=TIME), moment < bindparam("end", type_=TIME)]
    day = cast(func.width_bucket(moment, bounds), Text)
    return select(_kind(name), day, func.count()).where(*mine, *ends).group_by(day)
