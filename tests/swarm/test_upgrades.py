"""A database in a swarm moves to a newer PostgreSQL, into the swarm and out of it, with all that it has."""

import json
from collections.abc import Iterator

import pytest

from tests.stack.s3 import S3

from .archived import enable, told
from .conftest import NODES, REGISTRY, Deployed, cluster_program, deployed, servers_image
from .faults import World, load_on

pytestmark = [pytest.mark.docker, pytest.mark.slow]

OLDER, NEWER = "postgres:17", "18"


@pytest.fixture(scope="module")
def older(cluster: None) -> None:
    cluster_program("load", OLDER, servers_image(OLDER))


@pytest.fixture(params=[(), ("--ha",)], ids=["one server", "three servers"])
def project(
    older: None, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Deployed]:
    folder = tmp_path_factory.mktemp("upgrades")
    for made in deployed("upgrades", folder / "home", folder):
        made.variables["FASTZERO_POSTGRES_IMAGE"] = f"{REGISTRY}/{OLDER}"
        made.up(*request.param)
        World(made).add_user()
        yield made


def version(project: Deployed) -> str:
    [[found]] = project.sql("SHOW server_version")
    return str(found).partition(".")[0]


def test_it_is_upgraded_under_load_and_back(project: Deployed) -> None:
    [before] = project.places()
    with load_on(World(project)) as load:
        project.fastzero("db", "upgrade", "--to", NEWER)
        assert load.wait_for_writes(20)
        told = load.ask("report")
        verdict = load.compare(lambda: project.titles())
    assert not any(verdict.values()), (verdict, told)
    assert version(project) == NEWER
    after_it = project.titles()
    after, kept = project.places()
    assert (after["servers"], kept) == (before["servers"], {**before, "current": False})
    assert "nothing to do" in project.up()
    assert "Nothing to do" in project.fastzero("db", "upgrade", "--to", NEWER)

    project.fastzero("db", "upgrade", "--rollback", "--yes")
    assert version(project) == "17"
    assert set(project.titles()) < set(after_it)
    assert len(project.places()) == 2


@pytest.fixture(scope="module")
def movable(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    folder = tmp_path_factory.mktemp("movable")
    for made in deployed("movable", folder / "home", folder):
        made.up()
        World(made).add_user()
        yield made


def runtime(project: Deployed) -> str:
    return str(project.places()[0]["runtime"])


@pytest.mark.parametrize("other", ["docker", "embedded"])
def test_it_moves_out_of_the_swarm_and_back(movable: Deployed, other: str) -> None:
    movable.fastzero("todo", "add", f"before {other}", "-u", "ana")
    before = movable.titles()
    for to in (other, "swarm"):
        movable.fastzero("db", "move", "--to", to)
        assert (runtime(movable), movable.titles()) == (to, before)
        assert "nothing to do" in movable.fastzero("up")
        ours = ("--filter", f"label=fastzero.project={movable.name}", "--quiet")
        assert bool(movable.docker("service", "ls", *ours)) is (to == "swarm")
        assert bool(movable.docker("container", "ls", *ours)) is (to != "embedded")
    assert [json.loads(movable.get("/readyz", node))["status"] for node in NODES] == ["ok"] * len(NODES)


@pytest.mark.parametrize(
    ("to", "at", "then"),
    [
        ("docker", "copy database", "swarm"),
        ("docker", "remove service", "swarm"),
        ("docker", "create network", "docker"),
        ("swarm", "copy database", "docker"),
        ("swarm", "remove network", "docker"),
        ("swarm", "create service", "swarm"),
    ],
)
def test_the_next_up_settles_a_move_that_was_killed(movable: Deployed, to: str, at: str, then: str) -> None:
    movable.fastzero("db", "move", "--to", "swarm" if to == "docker" else "docker")
    movable.fastzero("todo", "add", f"before {at}", "-u", "ana")
    before = movable.titles()
    movable.kill_move(at, runtime=to)
    movable.fastzero("up")
    assert (runtime(movable), movable.titles()) == (then, before)
    assert "nothing to do" in movable.fastzero("up")


def test_an_archived_database_moves_out_of_the_swarm_and_leaves_nothing(
    s3: S3, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("archived")
    for project in deployed("archived", folder / "home", folder):
        project.up("--no-app")
        enable(project, s3)
        project.fastzero("db", "move", "--to", "docker")
        assert told(project)["state"] == "archiving"
        assert "nothing to do" in project.fastzero("up", "--no-app")
        project.fastzero("db", "archive", "disable", "--yes")
        project.fastzero("down", "--volumes", "--yes", "--no-backup")
        assert not project.docker("volume", "ls", "--quiet", "--filter", f"name={project.name}")


def test_a_database_with_standbys_moves_out_of_the_swarm(
    cluster: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("leaves")
    for project in deployed("leaves", folder / "home", folder):
        project.up("--ha")
        World(project).add_user()
        project.fastzero("todo", "add", "kept", "-u", "ana")
        project.fastzero("db", "move", "--to", "docker")
        assert project.titles() == ["kept"]
        assert "nothing to do" in project.fastzero("up")
        assert not project.docker("service", "ls", "--format", "{{.Name}}", "--filter", f"name={project.name}")
        [_, left] = project.places()
        project.fastzero("db", "place", "use", left["name"], "--yes")
        assert (project.titles(), runtime(project)) == (["kept"], "swarm")
        assert len(World(project).servers()) == 3
