"""Select the lines of the services' logs to show, and format each after the name of its service."""

import json
import re
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from fastzero_core.errors import InvalidInputError
from fastzero_core.stack.lines import LogLine

from . import style
from .layout import for_terminal
from .options import LEVELS

PREFIXES = ("36", "35", "33", "32", "34", "90")  # colours of the services' names
_NAMES = {"log": "info", "notice": "info", "statement": "", "fatal": "critical", "panic": "critical", "warn": "warning"}
# The forms of PostgreSQL (after the time and the process), of the built-in app and `logging`, and of JSON.
_LEVEL = re.compile(
    r"\b(DEBUG[1-5]?|INFO|NOTICE|LOG|WARNING|WARN|ERROR|FATAL|PANIC|CRITICAL)\b[: ]|\"level\": ?\"(\w+)\"", re.ASCII
)
_SEARCHED = 200  # characters at the beginning of a line that may contain its level


@dataclass
class Selection:
    """The lines of a log to show. `probes` are the paths of health checks, whose successful requests are left out."""

    probes: frozenset[str] = frozenset()
    pattern: re.Pattern[str] | None = None
    level: str | None = None
    _last: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def is_all(self) -> bool:
        """Whether all lines are shown."""
        return not self.probes and self.pattern is None and self.level is None

    def of(self, lines: Iterable[LogLine]) -> Iterator[LogLine]:
        """Return the lines to show, in the same order."""
        return (line for line in lines if self._has(line))

    def _has(self, line: LogLine) -> bool:
        if self.level and LEVELS.index(self._level(line)) < LEVELS.index(self.level):
            return False
        if self.pattern and not self.pattern.search(line.text):
            return False
        return not is_probe(line.text, self.probes)

    def _level(self, line: LogLine) -> str:
        """Return the level of a line. A line without a level belongs to the line before it in the same stream."""
        stream = line.service, line.stream
        level = level_of(line.text) or self._last.get(stream, "info")
        self._last[stream] = level
        return level


def selection(probes: Iterable[str], pattern: str | None, level: str | None) -> Selection:
    """Return the selection for a user's options. Raises InvalidInputError for an invalid pattern or level."""
    if level is not None and level not in LEVELS:
        raise InvalidInputError(f"invalid --level {level!r}", field="level", hint=f"Use one of: {', '.join(LEVELS)}")
    try:
        compiled = None if pattern is None else re.compile(pattern)
    except re.error as error:
        raise InvalidInputError(
            f"invalid --grep {pattern!r}: {error}", field="grep", hint="Use a regular expression of Python"
        ) from None
    return Selection(frozenset(probes), compiled, level)


def level_of(text: str) -> str:
    """Return the level of a line, "" if the line does not contain one."""
    found = _LEVEL.search(text, 0, _SEARCHED)
    if not found:
        return ""
    name = (found[1] or found[2]).lower().rstrip("12345")
    level = _NAMES.get(name, name)
    return level if level in LEVELS else ""


def is_probe(text: str, paths: frozenset[str]) -> bool:
    """Return whether a line is about a successful health check."""
    found = re.search(r'\b(?:GET|HEAD) (/[^ ?"]*)[^ "]*(?: HTTP/[\d.]+)?"? (\d{3})\b', text)
    if found:
        return found[1] in paths and found[2] < "400"
    if not text.startswith("{"):
        return False
    try:
        event = json.loads(text)
    except ValueError:
        return False
    status = event.get("status") if isinstance(event, dict) else None
    return isinstance(status, int) and status < 400 and event.get("path") in paths


def last_of_each(lines: Iterable[LogLine], count: int) -> list[LogLine]:
    """Return the last `count` lines of each service, in the order of all lines."""
    kept: dict[str, deque[tuple[int, LogLine]]] = {}
    for index, line in enumerate(lines):
        kept.setdefault(line.service, deque(maxlen=count)).append((index, line))
    return [line for _, line in sorted((each for lines in kept.values() for each in lines), key=lambda each: each[0])]


def shown(lines: Iterable[LogLine], services: list[str]) -> Iterator[str]:
    """Yield the lines as text, after the name of their service if there are several services."""
    width = max(map(len, services), default=0)
    colors = {name: PREFIXES[index % len(PREFIXES)] for index, name in enumerate(services)}
    bar = style.symbols("│")
    for line in lines:
        text = for_terminal(line.text) if sys.stdout.isatty() else line.text
        if len(services) < 2:
            yield f"{text}\n"
            continue
        prefix = f"{line.service:<{width}} {bar} "
        color = colors.get(line.service, PREFIXES[-1])
        yield f"\x1b[{color}m{prefix}\x1b[0m{text}\n" if style.has_color(sys.stdout) else f"{prefix}{text}\n"
