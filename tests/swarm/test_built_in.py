"""The built-in application in a swarm of three nodes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import NODES, PROGRAM, Deployed, deployed

pytestmark = [pytest.mark.docker, pytest.mark.slow]

AS_PLANNED = """
import json, sys
from fastzero_core import Stack
from fastzero_core.events import ActionStarted
done = []
stack = Stack(on_event=lambda event: done.append(str(event.action)) if isinstance(event, ActionStarted) else None)
flags = {"runtime": "swarm", "app_port": int(sys.argv[1]), "port": int(sys.argv[2])}
planned = [str(action) for action in stack.plan(**flags)]
stack.up(**flags)
json.dump([planned, done, [str(action) for action in stack.plan()]], sys.stdout)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("swarm")


@pytest.fixture(scope="module")
def first(cluster: None, folder: Path) -> Iterator[tuple[Deployed, list[list[str]]]]:
    """A project that is up, with what was planned, what was done, and what was left to do."""
    for project in deployed("built-in", folder / "home", folder):
        command = [PROGRAM, "in", "1", sys.executable, "-c", AS_PLANNED, str(project.port), str(project.database_port)]
        environment = project.environment()
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280)
        assert done.returncode == 0, done.stderr
        yield project, json.loads(done.stdout)


@pytest.fixture(scope="module")
def project(first: tuple[Deployed, list[list[str]]]) -> Deployed:
    return first[0]


def test_the_first_up_does_what_the_dry_run_says_and_the_second_nothing(
    first: tuple[Deployed, list[list[str]]],
) -> None:
    planned, done, left = first[1]
    assert done == planned
    assert f"create service fastzero-{first[0].name}-app" in planned
    assert left == []
    assert "nothing to do" in first[0].up()


def test_status_shows_the_tasks_their_nodes_and_the_nodes(project: Deployed) -> None:
    services = project.status()
    assert {name: each["state"] for name, each in services.items()} == dict.fromkeys(services, "running")
    count = len(services["app"]["tasks"])
    assert count >= 2
    assert services["app"]["running"] == f"{count}/{count}"
    assert services["proxy"]["nodes"] == "node1, node2, node3"
    assert services["database"]["revision"]
    table = project.fastzero("status", "-o", "table")
    assert "app.1" in table
    assert NODES[2] in table


def test_each_node_answers_and_the_app_knows_its_clients(project: Deployed) -> None:
    for node in NODES:
        assert project.get("/readyz", node)
    assert "10.77.0.254 GET /readyz" in project.fastzero("logs", "app", "--all", "--tail", "200")


def test_images_are_pinned_by_digest_on_every_node(project: Deployed) -> None:
    names = project.docker("service", "ls", "-q", "--filter", f"label=fastzero.project={project.name}")
    images = project.docker("service", "inspect", *names, "-f", "{{.Spec.TaskTemplate.ContainerSpec.Image}}")
    assert len(images) == 3
    assert all("@sha256:" in image for image in images)


def test_the_data_belongs_to_one_server_alone(project: Deployed) -> None:
    mode = project.fastzero("exec", "database", "--", "sh", "-c", "stat -c %a $PGDATA")
    assert mode.strip() == "700"
    project.fastzero("exec", "database", "--", "flock", "--nonblock", "/var/lib/postgresql", "true", code=1)


def test_commands_reach_the_database_through_the_gateway(project: Deployed) -> None:
    project.fastzero(
        "user", "add", "ana", "--email", "ana@example.com", "--password-stdin", text="correct horse battery"
    )
    project.fastzero("db", "backup")
    assert f"PGPORT={project.database_port}" in project.fastzero("env")
    rows = project.fastzero("exec", "database", "--", "psql", "-Atc", "SELECT username FROM users")
    assert rows.strip() == "ana"


def test_a_secret_is_rotated_without_a_failed_request(project: Deployed) -> None:
    listed = ("secret", "ls", "--format", "{{.Name}}", "--filter", f"name=fastzero-{project.name}-app-secret_key")
    before = project.docker(*listed)
    with project.under_load("/readyz") as load:
        project.fastzero("secret", "rotate")
    assert load["failed"] == []
    assert load["asked"] > 20
    after = project.docker(*listed)
    assert (len(before), len(after)) == (1, 1)
    assert before != after
    assert "nothing to do" in project.up()


def test_the_database_s_passwords_are_rotated_without_a_failed_request(project: Deployed) -> None:
    with project.under_load("/readyz") as load:
        project.fastzero("secret", "rotate", "--database")
    assert load["failed"] == []
    assert load["asked"] > 20
    listed = ("secret", "ls", "--format", "{{.Name}}", "--filter", f"name=fastzero-{project.name}-app-database_url")
    assert len(project.docker(*listed)) == 1
    assert "nothing to do" in project.up()


def test_scale_starts_tasks_beside_the_others_and_is_kept(project: Deployed) -> None:
    before = {each["task"]: each["since"] for each in project.status()["app"]["tasks"]}
    project.fastzero("scale", "app=3")
    tasks = {each["task"]: each["since"] for each in project.status()["app"]["tasks"]}
    assert len(tasks) == 3
    assert before.items() <= tasks.items()
    assert "nothing to do" in project.up()
    assert "invalid number" in project.fastzero("scale", "app", code=2)


def test_down_leaves_the_data_and_nothing_else(project: Deployed) -> None:
    ours = ("--filter", f"label=fastzero.project={project.name}", "-q")
    psql = ("exec", "database", "--", "psql", "-Atc")
    project.fastzero(*psql, "CREATE TABLE kept AS SELECT 42 AS answer")
    project.fastzero("down")
    for kind in ("service", "secret", "config", "network"):
        assert project.docker(kind, "ls", *ours) == []
    assert project.docker("ps", "-a", *ours) == []
    assert len(project.docker("volume", "ls", *ours)) == 1
    project.up()
    assert project.fastzero(*psql, "SELECT answer FROM kept").strip() == "42"


def test_without_a_registry_nothing_is_changed(cluster: None, folder: Path) -> None:
    project = Deployed("fz-test-alone", folder / "home", folder, {"FASTZERO_REGISTRY": ""})
    assert "no registry from which they could pull" in project.up(code=2)
    assert project.docker("service", "ls", "-q", "--filter", "label=fastzero.project=fz-test-alone") == []
