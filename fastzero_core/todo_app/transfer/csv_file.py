"""Read CSV, as spreadsheets save it: with commas, semicolons or tabs, and quoted fields of several lines."""

import csv
import json
import re
from collections.abc import Iterator
from datetime import tzinfo
from functools import lru_cache
from itertools import chain
from typing import Any, TextIO

from ...errors import InvalidInputError
from .records import Found, Invalid, of_texts, refuse_unknown, text_of

_DELIMITERS = ",;\t"
_CACHED = 1024  # fields with tags, of which few are different


def read(stream: TextIO, zone: tzinfo | None) -> Iterator[Found]:
    """Yield the todos of a table whose first row names the fields. Raises InvalidInputError for broken quotes."""
    first = stream.readline()
    if not first:
        return
    delimiter = max(_DELIMITERS, key=first.count)
    rows = csv.reader(chain([first], stream), delimiter=delimiter, strict=True)
    names: list[str] = []
    line = 1
    for row in _rows(rows):
        if not names:
            names = _names(row)
        elif any(row):
            yield _record(line, names, row)
        line = rows.line_num + 1


def _rows(rows: Any) -> Iterator[list[str]]:
    try:
        yield from rows
    except csv.Error as error:
        # Where a field ends is not known from here on: to go on would make todos of halves.
        raise InvalidInputError(
            f"line {rows.line_num}: {error}", field="file", hint="Look for a quote that is not closed or not doubled"
        ) from None


def _names(row: list[str]) -> list[str]:
    names = [re.sub(r"\s+", "_", text_of(name).strip().lower()) for name in row]
    refuse_unknown(names)
    if "title" not in names:
        raise InvalidInputError("the first row does not name a field title", field="title")
    if len(set(names)) < len(names):
        raise InvalidInputError("the first row names a field twice", field="file")
    return names


def _record(line: int, names: list[str], row: list[str]) -> Found:
    if len(row) != len(names):
        return Invalid(line, f"{len(row)} fields, but the first row has {len(names)}")

    try:
        if not "".join(row).isascii():
            for field in row:
                text_of(field)
        fields = {name: field for name, field in zip(names, row, strict=True) if field or name == "title"}
        return of_texts(line, fields, [*_tags(fields.get("tags", ""))])
    except InvalidInputError as error:
        return Invalid(line, error.message)


@lru_cache(_CACHED)
def _tags(field: str) -> list[str]:
    """Return the tags in a field: as a JSON array, or separated by commas, semicolons or spaces."""
    if field.startswith("["):
        try:
            tags = json.loads(field)
        except ValueError:
            tags = None
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise InvalidInputError(f"invalid tags {field!r}", field="tags")
        return tags
    return re.split(r"[\s,;]+", field.strip(" ,;")) if field.strip(" ,;") else []
