"""Describe an application: the content of `fastzero.toml`, checked and with defaults. Standard library only.

`None` instead of an Application means the built-in one. A command is one line, as typed in a shell. Commands and
variables may contain the placeholders that `placeholders.py` lists.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from ..postgres.provisions import DatabaseNeeds
from .placeholders import is_secret

WEB = "web"
DATABASE = "database"
NOTHING: Mapping[str, str] = MappingProxyType({})
NO_PORTS: Mapping[int, int] = MappingProxyType({})

Restart = Literal["on-failure", "always", "no"]


@dataclass(frozen=True)
class Process:
    """One process of the application, as in a Procfile.

    `port` is the preferred port on loopback, None for a process that does not listen on a port. `health` is the path
    that returns a status below 500 when the process is ready; "" accepts any HTTP answer, None accepts an open port. A
    process without a port is ready when it still runs after `grace_period` seconds. `stop_timeout` is the number of
    seconds between SIGTERM and SIGKILL. `tasks` is the number of replicas if one service of a swarm runs all of them.
    """

    name: str
    command: str
    port: int | None = None
    health: str | None = ""
    replicas: int = 1
    restart: Restart = "on-failure"
    grace_period: float = 2.0
    stop_timeout: float = 10.0
    tasks: int = 1


@dataclass(frozen=True)
class AlembicCommand:
    """The options and the target of an `alembic upgrade`. `config` is relative to the application's directory."""

    config: str = "alembic.ini"
    section: str = "alembic"
    target: str = "head"


@dataclass(frozen=True)
class Migrate:
    """How to migrate the schema to its newest revision. `command` is None for an application without migrations.

    `alembic` is None for other tools than Alembic: `migrate status`, `migrate down` and so on do not work with them.
    """

    command: str | None = None
    alembic: AlembicCommand | None = None


@dataclass(frozen=True)
class Build:
    """How to build the application's image. Paths are relative to the folder.

    If `dockerfile` is None, fastzero generates one that starts from `image`. If `image` is None too, it starts from
    the image of the Python version that the application needs.
    """

    dockerfile: str | None = None
    target: str | None = None
    context: str = "."
    arguments: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    image: str | None = None


@dataclass(frozen=True)
class Container:
    """How to confine the application's containers. `writable` are the paths inside that they can write to."""

    read_only: bool = True
    writable: tuple[str, ...] = ("/tmp",)  # noqa: S108  # inside the container, in memory
    user: str | None = None
    capabilities: tuple[str, ...] = ()
    memory: str | None = None


# The entrypoints of most images start as root, give the data to another user, and switch to that user.
ENTRYPOINT_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID")


@dataclass(frozen=True)
class ExtraService:
    """Another service besides the database, such as Redis.

    `ports` are the ports inside its container, the main one first; `published` maps some of them to fixed ports on this
    machine. `volume` is the path of its data inside. `health` is a command that succeeds when the service is ready;
    None means that its main port answers. `program` is the command that runs it without Docker, None if it needs
    Docker. The program listens on `{app_host}` and `{app_port}`, on `{app_port:N}` instead of another port N, and keeps
    its data in the working directory. Other fields do not have placeholders. `line` is its line in fastzero.toml.
    """

    name: str
    image: str
    ports: tuple[int, ...] = ()
    volume: str | None = None
    health: str | None = None
    command: str | None = None
    program: str | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    published: Mapping[int, int] = field(default_factory=lambda: NO_PORTS)
    container: Container = field(
        default_factory=lambda: Container(read_only=False, writable=(), capabilities=ENTRYPOINT_CAPABILITIES)
    )
    line: int = field(default=1, compare=False)


@dataclass(frozen=True)
class Application:
    """The user's own application.

    `folder` is the absolute path of the folder that contains `fastzero.toml`. Its commands run in `directory`, which is
    relative to `folder`, like `env_from` and `watch`. `python` is an interpreter, an environment's folder or a version.
    If `install` is None, the lock file determines the command (`installation.py`).
    """

    folder: Path
    directory: str = "."
    processes: tuple[Process, ...] = ()
    migrate: Migrate = field(default_factory=Migrate)
    after_migrate: str | None = None
    test: str = "pytest"
    environment: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    env_from: tuple[str, ...] = ()
    python: str | None = None
    install: str | None = None
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    build: Build = field(default_factory=Build)
    container: Container = field(default_factory=Container)
    database: DatabaseNeeds = field(default_factory=DatabaseNeeds)
    watch: tuple[str, ...] = ()
    services: tuple[ExtraService, ...] = ()

    @property
    def root(self) -> Path:
        """The absolute folder where its commands run."""
        return (self.folder / self.directory).resolve()

    @property
    def web(self) -> Process | None:
        """The process that answers HTTP, None for an application without one."""
        return next((process for process in self.processes if process.name == WEB), None)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The variables with a `{secret}`, which is generated once and kept."""
        return tuple(name for name, template in self.environment.items() if is_secret(template))
