"""fastzero todo import and export."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fastzero_cli import transfer
from fastzero_core import User
from fastzero_core.todo_app.transfer import files

from .conftest import Run

MIXED = "good\ndue:someday bad\nalso good\n"


def test_the_formats_are_those_of_the_core() -> None:
    assert transfer.FORMATS == files.FORMATS


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("a.csv", "title\nx\n"),
        ("a.json", '[{"title": "x"}]'),
        ("a.ndjson", '{"title": "x"}'),
        ("todo.txt", "x\n"),
        ("a.ICS", "BEGIN:VTODO\nSUMMARY:x\nEND:VTODO\n"),
    ],
)
def test_the_ending_names_the_format(
    name: str, source: str, ana: User, fastzero: Run, folder: Path, titles: Callable[[], list[str]]
) -> None:
    (folder / name).write_text(source, encoding="utf-8")
    result = fastzero("todo", "import", folder / name, "-o", "json")
    assert json.loads(result.out) == {"added": 1, "changed": 0, "unchanged": 0, "invalid": 0, "left_out": {}}
    assert titles() == ["x"]


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_what_is_left_out_is_named(options: list[str], ana: User, fastzero: Run, folder: Path) -> None:
    tasks = [
        {"description": "a", "estimate": 3, "wait": "20270101T000000Z", "id": 1, "urgency": 2.5, "recur": "weekly"},
        {"description": "b", "estimate": 1, "priority": "Z", "parent": "x", "imask": 1},
        {"description": "c"},
    ]
    command = ["todo", "import", "-", "--format", "taskwarrior", *options]
    result = fastzero(*command, stdin=json.dumps(tasks))
    assert "no field for it: estimate (2), priority (1), recur (1), wait (1)" in result.err
    result = fastzero(*command, "-o", "json", stdin=json.dumps(tasks))
    assert json.loads(result.out)["left_out"] == {"estimate": 2, "priority": 1, "recur": 1, "wait": 1}
    assert "no field" not in fastzero(*command, stdin=json.dumps(tasks[2:])).err


def test_an_invalid_line_adds_nothing(ana: User, fastzero: Run, titles: Callable[[], list[str]]) -> None:
    result = fastzero("todo", "import", "-", "--format", "todotxt", stdin=MIXED)
    assert (result.code, titles()) == (2, [])
    assert "line 2: invalid date 'someday'" in result.err


def test_invalid_lines_are_listed_and_left_out(ana: User, fastzero: Run, titles: Callable[[], list[str]]) -> None:
    result = fastzero("todo", "import", "-", "--format", "todotxt", "--skip-invalid", stdin=MIXED)
    assert (result.code, titles()) == (0, ["good", "also good"])
    assert "line 2: invalid date 'someday'" in result.err
    assert "2 todos added" in result.err
    assert "1 skipped" in result.err


def test_a_dry_run_lists_every_invalid_line(ana: User, fastzero: Run, titles: Callable[[], list[str]]) -> None:
    result = fastzero("todo", "import", "-", "--format", "todotxt", "--dry-run", stdin=MIXED + "due:never bad\n")
    assert (result.code, titles()) == (2, [])
    assert "line 2" in result.err
    assert "line 4" in result.err
    assert "2 of 4 todos are invalid" in result.err
    assert fastzero("todo", "import", "-", "--format", "todotxt", "--dry-run", stdin="good\n").code == 0
    assert titles() == []


@pytest.mark.parametrize("words", [["nothing.csv"], ["a.doc"], ["-"], ["-", "--format", "xml"]])
def test_what_cannot_be_imported_is_a_usage_error(words: list[str], ana: User, fastzero: Run) -> None:
    result = fastzero("todo", "import", *words)
    assert result.code == 2
    assert "Traceback" not in result.err


def test_what_is_exported_can_be_imported(
    ana: User, add_user: Callable[[str], User], fastzero: Run, titles: Callable[[], list[str]]
) -> None:
    add_user("bob")
    fastzero("todo", "add", "Report", "--tag", "work", "-u", "ana")
    fastzero("todo", "add", "Other", "-u", "ana")
    exported = fastzero("todo", "export", "--format", "icalendar", "--tag", "work", "-u", "ana")
    assert fastzero("todo", "import", "-", "--format", "icalendar", "-u", "bob", stdin=exported.out).code == 0
    assert titles() == ["Report", "Other", "Report"]


def test_an_unknown_format_of_an_export(ana: User, fastzero: Run) -> None:
    result = fastzero("todo", "export", "--format", "xml")
    assert result.code == 2
    assert "Use one of: csv" in result.err
