"""A superuser looks after a database whose owner wants to become one: nothing of the owner's runs with its rights."""

import asyncio
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest

from fastzero_core import errors
from fastzero_core.backup import dump, stats
from fastzero_core.backup.target import Target
from fastzero_core.postgres import database
from fastzero_core.schema import migrate, revisions
from fastzero_core.stack import probe

from .hostile import Caught, caught, database_of, execute, mallory

pytestmark = pytest.mark.slow
__all__ = ["caught", "mallory"]

# What the owner has laid out, and a careless statement of a superuser that falls for it.
BAITS = {
    "function": (
        "CREATE FUNCTION public.format(text, name, name) RETURNS text LANGUAGE sql AS 'SELECT public.bait_text()'",
        "SELECT format('%I.%I', 'a'::name, 'b'::name)",
    ),
    "row hash": (
        "CREATE FUNCTION public.hash_record_extended(users, bigint) RETURNS bigint LANGUAGE sql"
        " AS 'SELECT public.bait()::bigint'",
        "SELECT sum(hash_record_extended(u, 0)) FROM users u",
    ),
    "cast": (
        "CREATE FUNCTION public.to_text(users) RETURNS text LANGUAGE sql AS 'SELECT public.bait_text()';"
        "CREATE CAST (users AS text) WITH FUNCTION public.to_text(users)",
        "SELECT (u.*)::text FROM users u",
    ),
    "operator": (
        "CREATE FUNCTION public.same(name, text) RETURNS bool LANGUAGE sql AS 'SELECT public.bait() = 1';"
        "CREATE OPERATOR public.= (LEFTARG = name, RIGHTARG = text, FUNCTION = public.same);"
        "ALTER DATABASE {database} SET search_path = public, pg_catalog",
        "SELECT current_user = 'x'::text",
    ),
    "search path": (
        "CREATE FUNCTION public.current_schema() RETURNS name LANGUAGE sql AS 'SELECT public.bait_text()::name';"
        "CREATE FUNCTION public.to_regclass(text) RETURNS regclass LANGUAGE sql"
        " AS 'SELECT public.bait()::oid::regclass';"
        "CREATE VIEW public.pg_type AS SELECT public.bait() AS bait, * FROM pg_catalog.pg_type;"
        "ALTER DATABASE {database} SET search_path = public, pg_catalog",
        "SELECT current_schema()",
    ),
    "expression index": ("CREATE INDEX ON users ((public.bait() + id))", "SELECT count(*) FROM users"),
    "partial index": ("CREATE INDEX ON users (id) WHERE public.bait() = 1", "SELECT count(*) FROM users"),
    "index of the version": (
        "CREATE INDEX ON alembic_version ((version_num || public.bait()))",
        "SELECT * FROM alembic_version",
    ),
    "statistics": ("CREATE STATISTICS s ON (public.bait() + id), id FROM users", "SELECT count(*) FROM users"),
    "default": (
        "ALTER TABLE users ALTER token_version SET DEFAULT public.bait()",
        "INSERT INTO users (username, email, password_hash) VALUES ('bob', 'bob@example.com', 'x')",
    ),
    "view": ("CREATE VIEW bait_view AS SELECT public.bait()", "SELECT * FROM bait_view"),
    "materialized view": (
        "CREATE MATERIALIZED VIEW bait_kept AS SELECT id FROM users;"
        "CREATE INDEX ON bait_kept (id) WHERE public.bait() = 1",
        "SELECT count(*) FROM bait_kept",
    ),
    "view of the version": (
        "ALTER TABLE alembic_version RENAME TO old; CREATE VIEW alembic_version AS"
        " SELECT version_num, public.bait() AS bait FROM old",
        "SELECT bait FROM alembic_version",
    ),
    "rule": (
        "CREATE TABLE ruled (x int); CREATE RULE more AS ON INSERT TO ruled DO ALSO SELECT public.bait()",
        "INSERT INTO ruled VALUES (1)",
    ),
    "generated column": (
        "ALTER TABLE users ADD COLUMN made int GENERATED ALWAYS AS (public.bait()) STORED",
        "INSERT INTO users (username, email, password_hash) VALUES ('bob', 'bob@example.com', 'x')",
    ),
    "domain": (
        "CREATE DOMAIN baited AS int CHECK (public.bait() = VALUE); CREATE TABLE domains (x baited);"
        "INSERT INTO domains VALUES (1)",
        "INSERT INTO domains VALUES (1)",
    ),
    "trigger": (
        "CREATE FUNCTION public.pull() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM public.bait(); RETURN NULL; END $$;"
        "CREATE TRIGGER pull AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON users EXECUTE FUNCTION public.pull()",
        "DELETE FROM users WHERE false",
    ),
    "partition": (
        "CREATE TABLE parts (x int) PARTITION BY LIST ((x + public.bait()));"
        "CREATE TABLE part PARTITION OF parts FOR VALUES IN (2); CREATE INDEX ON part (x) WHERE public.bait() = 1",
        "SELECT count(*) FROM part",
    ),
}


def lay(mallory: str, bait: str) -> None:
    execute(mallory, BAITS[bait][0].replace("{database}", database_of(mallory)))


@pytest.mark.parametrize("bait", BAITS)
def test_a_careless_superuser_is_caught(bait: str, mallory: str, database_url: str, caught: Caught) -> None:
    lay(mallory, bait)
    assert not caught()
    execute(database_url, BAITS[bait][1])
    assert caught()


@pytest.mark.parametrize("bait", BAITS)
def test_a_backup_runs_nothing_of_the_owner(
    bait: str, mallory: str, database_url: str, caught: Caught, folder: Path
) -> None:
    lay(mallory, bait)
    target = Target.of_url(database_url, folder)
    if bait == "view of the version":
        with pytest.raises(errors.SchemaDriftError, match="was not created by Alembic"):
            dump.take(target)
    else:
        assert dump.take(target).rows >= 2
    assert not caught()


@pytest.mark.parametrize("bait", BAITS)
def test_looking_at_a_database_runs_nothing_of_the_owner(
    bait: str, mallory: str, database_url: str, caught: Caught
) -> None:
    lay(mallory, bait)
    looks: list[Callable[[], object]] = [
        lambda: stats.stats(database_url),
        lambda: stats.count_rows(database_url),
        lambda: migrate.status(database_url),
        lambda: migrate.history(database_url),
        lambda: probe.revision_of(database_url),
        lambda: probe.clock_skew(database_url),
        lambda: asyncio.run(_readiness(database_url)),
    ]
    for look in looks:
        with suppress(errors.SchemaDriftError) if bait == "view of the version" else nullcontext():
            look()
    assert not caught()


async def _readiness(url: str) -> str | None:
    """What /readyz asks."""
    engine = database.create_async_engine(url, autocommit=True)
    try:
        async with database.connect_async(engine) as connection:
            return await revisions.read_async(await database.driver_connection(connection))
    finally:
        await engine.dispose()


def test_a_table_of_the_superuser_s_own_is_counted_by_the_server(database_url: str, folder: Path) -> None:
    execute(database_url, "CREATE TABLE theirs (x int)", "INSERT INTO theirs VALUES (1)")
    target = Target.of_url(database_url, folder)
    manifest = dump.backup(target, folder / "one.dump")
    assert manifest.tables["public.theirs"].hash.startswith("values:")


def test_a_table_of_another_owner_is_hashed_from_what_copy_says(mallory: str, database_url: str, folder: Path) -> None:
    manifest = dump.backup(Target.of_url(database_url, folder), folder / "one.dump")
    assert {content.hash.partition(":")[0] for content in manifest.tables.values()} == {"copy"}
    assert manifest.tables["public.users"].rows == 1
    again = dump.backup(Target.of_url(database_url, folder), folder / "two.dump")
    assert again.tables == manifest.tables
    execute(mallory, "UPDATE users SET email = 'other@example.com'")
    changed = dump.backup(Target.of_url(database_url, folder), folder / "three.dump")
    assert changed.tables["public.users"] != manifest.tables["public.users"]
