"""Observe a project's services, secrets and configs in a swarm."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import docker

from ...errors import ProjectNotFoundError
from ...project import Project
from ..actions import Kind
from ..docker.containers import HASH, OWNER, PROJECT, SERVICE, SETTINGS
from ..lines import moment_of
from ..observed import DataState, Observed, ObservedService, ServiceState, Thing
from ..runtime import RELEASE
from ..spec import ServiceSpec, StackSpec
from ..steps import container_name, network_name
from .engine import api_of
from .progress import ENDED, Progress, of_services, uneven
from .services import FILE, JOB, Mounted, contents, mounted


@dataclass(frozen=True)
class Found:
    """Everything in a swarm that has a project's name, and the nodes.

    `mounts` are the secrets and configs, each with its kind.
    """

    project: str
    owner: str
    services: Sequence[Progress]
    mounts: Sequence[tuple[Kind, Mapping[str, Any]]]
    nodes: Sequence[Mapping[str, Any]]
    taken: Sequence[str]

    def service(self, name: str) -> Progress | None:
        """Return the service of that name, None if it does not exist."""
        wanted = container_name(self.project, name)
        return next((each for each in self.services if each.service["Spec"]["Name"] == wanted), None)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the services, as they are in the project."""
        return tuple(_name(each) for each in self.services)

    @property
    def foreign(self) -> tuple[str, ...]:
        """The services that have the project's name and belong to another home."""
        specs = [each.service["Spec"] for each in self.services]
        return tuple(f"service {each['Name']}" for each in specs if each["Labels"].get(OWNER) != self.owner)


def find(client: docker.DockerClient, project: str, owner: str) -> Found:
    """Return everything in the swarm that has the project's name."""
    api, ours = api_of(client), {"label": f"{PROJECT}={project}"}
    services = list(api.services(filters=ours))
    nodes = list(api.nodes())
    secrets = [(Kind.MOUNTED_SECRET, each) for each in api.secrets(filters=ours)]
    configs = [(Kind.CONFIG, each) for each in api.configs(filters=ours)]
    ids = {each["ID"] for each in services}
    named = [each for each in api.services(filters={"name": f"{network_name(project)}-"}) if each["ID"] not in ids]
    progress = of_services(services, list(api.tasks(filters=ours)), nodes)
    taken = [f"service {each['Spec']['Name']}" for each in named]
    return Found(project, owner, progress, [*secrets, *configs], nodes, taken)


def observed(found: Found, base: Observed, spec: StackSpec, project: Project, digests: Mapping[str, str]) -> Observed:
    """Return the current stack: what is in the swarm, and `base`, which is on the engine itself.

    `digests` are those of the images that were pinned in this command.
    """
    wanted = [each for service in spec.services for each in _wanted(service, project, found.owner)]
    names = {name for _, name in wanted if name}
    there = {each["Spec"]["Name"] for _, each in found.mounts}
    left = [each for each in found.services if _name(each) == RELEASE or (_is_job(each) and _is_over(each))]
    running = [each for each in found.services if each not in left]
    used = {name for each in running for name in references(each.service["Spec"])}
    mounts = mounted_things(found)
    services = {each.name: _service(each, found, base.data, names, digests) for each in spec.services if each.deploy}
    unused = [each for each in mounts if each.name not in used and each.name not in names]
    jobs = [Thing(Kind.SERVICE, container_name(found.project, _name(each)), service=_name(each)) for each in left]
    others = [each for each in running if _name(each) not in spec.names and not _is_job(each)]
    return replace(
        base,
        services={**base.services, **services},
        leftovers=(*base.leftovers, *jobs, *unused),
        orphans=(*base.orphans, *map(_orphan, others)),
        foreign=(*base.foreign, *found.foreign),
        taken=(*base.taken, *found.taken),
        mounts=tuple(each for each in mounts if each not in unused),
        stale=tuple(each for each in mounts if each.name in used and each.name not in names),
        lacking=tuple(
            Thing(each.kind, each.name, _why(each), each.service) for each, name in wanted if name not in there
        ),
    )


def further_networks(client: docker.DockerClient, project: str) -> frozenset[str]:
    """Return the project's networks besides its own one, by name."""
    found = client.api.networks(filters={"label": f"{PROJECT}={project}"})
    return frozenset(each["Name"] for each in found) - {network_name(project)}


def _why(file: Mounted) -> str:
    return f"{file.service} mounts it as {file.path}"


def _wanted(service: ServiceSpec, project: Project, owner: str) -> list[tuple[Mounted, str]]:
    """Return what a service should mount, each with its full name; "" if its content does not exist yet."""
    if not service.deploy:
        return []
    files = mounted(project.name, service)
    try:
        texts = contents(project, service)
    except ProjectNotFoundError:
        return [(each, "") for each in files]
    return [(each, each.full_name(owner, texts[each.path])) for each in files]


def references(spec: Mapping[str, Any]) -> list[str]:
    """Return the names of the secrets and configs that a service mounts."""
    container = spec["TaskTemplate"]["ContainerSpec"]
    secrets = [each["SecretName"] for each in container.get("Secrets") or []]
    return [*secrets, *(each["ConfigName"] for each in container.get("Configs") or [])]


def _thing(kind: Kind, found: Mapping[str, Any]) -> Thing:
    return Thing(kind, found["Spec"]["Name"], service=found["Spec"]["Labels"].get(SERVICE, ""))


def mounted_things(found: Found) -> list[Thing]:
    """Return the secrets and configs of a project."""
    return [_thing(kind, each) for kind, each in found.mounts]


def things(found: Found, names: Sequence[str], cause: str) -> list[Thing]:
    """Return the named services, and then what they mount."""
    services = [
        Thing(Kind.SERVICE, str(progress.service["Spec"]["Name"]), cause, name)
        for name in names
        if (progress := found.service(name))
    ]
    return [*services, *(replace(each, cause=cause) for each in mounted_things(found) if each.service in names)]


def _name(progress: Progress) -> str:
    return str(progress.service["Spec"]["Labels"].get(SERVICE, ""))


def _is_job(progress: Progress) -> bool:
    """Return whether a service is a job, of which another command may wait for the end."""
    return _name(progress).startswith(JOB)


def _is_over(job: Progress) -> bool:
    return bool(job.tasks) and all(task["Status"]["State"] in ENDED for task in job.tasks)


def _orphan(progress: Progress) -> Thing:
    spec = progress.service["Spec"]
    return Thing(Kind.SERVICE, spec["Name"], "it is not part of this stack", _name(progress))


def _service(
    service: ServiceSpec, found: Found, data: DataState, wanted: set[str], digests: Mapping[str, str]
) -> ObservedService:
    progress = found.service(service.name)
    if progress is None:
        if service.is_database and data is not DataState.ABSENT:
            return ObservedService(service.name, ServiceState.STOPPED, "its service is gone, its data is there")
        return ObservedService(service.name, ServiceState.ABSENT)
    spec = progress.service["Spec"]
    return ObservedService(
        service.name,
        _state(progress),
        progress.detail,
        settings=json.loads(spec["Labels"].get(SETTINGS, "{}")),
        config_hash=spec["Labels"].get(HASH, ""),
        outdated=_outdated(service, spec, wanted, digests),
        version=image_of(spec).partition("@")[0],
        started_at=moment_of(progress.service["UpdatedAt"]),
        thing=str(spec["Name"]),
        tasks=progress.states(),
        update=progress.update.replace("_", " "),
        uneven=uneven(progress),
    )


def _state(progress: Progress) -> ServiceState:
    if not progress.wanted:
        return ServiceState.STOPPED
    return ServiceState.RUNNING if progress.is_complete else ServiceState.UNHEALTHY


def image_of(spec: Mapping[str, Any]) -> str:
    return str(spec["TaskTemplate"]["ContainerSpec"]["Image"])


def _outdated(service: ServiceSpec, spec: Mapping[str, Any], wanted: set[str], digests: Mapping[str, str]) -> str:
    """Return why a service must be updated although its settings are the same, "" if it need not.

    A single database reads its secrets only when its data is made, and an update would stop it.
    """
    reads_once = service.is_database and not service.is_member
    stale = [] if reads_once else [name for name in references(spec) if name not in wanted]
    if stale:
        return f"its file {stale[0].partition('.')[0].removeprefix(str(spec['Name'])).strip('-')} has changed"
    digest = image_of(spec).partition("@")[2]
    if digests.get(service.image, digest) != digest:
        return f"its image {service.image} is another one now"
    return ""


def file_labels(labels: Mapping[str, str], file: Mounted) -> dict[str, str]:
    """Return the labels of a secret or config."""
    return {**labels, SERVICE: file.service, FILE: file.path}
