"""Read todos from files of other programs, and write them, one at a time."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from datetime import tzinfo
from io import TextIOWrapper
from pathlib import PurePath
from typing import Any, BinaryIO, TextIO

from ...errors import InvalidInputError
from ...formats import as_dict, csv_lines, json_lines, ndjson_lines
from ..models import Todo
from . import csv_file, icalendar, json_file, taskwarrior, todo_txt
from .records import Found, external_id

Reader = Callable[[TextIO, tzinfo | None], Iterator[Found]]
Writer = Callable[[Iterable[Todo], tzinfo | None], Iterator[str]]

_READERS: dict[str, Reader] = {
    "csv": csv_file.read,
    "json": json_file.read,
    "ndjson": json_file.read_lines,
    "todotxt": todo_txt.read,
    "taskwarrior": taskwarrior.read,
    "icalendar": icalendar.read,
}
_WRITERS: dict[str, Writer] = {
    "csv": lambda todos, zone: csv_lines(map(_record, todos)),
    "json": lambda todos, zone: json_lines(map(_record, todos)),
    "ndjson": lambda todos, zone: ndjson_lines(map(_record, todos)),
    "todotxt": todo_txt.write,
    "taskwarrior": taskwarrior.write,
    "icalendar": icalendar.write,
}
FORMATS = tuple(_READERS)
FIELDS = tuple(field.name for field in fields(Todo) if field.repr)  # of CSV and JSON, in this order
_ENDINGS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".txt": "todotxt",
    ".ics": "icalendar",
}


def format_of(name: str) -> str:
    """Return the format of a file by the ending of its name. Raises InvalidInputError."""
    ending = PurePath(name).suffix.lower()
    if ending not in _ENDINGS:
        raise InvalidInputError(
            f"the format of {name} is not known by its ending",
            field="format",
            hint=f"Name it with --format: {', '.join(FORMATS)}",
        )
    return _ENDINGS[ending]


def read(stream: BinaryIO, format: str, zone: tzinfo | None = None) -> Iterator[Found]:
    """Yield the todos of a file in UTF-8, with or without a byte order mark. `zone` is where days begin and end.

    What cannot be one is yielded as Invalid. Raises InvalidInputError for an unknown format, and where nothing after a
    mistake can be read.
    """
    reader = _READERS[_checked(format)]
    # With surrogates, one line that is not UTF-8 is one invalid todo, and not the end.
    text = TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield from reader(text, zone)
    finally:
        if not stream.closed:
            text.detach()  # it is not ours to close


def write(todos: Iterable[Todo], format: str, zone: tzinfo | None = None) -> Iterator[str]:
    """Yield the text of a file with these todos. Raises InvalidInputError for an unknown format."""
    return _WRITERS[_checked(format)](todos, zone)


def _record(todo: Todo) -> dict[str, Any]:
    return as_dict(todo) | {"external_id": external_id(todo)}


def _checked(format: str) -> str:
    if format not in FORMATS:
        raise InvalidInputError(f"unknown format {format!r}", field="format", hint=f"Use one of: {', '.join(FORMATS)}")
    return format
