"""Plan the rotation of a project's secrets. Pure.

A role's next password is in a file before the server gets it. The file is removed once everything uses the password, so
whatever a killed command left, the role has one of two passwords that are known.
"""

from collections.abc import Sequence

from ..project import PASSWORDS
from . import steps
from .actions import Action, Kind, Verb
from .observed import Observed, ObservedService
from .spec import ServiceSpec, StackSpec

CAUSE = "its password is rotated"
URL = "database_url"  # the secret that has a password in it


def next_secret(role: str) -> str:
    """Return the name of the secret with the next password of a role."""
    return f"{PASSWORDS[role]}.next"


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
    actions = [change, *plan_secret(spec, observed, PASSWORDS[role], before, after, CAUSE)]
    for process in spec.processes:
        found = observed.service(process.name)
        if process.image and found.thing and role in process.roles:  # its database URL contains the password
            actions += (
                _hand_over(spec, process, found, URL, CAUSE) if URL in process.secrets or not process.deploy else []
            )
    return actions


def plan_end(roles: Sequence[str]) -> list[Action]:
    """Return the actions that remove the files of the next passwords, which everything uses now."""
    return [Action(Verb.REMOVE, Kind.SECRET, next_secret(role), "everything uses it") for role in roles]
