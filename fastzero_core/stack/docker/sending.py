"""Send an image from this machine's engine to that of another machine, without the layers that are there already.

It replaces a registry. The format is that of `docker save`: https://docs.docker.com/reference/cli/docker/image/save/
"""

import json
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import IO

import docker

from ...errors import FastZeroError, ImageError
from ...events import Listener, Progress
from .engine import FIRST_TIMEOUT, GONE, TIMEOUT, UNREACHABLE, connect

CHUNK = 1024 * 1024  # bytes
MANIFEST = "manifest.json"


def engine_here(target: docker.DockerClient) -> docker.DockerClient | None:
    """Return this machine's engine, if it has one that runs on the same architecture as the other one."""
    try:
        client = connect(FIRST_TIMEOUT)
    except FastZeroError:
        return None
    if client.version()["Arch"] != target.version()["Arch"]:
        return None
    client.api.timeout = TIMEOUT
    return client


def send(target: docker.DockerClient, name: str, on_event: Listener) -> bool:
    """Send an image. Returns whether this machine's engine has it. Raises ImageError."""
    source = engine_here(target)
    if source is None:
        return False
    with source.api:
        try:
            layers = source.images.get(name).attrs["RootFS"]["Layers"]
        except GONE:
            return False
        there = _layers_there(target, layers)
        with tempfile.TemporaryFile() as whole, tempfile.TemporaryFile() as reduced:
            for chunk in source.api.get_image(name):
                whole.write(chunk)
            _without_layers(whole, reduced, there)
            _load(target, reduced, name, on_event)
    return True


def _layers_there(target: docker.DockerClient, layers: Sequence[str]) -> int:
    """Return how many of an image's first layers the engine has. A layer counts only with all those below it."""
    found = [image.attrs["RootFS"].get("Layers") or [] for image in target.images.list()]
    return max((_common(layers, each) for each in found), default=0)


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _without_layers(whole: IO[bytes], reduced: IO[bytes], count: int) -> None:
    """Write a saved image without its first `count` layers."""
    whole.seek(0)
    with tarfile.open(fileobj=whole) as archive, tarfile.open(fileobj=reduced, mode="w|") as kept:
        manifest = archive.extractfile(MANIFEST)
        assert manifest is not None, "each saved image has one"
        [image] = json.load(manifest)
        left_out = set(image["Layers"][:count])
        for member in archive:
            if member.name not in left_out:
                kept.addfile(member, archive.extractfile(member) if member.isfile() else None)


def _load(target: docker.DockerClient, archive: IO[bytes], name: str, on_event: Listener) -> None:
    total = archive.tell()
    archive.seek(0)
    try:
        chunks = _told(archive, name, total, on_event)
        for event in target.api.load_image(chunks):  # type: ignore[no-untyped-call]
            if "error" in event:
                raise ImageError(f"{name} cannot be sent: {event['error']}")
        target.images.get(name)
    except GONE as error:
        raise ImageError(f"{name} was not sent to the end") from error
    except UNREACHABLE as error:
        raise ImageError(f"{name} cannot be sent: {error}") from error


def _told(archive: IO[bytes], name: str, total: int, on_event: Listener) -> Iterator[bytes]:
    done = 0
    while chunk := archive.read(CHUNK):
        yield chunk
        done += len(chunk)
        on_event(Progress(f"Sending {name}", done, total, "bytes"))
