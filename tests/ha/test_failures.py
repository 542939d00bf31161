"""A database with standbys under load while something fails: no acknowledged write is lost, and writes go on.

`python -m tests.ha` has more faults, and repeats them.
"""

import time
from collections.abc import Callable

import pytest

from fastzero_core.errors import ConflictError, NotFoundError

from .world import READY, World

pytestmark = [pytest.mark.slow, pytest.mark.docker]

# What is promised, in seconds without a write. A test's machine may be slow, so that these are limits of a failure.
SWITCHOVER, PROCESS, HOST = 3, 5, 30
MARGIN = 2  # times


def outage(world: World, fault: Callable[[], object]) -> float:
    """Inflict a fault under load, wait until everything is whole, and check that nothing is lost.

    Returns the longest time without a write.
    """
    with world.load() as load:
        load.begin_round()
        fault()
        assert load.wait_for_writes(50, READY), world.cluster.state()
        world.wait_until_whole()
        assert load.wait_for_writes(20, READY)
        longest = load.longest_outage
    assert world.ledger.check(world.rows()).is_sound
    assert load.refusals.keys() <= {"503"}
    return longest


def test_a_switchover_moves_the_primary_and_keeps_the_writes(world: World) -> None:
    to = world.standbys()[-1]

    assert outage(world, lambda: world.cluster.switch_over(to)) < SWITCHOVER * MARGIN
    assert world.primary() == to


def test_a_killed_postgresql_is_started_again(world: World) -> None:
    assert outage(world, lambda: world.kill_postmaster(world.primary())) < PROCESS * MARGIN


def test_a_killed_patroni_stops_no_writes(world: World) -> None:
    primary = world.primary()

    assert outage(world, lambda: world.kill_patroni(primary)) < PROCESS
    assert world.primary() == primary


def test_a_killed_etcd_stops_no_writes(world: World) -> None:
    _, store = world.node_of(world.primary())

    assert outage(world, lambda: world.container(store).restart(timeout=0)) < PROCESS


def test_a_lost_primary_is_followed_by_a_standby_and_rejoins(world: World) -> None:
    lost = world.primary()
    copies = world.copies(lost)

    def lose() -> None:
        world.power_off(lost)
        assert world.cluster.wait_for_primary(READY).primary
        world.power_on(lost)

    assert outage(world, lose) < HOST * MARGIN
    assert world.primary() != lost
    assert world.copies(lost) == copies


def test_a_node_without_data_copies_it_and_joins_etcd_again(world: World) -> None:
    replaced = world.standbys()[0]

    assert outage(world, lambda: world.replace(replaced)) < PROCESS
    assert world.copies(replaced) == 1


def test_one_node_of_three_acknowledges_nothing_and_says_why(world: World) -> None:
    left, lost = world.primary(), world.standbys()
    with world.load() as load:
        for name in lost:
            world.power_off(name)
        time.sleep(1)
        acknowledged = world.ledger.total
        time.sleep(10)
        assert world.ledger.total == acknowledged
        problem = world.cluster.state().problem
        assert problem == f"no server accepts writes: {', '.join(lost)} do not run"
        assert world.query(left, "SELECT count(*) > 0 FROM todos") == (True,)
        for name in lost:
            world.power_on(name)
        assert load.wait_for_writes(20, READY)
        world.wait_until_whole()
    assert world.ledger.check(world.rows()).is_sound


def test_settings_change_one_server_after_the_other(world: World) -> None:
    def change(**parameters: str) -> list[str]:
        world.configure(parameters)
        return world.cluster.restart_for_settings()

    assert outage(world, lambda: change(work_mem="8MB")) < 1 * MARGIN
    assert world.query(world.standbys()[0], "SHOW work_mem") == ("8MB",)

    assert outage(world, lambda: change(max_connections="120")) < SWITCHOVER * MARGIN
    assert world.query(world.standbys()[0], "SHOW max_connections") == ("120",)

    assert outage(world, change) < SWITCHOVER * MARGIN
    assert {world.query(name, "SHOW max_connections") for name in world.ports} == {("100",)}
    assert not any(node.needs_restart for node in world.cluster.state().nodes)


def test_passwords_rotate_without_a_lost_write(world: World) -> None:
    def rotate() -> None:
        world.rotate_roles()
        world.rotate_secrets()

    assert outage(world, rotate) < SWITCHOVER * MARGIN
    with pytest.raises(ConflictError, match="refuses the password"):
        world.cluster_of("another").switch_over()


def test_a_member_is_asked_through_the_container_of_another(world: World) -> None:
    inside = world.cluster_inside(world.standbys()[0])

    assert {(node.name, node.role, node.is_running) for node in inside.state().nodes} == {
        (node.name, node.role, True) for node in world.cluster.state().nodes
    }


def test_orders_that_cannot_be_obeyed_say_why(world: World) -> None:
    with pytest.raises(NotFoundError, match="node 'database-9' does not exist"):
        world.cluster.switch_over("database-9")
    with pytest.raises(ConflictError, match="is the primary"):
        world.cluster.copy_again(world.primary())
