"""A clock that can be stepped, for the processes that are started with it: libfaketime, if it is installed.

Only the time of day is stepped, as by a person or by NTP; the monotonic clock goes on.
"""

import io
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

import docker

IMAGE = "fastzero-faults-clock:18"
IN_CONTAINER = "/var/lib/postgresql/clock"
LIBRARIES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib*/faketime/libfaketimeMT.so.1")


def library() -> Path | None:
    """Where libfaketime is, None if it is not installed."""
    return next((path for pattern in LIBRARIES for path in Path("/").glob(pattern.removeprefix("/"))), None)


def missing() -> str:
    """Why no clock can be stepped here, "" if it can."""
    return "" if library() else "libfaketime is not installed"


class ClockOfProcesses:
    """The clock of processes that are started with `variables`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0)

    def set(self, seconds: int) -> None:
        """Show a time that is so many seconds off."""
        self._file.write_text(f"{seconds:+d}\n")

    @property
    def variables(self) -> dict[str, str]:
        """What the environment of a process must have."""
        return {"LD_PRELOAD": str(library()), **_variables(str(self._file))}


class ClockOfContainer:
    """The clock of a container of `image_with_clock`."""

    def __init__(self, container: Any) -> None:
        self._container = container

    def set(self, seconds: int) -> None:
        """Show a time that is so many seconds off."""
        code, said = self._container.exec_run(["sh", "-c", f"echo {seconds:+d} > {IN_CONTAINER}"], user="postgres")
        assert code == 0, said


def image_with_clock() -> str:
    """Make the image of PostgreSQL whose processes all start with the library. Its layers are those of postgres:18."""
    path = library()
    assert path
    variables = {"LD_PRELOAD": "/clock.so", **_variables(IN_CONTAINER)}
    lines = ["FROM postgres:18", "COPY clock.so /", *(f"ENV {name}={value}" for name, value in variables.items())]
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        for name, content in (("Dockerfile", "\n".join(lines).encode()), ("clock.so", path.read_bytes())):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content))
    context.seek(0)
    with closing(docker.from_env()) as engine:
        engine.images.build(fileobj=context, custom_context=True, tag=IMAGE)
    return IMAGE


def _variables(file: str) -> dict[str, str]:
    return {
        "FAKETIME_TIMESTAMP_FILE": file,
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DISABLE_SHM": "1",
    }
