"""The archiver of a database: the service that copies its write-ahead log, and the workers for other operations. Pure.

In containers the archiver has an image of its own, which is the database's image with Python and fastzero. It reads the
database's volume, and both have the folder of the server's socket, in which the archiver tells what is archived.
"""

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..archive.description import (
    ARCHIVER,
    CREDENTIALS,
    CREDENTIALS_FILE,
    DATA,
    DESCRIPTION,
    STATE,
    Archive,
    server_settings,
    state_folder,
)
from .spec import GATEWAY, PROXY, Mount, ServiceSpec, StackSpec, data_folder, data_mount, major_of, volume_name

RECIPE = "archiver"
SOCKETS = "/var/run/postgresql"  # where the database's image has its socket
SECRETS = "/run/secrets"
SCRATCH = "/tmp"  # noqa: S108 - a volume of the container's own
WORKER = "archive-worker"  # the service of one operation
MODULES = "fastzero_core.archive"
PYTHON = ("/venv/bin/python", "-P", "-m")  # the entry point of its image
GRACE = 0.5  # seconds that it must run, to count as started
MEMORY = 512 * 2**20  # bytes; barman's programs take 60 MiB each
PIDS = 128
SHARED_MEMORY = 256 * 2**20  # bytes, for the server of a recovery


def with_archiver(database: ServiceSpec, archive: Archive, project: str, state: str, image: str) -> list[ServiceSpec]:
    """Return a database that archives, after its archiver, so that it stops first, when its last segment is archived.

    `image` is the archiver's image for a database in a container; `state` is the project's folder.
    """
    if image:
        return [_container(database, archive, project, image), _archived_container(database, project)]
    return [_process(archive, database.data, state), _archived(database, str(state_folder(Path(database.data))))]


def archivers(spec: StackSpec) -> tuple[ServiceSpec, ...]:
    """Return the archivers of a stack, in the order of its servers."""
    return tuple(each for each in spec.services if is_archiver(each.name))


def described_extras(spec: StackSpec) -> tuple[ServiceSpec, ...]:
    """Return the extra services that the application describes, without those of fastzero itself."""
    others = (each for each in spec.extras if not each.is_member and not is_archiver(each.name))
    return tuple(each for each in others if each.name not in (GATEWAY, PROXY))


def is_archiver(name: str) -> bool:
    """Return whether a service is the archiver of a server, or of one of several."""
    return bool(re.fullmatch(rf"{ARCHIVER}(-\d)?", name))


def _archived(database: ServiceSpec, state: str) -> ServiceSpec:
    """Return the database with the settings of a server that archives."""
    return replace(
        database,
        configuration={**database.configuration, **server_settings()},
        variables={**database.variables, STATE: state},
    )


def _archived_container(database: ServiceSpec, project: str) -> ServiceSpec:
    tmpfs = {path: options for path, options in database.tmpfs.items() if path != SOCKETS}
    sockets = Mount(volume_name(project, ARCHIVER), SOCKETS)
    return replace(_archived(database, state_inside(database.volume)), tmpfs=tmpfs, mounts=(sockets,))


def _process(archive: Archive, data: str, state: str) -> ServiceSpec:
    """Return the process that copies the write-ahead log of a data directory to its archive."""
    return ServiceSpec(
        name=ARCHIVER,
        port=0,
        is_extra=True,
        interpreter=(sys.executable, "-P", "-m", f"{MODULES}.archiver"),
        directory=str(Path(state) / "services" / ARCHIVER),
        variables={
            DESCRIPTION: archive.as_text(),
            DATA: data,
            STATE: str(state_folder(Path(data))),
            CREDENTIALS_FILE: str(Path(state) / "secrets" / CREDENTIALS),
        },
        grace=GRACE,
        readiness=None,
        roles=(),
        restart="always",
    )


def _container(database: ServiceSpec, archive: Archive, project: str, image: str) -> ServiceSpec:
    """Return the container that does the same. It runs as the server's account, without any privilege."""
    major = major_of(database.image)
    data = Mount(database.volume, data_mount(major), read_only=True)
    made = _in_image(ARCHIVER, database.image, image, archive, data_folder(major), state_inside(database.volume))
    return replace(
        made,
        volume=volume_name(project, ARCHIVER),
        mount=SOCKETS,
        mounts=(data, *made.mounts),
        command=(f"{MODULES}.archiver",),
        grace=GRACE,
        memory=MEMORY,
        pids=PIDS,
        restart="always",
    )


def worker(
    archive: Archive, base: str, image: str, operation: str, given: Mapping[str, Any], *, volume: str = ""
) -> ServiceSpec:
    """Return the service that performs one operation on an archive, and ends.

    `base` is the image of a database, `image` the one that is built from it, `volume` what a recovery fills.
    """
    data = data_folder(major_of(base)) if volume else f"{SCRATCH}/data"
    made = _in_image(WORKER, base, image, archive, data, SCRATCH)
    is_root = operation == "prepare"  # which makes a folder for the account that all others run as
    filled = (Mount(volume, data_mount(major_of(base))),) if volume else ()
    return replace(
        made,
        mounts=(*filled, *made.mounts),
        command=(f"{MODULES}.worker", operation, json.dumps(given)),
        secrets=(CREDENTIALS,),
        shared_memory=SHARED_MEMORY,
        user="0:0" if is_root else "",
        capabilities=("CHOWN", "DAC_OVERRIDE") if is_root else (),
    )


def _in_image(name: str, base: str, image: str, archive: Archive, data: str, state: str) -> ServiceSpec:
    # The folder of an archive has the same path inside, so that messages name the one on the engine's machine.
    folder = (Mount(str(archive.folder.parent), str(archive.folder.parent)),) if archive.is_folder else ()
    return ServiceSpec(
        name=name,
        port=0,
        is_extra=True,
        image=image,
        base_image=base,
        recipe=RECIPE,
        mounts=folder,
        variables={
            DESCRIPTION: archive.as_text(),
            DATA: data,
            STATE: state,
            CREDENTIALS_FILE: f"{SECRETS}/{CREDENTIALS}",
        },
        secrets=() if archive.is_folder else (CREDENTIALS,),
        readiness=None,
        roles=(),
        read_only=True,
        scratch=SCRATCH,
    )


def state_inside(volume: str) -> str:
    """Return the folder, common to a container with its data in `volume` and its archiver, of what is archived."""
    return f"{SOCKETS}/archive-{volume}"
