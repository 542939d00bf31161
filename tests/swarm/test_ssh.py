"""A swarm of other machines: a manager is reached over SSH, and so is a node that runs what is asked for."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack.ssh import SSHD, Server, make_keys, path_with_ssh

from .conftest import NODES, PROGRAM, Deployed, cluster_program, deployed

pytestmark = [
    pytest.mark.docker,
    pytest.mark.slow,
    pytest.mark.skipif(SSHD is None, reason="sshd is not installed"),
]

PORT = 2222
ENGINE = "/run/docker.sock"  # where ssh looks for the engine of a machine


class FromOutside(Deployed):
    """A project in the swarm, used from a machine outside it."""

    def namespace(self, node: int) -> str:
        return "lan"

    def environment(self, node: int = 1) -> dict[str, str]:
        return {**super().environment(node), "DOCKER_HOST": f"ssh://{NODES[node - 1]}:{PORT}"}


@pytest.fixture(scope="module")
def keys(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Each node has an ssh server, which sees its engine at the usual place; the folder with the keys."""
    folder = tmp_path_factory.mktemp("ssh")
    make_keys(folder)
    servers = []
    try:
        for number, address in enumerate(NODES, 1):
            engine = cluster_program("host", str(number)).removeprefix("unix://")
            with_engine = f'touch {ENGINE}; mount --bind {engine} {ENGINE}; exec "$@"'
            inside = (PROGRAM, "in", str(number), "unshare", "--mount", "sh", "-c", with_engine, "sh")
            servers.append(Server(folder, PORT, address, inside))
            servers[-1].start()
        yield folder
    finally:
        for server in servers:
            server.cut()


@pytest.fixture(scope="module")
def project(keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    folder = tmp_path_factory.mktemp("shop")
    for project in deployed("ssh", folder / "home", folder, FromOutside):
        project.variables = {"PATH": path_with_ssh(keys), "XDG_RUNTIME_DIR": str(keys)}
        project.up()
        app = f"fastzero-{project.name}-app"
        project.docker("service", "update", "-q", "--constraint-add", "node.hostname==node2", app)
        yield project


def test_a_swarm_is_used_from_a_machine_outside_it(project: Deployed) -> None:
    assert project.status()["app"]["nodes"] == "node2"
    project.fastzero("user", "add", "ana", "--email", "ana@example.com", "--password-stdin", text="correct horse")
    project.fastzero("todo", "add", "Write the report", "--user", "ana")
    assert "Write the report" in project.fastzero("todo", "list", "--user", "ana")
    assert "Serving on" in project.fastzero("logs", "app")


def test_a_command_runs_in_a_task_of_another_node(project: Deployed) -> None:
    tasks = project.docker("ps", "-q", "--filter", f"name=fastzero-{project.name}-app", node=2)
    assert project.fastzero("exec", "app", "cat", "/etc/hostname").strip() in tasks
