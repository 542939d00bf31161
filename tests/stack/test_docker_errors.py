"""Without an engine, without permission, with one that goes away, with ports and images that are not there."""

import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastzero_core import Stack, load_settings
from fastzero_core.errors import (
    DockerNotInstalledError,
    DockerPermissionError,
    DockerUnavailableError,
    FastZeroError,
    ImageError,
    PortTakenError,
)
from fastzero_core.events import ActionStarted, Event
from fastzero_core.polling import wait_until
from fastzero_core.project import Project, ProjectRecord
from fastzero_core.stack import ports
from fastzero_core.stack.docker import engine as docker
from fastzero_core.stack.docker import image
from fastzero_core.stack.listing import list_projects
from fastzero_core.stack.observed import ServiceState
from fastzero_core.stack.spec import DEFAULT_PORTS
from tests.ports import any_free_port

from .conftest import Contained, Proxy, RunPython, add_user, users_of

AS_ANOTHER = """
import os, sys
from fastzero_core.stack.docker import engine as docker
from fastzero_core.stack.docker import image
docker.answers()  # loads what the other user may not read
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(int(sys.argv[1]))
    os.setuid(int(sys.argv[2]))
docker.connect()
"""

pytestmark = pytest.mark.usefixtures("unclosed_sockets")

Named = Callable[[str], None]


@pytest.fixture
def docker_host(monkeypatch: pytest.MonkeyPatch) -> Named:
    return lambda name: monkeypatch.setenv("DOCKER_HOST", name)


# -- no engine -------------------------------------------------------------------------------------------------


def test_a_port_where_nobody_listens_means_that_no_engine_answers(docker_host: Named, free_port: int) -> None:
    docker_host(f"tcp://127.0.0.1:{free_port}")

    with pytest.raises(DockerUnavailableError, match="no Docker Engine answers"):
        docker.connect()


def test_an_engine_that_is_away_hides_no_other_project(docker_host: Named, home: Path, free_port: int) -> None:
    Project("contained", home).save(ProjectRecord("docker", {"database": free_port}))
    Project("local", home).save(ProjectRecord("embedded", {"database": free_port + 1}))
    docker_host(f"tcp://127.0.0.1:{free_port}")

    states = {summary.project: summary.state for summary in list_projects(load_settings())}

    assert states == {"contained": ServiceState.UNKNOWN, "local": ServiceState.ABSENT}


def test_an_engine_that_is_away_keeps_no_other_project_running(
    docker_host: Named, running: Stack, free_port: int
) -> None:
    Project("a-contained", running.project.home).save(ProjectRecord("docker", {"database": free_port}))
    docker_host(f"tcp://127.0.0.1:{any_free_port()}")

    done = subprocess.run(
        [sys.executable, "-m", "fastzero_cli", "down", "--all"], capture_output=True, text=True, timeout=60
    )

    assert done.returncode == DockerUnavailableError.exit_code
    assert "a-contained could not be stopped: no Docker Engine answers" in done.stderr
    assert running.status()[0].state is ServiceState.STOPPED


def test_a_dead_socket_means_that_no_engine_answers(docker_host: Named, folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(folder / "docker.sock"))
    docker_host(f"unix://{folder / 'docker.sock'}")

    with pytest.raises(DockerUnavailableError, match=r"no Docker Engine answers: .*refused") as refused:
        docker.connect()

    assert refused.value.exit_code == 6
    assert "systemctl start docker" in refused.value.hint


def test_neither_socket_nor_program_means_that_docker_is_not_installed(
    docker_host: Named, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker_host(f"unix://{folder / 'nothing.sock'}")
    monkeypatch.setenv("PATH", str(folder))

    with pytest.raises(DockerNotInstalledError) as refused:
        docker.connect()

    assert refused.value.exit_code == 6
    assert "https://docs.docker.com/engine/install" in refused.value.hint


def test_a_program_without_a_socket_means_that_the_engine_is_not_started(
    docker_host: Named, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker_host(f"unix://{folder / 'nothing.sock'}")
    (folder / "podman").touch(0o755)
    monkeypatch.setenv("PATH", str(folder))

    with pytest.raises(DockerUnavailableError):
        docker.connect()


def test_a_socket_that_may_not_be_opened_means_no_permission(
    folder: Path, run_python: RunPython, postgres_user: dict[str, Any]
) -> None:
    path = folder / "docker.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    path.chmod(0)
    user = [str(postgres_user.get(name, os.getuid())) for name in ("group", "user")]
    said, _ = run_python(AS_ANOTHER, *user, env={**os.environ, "DOCKER_HOST": f"unix://{path}"}).communicate()

    assert "DockerPermissionError: no permission on the Docker Engine's socket" in said
    assert "usermod -aG docker" in DockerPermissionError("").hint


def test_an_engine_that_is_not_there_does_not_answer(docker_host: Named, folder: Path) -> None:
    docker_host(f"unix://{folder / 'nothing.sock'}")

    assert not docker.answers()


@pytest.mark.docker
def test_the_current_context_names_the_engine(proxy: Proxy, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    host = os.environ["DOCKER_HOST"]
    monkeypatch.delenv("DOCKER_HOST")
    settings = Path(os.environ["HOME"]) / ".docker"
    meta = settings / "contexts" / "meta" / hashlib.sha256(b"elsewhere").hexdigest()
    meta.mkdir(parents=True)
    (settings / "config.json").write_text(json.dumps({"currentContext": "elsewhere"}))
    endpoint = {"Host": host, "SkipTLSVerify": False}
    (meta / "meta.json").write_text(
        json.dumps({"Name": "elsewhere", "Metadata": {}, "Endpoints": {"docker": endpoint}})
    )
    monkeypatch.setenv("DOCKER_CONFIG", str(settings))

    client = docker.connect()

    assert client.api.base_url.startswith("http+docker")
    assert proxy.connections > 0
    client.close()


# -- an engine that goes away ----------------------------------------------------------------------------------


@pytest.mark.docker
@pytest.mark.parametrize("verb", ["create", "start"])
def test_an_engine_that_goes_away_during_up_is_named(verb: str, contained: Contained, proxy: Proxy) -> None:
    def cut(event: Event) -> None:
        if isinstance(event, ActionStarted) and event.action.verb == verb:
            proxy.cut()

    with pytest.raises(FastZeroError) as failed:
        contained.stack(on_event=cut).up()

    assert isinstance(failed.value, DockerUnavailableError)
    assert failed.value.exit_code == 6


@pytest.mark.docker
def test_what_an_engine_that_went_away_left_is_finished_by_the_next_up(
    contained: Contained, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(event: Event) -> None:
        if isinstance(event, ActionStarted) and event.action.verb == "start":
            proxy.cut()

    with pytest.raises(DockerUnavailableError):
        contained.stack(on_event=cut).up()
    monkeypatch.delenv("DOCKER_HOST")

    assert users_of(contained.stack().up()) == []
    assert contained.services() == {"database"}


@pytest.mark.docker
def test_an_engine_that_goes_away_ends_a_log_that_is_followed(served: Contained, proxy: Proxy) -> None:
    lines = served.stack().logs("database", follow=True)
    next(lines)
    proxy.cut()

    with pytest.raises(DockerUnavailableError):
        list(lines)


# -- ports -----------------------------------------------------------------------------------------------------


@pytest.fixture
def missed(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A port counts as free once, although somebody has it: it was taken right after the check."""

    def miss(port: int) -> None:
        original, seen = ports.is_free, set[int]()

        def is_free(host: str, asked: int) -> bool:
            if asked == port and asked not in seen:
                seen.add(asked)
                return True
            return original(host, asked)

        monkeypatch.setattr(ports, "is_free", is_free)

    return miss


@pytest.mark.docker
@pytest.mark.parametrize("service", ["database", "app"])
def test_a_port_that_is_taken_between_check_and_start_gives_way_to_the_next(
    service: str, contained: Contained, missed: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = any_free_port()
    monkeypatch.setitem(DEFAULT_PORTS, service, port)
    with socket.create_server(("127.0.0.1", port)):
        missed(port)
        without_port: dict[str, Any] = {f"{service}_port": None}
        stack = contained.stack(app=service == "app", **without_port).up()

    record = stack.project.record
    assert record is not None
    assert port < record.ports[service] < port + 100


@pytest.mark.docker
def test_a_port_that_was_asked_for_and_is_taken_names_its_owner(contained: Contained) -> None:
    port = contained.ports["database_port"]
    with socket.create_server(("127.0.0.1", port)), pytest.raises(PortTakenError) as taken:
        contained.stack().up()

    assert str(os.getpid()) in taken.value.message
    assert f"--database-port {port + 1}" in taken.value.hint
    assert (contained.services(), contained.has_volume()) == (set(), False)


@pytest.mark.docker
def test_a_kept_port_that_another_container_took_is_not_exchanged(contained: Contained, engine: Any) -> None:
    add_user(contained.stack().up())
    contained.stack().down()
    port = contained.ports["database_port"]
    other = engine.containers.run(
        "postgres:18", ["infinity"], entrypoint="sleep", detach=True, ports={"5432/tcp": ("127.0.0.1", port)}
    )
    try:
        with pytest.raises(PortTakenError, match=f"port {port} on 127.0.0.1 is taken by"):
            contained.stack().up()
    finally:
        other.remove(force=True, v=True)

    assert users_of(contained.stack().up()) == ["ana"]


# -- images ----------------------------------------------------------------------------------------------------


@pytest.mark.docker
def test_an_image_that_is_nowhere_is_named_and_nothing_is_made(contained: Contained, free_port: int) -> None:
    name = f"127.0.0.1:{free_port}/postgres:18"

    with pytest.raises(ImageError, match=f"{name} cannot be pulled: .*refused") as missing:
        contained.stack(postgres_image=name).up()

    assert missing.value.exit_code == 6
    assert (contained.services(), contained.has_volume(), contained.has_network()) == (set(), False, False)


@pytest.mark.docker
def test_a_dependency_that_is_not_what_was_locked_stops_the_build(
    contained: Contained, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = f"mdurl==0.1.2 --hash=sha256:{'0' * 64}\n"
    files = {**image.context_files(), "requirements.txt": locked.encode()}
    monkeypatch.setattr(image, "context_files", lambda: files)
    monkeypatch.setattr(image, "remembered_name", image.image_name)

    with pytest.raises(ImageError) as stopped:
        contained.stack(app=True).up()

    assert "DO NOT MATCH THE HASHES" in (stopped.value.evidence or "")


@pytest.mark.docker
def test_an_image_that_vanished_keeps_the_old_container(contained: Contained, engine: Any) -> None:
    add_user(contained.stack().up())
    name = f"{contained.project}:18"

    with pytest.raises(ImageError):
        contained.stack(postgres_image=name).up()

    assert wait_until(lambda: contained.container("database").status == "running", 5)
    assert users_of(contained.stack().up()) == ["ana"]
