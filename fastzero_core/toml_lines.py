"""Find the line of each key in a TOML text, which tomllib does not report. Standard library only."""

import re
from collections.abc import Iterator
from typing import Any

MAX_DEPTH = 32

Key = tuple[str, ...]

# Each pattern also matches an unclosed string, so that the search never restarts inside one and takes linear time.
_OPAQUE = "|".join(
    (
        r'"""(?:\\.|[^\\])*?(?:"{3,5}|\\?\Z)',
        r"'''.*?(?:'{3,5}|\Z)",
        r'"(?:\\.|[^"\\\n])*+"?',
        r"'[^'\n]*+'?",
        r"#[^\n]*+",
    )
)
_TOKEN = rf"{_OPAQUE}|[\[\]{{}}\n]"
_LONG_KEY = rf"(?<![\w-])(?:[\w-]++[ \t]*+\.[ \t]*+){{{MAX_DEPTH}}}"


def line_numbers(text: str) -> dict[Key, int]:
    """Return the line, from 1, of every table and key: that of the header, or of the key of an array or inline table.

    The text must be valid TOML: parse it first.
    """
    import tomllib

    lines: dict[Key, int] = {}
    table: Key = ()
    for number, statement in _statements(text.replace("\r\n", "\n")):
        parsed = tomllib.loads(statement)
        is_header = statement.startswith("[")
        if is_header:
            table = max(_paths(parsed, ()), key=len)
        for path in _paths(parsed, () if is_header else table):
            lines.setdefault(path, number)
    return lines


def has_long_key(text: str) -> bool:
    """Return whether a key has more than MAX_DEPTH parts. tomllib takes quadratic time for such keys."""
    return re.search(_LONG_KEY, re.sub(_OPAQUE, "s", text, flags=re.DOTALL)) is not None


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield each header and each `key = value` with its first line."""
    depth, start, number = 0, 0, 1
    for token in re.finditer(_TOKEN, f"{text}\n", re.DOTALL):
        if token[0] in "[{":
            depth += 1
        elif token[0] in "]}":
            depth -= 1
        elif token[0] == "\n" and depth == 0:
            statement = text[start : token.start()]
            yield number, statement.strip(" \t")
            number += statement.count("\n") + 1
            start = token.end()


def _paths(value: Any, prefix: Key) -> Iterator[Key]:
    if prefix:
        yield prefix
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _paths(each, (*prefix, key))
