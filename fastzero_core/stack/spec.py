"""What a project's stack should be. Pure: settings and the project's decisions in, specifications out."""

import hashlib
import json
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from ..application.description import DatabaseNeeds
from ..errors import InvalidInputError, VersionMismatchError
from ..postgres.configuration import arguments
from ..project import DATABASE_PORT, HOST, ROLES, SECRETS

if TYPE_CHECKING:
    from ..settings import Settings

DATABASE_SERVICE = "database"
APP_SERVICE = "app"
APP_PORT = 8000
DEFAULT_PORTS = {DATABASE_SERVICE: DATABASE_PORT, APP_SERVICE: APP_PORT}
PORT_OPTIONS = {DATABASE_SERVICE: "fastzero up --database-port {}", APP_SERVICE: "fastzero up --app-port {}"}
READINESS = "/readyz"
HEALTH = "/healthz"
CREDENTIALS = "CREDENTIALS_DIRECTORY"  # the variable, systemd's, that names the folder of a process's secrets
TMPFS = {"/tmp": "size=64m,mode=1777"}  # noqa: S108 - inside the container, whose root is read-only
RETRIES = 5
STOP_TIMEOUT = 60  # seconds for a database; less can cut its last checkpoint short


@dataclass(frozen=True)
class Build:
    """How the image of an application of the user's own is made from the files below a folder.

    `dockerfile` is a path below the folder, or the text of one that fastzero made, where `is_text` says so.
    """

    folder: str
    dockerfile: str
    is_text: bool = False
    target: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ServiceSpec:
    """One service: what it runs, where it listens, how it is configured, what it may use, how it is stopped.

    `is_extra` is one that is neither the database nor of the application, as Redis; what it runs is somebody else's.
    `described_at` is the file and line that chose its image, empty where a setting did.
    `port` is the one on `host`, `container_port` the one inside a container; both are 0 where it listens on none.
    `more_ports` are further ones inside, each with the one on `host`.
    `base_image` or `build` is set where the image is built, `volume` where a container has one, at `mount` unless it is
    the database's, `data` where a local server has its directory. A local process runs in `directory`, its
    `interpreter` before its command, and finds programs in `programs` first. `variables` are its environment,
    `secret_variables` what of it nobody else may see, with marks (`secret_mark`) in place of the project's secrets.
    `configuration` are a database server's own settings, `version_table` is where the revision of its schema is
    written, `needs` what its application needs in it. `readiness` is the path that answers once a process is ready: any
    answer will do where it is empty, an open port where it is None, and one without a port has to run for `grace`
    seconds. `migrates` are arguments that let it bring the schema to head itself. `roles` are those that a database
    should have, or that a process logs in as; `first_start` is a script that the database's image runs once, when it
    has made the data. `scratch` is a folder on the disk that goes with the container, which is read-only besides.
    `memory` is in bytes; 0 limits nothing. `port_choice` is what chooses the port, which takes the place of its braces.
    `document` is what a runtime makes the service from, once `Runtime.completed` has filled it in.
    """

    name: str
    port: int
    host: str = HOST
    is_database: bool = False
    is_extra: bool = False
    described_at: str = ""
    container_port: int = 0
    more_ports: Mapping[int, int] = field(default_factory=dict)
    image: str = ""
    base_image: str = ""
    build: Build | None = None
    volume: str = ""
    mount: str = ""
    data: str = ""
    directory: str = "/"
    interpreter: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    configuration: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    secret_variables: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    version_table: str = ""
    needs: DatabaseNeeds = field(default_factory=DatabaseNeeds)
    readiness: str | None = ""
    grace: float = 0
    migrates: tuple[str, ...] = ()
    health_command: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    roles: tuple[str, ...] = ROLES
    first_start: str = ""
    depends_on: tuple[str, ...] = ()
    stop_signal: str = "SIGTERM"
    stop_timeout: float = 10  # seconds
    user: str = ""
    read_only: bool = False
    capabilities: tuple[str, ...] = ()
    scratch: str = ""
    tmpfs: Mapping[str, str] = field(default_factory=dict)
    shared_memory: int = 0
    memory: int = 0
    cpus: int = 0
    pids: int = 0
    restart: str = "no"  # always, on-failure or no: whether the engine starts it again
    retries: int = 0  # how often, where it fails
    port_choice: str = PORT_OPTIONS[DATABASE_SERVICE]
    document: Mapping[str, Any] = field(default_factory=dict)

    def settings(self) -> dict[str, str]:
        """What people set of it, as flat text: what the cause of a recreation names."""
        made_of = {"image": self.image, "volume": self.volume, "command": shlex.join(self.command)}
        given = {name: value for name, value in made_of.items() if value}
        given |= {f"port {inside}": str(outside) for inside, outside in self.more_ports.items()}
        return {"host": self.host, "port": str(self.port), **given, **self.variables, **self.configuration}

    def having(self, settings: Mapping[str, str]) -> Self:
        """The local process as it is when these are its `settings()`."""
        aside = ("host", "port", "command", *(name for name in settings if name.startswith("port ")))
        rest = {name: value for name, value in settings.items() if name not in aside}
        return replace(
            self,
            host=settings["host"],
            port=int(settings["port"]),
            command=tuple(shlex.split(settings.get("command", ""))),
            variables={} if self.is_database else rest,
            configuration=rest if self.is_database else {},
        )

    @property
    def is_built(self) -> bool:
        """Whether its image is built here, and not pulled."""
        return bool(self.base_image or self.build)

    @property
    def config_hash(self) -> str:
        """Of everything whose change means that the service must be recreated: of the whole document."""
        made_of = self.document or self.settings()
        return hash_of({"document": made_of, "secret": self.secret_variables} if self.secret_variables else made_of)

    @property
    def major(self) -> int:
        """The major version that a PostgreSQL image is of."""
        return major_of(self.image)

    @property
    def arguments(self) -> tuple[str, ...]:
        """What its image is started with: the command, or the server with its settings; empty for the image's own."""
        if self.is_database and self.configuration:
            return ("postgres", *arguments(self.configuration))
        return self.command


@dataclass(frozen=True)
class Release:
    """What brings the schema to where the code of an application of the user's own needs it, before its processes run.

    `commands` are run one after the other where `service` would run. `head` is the revision that the code needs, as
    `1a2b` or `1a2b,3c4d`; it is empty where only the commands know, which then run before a process is started.
    """

    service: ServiceSpec
    commands: tuple[tuple[str, ...], ...]
    head: str = ""


@dataclass(frozen=True)
class StackSpec:
    """All services of a project: a database, extra services and processes, each after those it depends on.

    `release` brings the schema to where the code needs it; where there is none, fastzero brings it to its own head.
    """

    project: str
    services: tuple[ServiceSpec, ...]
    release: Release | None = None

    def service(self, name: str) -> ServiceSpec:
        return next(service for service in self.services if service.name == name)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(service.name for service in self.services)

    @property
    def secret_names(self) -> tuple[str, ...]:
        """The secrets of the project that its services need, its own first."""
        services = [*self.services, *([self.release.service] if self.release else [])]
        texts = [value for service in services for value in service.secret_variables.values()]
        return tuple(dict.fromkeys([*SECRETS, *(name for text in texts for name in _MARK.findall(text))]))

    @property
    def database(self) -> ServiceSpec:
        return next(service for service in self.services if service.is_database)

    @property
    def processes(self) -> tuple[ServiceSpec, ...]:
        """Those of the application."""
        return tuple(service for service in self.services if not service.is_database and not service.is_extra)

    @property
    def extras(self) -> tuple[ServiceSpec, ...]:
        """Those beside the database that the application needs, as Redis."""
        return tuple(service for service in self.services if service.is_extra)

    def named(self, service: str | None) -> tuple[str, ...]:
        """That service, or all. Raises InvalidInputError for an unknown one."""
        if service is not None and service not in self.names:
            raise InvalidInputError(f"service {service!r} is not one of {', '.join(self.names)}", field="service")
        return self.names if service is None else (service,)


_MARK = re.compile(r"fz-secret-(\w+)-zf")


def secret_mark(name: str) -> str:
    """Return what stands for a secret of the project in a variable; no quoting of a URL changes it."""
    return f"fz-secret-{name}-zf"


def with_secrets(text: str, secret: Callable[[str], str]) -> str:
    """Return a variable's value with every secret in place of its mark."""
    return _MARK.sub(lambda match: secret(match[1]), text)


def hash_of(document: Mapping[str, Any]) -> str:
    """A short hash of a document, the same in every process and in any order of keys."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]


def asked_ports(settings: "Settings", *, port: int | None = None, app_port: int | None = None) -> dict[str, int]:
    """The ports, by service, that flags or settings ask for."""
    asked = {
        DATABASE_SERVICE: port or settings.database_port,
        APP_SERVICE: app_port or settings.app_port,
    }
    return {service: number for service, number in asked.items() if number is not None}


def major_of(image: str) -> int:
    """18 of `postgres:18`, `postgres:18.1-bookworm` or `registry:5000/postgres:18`. Raises InvalidInputError."""
    tag = image.rpartition("/")[2].partition("@")[0].partition(":")[2]
    match = re.match(r"(\d+)(?:[.-]|$)", tag)
    if not match:
        raise InvalidInputError(
            f"image {image!r} has no major version in its tag",
            field="postgres_image",
            hint="Data of one major version does not start under another: name it, as postgres:18",
        )
    return int(match[1])


def data_mount(major: int) -> str:
    """Where the official image wants its volume, which moved with 18."""
    return "/var/lib/postgresql" if major >= 18 else "/var/lib/postgresql/data"


def with_major(image: str, major: int) -> str:
    """`postgres:18-bookworm` for `postgres:17.5-bookworm` and 18. Raises InvalidInputError."""
    major_of(image)
    name, _, tag = image.partition("@")[0].rpartition(":")
    return f"{name}:{re.sub('^[0-9]+([.][0-9]+)*', str(major), tag)}"


def other_major(volume: str, major: int, image: str) -> VersionMismatchError:
    """What to say of data that was made by another major version than an image has."""
    ours = major_of(image)
    upgrade = f", or bring it to {ours}: fastzero db upgrade --to {ours}" if ours > major else ""
    return VersionMismatchError(
        f"the data in volume {volume} was made by PostgreSQL {major}; {image} is {ours}",
        hint=f"Nothing was changed. Set FASTZERO_POSTGRES_IMAGE=postgres:{major}{upgrade}",
    )


def volume_name(project: str, service: str = DATABASE_SERVICE) -> str:
    """The volume that a service's data is in; the database may have been moved to another."""
    return f"fastzero-{project}-{service}"


def memory_of(amount: str | None) -> int:
    """Return an amount such as 512m in bytes, 0 for none."""
    return int(amount[:-1]) * 1024 ** ("kmg".index(amount[-1]) + 1) if amount else 0


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """What differs between two `settings()`, as `port: 5432 → 5433`."""
    names = sorted(before.keys() | after.keys())
    parts = [
        f"{name}: {before.get(name, 'unset')} → {after.get(name, 'unset')}"
        for name in names
        if before.get(name) != after.get(name)
    ]
    return ", ".join(parts)
