"""The exported compose.yaml: what it says, and that Docker Compose brings it to health with the same data."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from fastzero_core import FastZero, Stack, load_settings
from fastzero_core.errors import InvalidInputError
from fastzero_core.project import SECRETS, Project
from fastzero_core.stack.built_in import stack_spec
from fastzero_core.stack.docker.compose import compose_yaml
from fastzero_core.stack.spec import StackSpec

from .conftest import Contained, add_user, users_of

PORTS = {"database": 15432, "app": 18000}


@pytest.fixture
def project(folder: Path) -> Project:
    project = Project("demo", folder)
    for name in SECRETS:
        project.ensure_secret(name)
    return project


def spec_of(**changed: Any) -> StackSpec:
    return stack_spec(load_settings(project="demo", **changed), PORTS, app_image="fastzero-app:1", app=True)


def exported(project: Project, **changed: Any) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(compose_yaml(spec_of(**changed), project))
    return document


def test_it_has_the_services_their_images_and_their_ports_on_loopback(project: Project) -> None:
    services = exported(project)["services"]
    assert {name: (service["image"], service["ports"]) for name, service in services.items()} == {
        "database": ("postgres:18", ["127.0.0.1:15432:5432"]),
        "app": ("fastzero-app:1", ["127.0.0.1:18000:8000"]),
    }


def test_the_app_is_hardened(project: Project) -> None:
    app = exported(project)["services"]["app"]
    assert app["user"] == "10001:10001"
    assert (app["read_only"], app["init"], app["cap_drop"]) == (True, True, ["ALL"])
    assert app["security_opt"] == ["no-new-privileges:true"]
    assert {"mem_limit", "cpus", "pids_limit", "tmpfs"} <= app.keys()
    assert app["restart"] == "on-failure:5"


def test_the_database_is_confined_to_what_its_image_needs(project: Project) -> None:
    database = exported(project, database_memory=512, database_cpus=1)["services"]["database"]
    assert (database["read_only"], database["cap_drop"]) == (True, ["ALL"])
    assert database["cap_add"] == ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"]
    assert database["security_opt"] == ["no-new-privileges:true"]
    assert (database["mem_limit"], database["cpus"], database["pids_limit"]) == (512 * 2**20, 1, 356)


def test_the_database_makes_its_owner_when_compose_makes_the_volume(project: Project) -> None:
    document = exported(project)
    script = {"source": "roles.sh", "target": "/docker-entrypoint-initdb.d/roles.sh"}
    assert script in document["services"]["database"]["secrets"]
    assert "NOSUPERUSER" in Path(document["secrets"]["roles.sh"]["file"]).read_text()


def test_secrets_are_files_and_nowhere_else(project: Project) -> None:
    text = compose_yaml(spec_of(), project)
    assert not [name for name in SECRETS if project.secret(name) in text]
    assert yaml.safe_load(text)["secrets"].keys() == {*SECRETS, "database_url", "roles.sh"}


@pytest.mark.parametrize(
    ("image", "mount"), [("postgres:17", "/var/lib/postgresql/data"), ("postgres:18", "/var/lib/postgresql")]
)
def test_the_volume_is_mounted_where_the_version_wants_it(project: Project, image: str, mount: str) -> None:
    document = exported(project, postgres_image=image)
    assert document["services"]["database"]["volumes"] == [f"database:{mount}", "/tmp"]
    assert document["volumes"]["database"]["name"] == "fastzero-demo-database"


def test_a_dollar_is_no_variable(project: Project) -> None:
    document = exported(project, postgres_settings={"cluster_name": "$HOME"})
    assert "cluster_name=$$HOME" in document["services"]["database"]["command"]


def test_a_stack_of_local_processes_has_none(running: Stack) -> None:
    with pytest.raises(InvalidInputError, match="does not run in containers"):
        running.compose()


# -- under Docker Compose --------------------------------------------------------------------------------------


def compose(file: Path, *words: str) -> str:
    done = subprocess.run(["docker", "compose", "-f", str(file), *words], capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.docker
def test_compose_accepts_it_without_a_warning(contained: Contained, folder: Path) -> None:
    stack = contained.stack(app=True, postgres_settings={"cluster_name": "a$b"}).up()
    file = folder / "compose.yaml"
    file.write_text(stack.compose())
    done = subprocess.run(["docker", "compose", "-f", str(file), "config"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.docker
def test_compose_runs_it_to_health_on_the_same_data_and_back(contained: Contained, folder: Path) -> None:
    stack = contained.stack(app=True).up()
    add_user(stack, "ana")
    file = folder / "compose.yaml"
    file.write_text(stack.compose())
    stack.down()
    try:
        compose(file, "up", "-d", "--wait")
        assert users_of(stack) == ["ana"]
        add_user(stack, "bob")
    finally:
        compose(file, "down")
    assert users_of(contained.stack(app=True).up()) == ["ana", "bob"]


@pytest.mark.docker
def test_a_volume_that_compose_made_is_the_project_s_as_well(contained: Contained, folder: Path) -> None:
    stack = contained.stack(app=True).up()
    file = folder / "compose.yaml"
    file.write_text(stack.compose())
    stack.down()
    contained.volume.remove()
    try:
        compose(file, "up", "-d", "--wait")
        with FastZero(stack.database_url) as fz:
            fz.users.add("ana", email="ana@example.com", password="correct horse")
    finally:
        compose(file, "down")
    again = contained.stack(app=True).up()
    assert users_of(again) == ["ana"]
    again.down(volumes=True)
    assert not contained.has_volume()
