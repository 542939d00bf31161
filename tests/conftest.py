"""What every test may lean on: throw-away databases, from fastzero's own plugin, and an environment that is nobody's.

- `database_url`: a migrated database for one test alone, cloned from a template and dropped afterwards.
- `empty_database_url`: the same without any schema.
- `fz`: a FastZero in its block on `database_url`, undone at the end. `ana`: a User in it.
- `folder`: an empty folder that any user may enter, PostgreSQL's too; deleted afterwards.
- `trusted_folder`: settings in the working directory's files need no consent of the user.
- `started_anew`: nothing is forked (tests/forked.py), so that a process's command line and environment are its own.
- `migrations_copy`: the migrations in a folder where a test may change them.
- Always on: no FASTZERO_* in the environment, HOME, FASTZERO_HOME and the working directory empty folders, and
  password hashes that cost nothing.

Which server the databases are on, `fastzero_core.testing` says. Tests marked `docker` are skipped without an engine;
FASTZERO_REQUIRE_DOCKER=1 makes that a failure.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import hypothesis
import pytest

from fastzero_core import FastZero, User, testing
from fastzero_core.schema import revisions
from tests import forked

FOREIGN = {
    "DATABASE_URL",
    "SECRET_KEY",
    "SECRET_KEY_PREVIOUS",
    "ALGORITHM",
    "ACCESS_TOKEN_EXPIRE_MINUTES",
    "NO_COLOR",
    "FORCE_COLOR",
}
DOCKER_IS_REQUIRED = os.environ.get("FASTZERO_REQUIRE_DOCKER") == "1"

# Databases make examples slow at times, and where an example was found is no file of this checkout.
hypothesis.settings.register_profile(
    "fastzero",
    deadline=None,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("fastzero")


# -- the session -----------------------------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    if DOCKER_IS_REQUIRED:
        os.environ.setdefault(testing.CHOICE, "docker")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """More than there are processors, since many tests wait: for a server, a process, or a limit."""
    return (os.cpu_count() or 1) + 2


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("docker") and not testing.docker_answers():
        if DOCKER_IS_REQUIRED:
            pytest.fail("FASTZERO_REQUIRE_DOCKER=1, and no Docker Engine answers")
        pytest.skip("no Docker Engine answers")


# -- databases -------------------------------------------------------------------------------------------------


@pytest.fixture
def database_url(fastzero_database_url: str) -> str:
    return fastzero_database_url


@pytest.fixture
def empty_database_url(fastzero_databases: testing.Databases) -> Iterator[str]:
    with fastzero_databases.temporary("template1") as url:
        yield url


class _EndOfTestError(Exception):
    """Undoes the block, which a test may have left in any state."""


@pytest.fixture
def fz(database_url: str) -> Iterator[FastZero]:
    with suppress(_EndOfTestError), FastZero(database_url) as fz:
        yield fz
        raise _EndOfTestError


@pytest.fixture
def ana(fz: FastZero) -> User:
    return fz.users.add("ana", email="ana@example.com", password="correct horse")


# -- the environment -------------------------------------------------------------------------------------------


@pytest.fixture
def folder() -> Iterator[Path]:
    path = _new_folder()
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(autouse=True)
def isolated_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in os.environ:
        if name.startswith("FASTZERO_") or name in FOREIGN:
            monkeypatch.delenv(name)
    home = _new_folder()
    for name, part in (
        ("HOME", "home"),
        ("XDG_CONFIG_HOME", "home/.config"),
        ("XDG_DATA_HOME", "home/.local/share"),
        ("XDG_STATE_HOME", "home/.local/state"),
        ("XDG_CACHE_HOME", "home/.cache"),
        ("FASTZERO_HOME", "fastzero"),
    ):
        monkeypatch.setenv(name, str(home / part))
    # The app is not what most tests are about, and takes a second to start; nor is which runtime is there.
    monkeypatch.setenv("FASTZERO_APP", "false")
    monkeypatch.setenv("FASTZERO_RUNTIME", "embedded")
    (home / "home").mkdir()
    (home / "work").mkdir()
    monkeypatch.chdir(home / "work")
    yield
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def trusted_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTZERO_TRUST", "1")


@pytest.fixture
def started_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that look at the command line or the environment of a process, as the system shows them."""
    monkeypatch.setattr(forked, "can_be_forked", lambda words, environment: False)


@pytest.fixture
def migrations_copy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The migrations in a folder where they may be changed, and where the code looks for them."""
    copy = folder / "migrations"
    shutil.copytree(revisions.folder(), copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(revisions, "folder", lambda: copy)
    revisions.head_revision.cache_clear()
    yield copy
    revisions.head_revision.cache_clear()


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    from argon2 import PasswordHasher

    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr("fastzero_core.todo_app.passwords._hasher", lambda cost: hasher)


def _new_folder() -> Path:
    """An empty folder, in memory where the machine allows it; PostgreSQL may run as another user, and enters it."""
    path = Path(tempfile.mkdtemp(dir=testing.session_folder()))
    path.chmod(0o755)
    return path
