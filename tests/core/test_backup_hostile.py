"""Backups and databases of strangers: their code runs as a role without rights, and what they write is not believed."""

import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from fastzero_core import errors
from fastzero_core.backup import dump, restore
from fastzero_core.backup.scratch import scratch
from fastzero_core.backup.server import open_server
from fastzero_core.backup.stats import stats
from fastzero_core.backup.target import Target
from fastzero_core.events import Event, Notice
from fastzero_core.polling import wait_until
from fastzero_core.postgres.database import url_of
from fastzero_core.schema import migrate

from .backup import as_role, databases, execute, list_databases, role, target
from .hostile import caught, mallory

pytestmark = pytest.mark.slow
__all__ = ["caught", "databases", "mallory", "role", "target"]
Python = Callable[..., "subprocess.Popen[str]"]

# Whoever runs it, other than mallory, leaves a schema that says so, and makes mallory a superuser if that is allowed.
CODE = """
CREATE FUNCTION public.strike() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
    IF current_user = 'MALLORY' THEN RETURN; END IF;
    BEGIN
        EXECUTE pg_catalog.format('CREATE SCHEMA IF NOT EXISTS %I', 'ran as ' || current_user);
        EXECUTE pg_catalog.format('CREATE SCHEMA IF NOT EXISTS %I', 'ran as ' || session_user);
    EXCEPTION WHEN OTHERS THEN NULL; END;
    BEGIN
        RESET ROLE;
        EXECUTE 'ALTER ROLE MALLORY SUPERUSER';
    EXCEPTION WHEN OTHERS THEN NULL; END;
    BEGIN
        COPY (SELECT 1) TO PROGRAM 'cat';
        ALTER ROLE MALLORY CONNECTION LIMIT 7;
    EXCEPTION WHEN OTHERS THEN NULL; END;
END $$;
CREATE FUNCTION public.struck(x int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
    PERFORM public.strike();
    RETURN x;
END $$;
CREATE DOMAIN public.checked AS int CHECK (public.struck(VALUE) > 0);
CREATE TABLE public.bait (
    a int CHECK (public.struck(a) > 0), b int GENERATED ALWAYS AS (public.struck(a)) STORED, c public.checked
);
INSERT INTO public.bait (a, c) VALUES (1, 2), (3, 4);
CREATE INDEX ON public.bait (public.struck(a));
CREATE INDEX ON public.bait (a) WHERE public.struck(1) > 0;
CREATE STATISTICS public.guess ON (public.struck(1) + a), a FROM public.bait;
CREATE MATERIALIZED VIEW public.struck_view AS SELECT public.struck(a) FROM public.bait;
CREATE FUNCTION public.pulled() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM public.strike();
    RETURN NULL;
END $$;
CREATE TRIGGER pulled AFTER INSERT OR UPDATE OR DELETE ON public.alembic_version EXECUTE FUNCTION public.pulled();
"""


@pytest.fixture
def hostile(mallory: str, folder: Path) -> Path:
    """A backup that mallory has made of a database of hers."""
    execute(mallory, CODE.replace("MALLORY", str(psycopg.conninfo.conninfo_to_dict(mallory)["user"])))
    dump.backup(Target.of_url(mallory, folder), folder / "hostile.dump")
    return folder / "hostile.dump"


@pytest.fixture
def ours(empty_database_url: str, folder: Path) -> Iterator[Target]:
    """A database of the superuser's own."""
    target = Target.of_url(empty_database_url, folder / "backups")
    yield target
    restore.drop_kept(target)


def ran_as(url: str) -> set[str]:
    """The roles as which the backup's code ran: current user and session user."""
    with psycopg.connect(url) as session:
        found = session.execute("SELECT nspname FROM pg_namespace WHERE nspname ~ '^ran as '").fetchall()
    return {str(name).removeprefix("ran as ") for (name,) in found}


def is_privileged(target: Target, url: str) -> bool:
    """Whether mallory has got rights that she must not have."""
    with psycopg.connect(target.server_url) as session:
        query = "SELECT rolsuper OR rolconnlimit <> -1 FROM pg_roles WHERE rolname = %s"
        found = session.execute(query, [psycopg.conninfo.conninfo_to_dict(url)["user"]]).fetchone()
    return found == (True,)


def roles_for_restores(target: Target) -> list[str]:
    with psycopg.connect(target.server_url) as session:
        rows = session.execute("SELECT rolname FROM pg_roles WHERE rolname ~ '_restoring_'").fetchall()
    return [name for (name,) in rows if name.startswith(target.database)]


def owners(url: str) -> set[str]:
    with psycopg.connect(url) as session:
        rows = session.execute(
            "SELECT relowner::regrole::text FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " UNION SELECT proowner::regrole::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
            " AND oid NOT IN (SELECT objid FROM pg_depend WHERE deptype = 'e')"
            " UNION SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
        )
        return {name for (name,) in rows.fetchall()}


# -- a backup of a stranger ------------------------------------------------------------------------------------


def test_its_code_runs_as_a_role_of_its_own_alone(hostile: Path, ours: Target, mallory: str) -> None:
    restore.restore(ours, hostile)
    restoring = rf"{ours.database}_restoring_[0-9a-f]{{8}}"
    assert [name for name in ran_as(ours.url) if not re.fullmatch(restoring, name)] == []
    assert ran_as(ours.url), "it has run"
    assert not is_privileged(ours, mallory)
    assert owners(ours.url) == {"fastzero"}
    assert roles_for_restores(ours) == []


def test_verifying_it_gives_it_no_rights(hostile: Path, ours: Target, mallory: str) -> None:
    assert restore.verify(ours, hostile).rows > 0
    assert not is_privileged(ours, mallory)
    assert list_databases(ours) == [ours.database]
    assert roles_for_restores(ours) == []


def test_it_gives_no_rights_where_the_schema_is_migrated(hostile: Path, ours: Target, mallory: str) -> None:
    migrate.down(mallory, "0002")
    dump.backup(Target.of_url(mallory, hostile.parent), hostile.with_name("older.dump"))
    restore.restore(ours, hostile.with_name("older.dump"), upgrade=True)
    assert all("_restoring_" in name for name in ran_as(ours.url))
    assert not is_privileged(ours, mallory)


def test_restoring_it_into_an_empty_database_gives_it_no_rights(hostile: Path, ours: Target, mallory: str) -> None:
    restored = restore.restore_into_empty(ours, hostile)
    assert (restored.kept, list_databases(ours)) == (None, [ours.database])
    assert ran_as(ours.url)
    assert all("_restoring_" in name for name in ran_as(ours.url))
    assert not is_privileged(ours, mallory)


def test_who_trusts_it_runs_its_code_with_rights_of_one_s_own(hostile: Path, ours: Target, mallory: str) -> None:
    restore.verify(ours, hostile, trusted=True)
    assert is_privileged(ours, mallory)


def test_a_stack_s_owner_gets_all_of_it(hostile: Path, ours: Target, role: str, mallory: str) -> None:
    execute(url_of(ours.url, "postgres"), f"ALTER DATABASE {ours.database} OWNER TO {role}")
    stack = Target.of_url(as_role(ours.url, role), ours.folder, superuser_url=ours.url)
    restore.restore(stack, hostile)
    assert owners(ours.url) == {role}
    assert all("_restoring_" in name for name in ran_as(ours.url))
    restore.undo(stack)
    restore.drop_kept(stack)
    execute(url_of(ours.url, "postgres"), f"ALTER DATABASE {ours.database} OWNER TO CURRENT_USER")


def test_a_role_that_may_make_roles_needs_no_superuser(hostile: Path, ours: Target, role: str, mallory: str) -> None:
    execute(ours.url, f"ALTER ROLE {role} CREATEROLE CREATEDB")
    execute(url_of(ours.url, "postgres"), f"ALTER DATABASE {ours.database} OWNER TO {role}")
    theirs = Target.of_url(as_role(ours.url, role), ours.folder)
    restore.restore(theirs, hostile)
    assert owners(ours.url) == {role}
    assert ran_as(ours.url)
    assert all("_restoring_" in name for name in ran_as(ours.url))
    assert roles_for_restores(ours) == []
    restore.undo(theirs)
    restore.drop_kept(theirs)
    execute(url_of(ours.url, "postgres"), f"ALTER DATABASE {ours.database} OWNER TO CURRENT_USER")


# -- what others may need --------------------------------------------------------------------------------------


def test_grants_of_the_backup_and_default_privileges_of_the_database_stay(target: Target, role: str) -> None:
    execute(target.url, "CREATE SCHEMA more", f"GRANT USAGE ON SCHEMA more TO {role}")
    execute(target.url, f"GRANT SELECT ON users TO {role}")
    execute(target.url, f"ALTER DEFAULT PRIVILEGES IN SCHEMA more GRANT SELECT ON TABLES TO {role}")
    execute(target.url, "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC")
    archive = Path(dump.take(target).file)
    restore.restore(target, archive)
    execute(target.url, "CREATE TABLE more.later ()", "CREATE FUNCTION later() RETURNS int RETURN 1")
    with psycopg.connect(as_role(target.url, role)) as session:
        assert session.execute("SELECT count(*) FROM users").fetchone() == (0,)
        assert session.execute("SELECT count(*) FROM more.later").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("SELECT later()")


def test_other_owners_of_the_backup_are_told_of(target: Target, role: str) -> None:
    execute(target.url, f"ALTER TABLE users OWNER TO {role}")
    archive = Path(dump.take(target).file)
    told: list[Event] = []
    restore.restore(target, archive, on_event=told.append)
    (notice,) = [event.text for event in told if isinstance(event, Notice)]
    assert notice == (
        f"objects owned by {role} in the backup are now owned by fastzero. To restore the owners as well: --trusted"
    )
    restore.restore(target, archive, trusted=True)
    assert role in owners(target.url)


def test_an_extension_that_a_superuser_has_approved_of_in_the_database_is_there_afterwards(target: Target) -> None:
    execute(target.url, 'CREATE SCHEMA "ext x"', 'CREATE EXTENSION dblink SCHEMA "ext x"')
    execute(target.url, "CREATE EXTENSION pg_stat_statements", "COMMENT ON EXTENSION dblink IS 'a'")
    archive = Path(dump.take(target).file)
    restore.restore(target, archive)
    with psycopg.connect(target.url) as session:
        found = session.execute("SELECT extname, extnamespace::regnamespace::text FROM pg_extension ORDER BY 1")
        assert [row for row in found.fetchall() if row[0] in ("dblink", "pg_stat_statements")] == [
            ("dblink", '"ext x"'),
            ("pg_stat_statements", "public"),
        ]


FOR_SUPERUSERS = [
    "CREATE EXTENSION dblink",
    "CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
    "CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION f()",
    "CREATE FUNCTION f(int) RETURNS int LANGUAGE internal AS 'int4abs'",
]


@pytest.mark.parametrize("statement", FOR_SUPERUSERS)
def test_what_only_a_superuser_may_create_is_refused_until_the_backup_is_trusted(
    statement: str, target: Target, ours: Target
) -> None:
    execute(target.url, statement)
    archive = Path(dump.take(target).file)
    for operation in (restore.verify, restore.restore):
        with pytest.raises(errors.DatabasePrivilegeError, match="the backup cannot be restored") as refused:
            operation(ours, archive)
        assert "--trusted" in refused.value.hint
    assert list_databases(ours) == [ours.database]
    assert restore.verify(ours, archive, trusted=True).rows > 0


# -- what killed commands leave --------------------------------------------------------------------------------

VERIFY = """
import sys
from pathlib import Path
from fastzero_core.backup import restore
from fastzero_core.backup.target import Target
restore.verify(Target.of_url(sys.argv[1], Path(sys.argv[2]).parent), Path(sys.argv[2]))
"""


def test_the_role_and_the_database_of_a_killed_command_are_dropped_by_the_next(target: Target, python: Python) -> None:
    execute(
        target.url,
        "CREATE TABLE slow AS SELECT 1 AS x",
        "CREATE FUNCTION nap(int) RETURNS int LANGUAGE plpgsql"
        " IMMUTABLE AS 'BEGIN PERFORM pg_sleep(0.01); RETURN 1; END'",
    )
    execute(target.url, "INSERT INTO slow SELECT generate_series(1, 20)", "CREATE INDEX ON slow (nap(x))")
    archive = Path(dump.take(target).file)
    process = python(VERIFY, target.url, str(archive))
    assert wait_until(lambda: roles_for_restores(target) != [] and len(list_databases(target)) == 2, 60)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with open_server(target.url):
        pass
    assert (roles_for_restores(target), list_databases(target)) == ([], [target.database])


def test_a_database_or_role_of_another_with_such_a_name_stays(target: Target, role: str) -> None:
    name = f"{target.database}_restoring_0123abcd"
    execute(target.url, f"CREATE ROLE {name} LOGIN CREATEROLE NOINHERIT")
    with psycopg.connect(url_of(target.url, "postgres"), autocommit=True) as session:
        session.execute(f"CREATE DATABASE {name} OWNER {role}".encode())
        try:
            with open_server(target.url):
                pass
            assert roles_for_restores(target) == [name]
            assert name in list_databases(target)
        finally:
            session.execute(f"DROP DATABASE {name}".encode())
            session.execute(f"DROP ROLE {name}".encode())


def test_a_scratch_database_is_of_a_role_without_rights_and_nobody_else_enters_it(target: Target, role: str) -> None:
    with open_server(target.url) as server, scratch(server, target) as new:
        with psycopg.connect(new.url) as session:
            rights = session.execute(
                "SELECT rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolcanlogin,"
                " session_user = current_user FROM pg_roles WHERE rolname = current_user"
            )
            assert rights.fetchone() == (False, False, False, False, False, False, True, True)
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(as_role(url_of(target.url, new.name), role))


# -- databases that are kept -----------------------------------------------------------------------------------

FORGED = '{"fastzero": "kept", "of": "NAME", "at": "2099-01-01T00:00:00+00:00", "comment": null}'


@pytest.fixture
def forged(target: Target, role: str) -> Iterator[str]:
    """A database of another role, with the name and the comment of one that is kept."""
    name = f"{target.database}_before_20990101t000000"
    comment = FORGED.replace("NAME", target.database)
    with psycopg.connect(url_of(target.url, "postgres"), autocommit=True) as session:
        session.execute(f"CREATE DATABASE {name} OWNER {role}".encode())
        session.execute(f"COMMENT ON DATABASE {name} IS '{comment}'".encode())
        yield name
        session.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


def test_a_comment_of_another_role_makes_no_database_a_kept_one(target: Target, forged: str) -> None:
    with pytest.raises(errors.BackupNotFoundError):
        restore.undo(target)
    assert stats(target.url).kept == []
    assert restore.drop_kept(target) == []
    assert forged in list_databases(target)


def test_what_this_role_keeps_is_known_by_the_same_comment(target: Target, forged: str) -> None:
    execute(url_of(target.url, "postgres"), f"ALTER DATABASE {forged} OWNER TO CURRENT_USER")
    assert [kept.database for kept in restore.kept_databases(target)] == [forged]


@pytest.mark.parametrize(
    "comment",
    [
        "{}",
        '{"fastzero": "kept"}',
        '{"fastzero": "kept", "of": "NAME"}',
        '{"fastzero": "kept", "of": "NAME", "at": 7, "comment": null}',
        '{"fastzero": "kept", "of": "NAME", "at": "soon", "comment": null}',
        '{"fastzero": "kept", "of": "NAME", "at": "2099-01-01T00:00:00+00:00", "comment": {}}',
        "[" * 100_000,
        "[1]",
        "",
    ],
)
def test_a_comment_that_fastzero_has_not_written_is_none(comment: str, target: Target, forged: str) -> None:
    maintenance = url_of(target.url, "postgres")
    written = comment.replace("NAME", target.database)
    execute(
        maintenance, f"ALTER DATABASE {forged} OWNER TO CURRENT_USER", f"COMMENT ON DATABASE {forged} IS '{written}'"
    )
    assert stats(target.url).kept == []
    assert restore.kept_databases(target) == []
