"""The specification of a project's stack. Pure."""

import hashlib
import json
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from ..errors import InvalidInputError, VersionMismatchError
from ..postgres.configuration import arguments
from ..postgres.provisions import DatabaseNeeds
from ..project import DATABASE_PORT, HOST, ROLES, SECRETS

if TYPE_CHECKING:
    from ..settings import Settings
    from .deployed import Deployment

DATABASE_SERVICE = "database"
PROXY, GATEWAY = "proxy", "gateway"  # of a swarm: see `edge`
APP_SERVICE = "app"
APP_PORT = 8000
DEFAULT_PORTS = {DATABASE_SERVICE: DATABASE_PORT, APP_SERVICE: APP_PORT}
PORT_OPTIONS = {DATABASE_SERVICE: "fastzero up --database-port {}", APP_SERVICE: "fastzero up --app-port {}"}
READINESS = "/readyz"
HEALTH = "/healthz"
CREDENTIALS = "CREDENTIALS_DIRECTORY"  # systemd's variable for the folder with a process's secrets
TMPFS = {"/tmp": "size=64m,mode=1777"}  # noqa: S108 - inside the container, whose root is read-only
RETRIES = 5
SLOWEST_TASK = 90  # seconds, after which a swarm gives a task up
STORES = "stores"  # the network of a database's etcds, which only its servers join besides
STOP_TIMEOUT = 60  # seconds for a database; less can cut its last checkpoint short


@dataclass(frozen=True)
class Build:
    """How the image of a user's application is built from the files in a folder.

    `dockerfile` is a path in the folder or, if `is_text` is set, the text of a generated Dockerfile.
    """

    folder: str
    dockerfile: str
    is_text: bool = False
    target: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Mount:
    """A further volume of a container, or, if `source` is an absolute path, a folder of the engine's machine."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class ServiceSpec:
    """One service: what it runs, where it listens, its configuration, its limits, and how it is stopped.

    `is_extra` marks a service that is neither the database nor a process of the application, such as Redis, and runs
    third-party software. `described_at` is the file and line that name its image, "" if a setting does. `port` is the
    port on `host`, `container_port` the one inside a container; both are 0 if it does not listen. `more_ports` are
    further ports inside, each with its port on `host`. `base_image` or `build` is set if the image is built; with the
    first, `recipe` says how, as the app's if it is "". `volume` is the volume of a container, at `mount` except for the
    database's; `mounts` are further ones. `data` is the data directory of a local server. A local process runs in
    `directory`, with `interpreter` before its command, and with `programs` first in PATH. `variables` are its
    environment, and `secret_variables` the secret part of it, with marks (`secret_mark`) in place of the project's
    secrets. `entrypoint` is what a container runs instead of its image's, `configuration` are the settings of a
    database server, `version_table` is the table with the revision of its schema, `needs` is what the application needs
    in it. `readiness` is the path that answers once a process is ready: if it is "", any answer is accepted; if it is
    None, an open port is enough. A process without a port must run for `grace` seconds. `migrates` are arguments with
    which it migrates the schema to head itself. `roles` are those that a database should have, or that a process logs
    in as. `first_start` is a script that the database's image runs once it has created the data. `scratch` is a folder
    on disk that is removed with the container, which is otherwise read-only. `memory` is in bytes; 0 sets no limit.
    `port_choice` says how to choose another port, which replaces its braces. `deploy` is set for a service of a swarm.
    `document` is what a runtime creates the service from, set by `Runtime.completed`. `database_at` are the options of
    the URL by which it reaches a database with standbys.
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
    recipe: str = ""
    build: Build | None = None
    volume: str = ""
    mount: str = ""
    mounts: tuple[Mount, ...] = ()
    data: str = ""
    directory: str = "/"
    interpreter: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    configuration: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    secret_variables: Mapping[str, str] = field(default_factory=dict)
    entrypoint: tuple[str, ...] = ()
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
    restart: str = "no"  # always, on-failure or no
    retries: int = 0  # maximum number of restarts on failure
    port_choice: str = PORT_OPTIONS[DATABASE_SERVICE]
    deploy: "Deployment | None" = None
    document: Mapping[str, Any] = field(default_factory=dict)
    database_at: Mapping[str, str] = field(default_factory=dict)

    @property
    def published(self) -> frozenset[int]:
        """The ports on `host`."""
        return frozenset({self.port, *self.more_ports.values()} - {0})

    @property
    def url(self) -> str:
        """Where browsers reach a process of the application, by TLS if `host` is a domain; "" if they cannot."""
        if not self.port or self.is_database or self.is_extra:
            return ""
        return f"https://{self.host}" if self.host != HOST else f"http://{self.host}:{self.port}"

    def settings(self) -> dict[str, str]:
        """Return the settings that users can change, as flat text. The cause of a recreation names them."""
        made_of = {"image": self.image, "volume": self.volume, "command": shlex.join(self.command)}
        given = {name: value for name, value in made_of.items() if value}
        given |= self.deploy.settings() if self.deploy else {}
        given |= {f"port {inside}": str(outside) for inside, outside in self.more_ports.items()}
        return {"host": self.host, "port": str(self.port), **given, **self.variables, **self.configuration}

    def having(self, settings: Mapping[str, str]) -> Self:
        """Return the local process with these `settings()`."""
        aside = ("host", "port", "command", *(name for name in settings if name.startswith("port ")))
        rest = {name: value for name, value in settings.items() if name not in aside}
        return replace(
            self,
            host=settings["host"],
            port=int(settings["port"]),
            command=tuple(shlex.split(settings.get("command", ""))),
            variables={name: value for name, value in rest.items() if not self.is_database or name.isupper()},
            configuration={name: value for name, value in rest.items() if self.is_database and not name.isupper()},
        )

    @property
    def is_member(self) -> bool:
        """Whether it belongs to a database with standbys. Its volume is made by the engine of its own node."""
        return self.deploy is not None and STORES in self.deploy.networks

    @property
    def volumes(self) -> tuple[str, ...]:
        """The volumes that it has on the engine of its node, by name."""
        others = (each.source for each in self.mounts if not each.source.startswith("/"))
        return tuple(name for name in (self.volume, *others) if name)

    @property
    def is_built(self) -> bool:
        """Whether its image is built, and not pulled."""
        return bool(self.base_image or self.build)

    @property
    def config_hash(self) -> str:
        """A hash of the document and the secret variables. If it changes, the service must be recreated."""
        made_of = self.document or self.settings()
        return hash_of({"document": made_of, "secret": self.secret_variables} if self.secret_variables else made_of)

    @property
    def secrets_in_variables(self) -> tuple[str, ...]:
        """The names of the project's secrets in its variables, which a process reads only when it starts."""
        return tuple(dict.fromkeys(name for text in self.secret_variables.values() for name in _MARK.findall(text)))

    @property
    def major(self) -> int:
        """The major version of its PostgreSQL image."""
        return major_of(self.image)

    @property
    def arguments(self) -> tuple[str, ...]:
        """The arguments of its image: the command, or the server with its settings; empty for the image's default."""
        if self.is_database and self.configuration:
            return ("postgres", *arguments(self.configuration))
        return self.command


@dataclass(frozen=True)
class Release:
    """What migrates the schema to the revision that a user's application needs, before its processes run.

    `commands` run one after the other in the place of `service`. `locks` says that they keep other migrations waiting
    themselves. `head` is the revision that the code needs, as `1a2b`
    or `1a2b,3c4d`; if only the commands know it, it is "", and they run each time before a process is started.
    """

    service: ServiceSpec
    commands: tuple[tuple[str, ...], ...]
    head: str = ""
    locks: bool = False


@dataclass(frozen=True)
class StackSpec:
    """All services of a project: a database, extra services and processes, each after those it depends on.

    `release` migrates the schema of a user's application. Without it, fastzero migrates the schema to its own head.
    `shared` is the configuration of a database with standbys, which has several servers; it is empty for one server.
    """

    project: str
    services: tuple[ServiceSpec, ...]
    release: Release | None = None
    shared: Mapping[str, Any] = field(default_factory=dict)

    def service(self, name: str) -> ServiceSpec:
        return next(service for service in self.services if service.name == name)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(service.name for service in self.services)

    @property
    def secret_names(self) -> tuple[str, ...]:
        """The secrets of the project that its services need, fastzero's own first."""
        services = [*self.services, *([self.release.service] if self.release else [])]
        of_servers = self.database.secrets if self.shared else ()
        in_variables = (name for each in services for name in each.secrets_in_variables)
        return tuple(dict.fromkeys([*SECRETS, *of_servers, *in_variables]))

    @property
    def database(self) -> ServiceSpec:
        """The server of the database, or the first of several: its port leads to the one that accepts writes."""
        return self.servers[0]

    @property
    def servers(self) -> tuple[ServiceSpec, ...]:
        return tuple(service for service in self.services if service.is_database)

    @property
    def processes(self) -> tuple[ServiceSpec, ...]:
        """The processes of the application."""
        return tuple(service for service in self.services if not service.is_database and not service.is_extra)

    @property
    def members(self) -> tuple[ServiceSpec, ...]:
        """The servers and the etcds of a database with standbys."""
        return tuple(service for service in self.services if service.is_member)

    @property
    def networks(self) -> tuple[str, ...]:
        """The networks besides the project's own."""
        return (STORES,) if self.shared else ()

    @property
    def extras(self) -> tuple[ServiceSpec, ...]:
        """The extra services that the application needs besides the database, such as Redis."""
        return tuple(service for service in self.services if service.is_extra)

    def named(self, service: str | None) -> tuple[str, ...]:
        """Return that service, of a database all servers, or all names if it is None. Raises InvalidInputError."""
        if service == DATABASE_SERVICE:
            return tuple(each.name for each in self.servers)
        if service is not None and service not in self.names:
            raise InvalidInputError(f"service {service!r} is not one of {', '.join(self.names)}", field="service")
        return self.names if service is None else (service,)


_MARK = re.compile(r"fz-secret-(\w+)-zf")


def secret_mark(name: str) -> str:
    """Return the mark of a project's secret in a variable. Quoting in a URL does not change it."""
    return f"fz-secret-{name}-zf"


def with_secrets(text: str, secret: Callable[[str], str]) -> str:
    """Return a variable's value with each mark replaced by its secret."""
    return _MARK.sub(lambda match: secret(match[1]), text)


def hash_of(document: Mapping[str, Any]) -> str:
    """Return a short hash of a document. It is the same in every process, and for any order of keys."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]


def asked_ports(settings: "Settings", *, port: int | None = None, app_port: int | None = None) -> dict[str, int]:
    """Return the ports that flags or settings request, by service."""
    asked = {
        DATABASE_SERVICE: port or settings.database_port,
        APP_SERVICE: app_port or settings.app_port,
    }
    return {service: number for service, number in asked.items() if number is not None}


def major_of(image: str) -> int:
    """Return the major version in an image's tag, as 18 of `postgres:18.1-bookworm` or `registry:5000/postgres:18`.

    Raises InvalidInputError for a tag without one.
    """
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
    """Return where the official image expects its volume, which changed in 18."""
    return "/var/lib/postgresql" if major >= 18 else "/var/lib/postgresql/data"


def data_folder(major: int) -> str:
    """Return where the official image has its data directory."""
    return f"{data_mount(major)}/{major}/docker" if major >= 18 else data_mount(major)


def with_major(image: str, major: int) -> str:
    """Return `postgres:18-bookworm` for `postgres:17.5-bookworm` and 18. Raises InvalidInputError."""
    major_of(image)
    name, _, tag = image.partition("@")[0].rpartition(":")
    return f"{name}:{re.sub('^[0-9]+([.][0-9]+)*', str(major), tag)}"


def other_major(volume: str, major: int, image: str) -> VersionMismatchError:
    """Return the error for data that was created by another major version than the image's."""
    ours = major_of(image)
    upgrade = f", or upgrade it to {ours}: fastzero db upgrade --to {ours}" if ours > major else ""
    return VersionMismatchError(
        f"the data in volume {volume} was made by PostgreSQL {major}; {image} is {ours}",
        hint=f"Nothing was changed. Set FASTZERO_POSTGRES_IMAGE=postgres:{major}{upgrade}",
    )


def volume_name(project: str, service: str = DATABASE_SERVICE) -> str:
    """Return the default name of a service's volume. A database may have been moved to another volume."""
    return f"fastzero-{project}-{service}"


def memory_of(amount: str | None) -> int:
    """Return an amount such as 512m in bytes, 0 for None."""
    return int(amount[:-1]) * 1024 ** ("kmg".index(amount[-1]) + 1) if amount else 0


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return the differences between two `settings()`, as `port: 5432 → 5433`."""
    names = sorted(before.keys() | after.keys())
    parts = [
        f"{name}: {before.get(name, 'unset')} → {after.get(name, 'unset')}"
        for name in names
        if before.get(name) != after.get(name)
    ]
    return ", ".join(parts)


def writable_folders(paths: Iterable[str], user: str) -> dict[str, str]:
    """Return the options of folders in memory that a user of a container, as `uid:gid`, may write to.

    runc before 1.2 gives such a folder the mode of the image's one, so that only its owner can write to it.
    """
    numbers = re.fullmatch(r"(\d+)(?::(\d+))?", user)
    owner = f",uid={numbers[1]},gid={numbers[2] or numbers[1]}" if numbers else ""
    return {path: f"{TMPFS['/tmp']}{owner if path not in TMPFS else ''}" for path in paths}  # noqa: S108 - see TMPFS
