"""Read and write the JSON of Taskwarrior, as `task export` prints it and `task import` reads it.

Its description is a title, its annotations are the description, and a project becomes a tag. Attributes that a todo has
no field for are left out, and named. Whole days are midnight there; what cannot be said otherwise is in attributes of
our own, which Taskwarrior keeps.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, tzinfo
from typing import Any, TextIO
from uuid import NAMESPACE_URL, uuid5

from ...errors import InvalidInputError
from ...formats import json_lines
from .. import due as due_dates
from ..models import NewTodo, Priority, Todo, TodoState
from .json_file import built, values
from .records import Found, NewRecord, as_external_id, as_tags, external_id, text_of, utc, whole_day

_TIME = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_STATES = {
    "pending": TodoState.TODO,
    "waiting": TodoState.TODO,
    "completed": TodoState.DONE,
    "deleted": TodoState.TRASH,
}
_STATUS = {TodoState.DONE: "completed", TodoState.TRASH: "deleted"}
_LETTERS = {Priority.HIGH: "H", Priority.MEDIUM: "M", Priority.LOW: "L"}
_PRIORITIES = {letter: priority for priority, letter in _LETTERS.items()}
_FIRST = datetime(1980, 1, 1, tzinfo=UTC)  # Taskwarrior reads no file with an earlier time
_OWN_STATE, _OWN_DUE, _OWN_ID = "fastzerostate", "fastzerodue", "fastzeroid"
_READ = frozenset(
    (
        *("description", "status", "start", "annotations", "priority", "due", "tags", "project", "entry", "end"),
        *("uuid", _OWN_STATE, _OWN_DUE, _OWN_ID),
    )
)
_CALCULATED = frozenset(("id", "urgency", "modified", "mask", "imask", "parent", "rtype"))  # the last four with `recur`


def read(stream: TextIO, zone: tzinfo | None) -> Iterator[Found]:
    for line, value in values(stream):
        yield built(line, value, lambda line, task: _record(line, task, zone))


def write(todos: Iterable[Todo], zone: tzinfo | None) -> Iterator[str]:
    return json_lines(_task(todo, zone) for todo in todos)


def _record(line: int, task: dict[str, Any], zone: tzinfo | None) -> NewRecord:
    status = _text(task, "status") or "pending"
    if status == "recurring":  # what its instances are made of
        raise InvalidInputError("recurring tasks are not supported, only their instances", field="status")
    if status not in _STATES:
        raise InvalidInputError(f"status {status!r} is not one of {', '.join(_STATES)}", field="status")
    state: str = _STATES[status]
    if state == TodoState.TODO:
        state = TodoState.DOING if "start" in task else _text(task, _OWN_STATE) or state
    due = _moment(task, "due")
    todo = NewTodo(
        _text(task, "description"),
        "\n".join(_text(each, "description") for each in _objects(task, "annotations")),
        state,
        _PRIORITIES.get(_text(task, "priority"), Priority.NONE),
        _text(task, _OWN_DUE) or (due and (whole_day(due, zone) or due)),
        as_tags([*_tags(task), _text(task, "project")]),
    )
    completed = _moment(task, "end") if state == TodoState.DONE else None
    id = as_external_id(_text(task, _OWN_ID) or _text(task, "uuid"))
    return NewRecord(line, todo, _moment(task, "entry"), completed, id, _left_out(task))


def _left_out(task: dict[str, Any]) -> list[str]:
    lost = [name for name, value in task.items() if value and name not in _READ and name not in _CALCULATED]
    return [*lost, "priority"] if task.get("priority") and task["priority"] not in _PRIORITIES else lost


def _text(task: dict[str, Any], name: str) -> str:
    value = task.get(name) or ""
    if not isinstance(value, str):
        raise InvalidInputError(f"{name} is not a text", field=name)
    return text_of(value)


def _tags(task: dict[str, Any]) -> list[str]:
    tags = task.get("tags") or []
    if isinstance(tags, str):  # as versions before 2.4 wrote them
        return tags.split(",")
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise InvalidInputError("tags is not a list of texts", field="tags")
    return tags


def _objects(task: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = task.get(name) or []
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise InvalidInputError(f"{name} is not a list of objects", field=name)
    return found


def _moment(task: dict[str, Any], name: str) -> datetime | None:
    text = _text(task, name)
    if not text:
        return None
    try:
        if _TIME.fullmatch(text):
            moment = datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            due_dates.checked(moment, name)
            return moment
    except ValueError:  # no such day or hour
        pass
    raise InvalidInputError(f"invalid {name} {text!r}", field=name)


def _task(todo: Todo, zone: tzinfo | None) -> dict[str, Any]:
    task: dict[str, Any] = {
        **_ids(external_id(todo)),
        "description": todo.title,
        "status": _STATUS.get(todo.state, "pending"),
        "entry": utc(max(todo.created_at, _FIRST)),
        "modified": utc(todo.updated_at),
    }
    if todo.state in _STATUS:
        task["end"] = utc(todo.completed_at or todo.updated_at)
    elif todo.state is TodoState.DOING:
        task["start"] = utc(todo.updated_at)
    elif todo.state is TodoState.DRAFT:
        task[_OWN_STATE] = todo.state.value
    if todo.due:
        task |= _due(todo.due, zone)
    if todo.priority in _LETTERS:
        task["priority"] = _LETTERS[todo.priority]
    if todo.tags:
        task["tags"] = [*todo.tags]
    if todo.description:
        task["annotations"] = [{"entry": utc(todo.created_at), "description": todo.description}]
    return task


def _ids(id: str) -> dict[str, str]:
    """Return the id, which must be a UUID there."""
    return {"uuid": id} if _UUID.fullmatch(id) else {"uuid": str(uuid5(NAMESPACE_URL, f"fastzero:{id}")), _OWN_ID: id}


def _due(due: date, zone: tzinfo | None) -> dict[str, str]:
    """Return `due`, and what it loses: that a moment is not a whole day, less than a second, and what is too early."""
    moment = due_dates.beginning_of(due, zone)
    if moment < _FIRST:
        return {_OWN_DUE: due.isoformat()}
    is_exact = whole_day(moment, zone) == due_dates.whole_day(due) and moment.microsecond == 0
    return {"due": utc(moment)} | ({} if is_exact else {_OWN_DUE: due.isoformat()})
