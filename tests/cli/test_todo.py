"""fastzero todo: ids, owners, bulk changes and lists."""

import json
from collections.abc import Callable

import psycopg
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fastzero_core import FastZero, TodoState, User
from fastzero_core.todo_app.validate import BIGINT_MAX, TITLE_MAX

from .conftest import Run, records
from .shell import Terminal

Titles = Callable[[], list[str]]


@pytest.fixture
def todos(database: str, ana: User) -> None:
    """Nine of Ana's, with the ids 1 to 9."""
    with FastZero(database) as fz:
        for number in range(1, 10):
            fz.todos(ana).add(f"todo {number}", state=list(TodoState)[number % 5])


@pytest.fixture
def several(ana: User, add_user: Callable[[str], User], fastzero: Run) -> None:
    """Three users with a todo each, whose title is the owner's name."""
    for user in (ana, add_user("bob"), add_user("eve")):
        assert fastzero("todo", "add", user.username, "-u", user.username).code == 0


NO_IDS = ["x", "", "3-", "3-x", "5-3", "1.5", "+3", "1,2", "٣", "0", "0-3", "1-10000001", "1-99999999999999999999"]


def _ids(fastzero: Run, *words: object) -> list[int]:
    return [todo["id"] for todo in records(fastzero("todo", "list", *words, "-o", "json"))]


def _states(fastzero: Run) -> dict[int, str]:
    return {todo["id"]: todo["state"] for todo in records(fastzero("todo", "list", "--all", "-o", "json"))}


# -- add -------------------------------------------------------------------------------------------------------


def test_add_takes_description_and_state(ana: User, fastzero: Run) -> None:
    added = records(fastzero("todo", "add", "Write", "-d", "For Friday", "-s", "doing", "-o", "json"))
    assert [(todo["title"], todo["description"], todo["state"]) for todo in added] == [("Write", "For Friday", "doing")]


def test_a_title_may_begin_with_a_dash_behind_two(ana: User, fastzero: Run, titles: Titles) -> None:
    assert fastzero("todo", "add", "--", "-x").code == 0
    assert titles() == ["-x"]


def test_lines_of_stdin_become_todos_in_their_order(ana: User, fastzero: Run, titles: Titles) -> None:
    result = fastzero("todo", "add", "-", "-s", "draft", "-o", "ids", stdin="one\n\n  \ntwo\r\nthree")
    assert result.out == "1\n2\n3\n"
    assert titles() == ["one", "two", "three"]
    assert set(_states(fastzero).values()) == {"draft"}


def test_one_bad_line_adds_nothing_and_is_named(ana: User, fastzero: Run, titles: Titles) -> None:
    result = fastzero("todo", "add", "-", stdin="one\n\n" + "x" * 201 + "\nfour\n")
    assert result.code == 2
    assert result.err.startswith("Error: line 3: title has 201 characters")
    assert titles() == []


def test_no_lines_are_nothing_to_do(ana: User, fastzero: Run) -> None:
    assert fastzero("todo", "add", "-", "-o", "json", stdin="\n") == (0, "[]\n", "")


def test_lines_may_be_thousands(ana: User, fastzero: Run, titles: Titles) -> None:
    wanted = [f"todo {number}" for number in range(3000)]
    assert fastzero("todo", "add", "-", "-q", stdin="\n".join(wanted)).code == 0
    assert titles() == wanted


@settings(max_examples=25)
@given(title=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=200))
def test_a_title_of_any_unicode_is_kept_as_it_is(title: str, ana: User, fastzero: Run) -> None:
    assume(title != "-")  # which means standard input
    result = fastzero("todo", "add", "-o", "json", "--", title)
    if not title.strip():
        assert result.code == 2
        return
    id = records(result)[0]["id"]
    assert records(fastzero("todo", "show", id, "-o", "json"))["title"] == title


@settings(max_examples=15)
@given(words=st.lists(st.text(max_size=TITLE_MAX + 1), min_size=1, max_size=3))
def test_whatever_is_typed_is_added_or_refused(words: list[str], ana: User, fastzero: Run) -> None:
    assert fastzero("todo", "add", *words).code in (0, 2)


# -- ids -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "stdin", "changed"),
    [
        (["3"], "", [3]),
        (["3", "5-9"], "", [3, 5, 6, 7, 8, 9]),
        (["9", "1"], "", [9, 1]),
        (["4-4"], "", [4]),
        (["2", "2", "1-3"], "", [2, 1, 3]),
        (["-"], "3\n5-6\n", [3, 5, 6]),
        (["-"], " 1\t2 ", [1, 2]),
        (["7", "-"], "8", [7, 8]),
    ],
)
def test_ids_are_numbers_ranges_and_words_of_stdin(
    words: list[str], stdin: str, changed: list[int], todos: None, fastzero: Run
) -> None:
    answer = records(fastzero("todo", "done", *words, "-o", "json", stdin=stdin))
    assert [todo["id"] for todo in answer] == changed


@pytest.mark.parametrize(
    "word",
    [*NO_IDS, "9" * 400, str(BIGINT_MAX + 1), f"{BIGINT_MAX}-{BIGINT_MAX + 1}"],
)
def test_what_is_no_id_is_refused(word: str, todos: None, fastzero: Run) -> None:
    before = _states(fastzero)
    result = fastzero("todo", "done", "1", word)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("Error: ")
    assert _states(fastzero) == before


def test_the_largest_id_is_an_id(todos: None, fastzero: Run) -> None:
    assert fastzero("todo", "done", BIGINT_MAX).code == 3


def test_many_ranges_together_have_no_limit_and_are_all_or_none(todos: None, fastzero: Run) -> None:
    before = _states(fastzero)
    assert fastzero("todo", "done", "1-9000", "9001-18000").code == 3
    assert _states(fastzero) == before


def test_edit_takes_one_id(todos: None, fastzero: Run) -> None:
    result = fastzero("todo", "edit", "1-2", "--title", "x")
    assert result.code == 2
    assert "one id" in result.err


def test_show_takes_several(todos: None, fastzero: Run) -> None:
    shown = json.loads(fastzero("todo", "show", "1-2", "-o", "json").out)
    assert [todo["id"] for todo in shown] == [1, 2]


def test_no_ids_from_standard_input_are_nothing_to_do(todos: None, fastzero: Run) -> None:
    assert fastzero("todo", "done", "-", "-o", "json", stdin="") == (0, "[]\n", "")


def test_no_ids_from_standard_input_never_purge_the_whole_trash(todos: None, fastzero: Run) -> None:
    assert fastzero("todo", "purge", "-", "--yes", stdin="").code == 2


# -- bulk verbs ------------------------------------------------------------------------------------------------


VERBS = [
    (["start"], "doing"),
    (["done"], "done"),
    (["reopen"], "todo"),
    (["trash"], "trash"),
    (["move", "--to", "draft"], "draft"),
]


@pytest.mark.parametrize(("verb", "state"), VERBS)
def test_a_verb_brings_todos_into_its_state(verb: list[str], state: str, todos: None, fastzero: Run) -> None:
    assert fastzero("todo", *verb, "1-9").code == 0
    assert set(_states(fastzero).values()) == {state}


@pytest.mark.parametrize("verb", [*(verb for verb, _ in VERBS), ["restore"], ["purge", "--yes"]])
def test_a_verb_does_all_or_nothing_and_names_the_missing(verb: list[str], todos: None, fastzero: Run) -> None:
    fastzero("todo", "trash", "4")
    before = _states(fastzero)
    result = fastzero("todo", *verb, "4", "11-12", "99")
    assert (result.code, result.out) == (3, "")
    assert result.err.startswith("Error: todos 11, 12, 99 do not exist")
    assert _states(fastzero) == before


def test_what_is_done_already_is_no_error(todos: None, fastzero: Run) -> None:
    first, second = (fastzero("todo", "done", "1", "-o", "json") for _ in range(2))
    assert first == second


def test_restore_takes_back_what_is_in_the_trash_alone(todos: None, fastzero: Run) -> None:
    fastzero("todo", "done", "1-2")
    fastzero("todo", "trash", "2")
    fastzero("todo", "restore", "1-2", "--to", "doing")
    states = _states(fastzero)
    assert (states[1], states[2]) == ("done", "doing")


def test_purge_deletes_the_whole_trash(todos: None, fastzero: Run) -> None:
    assert records(fastzero("todo", "purge", "--yes", "-o", "json")) == {"purged": 2}
    assert _ids(fastzero, "--all") == [1, 2, 3, 5, 6, 7, 8]


def test_purge_refuses_where_nobody_can_be_asked(todos: None, fastzero: Run) -> None:
    result = fastzero("todo", "purge")
    assert result.code == 2
    assert "2 todos in the trash" in result.err
    assert len(_ids(fastzero, "--all")) == 9


def test_while_purge_asks_nothing_is_locked_and_what_changes_meanwhile_stops_it(
    todos: None, database: str, fastzero: Run
) -> None:
    with Terminal("todo", "purge") as terminal:
        terminal.wait_for("2 todos in the trash will be permanently deleted")
        with psycopg.connect(database) as session:
            open_there = session.execute(
                "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'"
            ).fetchall()
        assert fastzero("todo", "trash", "1").code == 0
        terminal.type("y\n")
        result = terminal.end()
    assert open_there == []
    assert result.code == 4
    assert "the trash has 3 todos now, not 2" in result.out
    assert len(_ids(fastzero, "--all")) == 9


def test_purge_of_an_empty_trash_asks_nothing(ana: User, fastzero: Run) -> None:
    assert fastzero("todo", "purge").code == 0


def test_purge_of_no_ids_from_stdin_is_not_the_whole_trash(todos: None, fastzero: Run) -> None:
    fastzero("todo", "purge", "-", "--yes", stdin="")
    assert len(_ids(fastzero, "--all")) == 9


def test_edit_may_empty_a_description(todos: None, fastzero: Run) -> None:
    fastzero("todo", "edit", "1", "-d", "something")
    assert records(fastzero("todo", "edit", "1", "-d", "", "-o", "json"))[0]["description"] == ""


# -- owners ----------------------------------------------------------------------------------------------------


def _titles(fastzero: Run, *words: str) -> list[str]:
    return [todo["title"] for todo in records(fastzero("todo", "list", *words, "-o", "json"))]


def test_the_flag_beats_environment_and_choice(several: None, fastzero: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    fastzero("user", "use", "bob")
    monkeypatch.setenv("FASTZERO_USER", "ana")
    assert _titles(fastzero, "--user", "eve") == ["eve"]


def test_the_environment_beats_the_choice(several: None, fastzero: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    fastzero("user", "use", "bob")
    monkeypatch.setenv("FASTZERO_USER", "ana")
    assert _titles(fastzero) == ["ana"]


def test_the_choice_is_what_counts_without_either(several: None, fastzero: Run) -> None:
    fastzero("user", "use", "bob")
    assert _titles(fastzero) == ["bob"]


def test_the_only_user_needs_no_naming(ana: User, fastzero: Run) -> None:
    assert fastzero("todo", "add", "one").code == 0
    assert _titles(fastzero) == ["one"]


def test_among_several_the_error_tells_how_to_name_one(several: None, fastzero: Run) -> None:
    result = fastzero("todo", "list")
    assert result.code == 2
    for way in ("--user NAME", "FASTZERO_USER=NAME", "fastzero user use NAME"):
        assert way in result.err


def test_without_any_user_the_error_tells_how_to_add_one(database: str, fastzero: Run) -> None:
    result = fastzero("todo", "list")
    assert result.code == 3
    assert "fastzero user add" in result.err


def test_an_empty_name_is_nobody_and_never_somebody_else(several: None, fastzero: Run) -> None:
    fastzero("user", "use", "bob")
    assert fastzero("todo", "list", "--user", "").code == 3


@pytest.mark.parametrize("verb", [["show"], ["edit", "--title", "mine"], ["done"], ["trash"]])
def test_nobody_reaches_the_todos_of_another(verb: list[str], several: None, fastzero: Run) -> None:
    id = records(fastzero("todo", "list", "-u", "bob", "-o", "json"))[0]["id"]
    assert fastzero("todo", *verb, id, "-u", "ana").code == 3
    assert _titles(fastzero, "-u", "bob") == ["bob"]


# -- lists -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        ([], [1, 2, 3, 5, 6, 7, 8]),
        (["--all"], [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (["-s", "trash"], [4, 9]),
        (["-s", "done", "-s", "draft"], [3, 5, 8]),
        (["--text", "TODO 3"], [3]),
        (["-n", "2"], [1, 2]),
        (["--after", "3", "-n", "2"], [5, 6]),
        (["-r", "-n", "3"], [8, 7, 6]),
        (["-r", "--after", "6"], [5, 3, 2, 1]),
        (["--sort", "title", "-r", "-n", "1"], [8]),
        (["--sort", "created", "-n", "1"], [1]),
        (["--text", "nothing"], []),
    ],
)
def test_a_list_is_filtered_sorted_and_paged(words: list[str], ids: list[int], todos: None, fastzero: Run) -> None:
    assert _ids(fastzero, *words) == ids


def test_the_latest_change_comes_first(todos: None, fastzero: Run) -> None:
    fastzero("todo", "edit", "2", "--title", "changed")
    assert _ids(fastzero, "--sort", "updated", "-r")[0] == 2


@pytest.mark.parametrize("words", [["-n", "0"], ["-n", "-1"], ["--after", "0"], ["--sort", "nope"], ["-s", "nope"]])
def test_a_list_refuses_what_makes_no_sense(words: list[str], todos: None, fastzero: Run) -> None:
    result = fastzero("todo", "list", *words, "-o", "json")
    assert (result.code, result.out) == (2, "")


@pytest.mark.parametrize("text", ["100%", "a_b", "back\\slash", "it's", '"quoted"', "%", "_", "\\", "'; DROP"])
def test_text_is_matched_literally(text: str, ana: User, fastzero: Run) -> None:
    fastzero("todo", "add", "plain axb 100")
    fastzero("todo", "add", f"with {text} in it")
    assert _titles(fastzero, "--text", text) == [f"with {text} in it"]


def test_text_is_matched_in_descriptions_and_any_case(ana: User, fastzero: Run) -> None:
    fastzero("todo", "add", "one", "-d", "about GRÖSSE")
    fastzero("todo", "add", "two")
    assert _titles(fastzero, "--text", "größe".upper().lower().replace("ß", "ss")) == ["one"]


def test_a_list_is_not_limited_without_a_limit(ana: User, fastzero: Run) -> None:
    fastzero("todo", "add", "-", "-q", stdin="\n".join(f"todo {number}" for number in range(1200)))
    assert len(fastzero("todo", "list", "-o", "ids").out.splitlines()) == 1200


# -- the board -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("terminal", [None, 100])
def test_the_board_shows_the_states_as_columns(terminal: int | None, todos: None, fastzero: Run) -> None:
    board = fastzero("todo", "list", "--board", "--all", "--color", "never", terminal=terminal).out
    heading, *rows = board.splitlines()
    assert heading.split() == ["draft", "1", "todo", "2", "doing", "2", "done", "2", "trash", "2"]
    assert [row.split() for row in rows] == [
        ["5", "todo", "5", "1", "todo", "1", "2", "todo", "2", "3", "todo", "3", "4", "todo", "4"],
        ["6", "todo", "6", "7", "todo", "7", "8", "todo", "8", "9", "todo", "9"],
    ]


def test_the_board_has_the_chosen_states_alone(todos: None, fastzero: Run) -> None:
    heading = fastzero("todo", "list", "--board", "-s", "doing").out.splitlines()[0]
    assert heading.split() == ["doing", "2"]


def test_the_board_says_how_many_more_there_are(ana: User, fastzero: Run) -> None:
    fastzero("todo", "add", "-", "-q", stdin="\n".join(f"todo {number}" for number in range(25)))
    out = fastzero("todo", "list", "--board").out
    assert "todo 25" in out.splitlines()[0]
    assert "… 5 more" in out


def test_for_programs_the_board_is_a_list(todos: None, fastzero: Run) -> None:
    assert len(json.loads(fastzero("todo", "list", "--board", "-o", "json").out)) == 7
