"""fastzero migrate: to head alone, back after asking, and honest about where the database is."""

import re
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from ..revisions import HEAD, MESSAGES, NEXT, REVISIONS
from .conftest import Run, records
from .shell import Terminal

STEPS = "|".join(f"{revision} {message}" for revision, message in MESSAGES.items())
PROGRESS = re.compile(rf"[↑↓] ({STEPS}) · \d+\.\d\d s")


@pytest.fixture
def empty(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    return empty_database_url


def _current(fastzero: Run) -> str | None:
    current: str | None = records(fastzero("migrate", "status", "-o", "json"))["current"]
    return current


@pytest.mark.parametrize("words", [[], ["up"], ["up", "head"], ["up", f"+{len(REVISIONS)}"]])
def test_alone_and_up_bring_the_schema_to_head(words: list[str], empty: str, fastzero: Run) -> None:
    result = fastzero("migrate", *words, "-o", "json")
    assert records(result)["current"] == HEAD
    assert records(result)["pending"] == []


def test_progress_is_a_line_a_revision_on_stderr(empty: str, fastzero: Run) -> None:
    *lines, verdict = fastzero("migrate").err.splitlines()
    assert verdict == f"✓ The schema is at head: {HEAD}"
    assert len(lines) == len(REVISIONS)
    assert all(PROGRESS.fullmatch(line) for line in lines)


def test_quiet_leaves_progress_out(empty: str, fastzero: Run) -> None:
    assert fastzero("migrate", "-q").err == ""


def test_at_head_there_is_nothing_to_do(database: str, fastzero: Run) -> None:
    result = fastzero("migrate", "-o", "ids")
    assert result == (0, f"{HEAD}\n", f"✓ The schema is at head: {HEAD}\n")


def test_up_goes_to_a_revision(empty: str, fastzero: Run) -> None:
    result = records(fastzero("migrate", "up", "0001", "-o", "json"))
    assert (result["current"], result["pending"]) == ("0001", REVISIONS[1:])


def test_down_refuses_where_nobody_can_be_asked(database: str, fastzero: Run) -> None:
    result = fastzero("migrate", "down", "-1")
    assert result.code == 2
    assert f"From {HEAD} down to -1" in result.err
    assert _current(fastzero) == HEAD


def test_down_asks(database: str, fastzero: Run) -> None:
    with Terminal("migrate", "down", "-1") as terminal:
        terminal.wait_for("[y/N]: ")
        terminal.type("y\n")
        assert terminal.end().code == 0
    assert _current(fastzero) == REVISIONS[-2]


def test_down_to_base_and_up_again(database: str, fastzero: Run) -> None:
    down = fastzero("migrate", "down", "base", "--yes", "-o", "json")
    assert records(down)["current"] is None
    *steps, verdict = down.err.splitlines()
    assert verdict == f"✓ The schema is at base; head is {HEAD}"
    # A slow machine says before it how long the backup took.
    way_back = next(line for line in steps if not line.startswith("✓"))
    assert way_back.startswith("To undo: fastzero db restore ")
    assert [line.split()[1] for line in steps if line.startswith("↓")] == REVISIONS[::-1]
    assert records(fastzero("migrate", "-o", "json"))["current"] == HEAD


def test_down_beyond_the_first_is_an_error(database: str, fastzero: Run) -> None:
    assert fastzero("migrate", "down", f"-{len(REVISIONS) + 1}", "--yes").code == 2
    assert _current(fastzero) == HEAD


def test_status_of_an_empty_database_names_what_is_pending(empty: str, fastzero: Run) -> None:
    assert records(fastzero("migrate", "status", "-o", "json")) == {
        "current": None,
        "head": HEAD,
        "pending": REVISIONS,
        "drift": [],
    }


def test_history_tells_the_state_of_each_revision(empty: str, fastzero: Run) -> None:
    fastzero("migrate", "up", "0001")
    history = records(fastzero("migrate", "history", "-o", "json"))
    assert [(each["revision"], each["state"]) for each in history] == [
        (revision, "pending" if revision != "0001" else "current") for revision in REVISIONS
    ]


def test_check_is_content_at_head(database: str, fastzero: Run) -> None:
    assert fastzero("migrate", "check").code == 0


@pytest.mark.parametrize("change", ["ALTER TABLE todos ADD COLUMN extra text", "DROP INDEX uq_users_email"])
def test_check_tells_what_differs_and_exits_7(change: str, sql: Callable[[str], None], fastzero: Run) -> None:
    sql(change)
    result = fastzero("migrate", "check")
    assert result.code == 7
    assert "extra" in result.err or "uq_users_email" in result.err
    assert records(fastzero("migrate", "status", "-o", "json"))["drift"] != []


def test_sql_prints_the_statements_of_an_upgrade(fastzero: Run) -> None:
    whole, rest = fastzero("migrate", "sql"), fastzero("migrate", "sql", "0001:head")
    assert "CREATE TABLE users" in whole.out
    assert "CREATE TABLE users" not in rest.out
    assert "CREATE TABLE todos" in rest.out
    assert (whole.err, rest.err) == ("", "")


def test_sql_is_what_an_upgrade_does(empty: str, fastzero: Run) -> None:
    with psycopg.connect(empty) as connection:
        connection.autocommit = True
        for statement in fastzero("migrate", "sql").out.split(";\n\n"):
            connection.execute(statement.encode())
    assert fastzero("migrate", "check").code == 0


def test_stamp_writes_the_revision_down_and_runs_nothing(empty: str, fastzero: Run) -> None:
    assert records(fastzero("migrate", "stamp", "0001", "-o", "json"))["current"] == "0001"
    assert fastzero("user", "list").code == 7


def test_new_writes_a_revision_on_top_of_the_head(database: str, migrations_copy: Path, fastzero: Run) -> None:
    result = fastzero("migrate", "new", "Add due dates")
    path = Path(result.out.removesuffix("\n"))
    assert path.parent == migrations_copy / "versions"
    assert path.name == f"{NEXT}_add_due_dates.py"
    assert f'down_revision: str | None = "{HEAD}"' in path.read_text().replace("'", '"')
    assert records(fastzero("migrate", "-o", "json"))["current"] == NEXT


def test_new_can_be_filled_with_what_differs(sql: Callable[[str], None], migrations_copy: Path, fastzero: Run) -> None:
    sql("ALTER TABLE todos ADD COLUMN extra text")
    path = Path(fastzero("migrate", "new", "drop extra", "--autogenerate").out.strip())
    assert "drop_column('todos', 'extra')" in path.read_text().replace('"', "'")


def test_new_needs_a_message(migrations_copy: Path, fastzero: Run) -> None:
    assert fastzero("migrate", "new", " ").code == 2
    assert len(list((migrations_copy / "versions").glob("*.py"))) == len(REVISIONS)
