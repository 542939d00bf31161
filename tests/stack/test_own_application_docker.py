"""An application of the user's own in containers: its Dockerfile or one of fastzero's, its secrets, its release."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fastzero_core import Stack
from fastzero_core.errors import ImageError, RevisionFailedError, UnhealthyError
from fastzero_core.polling import wait_until
from fastzero_core.stack.observed import ServiceState
from tests.ports import any_free_port

from .conftest import SOON, Contained, new_project, up_in_containers
from .own_app import DOCKERFILE, add_revision, answer, describe, working_in, write_application

IN_ORDER = True  # a stack in containers takes too long to be made for each test
pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.usefixtures("trusted_folder")]


@pytest.fixture(scope="module")
def project(engine: Any) -> Iterator[Contained]:
    with new_project(engine) as project:
        yield project


@pytest.fixture(scope="module")
def application(project: Contained) -> Iterator[Path]:
    """The folder of the application, where the tests work, with a Dockerfile of its own."""
    folder = write_application(project.home / "application", any_free_port())
    (folder / "Dockerfile").write_text(DOCKERFILE)
    with working_in(folder):
        yield folder


@pytest.fixture(scope="module")
def stack(project: Contained, application: Path) -> Iterator[Stack]:
    """The application's stack, up."""
    with up_in_containers(project) as stack:
        yield stack


def answers(stack: Stack) -> Any:
    """What the application says, None while it does not answer: what was stopped is being started again."""
    try:
        return answer(stack)
    except OSError:
        return None


def test_it_answers_from_its_own_image_on_its_own_schema(stack: Stack) -> None:
    assert answer(stack)["notes"] == 0
    assert {each.service: each.state for each in stack.status()} == dict.fromkeys(
        ("database", "web", "worker"), ServiceState.RUNNING
    )


def test_it_logs_in_with_the_rotated_password(stack: Stack) -> None:
    stack.rotate_database_passwords()

    assert answer(stack)["prefix"]
    assert stack.plan() == []


def test_with_split_roles_it_has_the_password_of_a_role_that_changes_rows_alone(
    stack: Stack, capfd: pytest.CaptureFixture[str]
) -> None:
    split = Stack(stack.settings.model_copy(update={"split_roles": True})).up()

    assert answer(split)["notes"] == 0
    assert split.execute("web", ["sh", "-c", "printenv; cat /run/secrets/*"]) == 0
    said = capfd.readouterr().out
    assert "PGUSER=fastzero_app\n" in said
    assert split.project.secret("app_password") in said
    assert split.project.secret("database_password") not in said
    assert split.migrate_down("base").current is None
    split.up()

    assert answer(stack.up())["notes"] == 0


def test_a_second_up_has_nothing_to_do(stack: Stack) -> None:
    assert stack.plan() == []


def test_no_secret_can_be_inspected(stack: Stack, project: Contained) -> None:
    secrets = [answer(stack)["secret"], stack.project.secret("database_password")]
    for container in project.all_containers():
        assert not [secret for secret in secrets if secret in json.dumps(container.attrs)]


def test_its_secrets_are_files_too(stack: Stack, capfd: pytest.CaptureFixture[str]) -> None:
    assert stack.run(["sh", "-c", "printenv APP_SECRET; cat $CREDENTIALS_DIRECTORY/APP_SECRET"]) == 0
    secret, same = capfd.readouterr().out.split()
    assert secret == same == answer(stack)["secret"]


def test_it_is_confined(stack: Stack, project: Contained) -> None:
    host = project.container("web").attrs["HostConfig"]
    assert (host["CapDrop"], host["SecurityOpt"], host["ReadonlyRootfs"]) == (["ALL"], ["no-new-privileges"], True)


def test_a_command_finds_what_the_application_finds(stack: Stack, capfd: pytest.CaptureFixture[str]) -> None:
    assert stack.run(["python", "-c", "import os; print('APP_SECRET' in os.environ, os.environ['PGHOST'])"]) == 0
    assert capfd.readouterr().out.split() == ["True", "database"]


def test_a_migration_that_fails_leaves_the_containers_as_they_are(
    stack: Stack, project: Contained, application: Path
) -> None:
    before = {name: project.container(name).id for name in ("database", "web", "worker")}
    notes = answer(stack)["notes"]
    add_revision(application, "0002", "0001", up="SELECT nonsense")

    with pytest.raises(RevisionFailedError) as failed:
        stack.up()

    assert 'column "nonsense" does not exist' in failed.value.evidence
    assert {name: project.container(name).id for name in before} == before
    assert {str(each.name) for each in project.all_containers()} == {project.name(name) for name in before}
    add_revision(application, "0002", "0001", up="INSERT INTO notes VALUES ('hello')")
    assert answer(stack.up())["notes"] == notes + 1


def test_it_is_exported_for_docker_compose(stack: Stack) -> None:
    exported = yaml.safe_load(stack.compose())

    web = exported["services"]["web"]
    sources = {each["target"]: each["source"] for each in web["secrets"]}
    assert set(sources) >= {"DATABASE_URL", "APP_SECRET", "variables"}
    assert all(Path(exported["secrets"][source]["file"]).is_file() for source in sources.values())
    assert exported["services"]["worker"].get("ports") is None


def test_a_build_that_fails_leaves_the_version_before(stack: Stack, application: Path) -> None:
    before = answer(stack)
    (application / "Dockerfile").write_text(f"{DOCKERFILE}\nRUN echo it is broken && exit 3\n")
    try:
        with pytest.raises(ImageError) as failed:
            stack.up()
    finally:
        (application / "Dockerfile").write_text(DOCKERFILE)

    assert "it is broken" in failed.value.evidence
    assert answer(stack) == before


@pytest.mark.parametrize(
    ("text", "said", "cause"),
    [
        ("def app(:", "SyntaxError", "Probably SyntaxError in"),
        ("import os; os.environ['NO_SUCH_VARIABLE']", "KeyError", "Probably the variable NO_SUCH_VARIABLE is missing"),
    ],
    ids=["syntax", "variable"],
)
def test_a_version_that_cannot_run_leaves_the_one_before(
    stack: Stack, application: Path, text: str, said: str, cause: str
) -> None:
    before, code = answer(stack), (application / "app.py").read_text()
    (application / "app.py").write_text(text)
    try:
        with pytest.raises(UnhealthyError) as failed:
            stack.up()
    finally:
        (application / "app.py").write_text(code)

    assert (failed.value.exit_code, said in failed.value.evidence) == (8, True)
    assert cause in failed.value.hint
    assert wait_until(lambda: answers(stack) == before, SOON)


def test_one_that_listens_elsewhere_is_told(stack: Stack, application: Path) -> None:
    before, description = answer(stack), (application / "fastzero.toml").read_text()
    command = 'command = "python -m uvicorn app:app --port 9000"'
    (application / "fastzero.toml").write_text(description.replace('asgi = "app:app"', command))
    try:
        with pytest.raises(UnhealthyError, match="web is not ready") as failed:
            stack.up(timeout=20)
    finally:
        (application / "fastzero.toml").write_text(description)

    assert "it listens on port 9000" in failed.value.hint
    assert wait_until(lambda: answers(stack) == before, SOON)


def test_without_a_dockerfile_fastzero_makes_one(stack: Stack, application: Path) -> None:
    before = answer(stack)
    (application / "Dockerfile").unlink()
    (application / "requirements.txt").write_text("uvicorn\nalembic\npsycopg[binary]\nsqlalchemy<2.1\n")
    description = (application / "fastzero.toml").read_text()
    describe(application, '\n[application.container]\nwritable = ["/tmp", "/srv"]\n')
    try:
        after = answer(stack.up(timeout=SOON * 3))
        written = stack.execute("web", ["touch", "/srv/written"])
    finally:
        (application / "Dockerfile").write_text(DOCKERFILE)
        (application / "fastzero.toml").write_text(description)
        stack.up(timeout=SOON * 3)

    assert written == 0, "the image has the folder, and it belongs to root there"
    assert after["prefix"] == "/venv"
    assert {**after, "prefix": ""} == {**before, "prefix": ""}
