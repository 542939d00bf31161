"""Read and write todo.txt: one todo per line, as `(A) 2026-12-01 Call the bank +home due:2026-12-24`.

Projects and contexts become tags, and tags are written as projects. What the format cannot express is a word with a
key: `state:`, `note:` for the description, `uuid:` for the external id, and `title:` for a title that would be read
differently.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import tzinfo
from typing import TextIO
from urllib.parse import quote, unquote

from .. import validate
from ..models import NewTodo, Priority, Todo, TodoState
from .records import Found, NewRecord, as_external_id, as_tag, day_of, external_id, found, text_of

_DATE = r"\d{4}-\d{2}-\d{2}"
_DONE = re.compile(rf"x (?:\(([A-Z])\) )?(?:({_DATE}) )?(?:({_DATE}) )?", re.ASCII)
_OPEN = re.compile(rf"(?:\(([A-Z])\) )?()(?:({_DATE}) )?", re.ASCII)
_KEY = re.compile(r"(due|pri|state|note|title|uuid):(\S.*)")
_LETTERS = {Priority.HIGH: "A", Priority.MEDIUM: "B", Priority.LOW: "C"}
_PRIORITIES = {letter: priority for priority, letter in _LETTERS.items()}
_BY_MARK = (TodoState.TODO, TodoState.DONE)


def read(stream: TextIO, zone: tzinfo | None) -> Iterator[Found]:
    for number, line in enumerate(stream, 1):
        if line.strip():
            yield _found(number, line.strip("\r\n"))


def write(todos: Iterable[Todo], zone: tzinfo | None) -> Iterator[str]:
    for todo in todos:
        yield " ".join(_words(todo, zone)) + "\n"


def _found(number: int, line: str) -> Found:
    return found(number, lambda: _record(number, text_of(line)))


def _record(number: int, line: str) -> NewRecord:
    done = _DONE.match(line)
    head = done or _OPEN.match(line)
    assert head, "all of it is optional"
    letter, completed, created = head.groups()
    keys, tags, title = _sorted(line[head.end() :])
    state = TodoState.DONE if done else keys.get("state", TodoState.TODO)
    return NewRecord(
        number,
        NewTodo(
            unquote(keys["title"]) if "title" in keys else title,
            unquote(keys.get("note", "")),
            state,
            _priority(letter or keys.get("pri")),
            keys.get("due"),
            tags,
        ),
        created,
        completed or None,
        as_external_id(unquote(keys.get("uuid", ""))),
    )


def _sorted(text: str) -> tuple[dict[str, str], list[str], str]:
    """Return the keys, the tags, and the title that is left."""
    keys: dict[str, str] = {}
    tags, rest = [], []
    for word in filter(None, text.split(" ")):
        if key := _KEY.fullmatch(word):
            keys[key[1]] = key[2]
        elif tag := _tag(word):
            tags.append(tag)
        else:
            rest.append(word)
    return keys, tags, " ".join(rest)


def _tag(word: str) -> str:
    """Return the tag in `+project` or `@context`."""
    return as_tag(word[1:]) if word[0] in "+@" and len(word) <= validate.TAG_MAX + 1 else ""


def _priority(letter: str | None) -> Priority:
    return _PRIORITIES.get(letter.upper(), Priority.LOW) if letter else Priority.NONE


def _words(todo: Todo, zone: tzinfo | None) -> Iterator[str]:
    letter = _LETTERS.get(todo.priority)
    is_done = todo.state is TodoState.DONE
    if is_done:
        yield "x"
        if todo.completed_at:
            yield day_of(todo.completed_at, zone)
    elif letter:
        yield f"({letter})"
    if todo.completed_at or not is_done:
        yield day_of(todo.created_at, zone)
    yield todo.title if _is_plain(todo.title) else f"title:{quote(todo.title, safe='')}"
    yield from (f"+{tag}" for tag in todo.tags)
    if todo.due:
        yield f"due:{todo.due.isoformat()}"
    if letter and is_done:
        yield f"pri:{letter}"
    if todo.state not in _BY_MARK:
        yield f"state:{todo.state}"
    if todo.description:
        yield f"note:{quote(todo.description, safe='')}"
    yield f"uuid:{quote(external_id(todo), safe='')}"


def _is_plain(title: str) -> bool:
    """Return whether a title is read as it is written."""
    is_one_line = not {"\r", "\n"} & set(title)
    starts_otherwise = re.match(_DATE, title, re.ASCII)
    return is_one_line and not starts_otherwise and _sorted(title) == ({}, [], title)
