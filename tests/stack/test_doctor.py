"""`doctor`: each trouble has a code and a remedy, whichever runtime the project has; `--fix` repairs the password."""

import gc
import os
import shutil
import socket
import warnings
from pathlib import Path

import psycopg
import pytest

from fastzero_core import Stack, load_settings
from fastzero_core.errors import DatabaseLoginError
from fastzero_core.files import write_atomically
from fastzero_core.schema import migrate
from fastzero_core.stack import doctor
from fastzero_core.stack.runtime import Finding
from fastzero_core.stack.spec import DEFAULT_PORTS
from tests.ports import any_free_port

from .conftest import Contained

TOML = '[application]\ncommand = "python x.py"\n'


def examined(stack: Stack, *, fix: bool = False) -> dict[str, Finding]:
    """The findings by code, the worst where a code has several."""
    order = ["ok", "fixed", "warning", "failed"]
    findings = doctor.examine(stack.settings, fix=fix)
    assert all(finding.remedy for finding in findings if finding.result in ("warning", "failed"))
    return {finding.code: finding for finding in sorted(findings, key=lambda each: order.index(each.result))}


def troubles(stack: Stack, *, fix: bool = False) -> dict[str, str]:
    return {code: finding.result for code, finding in examined(stack, fix=fix).items() if finding.result != "ok"}


def drift(stack: Stack) -> None:
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        connection.execute("ALTER ROLE fastzero PASSWORD 'another'")


# -- local processes -------------------------------------------------------------------------------------------


def test_a_stack_in_order_has_nothing_but_ok(running: Stack) -> None:
    findings = examined(running)
    assert {finding.result for finding in findings.values()} == {"ok"}
    assert set(findings) == {"home", "disk", "account", "postgres", "port", "secrets", "database", "schema", "clock"}


@pytest.mark.slow
def test_the_app_is_examined_where_there_is_one(running: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTZERO_APP", "true")
    stack = Stack(load_settings(project="demo", app_port=any_free_port())).up()
    assert examined(stack)["app"].result == "ok"
    migrate.down(stack.database_url, "0001")
    assert examined(stack)["app"].result == "failed"
    assert "0001" in examined(stack)["app"].found
    stack.down()


def test_a_project_that_is_not_there_yet_is_no_trouble(home: Path, default_port: int) -> None:
    assert troubles(Stack("demo")) == {}


def test_a_default_port_that_is_taken_is_a_warning_that_names_its_owner(home: Path, default_port: int) -> None:
    with socket.create_server(("127.0.0.1", default_port)):
        finding = examined(Stack("demo"))["port"]
    assert finding.result == "warning"
    assert f"(pid {os.getpid()})" in finding.found


def test_the_app_s_port_is_looked_at_as_well(home: Path, default_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DEFAULT_PORTS, "app", any_free_port())
    with socket.create_server(("127.0.0.1", DEFAULT_PORTS["app"])):
        finding = examined(Stack(load_settings(project="demo", app=True)))["port"]
    assert (finding.result, "app" in finding.remedy) == ("warning", True)


def test_the_project_s_own_port_in_other_hands_fails(stack: Stack, free_port: int) -> None:
    with socket.create_server(("127.0.0.1", free_port)):
        assert troubles(stack) == {"port_taken": "failed", "database": "warning"}


def test_a_schema_behind_head_fails(running: Stack) -> None:
    migrate.down(running.database_url, "0001")
    assert troubles(running) == {"schema": "failed"}


def test_what_a_killed_initialisation_left_is_a_warning(stack: Stack) -> None:
    record = stack.project.record
    assert record is not None
    Path(record.data).with_name(".data.init-cafe").mkdir()
    assert troubles(stack) == {"initialisation": "warning", "database": "warning"}


def test_data_that_is_gone_is_one_finding_that_names_both_ways_on(stack: Stack) -> None:
    record = stack.project.record
    assert record is not None
    shutil.rmtree(record.data)

    for fix in (False, True):
        [finding] = [each for each in doctor.examine(stack.settings, fix=fix) if each.result != "ok"]
        assert "fastzero db restore" in finding.remedy
        assert "fastzero up --start-over" in finding.remedy


def test_a_record_that_is_damaged_is_one_finding(stack: Stack) -> None:
    (stack.project.folder / "project.json").write_text("{")
    assert [each.code for each in doctor.examine(stack.settings) if each.result != "ok"] == ["record_unreadable"]


def test_a_home_that_cannot_be_written_fails(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    assert troubles(stack)["home"] == "failed"


def test_a_lost_password_file_fails(stack: Stack) -> None:
    (stack.project.folder / "secrets" / "database_password").unlink()
    assert troubles(stack)["project_not_found"] == "failed"


@pytest.mark.parametrize(
    ("skew", "result", "found"),
    [(0.1, "ok", "this machine's"), (90, "warning", "90 s fast"), (-3600, "warning", "3600 s slow")],
)
def test_a_clock_that_differs_is_a_warning(skew: float, result: str, found: str) -> None:
    finding = doctor._clock(skew)
    assert finding.result == result
    assert found in finding.found


def test_another_password_fails_with_the_way_to_repair_it(running: Stack) -> None:
    drift(running)
    finding = examined(running)["password"]
    assert finding.result == "failed"
    assert "fastzero doctor --fix" in finding.remedy


def test_fix_repairs_the_password_says_so_and_leaves_the_server_running(running: Stack) -> None:
    drift(running)
    assert troubles(running, fix=True) == {"password": "fixed"}
    assert running.plan() == []


def test_fix_repairs_the_password_of_a_stopped_server_and_leaves_it_stopped(stack: Stack) -> None:
    write_atomically(stack.project.folder / "secrets" / "database_password", "another")
    assert troubles(stack, fix=True) == {"password": "fixed", "database": "warning"}
    assert not stack.running()
    stack.up()


def test_fix_changes_nothing_where_nothing_is_wrong(running: Stack) -> None:
    before = running.status()
    assert troubles(running, fix=True) == {}
    assert running.status() == before


# -- containers ------------------------------------------------------------------------------------------------


@pytest.mark.docker
def test_containers_in_order_have_nothing_but_ok(served: Contained) -> None:
    findings = examined(served.stack(app=True))
    assert {finding.result for finding in findings.values()} == {"ok"}
    assert set(findings) == {
        *("home", "disk", "engine", "engine_disk", "volume", "port", "secrets", "database", "schema", "clock", "app")
    }
    assert "Docker Engine" in findings["engine"].found


@pytest.mark.docker
def test_a_folder_that_is_not_trusted_is_told_before_its_files_are_read(
    contained: Contained, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    # A pattern that takes longer to match such a name than anyone would wait.
    for name, text in {"fastzero.toml": TOML, ".dockerignore": "*a" * 20 + "b", "a" * 200: "", "x.py": ""}.items():
        (folder / name).write_text(text)
    monkeypatch.chdir(folder)

    assert troubles(contained.stack()) == {"folder_not_trusted": "failed"}


@pytest.mark.docker
def test_an_engine_that_is_away_fails_for_a_project_in_containers(
    contained: Contained, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{folder}/nothing.sock")
    # The SDK leaves a socket that was refused to the garbage collector, which would blame some test for it.
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        findings = doctor.examine(contained.stack().settings)
        assert [each.code for each in findings if each.result != "ok"] == ["docker_unavailable"]
        gc.collect()


@pytest.mark.docker
def test_data_of_another_major_version_fails(contained: Contained) -> None:
    contained.stack(postgres_image="postgres:17").up().down()
    finding = examined(contained.stack(postgres_image="postgres:18"))["postgres_version_mismatch"]
    assert finding.result == "failed"
    assert "postgres:17" in finding.remedy
    assert contained.services() == set()


@pytest.mark.docker
def test_a_port_that_is_open_to_the_world_fails(contained: Contained) -> None:
    contained.stack().up()
    container = contained.container("database")
    attributes = container.attrs
    container.remove(force=True, v=True)
    contained.engine.containers.create(
        attributes["Config"]["Image"],
        name=contained.name("database"),
        labels=attributes["Config"]["Labels"],
        ports={"5432/tcp": ("0.0.0.0", any_free_port())},
    )
    assert troubles(contained.stack())["exposed"] == "failed"


@pytest.mark.docker
def test_fix_repairs_the_password_of_a_running_container(contained: Contained) -> None:
    stack = contained.stack().up()
    drift(stack)
    assert troubles(stack)["password"] == "failed"
    assert troubles(stack, fix=True) == {"password": "fixed"}
    assert stack.plan() == []


@pytest.mark.docker
def test_fix_repairs_what_a_failed_up_has_stopped(contained: Contained) -> None:
    contained.stack().up().down()
    write_atomically(contained.stack().project.folder / "secrets" / "database_password", "another")
    with pytest.raises(DatabaseLoginError):
        contained.stack().up()
    assert troubles(contained.stack(), fix=True) == {"password": "fixed", "database": "warning"}
    contained.stack().up()
