"""The session of one command on a project: its record, read once, and what the command does with it."""

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from .. import marks
from ..errors import ForeignStackError, InvalidInputError
from ..events import Listener, Notice
from ..folders import mark_of
from ..project import Place, Project, ProjectRecord, not_there, ports_of_others
from ..settings import Settings
from ..tunnel import parse_host
from . import decide, plan, provisions, steps
from .actions import Action, Kind, Verb
from .decide import Decision, Flags, Machine
from .described import described_in, remembered
from .execute import execute
from .leftovers import with_leftovers
from .names import as_run_in, process_names, service_names
from .observe import head_of, missing_secrets, observe
from .observed import DataState, Observed, ServiceState, Thing
from .perform import Performer, engine_answers
from .plan import RecordChange
from .pulling import plan_images
from .runtime import Runtime
from .spec import StackSpec
from .surroundings import Surroundings

if TYPE_CHECKING:
    from ..application.description import Application

PORT_RACES = 20  # attempts, if another process takes a port before the start, or has it on another machine


class Session:
    """A project during one command, and the operations on it. Create it with `Stack.session`, which takes the lock."""

    def __init__(self, project: Project, settings: Settings, on_event: Listener, timeout: float) -> None:
        self.project = project
        self.settings = settings
        self.on_event = on_event
        self.timeout = timeout
        self.performer = Performer(project, settings, on_event, timeout)
        self.refused_ports = frozenset[int]()  # those that turned out to be taken

    # -- the record --------------------------------------------------------------------------------------------

    @property
    def record(self) -> ProjectRecord | None:
        """The project's record, None before the first `up`."""
        return self.performer.record

    @property
    def known(self) -> ProjectRecord:
        """The record of a project that has a stack. Raises ProjectNotFoundError."""
        if self.record is None or not self.record.ports:
            raise not_there(self.project)
        return self.record

    @property
    def place(self) -> Place:
        """The current place of the database."""
        return decide.place_of(self.settings, self.known)

    # -- specification -----------------------------------------------------------------------------------------

    @cached_property
    def machine(self) -> Machine:
        return Machine(
            engine_answers=engine_answers,
            reserved=lambda: ports_of_others(self.project) | self.refused_ports,
            new_place=lambda runtime: self.performer.runtime(runtime).new_place(self.settings.postgres_image),
            app_image=self._app_image,
            archiver_image=partial(_image, "archiver_image"),
            new_owner=lambda: secrets.token_hex(8),
            estate=lambda runtime: self.performer.runtime(runtime).estate(),
            programs=self._programs,
            node=lambda: self.performer.swarm().node(),
            nodes=lambda: self.performer.swarm().all_nodes(),
            ha_image=partial(_image, "ha_image"),
            application=self.described,
            state=str(self.project.folder),
            host=self.performer.first_host,
        )

    @property
    def application(self) -> "Application | None":
        """The user's application as the project's runtime runs it; None for the built-in one.

        Raises InvalidInputError for an invalid description.
        """
        return as_run_in(self.record.runtime if self.record else "", self.described)

    @cached_property
    def described(self) -> "Application | None":
        """The user's application in the record, or in the current folder without a record; None for the built-in one.

        Raises InvalidInputError for an invalid description.
        """
        record = self.record
        if record is None:
            return described_in(Path.cwd())
        if not record.application:
            return None
        return described_in(Path(record.application)) or remembered(record)

    def require_trust(self) -> None:
        """Raise UntrustedFolderError if the description of the application has changed since the user trusted it."""
        if self.record and self.record.application:
            described_in(Path(self.record.application), to_run=True)

    def _application_to_run(self) -> "Application | None":
        """Return the application that `up` should run: that of the current folder, unless a flag names the project.

        Raises InvalidInputError if the recorded application is no longer described.
        """
        record = self.record
        is_chosen = record is not None and self.settings.is_flag("project")
        if not is_chosen and (here := described_in(Path.cwd(), to_run=True)):
            return here
        if record and record.application and not described_in(Path(record.application), to_run=True):
            raise InvalidInputError(
                f"the application of project {self.project.name} is not described in {record.application} any more",
                hint="Restore its fastzero.toml, or change to the application's folder and run up there",
            )
        return self.described

    def _programs(self) -> str:
        if self.described is None:
            return ""
        from .application import programs_of

        return programs_of(self.described)

    def _app_image(self) -> str:
        if self.described:
            from .application import build_of
            from .docker.build import image_name

            return image_name(self.project.name, build_of(self.described))
        from .docker.image import remembered_name

        return remembered_name(self.settings.python_image)

    def runtime_of(self, record: ProjectRecord) -> Runtime:
        return self.performer.runtime(record.runtime)

    @property
    def runtime(self) -> Runtime:
        return self.runtime_of(self.known)

    def spec(self, record: ProjectRecord | None = None) -> StackSpec:
        """Return the specification of the stack for the project's record, or for another one."""
        record = record or self.known
        return self.runtime_of(record).completed(decide.spec_of(record, self.settings, self.machine))

    @property
    def spec_with_stand_ins(self) -> StackSpec:
        """The same specification, whose processes log in as the stand-ins of their roles."""
        machine = replace(self.machine, stand_in=True)
        return self.runtime.completed(decide.spec_of(self.known, self.settings, machine))

    @property
    def surroundings(self) -> Surroundings:
        """The environment in which the processes of the user's application run."""
        return decide.surroundings(self.known, self.settings, self.machine)

    def whole_spec(self, record: ProjectRecord | None = None) -> StackSpec:
        """Return the specification with all services, also those that the record does not include."""
        record = record or self.known
        application = as_run_in(record.runtime, self.described)
        return self.spec(replace(record, processes=process_names(self.settings, application, True)))

    # -- observation -------------------------------------------------------------------------------------------

    def observe(self, spec: StackSpec, record: ProjectRecord, patience: float | None = None) -> Observed:
        return observe(
            spec,
            self.runtime_of(record),
            self.project,
            record,
            patience=patience,
            is_known=self.record is not None,
        )

    def observe_quickly(self, spec: StackSpec, record: ProjectRecord) -> Observed:
        """Return what the runtime finds, without querying the services.

        Raises ForeignStackError if something belongs to another home: none of it may be changed.
        """
        observed = self.runtime_of(record).observe(spec, record)
        plan.refuse_foreign(spec.project, observed.foreign)
        return observed

    @property
    def data_is_gone(self) -> bool:
        """Whether the place of the database has no data."""
        return self.observe_quickly(self.spec(), self.known).data is DataState.ABSENT

    def remains(self, place: Place) -> list[Thing]:
        """Return what exists at a place that the database is not at. Raises UnavailableError, ForeignStackError."""
        if place.members:
            return self.performer.swarm().remains_of(self.spec(self.known.at(place)))
        return self.performer.runtime(place.runtime).remains(place)

    def own_remains(self, place: Place) -> list[Thing]:
        """Return what `removable` does, or [] with a notice if it belongs to another home. Raises UnavailableError."""
        try:
            return self.removable(place)
        except ForeignStackError as error:
            self.on_event(Notice(f"the {place} stays: {error.message}"))
            return []

    def own_extra_data(self, runtime: str) -> list[Thing]:
        """Return what extra services keep their data in, or [] with a notice if it belongs to another home."""
        try:
            return self.performer.runtime(runtime).extra_data()
        except ForeignStackError as error:
            self.on_event(Notice(f"the data of extra services stays: {error.message}"))
            return []

    def removable(self, place: Place) -> list[Thing]:
        """Return what `remains` does. Raises ForeignStackError for data without the mark of folders of the project."""
        things, unmarked = self.remains(place), {thing.name for thing in self.unmarked()}
        for thing in things:
            if thing.kind is Kind.DATA and thing.name not in unmarked:
                marks.refuse_unmarked(Path(thing.name), self.project.folder)
        return things

    def unmarked(self) -> list[Thing]:
        """Return the project's folders in their usual locations that were created before folders were marked."""
        if self.record is None:
            return []
        cause = "fastzero made it before it marked what it makes"
        folder = self.project.folder
        is_marked = mark_of(folder) is not None
        own = [Thing(Kind.MARK, str(folder), cause)] if not is_marked and marks.can_be_given(folder) else []
        if not own and not is_marked:
            return []
        if not any(place.data for place in (self.record.place, *self.record.kept)):
            return own
        from .embedded.data import unmarked_data

        return [*own, *unmarked_data(self.project, self.record)]

    # -- operations --------------------------------------------------------------------------------------------

    def run(self, actions: Iterable[Action], *, keep: bool = False) -> list[Action]:
        """Execute a plan. Returns its actions. If one fails, undo what was done, unless `keep` is set."""
        return execute(actions, self.performer.perform, self.on_event, keep=keep)

    def decide(self, flags: Flags) -> Decision:
        """Return the record and the stack that `up` should produce. Raises as `decide.decide` does."""
        if flags.host:
            self.performer.first_host = parse_host(flags.host)
        self.described = self._application_to_run()
        if self.described and not flags.after_migrate:
            self.described = replace(self.described, after_migrate=None)
        decision = decide.decide(self.record, self.settings, flags, self.machine)
        return replace(decision, spec=self.runtime_of(decision.record).completed(decision.spec))

    def looked_at(self, decision: Decision, patience: float | None) -> tuple[Observed, RecordChange]:
        """Return the current stack, including leftovers of a move, and the resulting change of the record."""
        return with_leftovers(self, self.observe(decision.spec, decision.record, patience), decision.change)

    def planned(
        self, decision: Decision, flags: Flags, *, build: bool = False, pull: bool = False, quickly: bool = False
    ) -> tuple[Observed, list[Action], list[Action]]:
        """Return the current stack, the actions for images and dependencies, and those that then carry out a decision.

        With `quickly`, services are not queried. Raises ForeignStackError, DataGoneError, and ConflictError for a name
        that something else has.
        """
        look = self._looked_at_quickly if flags.adopt or quickly else self.looked_at
        provisions.refuse_lacking(self.runtime_of(decision.record), decision.spec, decision.record)
        first = self._installs(decision, flags)
        observed, change = look(decision, self.timeout)
        first += plan_images(decision.spec, observed, build=build, pull=pull)
        make = plan.plan_adopt if flags.adopt else plan.plan_up
        marked = plan.plan_marks(self.unmarked())
        return observed, first, [*marked, *make(decision.spec, observed, head_of(decision.spec), change)]

    def _looked_at_quickly(self, decision: Decision, patience: float | None) -> tuple[Observed, RecordChange]:
        """Return the current stack, whichever home it belongs to. Services are not queried: they may refuse logins."""
        observed = self.runtime_of(decision.record).observe(decision.spec, decision.record)
        return replace(observed, missing_secrets=missing_secrets(decision.spec, self.project)), decision.change

    def _installs(self, decision: Decision, flags: Flags) -> list[Action]:
        """Return the action that installs the dependencies of an application in local processes, if it was requested.

        Raises as `refuse_what_cannot_run` does.
        """
        application = self.application
        if application is None or not flags.install or not self._runs_processes_here(decision.record):
            self.refuse_what_cannot_run(decision.record)
            return []
        self.refuse_without_program(decision.record)
        from .application import install_script, refuse_without_python

        refuse_without_python(application, self.on_event)
        command, root = install_script(application, self.project.home / "tools"), str(application.root)
        return [Action(Verb.INSTALL, Kind.DEPENDENCIES, root, "it was asked for", to=command)]

    def refuse_what_cannot_run(self, record: ProjectRecord) -> None:
        """Raise an error if a record runs a local process that lacks its program or its dependencies.

        Raises DependenciesMissingError; InvalidInputError for a service that needs Docker.
        """
        self.refuse_without_program(record)
        if self.described and self._runs_processes_here(record):
            from .application import refuse_missing

            refuse_missing(self.described)

    def _runs_processes_here(self, record: ProjectRecord) -> bool:
        """Return whether a record runs processes of the user's application as local ones."""
        named = service_names(self.described) if self.described else {}
        return record.runtime == "embedded" and not named.keys().isdisjoint(record.processes)

    def refuse_without_program(self, record: ProjectRecord) -> None:
        """Raise an error if a record runs a service as a local process that has no program on this machine.

        Raises InvalidInputError, DependenciesMissingError.
        """
        if self.application and record.runtime == "embedded":
            from .extras import refuse_without_program

            programs, is_new = self.machine.programs(), self.record is None
            refuse_without_program(self.application, programs, record.processes, is_new=is_new)

    def converge(
        self, decision: Decision, flags: Flags, *, build: bool = False, pull: bool = False, keep: bool = False
    ) -> tuple[Observed | None, set[str]]:
        """Observe, plan and execute. Returns what was observed if nothing had to be done, and the started services."""
        observed, first, actions = self.planned(decision, flags, build=build, pull=pull)
        if first:
            self.run(first)
            flags = replace(flags, install=False)
            decision = replace(decision, spec=self.spec(decision.record))
            observed, _, actions = self.planned(decision, flags)
        for orphan in observed.orphans:
            self.on_event(Notice(f"{orphan.service} is not part of this stack now, and stays as it is"))
        if observed.cluster and (problem := observed.cluster.problem):
            self.on_event(Notice(f"{problem}. See: fastzero db status"))
        if not actions:
            return observed, set()
        self.run(actions, keep=keep)
        rested = (ServiceState.ABSENT, ServiceState.STOPPED)
        return None, {name for name in decision.spec.names if observed.service(name).state in rested}

    def ensure_up(self) -> None:
        """Start everything that the record says should run."""
        self.converge(self.as_recorded(), Flags())

    def as_recorded(self) -> Decision:
        """Return the decision to keep the record as it is. Raises UntrustedFolderError."""
        self.require_trust()
        record = self.known
        return Decision(RecordChange(record, record), self.spec(record))

    @contextmanager
    def database_running(self, cause: str) -> Iterator[None]:
        """Run the database for one block, and stop it again if it was stopped before. Waits until it is ready."""
        with self.database_started(cause, ready=True):
            yield

    @contextmanager
    def database_started(self, cause: str, *, ready: bool = False) -> Iterator[StackSpec]:
        """Start the database for one block, and stop it again if it was stopped before. Yields it as a stack.

        With `ready`, the block starts once the database answers. Raises ProjectNotFoundError, DataGoneError.
        """
        record = replace(self.known, processes=())
        spec = self.spec(record)
        observed = self.observe_quickly(spec, record)
        plan.refuse_if_data_is_gone(spec, observed, record)
        found = observed.service(spec.database.name)
        if found.state is ServiceState.ABSENT:
            raise not_there(self.project)
        start = plan.plan_start_database(spec, observed, cause)
        self.run([*start, steps.wait(spec.database)] if start and ready else start)
        try:
            if ready and not start:
                self.performer.wait(spec.database)
            yield spec
        finally:
            if not found.runs:
                self.run(plan.plan_down(spec, self.observe_quickly(spec, record), spec.names))


def _image(builder: str, base: str) -> str:
    """Return the name of an image that is built on another. Only what runs in containers needs its builder."""
    return str(import_module(f".docker.{builder}", __package__).image_name(base))
