"""A project of its own in one runtime, with an app and two users, driven by the command line."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil

from fastzero_core import FastZero, Stack, load_settings
from fastzero_core.errors import UserNotFoundError
from fastzero_core.polling import wait_until
from fastzero_core.stack.docker.containers import CLAIM, PROJECT
from fastzero_core.testing import docker_answers
from tests.api.client import answers
from tests.ports import any_free_port

from . import clock, disk
from .ledger import Row
from .writers import OWNER, PASSWORD

FASTZERO = (sys.executable, "-m", "fastzero_cli")
IN_MEMORY = Path("/dev/shm")
STATES_SETTLE = 60  # seconds; an archiver tries again after a while
PATIENCE = 600  # seconds for a command, and for whatever a slow machine takes
STRANGER = "bob"  # whose logins may be throttled: nobody writes as him
SETTINGS = {
    "NO_INPUT": "true",
    "TIMEOUT": "300",
    "ARGON2_TIME": "2",
    "ARGON2_MEMORY": "19456",
    "ARGON2_PARALLELISM": "1",
}
STAGING = (".*.init-*", "moving")


class CommandFailedError(Exception):
    """A command of fastzero that should have done its work."""


class World:
    """One project. It is up when this returns; `remove` takes everything away again."""

    def __init__(
        self,
        runtime: str,
        *,
        image: str = "postgres:18",
        workers: int = 1,
        on_small_disk: bool = False,
        is_archived: bool = False,
    ) -> None:
        self.runtime = runtime
        self.name = f"faults-{secrets.token_hex(3)}"
        self.folder = Path(tempfile.mkdtemp(prefix="fastzero-faults-", dir=IN_MEMORY if IN_MEMORY.is_dir() else None))
        self.folder.chmod(0o755)
        self.disk = disk.Disk(self.folder) if on_small_disk else None
        self.home = (self.disk.folder if self.disk and runtime == "embedded" else self.folder) / "home"
        self.ports = {"DATABASE_PORT": any_free_port(), "APP_PORT": any_free_port()}
        self.app_port = self.ports["APP_PORT"]
        self._image = image
        self._workers = workers
        self.archive = self.folder / "archive" if is_archived else None
        self._durations: dict[str, float] = {}
        try:
            self._set_up()
        except BaseException:
            self.remove()
            raise

    def _set_up(self) -> None:
        if self.disk and self.runtime == "docker":
            self.run("up", "--runtime", self.runtime, "--no-app")
            self._onto_the_disk(self.disk)
        began = time.monotonic()
        self.run("up", "--runtime", self.runtime)
        self.seconds_of_up = time.monotonic() - began
        if self.archive:
            self.archive.mkdir()
            self.run("db", "archive", "enable", "--to", self.archive.as_uri())
        with FastZero(self.database_url) as fz:
            for name in (OWNER, STRANGER):
                fz.users.add(name, email=f"{name}@example.com", password=PASSWORD)

    def _onto_the_disk(self, small: disk.Disk) -> None:
        """Put a volume on the small disk in the place of the one there is, with its data and its labels."""
        (place,) = self.stack.places()
        self.run("down")
        mounts = {place.volume: {"bind": "/from"}, str(small.folder): {"bind": "/to"}}
        self.engine.containers.run(
            self._image, ["-c", "cp -a /from/. /to/"], entrypoint="sh", user="root", volumes=mounts, remove=True
        )
        volume = self.engine.volumes.get(place.volume)
        labels = volume.attrs["Labels"]
        volume.remove()
        on_disk = {"type": "ext4", "device": small.device}
        self.engine.volumes.create(place.volume, driver="local", driver_opts=on_disk, labels=labels)

    # -- commands ----------------------------------------------------------------------------------------------

    def environment(self, settings: Mapping[str, str] | None = None) -> dict[str, str]:
        """This machine's environment, with the project's settings in the place of anybody's."""
        ours = {f"FASTZERO_{name}": value for name, value in {**self._settings(), **(settings or {})}.items()}
        return {**os.environ, **ours}

    def _settings(self) -> dict[str, str]:
        of_this = {"HOME": self.home, "PROJECT": self.name, "POSTGRES_IMAGE": self._image, "WORKERS": self._workers}
        return {name: str(value) for name, value in {**SETTINGS, **of_this, **self.ports}.items()}

    @property
    def stack(self) -> Stack:
        """The project, to look at it."""
        return Stack(load_settings(**{name.lower(): value for name, value in self._settings().items()}))

    @property
    def database_url(self) -> str:
        """The URL of the database with its current password."""
        return self.stack.database_url

    def run(self, *words: str, settings: Mapping[str, str] | None = None) -> str:
        """Run a command to its end. Returns its output; raises CommandFailedError."""
        began = time.monotonic()
        done = subprocess.run(
            [*FASTZERO, *words],
            cwd=self.folder,
            env=self.environment(settings),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        if done.returncode != 0:
            said = "\n".join(done.stderr.splitlines()[-8:])
            raise CommandFailedError(f"fastzero {' '.join(words)} ended with {done.returncode}: {said}")
        self._durations[words[0] if words[0] != "db" else words[1]] = time.monotonic() - began
        return done.stdout

    def ask(self, *words: str) -> Any:
        """What a command answers as JSON."""
        more = () if "--format" in words else ("-o", "json")
        return json.loads(self.run(*words, *more))

    def kill_command(self, *words: str, part: float, settings: Mapping[str, str] | None = None) -> None:
        """Start a command and kill it after a part of the time that it took last, or that an `up` takes."""
        name = words[0] if words[0] != "db" else words[1]
        process = subprocess.Popen(
            [*FASTZERO, *words],
            cwd=self.folder,
            env=self.environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        began = time.monotonic()
        with suppress(subprocess.TimeoutExpired):
            process.wait(part * self._durations.get(name, self.seconds_of_up))
            self._durations[name] = time.monotonic() - began
        process.kill()
        process.wait()

    @contextmanager
    def serving(self, variables: Mapping[str, str], database_port: int | None = None) -> Iterator[None]:
        """Have an app of our own, in a process with these variables, serve in the place of the stack's."""
        port, own = any_free_port(), self.ports["DATABASE_PORT"]
        url = self.database_url.replace(f":{own}/", f":{database_port or own}/")
        secret = (self.home / "projects" / self.name / "secrets" / "secret_key").read_text()
        serve = subprocess.Popen(
            [*FASTZERO, "serve", "--port", str(port)],
            cwd=self.folder,
            env={**self.environment(), **variables, "DATABASE_URL": url, "SECRET_KEY": secret},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: answers(port, "/readyz") or serve.poll() is not None, PATIENCE)
            if not answers(port, "/readyz"):
                raise CommandFailedError("fastzero serve did not become ready")
            self.app_port = port
            yield
        finally:
            self.app_port = self.ports["APP_PORT"]
            serve.terminate()
            serve.wait()

    # -- processes ---------------------------------------------------------------------------------------------

    def process(self, service: str) -> psutil.Process:
        """The process that a service runs as on this machine: PID 1 of its container."""
        (status,) = [each for each in self.stack.status() if each.service == service]
        if not status.pid:
            raise CommandFailedError(f"{service} has no process: {status.state}, {status.detail}")
        if self.in_containers:
            # An engine elsewhere has pids of its own, which are somebody else's here.
            container = self.engine.containers.get(f"fastzero-{self.name}-{service}")
            assert container.id in Path(f"/proc/{status.pid}/cgroup").read_text(), "the engine is not on this machine"
        return psutil.Process(status.pid)

    @property
    def in_containers(self) -> bool:
        """Whether the services run in containers at the moment."""
        return any(place.current and place.runtime == "docker" for place in self.stack.places())

    def servers(self, service: str) -> list[psutil.Process]:
        """The processes below it: PostgreSQL's backends and helpers, or the app's workers."""
        below = self.process(service).children(recursive=True)
        return [each for each in below if service == "database" or "spawn_main" in _command_line(each)]

    @cached_property
    def engine(self) -> Any:
        import docker

        return docker.from_env()

    # -- what there is -----------------------------------------------------------------------------------------

    def rows(self) -> list[Row]:
        """What the database holds; nothing where it was emptied."""
        with FastZero(self.database_url) as fz:
            try:
                return [Row(todo.title, todo.description) for todo in fz.todos(OWNER).stream()]
            except UserNotFoundError:
                return []

    def not_converged(self) -> str:
        """What `up` would still do, or what does not run; "" if all is as it should be."""
        if plan := self.stack.plan():
            return f"`up` would: {', '.join(map(str, plan))}"
        wait_until(lambda: set(self._states().values()) == {"running"}, STATES_SETTLE)
        states = self._states()
        return "" if states == dict.fromkeys(self.services, "running") else f"states: {states}"

    def _states(self) -> dict[str, str]:
        return {each.service: str(each.state) for each in self.stack.status()}

    @property
    def services(self) -> list[str]:
        return ["database", "app", *(["archiver"] if self.archive else [])]

    def leftovers(self) -> list[str]:
        """What belongs to no service: processes, staging folders, containers, volumes and networks."""
        in_containers = self.in_containers
        left = [*self._stray_processes(in_containers), *self._staging()]
        if docker_answers():
            left += self._strays_on_engine(
                in_containers, {place["volume"] for place in self.ask("db", "place", "list")}
            )
        return left

    def _stray_processes(self, in_containers: bool) -> list[str]:
        ours = set()
        if not in_containers:
            for service in self.services:
                main = self.process(service)
                if service == "archiver" and (supervisor := main.parent()):
                    ours.add(supervisor.pid)
                ours |= {main.pid, *(each.pid for each in main.children(recursive=True))}
        return [f"process {_command_line(each)}" for each in self._processes() if each.pid not in ours]

    def _processes(self) -> list[psutil.Process]:
        """The processes that work in this home, or were started with it in their environment."""
        return [each for each in psutil.process_iter() if _works_in(each, str(self.home))]

    def _staging(self) -> list[str]:
        folders = [name for _, names, _ in os.walk(self.home) for name in names]
        return [f"folder {name}" for name in folders if any(fnmatch(name, pattern) for pattern in STAGING)]

    def _strays_on_engine(self, in_containers: bool, volumes: set[str]) -> list[str]:
        ours = {"label": f"{PROJECT}={self.name}"}
        prefix = f"fastzero-{self.name}"
        expected = {f"{prefix}-{service}" for service in self.services} if in_containers else set()
        volumes = volumes | {f"{prefix}-archiver"} if in_containers and self.archive else volumes
        containers = {each.name for each in self.engine.containers.list(all=True, filters=ours, ignore_removed=True)}
        there = {each.name for each in self.engine.volumes.list(filters=ours) if CLAIM not in each.attrs["Labels"]}
        networks = [each.name for each in self.engine.networks.list(filters=ours)]
        return [
            *(f"container {name}" for name in sorted(containers - expected)),
            *(f"volume {name}" for name in sorted(there - volumes)),
            *(f"network {name}" for name in networks[1 if in_containers else 0 :]),
        ]

    def remove(self) -> list[str]:
        """Destroy the project. Returns what of it is left all the same."""
        left = []
        try:
            self.run("down", "--volumes", "--yes", "--no-backup")
        except (CommandFailedError, subprocess.TimeoutExpired) as error:
            left.append(str(error))
        wait_until(lambda: not self._processes(), 10)
        left += [f"process {_command_line(each)}" for each in self._processes()]
        if docker_answers():
            left += self._strays_on_engine(False, set())
        self._remove_by_force()
        return left

    def _remove_by_force(self) -> None:
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        if docker_answers():
            ours = {"label": f"{PROJECT}={self.name}"}
            for container in self.engine.containers.list(all=True, filters=ours, ignore_removed=True):
                container.remove(force=True, v=True)
            for thing in (*self.engine.networks.list(filters=ours), *self.engine.volumes.list(filters=ours)):
                thing.remove()
            if self._image == clock.IMAGE:
                self.engine.images.remove(self._image)
            self.engine.close()
        if self.disk:
            self.disk.remove()
        shutil.rmtree(self.folder, ignore_errors=True)


def _works_in(process: psutil.Process, home: str) -> bool:
    with suppress(psutil.Error, OSError):
        if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
            return False
        return process.cwd().startswith(home) or home in process.environ().values()
    return False


def _command_line(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""
