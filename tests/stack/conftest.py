"""Stacks on real servers: `home` is where a test's projects live, and nothing of it runs on once the test is over.

`stack` has data, is at head and is stopped: a copy of one that was initialised once. `running` is the same, up.
"""

import gc
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from fastzero_core import FastZero, Stack, load_settings
from fastzero_core.events import ActionDone, Event, Listener, Notice, ignore
from fastzero_core.files import locked, make_folder
from fastzero_core.polling import wait_until
from fastzero_core.postgres.account import ServiceUser, service_user
from fastzero_core.project import Project, projects
from fastzero_core.stack.actions import Action, Kind, Verb
from fastzero_core.stack.built_in import stack_spec
from fastzero_core.stack.docker import image, images
from fastzero_core.stack.embedded.process import Processes
from fastzero_core.stack.spec import DEFAULT_PORTS
from fastzero_core.testing import session_folder
from tests import forked
from tests.ports import any_free_port

from .own_app import make_environment, write_application

SOON = 60  # seconds in which a condition must come true, on a slow machine too

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
def folder_of_app(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the application, where the test works."""
    made = write_application(folder / "application", any_free_port())
    monkeypatch.chdir(made)
    monkeypatch.setenv("FASTZERO_APP", "true")
    return made


@pytest.fixture
def application(folder_of_app: Path) -> Path:
    """The same, with its dependencies installed."""
    make_environment(folder_of_app)
    return folder_of_app


@pytest.fixture
def free_port() -> int:
    return any_free_port()


@contextmanager
def new_home() -> Iterator[Path]:
    """A home for more than one test."""
    home = Path(tempfile.mkdtemp(dir=session_folder()))
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
    monkeypatch.setitem(DEFAULT_PORTS, "database", free_port)
    return free_port


@pytest.fixture(scope="session")
def template() -> Iterator[Template]:
    with new_home() as home:
        settings = load_settings(
            project="demo", home=home, database_port=any_free_port(), runtime="embedded", app=False
        )
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
        started.append(forked.Popen([sys.executable, "-c", code, *arguments], **options))
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
        assert wait_until(lambda: Processes(stack.project.folder).find("database") is None, SOON)
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
    assert wait_until(lambda: not _working_on(home), SOON), "a test left processes behind"


@pytest.fixture
def unclosed_sockets() -> Iterator[None]:
    """The SDK leaves a socket that was refused to the garbage collector, which would blame some test for it."""
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        yield
        gc.collect()


# -- containers ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Contained:
    """A project in containers of its own name, and how the engine sees it."""

    engine: Any
    home: Path
    project: str
    ports: dict[str, int]

    def stack(self, *, on_event: Listener = ignore, **changed: Any) -> Stack:
        """The project's stack: the database alone unless `app=True`."""
        given = {"runtime": "docker", "app": False, "home": self.home, "project": self.project, **self.ports}
        return Stack(load_settings(**{**given, **changed}), on_event=on_event)

    def environment(self, **changed: str) -> dict[str, str]:
        """The same for another process."""
        given = {"runtime": "docker", "app": "false", "home": str(self.home), "project": self.project, **self.ports}
        return {
            **os.environ,
            **{f"FASTZERO_{name.upper()}": str(value) for name, value in {**given, **changed}.items()},
        }

    def name(self, service: str) -> str:
        return f"fastzero-{self.project}-{service}"

    def container(self, service: str) -> Any:
        return self.engine.containers.get(self.name(service))

    def all_containers(self) -> list[Any]:
        filters = {"label": f"fastzero.project={self.project}"}
        return list(self.engine.containers.list(all=True, filters=filters, ignore_removed=True))

    def services(self) -> set[str]:
        """The names of all its containers, without what they have in common."""
        return {each.name.removeprefix(self.name("")) for each in self.all_containers()}

    @property
    def volume(self) -> Any:
        return self.engine.volumes.get(self.name("database"))

    def has_volume(self) -> bool:
        return any(each.name == self.name("database") for each in self.engine.volumes.list())

    def has_network(self) -> bool:
        return bool(self.engine.networks.list(names=[self.name("")[:-1]]))

    def remove(self) -> None:
        for container in self.engine.containers.list(all=True, filters={"name": self.name("")}, ignore_removed=True):
            container.remove(force=True, v=True)
        for network in self.engine.networks.list(names=[self.name("")[:-1]]):
            network.remove()
        for volume in self.engine.volumes.list(filters={"name": self.name("")}):
            volume.remove(force=True)


@contextmanager
def up_in_containers(project: Contained) -> Iterator[Stack]:
    """The stack of the application in the current folder, up, and destroyed in the end."""
    settings = load_settings(project=project.project, home=project.home, runtime="docker", app=True)
    stack = Stack(settings).up(port=any_free_port(), timeout=SOON * 3)
    yield stack
    stack.down(volumes=True)


def in_mounted(engine: Any, volume: str, script: str) -> None:
    """Run a script on the resting data of a volume, mounted at /data, as root."""
    mounts = {volume: {"bind": "/data"}}
    made = engine.containers.create("postgres:18", ["-c", script], entrypoint="sh", user="root", volumes=mounts)
    try:
        made.start()
        assert made.wait()["StatusCode"] == 0
    finally:
        made.remove(force=True, v=True)  # the image declares a volume of its own


@contextmanager
def new_project(engine: Any) -> Iterator[Contained]:
    home = Path(tempfile.mkdtemp(dir=session_folder()))
    home.chmod(0o755)
    ports = {"database_port": any_free_port(), "app_port": any_free_port()}
    contained = Contained(engine, home, f"test-{secrets.token_hex(6)}", ports)
    yield contained
    contained.remove()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def engine() -> Iterator[Any]:
    """The Docker Engine, through a client of the tests' own."""
    import docker

    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture(scope="session")
def app_image(engine: Any) -> str:
    """The app's image, built once whichever worker comes first."""
    base = load_settings().python_image
    with locked(session_folder() / "image.lock"), new_project(engine) as project:
        stack = project.stack(app=True)
        spec = stack_spec(stack.settings, {"database": 1, "app": 1}, app_image=image.image_name(base), app=True)
        if not engine.images.list(name=spec.service("app").image):
            images.build(engine, spec.service("app"), ignore)
    return spec.service("app").image


@pytest.fixture
def contained(engine: Any, app_image: str) -> Iterator[Contained]:
    """A project that nothing was done with yet."""
    with new_project(engine) as project:
        yield project


@pytest.fixture(scope="session")
def served(engine: Any, app_image: str) -> Iterator[Contained]:
    """A project whose database and app run, for tests that leave it as it is."""
    with new_project(engine) as project:
        project.stack(app=True).up()
        yield project


def steps(actions: Iterable[Action]) -> list[str]:
    """What a plan does to services and data, without its waits and what it writes down."""
    aside = (Verb.WAIT, Verb.WRITE, Verb.FILL, Verb.CHECK)
    shown = [action for action in actions if action.verb not in aside and action.kind is not Kind.SECRET]
    return [f"{action.verb} {action.kind} {action.service}".rstrip() for action in shown]


def texts(events: Iterable[Event]) -> list[str]:
    """What was said to the person."""
    return [event.text for event in events if isinstance(event, Notice)]


def done(events: Iterable[Event]) -> list[Action]:
    """The actions that ended well."""
    return [event.action for event in events if isinstance(event, ActionDone)]


def add_user(stack: Stack, name: str = "ana") -> None:
    with FastZero(stack.database_url) as fz:
        fz.users.add(name, email=f"{name}@example.com", password="correct horse")


def users_of(stack: Stack) -> list[str]:
    with FastZero(stack.database_url) as fz:
        return [user.username for user in fz.users.stream()]


class Proxy:
    """A socket in front of another, until it is cut."""

    def __init__(self, path: Path, target: str) -> None:
        self._target = target
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._open: list[socket.socket] = []
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._target)
                self._open += [client, server]
                self.connections += 1
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """The engine is gone: nobody listens, and what was being said is broken off."""
        for each in (self._listener, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def engine_socket() -> str:
    return os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")


@pytest.fixture
def proxy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """What DOCKER_HOST names for this test: a way to the engine that can be cut."""
    made = Proxy(folder / "docker.sock", engine_socket())
    monkeypatch.setenv("DOCKER_HOST", f"unix://{folder / 'docker.sock'}")
    yield made
    made.cut()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of a module with IN_ORDER in the order of its file: each takes over the stack of the one before."""
    modules = {item.module for item in items if isinstance(item, pytest.Function)}
    for module in (each for each in modules if getattr(each, "IN_ORDER", False)):
        places = [n for n, item in enumerate(items) if isinstance(item, pytest.Function) and item.module is module]
        in_order = sorted((items[n] for n in places), key=lambda item: item.location[1] or 0)
        for n, item in zip(places, in_order, strict=True):
            items[n] = item
