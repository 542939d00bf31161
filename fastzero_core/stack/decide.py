"""What a command decides before it looks: record × settings × flags → record and specification. Pure.

What a decision needs to know of the machine, such as whether a port is free, comes in as `Machine`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from ..application.description import Application
from ..errors import ConflictError, InvalidInputError
from ..project import HOST, ROLES_OF_BEFORE, RUNTIMES, Place, ProjectRecord
from ..settings import Settings
from . import application as applications
from . import ports
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
from .surroundings import Surroundings


@dataclass(frozen=True)
class Flags:
    """What a command was given, None for what was not; `ports` are those that flags or settings ask for, by service.

    Without `after_migrate` the command that fills in first data is left out. `without` are extra services that are not
    to run.
    """

    runtime: str | None = None
    ports: Mapping[str, int] = field(default_factory=dict)
    app: bool | None = None
    start_over: bool = False
    adopt: bool = False
    install: bool = False
    after_migrate: bool = True
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class Machine:
    """What decisions need to know beyond the record: `app_image` names the image of the app's code as it is.

    `estate` is what a runtime has that bears the project's name, whichever home it belongs to. `application` is the
    user's own, None for the built-in one, `programs` the folder of its programs, and `state` that of the project.
    """

    engine_answers: Callable[[], bool]
    reserved: Callable[[], frozenset[int]]
    new_place: Callable[[str], Place]
    app_image: Callable[[], str]
    new_owner: Callable[[], str]
    estate: Callable[[str], Estate]
    programs: Callable[[], str] = str
    application: Application | None = None
    state: str = ""


@dataclass(frozen=True)
class Decision:
    """The change of the record, the stack that follows from it, and what there is to say of what was chosen."""

    change: RecordChange
    spec: StackSpec
    notices: tuple[str, ...] = ()

    @property
    def record(self) -> ProjectRecord:
        return self.change.after


def decide(record: ProjectRecord | None, settings: Settings, flags: Flags, machine: Machine) -> Decision:
    """What `up` is to bring about. Raises InvalidInputError, ConflictError, VersionMismatchError, PortTakenError."""
    notices: list[str] = []
    after = record or _first(settings, flags, machine)
    if record is None:
        notices.append(f"project {settings.project} runs {after.runtime}, and will from now on")
    _refuse_other_runtime(settings, after, flags.runtime)
    after = _at_another_place(settings, after, flags, machine)
    refuse_other_major(settings, after)
    after = _with_application(settings, record, after, machine.application)
    processes = applications.process_names(settings, machine.application, flags.app)
    processes = tuple(name for name in processes if name not in flags.without)
    asked = applications.ports_asked(machine.application, flags.ports)
    chosen = choose_ports(after, asked, processes, machine, check=not flags.adopt)
    notices += _taken(after, asked, chosen, applications.default_ports(machine.application))
    after = replace(after, ports=chosen, processes=processes)
    if after.runtime == "docker" and not after.owner:
        after = replace(after, owner=machine.new_owner())
    cause = "it is taken over" if flags.adopt else "the first `up` decides" if record is None else RecordChange.cause
    change = RecordChange(record, after, cause)
    return Decision(change, spec_of(after, settings, machine), tuple(notices))


def as_recorded(record: ProjectRecord, settings: Settings, machine: Machine) -> Decision:
    """The stack as the record has it, whatever of it runs."""
    return Decision(RecordChange(record, record), spec_of(record, settings, machine))


def spec_of(record: ProjectRecord, settings: Settings, machine: Machine) -> StackSpec:
    """The stack that a record means with these settings. A service that has no port yet gets its default."""
    numbers = {**applications.default_ports(machine.application), **record.ports}
    own = machine.application
    built_in = bool(record.processes) and own is None
    if record.runtime != "docker":
        spec = stack_spec(settings, numbers, app=built_in, place=record.place)
    else:
        place = container_place(settings, record)
        spec = stack_spec(settings, numbers, app_image=machine.app_image(), app=built_in, place=place)
    if own is None:
        return spec
    return applications.with_application(spec, own, surroundings(record, machine), record.processes)


def surroundings(record: ProjectRecord, machine: Machine) -> Surroundings:
    """Where the processes of an application of the user's own run."""
    numbers = {**applications.default_ports(machine.application), **record.ports}
    if record.runtime == "docker":
        return Surroundings(numbers, image=machine.app_image())
    return Surroundings(numbers, programs=machine.programs(), state=machine.state)


def container_place(settings: Settings, record: ProjectRecord) -> Place:
    """Where the database is."""
    return replace(
        record.place, image=image_of(settings, record), volume=record.volume or volume_name(settings.project)
    )


def image_of(settings: Settings, record: ProjectRecord) -> str:
    """The image of the database: the one that a setting names, else the one that served the data last.

    The one that is named may be of before an upgrade, or ahead of the data.
    """
    is_named = settings.names("postgres_image") and not is_of_another_major(settings, record)
    return settings.postgres_image if is_named or not record.image else record.image


def place_of(settings: Settings, record: ProjectRecord) -> Place:
    """Where the database of a project is."""
    return container_place(settings, record) if record.runtime == "docker" else record.place


def is_of_another_major(settings: Settings, record: ProjectRecord) -> bool:
    """Whether there is data that was served by another major version last than the setting for its image has."""
    served = record.initialised and bool(record.image)
    return served and major_of(record.image) != major_of(settings.postgres_image)


def refuse_other_major(settings: Settings, record: ProjectRecord) -> None:
    """Raises VersionMismatchError where a setting names an image that cannot read the data."""
    wanted = settings.postgres_image
    is_named = settings.names("postgres_image") and wanted not in {place.image for place in record.kept}
    if is_named and is_of_another_major(settings, record):
        raise other_major(container_place(settings, record).volume, major_of(record.image), wanted)


def choose_runtime(settings: Settings, asked: str | None, engine_answers: Callable[[], bool]) -> str:
    """The runtime of a new project. Raises InvalidInputError for one that there is not."""
    chosen = asked or settings.runtime
    if chosen is None:
        return "docker" if engine_answers() else "embedded"
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
    """Each service's port: the one asked for, else the one it has, else the next that is free.

    Raises PortTakenError for one that was asked for and somebody else has, before anything is stopped for it; without
    `check` that may be what is taken over.
    """
    chosen, wanted = {**record.ports, **asked}, (DATABASE_SERVICE, *processes)
    for name, number in asked.items():
        is_checked = check and applications.owner_of_port(name) in wanted
        if is_checked and number != record.ports.get(name) and not ports.is_free(HOST, number):
            choice = applications.port_choice(name, machine.application)
            raise ports.taken_error(applications.owner_of_port(name), HOST, number, choice)
    for name, default in applications.default_ports(machine.application).items():
        if name not in chosen and applications.owner_of_port(name) in wanted:
            taken = machine.reserved() | set(chosen.values())
            chosen[name] = ports.next_free(HOST, default, taken)
    return chosen


def _first(settings: Settings, flags: Flags, machine: Machine) -> ProjectRecord:
    runtime = choose_runtime(settings, flags.runtime, machine.engine_answers)
    return ProjectRecord(runtime).at(_first_place(settings, runtime, machine))


def _first_place(settings: Settings, runtime: str, machine: Machine) -> Place:
    if runtime == "docker":
        return Place(runtime, image=settings.postgres_image, volume=volume_name(settings.project))
    return machine.new_place(runtime)


def _at_another_place(settings: Settings, record: ProjectRecord, flags: Flags, machine: Machine) -> ProjectRecord:
    """The record with the database where flags want it: begun anew, or taken over from another home."""
    if flags.adopt and flags.start_over:
        raise InvalidInputError("what is taken over is not begun anew", field="adopt")
    if flags.start_over:
        # Never a name that there was: a kept place may have it, whose data must not count as begun anew.
        place = replace(machine.new_place(record.runtime), image=record.image)
        kept = tuple(each for each in record.kept if each.name != place.name)
        return replace(record.at(place), initialised=False, kept=kept)
    return _adopted(settings, record, machine) if flags.adopt else record


def _adopted(settings: Settings, record: ProjectRecord, machine: Machine) -> ProjectRecord:
    """The record of a home that has everything of a project on the engine, and an owner of its own.

    Raises ConflictError where there is nothing, and where nothing tells which of several volumes was in service.
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
    # What roles its server has, `up` finds out: it makes right what is not.
    place = replace(estate.place, image=estate.place.image or record.image, roles=ROLES_OF_BEFORE)
    at_place = replace(record.at(place), initialised=True, filling=None, kept=(*known, *others))
    return replace(at_place, owner=machine.new_owner())


def _with_application(
    settings: Settings, before: ProjectRecord | None, record: ProjectRecord, application: Application | None
) -> ProjectRecord:
    """The record with the application that is described now. Raises ConflictError for one that is not the project's."""
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


def _taken(
    record: ProjectRecord, asked: Mapping[str, int], chosen: Mapping[str, int], defaults: Mapping[str, int]
) -> list[str]:
    """What to say of ports that are not those that people expect."""
    told = []
    for service, number in chosen.items():
        first = asked.get(service, defaults.get(service, number))
        if service not in record.ports and number != first:
            told.append(f"port {first} is taken; the {service} gets {number}")
    return told
