"""Return the services of a database with standbys: on each of three nodes a server and an etcd. Pure.

They are in one container each, so that a restarted server does not cost etcd its majority.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..archive.description import ARCHIVER, settings_of_standbys
from ..archive.description import STATE as STATE_VARIABLE
from ..ha import configuration
from ..ha.configuration import API_PASSWORD, API_PORT, NODES, PEER_PORT, POSTGRES_PORT
from ..ha.run_patroni import VARIABLE
from ..postgres.roles import APP, REPLICATION_PASSWORD
from ..project import DATABASE, ROLE, ROLES
from .archiver import SOCKETS, state_inside
from .built_in import DATABASE_SHARED_MEMORY, LOG_WITHOUT_VALUES, confinement
from .spec import STOP_TIMEOUT, TMPFS, Mount, ServiceSpec, data_mount, major_of, volume_name

if TYPE_CHECKING:
    from ..settings import Settings

RECIPE = "ha"  # how its image is built
PROGRAMS = "/opt/fastzero"  # in the image
STATE = "/tmp/supervisor.json"  # noqa: S108 - in the container
FAST_ENDS = 3  # ends of Patroni shortly after its start before the container ends too, and PostgreSQL with it
STORE_MEMORY = 256 * 2**20  # bytes
STORE_PIDS = 128
# The name of a lost server is soon unknown to the engine, which then asks a name server that may not answer. No
# connection can be given up while its name is looked up, so that a standby would wait before it becomes the primary.
RESOLVER = {"RES_OPTIONS": "timeout:1 attempts:1"}  # https://man7.org/linux/man-pages/man5/resolv.conf.5.html
SECRETS = (REPLICATION_PASSWORD, API_PASSWORD)  # secrets of the project that only these services have


@dataclass(frozen=True)
class Member:
    """A service of a database with standbys.

    It stays on one node, numbered from 1, where its volume is. If `is_internal`, only the other members may reach it:
    whoever writes to etcd configures the servers.
    """

    service: ServiceSpec
    node: int
    is_internal: bool


def shared(settings: "Settings", *, archived: bool = False) -> dict[str, Any]:
    """Return the configuration that all members share. The first primary has it without the project's own settings.

    Raises InvalidInputError for PostgreSQL settings that cannot be used with standbys.
    """
    of_archive = settings_of_standbys() if archived else {}
    return configuration.dynamic({**LOG_WITHOUT_VALUES, **settings.postgres_settings, **of_archive})


def members(
    settings: "Settings",
    image: str,
    ports: Mapping[str, int] = {},
    api_ports: Mapping[str, int] = {},
    *,
    volume: str = "",
    archived: bool = False,
) -> tuple[Member, ...]:
    """Return every service of the database: the etcds, then the servers.

    `image` is built from docker/ha, and has the major version in its tag. `ports` and `api_ports` are where each server
    and its Patroni can be reached from outside, by the server's name. `volume` is that of the database's place. If
    `archived`, each server has a folder in common with its archiver. Raises InvalidInputError for PostgreSQL settings
    that cannot be used with standbys.
    """
    shared(settings)
    numbers = range(1, NODES + 1)
    stores = (Member(_store(settings, number, image), number, True) for number in numbers)
    servers = (Member(_server(settings, number, image, archived), number, False) for number in numbers)
    published = (*stores, *(_published(each, ports, api_ports) for each in servers))
    volume = volume or volume_name(settings.project)
    return tuple(_at_place(each, settings.project, volume, archived) for each in published)


def _at_place(member: Member, project: str, volume: str, archived: bool) -> Member:
    """Return a member with its own volume at the place of the database that `volume` names, and what refers to it."""
    service, _, number = member.service.name.rpartition("-")
    which = volume.removeprefix(volume_name(project))
    own = f"{volume_name(project, service)}{which}-{number}"
    state = {STATE_VARIABLE: state_inside(own)} if archived and member.service.is_database else {}
    variables = {**member.service.variables, **state}
    return replace(member, service=replace(member.service, volume=own, variables=variables))


def _published(member: Member, ports: Mapping[str, int], api_ports: Mapping[str, int]) -> Member:
    name = member.service.name
    more = {API_PORT: api_ports[name]} if name in api_ports else {}
    return replace(member, service=replace(member.service, port=ports.get(name, 0), more_ports=more))


def data_folder(major: int) -> str:
    """Return the data directory of a server, in its container."""
    return f"{data_mount(major)}/cluster"


def _server(settings: "Settings", number: int, image: str, archived: bool) -> ServiceSpec:
    name, major = configuration.names(configuration.SERVER)[number - 1], major_of(image)
    mount = data_mount(major)
    document = configuration.patroni(
        settings.project,
        number,
        major=major,
        data=data_folder(major),
        database=DATABASE,
        parameters=LOG_WITHOUT_VALUES,
        more_sockets=(SOCKETS,) if archived else (),
    )
    common = Mount(volume_name(settings.project, configuration.names(ARCHIVER)[number - 1]), SOCKETS)
    return ServiceSpec(
        name=name,
        port=0,
        is_database=True,
        container_port=POSTGRES_PORT,
        image=image,
        base_image=settings.postgres_image,
        recipe=RECIPE,
        mounts=(common,) if archived else (),
        variables={
            VARIABLE: configuration.as_text(document),
            "PGUSER": ROLE,  # this and the next are for psql, run in the container
            "PGDATABASE": DATABASE,
            **RESOLVER,
        },
        # Patroni is started again if it is killed: it then finds its server running, and keeps the leader's key.
        command=_alone(
            mount, *_program("supervisor.py"), STATE, "on-failure", str(FAST_ENDS), *_program("run_patroni.py")
        ),
        health_command=_answers(API_PORT, "/liveness"),
        secrets=SECRETS,
        roles=(*ROLES, *((APP,) if settings.split_roles else ())),
        stop_timeout=STOP_TIMEOUT,
        shared_memory=DATABASE_SHARED_MEMORY,
        restart="always",
        **{**confinement(settings), "capabilities": (), "tmpfs": TMPFS, "scratch": ""},
    )


def _store(settings: "Settings", number: int, image: str) -> ServiceSpec:
    name, mount = configuration.names(configuration.STORE)[number - 1], data_mount(major_of(image))
    return ServiceSpec(
        name=name,
        port=0,
        is_extra=True,
        image=image,
        base_image=settings.postgres_image,
        recipe=RECIPE,
        # The image declares a volume there, which would be created besides.
        mount=mount,
        variables=configuration.etcd(settings.project, number, f"{mount}/etcd"),
        command=_alone(mount, *_program("run_etcd.py")),
        health_command=_answers(PEER_PORT, "/version"),
        roles=(),
        read_only=True,
        tmpfs=TMPFS,
        memory=STORE_MEMORY,
        pids=STORE_PIDS,
        restart="always",
    )


def _program(name: str) -> tuple[str, ...]:
    return "python3", f"{PROGRAMS}/{name}"


def _alone(folder: str, *command: str) -> tuple[str, ...]:
    """Return the command that runs once no other container uses the folder: two servers would destroy its data.

    An engine that was cut off from its swarm may run two tasks for a moment.
    """
    return "bash", "-c", 'exec 9<"$1"; flock 9; shift; exec "$@"', "bash", folder, *command


def _answers(port: int, path: str) -> tuple[str, ...]:
    """Return the health check of a process: whether it answers, not whether the cluster can work.

    An engine that replaced what waits for a majority would make it worse. bash costs less than Python.
    """
    request = f"exec 3<>/dev/tcp/127.0.0.1/{port}; printf 'GET {path} HTTP/1.0\\r\\n\\r\\n' >&3"
    return "bash", "-c", f'{request}; read -r _ code _ <&3; [ "$code" = 200 ] || {{ echo "$code"; exit 1; }}'
