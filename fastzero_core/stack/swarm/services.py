"""Return the document that a swarm runs a service from. Pure.

It is the specification of a service in the engine's API, but for what only the swarm knows: the ids of secrets and
configs, and the digests of images. https://docs.docker.com/reference/api/engine/
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from ...project import Project
from ..actions import Kind
from ..docker.containers import MEMBER, SECOND, SECRETS, VARIABLES, document, secrets_inside
from ..spec import ServiceSpec
from ..steps import container_name, network_name

FILE, TASK = "fastzero.file", "fastzero.task"
JOB = "job_"  # how the names of jobs begin, as no service of a user can; several may run at a time
INTERVAL = {True: 2, False: 3}  # seconds between two checks, of the database and of others
TIMEOUT, RETRIES = 5, 5
START = {True: 600, False: 60}  # seconds in which a failed check does not count: a recovery can take long
START_INTERVAL = 1  # seconds, where the engine knows it
MONITOR = 5  # seconds in which a failure of a new task still undoes the update
RESTART_DELAY = 2  # seconds
ONE_BY_ONE = {"Parallelism": 1, "Delay": 0, "MaxFailureRatio": 0}
ZONE = "node.labels.zone"  # tasks are spread over its values, and over nodes in each
NAME_LENGTH = 64  # of a secret or config
DIGITS = 12


@dataclass(frozen=True)
class Mounted:
    """A file that the tasks of a service mount. `name` is that of its secret or config, without a hash."""

    kind: Kind
    file: str
    path: str
    name: str
    service: str

    def full_name(self, owner: str, content: str) -> str:
        """Return the name with a hash of the content: a swarm cannot change a secret or config."""
        made_of = json.dumps([owner, self.name, content])
        digest = hashlib.sha256(made_of.encode()).hexdigest()[:DIGITS]
        return f"{self.name[: NAME_LENGTH - DIGITS - 1].rstrip('-_.')}.{digest}"


def mounted(project: str, service: ServiceSpec) -> list[Mounted]:
    """Return the files that the tasks of a service mount."""
    prefix = container_name(project, service.name)
    secrets = [*service.secrets, *service.secret_variables, *([VARIABLES] if service.secret_variables else [])]
    found = [
        Mounted(Kind.MOUNTED_SECRET, name, f"{SECRETS}/{name}", f"{prefix}-{name}", service.name) for name in secrets
    ]
    paths = [PurePosixPath(path) for path in service.deploy.files] if service.deploy else []
    return [
        *found,
        *(Mounted(Kind.CONFIG, path.name, str(path), f"{prefix}-{path.name}", service.name) for path in paths),
    ]


def contents(project: Project, service: ServiceSpec) -> dict[str, str]:
    """Return the content of each mounted file, by its path inside. Raises ProjectNotFoundError without the secrets."""
    secrets = {f"{SECRETS}/{name}": text for name, text in secrets_inside(service, project).items()}
    return {**secrets, **(service.deploy.files if service.deploy else {})}


def service_document(project: str, service: ServiceSpec) -> dict[str, Any]:
    """Return the specification of a service, without its labels, and with names without hashes and digests."""
    deploy = service.deploy
    assert deploy is not None, "it runs in a swarm"
    mode = {"Replicated": {"Replicas": deploy.replicas}} if deploy.replicas else {"Global": {}}
    order = {"Order": "start-first" if deploy.start_first else "stop-first"}
    ports = [
        {"Protocol": protocol, "TargetPort": inside, "PublishedPort": outside, "PublishMode": "host"}
        for outside, inside in deploy.ports.items()
        for protocol in (("tcp", "udp") if outside == 443 else ("tcp",))
    ]
    monitor = {"Monitor": int(max(MONITOR, service.grace + 1) * SECOND)}
    return {
        "Name": container_name(project, service.name),
        "TaskTemplate": task_template(project, service),
        "Mode": mode,
        "UpdateConfig": {**ONE_BY_ONE, **order, **monitor, "FailureAction": "rollback"},
        "RollbackConfig": {**ONE_BY_ONE, **order, **monitor, "FailureAction": "pause"},
        # A virtual address hides clients, and drops connections that are idle for long.
        "EndpointSpec": {"Mode": "dnsrr", "Ports": ports},
    }


def job_document(project: str, service: ServiceSpec) -> dict[str, Any]:
    """Return the specification of a job: one task that runs once.

    A job of the swarm's own would leave its container on the node, which keeps the volumes in use.
    """
    template = {**task_template(project, service), "RestartPolicy": {"Condition": "none"}}
    template["ContainerSpec"] = {**template["ContainerSpec"], "Healthcheck": {"Test": ["NONE"]}}
    return {
        "Name": container_name(project, service.name),
        "TaskTemplate": template,
        "Mode": {"Replicated": {"Replicas": 1}},
        "EndpointSpec": {"Mode": "dnsrr", "Ports": []},
    }


def task_template(project: str, service: ServiceSpec) -> dict[str, Any]:
    """Return what a task of the service runs, and where."""
    deploy, made_of = service.deploy, document(project, service)
    host: Mapping[str, Any] = made_of["HostConfig"]
    limits = {"MemoryBytes": service.memory, "NanoCPUs": service.cpus * SECOND, "Pids": service.pids}
    node = [f"node.id=={deploy.node}"] if deploy and deploy.node else []
    files = mounted(project, service)
    container = {
        "Image": service.image,
        "Command": made_of.get("Entrypoint"),
        "Args": made_of["Cmd"],
        "Env": [_literal(each) for each in made_of["Env"]],
        "User": service.user,
        "StopSignal": service.stop_signal,
        "StopGracePeriod": int(service.stop_timeout * SECOND),
        "ReadOnly": service.read_only,
        "Init": host["Init"],
        "CapabilityDrop": host["CapDrop"],
        "CapabilityAdd": host["CapAdd"],
        "Privileges": {"NoNewPrivileges": True},
        "Healthcheck": _health_check(service),
        "Mounts": list(_mounts(project, service, host)),
        "Secrets": [_reference(service, each) for each in files if each.kind is Kind.MOUNTED_SECRET],
        "Configs": [_reference(service, each) for each in files if each.kind is Kind.CONFIG],
    }
    return {
        "ContainerSpec": {name: value for name, value in container.items() if value},
        "Resources": {"Limits": {name: value for name, value in limits.items() if value}},
        "RestartPolicy": _restart_policy(service),
        "Placement": {"Constraints": node, "Preferences": [{"Spread": {"SpreadDescriptor": ZONE}}]},
        "Networks": _networks(project, service),
        "LogDriver": {"Name": host["LogConfig"]["Type"], "Options": host["LogConfig"]["Config"]},
    }


def _networks(project: str, service: ServiceSpec) -> list[dict[str, Any]]:
    """Return the networks of a service, with its name in the first one."""
    if service.deploy and not service.deploy.networks:
        return []
    first, *others = service.deploy.networks if service.deploy else ("",)
    named = {"Target": network_name(project, first), "Aliases": [service.name]}
    return [named, *({"Target": network_name(project, each)} for each in others)]


def _literal(text: str) -> str:
    """Return a text that a swarm, which expands templates in variables, leaves as it is."""
    return text.replace("{{", '{{"{{"}}')


def _restart_policy(service: ServiceSpec) -> dict[str, Any]:
    """Return when a task is replaced. A lost node counts as a failure, so the number of failures has no limit."""
    return {
        "Condition": "none" if service.restart == "no" and not service.is_database else "any",
        "Delay": RESTART_DELAY * SECOND,
    }


def _health_check(service: ServiceSpec) -> dict[str, Any]:
    if not service.health_command:
        return {} if service.is_extra else {"Test": ["NONE"]}
    return {
        "Test": ["CMD", *service.health_command],
        "Interval": INTERVAL[service.is_database] * SECOND,
        "Timeout": TIMEOUT * SECOND,
        "StartPeriod": START[service.is_database] * SECOND,
        "StartInterval": START_INTERVAL * SECOND,
        "Retries": RETRIES,
    }


def _mounts(project: str, service: ServiceSpec, host: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the mounts of data, large files, and folders in memory, one of which is the shared memory."""
    targets = set(service.deploy.files) if service.deploy else set()
    made_there = {each.source for each in service.mounts} | ({service.volume} if service.is_member else set())
    for mount in host["Mounts"]:
        if mount["Target"] != SECRETS and not any(
            PurePosixPath(path).parent == PurePosixPath(mount["Target"]) for path in targets
        ):
            is_labelled = mount["Type"] == "volume" and mount.get("Source") in made_there
            yield {**mount, **({"VolumeOptions": {"Labels": {MEMBER: project}}} if is_labelled else {})}
    for path, options in service.tmpfs.items():
        yield _in_memory(path, options)
    if service.shared_memory:
        yield {
            "Type": "tmpfs",
            "Target": "/dev/shm",  # noqa: S108 - in the container
            "TmpfsOptions": {"SizeBytes": service.shared_memory, "Mode": 0o1777},
        }


def _in_memory(path: str, options: str) -> dict[str, Any]:
    """Return the mount for the options of a tmpfs, such as `size=64m,mode=1777`."""
    size, mode = re.search(r"size=(\d+)m", options), re.search(r"mode=([0-7]+)", options)
    sized = {"SizeBytes": int(size[1]) * 2**20} if size else {}
    return {"Type": "tmpfs", "Target": path, "TmpfsOptions": {**sized, "Mode": int(mode[1], 8) if mode else 0o1777}}


def _reference(service: ServiceSpec, file: Mounted) -> dict[str, Any]:
    """Return the reference to a secret or config, by its name without a hash."""
    user, _, group = service.user.partition(":")
    is_secret = file.kind is Kind.MOUNTED_SECRET
    target = {
        "Name": file.path,
        "UID": user if user.isdigit() else "0",
        "GID": (group or user) if user.isdigit() else "0",
        "Mode": 0o400 if is_secret and user.isdigit() else 0o444,
    }
    return {"SecretName" if is_secret else "ConfigName": file.name, "File": target}
