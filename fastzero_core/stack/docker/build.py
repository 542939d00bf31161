"""Build the image of a user's application from the files of its folder, and name it by their content.

An image that exists is current: if a file changes, the image gets another name.
"""

import hashlib
import io
import os
import re
import shutil
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import IO

import docker
from docker.utils.build import exclude_paths

from ...config_files import PROJECT_FILE
from ...errors import ImageError, InvalidInputError
from ...events import Listener, Progress
from ..spec import Build, ServiceSpec
from .image import remembered

GENERATED = "Dockerfile.fastzero"  # the name of a generated Dockerfile in the context
IGNORE = ".dockerignore"
# Left out of the context if the folder does not have a .dockerignore.
LEFT_OUT = (".git", ".venv", "venv", "**/__pycache__", "**/node_modules", ".env", "**/.mypy_cache", "**/.pytest_cache")
_COPIES = re.compile(r"^\s*(?:COPY|ADD)\s+(?!.*--from=)(.*)", re.MULTILINE | re.IGNORECASE)
LAST_LINES = 30


def image_name(project: str, build: Build) -> str:
    """Return the name of the image for the folder's current content."""
    state = hashlib.sha256(repr([build, *_stats(build)]).encode()).hexdigest()
    return remembered(f"{project}-image.json", state, lambda: f"fastzero-{project}-application:{_digest(build)}")


def context(build: Build) -> IO[bytes]:
    """Return the build context as a tar archive, in a temporary file.

    Its first entry has a plain header: buildx takes an archive that begins with any other for a Dockerfile.
    """
    archive = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(_paths(build), key=len):
            tar.add(Path(build.folder, path), path, recursive=False)
        if build.is_text:
            _add_text(tar, GENERATED, build.dockerfile)
    archive.flush()  # the docker program reads the file, not what Python still holds
    archive.seek(0)
    return archive


def _add_text(tar: tarfile.TarFile, name: str, text: str) -> None:
    content = text.encode()
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def build_image(client: docker.DockerClient, service: ServiceSpec, on_event: Listener, *, pull: bool = False) -> None:
    """Build the image of a service. Raises ImageError with the last lines of the build's output.

    The docker program builds with BuildKit; without it, the engine's own builder, which is not BuildKit, is used.
    """
    assert service.build is not None, "its image is built"
    with context(service.build) as archive:
        lines = _by_program(service, archive, pull) if _has_buildkit() else _by_engine(client, service, archive, pull)
        said: list[str] = []
        try:
            for line in lines:
                said.append(line)
                if line.startswith(("Step ", "#")):
                    on_event(Progress(line))
        except _Failed as error:
            hint = _needs_buildkit(said) if not _has_buildkit() else "The build's own words above say why"
            evidence = "\n".join(said[-LAST_LINES:])
            raise ImageError(f"{service.image} cannot be built: {error}", hint=hint, evidence=evidence) from None


class _Failed(Exception):
    """A build that failed."""


def _needs_buildkit(said: list[str]) -> str:
    wants = any("--mount" in line or "BuildKit" in line for line in said)
    return "This Dockerfile needs BuildKit: install docker and its buildx plugin" if wants else "See its words above"


@cache
def _has_buildkit() -> bool:
    program = shutil.which("docker")
    return program is not None and subprocess.run([program, "buildx", "version"], capture_output=True).returncode == 0


def _by_program(service: ServiceSpec, archive: IO[bytes], pull: bool) -> Iterator[str]:
    build = service.build
    assert build is not None
    arguments = [part for name, value in build.arguments.items() for part in ("--build-arg", f"{name}={value}")]
    target = ["--target", build.target] if build.target else []
    renew = ["--pull"] if pull else []
    command = ["docker", "buildx", "build", "--load", "--progress=plain", f"--tag={service.image}"]
    command += [f"--file={_dockerfile_name(build)}", *target, *renew, *arguments, "-"]
    process = subprocess.Popen(
        command, stdin=archive, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace"
    )
    with process:
        assert process.stdout is not None
        yield from (line.rstrip() for line in process.stdout)
    if process.returncode:
        raise _Failed(f"docker build failed with exit code {process.returncode}")


def _by_engine(client: docker.DockerClient, service: ServiceSpec, archive: IO[bytes], pull: bool) -> Iterator[str]:
    build = service.build
    assert build is not None
    events = client.api.build(
        fileobj=archive,
        custom_context=True,
        dockerfile=_dockerfile_name(build),
        tag=service.image,
        buildargs=dict(build.arguments),
        target=build.target or None,
        pull=pull,
        rm=True,
        decode=True,
    )
    for event in events:
        if "error" in event:
            raise _Failed(event["error"])
        yield from event.get("stream", "").strip().splitlines()


def _dockerfile_name(build: Build) -> str:
    return GENERATED if build.is_text else build.dockerfile


def _paths(build: Build) -> set[str]:
    """Return the files and folders of the context, relative to its folder. Raises InvalidInputError if it is gone."""
    folder = Path(build.folder)
    if not folder.is_dir():
        raise InvalidInputError(f"the application's folder {folder} does not exist", hint="Restore it")
    ignore = folder / IGNORE
    said = ignore.read_text(encoding="utf-8", errors="replace").splitlines() if ignore.is_file() else _left_out(build)
    patterns = [line.strip() for line in said if line.strip() and not line.startswith("#")]
    return set(exclude_paths(build.folder, patterns, dockerfile=_dockerfile_name(build)))


def _left_out(build: Build) -> list[str]:
    """Return what is left out without a .dockerignore: nothing that the application's own Dockerfile copies by name."""
    path = Path(build.folder, build.dockerfile)
    text = "" if build.is_text or not path.is_file() else path.read_text(encoding="utf-8", errors="replace")
    copied = {word.removeprefix("./") for line in _COPIES.findall(text) for word in line.split()}
    return [each for each in LEFT_OUT if each not in copied]


def _named_by(build: Build) -> list[str]:
    """Return the files that determine the image's name, without the file that only fastzero reads."""
    return sorted(_paths(build) - {PROJECT_FILE})


def _stats(build: Build) -> Iterator[tuple[str, int, int, int]]:
    for path in _named_by(build):
        seen = os.lstat(Path(build.folder) / path)
        yield path, seen.st_mode, seen.st_size, 0 if stat.S_ISDIR(seen.st_mode) else seen.st_mtime_ns


def _digest(build: Build) -> str:
    found = hashlib.sha256(repr(build).encode())
    for path in _named_by(build):
        full = Path(build.folder) / path
        mode = os.lstat(full).st_mode
        found.update(f"\0{path}\0{mode}\0".encode("utf-8", "surrogateescape"))
        if stat.S_ISREG(mode):
            with full.open("rb") as file:
                found.update(hashlib.file_digest(file, "sha256").digest())
        elif stat.S_ISLNK(mode):
            found.update(os.fsencode(full.readlink()))
    return found.hexdigest()[:12]
