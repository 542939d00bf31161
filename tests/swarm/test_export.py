"""The exported stack is deployed by `docker stack deploy`, finds the data, and gives it back."""

import json
from collections.abc import Iterator

import pytest

from fastzero_core.polling import wait_until

from .conftest import NODES, Deployed, curl, deployed

pytestmark = [pytest.mark.docker, pytest.mark.slow]

USER, PASSWORD = "ana", "correct horse"


@pytest.fixture(scope="module")
def project(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    folder = tmp_path_factory.mktemp("exported")
    yield from deployed("exported", folder / "home", folder)


def test_an_exported_stack_runs_without_fastzero_on_the_same_data(project: Deployed) -> None:
    project.up()
    project.fastzero("user", "add", USER, "--email", "ana@example.com", "--password-stdin", text=PASSWORD)
    project.fastzero("todo", "add", "Write the report", "--user", USER)
    file = project.folder / "stack.yml"
    file.write_text(project.fastzero("export", "stack"))
    project.fastzero("down")
    stack = f"fastzero-{project.name}"
    project.docker("stack", "deploy", "--detach=true", "-c", str(file), stack)
    try:
        assert wait_until(lambda: is_ready(project), 90), project.docker("stack", "ps", "--no-trunc", stack)
        assert titles(project) == ["Write the report"]
        project.docker("stack", "deploy", "--detach=true", "-c", str(file), stack)
        assert is_ready(project), "another deploy changes nothing"
    finally:
        project.docker("stack", "rm", "--detach=false", stack)
    project.up()
    assert project.titles() == ["Write the report"]


def is_ready(project: Deployed) -> bool:
    return all(curl(f"http://{node}:{project.port}/readyz") for node in NODES)


def titles(project: Deployed) -> list[str]:
    """Return the titles that the app answers."""
    here = f"http://{NODES[1]}:{project.port}"
    login = curl(f"{here}/auth/token", "-d", f"username={USER}", "--data-urlencode", f"password={PASSWORD}")
    token = json.loads(login)["access_token"]
    found = json.loads(curl(f"{here}/todos/", "-H", f"Authorization: Bearer {token}"))
    return [each["title"] for each in found["todos"]]
