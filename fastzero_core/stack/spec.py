"""What a project's stack should be. Pure: settings and the project's decisions in, specifications out."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from ..errors import InvalidInputError, VersionMismatchError
from ..project import DATABASE, HOST, ROLE, Place

if TYPE_CHECKING:
    from ..settings import Settings

DATABASE_SERVICE = "database"
APP_SERVICE = "app"
DATABASE_PORT, APP_PORT = 5432, 8000
DEFAULT_PORTS = {DATABASE_SERVICE: DATABASE_PORT, APP_SERVICE: APP_PORT}
BUILTIN_LOCALE_SINCE = 17
STOP_TIMEOUT = 60  # seconds for a database; less can cut its last checkpoint short


@dataclass(frozen=True)
class ServiceSpec:
    """One service: what it runs, where it listens, how it is configured, which secrets it is handed, how it is stopped.

    `port` is the one on `host`, `container_port` the one inside a container. `base_image` is set where the image is
    built from it, `volume` where a container has one. `configuration` are the server's own settings,
    `workers` the processes that serve at once.
    """

    name: str
    port: int
    host: str = HOST
    container_port: int = 0
    image: str = ""
    base_image: str = ""
    volume: str = ""
    configuration: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    workers: int = 1
    health_command: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    stop_signal: str = "SIGTERM"
    stop_timeout: float = 10  # seconds

    def settings(self) -> dict[str, str]:
        """Everything whose change means that the service must be recreated, as flat text."""
        made_of = {"image": self.image, "volume": self.volume, "command": " ".join(self.command)}
        given = {name: value for name, value in made_of.items() if value}
        return {"host": self.host, "port": str(self.port), **given, **self.variables, **self.configuration}

    def having(self, settings: Mapping[str, str]) -> Self:
        """The local process as it is when these are its `settings()`."""
        rest = {name: value for name, value in settings.items() if name not in ("host", "port", "command")}
        is_server = self.name == DATABASE_SERVICE
        return replace(
            self,
            host=settings["host"],
            port=int(settings["port"]),
            command=tuple(settings.get("command", "").split()),
            variables={} if is_server else rest,
            configuration=rest if is_server else {},
        )

    @property
    def config_hash(self) -> str:
        return hashlib.sha256(json.dumps(self.settings(), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def major(self) -> int:
        """The major version that a PostgreSQL image is of."""
        return major_of(self.image)


@dataclass(frozen=True)
class StackSpec:
    """All services of a project, each behind those it depends on."""

    project: str
    services: tuple[ServiceSpec, ...]

    def service(self, name: str) -> ServiceSpec:
        return next(service for service in self.services if service.name == name)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(service.name for service in self.services)


def stack_spec(
    settings: "Settings",
    ports: Mapping[str, int],
    *,
    app_image: str = "",
    app: bool = False,
    place: Place | None = None,
) -> StackSpec:
    """The stack that the settings ask for, on the ports that the project was given.

    With `app_image` its services are containers. `place` is where the database was moved to, if it was.
    Raises InvalidInputError for an image without a major version.
    """
    port = ports[DATABASE_SERVICE]
    if app_image:
        image = place.image if place else settings.postgres_image
        volume = place.volume if place else volume_name(settings.project)
        services = [_database(settings, port, image, volume)]
    else:
        services = [_database(settings, port)]
    if app:
        services.append(_app(settings, ports, app_image))
    return StackSpec(settings.project, tuple(services))


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


def volume_name(project: str) -> str:
    """The volume that a project's data is in, unless it was moved."""
    return f"fastzero-{project}-{DATABASE_SERVICE}"


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """What differs between two `settings()`, as `port: 5432 → 5433`."""
    names = sorted(before.keys() | after.keys())
    parts = [
        f"{name}: {before.get(name, 'unset')} → {after.get(name, 'unset')}"
        for name in names
        if before.get(name) != after.get(name)
    ]
    return ", ".join(parts)


def _database(settings: "Settings", port: int, image: str = "", volume: str = "") -> ServiceSpec:
    return ServiceSpec(
        name=DATABASE_SERVICE,
        port=port,
        container_port=DATABASE_PORT,
        image=image,
        volume=volume,
        configuration=dict(settings.postgres_settings),
        variables=_postgres_variables(image) if image else {},
        health_command=("pg_isready", "-h", "127.0.0.1", "-U", ROLE, "-d", DATABASE),
        secrets=("database_password",),
        stop_signal="SIGINT",  # PostgreSQL's fast shutdown, which ends sessions and writes a checkpoint
        stop_timeout=STOP_TIMEOUT,
    )


def _postgres_variables(image: str) -> dict[str, str]:
    """What the official image is told: https://hub.docker.com/_/postgres"""
    # The builtin locale depends on no C library, whose next version would sort differently.
    builtin = "--locale-provider=builtin --builtin-locale=C.UTF-8"
    locale = builtin if major_of(image) >= BUILTIN_LOCALE_SINCE else "--locale=C.UTF-8"
    return {
        "POSTGRES_USER": ROLE,
        "POSTGRES_DB": DATABASE,
        "POSTGRES_PASSWORD_FILE": "/run/secrets/database_password",
        "POSTGRES_INITDB_ARGS": f"--encoding=UTF8 {locale} --data-checksums",
        # For psql, run in the container.
        "PGUSER": ROLE,
        "PGDATABASE": DATABASE,
    }


def _app(settings: "Settings", ports: Mapping[str, int], image: str) -> ServiceSpec:
    port = ports[APP_SERVICE]
    listen = ("--host", "0.0.0.0") if image else ("--host", HOST, "--port", str(port))  # noqa: S104 - in a container
    url = f"http://127.0.0.1:{APP_PORT}/readyz"
    # Inside their own network the database's port never changes.
    database = {} if image else {"FASTZERO_DATABASE_PORT": str(ports[DATABASE_SERVICE])}
    return ServiceSpec(
        name=APP_SERVICE,
        port=port,
        container_port=APP_PORT,
        image=image,
        base_image=settings.python_image if image else "",
        variables={**database, **settings.app_variables()},
        command=("serve", *listen, "--workers", str(settings.workers)),
        workers=settings.workers,
        health_command=("python", "-c", f"import urllib.request; urllib.request.urlopen({url!r}, timeout=2)"),
        secrets=("database_url", "secret_key"),
        depends_on=(DATABASE_SERVICE,),
    )
