"""Serve the app with uvicorn."""

import errno
import gc
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import uvicorn
from uvicorn.supervisors import Multiprocess

from ...credentials import app_url
from ...errors import (
    ConnectionLostError,
    DatabaseUnreachableError,
    FastZeroError,
    InvalidInputError,
    ReadOnlyDatabaseError,
    UnavailableError,
)
from ...events import Listener, Notice, ignore
from ...postgres import database
from ...postgres.url import clear_password
from ...project import database_url, secret_key
from ...settings import Settings
from ...stack.ports import taken_error
from ...stack.spec import APP_SERVICE
from ..tokens import checked_key, parse_keys
from . import logs
from .connection import Connection

if TYPE_CHECKING:
    from fastapi import FastAPI


DRAIN = 3  # seconds for requests in flight at shutdown; a complete shutdown takes at most 5
KEEP_ALIVE = 75  # seconds that a connection may be idle
RETRY = 1  # seconds between attempts to connect to the database
AWAY = (DatabaseUnreachableError, ConnectionLostError, ReadOnlyDatabaseError)  # it may come, or another become primary
# Seconds until a worker that does not answer is replaced. uvicorn's default of 5 is too short on a busy machine, where
# importing alone takes that long.
HEALTHCHECK_TIMEOUT = 30
BACKLOG = 2048  # connections that may wait to be accepted
COLLECT_AFTER = 50_000  # new objects: collecting more at once would noticeably delay requests
APP = "fastzero_core.todo_app.api.server:app_of_process"


def serve(
    settings: Settings,
    *,
    host: str,
    port: int,
    workers: int = 1,
    migrate: bool = False,
    on_event: Listener = ignore,
) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests in flight. With `migrate`, first migrate to head.

    If the database does not answer, the app serves without being ready, and migrates once it does.
    Raises PortTakenError; ProjectNotFoundError if neither DATABASE_URL nor a project gives a database;
    InvalidInputError if SECRET_KEY is missing or too short; and the errors of `migrate.up`.
    """
    # PID 1 of a container ignores SIGTERM without a handler. And uvicorn raises the signal again after draining, whose
    # default action would end the process as killed.
    signal.signal(signal.SIGTERM, _exit)
    # Checked here, where the user sees an error, and not in each worker.
    url = app_url(settings)
    database.parse_url(url)
    if warning := clear_password(url):
        on_event(Notice(warning))
    for key in parse_keys(secret_key(settings)):
        checked_key(key.value)
    migration = _Migration(settings, on_event)
    if migrate:
        migration.run_or_wait()
    _export_settings(settings)
    config = _config(settings, workers)
    _allow_many_connections()
    threading.Thread(target=_log_pools, args=(url, settings.connections, workers), daemon=True).start()
    with migration.reported(), _listening(host, port) as listener, suppress(KeyboardInterrupt):
        logs.SERVER.info("Serving on http://%s:%d", f"[{host}]" if ":" in host else host, listener.getsockname()[1])
        if workers > 1:
            with _metrics_folder():
                _Workers(config, [listener]).run()
        else:
            uvicorn.Server(config).run([listener])


def _config(settings: Settings, workers: int) -> uvicorn.Config:
    return uvicorn.Config(
        APP,
        factory=True,
        http=Connection,
        ws="none",
        backlog=BACKLOG,
        workers=workers,
        timeout_graceful_shutdown=DRAIN,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_worker_healthcheck=HEALTHCHECK_TIMEOUT,
        # psycopg does not support the default loop of Windows.
        loop="asyncio:SelectorEventLoop" if sys.platform == "win32" else "auto",
        log_config=logs.log_config(settings.log),
        access_log=False,
        # Only the configured proxies may set these headers. By default uvicorn trusts every client on loopback.
        proxy_headers=bool(settings.forwarded_allow_ips),
        forwarded_allow_ips=settings.forwarded_allow_ips,
        server_header=False,
    )


class _Migration:
    """The migration to head. One that has to wait for the database runs in a thread, and ends the process if it fails.

    Until the schema is at head, the app is alive but not ready.
    """

    def __init__(self, settings: Settings, on_event: Listener) -> None:
        self._settings = settings
        self._on_event = on_event
        self._error: FastZeroError | None = None

    def run_or_wait(self) -> None:
        """Migrate; if the database does not answer, continue in a thread. Raises the errors of `migrate.up`."""
        try:
            self._run()
        except AWAY as error:
            logs.SERVER.warning("waiting for the database to migrate it: %s", error.message)
            threading.Thread(target=self._wait, daemon=True).start()

    def _run(self) -> None:
        from ...schema import migrate as migrations

        migrations.up(database_url(self._settings), timeout=self._settings.timeout, on_event=self._on_event)

    def _wait(self) -> None:
        while True:
            time.sleep(RETRY)
            try:
                self._run()
                return
            except AWAY:
                continue
            except FastZeroError as error:
                self._error = error
                os.kill(os.getpid(), signal.SIGTERM)
                return

    @contextmanager
    def reported(self) -> Iterator[None]:
        """Raise the error of the thread after the block, instead of the exit that it caused."""
        try:
            yield
        finally:
            if self._error:
                raise self._error


class _Workers(Multiprocess):
    """Closes the port before the workers end, so that new clients are refused immediately and do not have to wait."""

    def terminate_all(self) -> None:
        for listener in self.sockets:
            listener.close()
        super().terminate_all()


def app_of_process() -> "FastAPI":
    """Create the app for a process of its own. Its objects are excluded from garbage collection."""
    from .app import create_app

    app = create_app()
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)
    return app


def _export_settings(settings: Settings) -> None:
    """Set environment variables, so that workers, which are separate processes, use the same database."""
    os.environ["FASTZERO_PROJECT"] = settings.project
    os.environ["FASTZERO_HOME"] = str(settings.home)
    # Workers read the same files and environment, but not the flags of this process.
    if settings.database_url is not None and settings.is_flag("database_url"):
        os.environ["DATABASE_URL"] = settings.database_url.get_secret_value()


@contextmanager
def _metrics_folder() -> Iterator[None]:
    """Create the folder for the workers' metrics, so that any worker can add up all of them."""
    with tempfile.TemporaryDirectory(prefix="fastzero-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        yield


def _allow_many_connections() -> None:
    """Raise the limit of file descriptors, since each connection takes one and the default is often 1,024."""
    if sys.platform == "win32":
        return
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # the system may refuse to raise it
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _log_pools(url: str, connections: int, workers: int) -> None:
    """Log the size of the pools and the server's limit. Requests fail if the pools need more connections than that."""
    wanted = connections * workers
    pools = f"{workers} × {connections} database connections"
    allowed = None
    while allowed is None:
        try:
            with database.connect(database.create_engine(url)) as connection:
                allowed = database.connections_allowed(connection)
        except FastZeroError:
            time.sleep(RETRY)  # the database of a first `up` starts a moment later
    if wanted > allowed:
        logs.SERVER.warning("pools of up to %s; the server allows %d: reduce FASTZERO_POOL_SIZE", pools, allowed)
    else:
        logs.SERVER.info("pools of up to %s; the server allows %d", pools, allowed)


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        raise InvalidInputError(f"cannot listen on {host!r}: unknown host", field="host") from None
    listener = socket.socket(family, kind, protocol)
    if sys.platform != "win32":  # there, the option would let two programs use the port
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise taken_error(APP_SERVICE, host, port, "fastzero serve --port {}") from error
        raise UnavailableError(
            f"cannot listen on {host}:{port}: {error.strerror}", hint="Use another address: --host, --port"
        ) from error
    listener.set_inheritable(True)
    return listener


def _exit(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(0)
