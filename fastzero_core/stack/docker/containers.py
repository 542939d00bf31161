"""Return the document that the engine creates a service's container from. Pure.

The same document is sent to the engine, exported for Docker Compose, and hashed, so that every change in it recreates
the container. https://docs.docker.com/reference/api/engine/
"""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from ... import __version__
from ...project import ROLE, Project
from ..spec import Mount, ServiceSpec, data_mount, with_secrets
from ..steps import network_name

PROJECT, SERVICE, HASH, SETTINGS, VERSION, OWNER, CLAIM, EXTRA = (
    f"fastzero.{name}"
    for name in ("project", "service", "config-hash", "settings", "version", "owner", "claim", "extra")
)
# The label of volumes that a task of a swarm makes on its node, with the project's name: those of a database with
# standbys, and of archivers.
MEMBER = "fastzero.member"
SECRETS = "/run/secrets"
VARIABLES = "variables"  # the file with the secrets of a process's environment
# `docker inspect` shows a container's variables, so those that contain secrets are read from a file instead.
WITH_VARIABLES = ("/bin/sh", "-c", f'set -a; . {SECRETS}/{VARIABLES}; set +a; exec "$@"', "sh")
# An image whose own command is `uv run …` has its programs in an environment that is not in its PATH.
PATH_SCRIPT = "if [ -x .venv/bin/python ]; then PATH=$PWD/.venv/bin:$PATH; fi\n"
FIRST_START = "/docker-entrypoint-initdb.d"  # the image runs the scripts in it once it has created the data
FIRST_START_FILE = "roles.sh"
SECOND = 1_000_000_000  # nanoseconds
CHECK = {"interval": 5, "timeout": 3, "start_period": 60}  # seconds
CHECK_RETRIES = 5
CPU_SHARES = 1024  # the same share as other containers when they compete for processors


def document(project: str, service: ServiceSpec, cpus_present: int | None = None) -> dict[str, Any]:
    """Return what a container of the service is created from, without its labels.

    CPUs are limited to `cpus_present`, since an engine refuses more than it has.
    """
    return {
        "Image": service.image,
        "Cmd": list(service.arguments),
        **({"Entrypoint": list(entrypoint)} if (entrypoint := _entrypoint(service)) else {}),
        "Hostname": service.name,
        "User": service.user,
        "Env": [f"{name}={value}" for name, value in service.variables.items()],
        "ExposedPorts": {f"{inside}/tcp": {} for inside in _ports(service)},
        **_health_check(service),
        **({"StopSignal": service.stop_signal} if service.stop_signal else {}),
        "StopTimeout": int(service.stop_timeout),
        "HostConfig": _host_config(project, service, cpus_present),
        "NetworkingConfig": {"EndpointsConfig": {network_name(project): {"Aliases": [service.name]}}},
    }


def alone(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document for a container that is not in the project's network, and is removed when it ends."""
    host = {**document["HostConfig"], "NetworkMode": "bridge", "AutoRemove": True}
    return {**{name: value for name, value in document.items() if name != "NetworkingConfig"}, "HostConfig": host}


def labels(project: str, owner: str, service: ServiceSpec) -> dict[str, str]:
    """Return the labels by which a container is found again, with what it was created from."""
    return {
        **owned(project, owner),
        SERVICE: service.name,
        HASH: service.config_hash,
        SETTINGS: json.dumps(service.settings()),
        VERSION: __version__,
    }


def secrets_inside(service: ServiceSpec, project: Project) -> dict[str, str]:
    """Return the secrets that a container of the service reads, by file name."""
    role = next(iter(service.roles), ROLE)
    both = service.deploy is not None  # its tasks do not see changes of their secrets
    named = {name: project.secret_inside(name, role, service.database_at, both=both) for name in service.secrets}
    values = {name: with_secrets(text, project.secret) for name, text in service.secret_variables.items()}
    script = "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
    return {**named, **values, **({VARIABLES: PATH_SCRIPT + script} if values else {})}


def owned(project: str, owner: str) -> dict[str, str]:
    """Return the labels that everything of a project on an engine has."""
    return {PROJECT: project, OWNER: owner}


def volume_labels(project: str, owner: str, service: ServiceSpec) -> dict[str, str]:
    """Return the labels of the volume of a service's data; one label tells extra services from the database."""
    return {**owned(project, owner), SERVICE: service.name, **({EXTRA: "true"} if service.is_extra else {})}


def _entrypoint(service: ServiceSpec) -> tuple[str, ...]:
    return WITH_VARIABLES if service.secret_variables else service.entrypoint


def _ports(service: ServiceSpec) -> dict[int, int]:
    """Return the ports inside the container, each with its port on the host, 0 if it is not published."""
    return {**({service.container_port: service.port} if service.container_port else {}), **service.more_ports}


def _health_check(service: ServiceSpec) -> dict[str, Any]:
    """Return the engine's health check: without a command, an extra service has its image's, others have none."""
    if not service.health_command:
        return {} if service.is_extra else {"Healthcheck": {"Test": ["NONE"]}}
    check = {
        "Test": ["CMD", *service.health_command],
        "Interval": CHECK["interval"] * SECOND,
        "Timeout": CHECK["timeout"] * SECOND,
        "StartPeriod": CHECK["start_period"] * SECOND,
        "Retries": CHECK_RETRIES,
    }
    return {"Healthcheck": check}


def _host_config(project: str, service: ServiceSpec, cpus_present: int | None) -> dict[str, Any]:
    confined = {"ReadonlyRootfs": service.read_only, "CapDrop": ["ALL"], "CapAdd": list(service.capabilities)}
    limits = {
        "ShmSize": service.shared_memory,
        "Memory": service.memory,
        "NanoCpus": min(service.cpus, cpus_present or service.cpus) * SECOND,
        "CpuShares": 0 if service.cpus else CPU_SHARES,
        "PidsLimit": service.pids,
    }
    return {
        "NetworkMode": network_name(project),
        "PortBindings": _port_bindings(service),
        "Mounts": _mounts(service),
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
        "SecurityOpt": ["no-new-privileges"],
        "RestartPolicy": _restart_policy(service),
        "Tmpfs": dict(service.tmpfs),
        **confined,
        "Init": not (service.is_database or service.is_extra),  # some images have their own init, which must be pid 1
        **{name: value for name, value in limits.items() if value},
    }


def _port_bindings(service: ServiceSpec) -> dict[str, Any]:
    published = {inside: outside for inside, outside in _ports(service).items() if outside}
    return {
        f"{inside}/tcp": [{"HostIp": service.host, "HostPort": str(outside)}] for inside, outside in published.items()
    }


def _mount(mount: Mount) -> dict[str, Any]:
    kind = "bind" if mount.source.startswith("/") else "volume"
    return {"Type": kind, "Source": mount.source, "Target": mount.target, "ReadOnly": mount.read_only}


def _mounts(service: ServiceSpec) -> list[dict[str, Any]]:
    """Return the mounts for the data, and for secrets, a script and large files.

    All but the data are anonymous volumes, since files cannot be copied into a read-only container in another way
    before it starts. They are removed with their container.
    """
    target = data_mount(service.major) if service.is_database else service.mount
    data: list[dict[str, Any]] = []
    if service.volume:
        data = [{"Type": "volume", "Source": service.volume, "Target": target}]
    data += [_mount(each) for each in service.mounts]
    secrets = [{"Type": "volume", "Target": SECRETS}] if service.secrets or service.secret_variables else []
    scripts = [{"Type": "volume", "Target": FIRST_START}] if service.first_start else []
    scratch = [{"Type": "volume", "Target": service.scratch}] if service.scratch else []
    return [*data, *secrets, *scripts, *scratch]


def _restart_policy(service: ServiceSpec) -> Mapping[str, Any]:
    if service.restart != "on-failure":
        return {"Name": "unless-stopped" if service.restart == "always" else "no"}
    return {"Name": "on-failure", "MaximumRetryCount": service.retries}
