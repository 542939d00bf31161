"""Which lines of the services' logs are shown, and how: each after the name of its service."""

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

PREFIXES = ("36", "35", "33", "32", "34", "90")  # colours of the services of a log
_NAMES = {"log": "info", "notice": "info", "statement": "", "fatal": "critical", "panic": "critical", "warn": "warning"}
# As PostgreSQL writes it behind time and process, as the built-in app and `logging` do, and as JSON.
_LEVEL = re.compile(
    r"\b(DEBUG[1-5]?|INFO|NOTICE|LOG|WARNING|WARN|ERROR|FATAL|PANIC|CRITICAL)\b[: ]|\"level\": ?\"(\w+)\"", re.ASCII
)
_SEARCHED = 200  # characters of a line in which its level stands


@dataclass
class Selection:
    """What to show of a log. `probes` are the paths of health checks whose successful requests are left out."""

    probes: frozenset[str] = frozenset()
    pattern: re.Pattern[str] | None = None
    level: str | None = None
    _last: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def is_all(self) -> bool:
        """Whether nothing is left out."""
        return not self.probes and self.pattern is None and self.level is None

    def of(self, lines: Iterable[LogLine]) -> Iterator[LogLine]:
        """The lines to show, in their order."""
        return (line for line in lines if self._has(line))

    def _has(self, line: LogLine) -> bool:
        if self.level and LEVELS.index(self._level(line)) < LEVELS.index(self.level):
            return False
        if self.pattern and not self.pattern.search(line.text):
            return False
        return not is_probe(line.text, self.probes)

    def _level(self, line: LogLine) -> str:
        """The level of a line; one without any belongs to the line before of its stream."""
        stream = line.service, line.stream
        level = level_of(line.text) or self._last.get(stream, "info")
        self._last[stream] = level
        return level


def selection(probes: Iterable[str], pattern: str | None, level: str | None) -> Selection:
    """A selection as a person asks for it. Raises InvalidInputError for what is no pattern, and no level."""
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
    """The level of a line, empty for one that says none."""
    found = _LEVEL.search(text, 0, _SEARCHED)
    if not found:
        return ""
    name = (found[1] or found[2]).lower().rstrip("12345")
    level = _NAMES.get(name, name)
    return level if level in LEVELS else ""


def is_probe(text: str, paths: frozenset[str]) -> bool:
    """Whether a line is of a health check that was answered well."""
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
    """The last lines of each service, in the order of all."""
    kept: dict[str, deque[tuple[int, LogLine]]] = {}
    for index, line in enumerate(lines):
        kept.setdefault(line.service, deque(maxlen=count)).append((index, line))
    return [line for _, line in sorted((each for lines in kept.values() for each in lines), key=lambda each: each[0])]


def shown(lines: Iterable[LogLine], services: list[str]) -> Iterator[str]:
    """Lines of text: behind the name of their service where there are several."""
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
