"""Return the stack that settings describe: the database, and the built-in application. Pure."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..archive.description import Archive
from ..postgres.configuration import initdb_locale
from ..postgres.roles import APP, OWNER, SUPERUSER, creation
from ..project import DATABASE, DATABASE_PORT, HOST, PASSWORDS, ROLE, ROLES, Place
from .archiver import with_archiver
from .spec import (
    APP_PORT,
    APP_SERVICE,
    DATABASE_SERVICE,
    PORT_OPTIONS,
    READINESS,
    RETRIES,
    STOP_TIMEOUT,
    TMPFS,
    ServiceSpec,
    StackSpec,
    major_of,
    volume_name,
)

if TYPE_CHECKING:
    from ..settings import Settings

APP_USER = "10001:10001"
MEMORY = 256 * 2**20  # bytes; each worker may hash two passwords at once, at 64 MiB each
DATABASE_SHARED_MEMORY = 256 * 2**20  # bytes, for parallel queries
# The image starts as root, changes the owner of the data, and then switches to another user.
DATABASE_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID")
DATABASE_TMPFS = {"/var/run/postgresql": "size=1m,mode=3775"}  # for its socket
DATABASE_PIDS = 256  # in addition to one process per connection
MAX_CONNECTIONS = 100  # PostgreSQL's own default
# The log must not contain values that violate a constraint: usernames, e-mail addresses, whole rows.
LOG_WITHOUT_VALUES = {"log_error_verbosity": "terse"}


def stack_spec(
    settings: "Settings",
    ports: Mapping[str, int],
    *,
    app_image: str = "",
    app: bool = False,
    place: Place | None = None,
    archive: Archive | None = None,
    archiver_image: str = "",
    state: str = "",
) -> StackSpec:
    """Return the stack that the settings describe, on the ports of the project.

    With `app_image`, its services are containers. `place` is the place of the database, if it is known. `archive` is
    where it is archived, by a service of its own, in a container of `archiver_image`; `state` is the project's folder.
    Raises InvalidInputError for an image without a major version.
    """
    port = ports[DATABASE_SERVICE]
    if app_image:
        image = place.image if place else settings.postgres_image
        volume = place.volume if place else volume_name(settings.project)
        services = [_database(settings, port, image=image, volume=volume)]
    else:
        services = [_database(settings, port, data=place.data if place else "")]
    if archive:
        services = with_archiver(services[0], archive, settings.project, state, archiver_image)
    if app:
        services.append(_app(settings, ports, app_image))
    return StackSpec(settings.project, tuple(services))


def _database(settings: "Settings", port: int, *, image: str = "", volume: str = "", data: str = "") -> ServiceSpec:
    return ServiceSpec(
        name=DATABASE_SERVICE,
        port=port,
        is_database=True,
        container_port=DATABASE_PORT,
        image=image,
        volume=volume,
        data=data,
        configuration={**LOG_WITHOUT_VALUES, **settings.postgres_settings},
        variables=_postgres_variables(image) if image else {},
        health_command=("pg_isready", "-h", "127.0.0.1", "-U", ROLE, "-d", DATABASE),
        secrets=tuple(PASSWORDS.values()),
        roles=(*ROLES, *((APP,) if settings.split_roles else ())),
        first_start=_first_start() if image else "",
        stop_signal="SIGINT",  # PostgreSQL's fast shutdown, which ends sessions and writes a checkpoint
        stop_timeout=STOP_TIMEOUT,
        shared_memory=DATABASE_SHARED_MEMORY,
        **(confinement(settings) if image else {}),
    )


def confinement(settings: "Settings") -> dict[str, Any]:
    """Return the privileges and limits of a database's container: only what its image needs."""
    connections = settings.postgres_settings.get("max_connections", "")
    return {
        "read_only": True,
        "capabilities": DATABASE_CAPABILITIES,
        "tmpfs": DATABASE_TMPFS,
        "scratch": "/tmp",  # noqa: S108 - in the container
        "memory": settings.database_memory * 2**20,
        "cpus": settings.database_cpus,
        "pids": DATABASE_PIDS + (int(connections) if connections.isdigit() else MAX_CONNECTIONS),
    }


def _first_start() -> str:
    """Return the script that creates the owner and its database. Its server needs no password, and logs none."""
    statements = [
        "SET log_statement = none",
        "SET log_min_error_statement = panic",
        *creation(":'password'", DATABASE),
    ]
    return "\n".join(
        (
            "psql --username \"$POSTGRES_USER\" --dbname postgres --no-psqlrc --quiet --set ON_ERROR_STOP=1 <<'SQL'",
            f"\\set password `cat /run/secrets/{PASSWORDS[OWNER]}`",
            *(f"{statement};" for statement in statements),
            "SQL\n",
        )
    )


def _postgres_variables(image: str) -> dict[str, str]:
    """Return the variables of the official image: https://hub.docker.com/_/postgres"""
    return {
        "POSTGRES_USER": SUPERUSER,
        "POSTGRES_PASSWORD_FILE": f"/run/secrets/{PASSWORDS[SUPERUSER]}",
        "POSTGRES_INITDB_ARGS": " ".join(["--encoding=UTF8", *initdb_locale(major_of(image)), "--data-checksums"]),
        # For psql, run in the container.
        "PGUSER": ROLE,
        "PGDATABASE": DATABASE,
    }


# The engine runs this every few seconds. Without an HTTP library and `site` it costs a third.
_READY = (
    "python",
    "-ISc",
    f"import socket; s = socket.create_connection(('127.0.0.1', {APP_PORT}), 2);"
    f" s.sendall(b'GET {READINESS} HTTP/1.0\\r\\n\\r\\n'); answer = s.recv(1000).decode();"
    " raise SystemExit(None if ' 200 ' in answer else answer)",
)


def _app(settings: "Settings", ports: Mapping[str, int], image: str) -> ServiceSpec:
    """Return the service of the built-in application."""
    port = ports[APP_SERVICE]
    listen = ("--host", "0.0.0.0") if image else ("--host", HOST, "--port", str(port))  # noqa: S104 - in a container
    # In the containers' network, the database's port never changes.
    database = {} if image else {"FASTZERO_DATABASE_PORT": str(ports[DATABASE_SERVICE])}
    return ServiceSpec(
        name=APP_SERVICE,
        port=port,
        container_port=APP_PORT,
        image=image,
        base_image=settings.python_image if image else "",
        interpreter=(sys.executable, "-m", "fastzero_cli"),
        variables={**database, **settings.app_variables()},
        command=("serve", *listen, "--workers", str(settings.workers)),
        readiness=READINESS,
        migrates=("--migrate",),
        health_command=_READY,
        secrets=("database_url", "secret_key"),
        roles=(APP if settings.split_roles else OWNER,),
        depends_on=(DATABASE_SERVICE,),
        user=APP_USER,
        read_only=True,
        tmpfs=TMPFS,
        memory=MEMORY * (1 + settings.workers),
        cpus=settings.workers,
        pids=128 * (1 + settings.workers),
        restart="on-failure",
        retries=RETRIES,
        port_choice=PORT_OPTIONS[APP_SERVICE],
    )
