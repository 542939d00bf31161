"""The look of what is told: one shape for each kind of message, in colour, without it, in ASCII, live and in a pipe."""

import os
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fastzero_cli import layout, messages, progress, style
from fastzero_cli.columns import FINDING, SERVICE, Column
from fastzero_cli.render import Renderer
from fastzero_cli.steps import step_of
from fastzero_core import FastZero, User
from fastzero_core.errors import InvalidInputError
from fastzero_core.events import ActionDone, ActionStarted, Notice, Progress, RevisionApplied
from fastzero_core.stack.actions import Action, Kind, Verb
from fastzero_core.stack.spec import ServiceSpec

from .conftest import Run
from .shell import Terminal

DATABASE = ServiceSpec("database", 5432, is_database=True, image="postgres:18")
APP = ServiceSpec("app", 8000)
Said = Callable[[], str]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    return lambda: capsys.readouterr().err


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The streams are of a terminal with colours."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("LANG", "en_US.UTF-8")
    monkeypatch.setattr(style, "is_capable", lambda stream: os.environ["TERM"] != "dumb")


@pytest.fixture(autouse=True)
def automatic_color() -> None:
    style.choose_color("auto")


def start_and_wait(render: Renderer, service: ServiceSpec) -> None:
    start = Action(Verb.START, Kind.CONTAINER, "c", "it is stopped", service.name, subject=service)
    wait = Action(Verb.WAIT, Kind.SERVICE, service.name, "until it answers", service.name, subject=service)
    for action in (start, wait):
        render.event(ActionStarted(action))
        render.event(ActionDone(action, 0.1))


# -- steps -----------------------------------------------------------------------------------------------------


def test_a_step_says_its_result_and_how_long_it_took(said: Said) -> None:
    start_and_wait(Renderer("tsv"), DATABASE)
    assert re.fullmatch(r"✓ Database started · PostgreSQL 18 · 127\.0\.0\.1:5432 · \d\.\d s\n", said())


def test_a_process_says_its_url(said: Said) -> None:
    start_and_wait(Renderer("tsv"), APP)
    assert re.fullmatch(r"✓ App started · http://127\.0\.0\.1:8000 · \d\.\d s\n", said())


def test_a_step_is_told_once_however_many_actions_it_has(said: Said) -> None:
    render = Renderer("tsv")
    for verb, kind in ((Verb.CREATE, Kind.CONTAINER), (Verb.FILL, Kind.SECRETS), (Verb.WRITE, Kind.RECORD)):
        action = Action(verb, kind, "c", "", "database", subject=DATABASE)
        render.event(ActionStarted(action))
        render.event(ActionDone(action, 0.1))
    start_and_wait(render, DATABASE)
    assert len(said().splitlines()) == 1


def test_what_takes_long_is_announced_where_nothing_is_live(said: Said) -> None:
    pull = Action(Verb.PULL, Kind.IMAGE, "postgres:18", "it is not here", "database", subject=DATABASE)
    render = Renderer("tsv")
    render.event(ActionStarted(pull))
    assert said() == "Pulling postgres:18 …\n"
    render.event(ActionDone(pull, 12))
    assert said().startswith("✓ Image pulled · postgres:18 · ")


def test_a_migration_says_its_revisions_and_where_it_ends(said: Said) -> None:
    migrate = Action(Verb.MIGRATE, Kind.SCHEMA, "database", "")
    render = Renderer("tsv")
    render.event(ActionStarted(migrate))
    render.event(RevisionApplied("0001", "users", "up", 0.034))
    render.event(ActionDone(migrate, 0.1))
    first, last = said().splitlines()
    assert first == "↑ 0001 users · 0.03 s"
    assert last.startswith("✓ Schema migrated · now at 0001 · ")


def test_a_phase_that_takes_a_second_is_told_with_what_it_copied(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    render = Renderer("tsv")
    for moment, done in ((100.0, 0), (106.0, 250_000), (112.0, 300_007)):
        now[0] = moment
        render.event(Progress("dump", done, 300_007, "rows"))
    render.event(Progress("count"))
    now[0] = 112.1
    render.verdict("Backup taken: one")
    assert said() == "✓ Rows copied · 300,007 rows · 12 s\n✓ Backup taken: one\n"


def test_every_action_of_a_plan_is_told_or_part_of_another() -> None:
    for verb in Verb:
        for kind in Kind:
            step = step_of(Action(verb, kind, "name", "cause", "database", subject=DATABASE))
            assert step is None or (step.key and step.doing[0].isupper())


def test_quiet_tells_nothing(said: Said) -> None:
    render = Renderer("tsv", quiet=True)
    start_and_wait(render, DATABASE)
    render.event(Notice("a notice"))
    render.event(Progress("dump", 1, 2, "rows"))
    render.verdict("Done")
    assert said() == ""


# -- live ------------------------------------------------------------------------------------------------------


def test_a_step_is_shown_while_it_lasts_and_leaves_nothing(terminal: None, said: Said) -> None:
    render = Renderer("tsv")
    pull = Action(Verb.PULL, Kind.IMAGE, "postgres:18", "", "database", subject=DATABASE)
    render.event(ActionStarted(pull))
    render.event(Progress("Pulling postgres:18", 2**20, 2**22, "bytes"))
    render.event(ActionDone(pull, 1))
    shown = said()
    assert "Pulling postgres:18 …" in shown
    assert "━━━━━───────────────  25% 1.0 MiB" in shown
    assert re.search(r"\r\x1b\[K\x1b\[32m✓\x1b\[0m Image pulled", shown)


def test_a_live_line_never_wraps(terminal: None, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    progress.LIVE.show("日本語" * 40, time.monotonic())
    progress.LIVE.clear()
    drawn = re.sub(r"\x1b\[[\d;]*[mK]", "", said()).split("\r")[1]
    from rich.cells import cell_len

    assert cell_len(drawn) < 40


def test_a_dumb_terminal_gets_steady_lines_in_ascii(
    terminal: None, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    render = Renderer("tsv")
    start_and_wait(render, DATABASE)
    render.event(Progress("dump", 1, 2, "rows"))
    assert re.fullmatch(r"\+ Database started - PostgreSQL 18 - 127\.0\.0\.1:5432 - \d\.\d s\n", said())


def test_a_locale_without_utf_8_gets_ascii(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    messages.verdict("Done", "1 row")
    assert said() == "+ Done - 1 row\n"


def test_a_real_terminal_shows_steps_live(database: str, ana: User) -> None:
    with FastZero(database) as fz:
        fz.todos(ana).add("one")
    with Terminal("db", "backup", "--name", "one") as shown:
        result = shown.end()
    assert result.code == 0
    assert "\r\x1b[K" in result.out
    assert re.search(r"✓.* .*Backup taken: one", result.out)


# -- the other messages ----------------------------------------------------------------------------------------


def test_an_error_and_its_hint_have_colours_on_a_terminal_alone(
    terminal: None, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = InvalidInputError("invalid id 'x'", hint="Use a number")
    messages.error(problem, None, [])
    failed, todo = "\x1b[1;31mError:\x1b[0m invalid id 'x'", "\x1b[36mHint:\x1b[0m Use a number"
    more = "More: fastzero docs invalid_input"
    assert said() == f"{failed}\n{todo}\n\x1b[2m{more}\x1b[0m\n"
    monkeypatch.setenv("NO_COLOR", "1")
    messages.error(problem, None, [])
    messages.warning("it is old")
    assert said() == f"Error: invalid id 'x'\nHint: Use a number\n{more}\nWarning: it is old\n"


@pytest.mark.parametrize(
    ("hint", "carried"),
    [
        ("Start it: fastzero up", "Start it: fastzero -p one up"),
        ("See: fastzero ls -a. Or: fastzero db backup", "See: fastzero ls -a. Or: fastzero -p one db backup"),
        ("The log: fastzero logs app -p two", "The log: fastzero logs app -p two"),
        ("Upgrade fastzero to that version", "Upgrade fastzero to that version"),
    ],
)
def test_a_hint_carries_the_flags_that_were_given(hint: str, carried: str) -> None:
    assert messages.hint_for(hint, ["-p", "one", "status"]) == carried
    assert messages.hint_for(hint, ["status"]) == hint


def test_a_hint_carries_no_url_with_its_password() -> None:
    words = ["--database-url", "postgresql://me:s3cret@db/x", "migrate"]
    assert messages.hint_for("Run: fastzero migrate", words) == "Run: fastzero --database-url URL migrate"


def test_options_after_the_dashes_are_another_program_s() -> None:
    assert messages.option(["exec", "app", "--", "sh", "-p", "x"], "-p", "--project") is None
    assert messages.option([], "-p") is None


# -- tables ----------------------------------------------------------------------------------------------------


def service(**changes: Any) -> dict[str, Any]:
    return {
        "service": "app",
        "state": "unhealthy",
        "address": "127.0.0.1:8000",
        "version": "fastzero 0.1.0",
        "revision": None,
        "pid": 123456,
        "started_at": (datetime.now(UTC) - timedelta(minutes=5)).isoformat(),
        "detail": "the database does not answer: " + "connection refused " * 8,
        **changes,
    }


@pytest.mark.parametrize("columns", [40, 80, 120, 200])
def test_the_reason_of_an_unhealthy_service_is_whole(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    Renderer("table").many([service(), service(service="worker", state="running", detail="")], SERVICE)
    lines = capsys.readouterr().out.splitlines()
    assert " ".join(" ".join(lines).split()).count("connection refused") == 8
    assert max(map(len, (line.rstrip() for line in lines))) <= columns


def test_a_remedy_stands_below_its_finding(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    Renderer("table").many([{"code": "disk", "result": "warning", "found": "1 GiB", "remedy": "Free some"}], FINDING)
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "code  result   found",
        "disk  warning  1 GiB",
        "  Free some",
    ]


@pytest.mark.parametrize(
    ("value", "column", "shown"),
    [
        (300_007, Column("n", kind="count"), "300,007"),
        (123_456, Column("n", kind="number"), "123456"),
        (True, Column("n"), "yes"),
        ({"work_mem": "4MB", "a": 1}, Column("n"), "work_mem=4MB, a=1"),
        (["a", "b"], Column("n"), "a, b"),
        (None, Column("n"), ""),
        (2_500_000, Column("n", kind="bytes"), "2.4 MiB"),
        (0.987, Column("n", kind="share"), "99%"),
    ],
)
def test_a_cell_is_as_people_write_it(value: object, column: Column, shown: str) -> None:
    assert layout.cell({"n": value}, column) == shown


@pytest.mark.parametrize(
    ("ahead", "kind", "shown"),
    [(timedelta(days=6, hours=1), "until", "in 6 d"), (-timedelta(hours=2), "until", "2 h ago"),
     (-timedelta(hours=2), "duration", "2 h"), (-timedelta(hours=2), "age", "2 h ago")],
)  # fmt: skip
def test_times_say_whether_they_are_past(ahead: timedelta, kind: str, shown: str) -> None:
    assert layout.when((datetime.now(UTC) + ahead).isoformat(), kind) == shown


@pytest.mark.parametrize(("took", "shown"), [(0.04, "0.0 s"), (1.24, "1.2 s"), (42.4, "42 s"), (185, "3 min 5 s")])
def test_durations_are_short(took: float, shown: str) -> None:
    assert style.seconds(took) == shown


# -- help ------------------------------------------------------------------------------------------------------


def test_the_root_s_help_is_in_groups(fastzero: Run) -> None:
    headings = re.findall(r"^(\w[\w ]+):$", fastzero("--help").out, re.MULTILINE)
    assert headings == ["Start here", "Stack", "Swarm", "Database", "Todos", "Tools", "Options", "Global options"]


def test_global_options_come_last_in_a_command_s_help(fastzero: Run) -> None:
    out = fastzero("todo", "add", "--help").out
    assert out.index("Arguments:") < out.index("\nOptions:") < out.index("Global options:") < out.index("--project")


def test_headings_are_bold_on_a_terminal_alone(fastzero: Run) -> None:
    assert "\x1b" not in fastzero("--help").out


def test_an_error_has_the_colours_that_were_asked_for(database: str, fastzero: Run) -> None:
    words = ["todo", "list", "-u", "nobody"]
    assert fastzero(*words, "--color", "always").err.startswith("\x1b[1;31mError:\x1b[0m ")
    assert fastzero(*words).err.startswith("Error: ")


# -- narrow terminals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["--help"], ["up", "--help"], ["todo", "list", "--help"], ["exec", "--help"]])
def test_help_fits_a_narrow_terminal_but_for_its_examples(words: list[str], fastzero: Run) -> None:
    out, _, _ = fastzero(*words, terminal=40).out.partition("Example:")
    assert max(map(len, out.splitlines())) <= 40
    assert "..." not in out.partition("\n\n")[2]


def test_messages_are_broken_between_words_and_commands_stay_whole(
    terminal: None, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    messages.hint("Start the project again: fastzero -p another up --runtime embedded. Then wait")
    messages.verdict("Backup taken: one", "300,007 rows", "12.5 KiB", "a few words")
    assert said().splitlines() == [
        "Hint: Start the project again:",
        "  fastzero -p another up --runtime embedded.",
        "  Then wait",
        "✓ Backup taken: one · 300,007 rows ·",
        "  12.5 KiB · a few words",
    ]


@pytest.mark.parametrize("columns", [40, 80])
def test_what_was_found_is_whole(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    found = "the disk of the database has no room left " * 3
    Renderer("table").many([{"code": "disk", "result": "warning", "found": found.strip()}], FINDING)
    lines = capsys.readouterr().out.splitlines()
    assert " ".join(" ".join(line[15:] for line in lines[1:]).split()) == found.strip()
    assert max(map(len, lines)) <= columns


def test_a_plan_ends_with_what_it_was(fastzero: Run) -> None:
    result = fastzero("up", "--runtime", "embedded", "--no-app", "--dry-run", terminal=200)
    assert result.code == 0
    assert result.err == f"{len(result.out.splitlines()) - 1} actions planned. Nothing was changed.\n"
