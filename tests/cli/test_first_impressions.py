"""The defects that were found when fastzero was first tried as a new user would, each held by a test.

Those that other tests hold are listed with these, so that none of them is lost.
"""

import os
import re
import socket
import time
from importlib import import_module
from pathlib import Path

import pytest

from fastzero_core import FastZero, User
from fastzero_core.project import Project, ProjectRecord
from fastzero_core.stack import wait
from fastzero_core.stack.wait import Answer

from ..revisions import REVISIONS
from .conftest import Run
from .shell import script

HELD_ELSEWHERE = {
    1: "tests.e2e.test_targets:test_every_command_reads_the_project_that_is_named_by_a_flag",
    2: "tests.e2e.test_journeys:test_logs_come_with_their_stream_and_their_last_lines",
    4: "tests.stack.test_project:test_a_record_that_cannot_be_read_keeps_no_other_project_from_working",
    6: "tests.stack.test_up:test_a_port_that_was_asked_for_and_is_taken_is_an_error",
    8: "tests.packaging.test_readme:test_the_shell_examples_run_one_after_the_other",
    9: "tests.cli.test_pager:test_more_than_ten_thousand_ids_are_changed_at_once",
    12: "tests.cli.test_pager:test_several_todos_are_shown_with_their_descriptions",
    17: "tests.cli.test_mistakes:test_an_unknown_key_names_the_nearest_and_its_line",
    20: "tests.api.test_serve:test_its_log_lines_have_the_time_in_utc",
}


@pytest.mark.parametrize("defect", HELD_ELSEWHERE)
def test_a_defect_is_held_by_a_test(defect: int) -> None:
    module, _, name = HELD_ELSEWHERE[defect].partition(":")
    assert callable(getattr(import_module(module), name))


def test_03_a_new_revision_is_not_written_into_an_installed_package(
    fastzero: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastzero_core.schema.migrate.is_installed", lambda: True)
    result = fastzero("migrate", "new", "add due dates")
    assert (result.code, "part of the installed package" in result.err) == (2, True)


def test_05_http_says_that_it_deletes_for_good_and_how_to_use_the_trash() -> None:
    from fastzero_core.todo_app.api.todos import delete_todo

    said = " ".join((delete_todo.__doc__ or "").split())
    assert said.startswith("Permanently delete a todo.")
    assert 'PATCH with `{"state": "trash"}`' in said


@pytest.mark.slow
def test_07_a_first_up_that_fails_leaves_no_project(folder: Path) -> None:
    home = folder / "home"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        failed = script("up", "--runtime", "embedded", "--port", port, env={**os.environ, "FASTZERO_HOME": str(home)})
    assert failed.code == 6, failed.err
    assert not list((home / "projects").glob("*/project.json"))


def test_10_moving_to_a_newer_postgresql_is_told() -> None:
    from fastzero_core.stack.relocate import Relocation

    class Session:
        project = type("Project", (), {"database_url": staticmethod(lambda: "postgresql://")})
        told: list[str] = []  # noqa: RUF012

        def on_event(self, event: object) -> None:
            self.told.append(event.text)  # type: ignore[attr-defined]

    move = Relocation.__new__(Relocation)
    move._session, move._image = Session(), "postgres:18"  # type: ignore[assignment]
    move._runtime = type("Runtime", (), {"name": "docker"})  # type: ignore[assignment]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastzero_core.backup.server.server_major", lambda url: 17)
        move._refuse_older()
    assert Session.told == ["the move also upgrades the database: PostgreSQL 17 to 18"]


@pytest.mark.parametrize("language", ["en", "pt"])
def test_11_the_manual_says_how_to_install_the_plugin(language: str) -> None:
    page = Path(__file__).parents[2] / "docs" / language / "how-to" / "tests.md"
    assert "pip install" in page.read_text(encoding="utf-8").partition("\n## ")[0]


def test_13_edit_has_an_option_for_all_that_it_offers(ana: User, fastzero: Run) -> None:
    fastzero("todo", "add", "one")
    offered = fastzero("todo", "edit", "1").err
    for field in ("title", "description", "state"):
        assert field in offered
        assert f"--{field}" in fastzero("todo", "edit", "--help").out
    assert fastzero("todo", "edit", "1", "--state", "doing").code == 0
    assert "\tdoing\t" in fastzero("todo", "show", "1").out


def test_14_purge_asks_only_about_what_is_in_the_trash(ana: User, fastzero: Run) -> None:
    fastzero("todo", "add", "one")
    result = fastzero("todo", "purge", "1")
    assert (result.code, "Confirmation" in result.err) == (4, False)
    assert "not in the trash: 1" in result.err


@pytest.mark.parametrize("revision", ["nosuch", f"-{len(REVISIONS) + 1}"])
def test_15_a_downgrade_looks_before_it_takes_a_backup(revision: str, ana: User, fastzero: Run) -> None:
    assert fastzero("migrate", "down", revision, "--yes").code in (2, 3)
    assert list(Path(os.environ["FASTZERO_HOME"]).rglob("*.dump")) == []


def test_16_the_port_of_the_database_says_whose_it_is(fastzero: Run) -> None:
    out = fastzero("up", "--help").out
    assert "--database-port" in out
    assert "--app-port" in out


def test_18_waiting_asks_ever_more_slowly_what_is_written_into_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    answers = [Answer("ConnectionRefusedError: [Errno 111]")] * 3 + [Answer("the schema is at base")] * 12 + [Answer()]
    wait.poll(lambda: answers.pop(0), lambda: True, 60, 60)
    assert pauses[:3] == [wait.POLL] * 3
    assert pauses[3:] == sorted(pauses[3:])
    assert pauses[-1] == wait.SLOWEST


def test_19_show_refuses_what_it_does_not_know(ana: User, fastzero: Run) -> None:
    fastzero("todo", "add", "one")
    assert fastzero("todo", "show", "1", "x").code == 2
    assert fastzero("todo", "show", "1", "--nope").code == 2


# -- screens ---------------------------------------------------------------------------------------------------


def test_status_of_a_project_that_does_not_exist_names_the_nearest(fastzero: Run) -> None:
    Project("shop", Path(os.environ["FASTZERO_HOME"])).save(ProjectRecord("embedded"))
    result = fastzero("-p", "shpo", "status")
    assert (result.code, result.out) == (3, "")
    assert "Did you mean -p shop?" in result.err


def test_status_exits_with_8_where_that_is_asked_for(fastzero: Run, tmp_path: Path) -> None:
    record = ProjectRecord("embedded", {"database": 5432}, data=str(tmp_path / "data"))
    Project("fastzero", Path(os.environ["FASTZERO_HOME"])).save(record)
    assert fastzero("status").code == 0
    assert fastzero("status", "--exit-code").code == 8


def test_doctor_says_once_that_there_is_no_engine() -> None:
    environment = {**os.environ, "FASTZERO_RUNTIME": "docker", "DOCKER_HOST": "unix:///nowhere/docker.sock"}
    codes = [line.split("\t")[0] for line in script("doctor", env=environment).out.splitlines()]
    assert [code for code in codes if code.startswith("docker")] == [next(c for c in codes if c.startswith("docker"))]


def test_machine_names_are_not_on_a_screen(database: str, ana: User, fastzero: Run) -> None:
    with FastZero(database) as fz:
        fz.todos(ana).add("one")
    fastzero("db", "backup", "--name", "one")
    for words in (["db", "backup", "list"], ["config"], ["todo", "show", "1"], ["user", "show", "ana"]):
        out = fastzero(*words, "--color", "never", terminal=120).out
        assert not re.search(r"\b(created|updated|taken)_at\b|\bTrue\b|\bFalse\b|\{'", out), out
