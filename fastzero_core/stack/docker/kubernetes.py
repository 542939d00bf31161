"""Export the stack to Kubernetes, with the database as a cluster of CloudNativePG. Pure but for reading secrets.

One namespace is one project: its services have the names by which the processes know them.
https://kubernetes.io/docs/reference/ and https://cloudnative-pg.io/documentation/current/cloudnative-pg.v1/
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ...errors import InvalidInputError
from ...project import DATABASE, DATABASE_PORT, PASSWORDS, ROLE, Project
from ..spec import HEALTH, READINESS, ServiceSpec, StackSpec, hash_of
from .containers import CHECK, CHECK_RETRIES, SECRETS, document, secrets_inside

HEADER = """\
# Made by `fastzero export kubernetes`. It needs the CloudNativePG operator, and a namespace of its own.
# First its secrets: fastzero export kubernetes --secrets | kubectl apply -f -
"""
DATABASE_IMAGE = "ghcr.io/cloudnative-pg/postgresql"
INSTANCES = 3  # of the database
REPLICAS = 2  # of each process that listens
STORAGE = "10Gi"
OWNER_SECRET = "database-owner"  # noqa: S105 - a name
BACKUP_SECRET = "database-backup"  # noqa: S105 - a name
BACKUP_SCHEDULE = "0 0 3 * * *"  # every day at three; the first field is the second
RETENTION = "30d"
REQUESTED_CPU = "100m"  # what a process is promised; it may use more
MINIMUM_CONTEXT = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}

BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]+(/\S*)?")
REGISTRY = re.compile(r"[A-Za-z0-9.-]+(:\d{1,5})?(/[a-z0-9._-]+)*/?")
EXPANDED = re.compile(r"\$(?=[$(])")

Manifest = dict[str, Any]


def kubernetes_yaml(spec: StackSpec, *, registry: str = "", backup_to: str = "") -> str:
    """Return the manifests of a stack, without its secrets.

    `registry` is where the built images are pushed; `backup_to` is an S3 address for backups of the database. Raises
    InvalidInputError if one is not that.
    """
    _check(registry, REGISTRY, "registry", "registry.example.com/team")
    _check(backup_to, BUCKET, "backup_to", "s3://BUCKET/PREFIX")
    return HEADER + _yaml([*_database(spec.database, backup_to), *_release(spec, registry), *_services(spec, registry)])


def secrets_yaml(spec: StackSpec, project: Project) -> str:
    """Return the secrets that the manifests refer to, with their values."""
    owner = {"username": ROLE, "password": project.secret(PASSWORDS[ROLE])}
    secrets = [_secret(OWNER_SECRET, owner, "kubernetes.io/basic-auth")]
    secrets += [_secret(_secret_name(each), secrets_inside(each, project)) for each in _with_secrets(spec)]
    return _yaml(secrets)


def _check(value: str, pattern: re.Pattern[str], field: str, example: str) -> None:
    if value and not pattern.fullmatch(value):
        option = f"--{field.replace('_', '-')}"
        raise InvalidInputError(f"{option} {value!r} must look like {example}", field=field)


def _literal(text: str) -> str:
    """Return a text that Kubernetes, which expands $(NAME), leaves as it is."""
    return EXPANDED.sub("$$", text)


def _literals(texts: Iterable[str]) -> list[str]:
    return [_literal(text) for text in texts]


def _yaml(manifests: list[Manifest]) -> str:
    import yaml

    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    return yaml.dump_all(manifests, Dumper=Plain, sort_keys=False, allow_unicode=True, width=120)


def _with_secrets(spec: StackSpec) -> list[ServiceSpec]:
    return [each for each in spec.services if not each.is_database and _has_secrets(each)]


def _secret_name(service: ServiceSpec) -> str:
    return f"{service.name}-secrets"


def _secret(name: str, values: Mapping[str, str], kind: str = "Opaque") -> Manifest:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": kind, "stringData": dict(values)}


# -- the database ----------------------------------------------------------------------------------------------


def _database(service: ServiceSpec, backup_to: str) -> Iterator[Manifest]:
    """Yield the cluster: a write is acknowledged once a second node has it, else not at all."""
    extensions = [f'CREATE EXTENSION IF NOT EXISTS "{name}"' for name in service.needs.extensions]
    schemas = [f'CREATE SCHEMA IF NOT EXISTS "{name}" AUTHORIZATION "{ROLE}"' for name in service.needs.schemas]
    statements = {"postInitApplicationSQL": [*extensions, *schemas]} if extensions or schemas else {}
    if service.needs.superuser:
        statements["postInitSQL"] = [f'ALTER ROLE "{ROLE}" SUPERUSER']
    memory = {"resources": {name: {"memory": _mebibytes(service)} for name in ("requests", "limits")}}
    cluster = {
        "instances": INSTANCES,
        "imageName": f"{DATABASE_IMAGE}:{service.major}",
        "storage": {"size": STORAGE},
        **(memory if service.memory else {}),
        "postgresql": {
            "parameters": dict(service.configuration),
            "synchronous": {"method": "any", "number": 1, "dataDurability": "required", "failoverQuorum": True},
        },
        "bootstrap": {
            "initdb": {
                "database": DATABASE,
                "owner": ROLE,
                "secret": {"name": OWNER_SECRET},
                "encoding": "UTF8",
                "dataChecksums": True,
                **statements,
            }
        },
        # The primary has the name by which the processes know the database.
        "managed": {"services": {"additional": [_primary(service.name)]}},
        **({"backup": _backup(backup_to)} if backup_to else {}),
    }
    meta = {"name": f"{service.name}-cluster"}
    yield {"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "metadata": meta, "spec": cluster}
    if backup_to:
        schedule = {"schedule": BACKUP_SCHEDULE, "cluster": meta, "backupOwnerReference": "self"}
        name = {"name": f"{service.name}-daily"}
        yield {"apiVersion": "postgresql.cnpg.io/v1", "kind": "ScheduledBackup", "metadata": name, "spec": schedule}


def _primary(name: str) -> Manifest:
    ports = [{"name": "postgres", "port": DATABASE_PORT, "targetPort": DATABASE_PORT}]
    return {"selectorType": "rw", "serviceTemplate": {"metadata": {"name": name}, "spec": {"ports": ports}}}


def _backup(destination: str) -> Manifest:
    keys = {
        name: {"name": BACKUP_SECRET, "key": key}
        for name, key in (("accessKeyId", "ACCESS_KEY_ID"), ("secretAccessKey", "ACCESS_SECRET_KEY"))
    }
    store = {"destinationPath": destination, "s3Credentials": keys, "wal": {"compression": "gzip"}}
    return {"retentionPolicy": RETENTION, "barmanObjectStore": store}


# -- processes -------------------------------------------------------------------------------------------------


def _release(spec: StackSpec, registry: str) -> Iterator[Manifest]:
    """Yield the job that migrates the schema. A new image or command has a new name, since a job cannot be changed."""
    migrating = next((each for each in spec.processes if each.migrates), None)
    if spec.release:
        service, commands = spec.release.service, spec.release.commands
        named = next(iter(_with_secrets(spec)), service)
    elif migrating:
        service, commands, named = migrating, (("migrate", "up"),), migrating
    else:
        return
    parts = [
        {"name": f"step-{number}", **_container(spec, service, registry, command)}
        for number, command in enumerate(commands, 1)
    ]
    if not parts:
        return
    pod = {
        **_pod(service, _secret_name(named)),
        "restartPolicy": "Never",
        **({"initContainers": parts[:-1]} if parts[1:] else {}),
        "containers": parts[-1:],
    }
    name = f"migrate-{hash_of({'image': service.image, 'commands': commands})[:8]}"
    job = {"backoffLimit": 3, "template": {"metadata": {"labels": {"app": "migrate"}}, "spec": pod}}
    yield {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": job}


def _services(spec: StackSpec, registry: str) -> Iterator[Manifest]:
    for service in (*spec.extras, *spec.processes):
        yield _deployment(spec, service, registry)
        if service.container_port:
            yield _service(service)
        if service.volume:
            yield _claim(service)
        if _replicas(service) > 1:
            yield _budget(service)


def _replicas(service: ServiceSpec) -> int:
    return REPLICAS if service.container_port and not service.is_extra else 1


def _deployment(spec: StackSpec, service: ServiceSpec, registry: str) -> Manifest:
    chosen = {"app": service.name}
    container = {
        "name": service.name,
        **_container(spec, service, registry, service.arguments),
        **_ports(service),
        **_probes(service),
    }
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": chosen},
    }
    pod = {**_pod(service, _secret_name(service)), "topologySpreadConstraints": [spread], "containers": [container]}
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    content = {
        "replicas": _replicas(service),
        "selector": {"matchLabels": chosen},
        # Two pods cannot share a volume, so the old one ends first.
        "strategy": {"type": "Recreate"} if service.volume else rolling,
        "template": {"metadata": {"labels": chosen}, "spec": pod},
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": service.name}, "spec": content}


def _service(service: ServiceSpec) -> Manifest:
    ports = [
        {"name": f"port-{port}", "port": port, "targetPort": port}
        for port in (service.container_port, *service.more_ports)
    ]
    content = {"selector": {"app": service.name}, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": service.name}, "spec": content}


def _claim(service: ServiceSpec) -> Manifest:
    content = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": STORAGE}}}
    name = {"name": f"{service.name}-data"}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": name, "spec": content}


def _budget(service: ServiceSpec) -> Manifest:
    content = {"maxUnavailable": 1, "selector": {"matchLabels": {"app": service.name}}}
    name = {"name": service.name}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": name, "spec": content}


def _pod(service: ServiceSpec, secret: str) -> Manifest:
    """Return a pod's own part, by the restricted profile of the Pod Security Standards."""
    user, _, group = service.user.partition(":")
    ids = {"runAsUser": int(user), "fsGroup": int(group or user)} if user.isdigit() else {}
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,  # their variables could be taken for settings
        "terminationGracePeriodSeconds": int(service.stop_timeout),
        "securityContext": {"runAsNonRoot": True, **ids, "seccompProfile": {"type": "RuntimeDefault"}},
        "volumes": _volumes(service, secret),
    }


def _volumes(service: ServiceSpec, secret: str) -> list[Manifest]:
    secrets = [{"name": "secrets", "secret": {"secretName": secret, "defaultMode": 0o440}}]
    scratch = [
        {"name": f"scratch-{number}", "emptyDir": {"medium": "Memory", "sizeLimit": _size(options)}}
        for number, options in enumerate(service.tmpfs.values())
    ]
    data = [{"name": "data", "persistentVolumeClaim": {"claimName": f"{service.name}-data"}}]
    return [
        *(secrets if _has_secrets(service) else []),
        *scratch,
        *(data if service.volume else []),
    ]


def _container(spec: StackSpec, service: ServiceSpec, registry: str, command: tuple[str, ...]) -> Manifest:
    """Return a container's own part, from the document that the engine would get."""
    made_of = document(spec.project, service)
    mounts = [
        *([{"name": "secrets", "mountPath": SECRETS, "readOnly": True}] if _has_secrets(service) else []),
        *({"name": f"scratch-{number}", "mountPath": path} for number, path in enumerate(service.tmpfs)),
        *([{"name": "data", "mountPath": service.mount}] if service.volume else []),
    ]
    variables = [{"name": name, "value": _literal(value)} for name, value in service.variables.items()]
    limits = {"memory": _mebibytes(service)} if service.memory else {}
    cpus = {"cpu": str(service.cpus)} if service.cpus else {}
    return {
        "image": f"{registry.rstrip('/')}/{service.image}" if registry and service.is_built else service.image,
        **({"command": _literals(made_of["Entrypoint"])} if "Entrypoint" in made_of else {}),
        "args": _literals(command),
        **({"env": variables} if variables else {}),
        "resources": {"requests": {"cpu": REQUESTED_CPU, **limits}, "limits": {**cpus, **limits}},
        "securityContext": {**MINIMUM_CONTEXT, "readOnlyRootFilesystem": service.read_only},
        "volumeMounts": mounts,
    }


def _has_secrets(service: ServiceSpec) -> bool:
    return bool(service.secrets or service.secret_variables)


def _ports(service: ServiceSpec) -> Manifest:
    inside = [port for port in (service.container_port, *service.more_ports) if port]
    return {"ports": [{"containerPort": port} for port in inside]} if inside else {}


def _probes(service: ServiceSpec) -> Manifest:
    """Return separate probes: a process whose database is away is alive, but must get no requests."""
    if service.is_extra and service.health_command:
        check: Manifest = {"exec": {"command": _literals(service.health_command)}}
        return {"livenessProbe": {**check, **_times()}, "readinessProbe": {**check, **_times()}}
    if not service.container_port:
        return {}
    opened = {"tcpSocket": {"port": service.container_port}}
    ready = _get(service, service.readiness) if service.readiness else opened
    alive = _get(service, HEALTH) if service.readiness == READINESS and service.migrates else opened
    startup = {**alive, **_times(), "failureThreshold": CHECK["start_period"] // CHECK["interval"]}
    return {"startupProbe": startup, "livenessProbe": {**alive, **_times()}, "readinessProbe": {**ready, **_times()}}


def _get(service: ServiceSpec, path: str) -> Manifest:
    return {"httpGet": {"path": path, "port": service.container_port}}


def _times() -> Manifest:
    return {
        "periodSeconds": CHECK["interval"],
        "timeoutSeconds": CHECK["timeout"],
        "failureThreshold": CHECK_RETRIES,
    }


def _mebibytes(service: ServiceSpec) -> str:
    return f"{service.memory // 2**20}Mi"


def _size(options: str) -> str:
    """Return the size of a tmpfs, `size=64m,mode=1777`, as Kubernetes writes it."""
    found = re.search(r"size=(\d+)m", options)
    return f"{found[1]}Mi" if found else "64Mi"
