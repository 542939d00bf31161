"""What can happen to a project with a database of three servers in a swarm, while clients write through its proxies."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker

from fastzero_core.polling import poll, wait_until
from tests.faults.writers import ALWAYS_EXPECTED, OWNER, PASSWORD
from tests.ha.faults import HOST, IN_FLIGHT, PROCESS, SWITCHOVER

from .conftest import NODES, PROGRAM, Deployed, cluster_program

READY = 400  # seconds
UNAVAILABLE = 6  # the exit code
WRITERS = 10
POSTMASTER = "$(head -1 /var/lib/postgresql/cluster/postmaster.pid)"
PATRONI = """$(python3 -c 'import json; print(json.load(open("/tmp/supervisor.json"))["pid"])')"""


class World:
    """A project that is up, and its nodes, by number."""

    def __init__(self, project: Deployed) -> None:
        self.project = project
        self.off: set[int] = set()

    @property
    def manager(self) -> int:
        """A node whose engine can be used."""
        return next(number for number in range(1, len(NODES) + 1) if number not in self.off)

    def fastzero(self, *arguments: str) -> str:
        return self.project.fastzero(*arguments, node=self.manager)

    def add_user(self) -> None:
        """Create the owner of the rows."""
        self.project.fastzero("user", "add", OWNER, "--email", "ana@example.com", "--password-stdin", text=PASSWORD)

    # -- what is where -----------------------------------------------------------------------------------------

    def servers(self) -> dict[str, Any]:
        """What each server says, nothing while none answers."""
        command = [PROGRAM, "in", str(self.manager), sys.executable, "-m", "fastzero_cli", "db", "status", "-o", "json"]
        environment = self.project.environment(self.manager)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        return {each["name"]: each for each in json.loads(done.stdout)} if done.returncode == 0 else {}

    def primary(self) -> str:
        """The server that accepts writes, once there is one."""
        found = poll(lambda: next(iter(self._primaries()), None), READY, every=0.5)
        assert found, self.servers()
        return found

    def primary_and_node(self) -> tuple[str, int]:
        name = self.primary()
        return name, self.node_of(name)

    def _primaries(self) -> list[str]:
        writable = ("primary", "running")
        return [name for name, each in self.servers().items() if (each["role"], each["state"]) == writable]

    def wait_until_whole(self) -> None:
        """Wait until any node can be lost, and all tasks run."""

        def is_whole() -> bool:
            servers = self.servers().values()
            roles = sorted(each["role"] for each in servers)
            confirm = sum(each["is_synchronous"] for each in servers)
            return (roles, confirm) == (["primary", "standby", "standby"], 2) and self._all_run()

        assert wait_until(is_whole, READY, every=1), self.servers()

    def _all_run(self) -> bool:
        listed = self.project.docker("service", "ls", "--format", "{{.Replicas}}", node=self.manager)
        counts = [each.split()[0].split("/") for each in listed]
        return all(running == wanted for running, wanted in counts)

    def node_of(self, service: str) -> int:
        """The node that runs a service's only task."""
        name = f"fastzero-{self.project.name}-{service}"
        running = ("-f", "desired-state=running", "--format", "{{.Node}}")
        return int(self.project.docker("service", "ps", name, *running, node=self.manager)[0].removeprefix("node"))

    def leader(self) -> int:
        """The node that leads the swarm."""
        listed = self.project.docker("node", "ls", "--format", "{{.Hostname}} {{.ManagerStatus}}", node=self.manager)
        return next(int(each.split()[0].removeprefix("node")) for each in listed if each.endswith("Leader"))

    @contextmanager
    def container(self, service: str, node: int) -> Iterator[Any]:
        """The container of a service's task on a node."""
        engine = docker.DockerClient(base_url=cluster_program("host", str(node)))
        try:
            label = f"com.docker.swarm.service.name=fastzero-{self.project.name}-{service}"
            yield engine.containers.list(filters={"label": label})[0]
        finally:
            engine.close()

    def rows(self) -> list[str]:
        """The title of every row that the primary has."""
        name = self.primary()
        with self.container(name, self.node_of(name)) as container:
            code, output = container.exec_run(["psql", "-Atc", "SELECT title FROM todos"], demux=True)
        assert code == 0, output
        return str(output[0].decode()).split() if output[0] else []

    # -- faults ------------------------------------------------------------------------------------------------

    def power_off(self, node: int) -> None:
        self.off.add(node)
        cluster_program("off", str(node))

    def power_on(self, node: int) -> None:
        cluster_program("on", str(node))
        self.off.discard(node)

    def cut(self, node: int) -> None:
        self.off.add(node)
        cluster_program("cut", str(node))

    def heal(self, node: int) -> None:
        cluster_program("heal", str(node))
        self.off.discard(node)

    def kill_inside(self, service: str, what: str) -> None:
        """Kill a process of a service, which a shell expression names by its pid."""
        with self.container(service, self.node_of(service)) as container:
            code, output = container.exec_run(["bash", "-c", f"kill -9 {what}"])
        assert code == 0, output

    def kill(self, service: str, node: int) -> None:
        """Kill a container, whose task is then replaced."""
        with self.container(service, node) as container:
            container.kill()

    def wait_for_another_primary(self, name: str) -> None:
        assert wait_until(lambda: any(each != name for each in self._primaries()), READY, every=0.5), self.servers()


class Load:
    """Clients outside of the nodes that write all the time."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def ask(self, order: str) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{order}\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    @property
    def total(self) -> int:
        return int(self.ask("report")["total"])

    def wait_for_writes(self, number: int) -> bool:
        enough = self.total + number
        return wait_until(lambda: self.total >= enough, READY, every=0.5)

    def compare(self, titles: Callable[[], list[str]]) -> dict[str, Any]:
        """Compare the rows that are there, while nobody writes, with those that were acknowledged."""
        self.ask("pause")
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(titles(), file)
            file.flush()
            return self.ask(file.name)


@contextmanager
def load_on(world: World) -> Iterator[Load]:
    """Let ten clients write during one block, each asking another node after its own did not answer."""
    command = [PROGRAM, "in", "lan", sys.executable, "-m", "tests.swarm.writers"]
    arguments = [str(WRITERS), str(world.project.port), *NODES]
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [*command, *arguments], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            load = Load(process)
            assert load.wait_for_writes(20)
            yield load
        finally:
            assert process.stdin
            process.stdin.close()
            process.wait(60)


@dataclass(frozen=True)
class Fault:
    """Something that happens. `limit` are the promised seconds without a write; None if writes may wait for its end."""

    name: str
    limit: float | None
    inflict: Callable[[World, Load], object]
    refusals: frozenset[str] = ALWAYS_EXPECTED


@dataclass(frozen=True)
class Outcome:
    """What clients and the database said about a fault."""

    fault: Fault
    acknowledged: int
    longest_outage: float
    refusals: dict[str, int]
    verdict: dict[str, list[str]]

    @property
    def is_sound(self) -> bool:
        """Whether nothing is lost, and errors were such that the same write may succeed later."""
        return not any(self.verdict.values()) and self.refusals.keys() <= self.fault.refusals

    @property
    def is_in_time(self) -> bool:
        return self.fault.limit is None or self.longest_outage <= self.fault.limit


def run(world: World, load: Load, fault: Fault) -> Outcome:
    """Inflict a fault under load, wait until writes go on and every node is whole again, and read what is there."""
    before = load.ask("begin")["total"]
    fault.inflict(world, load)
    assert load.wait_for_writes(50), world.servers()
    world.wait_until_whole()
    assert load.wait_for_writes(20)
    told = load.ask("report")
    verdict = load.compare(world.rows)
    return Outcome(fault, told["total"] - before, told["outage"], told["refusals"], verdict)


def _lose(world: World, node: int) -> None:
    name, home = world.primary_and_node()
    world.power_off(node)
    if node == home:
        world.wait_for_another_primary(name)
    else:
        time.sleep(HOST)
    world.power_on(node)


def _lose_primary(world: World, _: Load) -> None:
    _lose(world, world.primary_and_node()[1])


def _lose_leader(world: World, _: Load) -> None:
    _lose(world, world.leader())


def _lose_both(world: World, _: Load) -> None:
    """Lose the node that has the primary and leads the swarm."""
    leader = world.leader()
    there = next(name for name in world.servers() if world.node_of(name) == leader)
    world.fastzero("db", "failover", "--to", there)
    world.wait_until_whole()
    _lose(world, leader)


def _cut(world: World, _: Load) -> None:
    name, node = world.primary_and_node()
    world.cut(node)
    world.wait_for_another_primary(name)
    world.heal(node)


def _two_lost(world: World, load: Load) -> None:
    """Power two nodes of three off: the last one acknowledges nothing, and says why."""
    left = world.primary_and_node()[1]
    lost = [node for node in range(1, len(NODES) + 1) if node != left]
    for node in lost:
        world.power_off(node)
    time.sleep(IN_FLIGHT)
    acknowledged = load.total
    time.sleep(HOST)
    assert load.total == acknowledged
    said = world.project.fastzero("db", "status", node=left, code=UNAVAILABLE)
    assert "acknowledges no write without two of its nodes" in said, said
    for node in lost:
        world.power_on(node)


def _settings(world: World, _: Load) -> None:
    world.project.variables["FASTZERO_POSTGRES_SETTINGS"] = json.dumps({"work_mem": "8MB", "max_connections": "120"})
    world.fastzero("up")


FAULTS = (
    Fault("switchover", SWITCHOVER, lambda world, _: world.fastzero("db", "failover")),
    Fault("PostgreSQL killed", PROCESS, lambda world, _: world.kill_inside(world.primary(), POSTMASTER)),
    Fault("Patroni killed", PROCESS, lambda world, _: world.kill_inside(world.primary(), PATRONI)),
    Fault(
        "primary's etcd killed",
        PROCESS,
        lambda world, _: world.kill(f"etcd-{world.primary()[-1]}", world.primary_and_node()[1]),
    ),
    Fault("primary's container killed", HOST, lambda world, _: world.kill(*world.primary_and_node())),
    Fault("a proxy killed", PROCESS, lambda world, _: world.kill("proxy", world.manager)),
    Fault("primary's node lost", HOST, _lose_primary),
    Fault("swarm leader's node lost", HOST, _lose_leader),
    Fault("node of primary and leader lost", HOST, _lose_both),
    Fault("primary's node cut", HOST, _cut),
    Fault("two nodes lost", None, _two_lost),
    Fault("servers restarted one by one", SWITCHOVER, lambda world, _: world.fastzero("restart")),
    Fault("settings changed", PROCESS, _settings),
    Fault("passwords rotated", SWITCHOVER, lambda world, _: world.fastzero("secret", "rotate", "--database")),
)


def fault(name: str) -> Fault:
    return next(each for each in FAULTS if each.name == name)
