"""Stacks on real servers: `home` is where a test's projects live, and nothing of it runs on once the test is over.

`stack` has data, is at head and is stopped: a copy of one that was initialised once. `running` is the same, up.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from fastzero_core import Stack, load_settings
from fastzero_core.stack import stack as stack_module
from fastzero_core.stack.ports import is_free
from fastzero_core.stack.process import Processes, wait_until
from fastzero_core.stack.project import Project, make_folder, projects
from fastzero_core.stack.user import ServiceUser, service_user

RunPython = Callable[..., subprocess.Popen[str]]
WorkingOn = Callable[[Path], list[psutil.Process]]
KillServer = Callable[[Stack], int]


@dataclass(frozen=True)
class Template:
    """A project folder that was initialised, migrated and stopped, and how long its first `up` took."""

    folder: Path
    seconds: float

    def copy_to(self, home: Path, port: int) -> None:
        """Make it the project demo of that home."""
        project = Project("demo", home)
        make_folder(project.folder.parent, 0o711)
        subprocess.run(["cp", "-a", str(self.folder), str(project.folder)], check=True)
        record = project.record
        assert record is not None
        project.save(replace(record, ports={"database": port}, data=str(project.folder / "data")))


@pytest.fixture
def home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    home = folder / "home"
    monkeypatch.setenv("FASTZERO_HOME", str(home))
    yield home
    end_all(home)


@pytest.fixture
def free_port() -> int:
    return any_free_port()


def any_free_port() -> int:
    # Below those the system hands out itself, and not from `random`, which every xdist worker seeds alike.
    while not is_free("127.0.0.1", port := 15_000 + secrets.randbelow(15_000)):
        pass
    return port


@contextmanager
def new_home() -> Iterator[Path]:
    """A home for more than one test."""
    home = Path(tempfile.mkdtemp(dir=os.environ["_FASTZERO_TEST_SESSION"]))
    home.chmod(0o755)
    yield home
    end_all(home)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def listening(free_port: int) -> Iterator[int]:
    """A port that this very process listens on."""
    with socket.create_server(("127.0.0.1", free_port)):
        yield free_port


@pytest.fixture
def default_port(free_port: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """The port that a first `up` tries first, in place of one that a server of this machine may have."""
    monkeypatch.setitem(stack_module.DEFAULT_PORTS, "database", free_port)
    return free_port


@pytest.fixture(scope="session")
def template() -> Iterator[Template]:
    with new_home() as home:
        settings = load_settings(project="demo", home=home, database_port=any_free_port())
        began = time.monotonic()
        stack = Stack(settings).up()
        seconds = time.monotonic() - began
        stack.down()
        yield Template(stack.project.folder, seconds)


@pytest.fixture
def stack(home: Path, free_port: int, template: Template) -> Stack:
    template.copy_to(home, free_port)
    return Stack("demo")


@pytest.fixture
def running(stack: Stack) -> Stack:
    return stack.up()


@pytest.fixture
def run_python() -> Iterator[RunPython]:
    """Runs code in another process, by default with its output read by the test."""
    started: list[subprocess.Popen[str]] = []

    def run(code: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, **options}
        started.append(subprocess.Popen([sys.executable, "-c", code, *arguments], **options))
        return started[-1]

    yield run
    for process in started:
        with process:
            process.kill()


@pytest.fixture
def postgres_user() -> dict[str, Any]:
    """What makes `subprocess` run a program as the user whom PostgreSQL runs as."""
    user: ServiceUser | None = service_user()
    return user.popen_options() if user else {}


@pytest.fixture
def working_on() -> WorkingOn:
    return _working_on


@pytest.fixture
def kill_server() -> KillServer:
    """Kills the postmaster as the system's out-of-memory killer would; returns the pid it had."""

    def kill(stack: Stack) -> int:
        record = Processes(stack.project.folder).find("database")
        assert record is not None
        os.kill(record.pid, signal.SIGKILL)
        assert wait_until(lambda: Processes(stack.project.folder).find("database") is None, 10)
        return record.pid

    return kill


def _working_on(folder: Path) -> list[psutil.Process]:
    """Every process whose command line or working directory lies under the folder."""
    found = []
    for process in psutil.process_iter(["cwd", "cmdline", "status"]):
        said = [process.info["cwd"] or "", *(process.info["cmdline"] or [])]
        if process.info["status"] != psutil.STATUS_ZOMBIE and any(str(folder) in part for part in said):
            found.append(process)
    return found


def end_all(home: Path) -> None:
    for project in projects(home):
        processes = Processes(project.folder)
        for record in (project.folder / "processes").glob("*.json"):
            processes.stop(record.stem, stop_signal=signal.SIGQUIT)
    for process in _working_on(home):
        process.kill()
    assert wait_until(lambda: not _working_on(home), 10), "a test left processes behind"
