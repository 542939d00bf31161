"""What a plan is made of: an action is one operation on one thing, done by one call of the engine or the system.

Pure. `inverse` says what undoes an action; what cannot be undone has none.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any


class Verb(StrEnum):
    PULL = "pull"
    BUILD = "build"
    INSTALL = "install"
    CREATE = "create"
    FILL = "fill"
    CHECK = "check"
    START = "start"
    STOP = "stop"
    RENAME = "rename"
    REMOVE = "remove"
    SET = "set"
    WRITE = "write"
    WAIT = "wait for"
    MIGRATE = "migrate"
    HOLD = "hold"
    RELEASE = "release"
    COPY = "copy"


class Kind(StrEnum):
    IMAGE = "image"
    NETWORK = "network"
    VOLUME = "volume"
    CLAIM = "claim"  # an empty volume that says whose a project on an engine is, once it was taken over
    CONTAINER = "container"
    SECRETS = "secrets"  # of a container: the files that it is handed
    DATA = "data"  # a data directory
    STAGING = "staging"  # a data directory that is not whole yet
    BACKENDS = "backends"  # what works on a data directory without being in any record
    PROCESS = "process"
    DEPENDENCIES = "dependencies"  # of an application of the user's own, in its own environment
    SECRET = "secret"  # noqa: S105 - a file of the project's
    PASSWORD = "password"  # noqa: S105 - of the database's role
    ROLE = "role"
    OWNER = "owner"  # of what is in the databases
    PRIVILEGE = "privilege"  # of the role that owns the database
    EXTENSION = "extension"  # of PostgreSQL
    RECORD = "record"
    PROJECT = "project"  # its folder
    MARK = "mark"  # of a folder that fastzero made: what bears none is not deleted
    SERVICE = "service"
    SCHEMA = "schema"
    ARCHIVE = "archive"  # what a move copies the database through
    WRITES = "writes"
    SESSIONS = "sessions"
    DATABASE = "database"


MIGRATES = "alembic.command"  # the module that a migration needs
IN_CONTAINERS = (Kind.IMAGE, Kind.NETWORK, Kind.VOLUME, Kind.CLAIM, Kind.CONTAINER, Kind.SECRETS)
LOCAL = (Kind.DATA, Kind.STAGING, Kind.BACKENDS, Kind.PROCESS, Kind.DEPENDENCIES)


@dataclass(frozen=True)
class Action:
    """One thing to do, and why.

    `name` is the thing's, `service` whose it is, `to` its new name. `subject` is what the operation is given: the
    service that a thing is made from, a place, or the record or a secret before and after.
    """

    verb: Verb
    kind: Kind
    name: str
    cause: str
    service: str = ""
    to: str = ""
    subject: Any = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        target = f" to {self.to}" if self.to else ""
        return f"{self.verb} {self.kind} {self.name}{target}"


_OPPOSITES = {
    Verb.CREATE: Verb.REMOVE,
    Verb.START: Verb.STOP,
    Verb.STOP: Verb.START,
    Verb.HOLD: Verb.RELEASE,
}
PROVISIONS = (Kind.SCHEMA, Kind.EXTENSION, Kind.PRIVILEGE)
_STAYS = (Kind.SECRET, Kind.MARK, *PROVISIONS)  # made once, and of use to the next `up`


def inverse(action: Action) -> Action | None:
    """What undoes an action, or None."""
    cause = f"undo: {action}"
    if action.verb is Verb.RENAME:
        return replace(action, name=action.to, to=action.name, cause=cause)
    if (action.verb, action.kind) == (Verb.SET, Kind.ROLE):
        service, before, after = action.subject
        return replace(action, subject=(service, after, before), cause=cause)
    if action.verb is Verb.WRITE or (action.verb, action.kind) == (Verb.SET, Kind.SECRET):
        before, after = action.subject
        return replace(action, subject=(after, before), cause=cause)
    if action.verb not in _OPPOSITES or action.kind in _STAYS:
        return None
    if action.verb is Verb.STOP and action.subject is None:
        return None  # it was of no service, so that nobody misses it
    return replace(action, verb=_OPPOSITES[action.verb], cause=cause)
