"""Format records as JSON, NDJSON, CSV, TSV or ids, line by line, so that memory use stays constant."""

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from datetime import date
from enum import StrEnum
from functools import cache
from io import StringIO
from typing import Any

Record = Mapping[str, Any]
"""One record as JSON types, as `as_dict` returns it."""

_PLAIN = frozenset({str, int, bool, float, type(None)})

# As in PostgreSQL's COPY text format, so that a field cannot end its line or column.
_TSV_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})

# Characters that json.dumps does not escape: DEL, C1, and those that change the direction of text or end its line.
_CONTROL = re.compile(r"[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def as_dict(record: Any) -> dict[str, Any]:
    """Return the repr fields of a dataclass as JSON types: times as RFC 3339, enums by value, dataclasses as dicts."""
    return {name: _plain(getattr(record, name)) for name in _shown(record.__class__)}


@cache  # a list has many records of one class
def _shown(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind) if field.repr)


def _plain(value: Any) -> Any:
    if type(value) in _PLAIN:
        return value
    if isinstance(value, date):  # or a datetime
        return value.isoformat()
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        return as_dict(value)
    return value


def json_lines(records: Iterable[Record]) -> Iterator[str]:
    """Yield a JSON array with one record per line."""
    separator = "["
    for record in records:
        yield f"{separator}\n  {_json(record)}"
        separator = ","
    yield "[]\n" if separator == "[" else "\n]\n"


def ndjson_lines(records: Iterable[Record]) -> Iterator[str]:
    """Yield one JSON object per line."""
    for record in records:
        yield _json(record) + "\n"


def csv_lines(records: Iterable[Record]) -> Iterator[str]:
    """Yield RFC 4180 CSV with a header; lines end with `\\n`."""
    buffer = StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")  # so that every version of Python quotes a field with either
    header_written = False
    for record in records:
        if not header_written:
            yield ",".join(record) + "\n"
            header_written = True
        writer.writerow(_field(value) for value in record.values())
        yield buffer.getvalue()[:-2] + "\n"
        buffer.seek(0)
        buffer.truncate()


def tsv_lines(records: Iterable[Record]) -> Iterator[str]:
    """Yield tab-separated values without a header; tabs, line ends and backslashes in a field are escaped."""
    for record in records:
        yield "\t".join(_tsv(_field(value)) for value in record.values()) + "\n"


def id_lines(records: Iterable[Record]) -> Iterator[str]:
    """Yield the first field of each record, its id, as other commands accept it."""
    for record in records:
        yield f"{next(iter(record.values()))}\n"


LINES = {"json": json_lines, "ndjson": ndjson_lines, "csv": csv_lines, "tsv": tsv_lines, "ids": id_lines}


def json_object(record: Record) -> str:
    """Return one indented JSON object."""
    return _json(record, _indented) + "\n"


_compact = json.JSONEncoder(ensure_ascii=False).encode
_indented = json.JSONEncoder(ensure_ascii=False, indent=2).encode


def _json(value: Any, encode: Callable[[Any], str] = _compact) -> str:
    """JSON in UTF-8, with escapes for what would steer a terminal: it stays the same text for whoever parses it."""
    return escaped(encode(value))


def escaped(lines: str) -> str:
    """Return lines of JSON with these escapes."""
    # Many lines have none: this is found out quickly.
    if (lines.isascii() and "\x7f" not in lines) or lines.replace("\n", "").isprintable():
        return lines
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", lines)


def _field(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else _compact(value)


def _tsv(field: str) -> str:
    return field if field.isprintable() and "\\" not in field else field.translate(_TSV_ESCAPES)
