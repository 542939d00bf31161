"""A project on the engine of another machine, reached through a real ssh server of this one."""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import docker
import psutil
import pytest

from fastzero_core import Stack, load_settings, tunnel
from fastzero_core.errors import (
    DockerUnavailableError,
    FastZeroError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)
from fastzero_core.events import ActionStarted, Event, Progress
from fastzero_core.project import Project, ProjectRecord
from fastzero_core.stack import names, ports
from fastzero_core.stack.docker import sending
from fastzero_core.stack.listing import list_projects
from fastzero_core.testing import session_folder
from tests.ports import any_free_port

from .archived import archived, content, fill, now, run
from .conftest import SOON, Contained, add_user, users_of
from .ssh import SSHD, Server, make_keys, path_with_ssh

needs_sshd = pytest.mark.skipif(SSHD is None, reason="sshd is not installed")
pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("unclosed_sockets")]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(dir=session_folder()))
    make_keys(folder)
    monkeypatch.setenv("PATH", path_with_ssh(folder))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    made = Server(folder, any_free_port())
    made.start()
    yield made
    tunnel._ssh(made.host, "-O", "exit")
    made.cut()
    shutil.rmtree(folder)


@needs_sshd
def test_a_project_runs_on_the_other_engine_and_remembers_it(contained: Contained, server: Server) -> None:
    stack = contained.stack(app=True).up(host=server.host)
    add_user(stack, "ana")
    record = stack.project.record
    assert record is not None
    assert record.host == server.host

    later = contained.stack(app=True)
    assert users_of(later) == ["ana"]
    assert [service.state.value for service in later.status()] == ["running", "running"]
    assert later.plan() == []
    [engine] = [found for found in later.examine() if found.code == "engine"]
    assert server.host in engine.found
    later.down(volumes=True)
    assert not contained.all_containers()


@needs_sshd
def test_a_project_keeps_its_machine(contained: Contained, server: Server) -> None:
    contained.stack().up(host=server.host)
    with pytest.raises(InvalidInputError, match=f"runs on {server.host}, not on ssh://example.com"):
        contained.stack().up(host="ssh://example.com")
    contained.stack().down(volumes=True)


@needs_sshd
def test_docker_host_names_the_machine_of_a_new_project(
    contained: Contained, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", server.host)
    stack = contained.stack().up()
    record = stack.project.record
    assert record is not None
    assert record.host == server.host
    stack.down(volumes=True)


def test_a_project_of_this_machine_is_not_looked_for_on_another(
    contained: Contained, monkeypatch: pytest.MonkeyPatch
) -> None:
    contained.stack().up()
    monkeypatch.setenv("DOCKER_HOST", "ssh://example.com")
    with pytest.raises(DockerUnavailableError, match="names another machine"):
        contained.stack().up()


@needs_sshd
@pytest.mark.slow
@pytest.mark.parametrize("moment", range(1, 11))
def test_a_line_that_breaks_leaves_what_the_next_up_understands(
    contained: Contained, server: Server, moment: int
) -> None:
    begun: list[str] = []

    def cut(event: Event) -> None:
        if isinstance(event, ActionStarted):
            begun.append(str(event.action))
            if len(begun) == moment:
                server.cut()

    with pytest.raises(FastZeroError) as caught:
        contained.stack(app=True, on_event=cut).up(host=server.host, timeout=SOON)
    assert caught.value.exit_code == UnavailableError.exit_code, caught.value
    server.start()
    stack = contained.stack(app=True).up(host=server.host)
    assert stack.plan() == []
    assert contained.services() == {"app", "database"}
    stack.down(volumes=True)


@needs_sshd
def test_a_server_that_is_away_is_named_with_the_next_step(contained: Contained, server: Server) -> None:
    server.cut()
    with pytest.raises(UnavailableError) as caught:
        contained.stack().up(host=server.host)
    assert "cannot be reached" in caught.value.message
    assert f"ssh -p {server.port} 127.0.0.1" in caught.value.hint


@needs_sshd
def test_only_the_layers_that_are_missing_are_sent(
    engine: Any, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = len(engine.images.get("python:3.13-slim").attrs["RootFS"]["Layers"])
    name = "fastzero-test-sent:1"
    context = server.folder / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM python:3.13-slim\nRUN echo sent > /sent\n")
    made, _ = engine.images.build(path=str(context), tag=name)
    sizes: list[int] = []

    def note(event: Event) -> None:
        if isinstance(event, Progress) and event.total:
            sizes.append(event.total)

    load = sending._load

    def load_elsewhere(*arguments: Any) -> None:
        """Load it into an engine that has the base image alone: the same one, once the image is removed."""
        engine.images.remove(name, force=True)
        load(*arguments)

    monkeypatch.setattr(sending, "_layers_there", lambda target, layers: base)
    monkeypatch.setattr(sending, "_load", load_elsewhere)
    target = docker.DockerClient(tunnel.engine_address(server.host))
    try:
        assert sending.send(target, name, note)
        assert engine.images.get(name).id == made.id
        assert max(sizes) < 1024 * 1024, "the layers of the base image are tens of megabytes"
    finally:
        target.close()
        engine.images.remove(name, force=True)


@pytest.mark.parametrize(
    "host",
    [
        "example.com",
        "ssh://-oProxyCommand=id",
        "ssh://a b",
        "ssh://",
        "tcp://a:1",
        "ssh://a:0",
        "ssh://a:65536",
        "ssh://a/run/a:b",
    ],
)
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(InvalidInputError, match="must be ssh"):
        tunnel.parse_host(host)


@pytest.mark.parametrize(
    ("host", "arguments"),
    [
        ("ssh://example.com", ["example.com"]),
        ("ssh://deploy@example.com:2222", ["-p", "2222", "deploy@example.com"]),
        ("ssh://deploy@[2001:db8::1]/run/docker.sock", ["deploy@[2001:db8::1]"]),
    ],
)
def test_a_host_becomes_arguments_of_ssh(host: str, arguments: list[str]) -> None:
    assert tunnel._destination(host) == arguments


def test_a_slash_at_the_end_names_no_socket() -> None:
    assert tunnel.engine_socket("ssh://example.com/") == tunnel.engine_socket("ssh://example.com")


def test_another_node_is_reached_as_the_first_one_is() -> None:
    assert tunnel.beside("ssh://example.com", "10.0.0.2") == "ssh://10.0.0.2"
    assert tunnel.beside("ssh://ana@example.com:2222/run/x.sock", "10.0.0.2") == "ssh://ana@10.0.0.2:2222/run/x.sock"
    assert tunnel.beside("ssh://ana@[fd00::1]", "fd00::2") == "ssh://ana@[fd00::2]"


@needs_sshd
def test_commands_that_connect_at_once_share_one_connection(server: Server) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(tunnel.engine_address, [server.host] * 4))
    ended = f"-p {server.port} 127.0.0.1"
    commands = [" ".join(each.info["cmdline"] or []) for each in psutil.process_iter(["cmdline"])]
    assert len([each for each in commands if each.endswith(ended) and " -N " in each]) == 1


@needs_sshd
def test_an_engine_that_does_not_answer_is_named_with_its_machine(contained: Contained, server: Server) -> None:
    host = f"{server.host}/nowhere.sock"
    with pytest.raises(DockerUnavailableError, match=f"answers on {host}") as caught:
        contained.stack().up(host=host)
    tunnel._ssh(host, "-O", "exit")
    assert "may use /nowhere.sock" in caught.value.hint


@needs_sshd
def test_a_key_that_is_refused_is_to_be_added_to_the_agent(server: Server) -> None:
    (server.folder / "key.pub").write_text("")
    with pytest.raises(UnavailableError, match="Permission denied") as caught:
        tunnel.engine_address(server.host)
    assert "ssh-add" in caught.value.hint


@needs_sshd
@pytest.mark.parametrize("unusable", ["missing", "x" * 90])
def test_sockets_go_elsewhere_if_the_folder_for_them_is_unusable(
    server: Server, monkeypatch: pytest.MonkeyPatch, folder: Path, unusable: str
) -> None:
    if unusable != "missing":
        (folder / unusable).mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder / unusable))
    address = tunnel.engine_address(server.host)
    assert Path(address.removeprefix("unix://")).is_socket()
    tunnel._ssh(server.host, "-O", "exit")


@needs_sshd
def test_a_port_that_the_other_machine_uses_is_passed_over(
    contained: Contained, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = any_free_port()
    # On one machine, only this makes a taken port look free here.
    monkeypatch.setattr(ports, "is_free", lambda host, port: True)
    monkeypatch.delitem(contained.ports, "database_port")
    monkeypatch.setattr(names, "default_ports", lambda application: {"database": taken})
    with socket.create_server(("127.0.0.1", taken)):
        stack = contained.stack().up(host=server.host)
    record = stack.project.record
    assert record is not None
    assert record.ports["database"] > taken
    stack.down(volumes=True)


def test_a_machine_that_is_away_is_asked_once_for_all_its_projects(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    calls = folder / "calls"
    program = folder / "ssh"
    program.write_text(f'#!/bin/sh\necho "$@" >> {calls}\nexit 255\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    for name in ("one", "two", "three"):
        other = Project(name, folder)
        other.save(ProjectRecord("docker", ports={"database": 5432}, host="ssh://example.com"))
    listed = list_projects(load_settings(home=folder))
    assert [each.state.value for each in listed] == ["unknown"] * 3
    assert calls.read_text().count("-f -N") == 1


def test_a_folder_that_another_user_could_enter_is_refused(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / "fastzero").mkdir(mode=0o755)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    with pytest.raises(FastZeroError, match="only you can enter"):
        tunnel.engine_address("ssh://example.com")


def test_the_setting_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTZERO_HOST", "example.com")
    with pytest.raises(InvalidInputError, match="must be ssh"):
        Stack("demo")


@needs_sshd
@pytest.mark.slow
def test_its_database_is_archived_on_that_machine(contained: Contained, server: Server, folder: Path) -> None:
    stack = contained.stack().up(host=server.host)
    with pytest.raises(NotFoundError, match=f"absent does not exist on {server.host}"):
        stack.enable_archive((folder / "absent").as_uri())
    stack.enable_archive(folder.as_uri())
    fill(stack, 10)
    moment = now(stack)
    run(stack, "DELETE FROM kept")
    stack.recover(stack.plan_recovery(moment))
    assert content(stack)[0] == 10
    assert archived(stack)
    shutil.rmtree(folder / contained.project)
