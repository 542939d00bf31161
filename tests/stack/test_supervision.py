"""Processes that are started again when they end, as their restart policy says: by a supervisor beside each."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fastzero_core import Stack
from fastzero_core.polling import wait_until
from fastzero_core.stack.embedded.process import Processes
from fastzero_core.stack.embedded.supervision import Supervised, supervised
from fastzero_core.stack.observed import ServiceState
from fastzero_core.stack.spec import ServiceSpec
from tests.ports import any_free_port

from .conftest import SOON
from .own_app import answer, describe, started_by, states

NAME = "worker"
FOREVER = "sleep 1000"


@pytest.fixture
def processes(folder: Path) -> Iterator[Processes]:
    made = Processes(folder)
    yield made
    made.stop(NAME)
    made.end_orphans(NAME)


def start(processes: Processes, script: str, restart: str = "on-failure", retries: int = 2) -> None:
    service = ServiceSpec(NAME, 0, restart=restart, retries=retries)
    processes.start(NAME, supervised(service, ["sh", "-c", script], processes.state_file(NAME)))


def told(processes: Processes) -> Supervised:
    return processes.supervised(NAME) or Supervised()


def has_given_up(processes: Processes) -> bool:
    return wait_until(lambda: processes.find(NAME) is None, SOON)


def child(processes: Processes, restarts: int = 0) -> int:
    """The process that is supervised, once it has been started again so often."""
    assert wait_until(lambda: told(processes).pid != 0 and told(processes).restarts >= restarts, SOON)
    return told(processes).pid


# -- policies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "restarts", "ended"),
    [("exit 3", 2, "exit code 3"), ("exit 0", 0, "exit code 0"), ("kill -9 $$", 2, "SIGKILL")],
)
def test_on_failure_it_is_tried_again_so_often(processes: Processes, script: str, restarts: int, ended: str) -> None:
    start(processes, script)
    assert has_given_up(processes)
    assert told(processes) == Supervised(0, restarts, ended)


def test_always_means_after_a_success_too(processes: Processes) -> None:
    start(processes, "exit 0", "always", retries=0)
    child(processes, restarts=3)


def test_each_end_is_in_its_log(processes: Processes) -> None:
    start(processes, "exit 3")
    assert has_given_up(processes)
    assert [line.text for line in processes.logs([NAME])] == [
        "fastzero: it ended with exit code 3; it is started again in 0.1 s",
        "fastzero: it ended with exit code 3; it is started again in 0.2 s",
    ]


def test_a_command_that_is_not_there_is_told_in_its_log(processes: Processes) -> None:
    service = ServiceSpec(NAME, 0, restart="on-failure", retries=0)
    processes.start(NAME, supervised(service, ["nonsense"], processes.state_file(NAME)))
    assert has_given_up(processes)
    assert [line.text for line in processes.logs([NAME])] == [
        "fastzero: nonsense cannot be run: No such file or directory"
    ]


# -- ends --------------------------------------------------------------------------------------------------------


def test_one_that_is_killed_is_started_again(processes: Processes) -> None:
    start(processes, FOREVER)
    os.kill(child(processes), signal.SIGKILL)
    child(processes, restarts=1)


def test_a_stop_reaches_it_and_is_no_failure(processes: Processes) -> None:
    start(processes, "trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.01; done", "always")
    assert wait_until(lambda: "up" in [line.text for line in processes.logs([NAME])], SOON)
    pid = child(processes)

    assert processes.stop(NAME, timeout=SOON)

    assert not is_running(pid)
    assert [line.text for line in processes.logs([NAME])] == ["up", "bye"]


def test_a_stop_while_it_waits_to_be_started_again_ends_it(processes: Processes) -> None:
    start(processes, "exit 3", "always")
    assert wait_until(lambda: told(processes).restarts >= 4, SOON)
    assert processes.stop(NAME, timeout=SOON)
    assert processes.find(NAME) is None


def test_without_its_supervisor_it_does_not_run_on(processes: Processes) -> None:
    start(processes, f"{FOREVER} & echo up; {FOREVER}")
    pid = child(processes)
    assert wait_until(lambda: "up" in [line.text for line in processes.logs([NAME])], SOON)
    record = processes.recorded(NAME)
    assert record is not None
    os.kill(record.pid, signal.SIGKILL)

    assert wait_until(lambda: not is_running(pid), SOON)
    assert wait_until(lambda: processes.orphans(NAME) != [], SOON)  # what it had started itself
    processes.end_orphans(NAME)
    assert processes.orphans(NAME) == []


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


# -- in a stack --------------------------------------------------------------------------------------------------


def pids(stack: Stack) -> dict[str, int | None]:
    return {each.service: each.pid for each in stack.status()}


def kill(pid: int | None) -> None:
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.usefixtures("trusted_folder")
def test_whatever_is_killed_the_next_up_finds_one_of_each(home: Path, application: Path) -> None:
    stack = Stack().up(runtime="embedded", port=any_free_port())
    before = pids(stack)

    kill(before["web"])
    assert wait_until(lambda: pids(stack)["web"] not in (None, before["web"]), SOON)
    assert wait_until(lambda: states(stack)["web"] is ServiceState.RUNNING, SOON)
    assert answer(stack)["notes"] == 0
    [web] = [each for each in stack.status() if each.service == "web"]
    assert web.detail == "it ended with SIGKILL, and was started again 1 time"
    assert Stack().plan() == []

    supervisor = Processes(stack.project.folder).recorded("web")
    assert supervisor is not None
    for pid in (supervisor.pid, before["worker"], before["database"]):
        kill(pid)
    Stack().up()

    assert states(stack) == dict.fromkeys(("database", "web", "worker"), ServiceState.RUNNING)
    assert answer(stack)["notes"] == 0
    assert len(started_by(stack)) == 5  # a supervisor and a process each, and the server
    stack.down()
    assert started_by(stack) == []


@pytest.mark.slow
@pytest.mark.usefixtures("trusted_folder")
def test_a_crash_loop_is_told(home: Path, application: Path) -> None:
    describe(application, '\n[application.processes.flaky]\ncommand = "python flaky.py"\nrestart = "always"\n')
    (application / "flaky.py").write_text(
        "import os, time\nwhile not os.path.exists('broken'): time.sleep(0.05)\nexit(3)"
    )
    stack = Stack().up(runtime="embedded", port=any_free_port())
    (application / "broken").touch()

    def flaky() -> str:
        return next(each.detail for each in stack.status() if each.service == "flaky")

    assert wait_until(lambda: "exit code 3" in flaky() and "started again" in flaky(), SOON)
    assert wait_until(lambda: states(stack)["flaky"] is ServiceState.UNHEALTHY, SOON)
    assert any("it ended with exit code 3" in line.text for line in stack.logs("flaky"))
    stack.down()
    assert started_by(stack) == []
