"""Serving the app: uvicorn, told where to listen, how to start and how to end."""

import errno
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import uvicorn
from uvicorn.supervisors import Multiprocess

from .. import database
from ..errors import InvalidInputError, UnavailableError
from ..settings import Settings, load_settings
from ..stack.ports import taken_error
from ..stack.project import database_url, secret_key
from ..stack.spec import APP_SERVICE
from ..tokens import checked_key
from . import logs

if TYPE_CHECKING:
    from ..migrate import Applied

DRAIN = 3  # seconds for requests in flight when asked to end; with what else there is to end, no more than 5
KEEP_ALIVE = 75  # seconds that a connection may be idle
BACKLOG = 2048  # connections that may wait to be accepted
APP = "fastzero_core.api.app:create_app"


def serve(
    settings: Settings,
    *,
    host: str,
    port: int,
    workers: int = 1,
    migrate: bool = False,
    on_applied: "Callable[[Applied], None] | None" = None,
) -> None:
    """Serve until SIGTERM or SIGINT, and finish the requests in flight; with `migrate` bring the schema to head first.

    Raises PortTakenError, ProjectNotFoundError where no database is named, and what `migrate.up` raises.
    """
    # As PID 1 of a container it would never hear of it otherwise. uvicorn, when it has drained, hands the signal on:
    # by default that would end the process as killed.
    signal.signal(signal.SIGTERM, _end)
    # Here, where it is an error that somebody sees, and not in each worker.
    url = database_url(settings)
    database.parse_url(url)
    checked_key(secret_key(settings))
    if migrate:
        from .. import migrate as migrations

        migrations.up(url, timeout=settings.timeout, on_applied=on_applied)
    _hand_on(settings)
    config = uvicorn.Config(
        APP,
        factory=True,
        backlog=BACKLOG,
        workers=workers,
        timeout_graceful_shutdown=DRAIN,
        timeout_keep_alive=KEEP_ALIVE,
        # psycopg cannot work on the loop that Windows has by default.
        loop="asyncio:SelectorEventLoop" if sys.platform == "win32" else "auto",
        log_config=logs.log_config(settings.log),
        access_log=False,
        server_header=False,
    )
    with _listening(host, port) as listener, suppress(KeyboardInterrupt):
        if workers > 1:
            Multiprocess(config, [listener]).run()
        else:
            uvicorn.Server(config).run([listener])


def _hand_on(settings: Settings) -> None:
    """Let workers, which are processes of their own, find the database where this one does."""
    os.environ["FASTZERO_PROJECT"] = settings.project
    os.environ["FASTZERO_HOME"] = str(settings.home)
    # They read the same files and the same environment; what was a flag here is all they cannot know.
    if settings.database_url is not None and settings.database_url != load_settings().database_url:
        os.environ["DATABASE_URL"] = settings.database_url.get_secret_value()


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
            raise taken_error(APP_SERVICE, host, port, "fastzero serve --port") from error
        raise UnavailableError(
            f"cannot listen on {host}:{port}: {error.strerror}", hint="Choose another address: --host, --port"
        ) from error
    listener.set_inheritable(True)
    return listener


def _end(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(0)
