"""A pytest plugin: a migrated PostgreSQL database of its own for each test, in milliseconds. Installed with fastzero.

- `fastzero_database_url`: a database at head, cloned from a template and dropped behind the test.
- `fz`: a FastZero on it whose operations commit by themselves, so that an app under test sees them.
- `fastzero_server_url`: the maintenance database of the session's server, whose role may do everything.

Where the folder that the tests run in, or one above it up to pytest's root, describes an application of your own, the
template is what its own migrations make, and `fz` is of no use.

The server is one for the whole session, shared by xdist's workers: the first test that asks for a database starts it,
and the process that began the session stops it. It is a container where a Docker Engine answers and testcontainers is
installed, else a local process; FASTZERO_TEST_SERVER=docker|embedded decides instead. For an application of your own it
is a local process. It keeps its data in memory and takes no care of it. Nothing but the standard library is loaded
until a test asks for a database.
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
IN_MEMORY = Path("/dev/shm")  # noqa: S108 - of names that nobody can guess, in folders of their own
PLACE = "_FASTZERO_TEST_SESSION"  # the session's folder, handed to workers through the environment
PATIENCE = 60  # seconds for a container to answer
_OUTER = pytest.StashKey[str | None]()
_CHOSEN = pytest.StashKey[str]()


# -- the session -----------------------------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_CHOSEN] = os.environ.get(CHOICE, "")  # before a test changes it
    if not hasattr(config, "workerinput"):  # which xdist gives to its workers
        config.stash[_OUTER] = os.environ.get(PLACE)
        os.environ[PLACE] = str(_memory() / f"fastzero-tests-{secrets.token_hex(8)}")


def pytest_unconfigure(config: pytest.Config) -> None:
    if _OUTER not in config.stash:
        return
    place = Path(os.environ[PLACE])
    if place.exists():
        _stop_server(place)
    for folder in (place, _open_beside(place)):
        shutil.rmtree(folder, ignore_errors=True)
    del os.environ[PLACE]
    if config.stash[_OUTER] is not None:
        os.environ[PLACE] = str(config.stash[_OUTER])


def session_folder() -> Path:
    """A folder of the session that any user may enter but not list, PostgreSQL's too; it is gone in the end."""
    return _made(_open_beside(Path(os.environ[PLACE])), 0o711)


def _private_folder() -> Path:
    """A folder of the session for this user alone: it holds the URL of the server, whose role may do everything."""
    return _made(Path(os.environ[PLACE]), 0o700)


def _open_beside(place: Path) -> Path:
    return place.with_name(f"{place.name}-open")


def _made(folder: Path, mode: int) -> Path:
    """A folder of this user's that exists by now. One that somebody else has made is not used."""
    try:
        folder.mkdir(0o700)
        folder.chmod(mode)
    except FileExistsError:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            pytest.fail(f"{folder} was not made by this user's tests")
    return folder


def _memory() -> Path:
    usable = IN_MEMORY.is_dir() and os.access(IN_MEMORY, os.W_OK)
    return IN_MEMORY if usable else Path(tempfile.gettempdir())


# -- fixtures --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def fastzero_server_url(pytestconfig: pytest.Config) -> str:
    """The maintenance database of the session's server, whose role may do everything."""
    from filelock import FileLock

    place = _private_folder()
    record = place / "server.json"
    with FileLock(place / "server.lock", mode=0o600):
        if not record.exists():
            _start_server(place, pytestconfig.stash[_CHOSEN], _application_folder(pytestconfig))
        return str(json.loads(record.read_text(encoding="utf-8"))["url"])


@pytest.fixture(scope="session")
def fastzero_databases(fastzero_server_url: str) -> "Iterator[Databases]":
    """Makes the session's databases, and drops them."""
    with closing(Databases(fastzero_server_url)) as databases:
        yield databases


@pytest.fixture
def fastzero_database_url(fastzero_databases: "Databases") -> Iterator[str]:
    """A database at head for one test alone."""
    with fastzero_databases.throw_away() as url:
        yield url


@pytest.fixture
def fz(fastzero_database_url: str) -> "Iterator[FastZero]":
    """The operations on the test's database, each committed by itself."""
    from .todo_app.fastzero import FastZero

    with FastZero(fastzero_database_url, autocommit=True) as fz:
        yield fz


# -- databases -------------------------------------------------------------------------------------------------


class Databases:
    """Makes throw-away databases on one server: each while the test before it runs, and drops it while the next does.

    Making and dropping are sessions of their own, each in a thread, so that one does not wait for the other.
    """

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url
        self._making, self._dropping = _Session(server_url), _Session(server_url)
        self._ahead: dict[str, tuple[str, Future[object]]] = {}  # one of each template, for the next test
        self._drops: list[Future[object]] = []

    @contextmanager
    def throw_away(self, template: str = TEMPLATE) -> Iterator[str]:
        """The URL of a database for one block, made from another which nobody uses or changes."""
        from .postgres.database import url_of

        name, made = self._ahead.pop(template) if template in self._ahead else self._make(template)
        self._ahead[template] = self._make(template)
        made.result()
        try:
            yield url_of(self._server_url, name)
        finally:
            self._drop(name)

    def close(self) -> None:
        """Wait until all are dropped. Raises what went wrong there."""
        self._making.close()
        for name, _ in self._ahead.values():
            self._drop(name)
        self._dropping.close()
        for drop in self._drops:
            drop.result()

    def _make(self, template: str) -> "tuple[str, Future[object]]":
        name = f"test_{secrets.token_hex(8)}"
        # Without fsync, copying files takes half of what writing them to the log as well takes.
        return name, self._making.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")

    def _drop(self, name: str) -> None:
        self._drops.append(self._dropping.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))


class _Session:
    """A session of the server with a thread of its own: one statement behind another, while the caller goes on."""

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
    """The folder that describes an application of the user's own, None for none."""
    from .stack.session import described_in

    here = config.invocation_params.dir
    above = [folder for folder in here.parents if folder.is_relative_to(config.rootpath)]
    return next((folder for folder in (here, *above) if described_in(folder)), None)


def _start_server(place: Path, chosen: str, application: Path | None) -> None:
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
    # Not every driver knows every option of libpq's.
    plain = url_of(url, "postgres", require_auth=False)
    write_atomically(place / "server.json", json.dumps({"url": plain, "container": container}))


def _of_application(folder: Path, chosen: str) -> str:
    """Start a server with what the migrations of an application make. Returns its URL."""
    if chosen == "docker":
        pytest.fail(f"the migrations of your own application run beside a local server: unset {CHOICE}")
    with chdir(folder):
        return _started()


def _started() -> str:
    url = _embedded().up(port=_free_port(), after_migrate=False).superuser_url
    _take_over(url)
    return url


def _take_over(url: str) -> None:
    """Have the template belong to the role that tests use, as everything does that they make."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"REASSIGN OWNED BY {ROLE} TO CURRENT_USER".encode())


def _make_logins_cheap(url: str) -> None:
    """Hash the role's password once instead of 4096 times: every connection computes the same again."""
    import psycopg
    from psycopg import sql

    from .postgres.database import parse_url

    parsed = parse_url(url)
    with psycopg.connect(url, autocommit=True) as connection:
        if connection.info.server_version >= 160_000:  # the first that has the setting
            connection.execute("SET scram_iterations = 1")
            role, password = sql.Identifier(parsed.username or ""), sql.Literal(parsed.password or "")
            connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, password))


def _wants_container(chosen: str) -> bool:
    if chosen not in ("", *SERVERS):
        pytest.fail(f"{CHOICE} is {' or '.join(SERVERS)}, not {chosen!r}")
    if chosen == "docker" and not docker_answers():
        pytest.fail("the tests' server must be a container, and no Docker Engine answers")
    if chosen == "docker" and not _has_testcontainers():
        pytest.fail("the tests' server must be a container, and testcontainers is not here: pip install testcontainers")
    return chosen == "docker" or (not chosen and docker_answers() and _has_testcontainers() and _has_image())


@cache
def docker_answers() -> bool:
    """Whether a Docker Engine is there for us."""
    import gc
    import warnings

    from .stack.docker.engine import answers

    # A client that is refused leaves its socket to the garbage collector, which would blame some test for it.
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        answer = answers()
        gc.collect()
    return answer


def _has_testcontainers() -> bool:
    from importlib.util import find_spec

    return find_spec("testcontainers") is not None


def _has_image() -> bool:
    """An engine without the image is as good as none: to pull it takes longer than to do without."""
    from .stack.docker.engine import connect

    client = connect()
    try:
        return bool(client.images.list(name=IMAGE))
    finally:
        client.close()


def _start_container() -> tuple[str, str]:
    # The reaper would end the server together with the worker that started it.
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
        # The server of the initialisation does not listen on TCP: who answers is the final one.
        if not wait_until(lambda: _answers(url), PATIENCE):
            pytest.fail(f"the tests' server does not answer: {container.get_logs()}")
        migrate.up(url)
    except BaseException:
        container.stop()
        raise
    return url, str(container.get_wrapped_container().id)


def _stop_server(place: Path) -> None:
    record = place / "server.json"
    container = json.loads(record.read_text(encoding="utf-8"))["container"] if record.exists() else None
    if container:
        from .stack.docker.engine import connect

        client = connect()
        client.containers.get(container).remove(force=True, v=True)
        client.close()
    elif _home().exists():
        _embedded().down(volumes=True)


def _home() -> Path:
    """Where the embedded server is. Root's runs as another user, who must get at its data."""
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
    # Not the default port: tests of a stack want to find that one free.
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
