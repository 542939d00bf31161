"""The commands that act on a whole stack, each in one session."""

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import replace

from ..errors import (
    ConflictError,
    DatabaseLoginError,
    FastZeroError,
    PortTakenError,
    ProjectNotFoundError,
    UnavailableError,
)
from ..events import Notice
from ..project import PASSWORDS, ROLES_OF_BEFORE, ProjectRecord
from . import decide, plan, probe, steps
from .actions import Action, Kind, Verb
from .application import process_names
from .decide import Decision, Flags
from .observe import head_of
from .observed import DataState, Observed, Thing
from .perform import engine_answers
from .plan import RecordChange
from .runtime import Finding
from .session import PORT_RACES, Session

RELOAD_STOPS = 1.0  # seconds for open requests to end during a reload, which must be fast
SIGNING_KEY = "secret_key"  # the secret that tokens are signed with


def plan_up(session: Session, flags: Flags, *, build: bool = False, pull: bool = False) -> list[Action]:
    """Return what `up` would do. Only a pulled image may turn out to be another one. Raises as `up` does."""
    decision = decided(session, flags)
    _, images, actions = session.planned(decision, flags, build=build, pull=pull)
    return [*images, *actions]


def up(
    session: Session, flags: Flags, *, build: bool, pull: bool, keep: bool
) -> tuple[Decision, Observed | None, set[str]]:
    """Start the stack that flags, settings and record ask for. Tries another port if one is taken in the process.

    Returns the decision, what was observed if nothing had to be done, and the services that were started.
    """
    before, told = session.record, set[str]()
    for _ in range(PORT_RACES):
        decision = decided(session, flags)
        for notice in decision.notices:
            if notice not in told:
                session.on_event(Notice(notice))
        told |= set(decision.notices)
        try:
            return (decision, *session.converge(decision, flags, build=build, pull=pull, keep=keep))
        except PortTakenError as error:
            if (before and error.service in before.ports) or error.service in flags.ports:
                raise
    raise PortTakenError("every port tried was taken before the service could have it", hint="Try again")


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
    observed, change = session.with_leftovers(observed, RecordChange(session.record, session.record))
    actions = plan.plan_down(spec, observed)
    if not volumes:
        return session.run([*actions, *plan.write(change)], keep=True)
    things = [*at_every_place(session, change.after), *(Thing(Kind.CLAIM, name) for name in observed.claims)]
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
            error.hint = f"Nothing was changed. The project has data in the {place}: start Docker, then try again"
            raise
    return [*things, *(thing for each in extra.values() for thing in each)]


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


def rotate_signing_key(session: Session, *, keep: float) -> None:
    """Replace the key that signs the project's tokens. Tokens of the current key stay valid for `keep` seconds.

    Running processes read the key's file again when it changes.
    """
    from ..todo_app.tokens import rotated_keys

    spec = session.whole_spec()
    before = session.project.secret(SIGNING_KEY)
    after = rotated_keys(before, secrets.token_urlsafe(32), keep=keep)
    observed = session.observe_quickly(spec, session.known)
    plan.refuse_foreign(spec.project, observed.foreign)
    session.run(plan.plan_secret(spec, observed, SIGNING_KEY, before, after, "its key is rotated"))


def rotate_passwords(session: Session) -> None:
    """Set a new password for every role of the database.

    The built-in app keeps working: it reads its password for each login. Running processes that have it in a variable
    are restarted. A stopped database is started for this, and stopped again.
    """
    with session.database_running("its passwords are rotated"):
        spec = session.whole_spec()
        observed = session.observe_quickly(spec, session.known)
        for role in session.known.roles:
            before = session.project.secret(PASSWORDS[role])
            session.run(plan.plan_rotation(spec, observed, role, before, secrets.token_urlsafe(32)))
        rotated = {PASSWORDS[role] for role in session.known.roles}
        running = [process for process in spec.processes if observed.service(process.name).runs]
        if stale := tuple(process.name for process in running if rotated.intersection(process.secrets_in_variables)):
            _restart(session, session.as_recorded(), stale)


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

    Raises, after all findings, the error with which `up` would refuse the settings.
    """
    record = session.record or ProjectRecord(decide.choose_runtime(session.settings, None, engine_answers))
    wanted = replace(record, processes=process_names(session.settings, session.application))
    yield from session.runtime_of(record).examine(session.spec(wanted), record)
    session.refuse_without_program(wanted)
    decide.refuse_other_major(session.settings, record)
