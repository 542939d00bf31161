"""The pytest plugin as another project uses it: installed, outside of this checkout, in parallel."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.stack.own_app import add_revision, describe, make_environment, write_application

pytestmark = pytest.mark.slow

THEIR_TESTS = """
from pathlib import Path

import psycopg
import pytest

from fastzero_core import FastZero
from fastzero_core.todo_app.passwords import PasswordHash, hash_password

PASSWORD = PasswordHash(hash_password("correct horse"))  # once: it takes longer than the database

@pytest.mark.parametrize("number", range(20))
def test_each_test_has_a_database_of_its_own(fastzero_database_url, fz, number):
    assert fz.users.list() == []
    fz.users.add("ana", email="ana@example.com", password=PASSWORD)
    with FastZero(fastzero_database_url) as other:
        assert [user.username for user in other.users.list()] == ["ana"]

@pytest.fixture(scope="session")
def sessions():
    opened = []
    yield opened
    for session in opened:
        session.close()

def test_a_session_that_stays_open_is_no_hindrance(fastzero_database_url, sessions):
    sessions.append(psycopg.connect(fastzero_database_url))
    sessions[0].execute("SELECT 1")
    Path("server").write_text(fastzero_database_url)
"""
SEEN_BY_OTHERS = """
import os
import stat
from pathlib import Path

def test_only_this_user_reads_the_url_of_the_server(fastzero_server_url):
    place = Path(os.environ["_FASTZERO_TEST_SESSION"])
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in place.iterdir() if path.is_file()} == {
        "server.json": 0o600, "server.lock": 0o600
    }
    for folder in place.parent.glob(f"{place.name}*"):
        readable = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_mode & 0o077]
        assert not [path for path in readable if fastzero_server_url in path.read_text(errors="replace")]
"""
PREPARED = """
import os
from pathlib import Path

place = Path(os.environ["_FASTZERO_TEST_SESSION"])
place.mkdir()
if os.geteuid() == 0:
    os.chown(place, 65534, 65534)
else:
    place.chmod(0o777)

def test_it(fastzero_server_url): pass
"""
LOADED = """
import sys

def test_nothing_heavy_is_loaded():
    heavy = {"sqlalchemy", "psycopg", "docker", "alembic", "pydantic", "testcontainers", "psutil"}
    assert heavy & {name.partition(".")[0] for name in sys.modules} == set()
"""

OF_AN_APPLICATION = """
import psycopg
import pytest

@pytest.mark.parametrize("number", range(3))
def test_each_test_has_a_copy_of_what_its_migrations_made(fastzero_database_url, number):
    with psycopg.connect(fastzero_database_url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname IN ('public', 'shop')").fetchall()
        assert {name for (name,) in tables} == {"notes", "alembic_version", "items"}
        assert connection.execute("SELECT count(*) FROM notes").fetchone() == (0,)
        connection.execute("INSERT INTO notes VALUES ('a note')")
        connection.execute("INSERT INTO shop.items VALUES ('an item')")
"""


@pytest.fixture
def project(folder: Path) -> Path:
    """A project that is nobody's."""
    (folder / "pyproject.toml").write_text("[tool.pytest.ini_options]\nfilterwarnings = ['error']\n")
    return folder


def _pytest(project: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    # Without plugins that this environment has and the project does not use: they take seconds to load.
    unused = ("-p", "no:randomly", "-p", "no:schemathesis", "-p", "no:pytest-alembic", "-p", "no:hypothesispytest")
    command = [sys.executable, "-m", "pytest", "-q", *unused, *arguments]
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "_FASTZERO"))}
    return subprocess.run(command, cwd=project, env={**outside, **variables}, capture_output=True, text=True)


@pytest.mark.parametrize("workers", ["0", "2"])
def test_the_tests_of_another_project_have_their_databases(project: Path, workers: str) -> None:
    (project / "test_theirs.py").write_text(THEIR_TESTS)
    done = _pytest(project, "-n", workers, FASTZERO_TEST_SERVER="embedded")
    assert "21 passed" in done.stdout, done.stdout + done.stderr
    with pytest.raises(psycopg.OperationalError, match="refused"):
        psycopg.connect((project / "server").read_text(), connect_timeout=5)


def test_nobody_else_can_read_the_url_of_the_server(project: Path) -> None:
    (project / "test_theirs.py").write_text(SEEN_BY_OTHERS)
    done = _pytest(project, FASTZERO_TEST_SERVER="embedded")
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_a_folder_that_somebody_else_has_prepared_is_not_used(project: Path) -> None:
    (project / "test_theirs.py").write_text(PREPARED)
    done = _pytest(project, FASTZERO_TEST_SERVER="embedded")
    assert "was not created by this user's tests" in done.stdout, done.stdout + done.stderr


@pytest.mark.docker
def test_the_server_is_a_container_where_that_is_chosen(project: Path) -> None:
    (project / "test_theirs.py").write_text(THEIR_TESTS)
    done = _pytest(project, FASTZERO_TEST_SERVER="docker")
    assert "21 passed" in done.stdout, done.stdout + done.stderr


def test_a_project_that_asks_for_no_database_pays_for_none(project: Path) -> None:
    (project / "test_theirs.py").write_text(LOADED)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "fastzero_core.testing"]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # what others load is not ours to tell
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_a_server_that_is_none_is_told(project: Path) -> None:
    (project / "test_theirs.py").write_text("def test_it(fz): pass")
    assert (
        "invalid FASTZERO_TEST_SERVER 'nowhere': use docker or embedded"
        in _pytest(project, FASTZERO_TEST_SERVER="nowhere").stdout
    )


@pytest.mark.docker
def test_a_container_without_what_starts_it_is_told(project: Path) -> None:
    (project / "conftest.py").write_text("import sys\nsys.modules['testcontainers'] = None\n")
    (project / "test_theirs.py").write_text("def test_it(fz): pass")
    assert "pip install testcontainers" in _pytest(project, FASTZERO_TEST_SERVER="docker").stdout


@pytest.fixture
def application(project: Path) -> Path:
    """A project with an application of its own, whose tests lie in a folder of it."""
    write_application(project, 8000)
    make_environment(project)
    describe(project, '\n[application.database]\nextensions = ["citext"]\nschemas = ["shop"]\n')
    add_revision(project, "0002", "0001", up="CREATE TABLE shop.items (name citext)")
    (project / "tests").mkdir()
    (project / "tests" / "test_theirs.py").write_text(OF_AN_APPLICATION)
    return project


def test_an_application_of_ones_own_has_its_own_schema(application: Path) -> None:
    done = _pytest(application / "tests", "-n", "2", FASTZERO_TRUST="1")
    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_an_application_of_ones_own_is_not_run_before_it_is_trusted(application: Path) -> None:
    done = _pytest(application, FASTZERO_TRUST="")
    assert "this folder is not trusted" in done.stdout, done.stdout + done.stderr


def test_a_container_for_an_application_of_ones_own_is_refused(application: Path) -> None:
    done = _pytest(application, FASTZERO_TRUST="1", FASTZERO_TEST_SERVER="docker")
    assert "unset FASTZERO_TEST_SERVER" in done.stdout, done.stdout + done.stderr
