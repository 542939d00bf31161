"""The first `up`, killed or interrupted at any moment, or run many times at once, is repaired by the next."""

import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from fastzero_core import Stack
from fastzero_core.polling import wait_until
from fastzero_core.schema.revisions import head_revision
from fastzero_core.stack.observed import ServiceState

from .conftest import SOON, RunPython, Template, WorkingOn

pytestmark = pytest.mark.slow

MOMENTS = 10
FIRST_UP = """
from fastzero_core import Stack
stack = Stack("demo")
print("begins", flush=True)
stack.up()
"""

KILLED_AT = """
import os, signal, sys
import pathlib
from fastzero_core import Stack
from fastzero_core.postgres import cluster
from fastzero_core.stack.embedded import process, runtime as embedded
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
{patch}
Stack("demo").up()
"""

RENAMED = """
rename = pathlib.Path.rename
def rename_and_die(path, target):
    rename(path, target)
    die()
pathlib.Path.rename = rename_and_die
"""


@pytest.fixture
def assert_repaired(home: Path, working_on: WorkingOn) -> Callable[[], None]:
    def check() -> None:
        [status] = Stack("demo").up().status()
        assert (status.state, status.revision) == (ServiceState.RUNNING, head_revision())
        assert wait_until(lambda: _strangers(working_on(home), status.pid) == [], SOON), "there are orphans"
        assert list(home.rglob(".data.init-*")) == []

    return check


def _strangers(found: list[psutil.Process], postmaster: int | None) -> list[str]:
    """Whatever is neither the server nor a part of it; what ends meanwhile does not count."""
    strangers = []
    for process in found:
        with suppress(psutil.NoSuchProcess):
            if postmaster not in (process.pid, process.ppid()):
                strangers.append(" ".join(process.cmdline()))
    return strangers


@pytest.mark.parametrize("moment", range(MOMENTS))
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_first_up_is_repaired_by_the_next(
    how: signal.Signals,
    moment: int,
    home: Path,
    free_port: int,
    monkeypatch: pytest.MonkeyPatch,
    run_python: RunPython,
    template: Template,
    assert_repaired: Callable[[], None],
) -> None:
    monkeypatch.setenv("FASTZERO_DATABASE_PORT", str(free_port))
    interrupted = run_python(FIRST_UP)
    assert interrupted.stdout is not None
    assert interrupted.stdout.readline() == "begins\n"
    with suppress(subprocess.TimeoutExpired):
        interrupted.wait(template.seconds * moment / (MOMENTS - 1))
    interrupted.send_signal(how)
    interrupted.wait()
    data = home / "projects" / "demo" / "data"
    finished = data.stat().st_ino if data.exists() else None

    assert_repaired()

    assert finished in (None, data.stat().st_ino), "data that was finished must never be replaced"


@pytest.mark.parametrize(
    "patch",
    [
        pytest.param("cluster._initdb = die", id="before initdb"),
        pytest.param(RENAMED, id="once the cluster has its name"),
        pytest.param("process.write_atomically = die", id="before the server is recorded"),
        pytest.param("embedded.wait_until = die", id="while the server starts"),
        pytest.param("from fastzero_core.schema import migrate; migrate.up = die", id="before the schema"),
    ],
)
def test_a_first_up_that_is_killed_between_two_steps_is_repaired_by_the_next(
    patch: str,
    home: Path,
    free_port: int,
    monkeypatch: pytest.MonkeyPatch,
    run_python: RunPython,
    assert_repaired: Callable[[], None],
) -> None:
    monkeypatch.setenv("FASTZERO_DATABASE_PORT", str(free_port))
    killed = run_python(KILLED_AT.format(patch=patch))
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    data = home / "projects" / "demo" / "data"
    finished = data.stat().st_ino if data.exists() else None

    assert_repaired()

    assert finished in (None, data.stat().st_ino), "data that was finished must never be replaced"


def test_an_interrupted_first_up_removes_what_it_began(
    home: Path, free_port: int, monkeypatch: pytest.MonkeyPatch, run_python: RunPython, working_on: WorkingOn
) -> None:
    monkeypatch.setenv("FASTZERO_DATABASE_PORT", str(free_port))
    interrupted = run_python(FIRST_UP)
    assert wait_until(lambda: list(home.rglob("cluster/base")) != [], SOON)

    interrupted.send_signal(signal.SIGINT)
    interrupted.wait()

    assert list(home.rglob(".data.init-*")) == []
    assert wait_until(lambda: working_on(home) == [], SOON)


def test_what_an_interrupted_first_up_left_is_destroyed_with_the_project(
    home: Path, free_port: int, monkeypatch: pytest.MonkeyPatch, run_python: RunPython, working_on: WorkingOn
) -> None:
    monkeypatch.setenv("FASTZERO_DATABASE_PORT", str(free_port))
    killed = run_python(FIRST_UP)
    assert wait_until(lambda: list(home.rglob("cluster/base")) != [], SOON)
    killed.kill()
    killed.wait()

    Stack("demo").down(volumes=True)

    assert wait_until(lambda: working_on(home) == [], SOON)
    assert [path.name for path in home.rglob("*") if path.is_file()] == ["demo.lock"]


@pytest.mark.parametrize("first", [True, False], ids=["from nothing", "with data"])
def test_five_ups_at_once_are_five_successes_and_one_server(
    first: bool,
    request: pytest.FixtureRequest,
    home: Path,
    free_port: int,
    monkeypatch: pytest.MonkeyPatch,
    run_python: RunPython,
    assert_repaired: Callable[[], None],
) -> None:
    if not first:
        request.getfixturevalue("stack")
    monkeypatch.setenv("FASTZERO_DATABASE_PORT", str(free_port))
    code = "from fastzero_core import Stack; print(Stack('demo').up().status()[0].pid)"

    ups = [run_python(code, env=dict(os.environ)) for _ in range(5)]
    said = [up.communicate()[0] for up in ups]

    assert [up.returncode for up in ups] == [0] * 5, said
    assert len(set(said)) == 1
    assert_repaired()
