"""A database whose owner, mallory, wants to become a superuser, and what tells whether that worked."""

import secrets
from collections.abc import Callable, Iterator

import psycopg
import pytest
from sqlalchemy.engine import make_url

from fastzero_core.postgres.database import url_of
from fastzero_core.todo_app.tables import metadata

# Whatever runs `bait()` as a superuser is caught: a sequence tells of it, which no rollback takes back.
TRAP = """
CREATE SEQUENCE public.caught;
GRANT ALL ON SEQUENCE public.caught TO PUBLIC;
CREATE FUNCTION public.spring() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
    IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        PERFORM pg_catalog.nextval('public.caught');
    END IF;
END $$;
CREATE FUNCTION public.bait() RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
    PERFORM public.spring();
    RETURN 1;
END $$;
CREATE FUNCTION public.bait_text() RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT public.bait()::pg_catalog.text';
"""

Caught = Callable[[], bool]


@pytest.fixture
def mallory(database_url: str) -> Iterator[str]:
    """The URL of the database for the role that owns it and all in it, and may do nothing else."""
    name = f"mallory_{secrets.token_hex(8)}"
    execute(database_url, f"CREATE ROLE {name} LOGIN PASSWORD 'm'")
    execute(database_url, f"ALTER DATABASE {database_of(database_url)} OWNER TO {name}")
    execute(database_url, *(f"ALTER TABLE {table} OWNER TO {name}" for table in (*metadata.tables, "alembic_version")))
    url = make_url(database_url).set(username=name, password="m").render_as_string(hide_password=False)
    execute(url, TRAP, "INSERT INTO users (username, email, password_hash) VALUES ('ana', 'ana@example.com', 'x')")
    yield url
    execute(url_of(database_url, "postgres"), f"ALTER DATABASE {database_of(database_url)} OWNER TO CURRENT_USER")
    execute(database_url, f"DROP OWNED BY {name} CASCADE", f"DROP ROLE {name}")


@pytest.fixture
def caught(database_url: str) -> Caught:
    def look() -> bool:
        with psycopg.connect(url_of(database_url)) as session:
            return bool(session.execute("SELECT is_called FROM public.caught").fetchone() == (True,))

    return look


def database_of(url: str) -> str:
    return str(make_url(url).database)


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(url) as session:
        for statement in statements:
            session.execute(statement.encode())
