"""Three servers with Patroni and three etcds in containers on the network of one engine, and what can happen to them.

The containers are those of the specification. A node is its two containers: its loss is the end of both.
"""

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from typing import Any

import docker
import docker.errors
import psycopg

from fastzero_core import FastZero, load_settings
from fastzero_core.events import ignore
from fastzero_core.ha.cluster import PRIMARY, Cluster, Node, directly
from fastzero_core.ha.configuration import (
    API_PASSWORD,
    API_PORT,
    NODES,
    SERVER,
    STORE,
    names,
)
from fastzero_core.ha.passwords import set_first
from fastzero_core.polling import wait_until
from fastzero_core.postgres.roles import (
    OPTIONS,
    OWNER,
    REPLICATION,
    REPLICATION_PASSWORD,
    SUPERUSER,
    Open,
    set_password,
)
from fastzero_core.postgres.url import render
from fastzero_core.schema import migrate
from fastzero_core.stack.docker import containers, files, ha_image, images, networks
from fastzero_core.stack.ha import PROGRAMS, SECRETS, members, shared
from fastzero_core.stack.steps import container_name, network_name
from tests.faults.ledger import Ledger, Row
from tests.faults.writers import OWNER as USER
from tests.faults.writers import LibraryWriter, Load
from tests.ports import any_free_port

READY = 120  # seconds
HOST = "127.0.0.1"


class Writer(LibraryWriter):
    """A program that uses the library. An outage is over when one of these has written."""

    of_app = True


class World:
    """A database with standbys. `close` removes it."""

    def __init__(self, engine: docker.DockerClient) -> None:
        self.engine = engine
        self.name = f"ha-{secrets.token_hex(4)}"
        self.secrets = {name: secrets.token_urlsafe(16) for name in SECRETS}
        self.passwords = {SUPERUSER: "superuser's", OWNER: "owner's"}
        self.ports = {name: any_free_port() for name in names(SERVER)}
        self.api_ports = {name: any_free_port() for name in names(SERVER)}
        self.settings = load_settings(project=self.name)
        self.image = ha_image.image_name(self.settings.postgres_image)
        made = members(self.settings, self.image, self.ports, self.api_ports)
        self.members = {member.service.name: member for member in made}
        self.ledger = Ledger()

    def start(self) -> None:
        """Create everything, and wait until it is ready, migrated and has a user."""
        if not self.engine.images.list(name=self.image):
            images.build(self.engine, next(iter(self.members.values())).service, ignore)
        networks.create(self.engine.api, network_name(self.name), {"fastzero.test": self.name})
        for name in self.members:
            self.create(name)
        self.cluster.wait_until_whole(READY)
        set_first(self.sessions, self.passwords, self.secrets[API_PASSWORD])
        migrate.up(self.url)
        with FastZero(self.url) as fz:
            fz.users.add(USER, email="ana@example.com", password="correct horse")

    def create(self, name: str) -> None:
        """Create and start a member's container."""
        service = self.members[name].service
        document = {**containers.document(self.name, service), "Labels": {"fastzero.test": self.name}}
        api: Any = self.engine.api
        api.create_container_from_config(document, self.container_name(name))
        if service.secrets:
            files.fill(api, self.container_name(name), service, {each: self.secrets[each] for each in service.secrets})
        api.start(self.container_name(name))

    @contextmanager
    def double(self, name: str) -> Iterator[Any]:
        """A second container of a member for one block, with the same data."""
        service = replace(self.members[name].service, port=0, more_ports={})
        made = self.engine.api.create_container_from_config(containers.document(self.name, service))  # type: ignore[no-untyped-call]
        container = self.engine.containers.get(made["Id"])
        try:
            container.start()
            yield container
        finally:
            container.remove(force=True, v=True)

    def container_name(self, name: str) -> str:
        return container_name(self.name, name)

    def container(self, name: str) -> Any:
        return self.engine.containers.get(self.container_name(name))

    @cached_property
    def cluster(self) -> Cluster:
        return self.cluster_of(self.secrets[API_PASSWORD])

    def cluster_of(self, password: str) -> Cluster:
        return Cluster({name: f"{HOST}:{port}" for name, port in self.api_ports.items()}, directly(password))

    def cluster_inside(self, name: str) -> Cluster:
        """The same, asked through the container of a member."""

        def ask(timeout: float, *request: str | None) -> tuple[int, str]:
            words = [str(timeout), *(word for word in request if word is not None)]
            code, output = self.container(name).exec_run(["python3", f"{PROGRAMS}/ask.py", *words])
            if code:
                raise ConnectionError(output.decode())
            status, text = json.loads(output)
            return status, text

        return Cluster({each: f"{each}:{API_PORT}" for each in self.ports}, ask)

    # -- sessions ----------------------------------------------------------------------------------------------

    def url_of(self, role: str, password: str, database: str = "fastzero") -> str:
        """The URL of all three servers, for the one that accepts writes."""
        return render(
            {
                "user": role,
                "password": password,
                "dbname": database,
                "host": ",".join([HOST] * NODES),
                "port": ",".join(str(port) for port in self.ports.values()),
                "target_session_attrs": "read-write",
            }
        )

    @property
    def url(self) -> str:
        return self.url_of(OWNER, self.passwords[OWNER])

    def sessions(self, password: str) -> Open:
        """What opens sessions of the superuser with a password."""

        def open_session(role: str, database: str) -> "psycopg.Connection[Any]":
            return psycopg.connect(self.url_of(role, password, database), options=OPTIONS, autocommit=True)

        return open_session

    def query(self, name: str, statement: str) -> Any:
        """Return the first row of a query on one server, whatever its role."""
        options = {"host": HOST, "port": str(self.ports[name]), "user": OWNER, "dbname": "fastzero"}
        with psycopg.connect(render({**options, "password": self.passwords[OWNER]}), connect_timeout=5) as session:
            return session.execute(statement.encode()).fetchone()

    # -- load --------------------------------------------------------------------------------------------------

    @contextmanager
    def load(self, writers: int = 2) -> Iterator[Load]:
        """Write with the library for one block, each row in a session of its own."""
        load = Load(self.ledger, [Writer(lambda: self.url) for _ in range(writers)])
        try:
            assert load.wait_for_writes(10, READY)
            yield load
        finally:
            load.stop()

    def rows(self) -> list[Row]:
        """Every row that the primary has."""
        with psycopg.connect(self.url) as session:
            found = session.execute("SELECT title, description FROM todos").fetchall()
        return [Row(title, content) for title, content in found]

    # -- faults ------------------------------------------------------------------------------------------------

    def primary(self) -> str:
        state = self.cluster.wait_for_primary(READY)
        assert state.primary
        return state.primary.name

    def standbys(self) -> list[str]:
        return [name for name in names(SERVER) if name != self.primary()]

    def node_of(self, name: str) -> tuple[str, str]:
        """The server and the etcd on the same node."""
        number = self.members[name].node
        return names(SERVER)[number - 1], names(STORE)[number - 1]

    def power_off(self, name: str) -> None:
        for each in self.node_of(name):
            self.container(each).kill()

    def power_on(self, name: str) -> None:
        for each in self.node_of(name):
            self.container(each).start()

    def cut(self, name: str) -> None:
        for each in self.node_of(name):
            self._network.disconnect(self.container_name(each), force=True)

    def heal(self, name: str) -> None:
        for each in self.node_of(name):
            self._network.connect(self.container_name(each), aliases=[each])

    def pause(self, name: str) -> None:
        for each in self.node_of(name):
            self.container(each).pause()

    def resume(self, name: str) -> None:
        for each in self.node_of(name):
            self.container(each).unpause()

    def end(self, name: str) -> None:
        """Kill a container, which its engine starts again."""
        self.container(name).restart(timeout=0)

    def wait_for_another_primary(self, name: str) -> bool:
        """Wait until a server other than this one accepts writes."""
        return wait_until(lambda: any(each.name != name for each in self._primaries()), READY, every=0.3)

    def _primaries(self) -> list[Node]:
        return [node for node in self.cluster.state().nodes if node.role == PRIMARY and node.is_running]

    def wait_until_left_out(self, name: str) -> bool:
        """Wait until commits do not wait for a standby that is lost."""
        names = "SHOW synchronous_standby_names"
        return wait_until(lambda: name not in str(self.query(self.primary(), names)), READY, every=0.3)

    def is_live(self, name: str) -> bool:
        """Whether the engine would leave a container alone."""
        check = self.members[name].service.health_command
        code, _ = self.container(name).exec_run(list(check))
        return bool(code == 0)

    @property
    def _network(self) -> Any:
        return self.engine.networks.get(network_name(self.name))

    def kill_inside(self, name: str, what: str) -> None:
        """Kill a process in a container, which a shell expression names by its pid."""
        code, output = self.container(name).exec_run(["bash", "-c", f"kill -9 {what}"])
        assert code == 0, output

    def kill_postmaster(self, name: str) -> None:
        self.kill_inside(name, "$(head -1 /var/lib/postgresql/cluster/postmaster.pid)")

    def kill_patroni(self, name: str) -> None:
        self.kill_inside(name, """$(python3 -c 'import json; print(json.load(open("/tmp/supervisor.json"))["pid"])')""")

    def replace(self, name: str) -> None:
        """Put an empty node in the place of one."""
        for each in self.node_of(name):
            self.container(each).remove(force=True, v=True)
            self.engine.volumes.get(self.members[each].service.volume).remove(force=True)
            self.create(each)

    # -- changes -----------------------------------------------------------------------------------------------

    def configure(self, parameters: Mapping[str, str]) -> None:
        """Give all servers these settings."""
        self.cluster.configure(shared(load_settings(project=self.name, postgres_settings=parameters)))

    def rotate_roles(self) -> None:
        """Change the passwords of the superuser and the owner: no container knows them."""
        for role in (OWNER, SUPERUSER):
            new = secrets.token_urlsafe(16)
            set_password(self.sessions(self.passwords[SUPERUSER]), SUPERUSER, role, new)
            self.passwords[role] = new

    def rotate_secrets(self) -> None:
        """Change the secrets of the servers. The primary obeys the password that it still has."""
        cluster = self.cluster
        self.secrets = {name: secrets.token_urlsafe(16) for name in SECRETS}
        new = self.secrets[REPLICATION_PASSWORD]
        set_password(self.sessions(self.passwords[SUPERUSER]), SUPERUSER, REPLICATION, new)
        cluster.roll(self.recreate, READY)
        del self.cluster

    def recreate(self, name: str) -> None:
        """Replace a container by a new one with the same data and the current secrets, as an update does."""
        container = self.container(name)
        container.stop(timeout=60)
        container.remove(force=True, v=True)
        self.create(name)

    def copies(self, name: str) -> int:
        """How often the data of a server was copied from another since its container was created."""
        return int(self.container(name).logs().count(b"replica has been created using basebackup"))

    def logs(self) -> str:
        return "\n".join(f"== {name}\n{self.container(name).logs(tail=40).decode()}" for name in self.members)

    def close(self) -> None:
        for name, member in self.members.items():
            with suppress(docker.errors.NotFound):
                self.container(name).remove(force=True, v=True)
            with suppress(docker.errors.NotFound):
                self.engine.volumes.get(member.service.volume).remove(force=True)
        with suppress(docker.errors.NotFound):
            self._network.remove()
