"""Observe the stack: what the runtime finds, and what the services themselves answer."""

import threading
from concurrent.futures import Future
from dataclasses import replace
from importlib import import_module
from typing import cast

from ..postgres.provisions import provisions
from ..project import DATABASE, ROLE, Project, ProjectRecord
from ..schema.revisions import head_revision
from . import wait
from .observed import WITHOUT_DATA, Observed, ObservedService, ServiceState
from .plan import data_is_gone
from .roles import sessions
from .runtime import Runtime
from .spec import GATEWAY, ServiceSpec, StackSpec
from .wait import Answer, ask, poll


def observe(
    spec: StackSpec,
    runtime: Runtime,
    project: Project,
    record: ProjectRecord,
    *,
    patience: float | None = None,
    is_known: bool = True,
) -> Observed:
    """Return the current state of every service.

    `patience` is the number of seconds to wait for services that run and do not answer yet.
    """
    if patience is not None:
        # The import takes as long as the engine needs to answer, so do both at the same time.
        threading.Thread(target=import_module, args=("psycopg",), daemon=True).start()
    observed = runtime.observe(spec, record, is_known=is_known)
    observed = replace(observed, missing_secrets=missing_secrets(spec, project))
    if observed.foreign:
        return observed  # its database belongs to another home
    if data_is_gone(spec, observed, record):
        database = observed.service(spec.database.name)
        observed = observed.having(replace(database, detail=f"its data is gone. {WITHOUT_DATA}"))
    first = _ask_early(spec, observed, runtime)
    if spec.shared:
        from . import standbys

        observed = standbys.observed(spec, observed, project, record, cast("standbys.Reach", runtime))
    if record.initialised or not spec.shared:  # else its roles have no passwords yet
        observed = _ask_database(spec, observed, runtime, project, patience or 0)
    for service in (*spec.extras, *spec.processes):
        found = observed.service(service.name)
        if (
            found.state is ServiceState.RUNNING
            and not service.deploy  # its swarm has been asked
            and (service.port or service.health_command)
            and (patience is None or _should_be_ready(service, spec, observed))
        ):
            observed = observed.having(
                _ask_process(service, found, runtime, min(patience or 0, wait.PATIENCE), first.get(service.name))
            )
    return observed


def missing_secrets(spec: StackSpec, project: Project) -> tuple[str, ...]:
    """Return the secrets that the services need and the project does not have yet."""
    return tuple(name for name in spec.secret_names if not project.has_secret(name))


def _ask_database(spec: StackSpec, observed: Observed, runtime: Runtime, project: Project, patience: float) -> Observed:
    found = observed.service(spec.database.name)
    if not any(observed.service(each.name).state is ServiceState.RUNNING for each in spec.servers):
        return observed
    if spec.database.deploy and not observed.service(GATEWAY).runs:
        why = "it was not asked: this manager has no gateway to it. Create one: fastzero up"
        return observed.having(replace(found, detail=why))
    service = as_it_runs(spec.database, found)
    url = project.url(ROLE, service.port)
    is_alive = lambda: runtime.is_alive(service.name)  # noqa: E731
    answer = poll(lambda: ask(service, url, runtime), is_alive, patience, min(patience, wait.PATIENCE))
    if answer.is_ready:
        there = provisions(sessions(project, service.port), DATABASE) if spec.release else None
        return replace(observed, revision=answer.revision, provisions=there)
    state = ServiceState.STOPPED if answer.ended else ServiceState.UNHEALTHY
    return observed.having(replace(found, state=state, detail=answer.reason))


def _ask_early(spec: StackSpec, observed: Observed, runtime: Runtime) -> dict[str, "Future[Answer]"]:
    """Ask the processes whether they are ready: they answer while this one imports the driver and asks the database."""
    first: dict[str, Future[Answer]] = {}
    for process in spec.processes:
        found = observed.service(process.name)
        if found.state is ServiceState.RUNNING and process.port and not process.deploy:
            service, first[process.name] = as_it_runs(process, found), Future()
            threading.Thread(target=_answer, args=(first[process.name], service, runtime), daemon=True).start()
    return first


def _answer(first: "Future[Answer]", service: ServiceSpec, runtime: Runtime) -> None:
    try:
        first.set_result(ask(service, "", runtime))
    except BaseException as error:
        first.set_exception(error)


def _ask_process(
    process: ServiceSpec, found: ObservedService, runtime: Runtime, patience: float, first: "Future[Answer] | None"
) -> ObservedService:
    """Return the process, as unhealthy if it does not become ready within `patience` seconds."""
    if first and first.result().is_ready:
        return found
    service = as_it_runs(process, found)
    answer = poll(lambda: ask(service, "", runtime), lambda: True, patience, patience)
    return found if answer.is_ready else replace(found, state=ServiceState.UNHEALTHY, detail=answer.reason)


def as_it_runs(service: ServiceSpec, found: ObservedService) -> ServiceSpec:
    """Return the service with the address that it listens on now, which may differ from its specification."""
    settings = found.settings or {}
    return replace(service, host=settings.get("host", service.host), port=int(settings.get("port", service.port)))


def head_of(spec: StackSpec) -> str:
    """Return the revision that the schema of a stack should be at, "" if only its application knows."""
    return spec.release.head if spec.release else head_revision()


def _should_be_ready(process: ServiceSpec, spec: StackSpec, observed: Observed) -> bool:
    """Return whether a process should be ready: it has all that it needs, and will not be recreated."""
    is_current = observed.service(process.name).config_hash == process.config_hash
    if process.is_extra:
        return is_current
    needed = all(observed.service(name).state is ServiceState.RUNNING for name in process.depends_on)
    return is_current and needed and observed.revision == head_of(spec)
