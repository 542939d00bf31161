"""Plan the rotation of a project's secrets. Pure.

A role's next password is in a file before the server gets it. The file is removed once everything uses the password, so
whatever a killed command left, the role has one of two passwords that are known.
"""

from collections.abc import Sequence

from ..ha.configuration import API_PASSWORD, API_PASSWORD_BEFORE
from ..postgres.roles import STAND_INS
from ..project import next_secret, password_name
from . import steps
from .actions import Action, Kind, Verb
from .observed import Observed, ObservedService
from .spec import ServiceSpec, StackSpec
from .surroundings import STAND_IN_PASSWORD

CAUSE = "its password is rotated"
BOTH = "its tasks have to know the next password before the server has it"
URL = "database_url"  # the secret that has a password in it


def plan_secret(spec: StackSpec, observed: Observed, name: str, before: str, after: str, cause: str) -> list[Action]:
    """Return the actions that change a secret in the project and in containers. Processes read it when it changes."""
    actions = [Action(Verb.SET, Kind.SECRET, name, cause, subject=(before, after))]
    for service in spec.services:
        found = observed.service(service.name)
        if service.image and found.thing and name in service.secrets:
            actions += _hand_over(spec, service, found, name, cause)
    return actions


def _hand_over(spec: StackSpec, service: ServiceSpec, found: ObservedService, name: str, cause: str) -> list[Action]:
    """Return the actions that give a secret to a service.

    A swarm replaces the tasks one after the other, but not the database, which reads its secrets only at its first
    start.
    """
    if not service.deploy:
        return [Action(Verb.FILL, Kind.SECRETS, found.thing, cause, service.name, subject=service)]
    if service.is_database:
        return []
    secret = f"{steps.container_name(spec.project, service.name)}-{name}"
    return [
        Action(Verb.CREATE, Kind.MOUNTED_SECRET, secret, cause, service.name, subject=service),
        Action(Verb.FILL, Kind.SECRETS, found.thing, cause, service.name, subject=service),
        steps.wait(service),
    ]


def plan_begin(roles: Sequence[str]) -> list[Action]:
    """Return the actions that create the next password of each role."""
    return [Action(Verb.CREATE, Kind.SECRET, next_secret(role), CAUSE) for role in roles]


def plan_rotation(spec: StackSpec, observed: Observed, role: str, before: str, after: str) -> list[Action]:
    """Return the actions that change the password of a role of the running database, and then update its users."""
    database = spec.database
    change = Action(Verb.SET, Kind.ROLE, role, CAUSE, database.name, subject=(database, before, after))
    actions = [change, *plan_secret(spec, observed, password_name(role), before, after, CAUSE)]
    for process in spec.processes:
        found = observed.service(process.name)
        if process.image and found.thing and role in process.roles:  # its database URL contains the password
            if not process.deploy:
                actions += _hand_over(spec, process, found, URL, CAUSE)
            elif URL in process.secrets:
                actions = [*_hand_over(spec, process, found, URL, BOTH), *actions]
                actions += _hand_over(spec, process, found, URL, CAUSE)
    return actions


def plan_stand_ins(spec: StackSpec, observed: Observed) -> list[Action]:
    """Return the actions that replace the tasks of a user's application by ones that log in as stand-ins.

    They would not notice that the password of their role is changed. `spec` is the stack with stand-ins.
    """
    processes = [
        each
        for each in spec.processes
        if each.deploy and STAND_IN_PASSWORD in each.secrets_in_variables and observed.service(each.name).runs
    ]
    if not processes:
        return []
    cause, database = "its tasks have to connect while a password is changed", spec.database
    names = dict.fromkeys(STAND_INS[role] for each in processes for role in each.roles)
    return [
        Action(Verb.CREATE, Kind.SECRET, STAND_IN_PASSWORD, cause),
        *(Action(Verb.CREATE, Kind.ROLE, name, cause, database.name, subject=database) for name in names),
        *(action for each in processes for action in _replaced(spec, each, observed, cause)),
    ]


def _replaced(spec: StackSpec, process: ServiceSpec, observed: Observed, cause: str) -> list[Action]:
    return [*steps.replace(spec.project, process, observed, cause), steps.wait(process)]


def plan_interface(before: str, after: str) -> list[Action]:
    """Return the actions that change the password of the servers' interface in the project.

    The next `up` replaces the servers one after the other. Until then, some have the password of before.
    """
    cause = "the servers get another one"
    return [
        Action(Verb.SET, Kind.SECRET, API_PASSWORD_BEFORE, cause, subject=("", before)),
        Action(Verb.SET, Kind.SECRET, API_PASSWORD, cause, subject=(before, after)),
    ]


def plan_forget(database: ServiceSpec, secrets: Sequence[str]) -> list[Action]:
    """Return the actions that remove the stand-ins, and what else was needed only during a rotation."""
    cause = "nothing uses it any more"
    stand_ins = [name for role, name in STAND_INS.items() if role in database.roles and STAND_IN_PASSWORD in secrets]
    return [
        *(Action(Verb.REMOVE, Kind.ROLE, name, cause, database.name, subject=database) for name in stand_ins),
        *(Action(Verb.REMOVE, Kind.SECRET, name, cause) for name in secrets),
    ]


def plan_end(roles: Sequence[str]) -> list[Action]:
    """Return the actions that remove the files of the next passwords, which everything uses now."""
    return [Action(Verb.REMOVE, Kind.SECRET, next_secret(role), "everything uses it") for role in roles]
