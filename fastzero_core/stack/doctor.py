"""What keeps a stack from working: each finding with a stable code, what was seen, and what to do."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import FastZeroError
from ..revisions import head_revision
from ..settings import Settings
from . import ports
from .binaries import find_binaries
from .plan import ServiceState
from .project import HOST, Project, project_of
from .stack import DEFAULT_PORTS, Stack
from .user import service_user

LOW_DISK = 500 * 2**20  # bytes; PostgreSQL keeps up to a gigabyte of write-ahead log


@dataclass(frozen=True)
class Finding:
    """One check. `result` is ok, warning or failed; a warning stops nothing yet."""

    code: str
    result: str
    found: str
    remedy: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Every check on the settings' project, in the order in which `up` would meet the trouble."""
    project = project_of(settings)
    checks: tuple[Callable[[Project, Settings], Iterator[Finding]], ...] = (
        _home,
        _disk,
        _account,
        _binaries,
        _port,
        _secrets,
        _stack,
    )
    return [finding for check in checks for finding in _safely(check, project, settings)]


def _safely(
    check: Callable[[Project, Settings], Iterator[Finding]], project: Project, settings: Settings
) -> Iterator[Finding]:
    try:
        yield from check(project, settings)
    except FastZeroError as error:
        yield Finding(error.code, "failed", error.message, error.hint)


def _home(project: Project, _: Settings) -> Iterator[Finding]:
    import os

    existing = _existing(project.home)
    if os.access(existing, os.W_OK):
        yield Finding("home", "ok", str(project.home))
    else:
        yield Finding("home", "failed", f"{existing} is not writable", "Set FASTZERO_HOME to a folder of yours")


def _disk(project: Project, _: Settings) -> Iterator[Finding]:
    record = project.record
    place = Path(record.data) if record and record.data else project.home
    free = shutil.disk_usage(_existing(place)).free
    found = f"{free / 2**30:.1f} GiB free at {place}"
    yield (
        Finding("disk", "ok", found)
        if free > LOW_DISK
        else Finding("disk", "failed", found, "Free some space, or set FASTZERO_HOME to another disk")
    )


def _account(_: Project, __: Settings) -> Iterator[Finding]:
    user = service_user()
    yield Finding("account", "ok", f"PostgreSQL runs as {user.name}" if user else "PostgreSQL runs as you")


def _binaries(project: Project, _: Settings) -> Iterator[Finding]:
    binaries = find_binaries(_data_major(project))
    yield Finding("postgres", "ok", f"PostgreSQL {binaries.version} in {binaries.folder}")


def _port(project: Project, settings: Settings) -> Iterator[Finding]:
    record = project.record
    kept = record.ports.get("database") if record else None
    port = settings.database_port or kept or DEFAULT_PORTS["database"]
    if ports.is_free(HOST, port):
        yield Finding("port", "ok", f"port {port} is free")
    elif record and _runs(settings):
        yield Finding("port", "ok", f"port {port} is this project's")
    elif kept or settings.database_port:
        error = ports.taken_error(HOST, port)
        yield Finding(error.code, "failed", error.message, error.hint)
    else:
        owner = ports.owner_of(port) or "another process"
        yield Finding(
            "port", "warning", f"port {port} is taken by {owner}", "Nothing to do: `up` takes the next free one"
        )


def _secrets(project: Project, _: Settings) -> Iterator[Finding]:
    if project.record and _data_major(project) is not None:
        project.secret("database_password")
        yield Finding("secrets", "ok", "the database's password is there")


def _stack(_: Project, settings: Settings) -> Iterator[Finding]:
    for service in Stack(settings).status():
        if service.state is ServiceState.UNHEALTHY:
            yield Finding(service.service, "failed", service.detail, "Start it anew: fastzero restart")
        elif service.state is not ServiceState.RUNNING:
            yield Finding(service.service, "warning", f"it is {service.state}", "Start it: fastzero up")
        else:
            yield Finding(service.service, "ok", f"it answers on {service.address}")
            yield from _schema(service.revision)


def _schema(revision: str | None) -> Iterator[Finding]:
    if revision == head_revision():
        yield Finding("schema", "ok", f"at head ({revision})")
    else:
        found = f"at {revision or 'base'}; head is {head_revision()}"
        yield Finding("schema", "failed", found, "Bring it to head: fastzero migrate")


def _runs(settings: Settings) -> bool:
    return any(service.state is ServiceState.RUNNING for service in Stack(settings).status())


def _data_major(project: Project) -> int | None:
    record = project.record
    version = Path(record.data) / "PG_VERSION" if record and record.data else None
    return int(version.read_text()) if version and version.exists() else None


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())
