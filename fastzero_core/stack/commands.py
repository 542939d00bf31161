"""What is done to a stack as a whole, each in one session."""

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import replace

from ..errors import ConflictError, DatabaseLoginError, PortTakenError, ProjectNotFoundError
from ..events import Notice
from ..project import SECRETS, ProjectRecord
from ..schema.revisions import head_revision
from . import decide, plan
from .actions import Action
from .decide import Decision, Flags
from .observed import DataState, Observed
from .perform import engine_answers
from .plan import RecordChange
from .runtime import Finding
from .session import PORT_RACES, Session
from .spec import process_names

SIGNING_KEY = "secret_key"  # what tokens are signed with


def plan_up(session: Session, decision: Decision, *, build: bool = False, pull: bool = False) -> list[Action]:
    """What would bring a decision about; images alone can be another thing once they are pulled."""
    observed, change = session.looked_at(decision, session.timeout)
    images = plan.plan_images(decision.spec, observed, build=build, pull=pull)
    return [*images, *plan.plan_up(decision.spec, observed, head_revision(), change)]


def up(
    session: Session, flags: Flags, *, build: bool, pull: bool, keep: bool
) -> tuple[Decision, Observed | None, set[str]]:
    """Bring about what flags, settings and record ask for, on other ports where one is lost meanwhile.

    Returns the decision, what was observed if there was nothing to do, and the services that were started.
    """
    if flags.start_over:
        refuse_unless_gone(session)
    before, told = session.record, set[str]()
    for _ in range(PORT_RACES):
        decision = session.decide(flags)
        for notice in decision.notices:
            if notice not in told:
                session.on_event(Notice(notice))
        told |= set(decision.notices)
        try:
            return (decision, *session.converge(decision, build=build, pull=pull, keep=keep))
        except PortTakenError as error:
            if (before and error.service in before.ports) or error.service in flags.ports:
                raise
    raise PortTakenError("every port tried was taken before the service could have it", hint="Try again")


def refuse_unless_gone(session: Session) -> None:
    """Raises ConflictError where the database that is to be begun anew is there."""
    record = session.record
    if record and session.observe_quickly(session.spec(record), record).data is not DataState.ABSENT:
        raise ConflictError(
            f"the database of project {session.project.name} is there: it is not begun anew",
            hint="Nothing was changed. Empty it: fastzero db reset. Or destroy the project: fastzero down --volumes",
        )


def adopt(session: Session, flags: Flags) -> None:
    """Take over what bears the project's name on the engine, with its rows; the secrets are made anew.

    Raises ConflictError where the data lies at several places: which of them was in service, the lost record knew.
    """
    decision = session.decide(flags)
    runtime = session.runtime_of(decision.record)
    place = decide.place_of(session.settings, decision.record)
    if (there := runtime.places_of_any_home()) not in ([], [place.volume]):
        raise ConflictError(
            f"the data of project {session.project.name} cannot be told: there are volumes {', '.join(there)}",
            hint="Nothing was changed. It was upgraded or moved: restore a backup into another project, -p NAME",
        )
    owner = runtime.owner_of(place) or decision.record.owner
    record = replace(decision.record, owner=owner, volume=place.volume, initialised=True)
    observed = runtime.observe(decision.spec, record, is_known=True)
    observed = replace(observed, missing_secrets=tuple(SECRETS))
    change = RecordChange(session.record, record, "it is taken over")
    session.run(plan.plan_adopt(decision.spec, observed, head_revision(), change))


def down(session: Session, *, volumes: bool) -> list[Action]:
    """Stop everything; with `volumes` destroy it, once it is known that everything can be."""
    assert session.record is not None, "somebody has looked"
    spec = session.whole_spec(session.record)
    observed = session.observe_quickly(spec, session.record)
    observed, change = session.with_leftovers(observed, RecordChange(session.record, session.record))
    actions = plan.plan_down(spec, observed)
    if not volumes:
        return session.run([*actions, *plan.write(change)], keep=True)
    filling = [change.after.filling] if change.after.filling else []
    places = (decide.place_of(session.settings, session.record), *session.record.kept, *filling)
    things = [thing for place in places for thing in session.remains(place)]
    return session.run([*actions, *plan.plan_destroy(session.project.name, things)], keep=True)


def restart(session: Session, service: str | None) -> None:
    """Stop and start one service, or all, and start what they need."""
    decision = session.as_recorded()
    names = decision.spec.named(service)
    observed, change = session.looked_at(decision, patience=None)
    if observed.data is DataState.ABSENT and not decision.record.initialised:
        raise ProjectNotFoundError(f"project {session.project.name} has no database yet")
    session.run(plan.plan_restart(decision.spec, observed, names, head_revision(), change))


def stop(session: Session, names: Iterable[str]) -> None:
    """Stop some services, and take everything away if that is all there are."""
    spec = session.whole_spec()
    observed = session.observe_quickly(spec, session.known)
    session.run(plan.plan_down(spec, observed, names), keep=True)


def repair_password(session: Session) -> bool:
    """Give the database's role the project's password. Returns whether it had another."""
    with session.database_started("its password is looked at") as spec:
        try:
            session.performer.wait(spec.database)
            return False
        except DatabaseLoginError:
            session.run(plan.plan_password(spec.database, session.observe_quickly(spec, session.known)))
            return True


def rotate_signing_key(session: Session, *, keep: float) -> None:
    """Give the project a new key to sign tokens with. Those of the present one stay valid for `keep` seconds.

    The processes take it up while they run: they read the key's file again when it changes.
    """
    from ..todo_app.tokens import rotated_keys

    spec = session.whole_spec()
    before = session.project.secret(SIGNING_KEY)
    after = rotated_keys(before, secrets.token_urlsafe(32), keep=keep)
    observed = session.observe_quickly(spec, session.known)
    plan.refuse_foreign(spec.project, observed)
    session.run(plan.plan_secret(spec, observed, SIGNING_KEY, before, after, "its key is rotated"))


def examine(session: Session) -> Iterator[Finding]:
    """What there is to know of the project's runtime, or of the one that a first `up` would choose."""
    record = session.record or ProjectRecord(decide.choose_runtime(session.settings, None, engine_answers))
    wanted = replace(record, processes=process_names(session.settings))
    yield from session.runtime_of(record).examine(session.spec(wanted), record)
    decide.refuse_other_major(session.settings, record)
