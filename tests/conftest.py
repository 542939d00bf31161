"""What every test may lean on: a throw-away PostgreSQL, databases of its own, and an environment that is nobody's.

- `database_url`: a migrated database for one test alone, cloned from a template and dropped afterwards.
- `empty_database_url`: the same without any schema.
- `fz`: a FastZero in its block on `database_url`, undone at the end. `ana`: a User in it.
- `folder`: an empty folder that any user may enter, PostgreSQL's too; deleted afterwards.
- `migrations_copy`: the migrations in a folder where a test may change them.
- Always on: no FASTZERO_* in the environment, HOME, FASTZERO_HOME and the working directory empty folders, and
  password hashes that cost nothing.

The server is one for the whole session, shared by xdist's workers: the first test that needs it starts it, and the
process that began the session stops it. It is a container where a Docker Engine answers, else the embedded runtime;
FASTZERO_TEST_SERVER=docker|embedded decides instead. Tests marked `docker` are skipped without an engine;
FASTZERO_REQUIRE_DOCKER=1 makes that a failure.
"""

import gc
import json
import os
import secrets
import shutil
import socket
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis
import psycopg
import pytest
from filelock import FileLock
from sqlalchemy.engine import make_url

from fastzero_core import FastZero, User, revisions

IMAGE = "postgres:18"
ROLE = TEMPLATE = "fastzero"
IN_MEMORY = Path("/dev/shm")
PLACE = "_FASTZERO_TEST_SESSION"  # the session's folder, handed to workers through the environment
THROW_AWAY = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "autovacuum": "off",
}
FOREIGN = {"DATABASE_URL", "SECRET_KEY", "ALGORITHM", "ACCESS_TOKEN_EXPIRE_MINUTES", "NO_COLOR", "FORCE_COLOR"}
CHOSEN_SERVER = os.environ.get("FASTZERO_TEST_SERVER", "")
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
    # The plugin's own collecting, which no test here uses, fails under pytest 9.2; its tests are imported instead.
    config.pluginmanager.set_blocked("pytest-alembic")
    if not hasattr(config, "workerinput"):
        os.environ[PLACE] = str(_new_folder("fastzero-tests-"))


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput") and PLACE in os.environ:
        place = Path(os.environ.pop(PLACE))
        _stop_server(place)
        shutil.rmtree(place, ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("docker") and not docker_answers():
        if DOCKER_IS_REQUIRED:
            pytest.fail("FASTZERO_REQUIRE_DOCKER=1, and no Docker Engine answers")
        pytest.skip("no Docker Engine answers")


@cache
def docker_answers() -> bool:
    # A client that is refused leaves its socket to the garbage collector, which would blame some test for it.
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        answers = _ping()
        gc.collect()
    return answers


def _ping() -> bool:
    import docker

    try:
        client = docker.from_env(timeout=5)
    except docker.errors.DockerException:
        return False
    try:
        return bool(client.ping())
    except (docker.errors.DockerException, OSError):
        return False
    finally:
        client.close()


# -- the server ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def server_url() -> str:
    """The maintenance database of the session's server, whose role may do everything."""
    place = Path(os.environ[PLACE])
    record = place / "server.json"
    with FileLock(place / "server.lock"):
        if not record.exists():
            _start_server(place)
        return str(json.loads(record.read_text())["url"])


def _start_server(place: Path) -> None:
    if CHOSEN_SERVER not in ("", "docker", "embedded"):
        pytest.fail(f"FASTZERO_TEST_SERVER is docker or embedded, not {CHOSEN_SERVER!r}")
    must_be_docker = CHOSEN_SERVER == "docker" or (DOCKER_IS_REQUIRED and not CHOSEN_SERVER)
    if must_be_docker and not docker_answers():
        pytest.fail("the tests' server must be a container, and no Docker Engine answers")
    if must_be_docker or (not CHOSEN_SERVER and docker_answers() and _has_image()):
        url, container = _start_container()
    else:
        url, container = _embedded(place).up(port=_free_port()).database_url, None
    (place / "server.json").write_text(json.dumps({"url": on(url, "postgres"), "container": container}))


def _has_image() -> bool:
    """An engine without the image, on a machine that cannot pull it, is as good as none."""
    import docker

    client = docker.from_env()
    try:
        with suppress(docker.errors.ImageNotFound):
            return bool(client.images.get(IMAGE))
        return bool(client.images.pull(IMAGE))
    except docker.errors.APIError:
        return False
    finally:
        client.close()


def _start_container() -> tuple[str, str]:
    # The reaper would end the server together with the worker that started it.
    os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"
    from testcontainers.core.container import DockerContainer

    from fastzero_core import migrate
    from fastzero_core.stack.process import wait_until

    password = secrets.token_hex(16)
    options = [part for name, value in THROW_AWAY.items() for part in ("-c", f"{name}={value}")]
    container = (
        DockerContainer(IMAGE)
        .with_env("POSTGRES_USER", ROLE)
        .with_env("POSTGRES_PASSWORD", password)
        .with_env("POSTGRES_INITDB_ARGS", "--locale-provider=builtin --builtin-locale=C.UTF-8 --no-sync")
        .with_exposed_ports(5432)
        .with_tmpfs_mount("/var/lib/postgresql")
        .with_command(options)
        .start()
    )
    try:
        host, port = container.get_container_host_ip(), container.get_exposed_port(5432)
        url = f"postgresql://{ROLE}:{password}@{host}:{port}/{TEMPLATE}"
        # The server of the initialisation does not listen on TCP: who answers is the final one.
        assert wait_until(lambda: _answers(url), 60), container.get_logs()
        migrate.up(url)
    except BaseException:
        container.stop()
        raise
    return url, str(container.get_wrapped_container().id)


def _stop_server(place: Path) -> None:
    record = place / "server.json"
    container = json.loads(record.read_text())["container"] if record.exists() else None
    if container:
        import docker

        client = docker.from_env()
        client.containers.get(container).remove(force=True, v=True)
        client.close()
    elif (place / "home").exists():
        _embedded(place).down(volumes=True)


def _embedded(place: Path) -> Any:
    from fastzero_core import Stack, load_settings

    home = place / "home"
    return Stack(load_settings(project="tests", home=home, runtime="embedded", app=False, postgres_settings=THROW_AWAY))


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _free_port() -> int:
    # Not the default port: tests of the stack want to find that one free.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def on(url: str, database: str) -> str:
    return make_url(url).set(database=database).render_as_string(hide_password=False)


# -- databases -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def _maintenance(server_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def database_url(_maintenance: psycopg.Connection, server_url: str) -> Iterator[str]:
    with a_database(_maintenance, TEMPLATE) as name:
        yield on(server_url, name)


@pytest.fixture
def empty_database_url(_maintenance: psycopg.Connection, server_url: str) -> Iterator[str]:
    with a_database(_maintenance, "template1") as name:
        yield on(server_url, name)


class a_database:
    """A database of its own for one block."""

    def __init__(self, maintenance: psycopg.Connection, template: str) -> None:
        self._maintenance, self._template = maintenance, template
        self._name = f"test_{secrets.token_hex(8)}"

    def __enter__(self) -> str:
        # Without fsync, copying files takes half of what writing them to the log as well takes.
        self._maintenance.execute(f"CREATE DATABASE {self._name} TEMPLATE {self._template} STRATEGY FILE_COPY")
        return self._name

    def __exit__(self, *_: object) -> None:
        self._maintenance.execute(f"DROP DATABASE IF EXISTS {self._name} WITH (FORCE)")


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
    path = _new_folder(dir=os.environ[PLACE])
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(autouse=True)
def isolated_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in os.environ:
        if name.startswith("FASTZERO_") or name in FOREIGN:
            monkeypatch.delenv(name)
    home = _new_folder(dir=os.environ[PLACE])
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
    monkeypatch.setattr("fastzero_core.passwords._hasher", lambda cost: hasher)


def _new_folder(prefix: str = "", dir: str | None = None) -> Path:
    """An empty folder in memory where the machine allows it; PostgreSQL may run as another user, and enters it."""
    if dir is None and IN_MEMORY.is_dir() and os.access(IN_MEMORY, os.W_OK):
        dir = str(IN_MEMORY)
    path = Path(tempfile.mkdtemp(prefix=prefix, dir=dir))
    path.chmod(0o755)
    return path
