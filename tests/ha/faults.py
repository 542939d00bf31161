"""What can happen to a database with standbys while clients write, and how long no write may be acknowledged."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from fastzero_core.ha.configuration import STORE, TIMES, names
from fastzero_core.polling import wait_until
from tests.faults.ledger import Verdict
from tests.faults.writers import ALWAYS_EXPECTED

from .world import READY, World

# What is promised, in seconds without an acknowledged write.
SWITCHOVER, PROCESS, HOST = 3, 5, 30

IN_FLIGHT = 1  # seconds in which an acknowledgment from before a fault arrives


@dataclass(frozen=True)
class Fault:
    """Something that happens. `limit` is None if writes may wait until it is over.

    `refusals` are errors of a write that may be tried again.
    """

    name: str
    limit: float | None
    inflict: Callable[[World], object]
    refusals: frozenset[str] = ALWAYS_EXPECTED


@dataclass(frozen=True)
class Outcome:
    """What clients and the database said about a fault."""

    fault: Fault
    acknowledged: int
    longest_outage: float
    refusals: dict[str, int]
    verdict: Verdict

    @property
    def is_sound(self) -> bool:
        """Whether nothing is lost, and errors were such that the same write may succeed later."""
        return self.verdict.is_sound and self.refusals.keys() <= self.fault.refusals

    @property
    def is_in_time(self) -> bool:
        return self.fault.limit is None or self.longest_outage <= self.fault.limit


def run(world: World, fault: Fault) -> Outcome:
    """Inflict a fault under load, wait until writes go on and every node is whole again, and read what is there."""
    with world.load() as load:
        before = world.ledger.total
        load.begin_round()
        fault.inflict(world)
        assert load.wait_for_writes(50, READY), world.cluster.state()
        world.cluster.wait_until_whole(READY)
        assert load.wait_for_writes(20, READY)
        longest, refusals = load.longest_outage, dict(load.refusals)
    return Outcome(fault, world.ledger.total - before, longest, refusals, world.ledger.check(world.rows()))


def _lose(world: World) -> None:
    node = world.primary()
    world.power_off(node)
    _wait_for_a_primary_besides(world, node)
    world.power_on(node)


def _lose_standby(world: World) -> None:
    node = world.standbys()[0]
    world.power_off(node)
    assert world.wait_until_left_out(node), world.cluster.state()
    world.power_on(node)


def _cut(world: World) -> None:
    node = world.primary()
    world.cut(node)
    _wait_for_a_primary_besides(world, node)
    world.heal(node)


def _hang(world: World) -> None:
    """Stop a node as if its machine had no time for it, and let it go on once another is the primary."""
    node = world.primary()
    world.pause(node)
    _wait_for_a_primary_besides(world, node)
    world.resume(node)


def _wait_for_a_primary_besides(world: World, node: str) -> None:
    assert world.wait_for_another_primary(node), world.cluster.state()


def _two_lost(world: World) -> None:
    """Power two nodes of three off: the last one acknowledges nothing, and says why."""
    left, lost = world.primary(), world.standbys()
    for name in lost:
        world.power_off(name)
    time.sleep(IN_FLIGHT)
    acknowledged = world.ledger.total
    problem = f"no server accepts writes: {', '.join(lost)} do not run"
    assert wait_until(lambda: world.cluster.state().problem == problem, READY), world.cluster.state()
    assert world.ledger.total == acknowledged
    assert world.query(left, "SELECT count(*) > 0 FROM todos") == (True,)
    assert world.is_live(left)
    for name in lost:
        world.power_on(name)


def _all_lost(world: World) -> None:
    for name in world.ports:
        world.power_off(name)
    for name in world.ports:
        world.power_on(name)


def _all_lost_and_one_emptied(world: World) -> None:
    """Power all nodes off, and on again with one that has no data, which must not begin a cluster of its own."""
    emptied = world.standbys()[0]
    for name in world.ports:
        world.power_off(name)
    world.replace(emptied)
    time.sleep(IN_FLIGHT)
    for name in world.ports.keys() - {emptied}:
        world.power_on(name)


def _stores_lost(world: World) -> None:
    """Stop every etcd for longer than the primary may go without one, unless it reaches all standbys."""
    acknowledged = world.ledger.total
    for store in names(STORE):
        world.container(store).kill()
    time.sleep(TIMES["ttl"] + 2 * TIMES["retry_timeout"])
    assert world.ledger.total > acknowledged
    for store in names(STORE):
        world.container(store).start()


def _settings(world: World, **parameters: str) -> None:
    """Change settings, and restart every server if it has to be."""
    world.configure(parameters)
    world.cluster.restart_for_settings()
    for name, value in parameters.items():
        assert {world.query(server, f"SHOW {name}") for server in world.ports} == {(value,)}


def _passwords(world: World) -> None:
    world.rotate_roles()
    world.rotate_secrets()


FAULTS = (
    Fault("switchover", SWITCHOVER, lambda world: world.cluster.switch_over()),
    Fault("PostgreSQL killed", PROCESS, lambda world: world.kill_postmaster(world.primary())),
    Fault("Patroni killed", PROCESS, lambda world: world.kill_patroni(world.primary())),
    Fault("primary's container killed", HOST, lambda world: world.end(world.primary())),
    Fault("primary's etcd killed", PROCESS, lambda world: world.end(world.node_of(world.primary())[1])),
    Fault("primary's node lost", HOST, _lose),
    Fault("standby's node lost", PROCESS, _lose_standby),
    Fault("primary's network cut", HOST, _cut),
    Fault("primary hangs", None, _hang),
    Fault("two nodes lost", None, _two_lost),
    Fault("all nodes lost", None, _all_lost),
    Fault("all nodes lost, one without its data", None, _all_lost_and_one_emptied),
    Fault("standby replaced by an empty node", PROCESS, lambda world: world.replace(world.standbys()[0])),
    Fault("primary replaced by an empty node", HOST, lambda world: world.replace(world.primary())),
    Fault("every etcd lost", PROCESS, _stores_lost),
    Fault("settings raised", PROCESS, lambda world: _settings(world, work_mem="8MB", max_connections="120")),
    Fault("settings lowered", PROCESS, lambda world: _settings(world, work_mem="4MB", max_connections="80")),
    # A login with the password before may be on its way.
    Fault("passwords rotated", SWITCHOVER, _passwords, ALWAYS_EXPECTED | {"DatabaseLoginError"}),
)


def fault(name: str) -> Fault:
    return next(each for each in FAULTS if each.name == name)
