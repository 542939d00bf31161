"""Check whether a database and an application answer: a login over TCP with the real password, an HTTP request.

It uses psycopg directly: a check that every `up` runs should not import SQLAlchemy.
"""

import json
import socket
import time
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import Any

from ..postgres.driver_errors import translate
from ..postgres.url import url_of
from ..schema import revisions

TIMEOUT = 2  # seconds for one attempt
CLOSED_WITHIN = 0.2  # seconds for a proxy to notice that no process listens in the container
_SESSION: dict[str, Any] = {"connect_timeout": TIMEOUT, "application_name": "fastzero"}
APP_TIMEOUT = 5  # seconds; the app itself waits for the database before it answers that it is not ready


def revision_of(url: str, version_table: str = "", *, timeout: int = TIMEOUT) -> str | None:
    """Return the schema's revision, None if it has none yet. Raises the error that says why the database fails.

    With `version_table`, the schema is that of a user's application, which may be at several revisions: `1a2b,3c4d`.
    """
    if not version_table:
        return revisions.revision_of(url, timeout=timeout)
    return ",".join(revisions.revisions_of(url, version_table, timeout=timeout)) or None


def is_encrypted(url: str) -> bool:
    """Log in to a database. Returns whether the session is encrypted. Raises the error that says why the login failed.

    It runs no statement, so that the database's owner cannot change what it does.
    """
    import psycopg

    try:
        with psycopg.connect(url_of(url), **_SESSION) as connection:
            return bool(connection.pgconn.ssl_in_use)
    except psycopg.Error as error:
        raise translate(error) from error


def clock_skew(url: str) -> float:
    """Return how many seconds the database's clock is ahead of this machine's; negative if this machine's is ahead."""
    import psycopg

    try:
        with psycopg.connect(
            url_of(url), connect_timeout=TIMEOUT, application_name="fastzero", autocommit=True
        ) as connection:
            before = time.time()
            now = "SELECT pg_catalog.date_part('epoch', pg_catalog.clock_timestamp())"
            row = connection.execute(now).fetchone()
            assert row is not None
            return float(row[0]) - (before + time.time()) / 2
    except psycopg.Error as error:
        raise translate(error) from error


def not_listening(host: str, port: int, *, is_proxied: bool) -> str:
    """Return why the port does not accept connections, "" if it does.

    The engine's proxy accepts connections to a port that is not open in the container, and closes them at once.
    """
    try:
        connection = socket.create_connection((host, port), timeout=TIMEOUT)
    except OSError as error:
        return f"port {port} does not answer: {error.strerror or error}"
    with connection:
        return f"port {port} closes every connection" if is_proxied and _is_closed(connection) else ""


def _is_closed(connection: socket.socket) -> bool:
    connection.settimeout(CLOSED_WITHIN)
    try:
        return not connection.recv(1)
    except TimeoutError:
        return False
    except OSError:
        return True


def not_ready(host: str, port: int, path: str = "/readyz", *, below: int = HTTPStatus.BAD_REQUEST) -> str:
    """Return why a process is not ready, "" if the path answers with a status less than `below`.

    The reason is the one in the answer, if it gives one. Without a path, any answer is accepted.
    """
    connection = HTTPConnection(host, port, timeout=APP_TIMEOUT)
    try:
        connection.request("GET", path or "/")
        response = connection.getresponse()
        if not path or response.status < below:
            return ""
        return _reason(response.read()) or f"{path} answers {response.status} {response.reason}"
    except (OSError, HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection.close()


def _reason(answer: bytes) -> str:
    """Return the reason in a JSON answer, "" without one."""
    try:
        return str(json.loads(answer)["reason"])
    except (ValueError, KeyError, TypeError):
        return ""
