"""Decide on what only the record of a project in a swarm has: its nodes, and the numbers of its tasks. Pure."""

from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import ConflictError, InvalidInputError
from ..ha.configuration import API_PORT, NODES, SERVER, names
from ..project import HOST, ProjectRecord
from ..settings import Settings
from . import ports
from .spec import APP_SERVICE

if TYPE_CHECKING:
    from .decide import Flags, Machine

API_PORTS = {name: f"{name}:{API_PORT}" for name in names(SERVER)}
"""The name of each Patroni's port in the record, by its server."""


def record_of(record: ProjectRecord, flags: "Flags", machine: "Machine") -> ProjectRecord:
    """Return the record with the nodes that have the data, and the numbers of tasks that a flag chooses.

    Raises InvalidInputError.
    """
    if flags.adopt:
        raise InvalidInputError(
            "--adopt does not work in a swarm", field="adopt", hint="Restore a backup: fastzero db restore"
        )
    web = machine.application.web if machine.application else None
    name = APP_SERVICE if machine.application is None else web.name if web else ""
    chosen = {name: flags.replicas} if name and flags.replicas else {}
    record = replace(record, node=record.node or machine.node(), replicas={**record.replicas, **chosen})
    return with_members(record, machine) if flags.ha or record.members else record


def with_members(record: ProjectRecord, machine: "Machine") -> ProjectRecord:
    """Return the record with the nodes and ports of a database with standbys.

    A member whose node has left the swarm gets another one, on which it begins without data. Raises InvalidInputError
    if the swarm has too few nodes for a database that has none yet.
    """
    nodes = machine.nodes()
    free = [node for node, takes_tasks in nodes.items() if takes_tasks and node not in record.members]
    if not record.members and len(free) < NODES:
        raise InvalidInputError(
            f"a database with standbys needs {NODES} nodes that take tasks, and this swarm has {len(free)}",
            field="ha",
            hint="Nothing was changed. Let more nodes join: docker swarm join-token manager",
        )
    members = tuple(node if node in nodes or not free else free.pop(0) for node in record.members or [""] * NODES)
    numbers = dict(record.ports)
    for name in API_PORTS.values():
        taken = machine.reserved() | set(numbers.values())
        numbers[name] = numbers.get(name) or ports.next_free(HOST, API_PORT, taken)
    return replace(record, members=members, ports=numbers)


def with_one_server(record: ProjectRecord, machine: "Machine") -> ProjectRecord:
    """Return the record of a database with one server, on the project's node unless that has left the swarm."""
    is_there = record.node in machine.nodes()
    return replace(record, members=(), node=record.node if is_there else machine.node())


def with_servers(record: ProjectRecord, machine: "Machine") -> ProjectRecord:
    """Return the record with the node of its database, or the nodes and ports of one with standbys."""
    return with_members(record, machine) if record.members else with_one_server(record, machine)


def refuse_standbys(settings: Settings, before: ProjectRecord | None, after: ProjectRecord, flags: "Flags") -> None:
    """Raise InvalidInputError if a project cannot have standbys, ConflictError if its database would have to move."""
    if flags.ha and after.runtime != "swarm":
        raise InvalidInputError(
            f"standbys need a swarm of {NODES} nodes, and project {settings.project} runs {after.runtime}",
            field="ha",
            hint="Nothing was changed. Use a project in a swarm: fastzero up --runtime swarm --ha -p NAME",
        )
    if before is None or flags.ha in (None, bool(before.members)):
        return
    raise ConflictError(
        f"the database of project {settings.project} has {'no' if flags.ha else 'two'} standbys",
        hint=f"Nothing was changed. Move it, with its data: fastzero db move --{'' if flags.ha else 'no-'}ha",
    )
