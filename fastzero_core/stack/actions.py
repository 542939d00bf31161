"""The actions of a plan: one operation on one thing, performed by one call of the engine or the system.

Pure. `inverse` returns the action that undoes another one, if it can be undone.
"""

from collections.abc import Sequence
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
    PIN = "pin"
    PUSH = "push"
    UPDATE = "update"
    RESTART = "restart"
    REVERT = "revert"


class Kind(StrEnum):
    IMAGE = "image"
    NETWORK = "network"
    VOLUME = "volume"
    CLAIM = "claim"  # an empty volume that records the owner of a project that was taken over
    CONTAINER = "container"
    SECRETS = "secrets"  # the files with a container's secrets
    DATA = "data"  # a data directory
    STAGING = "staging"  # an unfinished data directory
    BACKENDS = "backends"  # processes that use a data directory but are not in a record
    PROCESS = "process"
    DEPENDENCIES = "dependencies"  # of a user's application, in its own environment
    SECRET = "secret"  # noqa: S105 - a file of the project
    PASSWORD = "password"  # noqa: S105 - of the database's role
    ROLE = "role"
    OWNER = "owner"  # of the objects in the databases
    PRIVILEGE = "privilege"  # of the role that owns the database
    EXTENSION = "extension"  # of PostgreSQL
    RECORD = "record"
    PROJECT = "project"  # its folder
    MARK = "mark"  # of a folder that fastzero created: it deletes only marked folders
    SERVICE = "service"
    MOUNTED_SECRET = "swarm secret"  # noqa: S105 - a copy of a secret in a swarm, which its tasks mount
    REPLICAS = "replicas"  # the number of tasks of a service in a swarm
    CONFIG = "config"  # a file in a swarm, which its tasks mount
    CONTENT = "content"  # of a volume on another node of a swarm, whose engine alone could remove the volume
    SETTINGS = "settings"  # that all servers of a database with standbys share
    PRIMARY = "primary"  # of its servers, the one that accepts writes
    SCHEMA = "schema"
    ARCHIVE = "archive"  # the dump through which a move copies the database
    WRITES = "writes"
    SESSIONS = "sessions"
    DATABASE = "database"


NEW, OLD = "-new", "-old"  # suffixes of a container's name while it is being replaced
MIGRATES = "alembic.command"  # the module that a migration needs
MOUNTED = (Kind.MOUNTED_SECRET, Kind.CONFIG)
IN_CONTAINERS = (
    Kind.IMAGE,
    Kind.NETWORK,
    Kind.VOLUME,
    Kind.CLAIM,
    Kind.CONTAINER,
    Kind.SECRETS,
    Kind.SERVICE,
    Kind.REPLICAS,
    *MOUNTED,
)
LOCAL = (Kind.DATA, Kind.STAGING, Kind.BACKENDS, Kind.PROCESS, Kind.DEPENDENCIES)


@dataclass(frozen=True)
class Action:
    """One operation, and its cause.

    `name` is the name of the thing, `service` its service, `to` its new name. `subject` is the argument of the
    operation: the service that a thing is created from, a place, or a record or secret before and after the change.
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
    Verb.UPDATE: Verb.REVERT,
}
PROVISIONS = (Kind.SCHEMA, Kind.EXTENSION, Kind.PRIVILEGE)
_STAYS = (Kind.SECRET, Kind.MARK, *MOUNTED, *PROVISIONS)  # created once; the next `up` uses them


def inverse(action: Action) -> Action | None:
    """Return the action that undoes an action, None if it cannot be undone."""
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
    if action.verb is Verb.UPDATE and getattr(action.subject, "is_member", False):
        return None  # going back is a change too, which may only be made one after the other
    if action.verb is Verb.STOP and action.subject is None:
        return None  # it does not belong to a service, so it is not needed
    return replace(action, verb=_OPPOSITES[action.verb], cause=cause)


def is_decided(begun: Sequence[Action]) -> bool:
    """Return whether the last of these actions removes what was replaced: the new one is in service."""
    last = begun[-1]
    if last.verb is Verb.REMOVE and last.kind in MOUNTED:
        return True
    return (last.verb, last.kind) == (Verb.REMOVE, Kind.CONTAINER) and last.name.endswith(OLD)
