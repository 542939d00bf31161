"""Lists at a terminal: open todos first, in a pager where they are longer than the screen, and counted where cut."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fastzero_core import FastZero, NewTodo, User

from .conftest import Run
from .shell import Terminal

ROWS = 24  # of a test's terminal


@pytest.fixture
def todos(database: str, ana: User) -> None:
    with FastZero(database) as fz:
        fz.todos(ana).add_many(NewTodo(f"title {number}", state="done") for number in range(1, 11))
        fz.todos(ana).add_many(NewTodo(f"title {number}") for number in range(11, 101))


@pytest.fixture
def pager(folder: Path) -> Path:
    """A pager that says that it is one, and quits after some lines."""
    program = folder / "pager"
    program.write_text('#!/bin/sh\necho "PAGER LESS=$LESS"\nhead -5\n')
    program.chmod(0o755)
    return program


def shown(*words: object, **environment: str) -> str:
    with Terminal(*words, environment=environment) as terminal:
        result = terminal.end()
    assert result.code == 0, result.out
    return result.out


def test_a_list_longer_than_the_screen_is_read_in_a_pager(todos: None, pager: Path) -> None:
    said = shown("todo", "list", PAGER=str(pager))
    assert said.startswith("PAGER LESS=FRX\n")
    assert len(said.splitlines()) == 6


def test_a_list_of_one_screen_is_not(todos: None, pager: Path) -> None:
    said = shown("todo", "list", "-n", "5", PAGER=str(pager))
    assert "PAGER" not in said
    assert "… and 95 more" in said


@pytest.mark.parametrize("setting", ["", "cat", "no-such-pager"])
def test_there_are_ways_to_have_none(setting: str, todos: None) -> None:
    assert len(shown("todo", "list", PAGER=setting).splitlines()) == 101


def test_the_user_s_own_options_of_less_stay(todos: None, pager: Path) -> None:
    assert shown("todo", "list", PAGER=str(pager), LESS="-S").startswith("PAGER LESS=-S\n")


def test_open_todos_come_first_on_a_terminal(todos: None, fastzero: Run) -> None:
    rows = [line.split()[0] for line in fastzero("todo", "list", "--color", "never", terminal=80).out.splitlines()[1:]]
    assert rows == [str(number) for number in (*range(11, 101), *range(1, 11))]


@pytest.mark.parametrize("words", [["--sort", "id"], ["-o", "ids"]])
def test_a_given_order_and_programs_get_them_by_id(words: list[str], todos: None, fastzero: Run) -> None:
    lines = fastzero("todo", "list", "--color", "never", *words, terminal=80).out.splitlines()
    assert lines[-1].split()[0] == "100"
    assert next(line.split()[0] for line in lines if line[:3].strip().isdigit()) == "1"


def test_a_limit_says_how_many_it_left_out(todos: None, fastzero: Run) -> None:
    result = fastzero("todo", "list", "-n", "10", terminal=80)
    assert (len(result.out.splitlines()), result.err) == (11, "… and 90 more\n")
    assert fastzero("todo", "list", "-n", "10").err == ""


# -- bulk changes ----------------------------------------------------------------------------------------------


def test_a_bulk_change_tells_how_many(todos: None, fastzero: Run) -> None:
    result = fastzero("todo", "done", "11-100", terminal=80)
    assert (result.out, result.err) == ("", "✓ 90 todos done\n")
    assert fastzero("todo", "done", "11-100", "-q", terminal=80) == (0, "", "")
    assert len(fastzero("todo", "reopen", "11-100", "-o", "ids", terminal=80).out.splitlines()) == 90


def test_more_than_ten_thousand_ids_are_changed_at_once(
    database: str, ana: User, fastzero: Run, sql: Callable[[str], None]
) -> None:
    sql("INSERT INTO todos (user_id, title) SELECT id, n::text FROM users, generate_series(1, 25001) n")
    ids = fastzero("todo", "list", "-o", "ids").out
    assert len(ids.split()) == 25_001
    assert fastzero("todo", "done", "-", stdin=ids, terminal=80).err == "✓ 25,001 todos done\n"
    missing = fastzero("todo", "start", "1-25002")
    assert (missing.code, "todo 25002 does not exist" in missing.err) == (3, True)
    assert fastzero("todo", "list", "-s", "doing").out == "", "all or none"


def test_several_todos_are_shown_with_their_descriptions(ana: User, fastzero: Run) -> None:
    for title in ("one", "two"):
        fastzero("todo", "add", title, "-d", f"about {title}")
    out = fastzero("todo", "show", "1", "2", "--color", "never", terminal=80).out
    assert "about one" in out
    assert "about two" in out
