"""Check the filters and changes that a caller gives, and turn them into the shapes and values of statements. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, tzinfo
from typing import Any, cast

from ..errors import InvalidInputError
from . import validate
from .models import OPEN, Priority, TodoFilters, TodoSort, TodoState
from .orders import MOMENTS
from .todo_statements import Conditions

PRIORITIES = (Priority.HIGH, Priority.MEDIUM, Priority.LOW, Priority.NONE)  # the first one is 1 in the database
RANKS = {priority: rank for rank, priority in enumerate(PRIORITIES, 1)}

_END = datetime(9999, 12, 31, tzinfo=UTC)  # infinity is later, so that what is not due is not before it
_KNOWN = TodoFilters.__optional_keys__


@dataclass(frozen=True, slots=True)
class Matching:
    """Conditions with their values. `sort` is the order in which an index finds what they match."""

    where: Conditions
    values: dict[str, Any]
    sort: TodoSort


_EVERY = Matching(Conditions(), {}, TodoSort.ID)


def matching(
    filters: Mapping[str, Any], zone: tzinfo | None, *, sort: TodoSort | None = None, by_state: bool = False
) -> Matching:
    """Return the conditions for checked filters, and for a list by `sort`. Raises InvalidInputError.

    With `by_state` the conditions name all states, if no filter does, for an index that begins with the state.
    """
    if not filters and not by_state and sort in (None, TodoSort.ID):
        return _EVERY
    _refuse_unknown(filters)
    given = {name: value for name, value in filters.items() if value is not None}
    tags = validate.tags(given.get("tags", ()))
    values: dict[str, Any] = _texts(given) | _moments(given, zone)
    values |= {f"tag_{number}": tag for number, tag in enumerate(tags)}
    where = Conditions(
        priorities=_priorities(given),
        text="text" in values,
        title="title_part" in values,
        description="description_part" in values,
        tags=len(tags),
        moments=tuple(name for name in MOMENTS if name in values),
    )
    order = sort or _order(where)
    by_index = by_state or order is not TodoSort.ID or where.priorities
    if "states" in given or by_index or given.get("overdue"):
        where = replace(where, states=_states(given))
    return Matching(where, values, order)


def _order(where: Conditions) -> TodoSort:
    """Return the order of a list that names none: by the moments that it is limited to."""
    limited = {name.partition("_")[0] for name in where.moments}
    return TodoSort.DUE if "due" in limited else TodoSort.CREATED if limited else TodoSort.ID


def require_any(filters: Mapping[str, Any]) -> None:
    """Raise InvalidInputError without any filter: a change of all todos must be meant."""
    if not any(value not in (None, False, (), []) for value in filters.values()):
        raise InvalidInputError(
            "no filter given", field="filter", hint="Give at least one filter, such as a state or a tag"
        )


def reusable(filters: TodoFilters) -> TodoFilters:
    """Return filters whose values can be read more than once."""
    kept: Any = {name: [*value] if isinstance(value, Iterator) else value for name, value in filters.items()}
    return cast(TodoFilters, kept)


def _refuse_unknown(filters: Mapping[str, Any]) -> None:
    if unknown := filters.keys() - _KNOWN:
        raise TypeError(f"unknown filter {sorted(unknown)[0]!r}")


def _states(given: Mapping[str, Any]) -> tuple[str, ...]:
    if "states" not in given:
        return _OPEN if given.get("overdue") else _EVERY_STATE
    wanted = {validate.state(state) for state in given["states"]}
    if given.get("overdue"):
        wanted &= set(OPEN)
    return _sorted(wanted)


def _sorted(states: Iterable[TodoState]) -> tuple[str, ...]:
    return tuple(sorted(state.value for state in states))


_EVERY_STATE, _OPEN = _sorted(TodoState), _sorted(OPEN)


def _priorities(given: Mapping[str, Any]) -> tuple[int, ...] | None:
    if "priorities" not in given:
        return None
    return tuple(sorted({RANKS[validate.priority(each)] for each in given["priorities"]}))


def _texts(given: Mapping[str, Any]) -> dict[str, Any]:
    parameters = {"text": "text", "title": "title_part", "description": "description_part"}
    return {parameters[name]: _pattern(given[name], name) for name in parameters if name in given}


def _pattern(text: str, field: str) -> str:
    """Return the ILIKE pattern that matches a text literally, anywhere."""
    return "%" + re.sub(r"([\\%_])", r"\\\1", validate.text(text, field)) + "%"


def _moments(given: Mapping[str, Any], zone: tzinfo | None) -> dict[str, Any]:
    """Return the moments between which the others are. What is due after a moment is due before the end of time."""
    found = {name: moment for name in MOMENTS if (moment := _moment(given, name, zone))}
    if given.get("overdue"):
        found["due_before"] = min(found.get("due_before", _END), datetime.now(UTC))
    return {"due_before": _END, **found} if "due_after" in found else found


def _moment(given: Mapping[str, Any], field: str, zone: tzinfo | None) -> datetime | None:
    if field not in given:
        return None
    from . import due  # filters without a date start faster

    found: date | None = due.read(given[field], zone, field)
    if found is None:
        raise InvalidInputError(f"{field} needs a date", field=field, hint=due.HINT.removesuffix(" or none"))
    return due.end_of(found, zone) if field.endswith("after") else due.beginning_of(found, zone)
