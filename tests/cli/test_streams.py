"""Pipes that close, disks that are full, locales that know no letters, and Ctrl-C."""

from collections.abc import Callable

import pytest

from fastzero_core import FastZero, User

from ..revisions import HEAD
from .conftest import Run
from .shell import Terminal, script, shell

pytestmark = pytest.mark.slow

LINES = 3000  # more than a pipe holds
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@pytest.fixture
def many(database: str, ana: User, fastzero: Run) -> None:
    fastzero("todo", "add", "-", "-q", stdin="\n".join(f"title {number} " + "x" * 100 for number in range(LINES)))


# -- readers that have enough ----------------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["tsv", "json", "table"])
def test_head_ends_a_list_without_a_word(output: str, many: None) -> None:
    result = shell(f"set -o pipefail; fastzero todo list -o {output} | head -2")
    assert result.code == 0
    assert len(result.out.splitlines()) == 2
    assert result.err == ""


def test_a_pipe_that_is_closed_before_the_first_line_is_no_error(ana: User, fastzero: Run) -> None:
    fastzero("todo", "add", "one")
    # A reader that is gone for certain: the list starts once it has ended.
    result = shell('exec 3> >(true); wait $!; fastzero todo list >&3; echo "code $?"')
    assert (result.out, result.err) == ("code 0\n", "")


def test_what_was_added_stays_where_nobody_reads_the_result(ana: User, titles: Callable[[], list[str]]) -> None:
    result = shell("exec 3> >(true); wait $!; fastzero todo add one >&3")
    assert (result.code, result.err) == (0, "")
    assert titles() == ["one"]


def test_messages_that_nobody_reads_do_not_stop_the_work(empty_database_url: str) -> None:
    result = shell(f"exec 3> >(true); wait $!; fastzero migrate --database-url '{empty_database_url}' -o ids 2>&3")
    assert result.code == 0
    assert result.out == f"{HEAD}\n"


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_the_caller_closed_are_no_bug(closed: str, ana: User, titles: Callable[[], list[str]]) -> None:
    result = shell(f"fastzero todo add one {closed}")
    assert result.code == 0
    assert "Traceback" not in result.err
    assert titles() == ["one"]


# -- full disks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["todo list", "todo list -o table", "--help", "config"])
def test_a_full_disk_under_the_result_is_an_error_with_a_hint(command: str, many: None) -> None:
    result = shell(f"fastzero {command} > /dev/full")
    assert result.code == 6
    assert result.err.startswith("Error: the result cannot be written: No space left on device\nHint: ")
    assert "Traceback" not in result.err
    assert "Exception ignored" not in result.err


# -- encodings -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("environment", ["LC_ALL=C PYTHONCOERCECLOCALE=0 PYTHONUTF8=0", "PYTHONIOENCODING=ascii"])
def test_text_is_utf_8_in_every_locale(environment: str, ana: User) -> None:
    result = shell(f"export {environment}; echo 'Größe 日本' | fastzero todo add - -q && fastzero todo list")
    assert result.code == 0
    assert "\tGröße 日本\t" in result.out


# -- Ctrl-C ----------------------------------------------------------------------------------------------------


def test_ctrl_c_at_a_prompt_ends_it(database: str) -> None:
    with Terminal("user", "add", "bob", "-e", "bob@example.com") as terminal:
        terminal.wait_for("Password: ")
        terminal.interrupt()
        result = terminal.end()
    assert result.code == 130
    assert "Traceback" not in result.out


def test_ctrl_c_at_a_question_changes_nothing(database: str, ana: User) -> None:
    with Terminal("user", "rm", "ana") as terminal:
        terminal.wait_for("[y/N]: ")
        terminal.interrupt()
        result = terminal.end()
    assert result.code == 130
    assert "Traceback" not in result.out
    with FastZero(database) as fz:
        assert fz.users.get("ana") == ana


def test_the_end_of_input_at_a_question_is_no_yes(database: str, ana: User) -> None:
    with Terminal("user", "rm", "ana") as terminal:
        terminal.wait_for("[y/N]: ")
        terminal.type("\x04")
        assert terminal.end().code == 130
    with FastZero(database) as fz:
        assert fz.users.get("ana") == ana


def test_ctrl_c_while_a_statement_runs_leaves_nothing_half_done(
    database: str, ana: User, titles: Callable[[], list[str]]
) -> None:
    import psycopg

    from fastzero_core.polling import wait_until

    with psycopg.connect(database) as connection, psycopg.connect(database, autocommit=True) as watching:
        connection.execute("LOCK TABLE todos")
        with Terminal("todo", "add", "one") as terminal:
            waiting = (
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
            assert wait_until(lambda: watching.execute(waiting).fetchone() == (1,), 30)
            terminal.interrupt()
            result = terminal.end()
    assert result.code == 130
    assert "Traceback" not in result.out
    assert titles() == []


def test_the_script_and_the_function_answer_alike(ana: User, fastzero: Run) -> None:
    assert script("todo", "show", "9", "-o", "json") == fastzero("todo", "show", "9", "-o", "json")
