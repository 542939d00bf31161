"""Serving the app: uvicorn, told where to listen, how to start and how to end."""

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
from ...errors import FastZeroError, InvalidInputError, UnavailableError
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


DRAIN = 3  # seconds for requests in flight when asked to end; with what else there is to end, no more than 5
KEEP_ALIVE = 75  # seconds that a connection may be idle
ASK_AGAIN = 1  # seconds, until the database is there
HUNG = (
    30  # seconds until a worker that does not answer is replaced: on a busy machine importing alone takes uvicorn's 5
)
BACKLOG = 2048  # connections that may wait to be accepted
COLLECT_AFTER = 50_000  # new objects: a collection of more than these would be felt by those who wait
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
    """Serve until SIGTERM or SIGINT, and finish the requests in flight; with `migrate` bring the schema to head first.

    Raises PortTakenError, ProjectNotFoundError where no database is named, InvalidInputError where there is no
    SECRET_KEY or a short one, and what `migrate.up` raises.
    """
    # As PID 1 of a container it would never hear of it otherwise. uvicorn, when it has drained, hands the signal on:
    # by default that would end the process as killed.
    signal.signal(signal.SIGTERM, _end)
    # Here, where it is an error that somebody sees, and not in each worker.
    url = app_url(settings)
    database.parse_url(url)
    if warning := clear_password(url):
        on_event(Notice(warning))
    for key in parse_keys(secret_key(settings)):
        checked_key(key.value)
    if migrate:
        from ...schema import migrate as migrations

        migrations.up(database_url(settings), timeout=settings.timeout, on_event=on_event)
    _hand_on(settings)
    config = _config(settings, workers)
    _allow_many_connections()
    threading.Thread(target=_announce_pools, args=(url, settings.connections, workers), daemon=True).start()
    with _listening(host, port) as listener, suppress(KeyboardInterrupt):
        if workers > 1:
            with _shared_numbers():
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
        timeout_worker_healthcheck=HUNG,
        # psycopg cannot work on the loop that Windows has by default.
        loop="asyncio:SelectorEventLoop" if sys.platform == "win32" else "auto",
        log_config=logs.log_config(settings.log),
        access_log=False,
        # Whoever is not a configured proxy may write whatever it likes there; uvicorn itself trusts all of loopback.
        proxy_headers=bool(settings.forwarded_allow_ips),
        forwarded_allow_ips=settings.forwarded_allow_ips,
        server_header=False,
    )


class _Workers(Multiprocess):
    """Lets go of the port before its workers end: who connects from then on is refused, and not kept waiting."""

    def terminate_all(self) -> None:
        for listener in self.sockets:
            listener.close()
        super().terminate_all()


def app_of_process() -> "FastAPI":
    """The app of a process that serves nothing else: what it is made of is not looked through for garbage again."""
    from .app import create_app

    app = create_app()
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)
    return app


def _hand_on(settings: Settings) -> None:
    """Let workers, which are processes of their own, find the database where this one does."""
    os.environ["FASTZERO_PROJECT"] = settings.project
    os.environ["FASTZERO_HOME"] = str(settings.home)
    # They read the same files and the same environment; what was a flag here is all they cannot know.
    if settings.database_url is not None and settings.is_flag("database_url"):
        os.environ["DATABASE_URL"] = settings.database_url.get_secret_value()


@contextmanager
def _shared_numbers() -> Iterator[None]:
    """A folder in which workers keep the numbers of their metrics, so that any of them can add all up."""
    with tempfile.TemporaryDirectory(prefix="fastzero-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        yield


def _allow_many_connections() -> None:
    """Each takes a file descriptor, of which a process has 1,024 by default and may have more."""
    if sys.platform == "win32":
        return
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # where the system says no, it stays as it is
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _announce_pools(url: str, connections: int, workers: int) -> None:
    """Say how many connections the pools may take of those that the server has; beyond, requests would fail."""
    wanted = connections * workers
    pools = f"{workers} × {connections} connections to the database"
    most = None
    while most is None:
        try:
            with database.connect(database.create_engine(url)) as connection:
                most = database.connections_allowed(connection)
        except FastZeroError:
            time.sleep(ASK_AGAIN)  # the database of a first `up` comes a moment later
    if wanted > most:
        logs.SERVER.warning("pools of %s, of which the server allows %d: set FASTZERO_POOL_SIZE lower", pools, most)
    else:
        logs.SERVER.info("pools of %s, of which the server allows %d", pools, most)


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        raise InvalidInputError(f"{host!r} is no address to listen on", field="host") from None
    listener = socket.socket(family, kind, protocol)
    if sys.platform != "win32":  # where it would let two programs have the port
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise taken_error(APP_SERVICE, host, port, "fastzero serve --port {}") from error
        raise UnavailableError(
            f"cannot listen on {host}:{port}: {error.strerror}", hint="Choose another address: --host, --port"
        ) from error
    listener.set_inheritable(True)
    return listener


def _end(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(0)
