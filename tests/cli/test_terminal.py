"""What a person sees: tables that fit, colours that may be turned off, and nothing that steers the terminal."""

import json
import re
import sys
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from fastzero_cli.render import Renderer
from fastzero_core import FastZero, User
from fastzero_core.backup import dump
from fastzero_core.backup.manifest import manifest_path, read_manifest
from fastzero_core.backup.target import Target
from fastzero_core.stack.lines import LogLine

from .conftest import Run
from .shell import Terminal

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
COLOURS = {"todo": "36", "doing": "33", "done": "32"}


@pytest.fixture
def todos(database: str, ana: User) -> None:
    with FastZero(database) as fz:
        fz.todos(ana).add("Short")
        fz.todos(ana).add("A title that goes on and on until no terminal has room for it " * 3, state="doing")
        fz.todos(ana).add("日本語" * 30, description="What there is\nto say", state="done")


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_tables_fit_the_terminal(columns: int, todos: None, fastzero: Run) -> None:
    for words in (["todo", "list"], ["todo", "list", "--board"], ["user", "list"], ["config"]):
        result = fastzero(*words, "--color", "never", terminal=columns)
        assert result.code == 0
        assert result.out
        assert max(cell_len(line.rstrip()) for line in result.out.splitlines()) <= columns, words


@pytest.mark.parametrize("columns", [40, 80])
def test_tables_fit_a_real_terminal(columns: int, todos: None) -> None:
    with Terminal("todo", "list", columns=columns) as terminal:
        result = terminal.end()
    lines = ESCAPE.sub("", result.out).splitlines()
    assert result.code == 0
    assert lines[0].split() == ["id", "state", "title", "updated"]
    assert len(lines) == 4
    assert max(cell_len(line.rstrip()) for line in lines) <= columns


def test_what_does_not_fit_is_cut_with_an_ellipsis(todos: None, fastzero: Run) -> None:
    assert "A title that goes on" in (line := fastzero("todo", "list", terminal=60).out.splitlines()[2])
    assert "…" in line


def test_a_wide_terminal_shows_a_title_whole(ana: User, fastzero: Run) -> None:
    fastzero("todo", "add", "t" * 100)
    assert "t" * 100 in fastzero("todo", "list", terminal=200).out


def test_ids_are_whole_also_far_down_the_table(ana: User, fastzero: Run) -> None:
    fastzero("todo", "add", "-", "-q", stdin="\n".join(f"title {number}" for number in range(1, 1101)))
    rows = fastzero("todo", "list", "--color", "never", terminal=60).out.splitlines()[1:]
    assert [row.split()[0] for row in rows] == [str(number) for number in range(1, 1101)]
    assert [row.split()[3] for row in rows] == [str(number) for number in range(1, 1101)]


def test_one_todo_shows_all_its_fields(todos: None, fastzero: Run) -> None:
    out = fastzero("todo", "show", "3", terminal=120).out
    names = ("id", "title", "description", "state", "created", "updated", "user id")
    assert [name for name in names if name not in out] == []
    assert "What there is" in out


# -- colours ---------------------------------------------------------------------------------------------------


def test_states_are_coloured(todos: None, fastzero: Run) -> None:
    out = fastzero("todo", "list", terminal=80).out
    for state, colour in COLOURS.items():
        assert re.search(rf"\x1b\[{colour}m{state}\b", out)


def test_a_title_has_no_colour_of_its_own(ana: User, fastzero: Run) -> None:
    fastzero("todo", "add", "done")
    fastzero("todo", "add", "[red]doing[/red]")
    out = fastzero("todo", "list", terminal=80).out + fastzero("todo", "show", "1", terminal=80).out
    assert "\x1b[32m" not in out
    assert "[red]doing[/red]" in out


@pytest.mark.parametrize("way", ["NO_COLOR", "TERM", "never", "piped"])
def test_there_are_ways_to_have_no_colour(
    way: str, todos: None, fastzero: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "NO_COLOR":
        monkeypatch.setenv("NO_COLOR", "1")
    if way == "TERM":
        monkeypatch.setenv("TERM", "dumb")
    flags = ["--color", "never"] if way == "never" else ["-o", "table"]
    for words in (["todo", "list"], ["todo", "show", "1"], ["todo", "list", "--board"]):
        result = fastzero(*words, *flags, terminal=None if way == "piped" else 80)
        assert result.code == 0
        assert "\x1b" not in result.out, words


def test_an_empty_no_color_says_nothing(todos: None, fastzero: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "")
    assert "\x1b[36m" in fastzero("todo", "list", terminal=80).out


@pytest.mark.parametrize("words", [["todo", "list"], ["todo", "show", "1"], ["todo", "list", "--board"]])
def test_colours_may_be_forced(words: list[str], todos: None, fastzero: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert re.search(r"\x1b\[(1;)?36mtodo", fastzero(*words, "-o", "table", "--color", "always").out)


def test_no_other_format_is_ever_coloured(todos: None, fastzero: Run) -> None:
    for output in ("json", "ndjson", "csv", "tsv", "ids"):
        assert "\x1b" not in fastzero("todo", "list", "-o", output, "--color", "always", terminal=80).out


# -- what steers a terminal ------------------------------------------------------------------------------------

STEERING = "\x1b[2J\x1b]0;owned\x07\r\x08\x7f\x9b31m\u202e\u2028"


@pytest.mark.parametrize(
    "words", [["todo", "list"], ["todo", "show", "1"], ["todo", "list", "--board"], ["todo", "done", "1"]]
)
def test_a_title_cannot_steer_the_terminal(words: list[str], ana: User, fastzero: Run) -> None:
    fastzero("todo", "add", f"before{STEERING}after", "-d", STEERING)
    result = fastzero(*words, "--color", "never", terminal=120)
    assert result.code == 0
    assert not set(STEERING) & {"\x1b", "\x07", "\r", "\x08", "\x7f", "\x9b", "\u202e", "\u2028"} & set(result.out)


@settings(max_examples=20)
@given(title=st.text(st.characters(categories=["Cc", "Cf", "Zl", "Zp", "L"], exclude_characters="\0"), min_size=1))
def test_no_title_puts_a_control_character_on_the_terminal(title: str, ana: User, fastzero: Run) -> None:
    fastzero("todo", "add", "-q", "--", f"x{title[:150]}")
    out = fastzero("todo", "list", "-r", "-n", "1", "--color", "never", terminal=80).out
    assert {unicodedata.category(character) for character in out.replace("\n", "")} <= {
        *("Lu", "Ll", "Lt", "Lm", "Lo", "Nd", "Zs", "Po", "So")
    }


HARMFUL = {"\x1b", "\x07", "\r", "\x08", "\x7f", "\x9b", "\u202e", "\u2028"}


def test_an_error_cannot_steer_the_terminal(ana: User, fastzero: Run) -> None:
    result = fastzero("todo", "list", "-u", f"x{STEERING}")
    assert result.code == 3
    assert not HARMFUL & set(result.err)


def test_a_question_cannot_steer_the_terminal(
    database: str, ana: User, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = folder / "one.dump"
    dump.backup(Target.of_url(database, folder), archive)
    manifest = replace(read_manifest(archive), database="x\x1b[2K\rDelete nothing?")
    manifest_path(archive).write_text(manifest.as_text(), encoding="utf-8")
    with Terminal("db", "restore", archive) as terminal:
        terminal.wait_for("Go on?")
        terminal.type("n\n")
        result = terminal.end()
    assert result.code == 1
    assert "\x1b[2K" not in result.out
    assert "Delete nothing?" in result.out


@pytest.mark.parametrize("output", ["json", "ndjson", "csv", "tsv"])
def test_no_format_on_a_terminal_steers_it(output: str, ana: User, fastzero: Run) -> None:
    fastzero("todo", "add", f"before{STEERING}after")
    assert not HARMFUL & set(fastzero("todo", "list", "-o", output, terminal=80).out)


def test_what_is_piped_is_exact(ana: User, fastzero: Run) -> None:
    title = f"before{STEERING.replace(chr(13), '')}after"
    fastzero("todo", "add", title)
    assert title in fastzero("todo", "list", "-o", "tsv").out
    piped = fastzero("todo", "list", "-o", "json").out
    assert json.loads(piped)[0]["title"] == title
    assert not HARMFUL & set(piped)


def test_log_lines_keep_neither_colours_nor_what_steers(capsys: pytest.CaptureFixture[str]) -> None:
    line = LogLine("app", "stdout", f"\x1b[32mINFO\x1b[0m {STEERING}\tok")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.stdout, "isatty", lambda: True)
        Renderer("table").logs([line], ["app"])
    shown = capsys.readouterr().out
    assert shown.startswith("INFO ")
    assert shown.endswith("\tok\n")
    assert not HARMFUL & set(shown)
    Renderer("tsv").logs([line], ["app"])
    assert capsys.readouterr().out == f"{line.text}\n"


# -- times -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "shown"),
    [
        (timedelta(seconds=1), "now"),
        (timedelta(seconds=40), r"4\d s ago"),
        (timedelta(minutes=5), "5 min ago"),
        (timedelta(hours=3), "3 h ago"),
        (timedelta(days=2), "2 d ago"),
        (timedelta(weeks=2), "2 w ago"),
        (timedelta(days=70), "2 mo ago"),
        (timedelta(days=800), "2 y ago"),
        (timedelta(days=-1), "now"),
    ],
)
def test_tables_tell_how_long_ago(age: timedelta, shown: str, ana: User, fastzero: Run, database: str) -> None:
    import psycopg

    fastzero("todo", "add", "one")
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE todos SET updated_at = %s", [datetime.now(UTC) - age])
    row = fastzero("todo", "list", "--color", "never", terminal=80).out.splitlines()[1]
    assert re.search(rf"one +{shown} *$", row)
