"""A database with standbys under load while something fails: no acknowledged write is lost, and writes go on.

`poe faults-ha` has more faults, repeats them, and measures how long writes stop.
"""

import time

import pytest

from fastzero_core import load_settings
from fastzero_core.errors import ConflictError, DatabaseLoginError, NotFoundError
from fastzero_core.polling import wait_until
from fastzero_core.stack.ha import shared

from .faults import fault, run
from .world import READY, World

pytestmark = [pytest.mark.slow, pytest.mark.docker]


def check(world: World, name: str) -> None:
    """Inflict a fault, and check that nothing is lost and that writes go on. How soon depends on the machine."""
    outcome = run(world, fault(name))
    assert outcome.is_sound, outcome


def test_a_switchover_moves_the_primary(world: World) -> None:
    before = world.primary()
    check(world, "switchover")

    assert world.primary() != before


def test_a_killed_postgresql_is_started_again(world: World) -> None:
    check(world, "PostgreSQL killed")


def test_a_lost_primary_is_followed_by_a_standby_and_rejoins_without_a_copy(world: World) -> None:
    lost = world.primary()
    copies = world.copies(lost)
    check(world, "primary's node lost")

    assert world.primary() != lost
    assert world.copies(lost) == copies


def test_an_empty_node_copies_the_data_and_joins_etcd_again(world: World) -> None:
    replaced = world.standbys()[0]
    check(world, "standby replaced by an empty node")

    assert world.copies(replaced) == 1


def test_settings_change_one_server_after_the_other(world: World) -> None:
    check(world, "settings raised")

    assert not any(node.needs_restart for node in world.cluster.state().nodes)


def test_a_second_container_with_the_same_data_waits(world: World) -> None:
    standby = world.standbys()[0]
    with world.double(standby) as second:
        assert wait_until(lambda: second.top()["Processes"], 10)
        time.sleep(3)
        assert {" ".join(each[-1].split()[:2]) for each in second.top()["Processes"]} <= {"flock 9", "bash -c"}
    assert world.cluster.wait_until_whole(READY)


def test_members_share_the_configuration_that_was_built_for_them(world: World) -> None:
    world.configure({"work_mem": "16MB"})

    assert world.cluster.configuration() == shared(
        load_settings(project=world.name, postgres_settings={"work_mem": "16MB"})
    )


def test_a_member_is_asked_through_the_container_of_another(world: World) -> None:
    inside = world.cluster_inside(world.standbys()[0])

    assert [(node.name, node.role, node.state) for node in inside.state().nodes] == [
        (node.name, node.role, node.state) for node in world.cluster.state().nodes
    ]


def test_orders_that_cannot_be_obeyed_say_why(world: World) -> None:
    with pytest.raises(NotFoundError, match="node 'database-9' does not exist"):
        world.cluster.switch_over("database-9")
    with pytest.raises(ConflictError, match="is the primary"):
        world.cluster.copy_again(world.primary())
    with pytest.raises(DatabaseLoginError, match="refuses the password"):
        world.cluster_of("another").switch_over()
