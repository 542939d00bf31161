"""The archive of a database with standbys: the primary archives, whichever it is."""

from collections.abc import Iterator

import pytest

from fastzero_core.polling import wait_until
from tests.stack.s3 import S3

from .archived import SOON, enable, last_archived, recover, switch, told, wait_until_archived
from .conftest import deployed
from .faults import World

pytestmark = [pytest.mark.docker, pytest.mark.slow]


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
    archivers = {f"archiver-{number}" for number in (1, 2, 3)}
    assert archivers <= world.project.status().keys()
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


def test_a_standby_gives_up_what_its_primary_has_archived(world: World) -> None:
    wait_until_archived(world.project, switch(world.project))
    waiting = ("bash", "-c", "ls /var/lib/postgresql/cluster/pg_wal/archive_status | grep -c ready")

    def is_empty() -> bool:
        for name, each in world.servers().items():
            with world.container(name, world.node_of(name)) as container:
                if each["role"] == "standby" and container.exec_run(waiting).output.strip() != b"0":
                    return False
        return True

    assert wait_until(is_empty, SOON, every=1)


def test_it_is_recovered_into_a_project_with_one_server(world: World, s3: S3) -> None:
    said = world.project.fastzero("db", "restore", "--to-time", "latest", "--yes", code=2)
    assert f"--from-project {world.project.name}" in said
    for other in deployed("from-ha", world.project.home, world.project.folder):
        recover(other, world.project, s3)
        assert other.sql("SELECT count(*) FROM kept") == [[1000]]
        assert other.sql("SHOW synchronous_standby_names") == [[""]]
        other.sql("INSERT INTO kept VALUES (-1)")


def test_disabled_the_archivers_are_gone(world: World, s3: S3) -> None:
    world.project.fastzero("db", "archive", "disable", "--yes")
    world.wait_until_whole()
    assert world.project.sql("SHOW archive_mode") == [["off"]]
    assert not [name for name in world.project.status() if name.startswith("archiver")]
    assert "nothing to do" in world.project.up("--ha", "--no-app")
    enable(world.project, s3)
