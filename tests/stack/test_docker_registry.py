"""Images that are pulled, from a registry of this machine: Debian's docker-registry."""

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from fastzero_core.errors import ImageError
from fastzero_core.events import Event
from fastzero_core.polling import wait_until
from fastzero_core.stack.actions import Action, Kind, Verb
from fastzero_core.stack.docker.runtime import DockerRuntime
from fastzero_core.stack.spec import stack_spec

from .conftest import SOON, Contained, any_free_port, texts

PROGRAM = shutil.which("docker-registry")
pytestmark = [pytest.mark.docker, pytest.mark.skipif(not PROGRAM, reason="docker-registry is not installed")]


@dataclass(frozen=True)
class Registry:
    """A registry with one image, which the engine does not have."""

    folder: Path
    image: str
    process: subprocess.Popen[bytes]

    def lose_layers(self) -> None:
        """From now on it has the manifests alone, and dies on whoever asks for more."""
        for blob in (self.folder / "docker" / "registry" / "v2" / "blobs").rglob("data"):
            if blob.stat().st_size > 100_000:
                blob.unlink()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@pytest.fixture
def registry(folder: Path, engine: Any) -> Iterator[Registry]:
    port = any_free_port()
    (folder / "config.yml").write_text(
        "version: 0.1\nlog: {level: error}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder}}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n"
    )
    assert PROGRAM
    process = subprocess.Popen(
        [PROGRAM, "serve", str(folder / "config.yml")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    name = f"127.0.0.1:{port}/postgres:18"
    try:
        assert wait_until(lambda: answers(port), SOON)
        engine.api.import_image_from_data(layer(), repository=name.rpartition(":")[0], tag="18")
        for event in engine.api.push(name, stream=True, decode=True):
            assert "error" not in event, event
        engine.images.remove(name)
        yield Registry(folder, name, process)
    finally:
        process.kill()
        process.wait()
        if engine.images.list(name=name):
            engine.images.remove(name, force=True)


def layer() -> bytes:
    """A file system with one large file that no other image has."""
    content = os.urandom(4 * 2**20)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo("large")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return archive.getvalue()


def pull(contained: Contained, image: str) -> list[str]:
    """Pull as `up` does; what it said of its progress."""
    stack = contained.stack(postgres_image=image)
    said: list[Event] = []
    spec = stack_spec(stack.settings, {"database": 1}, app_image="none")
    action = Action(Verb.PULL, Kind.IMAGE, image, "", subject=spec.database)
    DockerRuntime(stack.project).perform(action, timeout=60, on_event=said.append)
    return texts(said)


def test_a_missing_image_is_pulled_before_anything_else(contained: Contained, registry: Registry) -> None:
    plan = contained.stack(postgres_image=registry.image).plan()

    assert (plan[0].verb, plan[0].cause) == (Verb.PULL, f"image {registry.image} is not here yet")


def test_an_image_is_pulled_with_progress(contained: Contained, registry: Registry, engine: Any) -> None:
    said = pull(contained, registry.image)

    assert engine.images.get(registry.image)
    assert any("Pull complete" in text for text in said)
    assert any("Downloaded newer image" in text for text in said)


def test_an_image_that_is_here_is_pulled_only_when_asked_for(contained: Contained, registry: Registry) -> None:
    pull(contained, registry.image)
    stack = contained.stack(postgres_image=registry.image)

    assert not [action for action in stack.plan() if action.kind is Kind.IMAGE]
    assert [action.verb for action in stack.plan(pull=True) if action.kind is Kind.IMAGE] == ["pull"]


def test_a_tag_that_the_registry_does_not_have_is_named(contained: Contained, registry: Registry) -> None:
    missing = registry.image.replace(":18", ":17")

    with pytest.raises(ImageError, match=r"postgres:17 cannot be pulled: .*(not found|unknown)"):
        contained.stack(postgres_image=missing).up()

    assert (contained.services(), contained.has_volume(), contained.has_network()) == (set(), False, False)


def test_a_registry_that_dies_half_way_is_named(contained: Contained, registry: Registry, engine: Any) -> None:
    registry.lose_layers()

    with pytest.raises(ImageError, match="cannot be pulled"):
        pull(contained, registry.image)

    assert engine.images.list(name=registry.image) == []


def test_without_its_registry_the_image_that_is_here_is_used_with_a_note(
    contained: Contained, registry: Registry
) -> None:
    pull(contained, registry.image)
    registry.end()

    [note] = pull(contained, registry.image)

    assert registry.image in note
    assert "the one that is here is used" in note
