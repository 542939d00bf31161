"""Export the stack as a stack.yml, to continue with `docker stack deploy`."""

from collections.abc import Mapping
from typing import Any

from ...project import Project
from ..actions import Kind
from ..docker.compose import escaped
from ..docker.containers import SECOND
from ..spec import ServiceSpec, StackSpec
from ..steps import network_name
from .services import Mounted, contents, mounted, service_document

NETWORK = "services"


def stack_yaml(spec: StackSpec, project: Project, owner: str) -> str:
    """Return a stack.yml with the services of `spec` that run in a swarm.

    Writes secrets and configs to files of the project. Their names have a hash of the content, as in the swarm, so that
    another `docker stack deploy` can change them.
    """
    import yaml

    services = [each for each in spec.services if each.deploy]
    texts = {each.name: contents(project, each) for each in services}
    files = [(each, texts[each.service][each.path]) for one in services for each in mounted(project.name, one)]
    name = network_name(project.name)
    kind = {"driver": "overlay", "internal": True}
    closed = {each: {"name": network_name(project.name, each), **kind} for each in spec.networks}
    content = {
        "version": "3.9",
        "services": {each.name: _service(spec.project, each) for each in services},
        "networks": {NETWORK: {"name": name, "driver": "overlay", "attachable": True}, **closed},
        "volumes": {each.name: {"name": each.volume} for each in services if each.volume},
        "secrets": _files(project, files, owner, Kind.MOUNTED_SECRET),
        "configs": _files(project, files, owner, Kind.CONFIG),
    }
    header = f"# Made by `fastzero export stack`, for: docker stack deploy -c FILE {name}\n"
    return header + yaml.safe_dump(escaped(content), sort_keys=False, allow_unicode=True, width=120)


def _files(project: Project, files: list[tuple[Mounted, str]], owner: str, kind: Kind) -> dict[str, Any]:
    return {
        _source(each): {
            "name": each.full_name(owner, text),
            "file": str(project.file_for_compose(_source(each), text)),
        }
        for each, text in files
        if each.kind is kind
    }


def _source(file: Mounted) -> str:
    return f"{file.service}.{file.file}"


def _service(project: str, service: ServiceSpec) -> dict[str, Any]:
    """Return a service's document in Compose's format, without empty values."""
    document = service_document(project, service)
    template = document["TaskTemplate"]
    container: Mapping[str, Any] = template["ContainerSpec"]
    files = mounted(project, service)
    check: Mapping[str, Any] = container.get("Healthcheck", {})
    written = {
        "image": service.image,
        "entrypoint": container.get("Command"),
        # fastzero does not run here to migrate, so a process that can migrate does so before it serves.
        "command": [*container.get("Args", []), *service.migrates],
        "environment": dict(service.variables),
        "user": service.user,
        "read_only": service.read_only,
        "init": container.get("Init"),
        "cap_drop": container.get("CapabilityDrop"),
        "cap_add": container.get("CapabilityAdd"),
        "stop_signal": service.stop_signal,
        "stop_grace_period": f"{service.stop_timeout:g}s",
        "healthcheck": _health_check(check),
        "secrets": [_mounted(each, container["Secrets"]) for each in files if each.kind is Kind.MOUNTED_SECRET],
        "configs": [_mounted(each, container["Configs"]) for each in files if each.kind is Kind.CONFIG],
        "volumes": [_mount(service, each) for each in container.get("Mounts", [])],
        "networks": _networks(service),
        "ports": [_port(each) for each in document["EndpointSpec"]["Ports"]],
        "logging": {"driver": template["LogDriver"]["Name"], "options": template["LogDriver"]["Options"]},
        "deploy": _deploy(service, document),
    }
    return {name: value for name, value in written.items() if value}


def _networks(service: ServiceSpec) -> dict[str, Any]:
    first, *others = [each or NETWORK for each in (service.deploy.networks if service.deploy else ("",))]
    return {first: {"aliases": [service.name]}, **dict.fromkeys(others)}


def _mounted(file: Mounted, references: list[dict[str, Any]]) -> dict[str, Any]:
    target = next(each["File"] for each in references if each["File"]["Name"] == file.path)
    return {
        "source": _source(file),
        "target": target["Name"],
        "uid": target["UID"],
        "gid": target["GID"],
        "mode": target["Mode"],
    }


def _mount(service: ServiceSpec, mount: Mapping[str, Any]) -> dict[str, Any]:
    if mount["Type"] == "tmpfs":
        options = mount["TmpfsOptions"]
        size = {"tmpfs": {"size": options["SizeBytes"]}} if "SizeBytes" in options else {}
        return {"type": "tmpfs", "target": mount["Target"], **size}
    source = {"source": service.name} if mount.get("Source") else {}
    return {"type": "volume", **source, "target": mount["Target"]}


def _port(port: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "target": port["TargetPort"],
        "published": port["PublishedPort"],
        "protocol": port["Protocol"],
        "mode": port["PublishMode"],
    }


def _health_check(check: Mapping[str, Any]) -> dict[str, Any]:
    if not check:
        return {}
    if check["Test"] == ["NONE"]:
        return {"disable": True}
    names = {"interval": "Interval", "timeout": "Timeout", "start_period": "StartPeriod"}
    times = {name: f"{check[key] // SECOND}s" for name, key in names.items()}
    return {"test": check["Test"], **times, "retries": check["Retries"]}


def _deploy(service: ServiceSpec, document: Mapping[str, Any]) -> dict[str, Any]:
    template, update = document["TaskTemplate"], document["UpdateConfig"]
    placement = template["Placement"]
    rolling = {
        "parallelism": update["Parallelism"],
        "order": update["Order"],
        "monitor": f"{update['Monitor'] // SECOND}s",
    }
    limits = {"memory": f"{service.memory // 2**20}M" if service.memory else None, "cpus": str(service.cpus or "")}
    mode = {"replicas": service.deploy.replicas} if service.deploy and service.deploy.replicas else {"mode": "global"}
    return {
        **mode,
        "endpoint_mode": document["EndpointSpec"]["Mode"],
        "placement": {
            **({"constraints": placement["Constraints"]} if placement["Constraints"] else {}),
            "preferences": [{"spread": each["Spread"]["SpreadDescriptor"]} for each in placement["Preferences"]],
        },
        "update_config": {**rolling, "failure_action": "rollback"},
        "rollback_config": {**rolling, "failure_action": "pause"},
        "restart_policy": {"condition": template["RestartPolicy"]["Condition"], "delay": "2s"},
        "resources": {"limits": {name: value for name, value in limits.items() if value}},
    }
