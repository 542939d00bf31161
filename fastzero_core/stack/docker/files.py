"""Copy secrets into a container, and read the version of its data. The container does not need to run."""

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
ARCHIVE_MAX = 64 * 1024  # bytes; more than enough for an archive of a file with one line


def fill(api: docker.APIClient, container: str, service: ServiceSpec, secrets: Mapping[str, str]) -> None:
    """Copy the service's secrets, and the script that its image runs once, into a container."""
    _put(api, container, SECRETS, secrets, service.user)
    if service.first_start:
        _put(api, container, FIRST_START, {FIRST_START_FILE: service.first_start}, service.user)


def _put(api: docker.APIClient, container: str, folder: str, content: Mapping[str, str], account: str) -> None:
    """Copy files into a container, readable by its account, or by every user if `account` is empty."""
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
    """Return the major version of the data that a container mounts, None without data."""
    found = _cluster(api, container, data_mount(service.major), service.major)
    return found and found[1]


def is_whole(api: docker.APIClient, container: str, service: ServiceSpec) -> bool:
    """Return whether a container mounts data that was initialised completely."""
    found = _cluster(api, container, data_mount(service.major), service.major)
    return found is not None and _exists(api, container, f"{found[0]}/global/pg_control")


def images_of(api: docker.APIClient, container: Container, place: Place, volumes: Sequence[str]) -> dict[str, str]:
    """Return the image that can serve each volume: the image of `place`, with the major version of the volume's data.

    The volumes are read through a container that is never started.
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
    """Return the data directory below a mount and its major version, None without data. Tries `expected` first."""
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
    """Return the text of a small file, None for anything else: programs in the container control what is there."""
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
