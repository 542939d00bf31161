"""Which lines of a log are shown: all but health checks, by level, by pattern, behind the names of their services."""

import re
from datetime import UTC, datetime

import pytest

from fastzero_cli import logs, style
from fastzero_core.errors import InvalidInputError
from fastzero_core.stack.lines import LogLine

PROBES = frozenset({"/healthz", "/readyz", "/health"})
AT = "2026-01-31 12:00:00.123 UTC"


def line(text: str, service: str = "app", stream: str = "stderr") -> LogLine:
    return LogLine(service, stream, text, datetime(2026, 1, 31, tzinfo=UTC))


@pytest.mark.parametrize(
    ("text", "level"),
    [
        (f"{AT} INFO Application startup complete.", "info"),
        (f"{AT} WARNING GET /readyz: the database is away", "warning"),
        (f"{AT} [4711] LOG:  database system is ready", "info"),
        (f"{AT} [4711] ERROR:  relation does not exist", "error"),
        (f"{AT} [4711] FATAL:  the database system is starting up", "critical"),
        (f"{AT} [4711] DEBUG2:  parse", "debug"),
        ('{"time": "2026-01-31T12:00:00.123Z", "level": "warning", "message": "m"}', "warning"),
        ("INFO:     127.0.0.1:5 - \"GET / HTTP/1.1\" 200 OK", "info"),
        ("  File \"main.py\", line 3", ""),
        (f"{AT} [4711] STATEMENT:  SELECT 1", ""),
    ],
)  # fmt: skip
def test_the_level_of_a_line_is_read(text: str, level: str) -> None:
    assert logs.level_of(text) == level


@pytest.mark.parametrize(
    ("text", "is_probe"),
    [
        (f"{AT} INFO 127.0.0.1 GET /readyz 200 in 3.1 ms, request abc", True),
        (f"{AT} INFO 127.0.0.1 GET /readyz 503 in 3.1 ms, request abc", False),
        (f"{AT} INFO 127.0.0.1 GET /todos/ 200 in 3.1 ms, request abc", False),
        ('INFO:     127.0.0.1:5 - "GET /health HTTP/1.1" 200 OK', True),
        ('172.18.0.1 - - [31/Jan/2026] "GET /health?x=1 HTTP/1.1" 204 0', True),
        ('INFO:     127.0.0.1:5 - "GET /healthy HTTP/1.1" 200 OK', False),
        ('INFO:     127.0.0.1:5 - "POST /health HTTP/1.1" 200 OK', False),
        ('{"level": "info", "method": "GET", "path": "/readyz", "status": 200}', True),
        ('{"level": "info", "method": "GET", "path": "/readyz", "status": 503}', False),
        ('{"broken": ', False),
        ("[1, 2]", False),
    ],
)
def test_a_health_check_that_was_answered_well_is_one(text: str, is_probe: bool) -> None:
    assert logs.is_probe(text, PROBES) is is_probe


def test_what_belongs_to_a_line_has_its_level() -> None:
    lines = [
        line(f"{AT} ERROR GET / failed"),
        line("  Traceback"),
        line(f"{AT} [1] LOG:  fine", "database"),
        line("  ValueError"),
        line(f"{AT} INFO fine"),
    ]
    shown = logs.selection((), None, "error").of(lines)
    assert [each.text for each in shown] == [f"{AT} ERROR GET / failed", "  Traceback", "  ValueError"]


def test_a_pattern_is_a_regular_expression() -> None:
    lines = [line("one 1"), line("two 2"), line("three 33")]
    assert [each.text for each in logs.selection((), r"\d{2}|two", None).of(lines)] == ["two 2", "three 33"]


@pytest.mark.parametrize(("pattern", "level"), [("(", None), (None, "loud")])
def test_what_is_no_pattern_and_no_level_is_invalid_input(pattern: str | None, level: str | None) -> None:
    with pytest.raises(InvalidInputError):
        logs.selection((), pattern, level)


def test_a_tail_is_of_what_is_shown_of_each_service_in_the_order_of_all() -> None:
    lines = [line("a1"), line("d1", "database"), line("a2"), line("d2", "database"), line("a3")]
    assert [each.text for each in logs.last_of_each(lines, 1)] == ["d2", "a3"]
    assert [each.text for each in logs.last_of_each(lines, 2)] == ["d1", "a2", "d2", "a3"]
    assert logs.last_of_each(lines, 0) == []


def test_lines_of_several_services_have_their_names_in_front() -> None:
    style.choose_color("never")
    shown = list(logs.shown([line("one"), line("two", "database")], ["database", "app"]))
    assert shown == ["app      │ one\n", "database │ two\n"]
    assert list(logs.shown([line("one")], ["app"])) == ["one\n"]


def test_each_service_has_a_colour_of_its_own() -> None:
    style.choose_color("always")
    try:
        shown = list(logs.shown([line("one"), line("two", "database")], ["database", "app"]))
    finally:
        style.choose_color("auto")
    colors = [re.findall(r"\x1b\[(\d+)m", each)[0] for each in shown]
    assert colors == ["35", "36"]
