"""The commands that act on a whole stack, each in one session."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from ..errors import (
    ConflictError,
    DatabaseLoginError,
    FastZeroError,
    InvalidInputError,
    PortTakenError,
    ProjectNotFoundError,
    UnavailableError,
    UntrustedFolderError,
)
from ..events import Notice
from ..project import ROLES_OF_BEFORE, ProjectRecord
from . import decide, plan, probe, rotating, steps
from .actions import Action, Kind, Verb
from .decide import Decision, Flags
from .described import described_in
from .leftovers import specs_of, tell_of_remaining, with_leftovers
from .names import process_names
from .observe import head_of
from .observed import DataState, Observed, Thing
from .perform import engine_answers
from .plan import RecordChange
from .runtime import Finding
from .session import PORT_RACES, Session
from .spec import StackSpec

RELOAD_STOPS = 1.0  # seconds for open requests to end during a reload, which must be fast


def plan_up(session: Session, flags: Flags, *, build: bool = False, pull: bool = False) -> list[Action]:
    """Return what `up` would do. Only a pulled image may turn out to be another one. Raises as `up` does."""
    decision = decided(session, flags)
    completing = rotating.completing(session, flags)
    _, images, actions = session.planned(decision, flags, build=build, pull=pull, quickly=bool(completing))
    return [*completing, *images, *actions, *(rotating.forgetting(session) if session.record else [])]


def up(
    session: Session, flags: Flags, *, build: bool, pull: bool, keep: bool
) -> tuple[Decision, Observed | None, set[str]]:
    """Start the stack that flags, settings and record ask for. Tries another port if one is taken in the process.

    Returns the decision, what was observed if nothing had to be done, and the services that were started.
    """
    rotating.complete(session, flags)
    before, told = session.record, set[str]()
    for _ in range(PORT_RACES):
        decision = decided(session, flags)
        for notice in decision.notices:
            if notice not in told:
                session.on_event(Notice(notice))
        told |= set(decision.notices)
        try:
            done = session.converge(decision, flags, build=build, pull=pull, keep=keep)
            rotating.forget(session)
            _begin_archive(session)
            return (decision, *done)
        except PortTakenError as error:
            if not error.service or (before and error.service in before.ports) or error.service in flags.ports:
                raise
            # Another machine's free ports are not known here.
            session.refused_ports |= decision.spec.service(error.service).published
            flags, build, pull = replace(flags, install=False), False, False  # all of this was done before the port
    raise PortTakenError(
        "every port tried was taken before the service could have it",
        hint="Choose others: fastzero up --port PORT --app-port PORT",
    )


def _begin_archive(session: Session) -> None:
    if session.record and session.record.archive and not session.record.archive.system:
        from .archiving import begin

        begin(session)


def decided(session: Session, flags: Flags) -> Decision:
    """Return the record and the stack that `up` should produce.

    Raises ConflictError if it should start over with an empty database, but the database still exists.
    """
    record = session.record
    if flags.start_over and record and not session.data_is_gone:
        raise ConflictError(
            f"the database of project {session.project.name} exists: it is not replaced by an empty one",
            hint="Nothing was changed. Empty it: fastzero db reset. Or destroy the project: fastzero down --volumes",
        )
    return session.decide(flags)


def down(session: Session, *, volumes: bool) -> list[Action]:
    """Stop everything. With `volumes`, also destroy the data, but only if all of it can be destroyed.

    Returns what was done.
    """
    assert session.record is not None, "somebody has looked"
    if session.record.archive:
        from .sealing import finish

        finish(session, is_last=volumes)
    spec = session.whole_spec(session.record)
    observed = session.observe_quickly(spec, session.record)
    observed, change = with_leftovers(session, observed, RecordChange(session.record, session.record))
    actions = plan.plan_down(spec, observed)
    if not volumes:
        return session.run([*actions, *plan.write(change)], keep=True)
    things = [*at_every_place(session, change.after), *(Thing(Kind.CLAIM, name) for name in observed.claims)]
    if session.record.runtime == "swarm":
        for each in (spec, *specs_of(session, session.record.kept)):
            tell_of_remaining(session, each, things)
    marks = plan.plan_marks(session.unmarked())
    return session.run([*actions, *marks, *plan.plan_destroy(session.project.name, things)], keep=True)


def at_every_place(session: Session, record: ProjectRecord) -> list[Thing]:
    """Return the data at every place of the project: the database's first, then that of extra services.

    Raises UnavailableError if a place cannot be reached.
    """
    filling = [record.filling] if record.filling else []
    things, extra = list[Thing](), dict[str, list[Thing]]()
    for place in (decide.place_of(session.settings, record), *record.kept, *filling):
        try:
            things += session.own_remains(place)
            extra[place.runtime] = extra.get(place.runtime) or session.own_extra_data(place.runtime)
        except UnavailableError as error:
            if place.runtime != "swarm":
                error.hint = f"Nothing was changed. The project has data in the {place}: start Docker, then try again"
            raise
    every = [*things, *(thing for each in extra.values() for thing in each)]
    return list({(thing.kind, thing.name): thing for thing in every}.values())


def restart(session: Session, service: str | None) -> None:
    """Stop and start one service, or all if it is None, and start what they need."""
    decision = session.as_recorded()
    _restart(session, decision, decision.spec.named(service))


def reload(session: Session) -> None:
    """Stop and start the processes, but not the database. If one of them fails, stop all of them.

    To be fast, it does not query the services first, limits the time for open requests to end, and does not wait for
    the grace period of processes without a port.
    """
    decision = session.as_recorded()
    names = tuple(process.name for process in decision.spec.processes)
    observed = session.observe_quickly(decision.spec, decision.record)
    actions = _restarting(session, decision, names, observed, decision.change)
    actions = [_quick(each) for each in actions if not _is_grace(each)]
    try:
        session.run(actions, keep=True)
    except FastZeroError:
        stop(session, names)
        raise


def _is_grace(action: Action) -> bool:
    return action.verb is Verb.WAIT and bool(action.subject.grace)


def _quick(action: Action) -> Action:
    if action.verb is not Verb.STOP or action.subject is None:
        return action
    limit = min(action.subject.stop_timeout, RELOAD_STOPS)
    return replace(action, subject=replace(action.subject, stop_timeout=limit))


def _restart(session: Session, decision: Decision, names: tuple[str, ...]) -> None:
    observed, change = session.looked_at(decision, patience=None)
    session.run(_restarting(session, decision, names, observed, change))


def _restarting(
    session: Session, decision: Decision, names: tuple[str, ...], observed: Observed, change: RecordChange
) -> list[Action]:
    if observed.data is DataState.ABSENT and not decision.record.initialised:
        raise ProjectNotFoundError(f"project {session.project.name} has no database yet")
    return plan.plan_restart(decision.spec, observed, names, head_of(decision.spec), change)


def stop(session: Session, names: Iterable[str]) -> None:
    """Stop some services and remove their containers. If no other service is left, also remove the network."""
    spec = session.whole_spec()
    observed = session.observe_quickly(spec, session.known)
    session.run(plan.plan_down(spec, observed, names), keep=True)


def repair_password(session: Session) -> bool:
    """Set the passwords of the database's roles to the project's. Returns whether one differed."""
    with session.database_started("its passwords are looked at") as spec:
        try:
            session.performer.wait(spec.database)
            probe.is_encrypted(session.project.superuser_url())  # only logs in
            return False
        except DatabaseLoginError:
            session.run(plan.plan_password(spec.database, session.observe_quickly(spec, session.known)))
            return True


def unite_roles(session: Session) -> None:
    """Merge the database's roles into one, as in older versions, and stop the processes. The next `up` splits it again.

    A stopped database is started for this, and stopped again.
    """
    with session.database_running("its roles become one"):
        record, spec = session.known, session.whole_spec()
        if record.roles == ROLES_OF_BEFORE:
            return
        observed = session.observe_quickly(spec, record)
        after = replace(record, roles=ROLES_OF_BEFORE)
        cause = "an older version is to work with it"
        session.run(
            [
                *plan.plan_stop(spec, observed, [process.name for process in spec.processes], cause),
                *steps.unite_roles(spec.database, record.roles, cause),
                *plan.write(RecordChange(record, after, cause)),
            ]
        )


def examine(session: Session) -> Iterator[Finding]:
    """Yield findings about the project's runtime, or about the runtime that the first `up` would choose.

    Raises, after all findings, the error with which `up` would refuse the folder or the settings.
    """
    refusal = _leave_untrusted_out(session)
    host = session.machine.host
    runtime = decide.choose_runtime(session.settings, None, engine_answers, host)
    record = session.record or ProjectRecord(runtime, host=host)
    wanted = replace(record, processes=process_names(session.settings, session.application))
    yield from session.runtime_of(record).examine(session.spec(wanted), record)
    session.refuse_without_program(wanted)
    decide.refuse_other_major(session.settings, record)
    if refusal:
        raise refusal


def _leave_untrusted_out(session: Session) -> UntrustedFolderError | None:
    """Ignore the application of a folder that is not trusted: finding its image reads all files of the folder."""
    try:
        if session.record is None:
            described_in(Path.cwd(), to_run=True)
    except UntrustedFolderError as error:
        session.described = None
        return error
    return None


def exported(session: Session) -> StackSpec:
    """Return the stack to export to another tool. Raises InvalidInputError if it does not run in containers."""
    name, record = session.project.name, session.record
    if record is None or record.runtime == "embedded":
        raise InvalidInputError(
            f"project {name} does not run in containers",
            hint="Make one that does: fastzero up --runtime docker -p NAME",
        )
    if session.settings.split_roles:
        raise InvalidInputError(
            "a stack with split roles cannot be exported: no service of it would migrate as the owner",
            field="split_roles",
            hint="Unset FASTZERO_SPLIT_ROLES for the export",
        )
    session.require_trust()
    if record.archive:
        session.on_event(Notice(f"what archives the database to {record.archive} is not exported"))
    return session.spec(replace(record, runtime="docker", archive=None, members=()))


def in_swarm(session: Session) -> StackSpec:
    """Return the stack as services of a swarm. Raises InvalidInputError if it does not run in one."""
    if session.known.runtime != "swarm":
        raise InvalidInputError(
            f"project {session.project.name} does not run in a swarm",
            hint="Make one that does: fastzero up --runtime swarm -p NAME. Or: fastzero export compose",
        )
    session.require_trust()
    return session.spec()
