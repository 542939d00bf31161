"""Find what keeps a stack from working. Each finding has a stable code, what was found, and a remedy."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from .. import folders
from ..archive.description import ARCHIVER
from ..errors import DatabaseLoginError, FastZeroError
from ..ha.configuration import is_server
from ..postgres.url import address, clear_password, sslmode
from ..project import HOST
from ..settings import Settings
from . import ports, probe
from .archiver import is_archiver
from .archives import ArchivedStack
from .names import default_ports, owner_of_port, port_choice, ports_asked, process_names
from .observe import head_of
from .observed import ServiceState
from .runtime import Finding, disk_finding, weak_finding
from .spec import DATABASE_SERVICE, asked_ports
from .stack import Stack
from .status import ServiceStatus

STOPPED = ServiceState.STOPPED
DAY = 24 * 60 * 60  # seconds
MAX_BACKUP_AGE = 8 * DAY  # seconds; a recovery replays all that was written since the base backup
MAX_SKEW = 2.0  # seconds; with more, timestamps of this machine and the database would be out of order


def examine(settings: Settings, *, fix: bool = False) -> list[Finding]:
    """Run every check on the settings' project, in the order in which `up` would meet the problems.

    With `fix`, set the database's password to the project's if it differs. A finding of several checks is returned
    once.
    """
    stack = Stack(settings)
    checks: list[Callable[[Stack], Iterator[Finding]]] = [
        _home,
        _disk,
        Stack.examine,
        _ports,
        _secrets,
        _services,
        _connection,
    ]
    if fix:
        checks.insert(0, _repair)
    return list(dict.fromkeys(finding for check in checks for finding in _safely(check, stack)))


def _safely(check: Callable[[Stack], Iterator[Finding]], stack: Stack) -> Iterator[Finding]:
    try:
        yield from check(stack)
    except FastZeroError as error:
        yield Finding(error.code, "failed", error.message, error.hint)


def _repair(stack: Stack) -> Iterator[Finding]:
    if not _lacks_data(stack) and stack.repair_password():
        yield Finding("password", "fixed", "the database has the project's password again")


def _home(stack: Stack) -> Iterator[Finding]:
    existing, weak = _existing(stack.project.home), folders.weakness(stack.project.home)
    if weak:
        yield weak_finding("home", weak)
    elif os.access(existing, os.W_OK):
        yield Finding("home", "ok", str(stack.project.home))
    else:
        yield Finding("home", "failed", f"{existing} is not writable", "Set FASTZERO_HOME to a folder of yours")


def _disk(stack: Stack) -> Iterator[Finding]:
    record = stack.project.record
    place = Path(record.data) if record and record.data else stack.project.home
    yield disk_finding("disk", _existing(place), "Free some space, or set FASTZERO_HOME to another disk")


def _ports(stack: Stack) -> Iterator[Finding]:
    record, running = stack.project.record, stack.running()
    application = stack.look().application
    kept = {**(record.ports if record else {}), **ports_asked(application, asked_ports(stack.settings))}
    wanted = (DATABASE_SERVICE, *process_names(stack.settings, application))
    if any(is_server(name) for name in running):
        running = {*running, DATABASE_SERVICE}  # the gateway leads to one of several
    for name, default in default_ports(application).items():
        port, service = kept.get(name), owner_of_port(name)
        if service in wanted:
            choice = port_choice(name, application)
            yield _port(service, port or default, choice, is_fixed=port is not None, runs=service in running)


def _port(service: str, port: int, choice: str, *, is_fixed: bool, runs: bool) -> Finding:
    if runs:
        return Finding("port", "ok", f"port {port} is this project's {service}")
    if ports.is_free(HOST, port):
        return Finding("port", "ok", f"port {port} is free for the {service}")
    error = ports.taken_error(service, HOST, port, choice)
    if is_fixed:
        return Finding(error.code, "failed", error.message, error.hint)
    return Finding("port", "warning", error.message, f"Nothing to do: `up` gives the {service} the next free one")


def _secrets(stack: Stack) -> Iterator[Finding]:
    record = stack.project.record
    if record and record.initialised:
        stack.project.secret("database_password")
        yield Finding("secrets", "ok", "the database's password is there")


def _services(stack: Stack) -> Iterator[Finding]:
    if _lacks_data(stack):
        return  # no service runs without data, and the runtime's own check has reported it
    try:
        services = stack.status()
    except DatabaseLoginError as error:
        yield Finding("password", "failed", error.message, error.hint)
        return
    extras = [extra.name for extra in stack.look().spec().extras] if services else []
    archivers = {each.service for each in services if is_archiver(each.service) and each.state is not STOPPED}
    if archivers:
        yield _archive(stack)
    for service in services:
        if service.service == ARCHIVER and archivers:
            continue
        if service.state is ServiceState.UNHEALTHY:
            yield Finding(service.service, "failed", service.detail, "Restart it: fastzero restart")
        elif service.state is not ServiceState.RUNNING:
            yield Finding(service.service, "warning", f"it is {service.state}", "Start it: fastzero up")
        elif service.service == DATABASE_SERVICE or (is_server(service.service) and service.address):
            yield from _database(stack, service)
        elif is_server(service.service):
            yield Finding(service.service, "ok", f"it is the {service.detail}")
        elif service.service in extras:
            yield Finding(service.service, "ok", f"it answers on {service.address}" if service.address else "it runs")
        else:
            yield Finding(service.service, "ok", f"it is ready on {service.url}")


def _archive(stack: Stack) -> Finding:
    found = ArchivedStack(stack.settings).archive_status()
    if found.state != "archiving":
        return Finding("archive", "failed", f"{found.archive}: {found.detail}", "See its log: fastzero logs archiver")
    if found.backup_age_seconds is None or found.backup_age_seconds > MAX_BACKUP_AGE:
        old = f"{found.archive}: no base backup in the last {MAX_BACKUP_AGE // DAY} days"
        return Finding("archive", "warning", old, "Take one: fastzero db archive backup")
    age = found.backup_age_seconds / DAY
    return Finding("archive", "ok", f"{found.archive}: lag {found.lag_seconds:.0f} s, base backup {age:.1f} d old")


def _database(stack: Stack, service: ServiceStatus) -> Iterator[Finding]:
    yield Finding(service.service, "ok", f"it answers on {service.address}")
    yield from _schema(service.revision, head_of(stack.look().spec()))
    yield _clock(probe.clock_skew(stack.database_url))


def _connection(stack: Stack) -> Iterator[Finding]:
    """Yield how sessions with the database of DATABASE_URL are protected."""
    if stack.settings.database_url is None:
        return
    url = stack.settings.database_url.get_secret_value()
    encrypted = "encrypted" if probe.is_encrypted(url) else "not encrypted"
    found = f"DATABASE_URL: the session with {address(url)} is {encrypted} (sslmode={sslmode(url)})"
    warning = clear_password(url)
    yield Finding("tls", "warning" if warning else "ok", found, warning)


def _schema(revision: str | None, head: str) -> Iterator[Finding]:
    """Yield whether the schema is at the revision that the code needs; nothing if only the application knows it."""
    if head and revision == head:
        yield Finding("schema", "ok", f"at head ({revision})")
    elif head:
        found = f"at {revision or 'base'}; head is {head}"
        yield Finding("schema", "failed", found, "Migrate it: fastzero migrate")


def _clock(skew: float) -> Finding:
    if abs(skew) <= MAX_SKEW:
        return Finding("clock", "ok", "the database's clock is this machine's")
    found = f"the database's clock is {abs(skew):.0f} s {'fast' if skew > 0 else 'slow'}, compared with this machine's"
    return Finding("clock", "warning", found, "Set both clocks by the network; Docker Desktop: restart it")


def _lacks_data(stack: Stack) -> bool:
    return stack.has_data and stack.look().data_is_gone


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())
