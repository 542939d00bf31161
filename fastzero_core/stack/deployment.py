"""Turn the services of a stack in containers into services of a swarm. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from ..application.description import WEB, Application
from ..config_files import PREFIX
from ..errors import InvalidInputError
from ..project import ProjectRecord
from ..schema.revisions import head_revision
from ..settings import Settings
from .docker.containers import FIRST_START, FIRST_START_FILE
from .edge import GATEWAY, PROXY, gateway, proxy
from .spec import APP_SERVICE, HEALTH, READINESS, Deployment, Release, ServiceSpec, StackSpec, data_mount, volume_name

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
    spec: StackSpec, settings: Settings, record: ProjectRecord, application: Application | None = None
) -> StackSpec:
    """Return the stack as services of a swarm, with the proxy and the gateway. Raises InvalidInputError."""
    _refuse_names(spec)
    tasks = {each.name: each.tasks for each in application.processes} if application else {}
    tasks = {**(tasks or {APP_SERVICE: settings.replicas}), **record.replicas}
    database = _database(spec.database, record.node)
    extras = tuple(_extra(each, record.node) for each in spec.extras)
    processes = tuple(_process(each, settings, tasks.get(each.name, 1)) for each in spec.processes)
    release = _release(spec, processes, settings)
    return replace(
        spec,
        services=(
            database,
            gateway(settings.python_image, (database, *extras)),
            *extras,
            *processes,
            *_proxy(spec, settings),
        ),
        release=release,
    )


def _refuse_names(spec: StackSpec) -> None:
    for name in (PROXY, GATEWAY):
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


def _proxy(spec: StackSpec, settings: Settings) -> tuple[ServiceSpec, ...]:
    if not any(each.container_port and each.port for each in spec.processes):
        return ()
    web = WEB if spec.release else APP_SERVICE
    volume = volume_name(spec.project, PROXY)
    return (proxy(settings.proxy_image, spec.processes, volume=volume, web=web, domain=settings.domain or ""),)


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


def one_service_each(application: Application) -> Application:
    """Return the application with one service for all replicas of a process: a swarm starts the tasks."""
    processes = tuple(replace(each, replicas=1, tasks=max(each.tasks, each.replicas)) for each in application.processes)
    return replace(application, processes=processes)


def counts_of(texts: Mapping[str, int], spec: StackSpec) -> dict[str, int]:
    """Return the requested numbers of tasks. Raises InvalidInputError for what is not a process of the stack."""
    names = [each.name for each in spec.processes]
    for name in texts:
        if name not in names:
            raise InvalidInputError(f"service {name!r} is not one of {', '.join(names)}", field="service")
    return dict(texts)
