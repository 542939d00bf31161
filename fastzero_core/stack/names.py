"""The names of a stack's services and of their ports, those of a user's application included.

Without such an application nothing that reads or runs one is imported.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ..settings import Settings
from .spec import APP_SERVICE, DATABASE_SERVICE, DEFAULT_PORTS, PORT_OPTIONS

if TYPE_CHECKING:
    from ..application.description import Application, Process


def service_names(application: "Application") -> dict[str, "Process"]:
    """Return the process of each service, by the service's name: one service for each replica."""
    found: dict[str, Process] = {}
    for process in application.processes:
        replicas = range(1, process.replicas + 1)
        names = [process.name] if process.replicas == 1 else [f"{process.name}-{number}" for number in replicas]
        found |= dict.fromkeys(names, process)
    return found


def one_service_each(application: "Application") -> "Application":
    """Return the application with one service for all replicas of a process: a swarm starts the tasks."""
    processes = tuple(replace(each, replicas=1, tasks=max(each.tasks, each.replicas)) for each in application.processes)
    return replace(application, processes=processes)


def as_run_in(runtime: str, application: "Application | None") -> "Application | None":
    """Return the application as that runtime runs it."""
    return one_service_each(application) if application and runtime == "swarm" else application


def of_same_processes(names: tuple[str, ...], application: "Application") -> tuple[str, ...]:
    """Return the services of the processes that the named ones run, perhaps with other numbers, and the other names.

    A process that listens has one service in every runtime, and keeps its ports.
    """
    own = {each.name for each in application.processes}
    extras = {each.name for each in application.services}
    run = {name: name if name in own | extras else re.sub(r"-\d+$", "", name) for name in names}
    others = (name for name, process in run.items() if process not in own)
    wanted = set(run.values())
    return (*others, *(name for name, each in service_names(application).items() if each.name in wanted))


def process_names(settings: Settings, application: "Application | None", app: bool | None = None) -> tuple[str, ...]:
    """Return the services to run besides the database. `app` says whether the application's processes should run."""
    is_wanted = settings.app if app is None else app
    if application is None:
        return (APP_SERVICE,) if is_wanted else ()
    processes = tuple(service_names(application)) if is_wanted else ()
    return (*(service.name for service in application.services), *processes)


def default_ports(application: "Application | None") -> dict[str, int]:
    """Return the default ports of services, by service; services without a port are left out."""
    if application is None:
        return DEFAULT_PORTS
    from . import extras

    named = {name: process.port for name, process in service_names(application).items() if process.port}
    return {DATABASE_SERVICE: DEFAULT_PORTS[DATABASE_SERVICE], **named, **extras.default_ports(application)}


def owner_of_port(name: str) -> str:
    """Return the service of a port, by the port's name: `SERVICE` for the first port, `SERVICE:PORT` for others."""
    return name.partition(":")[0]


def ports_asked(application: "Application | None", asked: Mapping[str, int]) -> dict[str, int]:
    """Return the requested ports, by name; the port of the app is that of the process that answers HTTP."""
    if application is None:
        return dict(asked)
    from . import extras

    named = {name: port for name, port in asked.items() if name != APP_SERVICE}
    web = {application.web.name: asked[APP_SERVICE]} if application.web and APP_SERVICE in asked else {}
    return {**named, **web, **extras.ports_chosen(application)}


def port_choice(name: str, application: "Application | None" = None) -> str:
    """Return how to choose the port of that name, in the format of `ServiceSpec.port_choice`."""
    for service in application.services if application else ():
        if service.name == owner_of_port(name):
            from . import extras

            return extras.port_choice(service, name)
    return PORT_OPTIONS.get(name, PORT_OPTIONS[APP_SERVICE])
