"""The archive of a database with standbys: the primary archives, whichever it is."""

from collections.abc import Iterator

import pytest

from fastzero_core.polling import wait_until
from tests.stack.s3 import S3

from .archived import SOON, enable, last_archived, now, recover, switch, told, wait_until_archived
from .conftest import Deployed, deployed
from .faults import World

pytestmark = [pytest.mark.docker, pytest.mark.slow]

OF_STANDBYS = {f"archiver-{number}" for number in (1, 2, 3)}


@pytest.fixture(scope="module")
def world(cluster: None, s3: S3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("archive-ha")
    for project in deployed("archive-ha", folder / "home", folder):
        project.up("--ha", "--no-app")
        project.sql("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS id")
        enable(project, s3)
        yield World(project)


def archiver_of(world: World, server: str, replicas: int) -> None:
    """Run the archiver of a server, or do not."""
    name = f"fastzero-{world.project.name}-archiver-{server[-1]}"
    world.project.docker("service", "scale", f"{name}={replicas}")


def test_every_server_has_an_archiver_and_every_manager_knows_how_the_primary_s_is_doing(world: World) -> None:
    assert archivers_of(world.project) == OF_STANDBYS
    for node in (1, 3):
        found = told(world.project, node)
        assert (found["state"], found["backups"] >= 1) == ("archiving", True)
    assert world.project.sql("SHOW archive_mode") == [["always"]]
    assert "nothing to do" in world.project.up("--ha", "--no-app")


def test_another_primary_goes_on_with_the_archive(world: World) -> None:
    world.fastzero("db", "failover")
    world.wait_until_whole()
    wait_until_archived(world.project, switch(world.project))
    assert told(world.project)["state"] == "archiving"
    world.project.fastzero("db", "archive", "backup")
    assert "Archive verified" in world.project.fastzero("db", "archive", "verify")


def test_what_a_lost_primary_has_not_archived_its_successor_does(world: World) -> None:
    primary = world.primary()
    archiver_of(world, primary, 0)
    for _ in range(3):
        segment = switch(world.project)
    assert last_archived(world.project) < segment[8:24]
    world.fastzero("db", "failover")
    world.wait_until_whole()
    wait_until_archived(world.project, segment)
    wait_until_archived(world.project, switch(world.project))
    assert "Archive verified" in world.project.fastzero("db", "archive", "verify")
    archiver_of(world, primary, 1)


def test_it_is_archived_while_a_node_is_off(world: World) -> None:
    name, node = world.primary_and_node()
    if node == 1:  # commands use its engine
        world.fastzero("db", "failover")
        world.wait_until_whole()
        name, node = world.primary_and_node()
    world.power_off(node)
    try:
        world.wait_for_another_primary(name)
        goes_on_with_its_archive(world.project)
        assert f"archiver-{name[-1]}" in world.project.status()
    finally:
        world.power_on(node)
    world.wait_until_whole()
    goes_on_with_its_archive(world.project)


def test_a_standby_gives_up_what_its_primary_has_archived(world: World) -> None:
    wait_until_archived(world.project, switch(world.project))
    listing = ("bash", "-c", "ls /var/lib/postgresql/cluster/pg_wal/archive_status/ | grep ready || true")

    def waiting() -> dict[str, list[str]]:
        found = {}
        for name, each in world.servers().items():
            with world.container(name, world.node_of(name)) as container:
                if each["role"] == "standby":
                    found[name] = container.exec_run(listing).output.decode().split()
        return found

    assert wait_until(lambda: not any(waiting().values()), SOON, every=1), waiting()


def test_it_is_recovered_into_a_project_with_one_server(world: World, s3: S3) -> None:
    for other in deployed("from-ha", world.project.home, world.project.folder):
        recover(other, world.project, s3)
        assert other.sql("SELECT count(*) FROM kept") == [[1000]]
        assert other.sql("SHOW synchronous_standby_names") == [[""]]
        other.sql("INSERT INTO kept VALUES (-1)")


def test_it_is_recovered_in_place_and_has_standbys_again(world: World) -> None:
    place = place_of(world.project)
    time = now(world.project)
    world.project.sql("DROP TABLE kept")
    world.project.fastzero("db", "restore", "--to-time", time, "--yes")
    world.wait_until_whole()
    assert world.project.sql("SELECT count(*) FROM kept") == [[1000]]
    assert place in [each["name"] for each in world.project.places() if not each["current"]]
    assert archivers_of(world.project) == OF_STANDBYS
    goes_on_with_its_archive(world.project)


def test_its_archive_goes_on_when_it_moves_to_one_server_and_back(world: World) -> None:
    world.project.fastzero("db", "move", "--no-ha")
    assert archivers_of(world.project) == {"archiver"}
    goes_on_with_its_archive(world.project)
    world.project.sql("CREATE TABLE of_one AS SELECT 1")
    time = now(world.project)
    world.project.fastzero("db", "move", "--ha")
    world.wait_until_whole()
    assert archivers_of(world.project) == OF_STANDBYS
    goes_on_with_its_archive(world.project)
    world.project.sql("DROP TABLE of_one")
    said = world.project.fastzero("db", "restore", "--to-time", time, "--yes")
    assert "in the archive of a server before" in said
    world.wait_until_whole()
    assert world.project.sql("SELECT count(*) FROM of_one") == [[1]]
    assert "nothing to do" in world.project.up("--ha", "--no-app")


def place_of(project: Deployed) -> str:
    return str(next(each["name"] for each in project.places() if each["current"]))


def archivers_of(project: Deployed) -> set[str]:
    return {name for name in project.status() if name.startswith("archiver")}


def goes_on_with_its_archive(project: Deployed) -> None:
    wait_until_archived(project, switch(project))
    assert told(project)["state"] == "archiving"
    assert "Archive verified" in project.fastzero("db", "archive", "verify")


def test_disabled_the_archivers_are_gone(world: World, s3: S3) -> None:
    world.project.fastzero("db", "archive", "disable", "--yes")
    world.wait_until_whole()
    assert world.project.sql("SHOW archive_mode") == [["off"]]
    assert not [name for name in world.project.status() if name.startswith("archiver")]
    assert "nothing to do" in world.project.up("--ha", "--no-app")
    enable(world.project, s3)
