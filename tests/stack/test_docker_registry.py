"""Images that are pulled, from a registry of this machine: Debian's docker-registry."""

import io
import os
import secrets
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
from fastzero_core.events import Event, Progress, ignore
from fastzero_core.polling import wait_until
from fastzero_core.stack.actions import Action, Kind, Verb
from fastzero_core.stack.built_in import stack_spec
from fastzero_core.stack.docker import image
from fastzero_core.stack.docker.runtime import DockerRuntime
from tests.ports import any_free_port

from .conftest import SOON, Contained, texts

PROGRAM = shutil.which("docker-registry")
pytestmark = [pytest.mark.docker, pytest.mark.skipif(not PROGRAM, reason="docker-registry is not installed")]


@dataclass(frozen=True)
class Registry:
    """A registry with one image, which the engine does not have."""

    folder: Path
    image: str
    process: subprocess.Popen[bytes]

    def pinned(self, engine: Any) -> str:
        """The image by tag and digest, as the registry has it now."""
        return f"{self.image}@{engine.images.get_registry_data(self.image).id}"

    def renew(self, engine: Any) -> None:
        """Have another image under the same name, which the engine does not have."""
        repository, _, tag = self.image.rpartition(":")
        engine.api.import_image_from_data(layer(), repository=repository, tag=tag)
        for event in engine.api.push(self.image, stream=True, decode=True):
            assert "error" not in event, event
        engine.images.remove(self.image)

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
        found = Registry(folder, name, process)
        found.renew(engine)
        yield found
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


def pull(contained: Contained, name: str) -> list[str]:
    """Pull as `up` does; what it said to the person."""
    return texts(events_of_pull(contained, name))


def events_of_pull(contained: Contained, name: str) -> list[Event]:
    """Pull as `up` does; all that it told."""
    stack = contained.stack(postgres_image=name)
    said: list[Event] = []
    spec = stack_spec(stack.settings, {"database": 1}, app_image="none")
    action = Action(Verb.PULL, Kind.IMAGE, name, "", subject=spec.database)
    DockerRuntime(stack.project).perform(action, timeout=60, on_event=said.append)
    return said


@pytest.fixture
def small_app(engine: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An app's image that is its base and one file, so that its builds take no time."""
    dockerfile = b"ARG PYTHON_IMAGE\nFROM ${PYTHON_IMAGE}\nCOPY app /app\n"
    monkeypatch.setattr(image, "context_files", lambda: {"Dockerfile": dockerfile, "app": b"the same"})
    name = f"{image.NAME}:test-{secrets.token_hex(6)}"
    monkeypatch.setattr(image, "remembered_name", lambda base: name)
    yield
    if engine.images.list(name=name):
        engine.images.remove(name, force=True)


def layers_of_app(
    contained: Contained, base: str, engine: Any, *, build: bool = False, pull: bool = False
) -> list[str]:
    """The layers of an app's image, once what `up` says of images is done."""
    stack = contained.stack(app=True, postgres_image=base, python_image=base)
    for action in stack.plan(build=build, pull=pull):
        if action.kind is Kind.IMAGE:
            DockerRuntime(stack.project).perform(action, timeout=60, on_event=ignore)
    return list(engine.images.get(image.remembered_name(base)).attrs["RootFS"]["Layers"])


def test_a_missing_image_is_pulled_before_anything_else(contained: Contained, registry: Registry) -> None:
    plan = contained.stack(postgres_image=registry.image).plan()

    assert (plan[0].verb, plan[0].cause) == (Verb.PULL, f"image {registry.image} is not here yet")


def test_an_image_is_pulled_with_progress(contained: Contained, registry: Registry, engine: Any) -> None:
    told = events_of_pull(contained, registry.image)

    assert engine.images.get(registry.image)
    progress = [event for event in told if isinstance(event, Progress)]
    assert {event.step for event in progress} == {f"Pulling {registry.image}"}
    assert all(event.done <= (event.total or 0) for event in progress)


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


# -- by digest, and renewed ------------------------------------------------------------------------------------


def test_an_image_is_pulled_by_its_digest(contained: Contained, registry: Registry, engine: Any) -> None:
    pinned = registry.pinned(engine)

    pull(contained, pinned)

    assert engine.images.get(pinned)
    assert not [each for each in contained.stack(postgres_image=pinned).plan() if each.kind is Kind.IMAGE]


def test_another_image_under_the_same_tag_does_not_come_in_place_of_a_digest(
    contained: Contained, registry: Registry, engine: Any
) -> None:
    pull(contained, pinned := registry.pinned(engine))
    before = engine.images.get(pinned).id
    registry.renew(engine)

    pull(contained, pinned)

    assert engine.images.get(pinned).id == before


def test_a_digest_that_the_registry_does_not_have_is_named(contained: Contained, registry: Registry) -> None:
    unknown = f"{registry.image}@sha256:{'0' * 64}"

    with pytest.raises(ImageError, match=f"{unknown} cannot be pulled"):
        pull(contained, unknown)


@pytest.mark.usefixtures("small_app")
def test_the_app_is_built_from_an_image_by_its_digest(contained: Contained, registry: Registry, engine: Any) -> None:
    pinned = registry.pinned(engine)

    layers = layers_of_app(contained, pinned, engine)

    assert layers[0] == engine.images.get(pinned).attrs["RootFS"]["Layers"][0]


@pytest.mark.usefixtures("small_app")
def test_pull_renews_what_the_app_is_built_from_and_builds_it_again(
    contained: Contained, registry: Registry, engine: Any
) -> None:
    before = layers_of_app(contained, registry.image, engine)
    registry.renew(engine)

    after = layers_of_app(contained, registry.image, engine, pull=True)

    assert after[0] == engine.images.get(registry.image).attrs["RootFS"]["Layers"][0] != before[0]


@pytest.mark.usefixtures("small_app")
def test_build_takes_no_layer_of_a_base_that_was_pulled_again(
    contained: Contained, registry: Registry, engine: Any
) -> None:
    before = layers_of_app(contained, registry.image, engine)
    registry.renew(engine)
    pull(contained, registry.image)

    after = layers_of_app(contained, registry.image, engine, build=True)

    assert after[0] == engine.images.get(registry.image).attrs["RootFS"]["Layers"][0] != before[0]
