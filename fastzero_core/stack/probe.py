"""Whether a database is truly there: a login over TCP with the real password, answered by a query. And the app.

Through psycopg alone: a check that runs at every `up` need not load SQLAlchemy.
"""

import json
import socket
import time
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException

from ..postgres.driver_errors import translate
from ..schema import revisions

TIMEOUT = 2  # seconds for one try
CLOSED_WITHIN = 0.2  # seconds for a proxy to notice that nobody listens behind it
APP_TIMEOUT = 5  # the app itself waits for the database before it says what is missing


def revision_of(url: str, version_table: str = "", *, timeout: int = TIMEOUT) -> str | None:
    """The schema's revision, None if it has none yet. Raises what says why the database is not there.

    With a `version_table` it is the schema of an application of the user's own, which may be at several: `1a2b,3c4d`.
    """
    if not version_table:
        return revisions.revision_of(url, timeout=timeout)
    return ",".join(revisions.revisions_of(url, version_table, timeout=timeout)) or None


def is_encrypted(url: str) -> bool:
    """Log in to a database, and return whether the session is encrypted. Raises what says why it is not there.

    It runs no statement: whoever owns the database can give it no other meaning.
    """
    import psycopg

    try:
        with psycopg.connect(url, connect_timeout=TIMEOUT, application_name="fastzero") as connection:
            return bool(connection.pgconn.ssl_in_use)
    except psycopg.Error as error:
        raise translate(error) from error


def clock_skew(url: str) -> float:
    """By how many seconds the database's clock is ahead of this machine's."""
    import psycopg

    try:
        with psycopg.connect(url, connect_timeout=TIMEOUT, application_name="fastzero", autocommit=True) as connection:
            before = time.time()
            now = "SELECT pg_catalog.date_part('epoch', pg_catalog.clock_timestamp())"
            row = connection.execute(now).fetchone()
            assert row is not None
            return float(row[0]) - (before + time.time()) / 2
    except psycopg.Error as error:
        raise translate(error) from error


def not_listening(host: str, port: int, *, is_proxied: bool) -> str:
    """Why nobody listens there; empty if somebody does.

    The engine's proxy takes connections to a port that nobody has opened in the container, and closes them at once.
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
    """Why the process there is not ready, in its own words; empty if its path answers with a status `below` that.

    Without a path any answer will do.
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
    """The reason that an answer gives, if it gives one."""
    try:
        return str(json.loads(answer)["reason"])
    except (ValueError, KeyError, TypeError):
        return ""
