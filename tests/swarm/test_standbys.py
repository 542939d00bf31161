"""A database with standbys in a swarm of three nodes. `poe faults-swarm` has more faults, and measures outages."""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from .conftest import NODES, PATIENCE, POSTGRES, PROGRAM, REGISTRY, Deployed, deployed
from .faults import World, fault, load_on, run

pytestmark = [pytest.mark.docker, pytest.mark.slow]

AS_PLANNED = """
import json, sys
from fastzero_core import Stack
from fastzero_core.events import ActionStarted
done = []
stack = Stack(on_event=lambda event: done.append(str(event.action)) if isinstance(event, ActionStarted) else None)
flags = {"runtime": "swarm", "ha": True, "app_port": int(sys.argv[1]), "port": int(sys.argv[2])}
planned = [str(action) for action in stack.plan(**flags)]
stack.up(**flags)
json.dump([planned, done, [str(action) for action in stack.plan()]], sys.stdout)
"""


@pytest.fixture(scope="module")
def first(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Deployed, list[list[str]]]]:
    """A project that is up, with what was planned, what was done, and what was left to do."""
    folder = tmp_path_factory.mktemp("standbys")
    for project in deployed("standbys", folder / "home", folder):
        command = [PROGRAM, "in", "1", sys.executable, "-c", AS_PLANNED, str(project.port), str(project.database_port)]
        environment = project.environment()
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
        yield project, json.loads(done.stdout)


@pytest.fixture(scope="module")
def world(first: tuple[Deployed, list[list[str]]]) -> World:
    made = World(first[0])
    made.add_user()
    return made


def check(world: World, name: str) -> None:
    """Inflict a fault, and check that nothing is lost and that writes go on. How soon depends on the machine."""
    with load_on(world) as load:
        outcome = run(world, load, fault(name))
    assert outcome.is_sound, outcome


def test_the_first_up_does_what_the_dry_run_says_and_the_second_nothing(
    first: tuple[Deployed, list[list[str]]],
) -> None:
    planned, done, left = first[1]
    assert done == planned
    assert left == []
    assert "nothing to do" in first[0].up()


def test_each_node_has_a_server_and_every_manager_knows_the_primary(world: World) -> None:
    world.wait_until_whole()
    primary = world.primary()
    assert {world.node_of(name) for name in world.servers()} == {1, 2, 3}
    services = world.project.status(node=2)
    assert services[primary]["detail"] == "primary"
    told = json.loads(world.project.fastzero("db", "status", "-o", "json", node=3))
    assert [each["name"] for each in told if each["role"] == "primary"] == [primary]


def test_a_backup_is_restored_on_all_servers(world: World) -> None:
    world.project.fastzero("todo", "add", "kept", "-u", "ana")
    world.project.fastzero("db", "backup", "--name", "before")
    world.project.fastzero("todo", "add", "gone", "-u", "ana")
    world.project.fastzero("db", "restore", "before", "--yes")
    world.wait_until_whole()
    assert world.rows() == ["kept"]


def test_a_failover_chooses_the_named_server(world: World) -> None:
    world.wait_until_whole()
    standby = next(name for name, each in world.servers().items() if each["role"] == "standby")
    world.fastzero("db", "failover", "--to", standby)
    assert world.primary() == standby
    assert "does not exist" in world.project.fastzero("db", "failover", "--to", "database-9", code=3)


@pytest.mark.parametrize("name", ["primary's node lost", "servers restarted one by one", "settings changed"])
def test_no_acknowledged_write_is_lost(name: str, world: World) -> None:
    check(world, name)


def test_all_passwords_are_rotated_while_clients_write(world: World) -> None:
    secrets = world.project.home / "projects" / world.project.name / "secrets"
    names = ("replication_password", "patroni_password", "superuser_password", "database_password")
    before = {name: (secrets / name).read_text() for name in names}
    world.wait_until_whole()
    check(world, "passwords rotated")
    assert [name for name in names if (secrets / name).read_text() == before[name]] == []
    assert sorted(each.name for each in secrets.iterdir() if "." in each.name) == []
    assert "nothing to do" in world.project.up()
    name = world.primary()
    world.fastzero("db", "failover")  # which the new password of the interface allows
    world.wait_until_whole()
    assert world.primary() != name


def test_the_database_stays_on_its_nodes_when_it_is_stopped(world: World) -> None:
    rows = world.rows()
    world.fastzero("down")
    for kind in ("service", "secret", "network"):
        assert world.project.docker(kind, "ls", "-q", "--filter", f"label=fastzero.project={world.project.name}") == []
    world.project.up()
    world.wait_until_whole()
    assert world.rows() == rows


def test_down_with_volumes_leaves_no_data_on_any_node(world: World) -> None:
    project, numbers = world.project, range(1, len(NODES) + 1)
    ours = ("--filter", f"label=fastzero.member={project.name}", "--format", "{{.Name}}")
    assert [len(project.docker("volume", "ls", *ours, node=number)) for number in numbers] == [2, 2, 2]
    told = project.fastzero("down", "--volumes", "--yes", "--no-backup")
    assert project.docker("volume", "ls", *ours) == []
    for number in numbers[1:]:
        for volume in project.docker("volume", "ls", *ours, node=number):
            assert f"volume {volume} on node{number} stays without its data" in told
            run = ("run", "--rm", "-v", f"{volume}:/data", f"{REGISTRY}/{POSTGRES}")
            assert project.docker(*run, "find", "/data", "!", "-type", "d", node=number) == []
            assert project.docker("volume", "rm", volume, node=number) == [volume]
