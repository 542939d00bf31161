"""`fastzero test`: an application's own tests, in its own environment, on databases that are gone afterwards."""

import shutil
import tempfile
from pathlib import Path

import pytest

from fastzero_core import load_settings
from fastzero_core.errors import (
    CommandNotFoundError,
    DependenciesMissingError,
    InvalidInputError,
    RevisionFailedError,
)
from fastzero_core.events import ignore
from fastzero_core.stack import suite
from tests.ports import any_free_port

from .own_app import add_revision, make_environment, write_application

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("trusted_folder")]

# Each test writes down which database it was on.
TESTS = """
import os, pathlib
import psycopg, pytest

@pytest.mark.parametrize("number", range(8))
def test_a_row(number):
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        connection.execute("INSERT INTO notes VALUES ('a row')")
        name = connection.info.dbname
    pathlib.Path("seen").mkdir(exist_ok=True)
    pathlib.Path("seen", f"{name}-{number}").touch()
"""

CONTAINERS = """
import psycopg
from testcontainers.{where}postgres import PostgresContainer

def test_an_empty_database():
    with PostgresContainer("postgres:16", driver=None) as postgres:
        with psycopg.connect(postgres.get_connection_url()) as connection:
            assert connection.execute("SELECT to_regclass('notes')").fetchone() == (None,)
            assert connection.info.dbname.startswith("suite_")
"""

REAL = """
import testcontainers.postgres

def test_it_is_the_real_one():
    assert testcontainers.postgres.PostgresContainer.__module__.startswith("testcontainers.")
"""


@pytest.fixture
def application(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The application's folder, where the test works."""
    made = write_application(folder / "application", any_free_port())
    make_environment(made)
    monkeypatch.chdir(made)
    return made


def run(*command: str) -> int:
    return suite.run_suite(load_settings(), ["pytest", "-q", "-p", "no:fastzero", *command], on_event=ignore)


def databases(application: Path) -> set[str]:
    return {path.name.rpartition("-")[0] for path in (application / "seen").iterdir()}


def test_it_runs_on_a_database_of_its_own_that_its_migrations_made(application: Path) -> None:
    (application / "test_it.py").write_text(TESTS)

    assert run() == 0

    [database] = databases(application)
    assert database.startswith("suite_")


def test_first_data_is_not_filled_in(application: Path) -> None:
    description = application / "fastzero.toml"
    text = description.read_text()
    description.write_text(text.replace("[application]", '[application]\nafter_migrate = "touch filled"', 1))
    (application / "test_it.py").write_text(TESTS)

    assert run() == 0

    assert not (application / "filled").exists()


def test_each_worker_has_a_database_of_its_own(application: Path) -> None:
    (application / "test_it.py").write_text(TESTS)

    assert run("-n", "2", "--dist", "each") == 0

    assert len(databases(application)) == 2


@pytest.mark.parametrize("where", ["", "community."])
def test_a_suite_that_starts_postgresql_by_testcontainers_gets_an_empty_database(application: Path, where: str) -> None:
    (application / "test_it.py").write_text(CONTAINERS.format(where=where))
    assert run() == 0


def test_containers_stay_containers_if_that_is_asked_for(application: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTZERO_SUITE_CONTAINERS", "1")
    (application / "test_it.py").write_text(REAL)
    assert run() == 0


def test_the_exit_code_is_that_of_the_suite_and_nothing_is_left(
    application: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (application / "test_it.py").write_text("def test_it(): assert False")
    monkeypatch.setattr(suite, "MEMORY", folder)

    assert run() == 1

    assert [path.name for path in folder.iterdir()] == ["application"]


def test_a_command_that_is_not_there_is_told(application: Path) -> None:
    with pytest.raises(CommandNotFoundError, match="nonsense"):
        suite.run_suite(load_settings(), ["nonsense"], on_event=ignore)


def test_pytest_of_another_environment_is_not_taken(application: Path) -> None:
    (application / ".venv/bin/pytest").unlink()
    with pytest.raises(DependenciesMissingError, match="has no pytest"):
        run()


def test_migrations_that_fail_are_told_before_a_test_runs(application: Path) -> None:
    add_revision(application, "0002", "0001", up="SELECT nonsense")
    with pytest.raises(RevisionFailedError):
        run()


def test_a_folder_without_an_application_has_no_suite(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(InvalidInputError, match="describes no application"):
        run()


def test_databases_are_on_disk_where_memory_is_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = shutil.disk_usage(tmp_path).free
    monkeypatch.setattr(suite, "ROOM", free * 2)
    assert suite._roomy(tmp_path) == Path(tempfile.gettempdir())
    monkeypatch.setattr(suite, "ROOM", 0)
    assert suite._roomy(tmp_path) == tmp_path
