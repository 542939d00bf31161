"""Turn the services of a stack in containers into services of a swarm. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from ..application.description import WEB, Application
from ..archive.description import ARCHIVER
from ..config_files import PREFIX
from ..errors import InvalidInputError
from ..ha.configuration import SERVER, STORE, address
from ..ha.configuration import names as names_of
from ..project import ProjectRecord
from ..schema.revisions import head_revision
from ..settings import Settings
from .archiver import archivers as archivers_of
from .archiver import is_archiver
from .archivers import of_servers, on_node
from .deployed import Deployment
from .docker.containers import FIRST_START, FIRST_START_FILE
from .edge import at_domain, gateway, proxy
from .ha import RESOLVER, Member, members, shared
from .in_swarm import API_PORTS
from .spec import (
    APP_SERVICE,
    DATABASE_SERVICE,
    GATEWAY,
    HEALTH,
    PROXY,
    READINESS,
    STORES,
    Release,
    ServiceSpec,
    StackSpec,
    data_mount,
    volume_name,
)

OF_STANDBYS = (*names_of(SERVER), *names_of(STORE), *names_of(ARCHIVER))
# A task is ready once its readiness path has answered. From then on only whether it lives counts: a swarm kills what
# its check fails for, and a process whose database is away must stay.
CHECK = """\
import os, socket, sys
port, ready, alive, below = sys.argv[1:]
mark = '/dev/shm/fastzero-ready'
path = alive if os.path.exists(mark) else ready
connection = socket.create_connection(('127.0.0.1', int(port)), 4)
if path != '-':
    connection.sendall(f'GET {path} HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n'.encode())
    answer = connection.recv(1000).decode('latin-1')
    if int(answer.split()[1]) >= int(below): raise SystemExit(answer)
open(mark, 'a').close()
"""
# An image without Python cannot be asked: its process counts as ready while it runs.
WITH_ANY_PYTHON = (
    'for each in .venv/bin/python python3 python; do command -v "$each" >/dev/null && exec "$each" -ISc "$@"; done'
)
ANY_STATUS = 1000
FORWARDED = f"{PREFIX}FORWARDED_ALLOW_IPS"  # without the prefix, it is uvicorn's
# A server that recovers lives: it refuses connections, which is exit code 1.
DATABASE_LIVES = ("sh", "-c", '"$@"; [ $? -lt 2 ]', "sh")
# Two servers on one data directory would destroy it. After a lost connection a node may have two tasks for a moment.
LOCKED = 'exec 9<{folder}; flock 9; exec docker-entrypoint.sh "$@"'


def deployed(
    spec: StackSpec,
    settings: Settings,
    record: ProjectRecord,
    application: Application | None = None,
    ha_image: str = "",
) -> StackSpec:
    """Return the stack as services of a swarm, with the proxy and the gateway. Raises InvalidInputError.

    `ha_image` is the image of a database with standbys, which has several services.
    """
    _refuse_names(spec, (PROXY, GATEWAY, *(OF_STANDBYS if record.members else ())))
    if record.members:
        spec = _with_standbys(spec, settings, record, in_registry(ha_image, settings.registry))
    tasks = {each.name: each.tasks for each in application.processes} if application else {}
    tasks = {**(tasks or {APP_SERVICE: settings.replicas}), **record.replicas}
    database = spec.members or (_database(spec.database, record.node),)
    nodes = record.members or (record.node,)
    archivers = tuple(
        on_node(each, node, in_registry(each.image, settings.registry))
        for each, node in zip(archivers_of(spec), nodes, strict=False)
    )
    extras = tuple(
        _extra(each, record.node) for each in spec.extras if not each.is_member and not is_archiver(each.name)
    )
    processes = tuple(_process(each, settings, tasks.get(each.name, 1)) for each in spec.processes)
    if settings.domain and processes:
        processes = _with_domain(processes, settings.domain, WEB if spec.release else APP_SERVICE)
    release = _release(spec, processes, settings)
    return replace(
        spec,
        services=(
            *archivers,  # first, so that they stop last, when the last segment is archived
            *database,
            gateway(settings.python_image, (*spec.servers, *extras)),
            *extras,
            *processes,
            *_proxy(spec, settings, processes),
        ),
        release=release,
    )


def _with_standbys(spec: StackSpec, settings: Settings, record: ProjectRecord, image: str) -> StackSpec:
    """Return the stack with a database that has a server and an etcd on each of three nodes."""
    one = spec.database
    ports = {name: record.ports[port] for name, port in API_PORTS.items() if port in record.ports}
    archived = record.archive is not None
    own_ports = {next(iter(API_PORTS)): one.port}
    found = members(settings, image, own_ports, ports, volume=record.volume, archived=archived)
    of_database = [_member(each, one, record.members[each.node - 1]) for each in found]
    servers = tuple(each for each in of_database if each.is_database)
    archivers = (each for archiver in archivers_of(spec) for each in of_servers(archiver, servers, spec.project))
    rest = [_to_several(each) for each in spec.services if each is not one and not is_archiver(each.name)]
    release = spec.release and replace(spec.release, service=_to_several(spec.release.service))
    services = (*archivers, *of_database, *rest)
    return replace(spec, services=services, release=release, shared=shared(settings, archived=archived))


def _member(member: Member, one: ServiceSpec, node: str) -> ServiceSpec:
    """Return a service of a database with standbys, on its node, with what the application needs of one server."""
    networks = (STORES,) if member.is_internal else ("", STORES)
    deploy = Deployment(node=node, networks=networks, readiness="answers")
    service = replace(member.service, base_image=one.image, deploy=deploy)
    return replace(service, version_table=one.version_table, needs=one.needs) if service.is_database else service


def _to_several(process: ServiceSpec) -> ServiceSpec:
    """Return a process that finds the server which accepts writes, among several."""
    if process.is_extra:
        return process
    needed = [each for each in process.depends_on if each != DATABASE_SERVICE]
    return replace(
        process,
        variables={**RESOLVER, **process.variables},
        depends_on=(*names_of(SERVER), *needed),
        database_at=address(),
    )


def _refuse_names(spec: StackSpec, reserved: Iterable[str]) -> None:
    for name in reserved:
        if name in spec.names:
            raise InvalidInputError(
                f"service {name} cannot have this name in a swarm", field="services", hint="Rename it"
            )


def _database(database: ServiceSpec, node: str) -> ServiceSpec:
    folder = data_mount(database.major)
    files = {f"{FIRST_START}/{FIRST_START_FILE}": database.first_start}
    return replace(
        database,
        entrypoint=("bash", "-c", LOCKED.format(folder=folder), "sh"),
        health_command=(*DATABASE_LIVES, *database.health_command),
        deploy=Deployment(node=node, files=files, readiness="answers"),
    )


def _extra(extra: ServiceSpec, node: str) -> ServiceSpec:
    """Return an extra service. One with data stays on the node that has it."""
    return replace(extra, deploy=Deployment(node=node if extra.volume else ""))


def _process(process: ServiceSpec, settings: Settings, tasks: int) -> ServiceSpec:
    readiness = process.readiness or "its port" if process.container_port else f"{process.grace:g} s"
    deploy = Deployment(
        tasks, start_first=True, readiness=f"answers at {readiness}" if process.container_port else "runs"
    )
    return replace(
        process,
        image=in_registry(process.image, settings.registry),
        health_command=_check(process) if process.container_port else (),
        restart="no" if process.restart == "no" else "always",
        deploy=deploy,
    )


def _with_domain(processes: tuple[ServiceSpec, ...], domain: str, web: str) -> tuple[ServiceSpec, ...]:
    """Return the processes, of which `web` is served for the domain. Raises InvalidInputError if none is called so."""
    if web not in (each.name for each in processes):
        raise InvalidInputError(
            f"no process of the application is called {web}, so none answers for {domain}",
            field="domain",
            hint=f"Call the process that serves it {web}",
        )
    return tuple(at_domain(each, domain) if each.name == web else each for each in processes)


def _check(process: ServiceSpec) -> tuple[str, ...]:
    """Return the command that tells whether a task is ready, and from then on whether it lives."""
    port = str(process.container_port)
    if process.interpreter:  # the built-in application
        return ("python", "-ISc", CHECK, port, READINESS, HEALTH, "400")
    ready = "-" if process.readiness is None else process.readiness or "/"
    below = ANY_STATUS if process.readiness == "" else 500
    return ("sh", "-c", WITH_ANY_PYTHON, "sh", CHECK, port, ready, "-", str(below))


def _release(spec: StackSpec, processes: tuple[ServiceSpec, ...], settings: Settings) -> Release | None:
    """Return what migrates the schema, once, in the swarm and before processes are updated."""
    if spec.release:
        service = spec.release.service
        return replace(spec.release, service=replace(service, image=in_registry(service.image, settings.registry)))
    if not processes:
        return None
    return Release(replace(processes[0], command=("migrate",)), (("migrate",),), head_revision(), locks=True)


def _proxy(spec: StackSpec, settings: Settings, processes: Sequence[ServiceSpec]) -> tuple[ServiceSpec, ...]:
    if not any(each.container_port and each.port for each in processes):
        return ()
    volume, directory = volume_name(spec.project, PROXY), settings.acme_directory or ""
    return (proxy(settings.proxy_image, processes, volume=volume, acme_directory=directory),)


def trusting_proxy(spec: StackSpec, networks: Sequence[str]) -> StackSpec:
    """Return the stack with processes that trust the proxy, in these ranges of addresses, to name their clients.

    Nothing else reaches them: they are published through the proxy alone. Of the user's own processes, those that
    uvicorn serves are told.
    """
    services = [_trusting_proxy(each, ",".join(networks)) if each in spec.processes else each for each in spec.services]
    return replace(spec, services=tuple(services))


def _trusting_proxy(process: ServiceSpec, networks: str) -> ServiceSpec:
    is_uvicorn = {"uvicorn", "fastapi"} & {PurePosixPath(word).name for word in process.command}
    name = FORWARDED if process.interpreter else FORWARDED.removeprefix(PREFIX) if is_uvicorn else ""
    if not name or not networks or name in {**process.variables, **process.secret_variables}:
        return process
    return replace(process, variables={**process.variables, name: networks})


def in_registry(image: str, registry: str | None) -> str:
    """Return the name of a built image, in the registry from which the nodes pull it."""
    return f"{registry}/{image}" if registry else image


def counts_of(texts: Mapping[str, int], spec: StackSpec) -> dict[str, int]:
    """Return the requested numbers of tasks. Raises InvalidInputError for what is not a process of the stack."""
    names = [each.name for each in spec.processes]
    for name in texts:
        if name not in names:
            raise InvalidInputError(f"service {name!r} is not one of {', '.join(names)}", field="service")
    return dict(texts)
