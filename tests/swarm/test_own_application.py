"""An application of the user's own in a swarm: its image is built and pushed, and a broken version is undone."""

from collections.abc import Iterator

import pytest

from fastzero_core.stack.docker import image

from .conftest import REGISTRY, Deployed, deployed

pytestmark = [pytest.mark.docker, pytest.mark.slow]

APP = """
import os
import psycopg

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        count = connection.execute("SELECT count(*) FROM notes").fetchone()[0]
    body = f"version {VERSION}, {count} notes, for {scope['client'][0]}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})

VERSION = 1
"""
MIGRATION = """
import os, psycopg
with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
    connection.execute("CREATE TABLE IF NOT EXISTS notes (id int)")
"""
# It needs nothing that the nodes could not get: the built-in application has the server and the driver.
DOCKERFILE = """
FROM {base}
USER 0
WORKDIR /srv
COPY app.py migration.py ./
USER 10001:10001
ENTRYPOINT []
"""
DESCRIPTION = """
project = "{project}"

[application]
dockerfile = "Dockerfile"
migrate = "python migration.py"

[application.environment]
DATABASE_URL = "{{url}}"

[application.processes]
worker = "python -c 'import time; time.sleep(10000)'"

[application.processes.web]
command = "uvicorn app:app --host {{app_host}} --port {{app_port}}"
port = 8000
replicas = 2
"""


@pytest.fixture(scope="module")
def first(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Deployed, str]]:
    """A project, and what its first `up` told."""
    folder = tmp_path_factory.mktemp("own")
    base = f"{REGISTRY}/{image.image_name('python:3.13-slim')}"
    (folder / "Dockerfile").write_text(DOCKERFILE.format(base=base))
    (folder / "app.py").write_text(APP)
    (folder / "migration.py").write_text(MIGRATION)
    home = tmp_path_factory.mktemp("home") / "fastzero"  # in the folder, its files would be in the image
    for project in deployed("own", home, folder):
        (folder / "fastzero.toml").write_text(DESCRIPTION.format(project=project.name))
        project.fastzero("trust", "--yes")
        yield project, project.up()


@pytest.fixture
def project(first: tuple[Deployed, str]) -> Deployed:
    """The project with the first version of its application, whatever the test before did."""
    project = first[0]
    (project.folder / "app.py").write_text(APP)
    project.up()
    return project


def test_it_is_built_pushed_migrated_once_and_run_with_its_replicas(
    first: tuple[Deployed, str], project: Deployed
) -> None:
    assert "Image pushed" in first[1]
    assert project.get("/") == "version 1, 0 notes, for 10.77.0.254"
    assert {name: each["running"] for name, each in project.status().items()} == {
        "database": "1/1",
        "gateway": "",
        "worker": "1/1",
        "web": "2/2",
        "proxy": "3/3",
    }
    assert "nothing to do" in project.up()


def test_a_broken_version_is_undone_with_evidence_and_without_a_failed_request(project: Deployed) -> None:
    (project.folder / "app.py").write_text(f"{APP}\nraise RuntimeError('this version is broken')\n")
    with project.under_load("/") as load:
        told = project.up(code=8)
    assert "runs the one before again" in told
    assert "RuntimeError: this version is broken" in told
    assert load["failed"] == []
    assert project.status()["web"]["update"] == "rollback completed"
    assert project.get("/").startswith("version 1")


def test_the_next_version_replaces_it_without_a_failed_request(project: Deployed) -> None:
    (project.folder / "app.py").write_text(APP.replace("VERSION = 1", "VERSION = 2"))
    with project.under_load("/") as load:
        project.up()
    assert load["failed"] == []
    assert project.get("/").startswith("version 2")


def test_the_database_s_password_is_rotated_without_a_failed_request(project: Deployed) -> None:
    """The application connects for each request, with the password that its tasks were started with."""
    secrets = project.home / "projects" / project.name / "secrets"
    before = (secrets / "database_password").read_text()
    with project.under_load("/") as load:
        project.fastzero("secret", "rotate", "--database")
    assert load["failed"] == []
    assert load["asked"] > 20
    assert (secrets / "database_password").read_text() != before
    assert [each.name for each in secrets.iterdir() if "stand_in" in each.name or "." in each.name] == []
    roles = ("exec", "database", "--", "psql", "-Atc", "SELECT rolname FROM pg_roles WHERE rolname ~ '^fastzero'")
    assert project.fastzero(*roles).split() == ["fastzero"]
    assert "nothing to do" in project.up()
