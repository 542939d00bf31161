"""fastzero todo: priority, due, tags, places, changes by filter, the board, and statistics."""

import json
import re
import time
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from fastzero_core import FastZero, User

from .conftest import Run, records
from .shell import Terminal


def today() -> date:
    return datetime.now().astimezone().date()


@pytest.fixture
def several(database: str, ana: User) -> None:
    """With the ids 1 to 5."""
    with FastZero(database) as fz:
        todos = fz.todos(ana)
        todos.add("late", due=today() - timedelta(days=2), priority="low", tags=["work"])
        todos.add("late and done", state="done", due=today() - timedelta(days=9), tags=["home", "work"])
        todos.add("soon", due=today() + timedelta(days=1), priority="high", tags=["home"])
        todos.add("someday", priority="high", state="doing")
        todos.add("thrown away", state="trash", tags=["work"])


def _titles(fastzero: Run, *words: object) -> list[str]:
    return [todo["title"] for todo in records(fastzero("todo", "list", *words, "-o", "json"))]


def _all(fastzero: Run) -> dict[int, dict[str, Any]]:
    return {todo["id"]: todo for todo in records(fastzero("todo", "list", "--all", "-o", "json"))}


# -- add and edit ----------------------------------------------------------------------------------------------


def test_add_takes_all_fields(ana: User, fastzero: Run) -> None:
    words = ["--priority", "high", "--due", "2026-12-24", "--tag", "work", "--tag", "Home"]
    (todo,) = records(fastzero("todo", "add", "Write", *words, "-o", "json"))
    assert (todo["priority"], todo["due"], todo["tags"]) == ("high", "2026-12-24", ["home", "work"])
    fastzero("todo", "add", "-", *words, stdin="one\ntwo\n")
    assert [todo["tags"] for todo in _all(fastzero).values()] == [["home", "work"]] * 3


@pytest.fixture
def sao_paulo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "America/Sao_Paulo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_due_is_in_the_time_zone_of_the_shell_and_rfc_3339_in_data(
    sao_paulo: None, ana: User, database: str, fastzero: Run
) -> None:
    (todo,) = records(fastzero("todo", "add", "Write", "--due", "2026-12-24 18:00", "-o", "json"))
    assert datetime.fromisoformat(todo["due"]).timestamp() == datetime.fromisoformat("2026-12-24T21:00Z").timestamp()
    fastzero("todo", "add", "Read", "--due", "2026-12-24")
    with FastZero(database) as fz:
        (ends,) = (todo.due_at for todo in fz.todos(ana).list(text="Read"))
    assert ends is not None
    assert ends.isoformat().startswith("2026-12-25T02:59:59.999999")


@pytest.mark.parametrize("due", ["10/11/2026", "soon", "12", "+3m"])
def test_a_date_that_is_not_clear_is_refused_with_what_can_be_typed(due: str, ana: User, fastzero: Run) -> None:
    result = fastzero("todo", "add", "Write", "--due", due)
    assert result.code == 2
    assert result.err.startswith(f"Error: invalid date '{due}'")
    assert "Hint: Use today, tomorrow, fri, +3d" in result.err


def test_edit_changes_priority_and_due(several: None, fastzero: Run) -> None:
    fastzero("todo", "edit", "1", "--priority", "medium", "--due", "none")
    todo = _all(fastzero)[1]
    assert (todo["priority"], todo["due"], todo["title"]) == ("medium", None, "late")
    assert fastzero("todo", "edit", "1-4", "--priority", "low").code == 0
    assert {todo["priority"] for id, todo in _all(fastzero).items() if id < 5} == {"low"}


def test_tags_are_added_and_removed(several: None, fastzero: Run) -> None:
    assert fastzero("todo", "tag", "1-2", "--add", "new", "--remove", "work", terminal=80).err == "✓ 2 todos changed\n"
    found = _all(fastzero)
    assert (found[1]["tags"], found[2]["tags"]) == (["new"], ["home", "new"])
    assert fastzero("todo", "tag", "1").code == 2
    assert fastzero("todo", "tag", "1", "99", "--add", "x").code == 3
    assert "x" not in _all(fastzero)[1]["tags"]


# -- lists -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "titles"),
    [
        (["--tag", "work"], ["late", "late and done"]),
        (["--tag", "work", "--tag", "home"], ["late and done"]),
        (["--tag", "work", "--all"], ["late", "late and done", "thrown away"]),
        (["--priority", "high"], ["soon", "someday"]),
        (["--priority", "low", "--priority", "none"], ["late", "late and done"]),
        (["--overdue"], ["late"]),
        (["--due-before", "today"], ["late and done", "late"]),
        (["--due-after", "today"], ["soon"]),
        (["--due-before", "+2d", "--text", "SOON", "-s", "todo"], ["soon"]),
        (["--created-after", "yesterday", "-s", "doing"], ["someday"]),
        (["--created-before", "yesterday"], []),
        (["--sort", "due"], ["late and done", "late", "soon", "someday"]),
        (["--sort", "priority", "-n", "3"], ["soon", "someday", "late"]),
    ],
)
def test_a_list_is_filtered(words: list[str], titles: list[str], several: None, fastzero: Run) -> None:
    assert _titles(fastzero, *words) == titles


def test_a_terminal_shows_due_relative_to_now(several: None, fastzero: Run) -> None:
    heading, *rows = fastzero("todo", "list", "--color", "never", terminal=100).out.splitlines()
    assert heading.split() == ["id", "state", "priority", "title", "due", "tags", "updated"]
    assert [re.split(" {2,}", row.strip()) for row in rows] == [
        ["1", "todo", "low", "late", "2 d ago", "work", "now"],
        ["3", "todo", "high", "soon", "tomorrow", "home", "now"],
        ["4", "doing", "high", "someday", "now"],
        ["2", "done", "late and done", str(today() - timedelta(days=9)), "home, work", "now"],
    ]


def test_what_is_over_is_red_and_what_is_done_is_not(several: None, fastzero: Run) -> None:
    out = fastzero("todo", "list", terminal=100).out
    assert "\x1b[31m2 d ago\x1b[0m" in out
    assert "\x1b[31mhigh\x1b[0m" in out
    assert not re.search(rf"\x1b\[[0-9;]*m{today() - timedelta(days=9)}", out)


def test_one_todo_shows_its_due_date_and_when_that_is(several: None, fastzero: Run) -> None:
    out = fastzero("todo", "show", "3", "--color", "never", terminal=80).out
    assert f"{today() + timedelta(days=1)} (tomorrow)" in out


def test_next_are_the_overdue_the_due_and_those_of_high_priority(several: None, fastzero: Run) -> None:
    assert [todo["title"] for todo in records(fastzero("todo", "next", "-o", "json"))] == ["late", "soon", "someday"]
    assert fastzero("todo", "next", "-n", "1", "-o", "ids").out == "1\n"


def test_todos_are_placed_by_hand(several: None, fastzero: Run) -> None:
    assert fastzero("todo", "move", "3", "--before", "1", terminal=80).err == "✓ Todo 3 placed · soon\n"
    assert _titles(fastzero, "--sort", "position", "-s", "todo") == ["soon", "late"]
    assert fastzero("todo", "move", "3", "--after", "1").code == 0
    assert _titles(fastzero, "--sort", "position", "-s", "todo") == ["late", "soon"]
    for words in (
        ["3"],
        ["3", "--before", "1", "--to", "doing"],
        ["3", "--before", "1", "--after", "2"],
        ["1-2", "--after", "3"],
    ):
        assert fastzero("todo", "move", *words).code == 2
    assert fastzero("todo", "move", "3", "--after", "99").code == 3


# -- changes by filter -----------------------------------------------------------------------------------------


CHANGES = [
    (["move", "--to", "draft"], lambda todo: todo["state"] == "draft"),
    (["start"], lambda todo: todo["state"] == "doing"),
    (["done"], lambda todo: todo["state"] == "done"),
    (["reopen"], lambda todo: todo["state"] == "todo"),
    (["trash"], lambda todo: todo["state"] == "trash"),
    (["tag", "--add", "new"], lambda todo: "new" in todo["tags"]),
    (["edit", "--priority", "medium", "--due", "2026-12-24"], lambda todo: todo["due"] == "2026-12-24"),
]


@pytest.mark.parametrize(("words", "check"), CHANGES)
def test_what_matches_is_changed_and_nothing_else(words: list[str], check: Any, several: None, fastzero: Run) -> None:
    before = _all(fastzero)
    assert records(fastzero("todo", *words, "--tag", "work", "--yes", "-o", "json")) == {"changed": 2}
    after = _all(fastzero)
    assert [id for id, todo in after.items() if id in (1, 2) and check(todo)] == [1, 2]
    assert all(after[id] == before[id] for id in (3, 4, 5))


@pytest.mark.parametrize("words", [words for words, _ in CHANGES])
def test_a_dry_run_shows_what_matches_and_changes_nothing(words: list[str], several: None, fastzero: Run) -> None:
    before = _all(fastzero)
    result = fastzero("todo", *words, "--tag", "work", "--dry-run", "-o", "json")
    assert [todo["id"] for todo in json.loads(result.out)] == [1, 2]
    assert result.err.startswith("2 todos would be ")
    assert _all(fastzero) == before


def test_edit_names_the_filters_that_are_also_fields(several: None, fastzero: Run) -> None:
    words = ["--where-state", "todo", "--where-priority", "high", "--state", "draft", "--priority", "low", "--yes"]
    assert fastzero("todo", "edit", *words).err == "✓ 1 todo changed\n"
    assert (_all(fastzero)[3]["state"], _all(fastzero)[3]["priority"]) == ("draft", "low")


def test_where_nobody_can_be_asked_it_is_refused_with_the_number(several: None, fastzero: Run) -> None:
    result = fastzero("todo", "trash", "--tag", "work")
    assert result.code == 2
    assert result.err.startswith("Error: 2 todos will be moved to the trash. Confirmation is required")
    assert _all(fastzero)[1]["state"] == "todo"


def test_it_asks_with_the_number_and_what_changes_meanwhile_stops_it(several: None, fastzero: Run) -> None:
    with Terminal("todo", "done", "--tag", "work") as terminal:
        terminal.wait_for("2 todos will be done")
        assert fastzero("todo", "tag", "3", "--add", "work").code == 0
        terminal.type("y\n")
        result = terminal.end()
    assert result.code == 4
    assert "3 todos match now, not 2" in result.out
    assert _all(fastzero)[1]["state"] == "todo"


def test_a_filter_that_matches_nothing_changes_nothing(several: None, fastzero: Run) -> None:
    assert records(fastzero("todo", "trash", "--tag", "nothing", "-o", "json")) == {"changed": 0}


@pytest.mark.parametrize(
    "words",
    [
        ["trash"],
        ["trash", "--yes"],
        ["done", "1", "--tag", "work"],
        ["done", "1", "--dry-run"],
        ["edit", "1", "2", "--title", "x"],
        ["move", "1", "2", "--before", "3"],
        ["edit", "--tag", "work", "--yes"],
        ["tag", "--add", "a b", "--tag", "work", "--dry-run"],
        ["move", "--to", "nowhere", "--tag", "work", "--yes"],
        ["done", "--due-before", "soon", "--yes"],
    ],
)
def test_what_is_not_clear_is_refused(words: list[str], several: None, fastzero: Run) -> None:
    before = _all(fastzero)
    assert fastzero("todo", *words).code == 2
    assert _all(fastzero) == before


# -- the board and statistics ----------------------------------------------------------------------------------


def test_the_board_shows_what_cards_have_in_the_order_made_by_hand(several: None, fastzero: Run) -> None:
    fastzero("todo", "move", "3", "--before", "1")
    out = fastzero("todo", "list", "--board", "-s", "todo", "-s", "doing", "--color", "never", terminal=60).out
    assert [re.split(" {3,}", line) for line in out.splitlines()] == [
        ["todo 2", "doing 1"],
        ["3 soon", "4 someday"],
        ["  high · tomorrow · #home", "high"],
        ["1 late"],
        ["  low · 2 d ago · #work"],
    ]


@pytest.mark.parametrize("columns", [30, 40, 80, 120, 200])
def test_the_board_and_statistics_fit_the_terminal(columns: int, several: None, fastzero: Run) -> None:
    fastzero("todo", "add", "漢字 and a title that goes on " * 4, "--tag", "a-tag-that-is-" + "x" * 30, "--due", "+9d")
    for words in (["list", "--board", "--all"], ["stats"], ["list"], ["next"]):
        out = fastzero("todo", *words, "--color", "never", terminal=columns).out
        from rich.cells import cell_len

        assert max(map(cell_len, out.splitlines())) <= max(columns, 60 if words == ["stats"] else columns)


def test_a_narrow_board_has_its_states_below_each_other(several: None, fastzero: Run) -> None:
    out = fastzero("todo", "list", "--board", "-s", "todo", "-s", "doing", "--color", "never", terminal=24).out
    assert [line.split()[0] for line in out.splitlines()] == ["todo", "1", "low", "3", "high", "doing", "4", "high"]


def test_statistics_are_bars_on_a_terminal_and_an_object_in_json(several: None, fastzero: Run) -> None:
    found = records(fastzero("todo", "stats", "--days", "2", "-o", "json"))
    assert (found["total"], found["overdue"], found["completed"]) == (5, 1, 1)
    assert found["by_state"] == {"draft": 0, "todo": 2, "doing": 1, "done": 1, "trash": 1}
    assert found["by_tag"] == {"home": 2, "work": 2}
    assert found["by_day"][-1] == {"day": str(today()), "created": 5, "completed": 1}
    out = fastzero("todo", "stats", "--days", "2", "--color", "never", terminal=50).out.splitlines()
    assert out[0] == "5 todos · 1 overdue · 1 completed in 2 days · 0.5 per day"
    assert [line.split() for line in out[1:4]] == [["state"], ["draft", "0"], ["todo", "2", "━" * 40]]
    assert out[4].split() == ["doing", "1", "━" * 20]
    assert fastzero("todo", "stats", "-o", "table", "--color", "always").out.count("\x1b[32m") == 1
    assert fastzero("todo", "stats", "--days", "0").code == 2
