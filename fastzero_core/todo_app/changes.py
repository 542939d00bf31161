"""Check new todos and changes of todos, and turn them into the new values of their columns. Pure."""

from collections.abc import Iterable, Mapping
from datetime import tzinfo
from typing import Any

from sqlalchemy import ColumnElement, Text, case, func, literal, null, or_, select
from sqlalchemy.dialects.postgresql import ARRAY

from ..errors import InvalidInputError, LimitReachedError
from . import validate
from .filters import RANKS
from .models import NewTodo, TodoChanges, TodoState
from .tables import todos
from .todo_statements import NOW, TAG_SEPARATOR

_TAGS = ARRAY(Text)


def new_values(new: NewTodo, zone: tzinfo | None) -> dict[str, Any]:
    """Return the columns of a new todo. Raises InvalidInputError."""
    due_at, due_on = stored_due(new.due, zone)
    return {
        "title": validate.title(new.title),
        "description": validate.description(new.description),
        "state": validate.state(new.state).value,
        "priority": RANKS[validate.priority(new.priority)],
        "due_at": due_at,
        "due_on": due_on,
        "tags": TAG_SEPARATOR.join(validate.tags(new.tags)),
    }


def values_of(changes: Mapping[str, Any], zone: tzinfo | None) -> dict[str, Any]:
    """Return the columns that change with their values; `list_id` has the key of the list.

    Raises InvalidInputError, also if nothing is given.
    """
    if unknown := changes.keys() - TodoChanges.__optional_keys__:
        raise TypeError(f"unknown change {sorted(unknown)[0]!r}")
    given = {name: value for name, value in changes.items() if value is not None}
    values: dict[str, Any] = {}
    if "title" in given:
        values["title"] = validate.title(given["title"])
    if "description" in given:
        values["description"] = validate.description(given["description"])
    if "state" in given:
        values["state"] = validate.state(given["state"]).value
    if "priority" in given:
        values["priority"] = RANKS[validate.priority(given["priority"])]
    if "due" in given:
        values["due_at"], values["due_on"] = stored_due(given["due"], zone)
    if "list" in given:
        values["list_id"] = given["list"]
    if any(given.get(name) not in (None, ()) for name in ("add_tags", "remove_tags")) or "tags" in given:
        values["tags"] = _tags(given)
    if not values:
        raise InvalidInputError(
            "nothing to change: give a title, a description, a state, a priority, a due date, tags or a list"
        )
    return values


def stored_due(value: Any, zone: tzinfo | None) -> tuple[Any, Any]:
    """Return `due_at` and `due_on` for a date, a moment, a text or None."""
    if value is None:
        return None, None
    from . import due  # todos without a due date start faster

    found = due.read(value, zone)
    return (None, None) if found is None else (due.end_of(found, zone), due.whole_day(found))


def with_times(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values together with `updated_at`, which changes only if another value does, and `completed_at`."""
    changed = or_(*(todos.c[name].is_distinct_from(value) for name, value in values.items()))
    times: dict[str, Any] = {"updated_at": case((changed, NOW), else_=todos.c.updated_at)}
    state = values.get("state")
    if isinstance(state, str):
        times["completed_at"] = _completed_at(state)
    return {**values, **times}


def restored(to: TodoState) -> dict[str, Any]:
    """Return the values of todos that leave the trash; others keep theirs."""
    trashed = todos.c.state == TodoState.TRASH.value
    completed = NOW if to is TodoState.DONE else todos.c.completed_at if to is TodoState.TRASH else null()
    return {
        "state": case((trashed, to.value), else_=todos.c.state),
        "completed_at": case((trashed, completed), else_=todos.c.completed_at),
    }


def _completed_at(state: str) -> ColumnElement[Any]:
    """Return when a todo that moves to `state` was completed. The trash keeps it, and reopening clears it."""
    if state == TodoState.TRASH:
        return todos.c.completed_at
    if state != TodoState.DONE:
        return null()
    return case((todos.c.state == TodoState.DONE.value, todos.c.completed_at), else_=NOW)


def _tags(given: Mapping[str, Any]) -> Any:
    """Return the new tags: `tags` or the present ones, with those to add and without those to remove, in order."""
    added, removed = (validate.tags(given.get(name) or ()) for name in ("add_tags", "remove_tags"))
    if "tags" in given:
        tags = sorted({*validate.tags(given["tags"]), *added} - {*removed})
        if len(tags) > validate.TAGS_MAX:
            raise LimitReachedError(f"a todo may have at most {validate.TAGS_MAX} tags", validate.TAGS_MAX)
        return tags
    each = func.unnest(todos.c.tags.concat(_array(added))).table_valued("tag", name="each").render_derived()
    kept = select(each.c.tag).distinct().where(each.c.tag != func.all(_array(removed)))
    return func.array(kept.order_by(each.c.tag).scalar_subquery(), type_=_TAGS)


def _array(values: Iterable[str]) -> Any:
    return literal([*values], _TAGS)
