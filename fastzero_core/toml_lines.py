"""The line of each key of a TOML file, for messages: the parser of the standard library tells none."""

import re
from collections.abc import Iterator

Path = tuple[str, ...]

_TOKEN = re.compile(
    r'''(?P<comment>\#[^\n]*)
      | (?P<text>"""(?:\\.|[^\\])*?"{3,5} | \'\'\'.*?\'{3,5} | "(?:\\.|[^"\\\n])*" | '[^'\n]*')
      | (?P<bare>[A-Za-z0-9_-]+)
      | (?P<end>\n)
      | (?P<mark>\S)''',
    re.VERBOSE | re.DOTALL,
)


def key_lines(text: str) -> dict[Path, int]:
    """Return the line of every table and key of a valid TOML text, but for keys inside inline tables."""
    lines: dict[Path, int] = {}
    table: Path = ()
    for line, statement in _statements(text):
        keys = tuple(_unquoted(token) for token in statement if token not in (".", "[", "]"))
        is_header = statement[0] == "["
        table, path = (keys, keys) if is_header else (table, (*table, *keys))
        for length in range(1, len(path) + 1):
            lines.setdefault(path[:length], line)
        lines[path] = line
    return lines


def line_of(path: Path, lines: dict[Path, int]) -> int:
    """Return the line of a key, or of the nearest table around it; 1 if there is none."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _statements(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each header, and each key without its value, as tokens with their line."""
    head: list[str] = []
    depth, in_value, line = 0, False, 1
    for at, token in _tokens(text):
        mark = token.group()
        if token["end"] and depth == 0:
            if head:
                yield line, head
            head, in_value = [], False
        elif in_value:
            depth += (mark in "[{") - (mark in "]}") if token["mark"] else 0
        elif mark == "=" and head[:1] != ["["]:
            in_value = True
        elif not token["end"] and not token["comment"]:
            line = line if head else at
            head.append(mark)
    if head:
        yield line, head


def _tokens(text: str) -> Iterator[tuple[int, re.Match[str]]]:
    line, seen = 1, 0
    for token in _TOKEN.finditer(text):
        line += text.count("\n", seen, token.start())
        seen = token.start()
        yield line, token


def _unquoted(token: str) -> str:
    return token[1:-1] if token[0] in "\"'" else token
