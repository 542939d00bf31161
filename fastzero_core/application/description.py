"""The description of an application: what `fastzero.toml` says, checked and complete. Standard library only.

`None` in place of an Application means the built-in one. A command is a line as a person types it. Commands and
variables may hold placeholders, which `placeholders.py` lists.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from .placeholders import is_secret

WEB = "web"
DATABASE = "database"
NOTHING: Mapping[str, str] = MappingProxyType({})
NO_PORTS: Mapping[int, int] = MappingProxyType({})

Restart = Literal["on-failure", "always", "no"]


@dataclass(frozen=True)
class Process:
    """One process of the application, as a Procfile has it.

    `port` is the preferred port on loopback, None for a process that listens on none. `health` is the path that
    answers below 500 when the process is ready; "" takes any HTTP answer, None takes an open port. A process without
    a port is ready when it still runs after `grace_period` seconds.
    """

    name: str
    command: str
    port: int | None = None
    health: str | None = ""
    replicas: int = 1
    restart: Restart = "on-failure"
    grace_period: float = 2.0
    stop_timeout: float = 10.0


@dataclass(frozen=True)
class AlembicCommand:
    """The parts of a command that runs Alembic. `config` is relative to the application's directory."""

    config: str = "alembic.ini"
    section: str = "alembic"
    target: str = "head"


@dataclass(frozen=True)
class Migrate:
    """How the schema is brought to its newest revision. `command` None: there are no migrations.

    `alembic` is None for every other tool: then `migrate status`, `down` and so on do not apply.
    """

    command: str | None = None
    alembic: AlembicCommand | None = None


@dataclass(frozen=True)
class Build:
    """How the application's image is built. Paths are relative to the folder.

    `dockerfile` None: fastzero makes one, on top of `image` (None: of the Python that the application needs).
    """

    dockerfile: str | None = None
    target: str | None = None
    context: str = "."
    arguments: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    image: str | None = None


@dataclass(frozen=True)
class Container:
    """How the application's containers are confined. `writable`: paths inside that it may write to."""

    read_only: bool = True
    writable: tuple[str, ...] = ("/tmp",)  # noqa: S108  # the container's own, in memory
    user: str | None = None
    capabilities: tuple[str, ...] = ()
    memory: str | None = None


@dataclass(frozen=True)
class DatabaseNeeds:
    """What the application needs in its database beside its own tables."""

    schemas: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    superuser: bool = False


# What the entrypoints of most images do as root before they become another user: they make the data that user's.
ENTRYPOINT_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID")


@dataclass(frozen=True)
class ExtraService:
    """Another service beside the database, such as Redis.

    `ports` are those inside its container, the first is its main one; `published` has the ports on this machine that
    are chosen for some of them. `volume` is the path of its data inside. `health` is a command that succeeds when the
    service is ready; None: its main port answers. `program` runs it without Docker: a command that listens on
    `{app_host}` and `{app_port}`, on `{app_port:N}` in place of another port N, and keeps its data in the working
    directory; None: it needs Docker. Nothing else of a service has placeholders. `line` is where the file describes it.
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
    """An application of the user's own.

    `folder` is where `fastzero.toml` lies, absolute. `directory` is where its commands run, relative to it; `env_from`
    and `watch` are relative to the folder too. `python` is an interpreter, an environment's folder or a version.
    `install` None: the command follows from the lock file (`installation.py`).
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
        """The variables whose secret is generated once and kept."""
        return tuple(name for name, template in self.environment.items() if is_secret(template))
