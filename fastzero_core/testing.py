"""A pytest plugin, installed with fastzero: gives each test its own migrated PostgreSQL database, in milliseconds.

- `fastzero_database_url`: a database at head, cloned from a template and dropped after the test.
- `fz`: a FastZero on that database whose operations commit immediately, so that an app under test sees them.
- `fastzero_server_url`: the maintenance database of the session's server, with a superuser.

If the folder that the tests run in, or one above it up to pytest's root, describes your own application, the template
has the schema of its own migrations, and `fz` cannot be used.

One server serves the whole session, shared by xdist's workers. The first test that uses a database starts it, and the
process that began the session stops it. It is a container if a Docker Engine answers and testcontainers is installed,
else a local process; FASTZERO_TEST_SERVER=docker|embedded overrides this. It keeps its data in memory, without
durability. For your own application it is a local process. Only the standard library is imported until a test uses a
database.
"""

import json
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import chdir, closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from concurrent.futures import Future

    from .stack.stack import Stack
    from .todo_app.fastzero import FastZero

IMAGE = "postgres:18"
ROLE = TEMPLATE = "fastzero"
CHOICE = "FASTZERO_TEST_SERVER"
SERVERS = ("docker", "embedded")
IN_MEMORY = Path("/dev/shm")  # noqa: S108 - the names are random, and each folder is private
SESSION = "_FASTZERO_TEST_SESSION"  # the session's folder, passed to workers through the environment
START_TIMEOUT = 60  # seconds for a container to answer
_OUTER = pytest.StashKey[str | None]()
_CHOSEN = pytest.StashKey[str]()


# -- the session -----------------------------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_CHOSEN] = os.environ.get(CHOICE, "")  # before a test can change it
    if not hasattr(config, "workerinput"):  # which only xdist's workers have
        config.stash[_OUTER] = os.environ.get(SESSION)
        os.environ[SESSION] = str(_memory() / f"fastzero-tests-{secrets.token_hex(8)}")


def pytest_unconfigure(config: pytest.Config) -> None:
    if _OUTER not in config.stash:
        return
    private = Path(os.environ[SESSION])
    if private.exists():
        _stop_server(private)
    for folder in (private, _shared(private)):
        shutil.rmtree(folder, ignore_errors=True)
    del os.environ[SESSION]
    if config.stash[_OUTER] is not None:
        os.environ[SESSION] = str(config.stash[_OUTER])


def session_folder() -> Path:
    """Return a folder that is deleted with the session. All users, such as PostgreSQL's, may enter but not list it."""
    return _created(_shared(Path(os.environ[SESSION])), 0o711)


def _private_folder() -> Path:
    """Return a folder of the session for this user only: it contains the URL of the server's superuser."""
    return _created(Path(os.environ[SESSION]), 0o700)


def _shared(private: Path) -> Path:
    return private.with_name(f"{private.name}-open")


def _created(folder: Path, mode: int) -> Path:
    """Create a folder unless it exists. Fail if another user has created it or can write to it."""
    try:
        folder.mkdir(0o700)
        folder.chmod(mode)
    except FileExistsError:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            pytest.fail(f"{folder} was not created by this user's tests")
    return folder


def _memory() -> Path:
    usable = IN_MEMORY.is_dir() and os.access(IN_MEMORY, os.W_OK)
    return IN_MEMORY if usable else Path(tempfile.gettempdir())


# -- fixtures --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def fastzero_server_url(pytestconfig: pytest.Config) -> str:
    """The URL of the maintenance database of the session's server, with a superuser."""
    from .files import locked

    folder = _private_folder()
    record = folder / "server.json"
    with locked(folder / "server.lock"):
        if not record.exists():
            _start_server(folder, pytestconfig.stash[_CHOSEN], _application_folder(pytestconfig))
        return str(json.loads(record.read_text(encoding="utf-8"))["url"])


@pytest.fixture(scope="session")
def fastzero_databases(fastzero_server_url: str) -> "Iterator[Databases]":
    """Creates and drops the session's databases."""
    with closing(Databases(fastzero_server_url)) as databases:
        yield databases


@pytest.fixture
def fastzero_database_url(fastzero_databases: "Databases") -> Iterator[str]:
    """The URL of a database at head, for this test only."""
    with fastzero_databases.temporary() as url:
        yield url


@pytest.fixture
def fz(fastzero_database_url: str) -> "Iterator[FastZero]":
    """A FastZero on the test's database; each operation commits immediately."""
    from .todo_app.fastzero import FastZero

    with FastZero(fastzero_database_url, autocommit=True) as fz:
        yield fz


# -- databases -------------------------------------------------------------------------------------------------


class Databases:
    """Creates temporary databases on one server.

    Each is created while the test before it runs, and dropped while the next one runs. Creating and dropping use a
    session and a thread each, so that they do not wait for each other.
    """

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url
        self._creating, self._dropping = _Session(server_url), _Session(server_url)
        self._next: dict[str, tuple[str, Future[object]]] = {}  # by template: the database for the next test
        self._drops: list[Future[object]] = []

    @contextmanager
    def temporary(self, template: str = TEMPLATE) -> Iterator[str]:
        """Yield the URL of a database for the block, cloned from a template that no session uses or changes."""
        from .postgres.database import url_of

        name, created = self._next.pop(template) if template in self._next else self._create(template)
        self._next[template] = self._create(template)
        created.result()
        try:
            yield url_of(self._server_url, name)
        finally:
            self._drop(name)

    def close(self) -> None:
        """Drop all databases and wait until that is done. Raises any error of it."""
        self._creating.close()
        for name, _ in self._next.values():
            self._drop(name)
        self._dropping.close()
        for drop in self._drops:
            drop.result()

    def _create(self, template: str) -> "tuple[str, Future[object]]":
        name = f"test_{secrets.token_hex(8)}"
        # Without fsync, copying files takes half the time of the WAL_LOG strategy.
        return name, self._creating.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")

    def _drop(self, name: str) -> None:
        self._drops.append(self._dropping.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))


class _Session:
    """A database session with its own thread, which runs statements one after another in the background."""

    def __init__(self, url: str) -> None:
        from concurrent.futures import ThreadPoolExecutor

        import psycopg

        self._connection = psycopg.connect(url, autocommit=True)
        self._thread = ThreadPoolExecutor(max_workers=1)

    def execute(self, statement: str) -> "Future[object]":
        return self._thread.submit(self._connection.execute, statement.encode())

    def close(self) -> None:
        self._thread.shutdown()
        self._connection.close()


# -- the server ------------------------------------------------------------------------------------------------


def _application_folder(config: pytest.Config) -> Path | None:
    """Return the folder that describes the user's own application, None if there is none."""
    from .stack.described import described_in

    here = config.invocation_params.dir
    above = [folder for folder in here.parents if folder.is_relative_to(config.rootpath)]
    return next((folder for folder in (here, *above) if described_in(folder)), None)


def _start_server(folder: Path, chosen: str, application: Path | None) -> None:
    from .files import write_atomically
    from .postgres.url import url_of

    container = None
    if application:
        url = _of_application(application, chosen)
    elif _wants_container(chosen):
        url, container = _start_container()
    else:
        url = _started()
    _make_logins_cheap(url)
    # Not every driver supports every libpq option.
    plain = url_of(url, "postgres", require_auth=False)
    write_atomically(folder / "server.json", json.dumps({"url": plain, "container": container}))


def _of_application(folder: Path, chosen: str) -> str:
    """Start a server whose template has the schema of an application's own migrations. Return its URL."""
    if chosen == "docker":
        pytest.fail(f"the migrations of your own application run beside a local server: unset {CHOICE}")
    with chdir(folder):
        return _started()


def _started() -> str:
    url = _embedded().up(port=_free_port(), after_migrate=False).superuser_url
    _take_over(url)
    return url


def _take_over(url: str) -> None:
    """Make the tests' role the owner of the template, as it is of everything that tests create."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"REASSIGN OWNED BY {ROLE} TO CURRENT_USER".encode())


def _make_logins_cheap(url: str) -> None:
    """Use 1 SCRAM iteration instead of 4096 for the role's password, since every connection repeats them."""
    import psycopg
    from psycopg import sql

    from .postgres.database import parse_url

    parsed = parse_url(url)
    with psycopg.connect(url, autocommit=True) as connection:
        if connection.info.server_version >= 160_000:  # older versions do not have the setting
            connection.execute("SET scram_iterations = 1")
            role, password = sql.Identifier(parsed.username or ""), sql.Literal(parsed.password or "")
            connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, password))


def _wants_container(chosen: str) -> bool:
    if chosen not in ("", *SERVERS):
        pytest.fail(f"invalid {CHOICE} {chosen!r}: use {' or '.join(SERVERS)}")
    if chosen == "docker" and not docker_answers():
        pytest.fail(f"{CHOICE}=docker requires a Docker Engine, and none answers")
    if chosen == "docker" and not _has_testcontainers():
        pytest.fail(f"{CHOICE}=docker requires testcontainers: pip install testcontainers")
    return chosen == "docker" or (not chosen and docker_answers() and _has_testcontainers() and _has_image())


@cache
def docker_answers() -> bool:
    """Return whether a Docker Engine answers and accepts this user."""
    import gc
    import warnings

    from .stack.docker.engine import answers

    # A refused client leaves its socket to the garbage collector, whose warning would fail an unrelated test.
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        answer = answers()
        gc.collect()
    return answer


def _has_testcontainers() -> bool:
    from importlib.util import find_spec

    return find_spec("testcontainers") is not None


def _has_image() -> bool:
    """Return whether the engine has the image. Pulling it would take longer than using a local process."""
    from .stack.docker.engine import connect

    client = connect()
    try:
        return bool(client.images.list(name=IMAGE))
    finally:
        client.close()


def _start_container() -> tuple[str, str]:
    # The reaper would stop the server when the worker that started it ends.
    os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"
    from testcontainers.core.container import DockerContainer

    from .polling import wait_until
    from .postgres.configuration import INITDB_COMMON, THROW_AWAY, arguments, initdb_locale
    from .postgres.url import database_url
    from .schema import migrate
    from .stack.spec import major_of

    password = secrets.token_hex(16)
    locale = " ".join((*INITDB_COMMON, *initdb_locale(major_of(IMAGE)), "--no-sync"))
    container = (
        DockerContainer(IMAGE)
        .with_env("POSTGRES_USER", ROLE)
        .with_env("POSTGRES_PASSWORD", password)
        .with_env("POSTGRES_INITDB_ARGS", locale)
        .with_exposed_ports(5432)
        .with_tmpfs_mount("/var/lib/postgresql")
        .with_command(arguments(THROW_AWAY))
        .start()
    )
    try:
        host, port = container.get_container_host_ip(), container.get_exposed_port(5432)
        url = database_url(ROLE, password, host, int(port), TEMPLATE, require_auth="scram-sha-256")
        # During initialisation the server does not listen on TCP, so only the final one answers.
        if not wait_until(lambda: _answers(url), START_TIMEOUT):
            pytest.fail(f"the PostgreSQL server for tests does not answer: {container.get_logs()}")
        migrate.up(url)
    except BaseException:
        container.stop()
        raise
    return url, str(container.get_wrapped_container().id)


def _stop_server(folder: Path) -> None:
    record = folder / "server.json"
    container = json.loads(record.read_text(encoding="utf-8"))["container"] if record.exists() else None
    if container:
        from .stack.docker.engine import connect

        client = connect()
        client.containers.get(container).remove(force=True, v=True)
        client.close()
    elif _home().exists():
        _embedded().down(volumes=True)


def _home() -> Path:
    """Return the home of the embedded server. For root it runs as another user, who must be able to read it."""
    return (session_folder() if os.geteuid() == 0 else _private_folder()) / "home"


def _embedded() -> "Stack":
    from . import Stack, load_settings
    from .postgres.configuration import THROW_AWAY

    home = _home()
    flags = {"project": "tests", "home": home, "runtime": "embedded", "app": False}
    return Stack(load_settings(**flags, postgres_settings=THROW_AWAY))


def _answers(url: str) -> bool:
    import psycopg

    with suppress(psycopg.OperationalError):
        psycopg.connect(url, connect_timeout=2).close()
        return True
    return False


def _free_port() -> int:
    # Not the default port, which tests of a stack need.
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
