"""Files of a container, which need not run: its secrets go in, the version of its data is read."""

import io
import tarfile
from collections.abc import Mapping, Sequence

import docker
from docker.models.containers import Container

from ...project import Place
from ..spec import ServiceSpec, data_mount, major_of, with_major
from .containers import FIRST_START, FIRST_START_FILE, SECRETS
from .engine import GONE

MAJORS = range(15, 31)
ARCHIVE_MAX = 64 * 1024  # bytes of an archive that has one line in it


def fill(api: docker.APIClient, container: str, service: ServiceSpec, secrets: Mapping[str, str]) -> None:
    """Put secrets where the service reads them, and the script that its image runs once where that looks for it."""
    _put(api, container, SECRETS, secrets, service.user)
    if service.first_start:
        _put(api, container, FIRST_START, {FIRST_START_FILE: service.first_start}, service.user)


def _put(api: docker.APIClient, container: str, folder: str, content: Mapping[str, str], account: str) -> None:
    """Put files into a container: of its user, or for every user of the container."""
    archive = io.BytesIO()
    user, _, group = account.partition(":")
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, text in content.items():
            written = text.encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(written)
            entry.mode = 0o400 if user else 0o444
            entry.uid, entry.gid = int(user or 0), int(group or 0)
            tar.addfile(entry, io.BytesIO(written))
    api.put_archive(container, folder, archive.getvalue())


def data_major(api: docker.APIClient, container: str, service: ServiceSpec) -> int | None:
    """The major version of the data that a container has mounted, None where there is none."""
    found = _cluster(api, container, data_mount(service.major), service.major)
    return found and found[1]


def is_whole(api: docker.APIClient, container: str, service: ServiceSpec) -> bool:
    """Whether a container has data mounted whose initialisation came to its end."""
    found = _cluster(api, container, data_mount(service.major), service.major)
    return found is not None and _exists(api, container, f"{found[0]}/global/pg_control")


def images_of(api: docker.APIClient, container: Container, place: Place, volumes: Sequence[str]) -> dict[str, str]:
    """The image that can serve each volume, made from that of a place.

    They are read through a container that is never started.
    """
    mounts = [{"Type": "volume", "Source": name, "Target": f"/volumes/{name}"} for name in volumes]
    document = {"Image": container.attrs["Image"], "HostConfig": {"Mounts": mounts}}
    made = api.create_container_from_config(document)["Id"]  # type: ignore[no-untyped-call]
    try:
        majors = {name: _cluster(api, made, f"/volumes/{name}", major_of(place.image)) for name in volumes}
    finally:
        api.remove_container(made, force=True, v=True)
    found = {name: with_major(place.image, cluster[1]) for name, cluster in majors.items() if cluster}
    return {**dict.fromkeys(volumes, place.image), **found, place.volume: place.image}


def _cluster(api: docker.APIClient, container: str, mount: str, expected: int) -> tuple[str, int] | None:
    """The data directory below a mount and its major version, which is probably the one expected."""
    likely = f"{mount}/{expected}/docker" if expected >= 18 else mount
    others = [mount, *(f"{mount}/{major}/docker" for major in MAJORS)]
    for folder in dict.fromkeys([likely, *others]):
        content = _read(api, container, f"{folder}/PG_VERSION")
        if content and content.strip().isdecimal():
            return folder, int(content)
    return None


def _exists(api: docker.APIClient, container: str, path: str) -> bool:
    try:
        api.get_archive(container, path)
    except GONE:
        return False
    return True


def _read(api: docker.APIClient, container: str, path: str) -> str | None:
    """The text of a small file; None for anything else: who works in the container chooses what lies there."""
    try:
        chunks, _ = api.get_archive(container, path)
    except GONE:
        return None
    archive = b""
    for chunk in chunks:
        archive += chunk
        if len(archive) > ARCHIVE_MAX:
            return None
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        member = tar.next()
        file = tar.extractfile(member) if member and member.isfile() else None
        return file.read().decode("ascii", "replace") if file else None
