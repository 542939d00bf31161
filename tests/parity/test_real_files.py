"""Files as other programs write them, imported by the shell and over HTTP: what becomes of each todo, and the messages.

`taskwarrior-2.6.json` and `taskwarrior-3.5.json` are what `task export` of Taskwarrior 2.6.2 and 3.5.0 printed, as
Debian packages them; the others are as the programs after which they are named write them.
"""

import json
import random
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from fastzero_core import FastZero, Todo
from fastzero_core.testing import Databases
from fastzero_core.todo_app.transfer import files
from tests.api.conftest import serve_app as serve_app
from tests.cli.conftest import Run
from tests.cli.conftest import fastzero as fastzero

from .operations import PASSWORD

FILES = Path(__file__).with_name("files")
# title, description, state, priority, due, tags
Expected = tuple[str, str, str, str, date | None, tuple[str, ...]]
Import = Callable[[bytes, str, bool], tuple[dict[str, Any], list[str]]]

TODOS: dict[str, list[Expected]] = {
    "evolution.ics": [
        (
            "Größenangaben für die neue Küche prüfen und dem Schreiner bis zum Wochenende schicken",
            "Erste Zeile\n\nDritte Zeile mit \\ und , und einem sehr langen Text: ääääääääääääääääää",
            "todo",
            "medium",
            date(2026, 12, 5),
            ("home-office", "einkauf"),
        ),
        ("Zahnarzt anrufen", "", "trash", "low", datetime(2026, 12, 10, 8, 30, tzinfo=UTC), ()),
    ],
    "spreadsheet.csv": [
        ("Buy milk", "", "todo", "low", date(2026, 12, 24), ("home", "shop")),
        (
            'Read "Dune"; take notes',
            "First line\nsecond line; with a semicolon",
            "doing",
            "high",
            datetime(2026, 12, 24, 18, tzinfo=UTC),
            ("books",),
        ),
        ("Größe prüfen", "", "done", "none", None, ("work", "q4")),
    ],
    "tasks-org.ics": [
        ("Pack for the trip", "", "todo", "low", date(2026, 12, 20), ()),
        ("Passport", "", "done", "none", None, ()),
        (
            "Water the plants",
            "",
            "todo",
            "none",
            datetime(2026, 12, 2, 20, tzinfo=UTC),
            ("home", "plants-garden"),
        ),
    ],
    "taskwarrior-2.6.json": [
        (
            "Write the quarterly report",
            "See https://example.com/figures\nAsk for the numbers",
            "todo",
            "high",
            date(2026, 12, 24),
            ("q4", "work", "office.reports"),
        ),
        ("Collect figures", "", "todo", "medium", datetime(2026, 12, 20, 18, 30, tzinfo=UTC), ()),
        ("Renew the passport", "", "todo", "none", None, ()),
        ('Größe prüfen: 日本 "quoted"  back', "", "todo", "low", None, ("home_office",)),
        ("Pay the rent", "", "todo", "none", date(2026, 12, 1), ("home",)),
        ("Started already", "", "doing", "none", None, ()),
        ("Two\nlines", "", "todo", "none", None, ()),
        ("Already paid", "", "done", "none", None, ()),
        ("Not needed any more", "", "trash", "none", None, ()),
    ],
    "taskwarrior-3.5.json": [
        ("Already paid", "", "done", "none", None, ()),
        ("Not needed any more", "", "trash", "none", None, ()),
        ("Collect the figures", "", "todo", "medium", datetime(2026, 12, 20, 18, 30, tzinfo=UTC), ()),
        (
            "Write the yearly report",
            "See https://example.com/figures\nAsk for the numbers",
            "todo",
            "high",
            date(2026, 12, 24),
            ("q4", "work", "office.reports"),
        ),
        ("Renew the passport", "", "todo", "none", None, ()),
        ('Größe prüfen: 日本 🦊 "quoted"  back', "", "todo", "low", None, ("home_office", "über")),
        ("Started already", "", "doing", "none", None, ()),
        ("Two\nlines", "", "todo", "none", None, ()),
        ("Pay the rent", "", "todo", "none", date(2026, 12, 1), ("home",)),
    ],
    "thunderbird.ics": [
        (
            "Write the report; send it, then file it",
            "First\nsecond",
            "doing",
            "high",
            datetime(2026, 12, 24, 21, tzinfo=UTC),
            ("work", "quarter-4"),
        ),
        ("Pay the rent", "", "done", "none", datetime(2026, 11, 1, 3, tzinfo=UTC), ()),
    ],
}
REFUSED = {
    "spreadsheet.csv": ["line 5: title must not be empty"],
    "taskwarrior-2.6.json": ["line 5: recurring tasks are not supported, only their instances"],
    "taskwarrior-3.5.json": ["line 7: recurring tasks are not supported, only their instances"],
}

LEFT_OUT: dict[str, dict[str, int]] = {
    "evolution.ics": {"CLASS": 1, "DTSTART": 1, "PERCENT-COMPLETE": 1, "X-EVOLUTION-ALARM-UID": 1},
    "spreadsheet.csv": {},
    "tasks-org.ics": {
        "DTSTART": 1,
        "GEO": 1,
        "PERCENT-COMPLETE": 1,
        "RELATED-TO": 1,
        "RRULE": 1,
        "X-APPLE-SORT-ORDER": 1,
    },
    "taskwarrior-2.6.json": {"depends": 1, "estimate": 1, "recur": 1, "scheduled": 1, "until": 1, "wait": 1},
    "taskwarrior-3.5.json": {
        "depends": 1,
        "estimate": 1,
        "link": 1,
        "recur": 1,
        "reviewed": 1,
        "scheduled": 1,
        "until": 1,
        "wait": 1,
    },
    "thunderbird.ics": {
        "CLASS": 1,
        "DTSTART": 2,
        "PERCENT-COMPLETE": 2,
        "RRULE": 1,
        "URL": 1,
        "VALARM": 1,
        "X-MOZ-GENERATION": 1,
    },
}


@pytest.fixture
def database(fastzero_databases: Databases) -> Iterator[str]:
    with fastzero_databases.temporary() as url:
        with FastZero(url) as fz:
            fz.users.add("ana", email="ana@example.com", password=PASSWORD)
        yield url


@pytest.fixture
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The time zone of this machine, where the days of the shell begin."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture(params=["shell", "http"])
def import_file(
    request: pytest.FixtureRequest,
    database: str,
    fastzero: Run,
    serve_app: Callable[..., Any],
    in_utc: None,
    tmp_path: Path,
) -> Import:
    """Imports a file, with or without its invalid lines. Returns the counts, and the messages about invalid lines."""

    def by_shell(content: bytes, format: str, skip: bool) -> tuple[dict[str, Any], list[str]]:
        file = tmp_path / "file"
        file.write_bytes(content)
        words = ["todo", "import", file, "--format", format, *(["--skip-invalid"] if skip else []), "-u", "ana"]
        result = fastzero(*words, "--database-url", database, "-o", "json")
        if result.code:
            assert result.code == 2
            return {}, [json.loads(result.err.splitlines()[-1])["error"]["message"]]
        return json.loads(result.out), re.findall(r"line \d+: .*", result.err)

    def by_http(content: bytes, format: str, skip: bool) -> tuple[dict[str, Any], list[str]]:
        client = serve_app(database)
        query = urlencode({"format": format, "time_zone": "UTC", "skip_invalid": skip})
        answer = client.request("POST", f"/todos/import?{query}", token=client.token("ana", PASSWORD), body=content)
        if answer.status != 200:
            assert answer.status == 422
            return {}, [each["msg"] for each in answer.detail]
        invalid = answer.json.pop("invalid_lines")
        return answer.json, [f"line {each['line']}: {each['reason']}" for each in invalid]

    return by_shell if request.param == "shell" else by_http


def todos_of(url: str) -> list[Todo]:
    with FastZero(url) as fz:
        return list(fz.todos("ana", time_zone=UTC).stream())


def format_of(name: str) -> str:
    return "taskwarrior" if name.startswith("taskwarrior") else files.format_of(name)


@pytest.mark.parametrize("name", TODOS)
def test_a_file_of_another_program_is_imported(name: str, import_file: Import, database: str) -> None:
    content, refused = (FILES / name).read_bytes(), REFUSED.get(name, [])
    if refused:
        assert import_file(content, format_of(name), False) == ({}, refused)
        assert todos_of(database) == []
    counts, told = import_file(content, format_of(name), True)
    assert (counts["added"], counts["invalid"], told) == (len(TODOS[name]), len(refused), refused)
    found = todos_of(database)
    assert [(each.title, each.description, each.state, each.priority, each.due, each.tags) for each in found] == [
        (*given[:5], tuple(sorted(given[5]))) for given in TODOS[name]
    ]
    assert counts["left_out"] == LEFT_OUT[name]
    if not name.endswith(".csv"):
        again, _ = import_file(content, format_of(name), True)
        assert (again["added"], again["changed"]) == (0, 0)


def todo_txt(lines: int) -> list[str]:
    """As many todos as people write them, the same each time."""
    chance = random.Random(5000)
    words = [
        "call",
        "Größe",
        "書く",
        "http://example.com/?a=b:c",
        "10:30",
        "e-mail",
        "x",
        "(B)",
        "50%",
        "a+b",
        "me@home",
    ]

    def line(number: int) -> str:
        day = date(2026, 1, 1) + timedelta(chance.randrange(365))
        head = chance.choice(["", f"({chance.choice('ABCDZ')}) ", f"{day} ", f"x {day} ", f"x {day} {day} "])
        title = " ".join([f"todo {number}", *chance.choices(words, k=chance.randrange(8))])
        tail = chance.choice(["", " +home", " @phone +Work", f" due:{day}", f" +home due:{day} pri:B", " t:2026-05-05"])
        return f"{head}{title}{tail}"

    return [line(number) for number in range(lines)]


def test_a_large_todo_txt_is_imported(import_file: Import, database: str) -> None:
    lines = todo_txt(5000)
    counts, told = import_file("\r\n".join([*lines, ""]).encode(), "todotxt", False)
    assert (counts["added"], told) == (5000, [])
    found = todos_of(database)
    assert len(found) == 5000
    for line, todo in zip(lines, found, strict=True):
        assert todo.title.split()[:2] == line[line.index("todo ") :].split()[:2]
        assert (todo.state == "done") == line.startswith("x ")
        assert (todo.due is not None) == (" due:" in line)
        assert ("home" in todo.tags) == (" +home" in line)
    text = "".join(files.write(found, "todotxt", UTC))
    assert import_file(text.encode(), "todotxt", False)[0]["unchanged"] == 5000
