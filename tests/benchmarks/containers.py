"""The docker runtime beside Docker Compose on the exported file, and the app's image beside its base.

Needs a Docker Engine and Docker Compose v2. Everything made is removed in the end but the app's image, which is what
the next `up` of the same code takes.
"""

import io
import json
import os
import re
import secrets
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fastzero_core import load_settings
from fastzero_core.stack.docker import image

from .ground import Ground, free_port
from .measure import Comparison, Samples

HEALTH_INTERVAL = re.compile(r"interval: \S+")
BUILT_LAYER = re.compile(r"^ ---> ([0-9a-f]{12})$", re.MULTILINE)


def containers(ground: Ground, quick: bool) -> Iterator[Comparison]:
    name = f"bench-{secrets.token_hex(4)}"
    with _compose_file(ground, name) as file:
        yield from _commands(ground, f"{name}-own", file, runs=1 if quick else 5)
    base = load_settings().python_image
    yield _size(base)
    yield _rebuild(base, runs=1 if quick else 5)


def _commands(ground: Ground, project: str, file: Path, runs: int) -> Iterator[Comparison]:
    up = Comparison("first fastzero up, in containers", "docker compose up -d --wait", limit=0.6)
    again = Comparison("fastzero up, nothing to do", "docker compose up -d --wait", limit=0.5)
    down = Comparison("fastzero down, of containers", "docker compose down", limit=0.5)
    beyond = Comparison(
        "fastzero down, of containers", "docker stop of the database", allowance=2, measured=down.measured
    )
    samples = [up, again, down]
    for run in range(runs):
        turns: list[Callable[[], None]] = [
            lambda: _compose_round(file, [each.reference for each in samples]),
            lambda: _own_round(ground, project, [each.measured for each in samples], beyond.reference),
        ]
        for turn in turns if run % 2 else reversed(turns):
            turn()
    yield from (*samples, beyond)


def _compose_round(file: Path, samples: list[Samples]) -> None:
    commands = [("up", "-d", "--wait"), ("up", "-d", "--wait"), ("down",)]
    try:
        for command, each in zip(commands, samples, strict=True):
            with each.timed():
                _docker("compose", "-f", str(file), *command)
    finally:
        _docker("compose", "-f", str(file), "down", "--volumes")


def _own_round(ground: Ground, project: str, samples: list[Samples], stop: Samples) -> None:
    def fastzero(*command: str) -> None:
        ground.fastzero(*command, "-q", "-p", project, FASTZERO_APP="true", FASTZERO_RUNTIME="docker")

    ports = _ports()
    try:
        for command, each in zip([("up", *ports), ("up",), ("down",)], samples, strict=True):
            with each.timed():
                fastzero(*command)
        fastzero("up")
        with stop.timed():
            _docker("stop", "--time", "60", f"fastzero-{project}-database")
    finally:
        fastzero("down", "--volumes", "--yes")


def _ports() -> tuple[str, ...]:
    port = free_port()
    return ("--port", str(port), "--app-port", str(free_port(port)))


@contextmanager
def _compose_file(ground: Ground, project: str) -> Iterator[Path]:
    """What a project exports, its health checks as frequent as Compose needs to be at its fastest."""
    stack = {"FASTZERO_APP": "true", "FASTZERO_PROJECT": project}
    ports = _ports()
    try:
        ground.fastzero("up", "-q", "--runtime", "docker", *ports, **stack)
        exported = ground.fastzero("export", "compose", **stack)
        ground.fastzero("down", "-q", **stack)
        _docker("volume", "rm", f"fastzero-{project}-database")
        file = ground.folder / "compose.yaml"
        file.write_text(HEALTH_INTERVAL.sub("interval: 1s", exported))
        yield file
    finally:
        ground.fastzero("down", "-q", "--volumes", "--yes", **stack)


def _size(base: str) -> Comparison:
    sizes = Comparison("the app's image", base, allowance=100, reference=Samples("MB"), measured=Samples("MB"))
    for name, samples in ((base, sizes.reference), (image.image_name(base), sizes.measured)):
        (found,) = json.loads(_docker("image", "inspect", name))
        samples.values.append(found["Size"] / 1e6)
    return sizes


def _rebuild(base: str, runs: int) -> Comparison:
    result = Comparison("the image's build, code changed", "without cache", limit=0.25)
    for _ in range(runs):
        tags = [f"{image.NAME}:bench-{secrets.token_hex(4)}" for _ in range(2)]
        made: list[str] = []
        try:
            with result.reference.timed():
                said = _build(tags[0], base, "--no-cache")
            made = BUILT_LAYER.findall(said)
            with result.measured.timed():
                _build(tags[1], base)
        finally:
            # Of the stage that the result only copies from nothing else is left but its layers' identifiers.
            for name in (*tags, *reversed(made)):
                subprocess.run(["docker", "image", "rm", name], capture_output=True)
    return result


def _build(tag: str, base: str, *options: str) -> str:
    """Build the image of this code and one more module that no build before has seen. Returns what was said."""
    context = image.context_archive()
    change = tag.encode()
    with tarfile.open(fileobj=context, mode="a") as tar:
        entry = tarfile.TarInfo("app/fastzero_core/changed.py")
        entry.size = len(change) + 1
        tar.addfile(entry, io.BytesIO(b"#" + change))
    arguments = [f"--build-arg={name}={value}" for name, value in image.build_arguments(base).items()]
    return _docker("build", *options, *arguments, "--tag", tag, "-", stdin=context.getvalue())


def _docker(*command: str, stdin: bytes | None = None) -> str:
    # The SDK has the classic builder alone: that is what builds the image, and so what is measured.
    environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
    done = subprocess.run(["docker", *command], check=True, input=stdin, capture_output=True, env=environment)
    return done.stdout.decode()
