"""A project's containers, volume and network as the engine tells of them."""

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
from ..runtime import MOVING, RELEASE
from ..spec import DATABASE_SERVICE, ServiceSpec, StackSpec
from ..steps import container_name, network_name
from . import files, images
from .containers import CLAIM, EXTRA, HASH, OWNER, PROJECT, SERVICE, SETTINGS
from .engine import GONE


@dataclass(frozen=True)
class Found:
    """What bears a project's name on the engine; `network` is the id of its network, "" where there is none.

    `more_networks` are the ids of others of the same name, which an engine makes for a killed command and the next one.
    `is_known` says that the project had a record before: what bears no owner was made before there were any.
    `volume` is the one that the database should be in; `volumes` are the labels of all that hold a database of the
    project, `extra_volumes` those of its extra services, and `claims` those of the ones that say whose it is since it
    was taken over. `taken` are the names of containers that are no project's.
    """

    project: str
    owner: str
    is_known: bool
    containers: Sequence[Container]
    network: str
    network_labels: Mapping[str, str]
    more_networks: Sequence[str]
    volume: str
    volume_labels: Mapping[str, str] | None
    volumes: Mapping[str, Mapping[str, str]]
    extra_volumes: Mapping[str, Mapping[str, str]]
    claims: Mapping[str, Mapping[str, str]]
    taken: Sequence[str]

    @property
    def in_service(self) -> dict[str, Container]:
        """The containers that are not being replaced, by the name of their service."""
        named = {each.labels[SERVICE]: each for each in self.containers}
        by_name = {str(each.name): each for each in self.containers}
        wanted = {service: by_name.get(container_name(self.project, service)) for service in named}
        return {
            service: container
            for service, container in wanted.items()
            if container is not None and service not in (MOVING, RELEASE)
        }

    @property
    def foreign(self) -> tuple[str, ...]:
        """What bears the project's name and belongs to another home."""
        things: list[tuple[str, Mapping[str, str]]] = [
            (f"container {each.name}", each.labels) for each in self.containers
        ]
        things.append((f"network {network_name(self.project)}", self.network_labels))
        things += [(f"volume {name}", labels) for name, labels in {**self.volumes, **self.extra_volumes}.items()]
        return tuple(name for name, labels in things if not self._is_ours(labels))

    def _is_ours(self, labels: Mapping[str, str]) -> bool:
        """Labels of a volume cannot change: where there are claims, they say whose everything is."""
        if labels.get(PROJECT) != self.project:
            return True
        without = self.owner if self.is_known else ""
        return all(each.get(OWNER, without) == self.owner for each in self.claims.values() or [labels])

    @property
    def void_claims(self) -> tuple[str, ...]:
        """Claims to a project of which there is nothing left."""
        is_left = self.containers or self.volumes or self.extra_volumes or self.has_network
        return () if is_left else tuple(self.claims)

    @property
    def data_owner(self) -> str:
        """Whose the volume is, "" where nobody is named."""
        return (self.volume_labels or {}).get(OWNER, "")

    @property
    def names_taken(self) -> tuple[str, ...]:
        """What has a name of the project's without being any project's, as `container NAME`."""
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
    """Ask the engine for everything that bears the project's name."""
    labelled: dict[str, str | list[str] | bool] = {"label": [f"{PROJECT}={project}", SERVICE]}
    containers = list(client.containers.list(all=True, filters=labelled, ignore_removed=True))
    network, *more = _networks(client, project, containers) or [{}]
    volumes = _volumes(client, project)
    data = {name: labels for name, labels in volumes.items() if not {CLAIM, EXTRA} & labels.keys()}
    return Found(
        project=project,
        owner=owner,
        is_known=is_known,
        containers=containers,
        network=network.get("Id", ""),
        network_labels=network.get("Labels") or {},
        more_networks=[each["Id"] for each in more],
        volume=volume,
        volume_labels=data[volume] if volume in data else volume_labels(client, volume) if volume else None,
        volumes=data,
        extra_volumes={name: labels for name, labels in volumes.items() if EXTRA in labels},
        claims={name: labels for name, labels in volumes.items() if CLAIM in labels},
        taken=_taken(client, project, containers),
    )


def estate(client: docker.DockerClient, project: str) -> Estate:
    """What bears a project's name. Its containers tell which volume is in service: the one that they have mounted."""
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
    """A volume's labels, None for one that is not there."""
    try:
        return client.api.inspect_volume(name).get("Labels") or {}
    except GONE:
        return None


def _volumes(client: docker.DockerClient, project: str) -> dict[str, Mapping[str, str]]:
    """The labels of every volume of a project."""
    listed = client.api.volumes(filters={"label": f"{PROJECT}={project}"})["Volumes"] or []
    return {each["Name"]: each["Labels"] for each in listed}


def _taken(client: docker.DockerClient, project: str, containers: Sequence[Container]) -> list[str]:
    """The names that begin as those of the project's containers do, of others."""
    filters = {"name": f"^/?{network_name(project)}-"}
    ours = {each.id for each in containers}
    listed = [each for each in client.api.containers(all=True, filters=filters) if each["Id"] not in ours]
    return [name.removeprefix("/") for each in listed for name in each["Names"]]


def observed(client: docker.DockerClient, found: Found, spec: StackSpec, record: ProjectRecord) -> Observed:
    """The stack as it is, but for what only the services themselves can tell."""
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
    """What there is to say of a container that does not run."""
    if state["Status"] == "running":
        return ""
    if state.get("OOMKilled"):
        return "it was killed for lack of memory"
    error = f": {state['Error']}" if state.get("Error") else ""
    return f"it is {state['Status']} with exit code {state.get('ExitCode')}{error}"


def _networks(client: docker.DockerClient, project: str, containers: Sequence[Container]) -> list[Mapping[str, Any]]:
    """The networks of the project's name, the one that its containers are in first."""
    name = network_name(project)
    found = [network for network in client.api.networks(names=[name]) if network["Name"] == name]
    in_use = {
        joined.get("NetworkID") for each in containers for joined in each.attrs["NetworkSettings"]["Networks"].values()
    }
    return sorted(found, key=lambda network: (network["Id"] not in in_use, network["Created"]))


def data_state(found: Found, record: ProjectRecord) -> DataState:
    """A volume that this very home made and no `up` has seen ready holds nothing yet.

    A home that was lost and made anew knows nothing of the data, which must not count as nothing.
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
    # What the engine's own checks say is old: a service is asked itself.
    return ServiceState.RUNNING, ""


def _outdated(service: ServiceSpec, container: Container, image: str | None) -> str:
    if image and container.attrs["Image"] != image:
        return f"its image {service.image} is another one now"
    return ""
