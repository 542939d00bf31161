"""The stack as a compose.yaml, for those who want to go on with Docker Compose. Pure but for the YAML library."""

import os
from typing import Any

from ...project import Project
from ..spec import APP_SERVICE, DATABASE_SERVICE, ServiceSpec, StackSpec, data_mount
from .hardening import APP_USER, DATABASE_SHM, TMPFS, app_cpus, app_memory, app_pids

HEADER = "# Made by `fastzero export compose`. Secrets stay in files of this machine.\n"


def compose_yaml(spec: StackSpec, project: Project) -> str:
    """What `docker compose up --wait` brings to health: the services, images, secrets and volume of `spec`."""
    import yaml

    secrets = sorted({name for service in spec.services for name in service.secrets})
    document = {
        "name": f"fastzero-{project.name}",
        "services": {service.name: _service(service) for service in spec.services},
        # Labelled as fastzero does, for the case that this is what makes it.
        "volumes": {
            DATABASE_SERVICE: {
                "name": spec.service(DATABASE_SERVICE).volume,
                "labels": {"fastzero.project": project.name, "fastzero.service": DATABASE_SERVICE},
            }
        },
        "secrets": {name: {"file": str(project.container_secret(name))} for name in secrets},
    }
    return HEADER + yaml.safe_dump(_escaped(document), sort_keys=False, allow_unicode=True, width=120)


def _escaped(part: Any) -> Any:
    """Every dollar twice: Compose would look for a variable behind it."""
    match part:
        case str():
            return part.replace("$", "$$")
        case dict():
            return {name: _escaped(value) for name, value in part.items()}
        case list():
            return [_escaped(value) for value in part]
    return part


def _service(service: ServiceSpec) -> dict[str, Any]:
    common = {
        "image": service.image,
        "ports": [f"{service.host}:{service.port}:{service.container_port}"],
        "secrets": list(service.secrets),
        "healthcheck": {
            "test": ["CMD", *service.health_command],
            "interval": "5s",
            "timeout": "3s",
            "retries": 5,
            "start_period": "60s",
        },
        "stop_signal": service.stop_signal,
        "stop_grace_period": f"{service.stop_timeout:.0f}s",
        "security_opt": ["no-new-privileges:true"],
    }
    return common | (_app(service) if service.name == APP_SERVICE else _database(service))


def _database(service: ServiceSpec) -> dict[str, Any]:
    settings = [part for name, value in service.configuration.items() for part in ("-c", f"{name}={value}")]
    command = {"command": ["postgres", *settings]} if settings else {}
    return {
        **command,
        "environment": dict(service.variables),
        "volumes": [f"{DATABASE_SERVICE}:{data_mount(service.major)}"],
        "shm_size": DATABASE_SHM,
    }


def _app(service: ServiceSpec) -> dict[str, Any]:
    return {
        # Nobody migrates from outside here: the app does before it serves.
        "command": [*service.command, "--migrate"],
        **({"environment": dict(service.variables)} if service.variables else {}),
        "depends_on": {name: {"condition": "service_healthy"} for name in service.depends_on},
        "user": APP_USER,
        "read_only": True,
        "tmpfs": [f"{path}:{options}" for path, options in TMPFS.items()],
        "cap_drop": ["ALL"],
        "init": True,
        "mem_limit": app_memory(service.workers),
        "cpus": app_cpus(service.workers, os.cpu_count()),
        "pids_limit": app_pids(service.workers),
        "restart": "on-failure:5",
    }
