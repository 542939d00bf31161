"""Plan actions from the specified and the current stack. Pure: the plan that `up --dry-run` prints is what runs."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ..errors import ConflictError, DataGoneError, ForeignStackError
from ..project import ProjectRecord
from . import rolling, steps
from .actions import NEW, OLD, PROVISIONS, Action, Kind, Verb
from .archiver import is_archiver
from .observed import DataState, Observed, ObservedService, ServiceState, Thing
from .spec import GATEWAY, ServiceSpec, StackSpec, changed

ANOTHER_WAY = "fastzero makes it in another way now"


@dataclass(frozen=True)
class RecordChange:
    """The current record, None before the first `up`, the new record, and the cause of the change."""

    before: ProjectRecord | None
    after: ProjectRecord
    cause: str = "its ports or processes were chosen again"

    @property
    def is_none(self) -> bool:
        return self.before == self.after


def plan_up(spec: StackSpec, observed: Observed, head: str, change: RecordChange) -> list[Action]:
    """Return the actions that start the stack as specified, with its schema at `head`; [] if it already runs so.

    Raises ForeignStackError, DataGoneError if the data that was served before is missing, ConflictError.
    """
    refuse_foreign(spec.project, observed.foreign)
    refuse_if_data_is_gone(spec, observed, change.after)
    cleared, observed = _clear(spec, observed, change)
    stopped, observed = steps.without_processes(spec, observed, change.after)
    work: list[Action] = []
    for service in spec.services:
        if service == next(iter(spec.processes), None):
            work += _prepare(spec, observed, change.after, work)
        work += _converge(spec, service, observed)
    if not spec.processes:
        work += _prepare(spec, observed, change.after, work)
    work = rolling.one_by_one(spec, observed, work)
    actions = [
        *cleared,
        *stopped,
        *write(change),
        *_secrets(observed),
        *_network(spec, observed, work),
        *_until_ready(spec, observed, head, work, change.after),
    ]
    return _possible(actions, observed)


def plan_restart(
    spec: StackSpec, observed: Observed, names: Sequence[str], head: str, change: RecordChange
) -> list[Action]:
    """Return the actions that stop and start the named services, and start what they need. Raises as `plan_up` does."""
    refuse_foreign(spec.project, observed.foreign)
    refuse_if_data_is_gone(spec, observed, change.after)
    cleared, observed = _clear(spec, observed, change)
    needed = {name for service in spec.services if service.name in names for name in service.depends_on}
    work = [action for service in spec.services for action in _restart(spec, service, observed, names, needed)]
    work = rolling.one_by_one(spec, observed, work)
    services = [replace(each, roles=change.after.roles) if each.is_database else each for each in spec.services]
    as_they_are = replace(spec, services=tuple(services))
    ready = _until_ready(as_they_are, observed, head, work, change.after)
    ready = [each for each in ready if each.kind not in PROVISIONS]
    return _possible([*cleared, *write(change), *_network(spec, observed, work), *ready], observed)


def plan_down(spec: StackSpec, observed: Observed, names: Iterable[str] | None = None) -> list[Action]:
    """Return the actions that stop services, dependents first, and remove containers; default: all, with orphans."""
    refuse_foreign(spec.project, observed.foreign)
    wanted = set(spec.names if names is None else names)
    orphans = observed.orphans if names is None else ()
    orphaned = [action for orphan in orphans for action in steps.take_away_orphan(orphan)]
    actions = [*_sweep(observed.leftovers), *orphaned]
    for service in reversed(spec.services):
        found = observed.service(service.name)
        if service.name in wanted:
            actions += steps.take_away(service, found, f"it is {found.state}")
    mounts = (each for each in observed.mounts if names is None or each.service in wanted)
    actions += _sweep(replace(each, cause="its service is gone") for each in mounts)
    others = [name for name in spec.names if name not in wanted and observed.service(name).thing]
    if len(orphans) == len(observed.orphans) and not others:
        cause = "nothing is left in it"
        named = [*([steps.network_name(spec.project)] if observed.network else []), *sorted(observed.networks)]
        actions += [Action(Verb.REMOVE, Kind.NETWORK, name, cause) for name in named]
    return actions


def plan_destroy(project: str, things: Iterable[Thing]) -> list[Action]:
    """Return the actions that destroy the data of a stopped project, and then its folder."""
    cause = "its data was asked to go"
    actions = [replace(action, cause=cause) for action in _sweep(things)]
    return [*actions, Action(Verb.REMOVE, Kind.PROJECT, project, cause)]


def plan_password(database: ServiceSpec, observed: Observed) -> list[Action]:
    """Return the actions that set a database's passwords to the project's. A local server is stopped for this."""
    cause = "the database has another password than the project"
    setting = Action(Verb.SET, Kind.PASSWORD, database.name, cause, database.name, subject=database)
    if database.image:
        return [setting, steps.wait(database)]
    stopping = steps.stop(database, observed.service(database.name), cause)
    again = Action(Verb.START, Kind.PROCESS, database.name, cause, database.name, subject=database)
    return [*stopping, setting, again, steps.wait(database)]


def plan_stop(spec: StackSpec, observed: Observed, names: Iterable[str], cause: str) -> list[Action]:
    """Return the actions that stop the named services, dependents first. Each can be started again unchanged."""
    wanted = set(names)
    chosen = [service for service in reversed(spec.services) if service.name in wanted]
    return [action for each in chosen for action in steps.stop(each, observed.service(each.name), cause)]


def plan_start_database(spec: StackSpec, observed: Observed, cause: str) -> list[Action]:
    """Return the actions that start only the database, unchanged; [] if it runs."""
    if observed.service(spec.database.name).runs:
        return []
    swept = list(_sweep(observed.leftovers))
    resting = [each for each in spec.services if not observed.service(each.name).runs]  # its archiver too
    work = [action for each in resting for action in steps.start(spec.project, each, observed, cause)]
    return _possible([*swept, *_network(spec, observed, work), *work], observed)


def plan_marks(things: Iterable[Thing]) -> list[Action]:
    """Return the actions that mark folders which fastzero created before it marked folders."""
    return [Action(Verb.CREATE, thing.kind, thing.name, thing.cause) for thing in things]


def plan_discard(things: Iterable[Thing]) -> list[Action]:
    """Return the actions that destroy the data at a place, and stop what serves it there."""
    return list(_sweep(things))


def plan_adopt(spec: StackSpec, observed: Observed, head: str, change: RecordChange) -> list[Action]:
    """Return the actions that take over a stack whose project folder is lost: all that used old secrets is recreated.

    Nothing is stopped before the data is known to be complete and of a version that can be run. Old containers are kept
    until the new ones are ready. Raises ConflictError if there is nothing to take over.
    """
    if observed.data is not DataState.THERE:
        raise ConflictError(f"there is nothing of a project {spec.project} to take over", hint="Start it: fastzero up")
    cause = "it is taken over"
    names = [steps.container_name(spec.project, service.name) for service in spec.services]
    needed = {*names, *(f"{name}{NEW}" for name in names)}  # such leftovers were never started
    in_the_way = [thing for thing in observed.leftovers if thing.name in needed]
    others = [thing for thing in observed.leftovers if thing not in in_the_way]
    work: list[Action] = []
    for service in spec.services:
        work += _take_over(spec.project, service, observed, others, cause)
        if service.is_database:
            work += [*_claim(spec, service, change.after, cause), *_change_roles(service, change.after, work)]
    actions = [
        *_sweep(in_the_way),
        *write(change),
        *_secrets(observed),
        *_network(spec, observed, work),
        *_until_ready(spec, observed, head, work, change.after),
        *(Action(Verb.REMOVE, Kind.CLAIM, name, "the project has changed hands again") for name in observed.claims),
    ]
    return _possible(actions, observed)


def _take_over(
    project: str, service: ServiceSpec, observed: Observed, leftovers: list[Thing], cause: str
) -> Iterator[Action]:
    """Yield the actions that recreate a service and, once the data is checked, remove the previous home's leftovers."""
    make = steps.replace if observed.service(service.name).thing else steps.create
    for action in make(project, service, observed, cause):
        yield action
        if action.verb is Verb.CHECK:
            yield replace(action, kind=Kind.DATABASE, cause="only a whole database can be taken over")
            yield from _sweep(leftovers)


def _claim(spec: StackSpec, database: ServiceSpec, record: ProjectRecord, cause: str) -> list[Action]:
    """Return the actions that set a password unknown to the previous home, and record the project's new owner."""
    claim = f"{steps.network_name(spec.project)}-owner-{record.owner}"
    return [
        Action(Verb.SET, Kind.PASSWORD, database.name, cause, database.name, subject=database),
        Action(Verb.CREATE, Kind.CLAIM, claim, "the home before must not touch it any more"),
    ]


def _possible(actions: list[Action], observed: Observed) -> list[Action]:
    """Return the actions. Raises ConflictError if one needs a name that something else has."""
    for action in actions:
        name = action.to or action.name
        if action.verb in (Verb.CREATE, Verb.RENAME) and f"{action.kind} {name}" in observed.taken:
            raise taken_error(action.kind, name, told="Nothing was changed. ")
    return actions


def taken_error(kind: str, name: str, *, told: str = "") -> ConflictError:
    """Return the error for a name of the project's that something else on the engine has."""
    return ConflictError(
        f"there is a {kind} {name} already, and it is not this project's",
        hint=f"{told}Use another project: -p NAME. Or remove it: docker {kind} rm {name}",
    )


def refuse_foreign(project: str, foreign: Sequence[str]) -> None:
    """Raise ForeignStackError if things with the project's name belong to another home."""
    if foreign:
        raise ForeignStackError(
            f"project {project} on this engine belongs to another FASTZERO_HOME: {', '.join(foreign)}",
        )


def data_is_gone(spec: StackSpec, observed: Observed, record: ProjectRecord) -> bool:
    """Return whether the data of a database that was ready before is missing, and it does not run."""
    gone = record.initialised and observed.data is DataState.ABSENT
    return gone and not observed.service(spec.database.name).runs


def refuse_if_data_is_gone(spec: StackSpec, observed: Observed, record: ProjectRecord) -> None:
    """Raise DataGoneError if the data of a database that was ready before is missing."""
    if data_is_gone(spec, observed, record):
        back = f" Or go back: fastzero db place use {record.kept[-1].name}." if record.kept else ""
        raise DataGoneError(
            f"{_described(spec.database)}, which holds the database, is gone",
            hint=f"Nothing was changed. Restore it.{back} See the backups: fastzero db backup list. Or begin with"
            " an empty database: fastzero up --start-over",
        )


def _described(database: ServiceSpec) -> str:
    return f"volume {database.volume}" if database.image else f"data directory {database.data}"


def _clear(spec: StackSpec, observed: Observed, change: RecordChange) -> tuple[list[Action], Observed]:
    """Return the actions that remove leftovers and unfinished data, and the state of the stack after them."""
    actions = list(_sweep(observed.leftovers))
    observed = replace(observed, leftovers=())
    found = observed.service(spec.database.name)
    if observed.data is not DataState.UNFINISHED or found.state is ServiceState.RUNNING:
        return actions, observed
    cause = "its first initialisation never ended"
    actions += steps.take_away(spec.database, found, cause)
    actions.append(steps.remove_data(spec.database, cause))
    absent = replace(found, state=ServiceState.ABSENT, thing="", config_hash=None)
    return actions, replace(observed.having(absent), data=DataState.ABSENT)


def _sweep(things: Iterable[Thing]) -> Iterator[Action]:
    for thing in things:
        verb = Verb.STOP if thing.kind in (Kind.PROCESS, Kind.BACKENDS) else Verb.REMOVE
        yield Action(verb, thing.kind, thing.name, thing.cause, thing.service, subject=thing.subject)


def write(change: RecordChange) -> list[Action]:
    if change.is_none:
        return []
    return [Action(Verb.WRITE, Kind.RECORD, "project.json", change.cause, subject=(change.before, change.after))]


def _secrets(observed: Observed) -> list[Action]:
    cause = "the project has none yet"
    return [Action(Verb.CREATE, Kind.SECRET, name, cause) for name in observed.missing_secrets]


def _network(spec: StackSpec, observed: Observed, work: Sequence[Action]) -> list[Action]:
    joins = (Kind.CONTAINER, Kind.SERVICE)
    makes_containers = any(each.verb is Verb.CREATE and each.kind in joins for each in work)
    if not makes_containers:
        return []
    causes = {steps.network_name(spec.project): "its services meet in it"} if observed.network is False else {}
    further = {steps.network_name(spec.project, each): "only its members meet in it" for each in spec.networks}
    causes |= {name: cause for name, cause in further.items() if name not in observed.networks}
    return [Action(Verb.CREATE, Kind.NETWORK, name, cause) for name, cause in causes.items()]


def _converge(spec: StackSpec, service: ServiceSpec, observed: Observed) -> list[Action]:
    found = observed.service(service.name)
    match found.state:
        case ServiceState.ABSENT:
            return list(steps.create(spec.project, service, observed, "it does not exist yet"))
        case ServiceState.UNHEALTHY if _recovers(service, found):
            return []
        case ServiceState.UNHEALTHY if not service.deploy:
            return list(steps.replace(spec.project, service, observed, found.detail or "it does not answer"))
    if found.config_hash != service.config_hash and (found.runs or found.exists):
        difference = changed(found.settings or {}, service.settings()) or ANOTHER_WAY
        return list(steps.replace(spec.project, service, observed, f"its configuration changed: {difference}"))
    if found.outdated:
        return list(steps.replace(spec.project, service, observed, found.outdated))
    if found.state is ServiceState.STOPPED:
        return list(steps.start(spec.project, service, observed, found.detail or "it is stopped"))
    return []


def _recovers(service: ServiceSpec, found: ObservedService) -> bool:
    """Return whether a swarm is replacing the tasks of a service that is as specified: it only needs time."""
    is_as_specified = found.config_hash == service.config_hash and not found.outdated
    return bool(service.deploy) and found.state is ServiceState.UNHEALTHY and is_as_specified


def _is_waited_for(service: ServiceSpec, observed: Observed) -> bool:
    """Return whether to wait for a service that its swarm starts again. A database does without one of its nodes."""
    is_one_of_several = service.is_member or is_archiver(service.name)
    can_do_without = is_one_of_several and observed.cluster is not None and observed.cluster.is_writable
    return _recovers(service, observed.service(service.name)) and not can_do_without


def _restart(
    spec: StackSpec, service: ServiceSpec, observed: Observed, names: Sequence[str], needed: set[str]
) -> Iterator[Action]:
    found = observed.service(service.name)
    if service.name in names and found.runs and service.deploy:
        return iter([steps.roll(spec.project, service, "a restart was asked for")])
    if service.name in names and found.runs:
        return steps.replace(spec.project, service, observed, "a restart was asked for")
    if service.name in names or (service.name in needed and not found.runs):
        cause = "it is not running" if service.name in names else "others need it"
        if found.state is ServiceState.ABSENT:
            return steps.create(spec.project, service, observed, cause)
        return steps.start(spec.project, service, observed, cause)
    return iter(())


def _until_ready(
    spec: StackSpec, observed: Observed, head: str, work: Sequence[Action], record: ProjectRecord
) -> list[Action]:
    """Return the work, then waits for the affected services, the migration, and the removal of replaced containers.

    The built-in application starts during its migration, and waits for it itself. A user's application may not wait, so
    its processes are started only once the services that they and the migrations may use are ready, and the schema is
    at the revision that their code needs.
    """
    database, touched = spec.database, {action.service for action in work}
    touched |= {each.name for each in spec.services if _is_waited_for(each, observed)}
    names = {process.name for process in spec.processes} if spec.release else set()
    later = [action for action in work if action.service in names]
    actions = [action for action in work if action.service not in names]
    if steps.wait(database) not in work and touched.intersection(each.name for each in spec.servers):
        actions.append(steps.wait(database))
    actions += rolling.settings(spec, observed)
    surplus = steps.surplus_roles(database, record.roles)
    image = database.base_image or database.image
    ready = replace(record, initialised=True, image=image, roles=(*database.roles, *surplus))
    actions += write(RecordChange(record, ready, "its database has been ready"))
    actions += steps.provide(database, None if database.name in touched else observed.provisions)
    actions += [steps.wait(extra) for extra in spec.extras if extra.name in touched]
    schema = _schema(spec, observed, head, touched) if spec.release is None or spec.release.commands else []
    actions += [*schema, *later]
    if touched or schema:
        actions += [steps.wait(process) for process in spec.processes]
    if surplus:
        actions += [*steps.remove_roles(database, surplus), *write(_without_roles(ready, database))]
    olds = [action for action in work if action.verb is Verb.RENAME and action.to.endswith(OLD)]
    cause = "the new one is ready"
    actions += [Action(Verb.REMOVE, Kind.CONTAINER, old.to, cause, old.service) for old in olds]
    updated = {each.service for each in work if each.kind is Kind.SERVICE and each.verb is Verb.UPDATE}
    stale = (replace(each, cause="nothing mounts it any more") for each in observed.stale if each.service in updated)
    return [*actions, *_sweep(stale)]


def _prepare(spec: StackSpec, observed: Observed, record: ProjectRecord, work: Sequence[Action]) -> list[Action]:
    """Return the actions that prepare the roles of the database, before a process needs them."""
    passwords = rolling.first_passwords(spec, observed)
    return [*passwords, *_change_roles(spec.database, record, [*work, *passwords])]


def _change_roles(database: ServiceSpec, record: ProjectRecord, work: Sequence[Action]) -> list[Action]:
    """Return the actions that create the roles of the database."""
    changes = list(steps.change_roles(database, record.roles))
    is_touched = any(action.service == database.name for action in work)
    return [steps.wait(database), *changes] if changes and is_touched else changes


def _without_roles(record: ProjectRecord, database: ServiceSpec) -> RecordChange:
    return RecordChange(record, replace(record, roles=database.roles), "a role is gone")


def _schema(spec: StackSpec, observed: Observed, head: str, touched: set[str]) -> list[Action]:
    """Return the action that migrates the schema to head, [] if it is known to be at head."""
    database = spec.database
    if not head:
        is_of_use = touched - {extra.name for extra in spec.extras}
        cause = "only the application knows what its schema should be" if is_of_use else ""
    elif database.name in touched or (observed.revision is None and GATEWAY in touched):
        unknown = f"if its schema is not at head ({head}) once it answers"
        cause = f"the database is new; head is {head}" if observed.data is DataState.ABSENT else unknown
    elif observed.revision != head:
        cause = f"its schema is at {observed.revision or 'base'}; head is {head}"
    else:
        cause = ""
    return [Action(Verb.MIGRATE, Kind.SCHEMA, database.name, cause, database.name, subject=spec)] if cause else []
