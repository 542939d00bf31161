"""Find what keeps containers from working, and collect the evidence of failed ones."""

import os
from collections.abc import Iterator
from pathlib import Path

import docker
from docker.context import ContextAPI
from docker.models.containers import Container

from ...project import ProjectRecord
from ..observed import WITHOUT_DATA, DataState
from ..runtime import Finding, disk_finding
from ..spec import ServiceSpec, other_major
from . import files, images, logs, observe


def evidence(service: str, container: Container, lines: int) -> str:
    """Return a container's state, exit code, health log and the last `lines` lines of its log."""
    state = container.attrs["State"]
    checks = (state.get("Health") or {}).get("Log") or []
    health = [output.splitlines()[-1] for check in checks[-3:] if (output := check["Output"].strip())]
    said = [f"{service}: {observe.state_detail(state) or 'it is running'}", *(f"health: {line}" for line in health)]
    return "\n".join([*said, *(line.text for line in logs.lines_of(service, container, lines, None))])


def of_engine(client: docker.DockerClient, host: str) -> Iterator[Finding]:
    """Yield which engine answers, and whether its disk has free space."""
    info = client.info()
    address = host or os.environ.get("DOCKER_HOST") or f"context {ContextAPI.get_current_context().name}"
    yield Finding("engine", "ok", f"Docker Engine {info['ServerVersion']} answers at {address}")
    root = Path(info["DockerRootDir"])
    if not host and root.exists():  # else the engine runs on another machine
        yield disk_finding("engine_disk", root, "Free some: docker system df, docker image prune")


def of_owner(found: observe.Found) -> Iterator[Finding]:
    """Yield a finding if things with the project's name belong to another home."""
    if found.foreign:
        what = f"of another FASTZERO_HOME: {', '.join(found.foreign)}"
        yield Finding("owner", "failed", what, "Use another name: -p NAME. Or take it over: fastzero up --adopt")


def of_data(
    client: docker.DockerClient, found: observe.Found, service: ServiceSpec, record: ProjectRecord
) -> Iterator[Finding]:
    """Yield whether the volume exists, and has data of a version that the image can read."""
    if not found.has_volume:
        if record.initialised:
            gone = f"volume {found.volume}, which holds the database, is gone"
            yield Finding("data", "failed", gone, WITHOUT_DATA)
        return
    if not images.image_id(client, service.image):
        return
    major = _data_major(client, found, service)
    if major not in (None, service.major):
        error = other_major(found.volume, major, service.image)
        yield Finding(error.code, "failed", error.message, error.hint)
    elif observe.data_state(found, record) is DataState.UNFINISHED:
        never = f"the initialisation of volume {found.volume} never ended"
        yield Finding("initialisation", "warning", never, "Nothing to do: `up` starts it over")
    else:
        yield Finding("volume", "ok", f"volume {found.volume} has data of PostgreSQL {major}")


def of_ports(found: observe.Found) -> Iterator[Finding]:
    """Yield a finding for each service that is published beyond this machine."""
    for name, container in found.in_service.items():
        published = container.attrs["HostConfig"].get("PortBindings") or {}
        addresses = {binding.get("HostIp", "") for bindings in published.values() for binding in bindings or []}
        if any(not address.startswith("127.") and address != "::1" for address in addresses):
            exposed = f"{name} is published to the world, past most firewalls"
            yield Finding("exposed", "failed", exposed, "Recreate its container: fastzero down, then fastzero up")


def _data_major(client: docker.DockerClient, found: observe.Found, service: ServiceSpec) -> int | None:
    """Return the major version of the data, read through its container, or through a new one that is never started."""
    existing = found.in_service.get(service.name)
    if existing is not None:
        return files.data_major(client.api, str(existing.id), service)
    mounts = service.document["HostConfig"]["Mounts"][:1]
    document = {"Image": service.image, "HostConfig": {"Mounts": mounts}}
    made = client.api.create_container_from_config(document)["Id"]  # type: ignore[no-untyped-call]
    try:
        return files.data_major(client.api, made, service)
    finally:
        client.api.remove_container(made, force=True, v=True)
