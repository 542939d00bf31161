"""Read JSON: one array of any length, or one object per line."""

import json
from collections.abc import Callable, Iterator
from datetime import tzinfo
from typing import Any, NoReturn, TextIO

from ...errors import InvalidInputError
from .records import Found, Invalid, NewRecord, found, of_fields, text_of

OBJECT_MAX = 1 << 20  # characters of one todo: ten times what any has, so that a broken file does not fill the memory
_CHUNK = 1 << 16
_BLANK = " \t\r\n"

_decode = json.JSONDecoder().decode

Build = Callable[[int, dict[str, Any]], NewRecord]


def read(stream: TextIO, zone: tzinfo | None) -> Iterator[Found]:
    """Yield the todos of an array of objects. Raises InvalidInputError for broken JSON."""
    for line, value in values(stream):
        yield built(line, value, of_json)


def read_lines(stream: TextIO, zone: tzinfo | None) -> Iterator[Found]:
    """Yield the todos of lines with one object each."""
    for number, line in enumerate(stream, 1):
        if line.strip():
            yield _of_line(number, line)


def built(line: int, value: Any, build: Build) -> Found:
    """Return the record that is built from a JSON value, which must be an object."""
    if not isinstance(value, dict):
        return Invalid(line, "not a JSON object")
    return found(line, lambda: build(line, value))


def of_json(line: int, value: dict[str, Any]) -> NewRecord:
    tags = value.get("tags") or []
    if not isinstance(tags, list) or (tags and not all(isinstance(tag, str) for tag in tags)):
        raise InvalidInputError("tags is not a list of texts", field="tags")
    for text in (*value.values(), *tags):
        if isinstance(text, str) and not text.isascii():
            text_of(text)
    return of_fields(line, value, tags)


def values(stream: TextIO) -> Iterator[tuple[int, Any]]:
    """Yield the values of an array with their lines, one at a time. Without brackets, objects may follow each other."""
    source = _Source(stream)
    is_array = source.skip("[")
    is_first = True
    while not source.is_at_end and source.next != "]":
        if not is_first and not source.skip(",") and is_array:
            source.refuse("a comma is missing")
        yield source.line, source.value()
        is_first = False
    if is_array and not source.skip("]"):
        source.refuse("the array does not end")
    if not source.is_at_end:
        source.refuse("something follows the end")


def _of_line(number: int, line: str) -> Found:
    try:
        value = _decode(line)
    except (ValueError, RecursionError):
        return Invalid(number, "not JSON")
    return built(number, value, of_json)


class _Source:
    """A stream of JSON of which one value at a time is in memory."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._text = ""
        self._ended = False
        self._decoder = json.JSONDecoder(strict=False)  # Taskwarrior does not escape all control characters
        self.line = 1
        self._skip_blank()

    @property
    def is_at_end(self) -> bool:
        return self._ended and not self._text

    @property
    def next(self) -> str:
        return self._text[:1]

    def skip(self, mark: str) -> bool:
        """Skip a mark and the space after it. Return whether it was there."""
        if self.next != mark:
            return False
        self._drop(1)
        return True

    def value(self) -> Any:
        """Return the next value. Only an object or another value that shows its end is sure to be whole."""
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text)
            except RecursionError:
                self.refuse("too deep")
            except json.JSONDecodeError as error:
                if self._ended or len(self._text) > OBJECT_MAX:
                    self.refuse(error.msg, error.lineno - 1)
                self._read(max(_CHUNK, len(self._text)))
                continue
            except ValueError:  # Python reads no numbers of thousands of digits
                self.refuse("a number is too long")
            if end == len(self._text) and not self._ended:
                self._read(_CHUNK)  # a number may go on
                continue
            self._drop(end)
            return value

    def refuse(self, reason: str, lines: int = 0) -> NoReturn:
        raise InvalidInputError(f"line {self.line + lines}: invalid JSON: {reason}", field="file")

    def _drop(self, length: int) -> None:
        self.line += self._text.count("\n", 0, length)
        self._text = self._text[length:]
        self._skip_blank()

    def _skip_blank(self) -> None:
        while True:
            rest = self._text.lstrip(_BLANK)
            self.line += self._text.count("\n", 0, len(self._text) - len(rest))
            self._text = rest
            if rest or self._ended:
                return
            self._read(_CHUNK)

    def _read(self, length: int) -> None:
        more = self._stream.read(length)
        self._ended = not more
        self._text += more
