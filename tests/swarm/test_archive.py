"""The archive of a database of one server in a swarm, in a bucket that all nodes reach."""

from collections.abc import Iterator

import pytest

from fastzero_core.polling import wait_until
from tests.stack.s3 import S3

from .archived import SOON, enable, now, recover, switch, told, wait_until_archived
from .conftest import Deployed, deployed, s3_in_lan

pytestmark = [pytest.mark.docker, pytest.mark.slow]


@pytest.fixture(scope="module")
def project(s3: S3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:  # which needs it to be removed
    folder = tmp_path_factory.mktemp("archive")
    for each in deployed("archive", folder / "home", folder):
        each.up("--no-app")
        yield each


@pytest.fixture(scope="module")
def archived(project: Deployed, s3: S3) -> Deployed:
    project.sql("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS id")
    assert "Database archived to" in enable(project, s3, "--keep", "2")
    return project


def test_a_folder_is_refused_since_the_nodes_have_none_in_common(project: Deployed) -> None:
    said = project.fastzero("db", "archive", "enable", "--to", "file:///mnt/backup", code=2)
    assert "have no folder in common" in said


def test_every_manager_knows_how_the_archive_is_doing(archived: Deployed) -> None:
    for node in (1, 2):
        found = told(archived, node)
        assert (found["state"], found["backups"] >= 1) == ("archiving", True)
        assert archived.status(node)["archiver"]["state"] == "running"
    assert "nothing to do" in archived.up("--no-app")


def test_the_archiver_has_no_privilege_and_only_a_secret_of_the_swarm(archived: Deployed, s3: S3) -> None:
    inspected = "".join(archived.docker("service", "inspect", f"fastzero-{archived.name}-archiver"))
    assert s3.secret not in inspected
    assert '"ReadOnly": true' in inspected
    assert archived.docker("service", "ls", "-q", "--filter", "name=job_") == []


def test_a_second_in_the_past_is_reached_and_the_place_before_it_kept(archived: Deployed) -> None:
    moment, places = now(archived), archived.fastzero("db", "place", "list", "-o", "ids").split()
    archived.sql("DELETE FROM kept")
    said = archived.fastzero("db", "restore", "--to-time", moment, "--yes")
    assert "The database is as it was at" in said
    assert archived.sql("SELECT count(*) FROM kept") == [[1000]]
    assert len(archived.fastzero("db", "place", "list", "-o", "ids").split()) == len(places) + 1
    wait_until_archived(archived, switch(archived))


def test_the_archive_is_verified_and_old_base_backups_are_deleted(archived: Deployed) -> None:
    for _ in range(2):
        archived.fastzero("db", "archive", "backup")
    assert len(archived.fastzero("db", "archive", "list", "-o", "ids", node=2).split()) == 2
    assert "Archive verified" in archived.fastzero("db", "archive", "verify")


def test_another_project_gets_the_database_as_it_was(archived: Deployed, s3: S3) -> None:
    for other in deployed("recovered", archived.home, archived.folder):
        recover(other, archived, s3)
        assert other.sql("SELECT count(*) FROM kept") == [[1000]]


def test_disabled_it_leaves_no_archiver(archived: Deployed, s3: S3) -> None:
    archived.fastzero("db", "archive", "disable", "--yes")
    assert archived.sql("SHOW archive_mode") == [["off"]]
    assert "archiver" not in archived.status()
    assert "nothing to do" in archived.up("--no-app")
    enable(archived, s3, "--keep", "2")


def test_a_database_that_cannot_archive_goes_on_and_says_so(
    archived: Deployed, s3: S3, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with s3_in_lan(tmp_path_factory.mktemp("away")) as away:
        enable(archived, away)
        away.stop()
        archived.sql("CREATE TABLE written AS SELECT 1 AS id")
        switch(archived)
        assert wait_until(lambda: told(archived)["state"] == "failing", SOON, every=1)
        assert archived.status()["archiver"]["state"] == "unhealthy"
        assert archived.sql("SELECT count(*) FROM written") == [[1]]
    enable(archived, s3, "--keep", "2")
    assert told(archived)["state"] == "archiving"
