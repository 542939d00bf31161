"""Observe a project's containers, volumes and network on the engine."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import docker
from docker.models.containers import Container

from ...project import Place, ProjectRecord
from ..actions import Kind
from ..lines import moment_of
from ..observed import DataState, Estate, Observed, ObservedService, ServiceState, Thing
from ..plan import taken_error
from ..runtime import MOVING, PASSAGE, RELEASE
from ..spec import DATABASE_SERVICE, ServiceSpec, StackSpec
from ..steps import container_name, network_name
from . import files, images
from .containers import CLAIM, EXTRA, HASH, MEMBER, OWNER, PROJECT, SERVICE, SETTINGS
from .engine import GONE


@dataclass(frozen=True)
class Found:
    """Everything on the engine that has a project's name.

    `network` is the id of the project's network, "" if it does not exist; `network_scope` is local, or swarm.
    `more_networks` are the ids of further networks of the same name, which an engine creates if a command is killed and
    the next one creates it as well. `is_known` says that the project already had a record: things without an owner are
    from before owners were recorded, and belong to it. `volume` is the volume that the database should be in. `volumes`
    are the labels of all volumes with a database of the project, by name; `extra_volumes` those of volumes of extra
    services, and of those that tasks of a swarm made; `claims` those of the volumes that record the owner of a project
    that was taken over. `taken` are the names of containers that have a name of the project's, but do not belong to any
    project.
    """

    project: str
    owner: str
    is_known: bool
    containers: Sequence[Container]
    network: str
    network_labels: Mapping[str, str]
    network_scope: str
    more_networks: Sequence[str]
    volume: str
    volume_labels: Mapping[str, str] | None
    volumes: Mapping[str, Mapping[str, str]]
    extra_volumes: Mapping[str, Mapping[str, str]]
    claims: Mapping[str, Mapping[str, str]]
    taken: Sequence[str]

    @property
    def in_service(self) -> dict[str, Container]:
        """The containers of services under their final names, by service: not those of a replacement."""
        named = {each.labels[SERVICE]: each for each in self.containers}
        by_name = {str(each.name): each for each in self.containers}
        wanted = {service: by_name.get(container_name(self.project, service)) for service in named}
        return {
            service: container
            for service, container in wanted.items()
            if container is not None and service not in (MOVING, PASSAGE, RELEASE)
        }

    @property
    def foreign(self) -> tuple[str, ...]:
        """The things that have the project's name and belong to another home."""
        things: list[tuple[str, Mapping[str, str]]] = [
            (f"container {each.name}", each.labels) for each in self.containers
        ]
        things.append((f"network {network_name(self.project)}", self.network_labels))
        things += [(f"volume {name}", labels) for name, labels in {**self.volumes, **self.extra_volumes}.items()]
        return tuple(name for name, labels in things if not self._is_ours(labels))

    def _is_ours(self, labels: Mapping[str, str]) -> bool:
        """Return whether labels are those of this home. A volume's labels cannot change, so claims take precedence."""
        if labels.get(PROJECT) != self.project:
            return True
        without = self.owner if self.is_known else ""
        return all(each.get(OWNER, without) == self.owner for each in self.claims.values() or [labels])

    @property
    def void_claims(self) -> tuple[str, ...]:
        """The claims to a project that has nothing else left on the engine."""
        is_left = self.containers or self.volumes or self.extra_volumes or self.has_network
        return () if is_left else tuple(self.claims)

    @property
    def data_owner(self) -> str:
        """The owner of the volume, "" if its labels have none."""
        return (self.volume_labels or {}).get(OWNER, "")

    @property
    def names_taken(self) -> tuple[str, ...]:
        """The things that have a name of the project's but do not belong to it, as `container NAME`."""
        names = [f"container {name}" for name in self.taken]
        if self.network and not self.has_network:
            names.append(f"network {network_name(self.project)}")
        if self.volume_labels is not None and not self.has_volume:
            names.append(f"volume {self.volume}")
        return tuple(names)

    @property
    def has_network(self) -> bool:
        return bool(self.network) and self.network_labels.get(PROJECT) == self.project

    @property
    def has_volume(self) -> bool:
        return (self.volume_labels or {}).get(PROJECT) == self.project


def find(client: docker.DockerClient, project: str, volume: str, owner: str, *, is_known: bool = True) -> Found:
    """Return everything on the engine that has the project's name."""
    labelled: dict[str, str | list[str] | bool] = {"label": [f"{PROJECT}={project}", SERVICE]}
    containers = list(client.containers.list(all=True, filters=labelled, ignore_removed=True))
    network, *more = _networks(client, project, containers) or [{}]
    found = {**volumes(client, PROJECT, project), **volumes(client, MEMBER, project)}
    data = {name: labels for name, labels in found.items() if not {CLAIM, EXTRA, MEMBER} & labels.keys()}
    return Found(
        project=project,
        owner=owner,
        is_known=is_known,
        containers=containers,
        network=network.get("Id", ""),
        network_labels=network.get("Labels") or {},
        network_scope=network.get("Scope", ""),
        more_networks=[each["Id"] for each in more],
        volume=volume,
        volume_labels=data[volume] if volume in data else volume_labels(client, volume) if volume else None,
        volumes=data,
        extra_volumes={name: labels for name, labels in found.items() if {EXTRA, MEMBER} & labels.keys()},
        claims={name: labels for name, labels in found.items() if CLAIM in labels},
        taken=_taken(client, project, containers),
    )


def estate(client: docker.DockerClient, project: str) -> Estate:
    """Return what an engine has under a project's name. The volume in service is the one that its database mounts."""
    found = find(client, project, "", "")
    database = [each for each in found.containers if each.labels[SERVICE] == DATABASE_SERVICE]
    mounted = {
        mount["Name"]: each for each in database for mount in each.attrs["Mounts"] if mount.get("Name") in found.volumes
    }
    if len(mounted) == 1:
        [(volume, container)] = mounted.items()
        place = Place("docker", image=container.attrs["Config"]["Image"], volume=volume)
        return Estate(place, files.images_of(client.api, container, place, sorted(found.volumes)))
    volumes = dict.fromkeys(sorted(found.volumes), "")
    return Estate(Place("docker", volume=next(iter(volumes))) if len(volumes) == 1 else None, volumes)


def volume_labels(client: docker.DockerClient, name: str) -> Mapping[str, str] | None:
    """Return a volume's labels, None if it does not exist."""
    try:
        return client.api.inspect_volume(name).get("Labels") or {}
    except GONE:
        return None


def volumes(client: docker.DockerClient, label: str, project: str) -> dict[str, Mapping[str, str]]:
    """Return the labels of every volume that has the project in one of them, by name."""
    listed = client.api.volumes(filters={"label": f"{label}={project}"})["Volumes"] or []
    return {each["Name"]: each["Labels"] for each in listed}


def _taken(client: docker.DockerClient, project: str, containers: Sequence[Container]) -> list[str]:
    """Return the names of other containers that have the prefix of the project's containers."""
    filters = {"name": f"^/?{network_name(project)}-"}
    ours = {each.id for each in containers}
    listed = [each for each in client.api.containers(all=True, filters=filters) if each["Id"] not in ours]
    return [name.removeprefix("/") for each in listed for name in each["Names"]]


def observed(client: docker.DockerClient, found: Found, spec: StackSpec, record: ProjectRecord) -> Observed:
    """Return the current stack, without what only the services themselves can answer.

    Raises ConflictError if the volume that should have the database is not the project's.
    """
    if found.volume_labels is not None and not found.has_volume and record.initialised:
        raise taken_error("volume", found.volume, told="Nothing was changed. ")
    running = found.in_service
    here = {service.image: images.image_id(client, service.image) for service in spec.services}
    data = data_state(found, record)
    services = {
        service.name: _service(service, running.get(service.name), data, here[service.image], found.network)
        for service in spec.services
    }
    volumes = {service.volume for service in spec.extras if service.volume} - found.extra_volumes.keys()
    others = [f"volume {name}" for name in volumes if volume_labels(client, name) is not None]
    begun = [each for name, each in running.items() if each.status == "created" and name in spec.names]
    stray = [each for each in found.containers if each in begun or each not in running.values()]
    leftovers = [Thing(Kind.CONTAINER, str(each.name), service=each.labels[SERVICE]) for each in stray]
    leftovers += [Thing(Kind.NETWORK, network) for network in found.more_networks]
    leftovers += [Thing(Kind.CLAIM, name, "nothing is left of what it claims") for name in found.void_claims]
    return Observed(
        services,
        images=frozenset(name for name, present in here.items() if present),
        network=found.has_network,
        data=data,
        volumes=frozenset(found.extra_volumes),
        leftovers=tuple(leftovers),
        orphans=tuple(
            Thing(Kind.CONTAINER, str(each.name), "it is not part of this stack", service)
            for service, each in running.items()
            if service not in spec.names
        ),
        foreign=found.foreign,
        taken=(*found.names_taken, *others),
        claims=tuple(name for name in found.claims if name not in found.void_claims),
    )


def state_detail(state: Mapping[str, Any]) -> str:
    """Return why a container does not run, "" if it runs."""
    if state["Status"] == "running":
        return ""
    if state.get("OOMKilled"):
        return "it was killed for lack of memory"
    error = f": {state['Error']}" if state.get("Error") else ""
    return f"it is {state['Status']} with exit code {state.get('ExitCode')}{error}"


def _networks(client: docker.DockerClient, project: str, containers: Sequence[Container]) -> list[Mapping[str, Any]]:
    """Return the networks with the project's name, the one that its containers use first."""
    name = network_name(project)
    found = [network for network in client.api.networks(names=[name]) if network["Name"] == name]
    in_use = {
        joined.get("NetworkID") for each in containers for joined in each.attrs["NetworkSettings"]["Networks"].values()
    }
    return sorted(found, key=lambda network: (network["Id"] not in in_use, network["Created"]))


def data_state(found: Found, record: ProjectRecord) -> DataState:
    """Return the state of the data in the database's volume.

    The data is unfinished only if this home created the volume and no `up` has seen the database ready. A home that was
    lost and created again does not know the data, which must not count as unfinished.
    """
    if not found.has_volume:
        return DataState.ABSENT
    is_new = bool(found.data_owner) and found.data_owner == record.owner and not record.initialised
    return DataState.UNFINISHED if is_new else DataState.THERE


def _service(
    service: ServiceSpec, container: Container | None, data: DataState, image: str | None, network: str
) -> ObservedService:
    if container is None or container.status == "created":
        if service.is_database and data is not DataState.ABSENT:
            return ObservedService(service.name, ServiceState.STOPPED, "its container is gone, its data is there")
        return ObservedService(service.name, ServiceState.ABSENT)
    state, detail = _state(container.attrs["State"])
    joined = container.attrs["NetworkSettings"]["Networks"].get(network_name(container.labels[PROJECT]), {})
    return ObservedService(
        service.name,
        state,
        detail,
        settings=json.loads(container.labels.get(SETTINGS, "{}")),
        config_hash=container.labels.get(HASH, ""),
        outdated=_outdated(service, container, image),
        version=container.attrs["Config"]["Image"],
        pid=container.attrs["State"].get("Pid") or None,
        started_at=moment_of(container.attrs["State"].get("StartedAt")),
        thing=str(container.name),
        resumable=bool(network) and joined.get("NetworkID") == network,
    )


def _state(state: Mapping[str, Any]) -> tuple[ServiceState, str]:
    if state["Status"] == "restarting":
        return ServiceState.UNHEALTHY, state_detail(state)
    if state["Status"] != "running":
        return ServiceState.STOPPED, state_detail(state)
    # The engine's own checks may be out of date, so the service itself is asked later.
    return ServiceState.RUNNING, ""


def _outdated(service: ServiceSpec, container: Container, image: str | None) -> str:
    if image and container.attrs["Image"] != image:
        return f"its image {service.image} is another one now"
    return ""
