"""Files of a container, which need not run: its secrets go in, the version of its data is read."""

import io
import tarfile
from collections.abc import Mapping

import docker

from ..spec import ServiceSpec, data_mount
from .containers import SECRETS
from .engine import GONE

MAJORS = range(15, 31)


def fill(api: docker.APIClient, container: str, service: ServiceSpec, secrets: Mapping[str, str]) -> None:
    """Put secrets where the service reads them: files of its user, or of every user of the container."""
    archive = io.BytesIO()
    user, _, group = service.user.partition(":")
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, value in secrets.items():
            content = value.encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = 0o400 if user else 0o444
            entry.uid, entry.gid = int(user or 0), int(group or 0)
            tar.addfile(entry, io.BytesIO(content))
    api.put_archive(container, SECRETS, archive.getvalue())


def data_major(api: docker.APIClient, container: str, service: ServiceSpec) -> int | None:
    """The major version of the data that a container has mounted, None where there is none."""
    mount = data_mount(service.major)
    expected = f"{mount}/{service.major}/docker" if service.major >= 18 else mount
    others = [mount, *(f"{mount}/{major}/docker" for major in MAJORS)]
    for folder in dict.fromkeys([expected, *others]):
        content = _read(api, container, f"{folder}/PG_VERSION")
        if content:
            return int(content)
    return None


def _read(api: docker.APIClient, container: str, path: str) -> str | None:
    try:
        chunks, _ = api.get_archive(container, path)
    except GONE:
        return None
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        file = tar.extractfile(tar.getmembers()[0])
        return file.read().decode() if file else None
