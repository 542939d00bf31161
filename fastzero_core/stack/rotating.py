"""Rotate the secrets of a project: the key that signs tokens, and the passwords of its database."""

import secrets
from collections.abc import Iterator
from contextlib import suppress

from ..errors import DatabaseLoginError
from ..events import Notice
from ..ha.configuration import API_PASSWORD, API_PASSWORD_BEFORE
from ..postgres.roles import REPLICATION
from ..project import next_secret, password_name
from . import plan, rotation
from .actions import Action
from .decide import Flags
from .observed import Observed
from .session import Session
from .spec import StackSpec
from .surroundings import STAND_IN_PASSWORD

INTERRUPTED = "a rotation of the database's passwords was interrupted; it is completed first"
SIGNING_KEY = "secret_key"  # the secret that tokens are signed with


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
    session.run(rotation.plan_secret(spec, observed, SIGNING_KEY, before, after, "its key is rotated"))
    _discard_unused(session, spec)


def _discard_unused(session: Session, spec: StackSpec) -> None:
    """Remove the secrets of a swarm that no service mounts any more."""
    if session.known.runtime == "swarm":
        session.run(plan.plan_discard(session.observe_quickly(spec, session.known).leftovers))


def rotate_passwords(session: Session) -> None:
    """Set a new password for every role of the database.

    The built-in app keeps working: it reads its password for each login. Running processes that have it in a variable
    are restarted; in a swarm, stand-ins let them connect until then. Servers with standbys are replaced one after the
    other. A stopped database is started for this, and stopped again. If this command is killed, the next rotation or
    the next `up` completes it.
    """
    session.require_trust()
    if _roles(session):
        session.on_event(Notice(INTERRUPTED))
        _rotate(session, was_interrupted=True)
    session.run(rotation.plan_begin(_all_roles(session)))
    _rotate(session)


def _all_roles(session: Session) -> tuple[str, ...]:
    """Return the roles that have a password."""
    record = session.record
    return (*record.roles, *((REPLICATION,) if record.members else ())) if record else ()


def _roles(session: Session) -> tuple[str, ...]:
    """Return the roles whose passwords are being rotated, by this command or by one that was killed."""
    return tuple(role for role in _all_roles(session) if session.project.has_secret(next_secret(role)))


def complete(session: Session, flags: Flags) -> None:
    """Complete the rotation of a killed command, or forget it if the server gets the project's passwords anyway."""
    if not _roles(session):
        return
    if not _gets_passwords_anyway(session, flags):
        session.on_event(Notice(INTERRUPTED))
        _set_next_passwords(session)
    session.run(rotation.plan_end(_roles(session)))


def _gets_passwords_anyway(session: Session, flags: Flags) -> bool:
    return flags.adopt or (flags.start_over and session.data_is_gone)


def _rotate(session: Session, *, was_interrupted: bool = False) -> None:
    has_stopped = _set_next_passwords(session)
    if has_stopped or was_interrupted:
        spec = session.spec()
        if session.observe_quickly(spec, session.known).service(spec.database.name).runs:
            session.ensure_up()
            forget(session)
    session.run(rotation.plan_end(_roles(session)))


def _set_next_passwords(session: Session) -> bool:
    """Set the next password of each role that has one, wherever it is used. All of it can be repeated.

    Stops the running processes that have a password in a variable. Returns whether there were any.
    """
    with session.database_started(rotation.CAUSE) as stack:
        with suppress(DatabaseLoginError):  # it answers, and its owner may have the next password already
            session.performer.wait(stack.database)
        spec = session.whole_spec()
        for actions in _rotations(session, spec):
            session.run(actions)
        _discard_unused(session, spec)
        observed = session.observe_quickly(spec, session.known)
        return bool(session.run(_stops(session, spec, observed))) or session.known.runtime == "swarm"


def completing(session: Session, flags: Flags) -> list[Action]:
    """Return the actions that complete the rotation of a killed command, [] if none was killed."""
    if not _roles(session) or _gets_passwords_anyway(session, flags):
        return []
    spec = session.whole_spec()
    observed = session.observe_quickly(spec, session.known)
    return [
        *plan.plan_start_database(spec, observed, rotation.CAUSE),
        *(action for actions in _rotations(session, spec) for action in actions),
        *_stops(session, spec, observed),
        *rotation.plan_end(_roles(session)),
    ]


def _rotations(session: Session, spec: StackSpec) -> Iterator[list[Action]]:
    """Yield the actions that belong together. They depend on what those before them have changed."""
    record, secret = session.known, session.project.secret
    if record.runtime == "swarm" and record.application:
        standing_in = session.spec_with_stand_ins
        yield rotation.plan_stand_ins(standing_in, session.observe_quickly(standing_in, record))
    observed = session.observe_quickly(spec, record)
    for role in _roles(session):
        before, after = secret(password_name(role)), secret(next_secret(role))
        yield rotation.plan_rotation(spec, observed, role, before, after)
    if record.members and not session.project.has_secret(API_PASSWORD_BEFORE):
        yield rotation.plan_interface(secret(API_PASSWORD), secrets.token_urlsafe(32))


def forget(session: Session) -> None:
    """Remove what a rotation needed besides, once everything uses the new passwords."""
    session.run(forgetting(session))


def forgetting(session: Session) -> list[Action]:
    """Return the actions that remove what a rotation needed besides, [] if there is nothing of it."""
    left = [name for name in (STAND_IN_PASSWORD, API_PASSWORD_BEFORE) if session.project.has_secret(name)]
    return rotation.plan_forget(session.spec().database, left) if left else []


def _stops(session: Session, spec: StackSpec, observed: Observed) -> list[Action]:
    """Return the actions that stop the processes which have a rotated password in a variable.

    In a swarm the next `up` replaces their tasks one after the other.
    """
    if session.known.runtime == "swarm":
        return []
    rotated = {password_name(role) for role in _roles(session)}
    stale = [process.name for process in spec.processes if rotated.intersection(process.secrets_in_variables)]
    return plan.plan_stop(spec, observed, stale, rotation.CAUSE)
