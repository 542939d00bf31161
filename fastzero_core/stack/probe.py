"""Whether a database is truly there: a login over TCP with the real password, answered by a query.

Through psycopg alone: a check that runs at every `up` need not load SQLAlchemy.
"""

from ..driver_errors import translate

TIMEOUT = 2  # seconds for one try


def revision_of(url: str, *, timeout: int = TIMEOUT) -> str | None:
    """The schema's revision, None if it has none yet. Raises what says why the database is not there."""
    import psycopg

    try:
        with psycopg.connect(url, connect_timeout=timeout, application_name="fastzero", autocommit=True) as connection:
            known = connection.execute("SELECT to_regclass('alembic_version') IS NOT NULL").fetchone()
            row = known and known[0] and connection.execute("SELECT version_num FROM alembic_version").fetchone()
            return row[0] if row else None
    except psycopg.Error as error:
        raise translate(error) from error
