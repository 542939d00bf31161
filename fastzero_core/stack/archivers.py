"""The archivers of a database in a swarm. Pure.

An archiver runs beside its server. Of a database with standbys each server has one, since each can become the primary.
"""

from dataclasses import replace

from ..archive.description import ARCHIVER, DATA, STATE
from ..ha.configuration import names
from .archiver import state_inside
from .deployed import Deployment
from .ha import data_folder
from .spec import Mount, ServiceSpec, data_mount, volume_name


def on_node(archiver: ServiceSpec, node: str, image: str) -> ServiceSpec:
    """Return the archiver of a server on a node, whose engine makes its volume.

    It reaches the server by their common socket, and needs none of the project's networks.
    """
    sockets = Mount(archiver.volume, archiver.mount)
    mounts = (sockets, *archiver.mounts)
    return replace(archiver, image=image, volume="", mount="", mounts=mounts, deploy=Deployment(node=node, networks=()))


def of_servers(archiver: ServiceSpec, servers: tuple[ServiceSpec, ...], project: str) -> tuple[ServiceSpec, ...]:
    """Return the archiver of each of several servers, made of that of a single one."""
    return tuple(
        replace(
            archiver,
            name=name,
            volume=volume_name(project, name),
            mounts=(Mount(server.volume, data_mount(server.major), read_only=True),),
            variables={**archiver.variables, DATA: data_folder(server.major), STATE: state_inside(server.volume)},
        )
        for name, server in zip(names(ARCHIVER), servers, strict=True)
    )
