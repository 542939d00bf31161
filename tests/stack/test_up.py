"""`up`, `down`, `restart` and what they promise, on PostgreSQL from the wheel."""

import os
import shutil
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import psycopg
import pytest

from fastzero_core import FastZero, InvalidInputError, Stack, UnhealthyError, load_settings
from fastzero_core.errors import ConflictError, DatabaseLoginError, DataGoneError, PortTakenError, ProjectNotFoundError
from fastzero_core.events import Event
from fastzero_core.postgres.url import url_of
from fastzero_core.project import Place, Project, ProjectRecord
from fastzero_core.schema.revisions import head_revision
from fastzero_core.stack import ports
from fastzero_core.stack.actions import Action, Verb
from fastzero_core.stack.embedded import data as embedded
from fastzero_core.stack.embedded import runtime as embedded_runtime
from fastzero_core.stack.embedded.process import Processes
from fastzero_core.stack.listing import list_projects
from fastzero_core.stack.observed import ServiceState
from fastzero_core.stack.spec import DEFAULT_PORTS
from tests.ports import any_free_port
from tests.revisions import REVISIONS

from .conftest import RunPython, Template, WorkingOn, done, new_home, steps, texts


def ask(stack: Stack, query: str) -> str:
    with psycopg.connect(stack.superuser_url) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return str(row[0])


def state_of(stack: Stack) -> ServiceState:
    return stack.status()[0].state


def planned(stack: Stack) -> list[str]:
    return steps(stack.plan())


def data_of(stack: Stack) -> Path:
    record = stack.project.record
    assert record is not None
    return Path(record.data)


# -- the first up ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FirstUp:
    """A first `up`: what was planned, what was told, and each command line and environment of the machine meanwhile."""

    stack: Stack
    port: int
    planned: list[Action]
    told: list[Event]
    processes: set[str]


@pytest.fixture(scope="module")
def first_up() -> Iterator[FirstUp]:
    with new_home() as home, pytest.MonkeyPatch.context() as patch:
        port = any_free_port()
        patch.setitem(DEFAULT_PORTS, "database", port)
        told: list[Event] = []
        stack = Stack(
            load_settings(project="demo", home=home / "not-there-yet", runtime="embedded", app=False),
            on_event=told.append,
        )
        planned = stack.plan()
        assert list(home.iterdir()) == [], "a plan changes nothing"
        with watched_processes() as processes:
            stack.up()
        yield FirstUp(stack, port, planned, told, processes)


@contextmanager
def watched_processes() -> Iterator[set[str]]:
    seen: set[str] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            for process in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    with suppress(OSError):
                        seen.add((process / name).read_bytes().decode("utf-8", "replace"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()


def test_the_first_up_goes_from_nothing_to_a_server_at_head(first_up: FirstUp) -> None:
    [status] = first_up.stack.status()

    assert (status.state, status.revision) == (ServiceState.RUNNING, head_revision())
    assert (status.version, status.address) == ("PostgreSQL 18", f"127.0.0.1:{first_up.port}")


def test_the_first_up_chooses_the_runtime_says_so_and_records_it(first_up: FirstUp) -> None:
    project = first_up.stack.project

    assert texts(first_up.told)[0] == "project demo runs embedded, and will from now on"
    assert project.record == ProjectRecord(
        "embedded", {"database": first_up.port}, str(project.folder / "data"), initialised=True, processes=()
    )


def test_what_is_planned_is_what_is_done(first_up: FirstUp) -> None:
    assert steps(first_up.planned) == ["create data database", "start process database", "migrate schema database"]
    assert done(first_up.told) == first_up.planned


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc")
def test_no_secret_is_in_a_command_line_or_an_environment(first_up: FirstUp) -> None:
    passwords = first_up.stack.project.passwords().values()

    assert any("initdb" in text for text in first_up.processes), "the watcher saw the initialisation"
    assert not [text for text in first_up.processes for password in passwords if password in text]


def test_no_secret_is_in_a_log_or_a_record(first_up: FirstUp) -> None:
    project = first_up.stack.project
    passwords = project.passwords().values()

    files = [path for path in project.folder.rglob("*") if path.is_file() and "data" not in path.parts]

    assert {"project.json", "database.json", "database.stderr.log"} <= {path.name for path in files}
    telling = {path.name for path in files for password in passwords if password in path.read_text()}
    assert telling == {"superuser_password", "database_password", "app_password"}


# -- how the database is made ----------------------------------------------------------------------------------


def test_a_wrong_password_is_refused_over_tcp_and_over_the_socket(running: Stack) -> None:
    right = psycopg.conninfo.conninfo_to_dict(running.database_url)
    for place in ({}, {"host": str(data_of(running))}):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(**{**right, **place, "password": "wrong"})  # type: ignore[arg-type]


def test_passwords_are_kept_as_scram_only(running: Stack) -> None:
    assert ask(running, "SHOW password_encryption") == "scram-sha-256"
    methods = ask(running, "SELECT array_agg(DISTINCT auth_method) FROM pg_hba_file_rules")
    assert methods == "['scram-sha-256']"


def test_it_listens_on_the_loopback_and_a_socket_only(running: Stack) -> None:
    pid = running.status()[0].pid
    listening = [
        found.laddr.ip
        for found in psutil.Process(pid).net_connections("inet")
        if found.status == psutil.CONN_LISTEN and found.laddr
    ]

    assert listening == ["127.0.0.1"]
    assert ask(running, "SHOW unix_socket_directories") == "."


def test_a_project_works_however_deep_its_folder_lies(folder: Path, free_port: int, template: Template) -> None:
    deep = folder.joinpath(*["a-folder-with-a-long-name"] * 6)
    template.copy_to(deep, free_port)

    with Stack(load_settings(project="demo", home=deep)).up() as stack:
        assert state_of(stack) is ServiceState.RUNNING


def test_data_checksums_are_on(running: Stack) -> None:
    assert ask(running, "SHOW data_checksums") == "on"


def test_the_locale_depends_on_no_c_library(running: Stack) -> None:
    query = (
        "SELECT datlocprovider::text || ' ' || datlocale || ' ' || pg_encoding_to_char(encoding)"
        " FROM pg_database WHERE datname = 'fastzero'"
    )

    assert ask(running, query) == "b C.UTF-8 UTF8"


def test_the_password_file_and_the_data_are_their_owners_alone(running: Stack) -> None:
    def mode(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    assert mode(running.project.folder / "secrets" / "database_password") == 0o600
    assert mode(data_of(running)) == 0o700


def test_the_environment_is_what_programs_need_to_connect(running: Stack) -> None:
    environment = running.environment()

    assert environment["DATABASE_URL"] == url_of(running.database_url, require_auth=False)
    connection = {name.removeprefix("PG").lower(): value for name, value in environment.items() if name[:2] == "PG"}
    connection["dbname"] = connection.pop("database")
    connection["require_auth"] = connection.pop("requireauth")
    psycopg.connect(**connection).close()  # type: ignore[arg-type]


# -- up again --------------------------------------------------------------------------------------------------


def test_up_again_has_nothing_to_do(running: Stack) -> None:
    pid = running.status()[0].pid
    told: list[Event] = []

    again = Stack("demo", on_event=told.append)
    assert again.plan() == []
    again.up()

    assert told == []
    assert again.status()[0].pid == pid


def test_a_stopped_stack_is_started_again(stack: Stack) -> None:
    assert planned(stack) == ["start process database", "migrate schema database"]

    assert state_of(stack.up()) is ServiceState.RUNNING


def test_up_migrates_a_schema_that_is_behind(running: Stack) -> None:
    from fastzero_core.schema import migrate

    migrate.down(running.database_url, "-1")
    [action] = running.plan()
    assert action.cause == f"its schema is at {REVISIONS[-2]}; head is {head_revision()}"

    running.up()

    assert running.status()[0].revision == head_revision()


def test_a_changed_setting_recreates_the_server_with_its_data(running: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    with FastZero(running.database_url) as fz:
        fz.users.add("ana", email="ana@example.com", password="correct horse")
    monkeypatch.setenv("FASTZERO_POSTGRES_SETTINGS", '{"work_mem": "7MB"}')
    changed = Stack("demo")
    assert changed.plan()[0].cause == "its configuration changed: work_mem: unset → 7MB"

    changed.up()

    assert ask(changed, "SHOW work_mem") == "7MB"
    assert ask(changed, "SELECT count(*) FROM users") == "1"
    assert changed.plan() == []


def test_what_violates_a_constraint_is_not_in_the_databases_log(running: Stack) -> None:
    with FastZero(running.database_url) as fz:
        fz.users.add("ana", email="ana@private.example", password="correct horse")
    with pytest.raises(ConflictError), FastZero(running.database_url) as fz:
        fz.users.add("bob", email="Ana@private.example", password="correct horse")

    log = "\n".join(line.text for line in running.logs("database"))
    assert "uq_users_email" in log
    assert "private" not in log


def test_another_port_recreates_the_server_there_and_is_kept(running: Stack, free_port: int) -> None:
    told: list[Event] = []

    Stack("demo", on_event=told.append).up(port=free_port + 1)

    started = next(action for action in done(told) if action.verb is Verb.START)
    assert started.cause == f"its configuration changed: port: {free_port} → {free_port + 1}"

    assert running.status()[0].address == f"127.0.0.1:{free_port + 1}"
    assert ports.is_free("127.0.0.1", free_port)
    assert Stack("demo").plan() == []


def test_a_setting_that_postgres_refuses_is_unhealthy_with_its_own_words(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTZERO_POSTGRES_SETTINGS", '{"work_mem": "plenty"}')

    with pytest.raises(UnhealthyError) as caught:
        Stack("demo").up()

    assert caught.value.exit_code == 8
    assert 'invalid value for parameter "work_mem": "plenty"' in caught.value.evidence
    monkeypatch.delenv("FASTZERO_POSTGRES_SETTINGS")
    assert state_of(Stack("demo").up()) is ServiceState.RUNNING


def test_a_setting_that_postgres_refuses_leaves_the_server_running_as_it_was(
    running: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as environment:
        environment.setenv("FASTZERO_POSTGRES_SETTINGS", '{"work_mem": "plenty"}')
        with pytest.raises(UnhealthyError):
            Stack("demo").up()

    assert state_of(running) is ServiceState.RUNNING
    assert Stack("demo").plan() == []


def test_the_evidence_survives_that_a_long_log_is_set_aside(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastzero_core.stack.embedded.process.LOG_MAX", 10)
    monkeypatch.setenv("FASTZERO_POSTGRES_SETTINGS", '{"work_mem": "plenty"}')

    with pytest.raises(UnhealthyError) as caught:
        Stack("demo").up()

    assert "work_mem" in caught.value.evidence


def test_the_runtime_of_a_project_is_never_switched(stack: Stack) -> None:
    with pytest.raises(InvalidInputError, match="runs embedded, not docker") as caught:
        stack.up(runtime="docker")

    assert caught.value.field == "runtime"


def test_a_password_that_is_not_the_databases_is_told_as_such(running: Stack) -> None:
    (running.project.folder / "secrets" / "database_password").write_text("another")

    with pytest.raises(DatabaseLoginError) as caught:
        running.up()

    assert caught.value.exit_code == 5
    assert "doctor --fix" in caught.value.hint
    assert Processes(running.project.folder).find("database") is not None


# -- down and restart ------------------------------------------------------------------------------------------


def test_down_stops_and_keeps_the_data(running: Stack, working_on: WorkingOn, home: Path) -> None:
    with FastZero(running.database_url) as fz:
        fz.users.add("ana", email="ana@example.com", password="correct horse")

    stopped = running.down()

    assert steps(stopped) == ["stop process database"]
    assert working_on(home) == []
    assert state_of(running) is ServiceState.STOPPED
    assert ask(running.up(), "SELECT count(*) FROM users") == "1"


def test_down_shuts_the_server_down_cleanly(running: Stack) -> None:
    with psycopg.connect(running.database_url):  # a session does not hold it up
        running.down()

    log = Processes(running.project.folder).log_file("database", "stderr").read_text()
    assert "database system is shut down" in log


def test_down_again_has_nothing_to_do(stack: Stack) -> None:
    assert stack.down() == []


def test_down_of_what_never_was_has_nothing_to_do(home: Path) -> None:
    assert Stack("demo").down(volumes=True) == []
    assert not home.exists()


def test_down_with_volumes_destroys_data_secrets_and_record(running: Stack, home: Path, working_on: WorkingOn) -> None:
    destroyed = running.down(volumes=True)

    assert steps(destroyed) == ["stop process database", "remove data", "remove project"]
    assert working_on(home) == []
    assert [path.name for path in home.rglob("*") if path.is_file()] == ["demo.lock"]
    assert not embedded.SHARED_HOME.joinpath("clusters").exists() or not list(
        embedded.SHARED_HOME.glob("clusters/demo-*")
    )


def test_up_after_down_with_volumes_begins_anew(stack: Stack, free_port: int) -> None:
    password = stack.project.secret("database_password")
    stack.down(volumes=True)

    stack.up(port=free_port)

    assert stack.project.secret("database_password") != password
    assert ask(stack, "SELECT count(*) FROM users") == "0"


def test_restart_replaces_the_process(running: Stack) -> None:
    before = running.status()[0].pid

    running.restart()

    assert running.status()[0].pid != before
    assert state_of(running) is ServiceState.RUNNING


def test_restart_starts_what_is_stopped(stack: Stack) -> None:
    assert state_of(stack.restart("database")) is ServiceState.RUNNING


@pytest.mark.parametrize("question", [Stack.restart, Stack.logs])
def test_an_unknown_service_is_named_together_with_those_there_are(
    stack: Stack, question: Callable[[Stack, str], object]
) -> None:
    with pytest.raises(InvalidInputError, match="service 'cache' is not one of database"):
        question(stack, "cache")


def test_restart_of_what_never_was_is_not_found(home: Path) -> None:
    with pytest.raises(ProjectNotFoundError):
        Stack("demo").restart()


def test_restart_of_a_project_whose_first_up_was_interrupted_is_not_found(home: Path, free_port: int) -> None:
    Project("demo", home).save(ProjectRecord("embedded", {"database": free_port}))

    with pytest.raises(ProjectNotFoundError, match="no database yet"):
        Stack("demo").restart()


def test_the_status_of_what_never_was_is_empty(home: Path) -> None:
    assert Stack("demo").status() == []
    assert list_projects(Stack("demo").settings) == []


def test_projects_are_listed_with_their_state(running: Stack, home: Path) -> None:
    Project("begun", home).save(ProjectRecord("embedded"))

    found = {summary.project: summary.state for summary in list_projects(running.settings)}

    assert found == {"begun": ServiceState.ABSENT, "demo": ServiceState.RUNNING}


def test_the_logs_are_the_servers(running: Stack) -> None:
    texts = [line.text for line in running.logs(tail=50)]

    assert any("ready to accept connections" in text for text in texts)


# -- as a library ----------------------------------------------------------------------------------------------


def test_a_block_stops_what_it_started(stack: Stack) -> None:
    with stack.up():
        assert state_of(stack) is ServiceState.RUNNING

    assert state_of(stack) is ServiceState.STOPPED


def test_a_block_leaves_running_what_ran_before(running: Stack) -> None:
    with Stack("demo").up():
        pass

    assert state_of(running) is ServiceState.RUNNING


def test_a_block_that_fails_stops_what_it_started_too(stack: Stack) -> None:
    with pytest.raises(ZeroDivisionError), stack.up():
        raise ZeroDivisionError

    assert state_of(stack) is ServiceState.STOPPED


def test_a_process_that_ends_leaves_no_warning_behind(stack: Stack, run_python: RunPython) -> None:
    said, _ = run_python(
        "import warnings; warnings.simplefilter('error')\nfrom fastzero_core import Stack; Stack('demo').up()"
    ).communicate()

    assert said == ""
    assert state_of(stack) is ServiceState.RUNNING


# -- ports -----------------------------------------------------------------------------------------------------


def test_the_next_free_port_is_chosen_said_and_kept_when_the_default_is_taken(home: Path, default_port: int) -> None:
    told: list[Event] = []

    with socket.create_server(("127.0.0.1", default_port)):
        stack = Stack("demo", on_event=told.append).up()

    chosen = int(stack.status()[0].address.split(":")[1])
    assert chosen > default_port
    assert f"port {default_port} is taken; the database gets {chosen}" in texts(told)
    assert Stack("demo").plan() == []


def test_a_kept_port_that_is_taken_later_is_an_error_that_names_the_process(stack: Stack, free_port: int) -> None:
    with (
        socket.create_server(("127.0.0.1", free_port)),
        pytest.raises(PortTakenError, match=rf"port {free_port} .* \(pid {os.getpid()}\)") as caught,
    ):
        stack.up()

    assert caught.value.exit_code == 6
    record = stack.project.record
    assert record is not None
    assert record.ports == {"database": free_port}
    assert state_of(stack.up()) is ServiceState.RUNNING


def test_a_port_that_was_asked_for_and_is_taken_is_an_error(stack: Stack, free_port: int) -> None:
    with socket.create_server(("127.0.0.1", free_port + 1)), pytest.raises(PortTakenError):
        stack.up(port=free_port + 1)


def test_a_port_that_was_asked_for_is_not_said_to_be_taken(
    stack: Stack, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTZERO_DATABASE_PORT", str(free_port + 1))
    told: list[Event] = []

    Stack("demo", on_event=told.append).up()

    assert stack.status()[0].address == f"127.0.0.1:{free_port + 1}"
    assert not [text for text in texts(told) if "taken" in text]


def test_two_projects_get_two_ports_even_if_the_first_is_stopped(stack: Stack, default_port: int) -> None:
    other = Stack("other")

    other.up()

    assert stack.project.record
    assert other.project.record
    assert other.project.record.ports["database"] > stack.project.record.ports["database"]


def test_a_port_lost_between_the_check_and_the_start_of_a_first_up_is_replaced(
    home: Path, default_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    told_the_truth = ports.is_free

    def lies_at_first(host: str, port: int) -> bool:
        if len(lies) < 2:
            lies.append(port)
            return True
        return told_the_truth(host, port)

    lies: list[int] = []
    monkeypatch.setattr(ports, "is_free", lies_at_first)
    monkeypatch.setattr(embedded_runtime, "is_free", lies_at_first)
    with socket.create_server(("127.0.0.1", default_port)):
        stack = Stack("demo").up()

    assert lies == [default_port, default_port]
    assert int(stack.status()[0].address.split(":")[1]) > default_port
    assert state_of(stack) is ServiceState.RUNNING


def test_a_project_that_never_got_a_port_can_be_destroyed(stack: Stack) -> None:
    record = stack.project.record
    assert record is not None
    stack.project.save(ProjectRecord(record.runtime, {}, record.data))

    stack.down(volumes=True)

    assert not Path(record.data).exists()
    assert stack.project.record is None


def test_a_port_that_was_asked_for_in_vain_is_not_kept(home: Path, free_port: int, listening: int) -> None:
    stack = Stack("demo")
    with pytest.raises(PortTakenError):
        stack.up(port=listening)

    assert stack.project.record is None


# -- data that is gone -----------------------------------------------------------------------------------------


def test_data_that_vanished_is_never_replaced_by_an_empty_database_unasked(stack: Stack, working_on: WorkingOn) -> None:
    shutil.rmtree(data_of(stack))

    with pytest.raises(DataGoneError, match=r"data directory .* is gone") as gone:
        stack.up()
    assert gone.value.exit_code == 4
    assert "fastzero up --start-over" in gone.value.hint
    assert [finding.code for finding in stack.examine() if finding.result == "failed"] == ["data"]
    [status] = stack.status()
    assert status.detail.startswith("its data is gone")
    assert "fastzero db restore" in status.detail
    assert "fastzero up --start-over" in status.detail

    assert ask(stack.up(start_over=True), "SELECT count(*) FROM users") == "0"


def test_what_begins_anew_leaves_the_kept_place_alone(stack: Stack) -> None:
    record = stack.project.record
    assert record is not None
    kept = record.place
    lost = Place("embedded", data=f"{kept.data}-lost")
    stack.project.save(replace(record.at(lost), kept=(kept,)))

    said = steps(stack.plan(start_over=True))
    events: list[Event] = []
    Stack(stack.settings, on_event=events.append).up(start_over=True)

    assert said == steps(done(events))
    assert stack.kept == (kept,)
    assert ask(stack, "SELECT count(*) FROM users") == "0"
    stack.use_place(kept.name)
    assert data_of(stack) == Path(kept.data)
    assert stack.plan() == []


def test_the_place_in_service_is_never_destroyed_though_a_record_keeps_it(running: Stack) -> None:
    record = running.project.record
    assert record is not None
    running.project.save(replace(record, kept=(record.place,)))

    with pytest.raises(ConflictError, match="is in service"):
        running.discard_place(record.place.name)
    with pytest.raises(ConflictError, match="is in service"):
        running.discard_kept()

    assert ask(running, "SELECT count(*) FROM users") == "0"
    assert running.plan() == []


def test_a_database_that_is_there_is_begun_anew_neither_in_a_dry_run_nor_in_earnest(stack: Stack) -> None:
    for begin in (stack.plan, stack.up):
        with pytest.raises(ConflictError, match="exists: it is not replaced by an empty one"):
            begin(start_over=True)
        with pytest.raises(ConflictError, match="nothing of a project demo to take over"):
            begin(adopt=True)


def test_a_port_that_is_asked_for_and_taken_leaves_the_server_running(running: Stack) -> None:
    before, port = running.status()[0].pid, any_free_port()

    with socket.create_server(("127.0.0.1", port)), pytest.raises(PortTakenError):
        Stack("demo").up(port=port)

    assert running.status()[0].pid == before
    assert Stack("demo").plan() == []


def test_a_first_up_that_fails_lets_the_next_choose_the_runtime(
    home: Path, default_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as environment:
        environment.setenv("FASTZERO_POSTGRES_SETTINGS", '{"work_mem": "plenty"}')
        with pytest.raises(UnhealthyError):
            Stack("demo").up()

    assert Stack("demo").project.record is None
    assert working_files(home) == set()


def working_files(home: Path) -> set[str]:
    """What a project has besides its secrets, its logs and the lock."""
    aside = {"secrets", "logs", "locks"}
    return {path.name for path in home.rglob("*") if path.is_file() and not aside & set(path.parts)}
