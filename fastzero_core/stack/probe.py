"""Whether a database is truly there: a login over TCP with the real password, answered by a query. And the app.

Through psycopg alone: a check that runs at every `up` need not load SQLAlchemy.
"""

import json
import time
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException

from ..postgres.driver_errors import translate
from ..schema import revisions

TIMEOUT = 2  # seconds for one try
APP_TIMEOUT = 5  # the app itself waits for the database before it says what is missing


def revision_of(url: str, *, timeout: int = TIMEOUT) -> str | None:
    """The schema's revision, None if it has none yet. Raises what says why the database is not there."""
    return revisions.revision_of(url, timeout=timeout)


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


def not_ready(host: str, port: int, path: str = "/readyz") -> str:
    """Why the process there is not ready, in its own words; empty if it is."""
    connection = HTTPConnection(host, port, timeout=APP_TIMEOUT)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        answer = response.read()
        if response.status == HTTPStatus.OK:
            return ""
        if response.status == HTTPStatus.SERVICE_UNAVAILABLE:
            return str(json.loads(answer)["reason"])
        return f"it answers {response.status} {response.reason}"
    except (OSError, HTTPException, ValueError, KeyError) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection.close()
