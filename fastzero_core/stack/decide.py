"""Decide, from the record, the settings and the flags, on the new record and specification. Pure.

A command decides before it observes anything. Facts about the machine, such as free ports, are passed in as `Machine`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..errors import ConflictError, InvalidInputError
from ..project import HOST, ROLES_OF_BEFORE, RUNTIMES, Place, ProjectRecord
from ..settings import Settings
from . import names, ports
from .built_in import stack_spec
from .observed import Estate
from .plan import RecordChange
from .spec import (
    DATABASE_SERVICE,
    StackSpec,
    major_of,
    other_major,
    volume_name,
)

if TYPE_CHECKING:
    from ..application.description import Application
    from .surroundings import Surroundings


@dataclass(frozen=True)
class Flags:
    """The flags of a command, None for those not given.

    `ports` are the ports that flags or settings request, by service. If `after_migrate` is false, the command that adds
    initial data is not run. `without` are the extra services that must not run. `replicas` is the number of tasks of
    the process that answers HTTP, in a swarm. `ha` asks for a database with standbys, on three nodes of a swarm.
    """

    runtime: str | None = None
    host: str | None = None
    ports: Mapping[str, int] = field(default_factory=dict)
    app: bool | None = None
    start_over: bool = False
    adopt: bool = False
    install: bool = False
    after_migrate: bool = True
    without: tuple[str, ...] = ()
    replicas: int | None = None
    ha: bool | None = None


@dataclass(frozen=True)
class Machine:
    """What decisions need to know besides the record.

    `app_image` returns the name of the image for the application's current code, `archiver_image` that of the archiver
    of a database with an image. `estate` returns what a runtime has
    under the project's name, whichever home it belongs to. `application` is the user's application, None for the
    built-in one; `programs` returns the folder of its programs; `state` is the project's folder. `node` returns the id
    of the engine in its swarm, `nodes` those of all nodes, its own first, each with whether it takes tasks. `ha_image`
    returns the name of the image of a database with standbys, by that of its base. `host` is the machine of the engine
    for a new project, "" for this one. With `stand_in`, processes of a user's application log in as the stand-in of
    their role.
    """

    engine_answers: Callable[[], bool]
    reserved: Callable[[], frozenset[int]]
    new_place: Callable[[str], Place]
    app_image: Callable[[], str]
    archiver_image: Callable[[str], str]
    new_owner: Callable[[], str]
    estate: Callable[[str], Estate]
    programs: Callable[[], str] = str
    node: Callable[[], str] = str
    nodes: Callable[[], Mapping[str, bool]] = dict
    ha_image: Callable[[str], str] = str
    application: "Application | None" = None
    state: str = ""
    host: str = ""
    stand_in: bool = False

    def running(self, runtime: str) -> "Machine":
        """Return the same with the application as that runtime runs it."""
        return replace(self, application=names.as_run_in(runtime, self.application))


@dataclass(frozen=True)
class Decision:
    """The change of the record, the resulting stack, and notices about what was chosen."""

    change: RecordChange
    spec: StackSpec
    notices: tuple[str, ...] = ()

    @property
    def record(self) -> ProjectRecord:
        return self.change.after


def decide(record: ProjectRecord | None, settings: Settings, flags: Flags, machine: Machine) -> Decision:
    """Return the record and the stack that `up` should produce.

    Raises InvalidInputError, ConflictError, VersionMismatchError, PortTakenError.
    """
    notices: list[str] = []
    after = record or _first(settings, flags, machine)
    machine = machine.running(after.runtime)
    if record is None:
        where = f"{after.runtime} on {after.host}" if after.host else after.runtime
        notices.append(f"project {settings.project} runs {where}, and will from now on")
    _refuse_other_runtime(settings, after, flags.runtime)
    _refuse_other_host(settings, after, flags.host)
    after = _at_another_place(settings, after, flags, machine)
    refuse_other_major(settings, after)
    after = _with_application(settings, record, after, machine.application)
    processes = names.process_names(settings, machine.application, flags.app)
    processes = tuple(name for name in processes if name not in flags.without)
    asked = names.ports_asked(machine.application, flags.ports)
    chosen = choose_ports(after, asked, processes, machine, check=not flags.adopt)
    notices += _taken(after, asked, chosen, names.default_ports(machine.application))
    after = replace(after, ports=chosen, processes=processes)
    if after.runtime != "embedded" and not after.owner:
        after = replace(after, owner=machine.new_owner())
    if after.runtime == "swarm" or flags.ha:
        from . import in_swarm  # other runtimes start faster without it

        in_swarm.refuse_standbys(settings, record, after, flags)
        after = in_swarm.record_of(after, flags, machine)
    cause = "it is taken over" if flags.adopt else "the first `up` decides" if record is None else RecordChange.cause
    change = RecordChange(record, after, cause)
    return Decision(change, spec_of(after, settings, machine), tuple(notices))


def as_recorded(record: ProjectRecord, settings: Settings, machine: Machine) -> Decision:
    """Return the decision to keep the record as it is."""
    return Decision(RecordChange(record, record), spec_of(record, settings, machine))


def spec_of(record: ProjectRecord, settings: Settings, machine: Machine) -> StackSpec:
    """Return the stack for a record and settings. A service without a port in the record gets its default port."""
    machine = machine.running(record.runtime)
    numbers = {**names.default_ports(machine.application), **record.ports}
    own = machine.application
    built_in = bool(record.processes) and own is None
    if record.runtime == "embedded":
        place = record.place
        spec = stack_spec(settings, numbers, app=built_in, place=place, archive=record.archive, state=machine.state)
    else:
        place = container_place(settings, record)
        archiver = machine.archiver_image(place.image) if record.archive else ""
        spec = stack_spec(
            settings,
            numbers,
            app_image=machine.app_image(),
            app=built_in,
            place=place,
            archive=record.archive,
            archiver_image=archiver,
        )
    if own:
        from .application import with_application

        spec = with_application(spec, own, surroundings(record, settings, machine), record.processes)
    if record.runtime != "swarm":
        return spec
    from .deployment import deployed

    ha_image = machine.ha_image(place.image) if record.members else ""
    return deployed(spec, settings, record, own, ha_image)


def surroundings(record: ProjectRecord, settings: Settings, machine: Machine) -> "Surroundings":
    """Return where the processes of the user's application run."""
    from ..ha.configuration import address
    from .surroundings import Surroundings

    numbers = {**names.default_ports(machine.application), **record.ports}
    if record.runtime != "embedded":
        at = address() if record.members else {}
        return Surroundings(
            numbers,
            image=machine.app_image(),
            split_roles=settings.split_roles,
            database_at=at,
            stand_in=machine.stand_in,
        )
    programs, state = machine.programs(), machine.state
    return Surroundings(numbers, programs=programs, state=state, split_roles=settings.split_roles)


def container_place(settings: Settings, record: ProjectRecord) -> Place:
    """Return the place of a database in a container."""
    return replace(
        record.place, image=image_of(settings, record), volume=record.volume or volume_name(settings.project)
    )


def image_of(settings: Settings, record: ProjectRecord) -> str:
    """Return the image of the database: the one that a setting names, else the one that last served the data.

    A named image of another major version than the data is ignored: the setting may be from before an upgrade, or newer
    than the data.
    """
    is_named = settings.names("postgres_image") and not is_of_another_major(settings, record)
    return settings.postgres_image if is_named or not record.image else record.image


def place_of(settings: Settings, record: ProjectRecord) -> Place:
    """Return the place of a project's database."""
    return record.place if record.runtime == "embedded" else container_place(settings, record)


def is_of_another_major(settings: Settings, record: ProjectRecord) -> bool:
    """Return whether another major version than that of the image setting last served the data."""
    served = record.initialised and bool(record.image)
    return served and major_of(record.image) != major_of(settings.postgres_image)


def refuse_other_major(settings: Settings, record: ProjectRecord) -> None:
    """Raise VersionMismatchError if a setting names an image that cannot read the data."""
    wanted = settings.postgres_image
    is_named = settings.names("postgres_image") and wanted not in {place.image for place in record.kept}
    if is_named and is_of_another_major(settings, record):
        raise other_major(container_place(settings, record).volume, major_of(record.image), wanted)


def choose_runtime(settings: Settings, asked: str | None, engine_answers: Callable[[], bool], host: str = "") -> str:
    """Return the runtime of a new project. Raises InvalidInputError for an unknown one."""
    chosen = asked or settings.runtime
    if chosen is None:
        return "docker" if host or engine_answers() else "embedded"
    if chosen not in RUNTIMES:
        raise InvalidInputError(f"runtime {chosen!r} is not one of {', '.join(RUNTIMES)}", field="runtime")
    return chosen


def choose_ports(
    record: ProjectRecord,
    asked: Mapping[str, int],
    processes: tuple[str, ...],
    machine: Machine,
    *,
    check: bool = True,
) -> dict[str, int]:
    """Return each service's port: the requested one, else the recorded one, else the next free one.

    Raises PortTakenError for a requested port that another process uses, before anything is stopped. If `check` is
    false, requested ports are not checked: the services that are taken over may use them.
    """
    chosen, wanted = {**record.ports, **asked}, (DATABASE_SERVICE, *processes)
    for name, number in asked.items():
        is_checked = check and names.owner_of_port(name) in wanted
        if is_checked and number != record.ports.get(name) and not ports.is_free(HOST, number):
            choice = names.port_choice(name, machine.application)
            raise ports.taken_error(names.owner_of_port(name), HOST, number, choice)
    for name, default in names.default_ports(machine.application).items():
        if name not in chosen and names.owner_of_port(name) in wanted:
            taken = machine.reserved() | set(chosen.values())
            chosen[name] = ports.next_free(HOST, default, taken)
    return chosen


def _first(settings: Settings, flags: Flags, machine: Machine) -> ProjectRecord:
    runtime = choose_runtime(settings, flags.runtime, machine.engine_answers, machine.host)
    asked = flags.host or (None if flags.runtime else settings.host)
    if asked and runtime == "embedded":
        raise InvalidInputError(
            f"runtime {runtime} runs on this machine, not on {asked}", field="runtime", hint="Use: --runtime docker"
        )
    host = "" if runtime == "embedded" else machine.host
    return ProjectRecord(runtime, host=host).at(_first_place(settings, runtime, machine))


def _first_place(settings: Settings, runtime: str, machine: Machine) -> Place:
    if runtime != "embedded":
        return Place(runtime, image=settings.postgres_image, volume=volume_name(settings.project))
    return machine.new_place(runtime)


def _at_another_place(settings: Settings, record: ProjectRecord, flags: Flags, machine: Machine) -> ProjectRecord:
    """Return the record with the place that the flags request: a new empty one, or one taken over from another home."""
    if flags.adopt and flags.start_over:
        raise InvalidInputError("--adopt and --start-over exclude each other", field="adopt")
    if flags.start_over:
        # Use a new name: a kept place may have an old one, and its data must not be taken for the new database.
        place = replace(machine.new_place(record.runtime), image=record.image)
        kept = tuple(each for each in record.kept if each.name != place.name)
        archive = record.archive and record.archive.of_next_server()
        return replace(record.at(place), initialised=False, kept=kept, archive=archive)
    return _adopted(settings, record, machine) if flags.adopt else record


def _adopted(settings: Settings, record: ProjectRecord, machine: Machine) -> ProjectRecord:
    """Return the record with everything that the project has on the engine, and with a new owner.

    Raises ConflictError if it has no volume, or if it has several and none is known to be in service.
    """
    estate, project = machine.estate(record.runtime), settings.project
    if not estate.volumes:
        raise ConflictError(f"there is nothing of a project {project} to take over", hint="Start it: fastzero up")
    if estate.place is None:
        raise ConflictError(
            f"which data of project {project} is in service cannot be told: there are volumes"
            f" {', '.join(estate.volumes)}",
            hint="Nothing was changed. No container has one of them: restore a backup into another project, -p NAME",
        )
    others = [
        Place(estate.place.runtime, image=image, volume=name, roles=ROLES_OF_BEFORE)
        for name, image in estate.volumes.items()
        if name != estate.place.name
    ]
    known = [each for each in record.kept if each.name not in estate.volumes]
    # The server may already have separate roles: `up` checks, and changes only what differs.
    place = replace(estate.place, image=estate.place.image or record.image, roles=ROLES_OF_BEFORE)
    at_place = replace(record.at(place), initialised=True, filling=None, kept=(*known, *others))
    return replace(at_place, owner=machine.new_owner())


def _with_application(
    settings: Settings, before: ProjectRecord | None, record: ProjectRecord, application: "Application | None"
) -> ProjectRecord:
    """Return the record with the application that is described now.

    Raises ConflictError if the project runs another application.
    """
    folder = str(application.folder) if application else ""
    if before is not None and before.application != folder:
        was = f"the application in {before.application}" if before.application else "the built-in application"
        raise ConflictError(
            f"project {settings.project} runs {was}, not the one in {folder}",
            hint='Give this one a project of its own: project = "NAME" in its fastzero.toml, or -p NAME',
        )
    return replace(record, application=folder)


def _refuse_other_runtime(settings: Settings, record: ProjectRecord, asked: str | None) -> None:
    if asked not in (None, record.runtime):
        raise InvalidInputError(
            f"project {settings.project} runs {record.runtime}, not {asked}",
            field="runtime",
            hint="A project keeps its runtime; use another project: -p NAME. Or move it: fastzero db move --to RUNTIME",
        )


def _refuse_other_host(settings: Settings, record: ProjectRecord, asked: str | None) -> None:
    if asked not in (None, record.host):
        raise InvalidInputError(
            f"project {settings.project} runs on {record.host or 'this machine'}, not on {asked}",
            field="host",
            hint="A project keeps its machine; use another project: -p NAME, and move the data by a backup",
        )


def _taken(
    record: ProjectRecord, asked: Mapping[str, int], chosen: Mapping[str, int], defaults: Mapping[str, int]
) -> list[str]:
    """Return notices about new ports that differ from the requested or default ones."""
    told = []
    for service, number in chosen.items():
        first = asked.get(service, defaults.get(service, number))
        if service not in record.ports and number != first:
            told.append(f"port {first} is taken; the {service} gets {number}")
    return told
