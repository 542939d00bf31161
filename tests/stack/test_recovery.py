"""Whatever happens to a server, the next `up` ends in one healthy server with every committed row."""

import json
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from fastzero_core import Stack
from fastzero_core.errors import DatabaseUnreachableError
from fastzero_core.polling import wait_until
from fastzero_core.stack import probe, wait
from fastzero_core.stack.actions import Verb
from fastzero_core.stack.embedded.process import Processes
from fastzero_core.stack.observed import ServiceState

from .conftest import SOON, KillServer, RunPython, WorkingOn

pytestmark = pytest.mark.slow

WRITERS = 3
ROUNDS = 5


def data_of(stack: Stack) -> Path:
    record = stack.project.record
    assert record is not None
    return Path(record.data)


def assert_one_healthy_server(stack: Stack, processes: list[psutil.Process]) -> None:
    [status] = stack.status()
    assert status.state is ServiceState.RUNNING
    family = {status.pid}
    assert {process.pid for process in processes if process.ppid() not in family} == family


@pytest.fixture
def stranger(postgres_user: dict[str, Any]) -> Iterator[psutil.Process]:
    """A live process of PostgreSQL's user that has nothing to do with PostgreSQL."""
    with subprocess.Popen(["sleep", "1000"], cwd="/", **postgres_user) as sleeping:
        yield psutil.Process(sleeping.pid)
        sleeping.kill()


def give_the_pid_to(stack: Stack, pid: int, stranger: int) -> None:
    """What a reboot does: the pid that the dead server's files name is another process's now."""
    locks = [data_of(stack) / "postmaster.pid", *data_of(stack).glob(".s.PGSQL.*.lock")]
    assert len(locks) == 2
    for lock in locks:
        lines = lock.read_text().splitlines()
        assert lines[0] == str(pid)
        lock.write_text("\n".join([str(stranger), *lines[1:]]) + "\n")


# -- killed ----------------------------------------------------------------------------------------------------


def test_a_killed_server_is_started_again_and_the_cause_says_so(
    running: Stack, kill_server: KillServer, working_on: WorkingOn, home: Path
) -> None:
    kill_server(running)
    assert (
        next(each for each in running.plan() if each.verb is Verb.START).cause
        == "its process is gone without having been stopped"
    )

    running.up()

    assert_one_healthy_server(running, working_on(home))


class Ledger:
    """Writers that note each row once its commit was acknowledged, and go on when the server is back."""

    def __init__(self, url: str) -> None:
        self.acknowledged: list[str] = []
        self._url = url
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(name,)) for name in range(WRITERS)]

    def __enter__(self) -> "Ledger":
        with psycopg.connect(self._url) as connection:
            connection.execute("CREATE TABLE ledger (entry text PRIMARY KEY)")
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _write(self, writer: int) -> None:
        number = 0
        while not self._ended.is_set():
            try:
                with psycopg.connect(self._url, autocommit=True) as connection:
                    while not self._ended.is_set():
                        number += 1  # never the same twice: whether an unconfirmed one is there is not known
                        entry = f"{writer}-{number}"
                        connection.execute("INSERT INTO ledger VALUES (%s)", [entry])
                        self.acknowledged.append(entry)
            except psycopg.OperationalError:
                self._ended.wait(0.01)

    def has_grown(self, rows: int = 50) -> bool:
        before = len(self.acknowledged)
        return wait_until(lambda: len(self.acknowledged) >= before + rows, SOON)


def test_every_acknowledged_row_is_there_after_the_server_was_killed_again_and_again(
    running: Stack, kill_server: KillServer
) -> None:
    with Ledger(running.database_url) as ledger:
        for _ in range(ROUNDS):
            assert ledger.has_grown()
            kill_server(running)
            acknowledged = set(ledger.acknowledged)

            running.up()

            with psycopg.connect(running.database_url) as connection:
                there = {row[0] for row in connection.execute("SELECT entry FROM ledger")}
            assert acknowledged - there == set()


def test_a_backend_that_goes_on_computing_does_not_keep_a_killed_server_from_coming_back(
    running: Stack, kill_server: KillServer, working_on: WorkingOn, home: Path
) -> None:
    with closing(psycopg.connect(running.database_url, autocommit=True)) as computing:
        backend = computing.info.backend_pid
        computing.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 1e12::bigint) AS n WHERE n % 7 = 3")
        kill_server(running)
        assert psutil.pid_exists(backend)

        running.up()

        assert backend not in {process.pid for process in working_on(home)}
        assert_one_healthy_server(running, working_on(home))


def test_a_suspended_backend_of_a_killed_server_never_meets_the_next_server(
    running: Stack, kill_server: KillServer, stranger: psutil.Process, working_on: WorkingOn, home: Path
) -> None:
    with closing(psycopg.connect(running.database_url)) as session:
        backend = session.info.backend_pid
        os.kill(backend, signal.SIGSTOP)
        pid = kill_server(running)
        # The pid file must keep what it knows of shared memory, or a second server would start beside the backend.
        give_the_pid_to(running, pid, stranger.pid)

        running.up()

        assert backend not in {process.pid for process in working_on(home)}
        assert_one_healthy_server(running, working_on(home))


@pytest.mark.skipif(not Path("/dev/shm").exists(), reason="Linux alone has files for its shared memory")
def test_a_killed_server_leaves_no_shared_memory_once_its_data_is_destroyed(
    running: Stack, working_on: WorkingOn, home: Path
) -> None:
    mapped = Path(f"/proc/{running.status()[0].pid}/maps").read_text()
    files = {Path(name) for name in re.findall(r"/dev/shm/PostgreSQL\.\d+", mapped)}
    assert files
    for process in working_on(home):
        process.kill()
    assert wait_until(lambda: not working_on(home), SOON)

    running.down(volumes=True)

    assert not any(file.exists() for file in files)


# -- rebooted --------------------------------------------------------------------------------------------------


def test_a_pid_file_that_names_nobody_is_no_obstacle(running: Stack, kill_server: KillServer) -> None:
    pid = kill_server(running)
    assert (data_of(running) / "postmaster.pid").read_text().splitlines()[0] == str(pid)

    assert running.up().status()[0].state is ServiceState.RUNNING


def test_a_pid_file_that_names_a_stranger_is_no_obstacle(
    running: Stack, kill_server: KillServer, stranger: psutil.Process
) -> None:
    give_the_pid_to(running, kill_server(running), stranger.pid)

    running.up()

    assert running.status()[0].state is ServiceState.RUNNING
    assert stranger.is_running()


def test_a_pid_file_that_names_another_projects_server_is_no_obstacle(
    running: Stack, kill_server: KillServer, default_port: int
) -> None:
    other = Stack("other")
    shutil.copytree(running.project.folder / "secrets", other.project.folder / "secrets")
    other.up()
    theirs = other.status()[0].pid
    assert theirs is not None
    give_the_pid_to(running, kill_server(running), theirs)

    running.up()

    assert running.status()[0].state is ServiceState.RUNNING
    assert other.status()[0].pid == theirs


def test_an_empty_pid_file_is_no_obstacle(running: Stack, kill_server: KillServer) -> None:
    kill_server(running)
    (data_of(running) / "postmaster.pid").write_text("")

    assert running.up().status()[0].state is ServiceState.RUNNING


def test_a_record_that_names_a_stranger_is_no_obstacle(
    running: Stack, kill_server: KillServer, stranger: psutil.Process
) -> None:
    kill_server(running)
    path = running.project.folder / "processes" / "database.json"
    before = json.loads(path.read_text())
    path.write_text(json.dumps({**before, "pid": stranger.pid, "created": before["created"] - 60}))

    running.up()

    assert running.status()[0].state is ServiceState.RUNNING
    assert stranger.is_running()


# -- silent ----------------------------------------------------------------------------------------------------


def test_a_server_that_does_not_answer_is_replaced_once_patience_ends(
    running: Stack, monkeypatch: pytest.MonkeyPatch, working_on: WorkingOn, home: Path
) -> None:
    monkeypatch.setattr(wait, "PATIENCE", 0.2)
    silent = running.status()[0].pid
    assert silent is not None
    os.kill(silent, signal.SIGSTOP)

    running.up()

    assert running.status()[0].pid != silent
    assert_one_healthy_server(running, working_on(home))


def test_the_status_of_a_server_that_does_not_answer_is_unhealthy_and_says_why(running: Stack) -> None:
    silent = running.status()[0].pid
    assert silent is not None
    os.kill(silent, signal.SIGSTOP)

    [status] = running.status()

    assert status.state is ServiceState.UNHEALTHY
    assert "does not answer" in status.detail


def test_a_server_that_answers_within_patience_is_left_alone(running: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = running.status()[0].pid
    assert silent is not None
    os.kill(silent, signal.SIGSTOP)
    ask = probe.revision_of

    def ask_and_wake(url: str, table: str) -> str | None:
        try:
            return ask(url, table)
        except DatabaseUnreachableError:
            os.kill(silent, signal.SIGCONT)
            raise

    monkeypatch.setattr(probe, "revision_of", ask_and_wake)

    running.up()

    assert running.status()[0].pid == silent


def test_a_crash_recovery_that_takes_longer_than_patience_is_waited_for(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, folder: Path, run_python: RunPython
) -> None:
    # Recovery asks for archived files first: until this command ends, the server is "starting up".
    go = folder / "go"
    wait_for_go = json.dumps({"restore_command": f"until test -e {go}; do sleep 0.05; done; false"})
    monkeypatch.setenv("FASTZERO_POSTGRES_SETTINGS", wait_for_go)
    signal_file = data_of(stack) / "recovery.signal"
    signal_file.touch()
    os.chown(signal_file, data_of(stack).stat().st_uid, -1)
    processes = Processes(stack.project.folder)
    interrupted = run_python("from fastzero_core import Stack; Stack('demo').up()")
    # Before its lock file is there, the process may still wait for the one that is killed here.
    started = data_of(stack) / "postmaster.pid"
    assert wait_until(lambda: processes.find("database") is not None and started.exists(), SOON)
    interrupted.kill()
    interrupted.wait()
    recovering = processes.find("database")
    assert recovering is not None
    refused: list[str] = []
    ask = probe.revision_of

    def ask_and_count(url: str, table: str) -> str | None:
        try:
            return ask(url, table)
        except DatabaseUnreachableError as error:
            refused.append(error.message)
            if len(refused) == 20:
                go.touch()
            raise

    monkeypatch.setattr(probe, "revision_of", ask_and_count)
    monkeypatch.setattr(wait, "PATIENCE", 0.1)
    patient = Stack("demo")

    patient.up()

    assert "starting up" in refused[-1]
    assert patient.status()[0].pid == recovering.pid
    assert patient.plan() == []
