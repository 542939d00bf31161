"""Export the stack as a compose.yaml, to continue with Docker Compose."""

import os
from collections.abc import Mapping
from typing import Any

from ...project import Project
from ..spec import ServiceSpec, StackSpec
from .containers import (
    CHECK,
    FIRST_START,
    FIRST_START_FILE,
    OWNER,
    VARIABLES,
    document,
    secrets_inside,
    volume_labels,
)

HEADER = "# Made by `fastzero export compose`. Secrets stay in files of this machine.\n"


def compose_yaml(spec: StackSpec, project: Project) -> str:
    """Return a compose.yaml with the services, images, secrets and volumes of `spec`, for `docker compose up --wait`.

    Writes the secrets to files of the project.
    """
    import yaml

    database = spec.database
    files = {
        name: project.file_for_compose(name, project.secret_inside(name, service.roles[0]))
        for service in spec.services
        for name in service.secrets
    }
    for service in spec.services:
        for name in service.secret_variables and (*service.secret_variables, VARIABLES):
            value = secrets_inside(service, project)[name]
            files[_source(service, name)] = project.file_for_compose(_source(service, name), value)
    files[FIRST_START_FILE] = project.file_for_compose(FIRST_START_FILE, database.first_start)
    content = {
        "name": f"fastzero-{project.name}",
        "services": {service.name: _service(spec, service) for service in spec.services},
        "volumes": {service.name: _volume(project.name, service) for service in spec.services if service.volume},
        "secrets": {name: {"file": str(path)} for name, path in sorted(files.items())},
    }
    return HEADER + yaml.safe_dump(escaped(content), sort_keys=False, allow_unicode=True, width=120)


def _volume(project: str, service: ServiceSpec) -> dict[str, Any]:
    """Return a volume with fastzero's labels, in case Docker Compose creates it; without an owner."""
    labels = {name: value for name, value in volume_labels(project, "", service).items() if name != OWNER}
    return {"name": service.volume, "labels": labels}


def _first_start(service: ServiceSpec) -> list[dict[str, str]]:
    target = f"{FIRST_START}/{FIRST_START_FILE}"
    return [{"source": FIRST_START_FILE, "target": target}] if service.first_start else []


def escaped(part: Any) -> Any:
    """Double every dollar sign, since Compose would expand a variable after a single one."""
    match part:
        case str():
            return part.replace("$", "$$")
        case dict():
            return {name: escaped(value) for name, value in part.items()}
        case list():
            return [escaped(value) for value in part]
    return part


def _service(spec: StackSpec, service: ServiceSpec) -> dict[str, Any]:
    """Return the container's document in Compose's format, without empty values."""
    made_of = document(spec.project, service, os.cpu_count())
    host: Mapping[str, Any] = made_of["HostConfig"]
    ports = {service.container_port: service.port, **service.more_ports}
    written = {
        "image": made_of["Image"],
        # fastzero does not run here to migrate, so a process that can migrate does so before it serves.
        "entrypoint": made_of.get("Entrypoint"),
        "command": [*made_of["Cmd"], *service.migrates],
        "environment": dict(service.variables),
        "ports": [f"{service.host}:{outside}:{inside}" for inside, outside in ports.items() if outside],
        "secrets": [*service.secrets, *_own_secrets(service), *_first_start(service)],
        "volumes": [
            *(f"{service.name}:{mount['Target']}" for mount in host["Mounts"] if "Source" in mount),
            *([service.scratch] if service.scratch else []),
        ],
        "depends_on": {name: {"condition": _condition(spec.service(name))} for name in service.depends_on},
        "healthcheck": _health_check(made_of.get("Healthcheck", {})),
        "stop_signal": made_of.get("StopSignal"),
        "stop_grace_period": f"{made_of['StopTimeout']}s",
        "user": made_of["User"],
        "security_opt": [f"{option}:true" for option in host["SecurityOpt"]],
        "read_only": host.get("ReadonlyRootfs"),
        "cap_drop": host.get("CapDrop"),
        "cap_add": host.get("CapAdd"),
        "init": host.get("Init"),
        "tmpfs": [f"{path}:{options}" for path, options in host["Tmpfs"].items()],
        "shm_size": host.get("ShmSize"),
        "mem_limit": host.get("Memory"),
        "cpu_shares": host.get("CpuShares"),
        "cpus": host.get("NanoCpus", 0) / 1e9,
        "pids_limit": host.get("PidsLimit"),
        "restart": _restart(service),
    }
    return {name: value for name, value in written.items() if value}


def _source(service: ServiceSpec, name: str) -> str:
    return f"{service.name}.{name}"


def _own_secrets(service: ServiceSpec) -> list[dict[str, str]]:
    """Return the files of the secret variables, each under its own name."""
    names = [*service.secret_variables, VARIABLES] if service.secret_variables else []
    return [{"source": _source(service, name), "target": name} for name in names]


def _condition(service: ServiceSpec) -> str:
    """Return the condition to wait for a service. Without a health check, Compose knows only that it was started."""
    return "service_healthy" if service.health_command else "service_started"


def _health_check(check: Mapping[str, Any]) -> dict[str, Any]:
    if not check:
        return {}
    if check["Test"] == ["NONE"]:
        return {"disable": True}
    times = {name: f"{seconds}s" for name, seconds in CHECK.items()}
    return {"test": check["Test"], **times, "retries": check["Retries"]}


def _restart(service: ServiceSpec) -> str | None:
    if service.restart == "always":
        return "unless-stopped"
    return f"on-failure:{service.retries}" if service.restart == "on-failure" else None
