"""Turn the extra services of a user's application, such as Redis, into services of a stack."""

import os
import shlex
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ..application.commands import plain_words, split
from ..application.description import Application, ExtraService
from ..application.environment import ServiceAddress, program_words
from ..config_files import PROJECT_FILE
from ..errors import DependenciesMissingError, FastZeroError, InvalidInputError
from ..project import HOST, ProjectRecord
from .spec import RETRIES, ServiceSpec, memory_of, volume_name, writable_folders
from .surroundings import Surroundings

GRACE = 2.0  # seconds that a service without a port and a health check must run to be ready
# Each can replace the other if only one of them is installed.
ALIKE = {"redis-server": "valkey-server", "valkey-server": "redis-server"}
INSTALL = {"redis-server": "apt install redis-server, brew install redis"}


def port_names(service: ExtraService) -> dict[int, str]:
    """Return the name of each of a service's ports in the record; the main port has the service's name."""
    main = service.ports[:1]
    return {port: service.name if port in main else f"{service.name}:{port}" for port in service.ports}


def default_ports(application: Application) -> dict[str, int]:
    """Return the default ports of the services on this machine, by name."""
    return {
        name: service.published.get(port, port)
        for service in application.services
        for port, name in port_names(service).items()
    }


def ports_chosen(application: Application) -> dict[str, int]:
    """Return the ports that the description chooses, by name."""
    return {
        name: service.published[port]
        for service in application.services
        for port, name in port_names(service).items()
        if port in service.published
    }


def addresses(application: Application, where: Surroundings) -> dict[str, ServiceAddress]:
    """Return the address of each service, as seen from the surroundings."""
    return {service.name: _address(service, where) for service in application.services}


def _address(service: ExtraService, where: Surroundings) -> ServiceAddress:
    if where.in_containers:
        return ServiceAddress(service.name, {port: port for port in service.ports})
    return ServiceAddress(HOST, _outside(service, where.ports))


def _outside(service: ExtraService, ports: Mapping[str, int]) -> dict[int, int]:
    return {port: ports.get(name, port) for port, name in port_names(service).items()}


def service_specs(
    project: str, application: Application, where: Surroundings, names: tuple[str, ...]
) -> Iterator[ServiceSpec]:
    """Yield the named services."""
    make = _container if where.in_containers else _local
    for service in application.services:
        if service.name in names:
            yield make(project, application, service, where)


def _container(project: str, application: Application, service: ExtraService, where: Surroundings) -> ServiceSpec:
    outside, confined = _outside(service, where.ports), service.container
    [main, *others] = service.ports or (0,)
    return ServiceSpec(
        name=service.name,
        is_extra=True,
        described_at=_place(service),
        port=outside.get(main, 0),
        container_port=main,
        more_ports={port: outside[port] for port in others},
        image=service.image,
        volume=volume_name(project, service.name) if service.volume else "",
        mount=service.volume or "",
        variables=service.environment,
        command=tuple(shlex.split(service.command or "")),
        health_command=plain_words(service.health) if service.health else (),
        grace=0 if service.ports or service.health else GRACE,
        readiness=None,
        roles=(),
        stop_signal="",
        user=confined.user or "",
        read_only=confined.read_only,
        tmpfs=writable_folders(confined.writable, confined.user or ""),
        capabilities=confined.capabilities,
        memory=memory_of(confined.memory),
        restart="on-failure",
        retries=RETRIES,
        port_choice=port_choice(service),
    )


def _local(project: str, application: Application, service: ExtraService, where: Surroundings) -> ServiceSpec:
    address = _address(service, where)
    words = program_words(service, address)
    program = _installed(words[0], where.programs) if words else ""
    return ServiceSpec(
        name=service.name,
        is_extra=True,
        port=next(iter(address.ports.values()), 0),
        more_ports=dict(list(address.ports.items())[1:]),
        directory=str(Path(where.state) / "services" / service.name),
        programs=(where.programs,) if where.programs else (),
        variables={"PYTHONPATH": str(application.root), **service.environment},
        command=(program or words[0], *words[1:]) if words else (),
        grace=0 if service.ports else GRACE,
        readiness=None,
        roles=(),
        restart="on-failure",
        retries=RETRIES,
        port_choice=port_choice(service),
    )


def port_choice(service: ExtraService, name: str = "") -> str:
    """Return how users choose a port of a service, by default the main one, as `ServiceSpec.port_choice`."""
    inside = next((port for port, each in port_names(service).items() if each == (name or service.name)), 0)
    return f'ports = ["{{}}:{inside}"] in [services.{service.name}] ({_place(service)})'


def _place(service: ExtraService) -> str:
    """Return the file and line that describe a service."""
    return f"{PROJECT_FILE}:{service.line}"


def _installed(program: str, programs: str) -> str:
    """Return the name of the program, or of its replacement, that is installed, "" if neither is."""
    path = os.pathsep.join(filter(None, [programs, os.environ.get("PATH", os.defpath)]))
    names = (program, ALIKE.get(program, program))
    return next((name for name in names if shutil.which(name, path=path)), "")


def address_variables(services: Iterable[ServiceSpec]) -> dict[str, str]:
    """Return the addresses of services on this machine as environment variables."""
    found: dict[str, str] = {}
    for service in services:
        name = service.name.upper().replace("-", "_")
        main = {f"{name}_PORT": str(service.port)} if service.port else {}
        more = {f"{name}_PORT_{inside}": str(outside) for inside, outside in service.more_ports.items()}
        found |= {f"{name}_HOST": service.host, **main, **more}
    return found


def with_data(application: Application, record: ProjectRecord) -> tuple[str, ...]:
    """Return the services of a project that keep data."""
    is_local = record.runtime == "embedded"
    run = [service for service in application.services if service.name in record.processes]
    return tuple(service.name for service in run if is_local or service.volume)


# -- missing programs ------------------------------------------------------------------------------------------


def without_program(application: Application, programs: str) -> tuple[str, ...]:
    """Return the services that cannot run without Docker on this machine."""
    return tuple(service.name for service in application.services if _lacks(service, programs))


def _lacks(service: ExtraService, programs: str) -> bool:
    return not service.program or not _installed(_first_word(service.program), programs)


def _first_word(program: str) -> str:
    return next(word for word in split(program) if "=" not in word)


def refuse_without_program(application: Application, programs: str, names: tuple[str, ...], *, is_new: bool) -> None:
    """Raise an error for the first named service without a program on this machine.

    Raises InvalidInputError if the description names none, DependenciesMissingError if it is not installed. `is_new`
    says that the project can still choose its runtime.
    """
    for service in application.services:
        if service.name in names and _lacks(service, programs):
            docker = "fastzero up --runtime docker" if is_new else "fastzero db move --to docker"
            raise _lack(service, docker)


def _lack(service: ExtraService, docker: str) -> FastZeroError:
    named = f"{_place(service)}: services.{service.name}"
    ways = (
        f"use containers: {docker}. Or remove the table, and write the address of one that runs elsewhere into"
        " [application.environment]"
    )
    if not service.program:
        what = f"{named} has an image alone, and without Docker only an installed program can run"
        return InvalidInputError(what, field=f"services.{service.name}", hint=f'Add: program = "COMMAND". Or {ways}')
    program = _first_word(service.program)
    how = f" ({INSTALL[program]})" if program in INSTALL else ""
    return DependenciesMissingError(f"{named}: {program} is not installed", hint=f"Install {program}{how}. Or {ways}")
