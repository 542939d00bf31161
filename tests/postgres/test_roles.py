"""The roles of a server: what each may do, and how the one superuser of before becomes two roles and one again."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from fastzero_core.errors import ConflictError
from fastzero_core.postgres import roles
from fastzero_core.postgres.account import ServiceUser
from fastzero_core.postgres.binaries import Binaries
from fastzero_core.postgres.cluster import initialise
from fastzero_core.postgres.roles import APP, OWNER, SUPERUSER, TEMPORARY
from fastzero_core.postgres.sql import literal
from fastzero_core.testing import session_folder

from .conftest import Serve, Served

pytestmark = pytest.mark.slow

DATABASE = "fastzero"
PASSWORDS = {SUPERUSER: "of the superuser", OWNER: "of the owner", APP: "of the app", TEMPORARY: "of the superuser"}

# One of everything that a role can own, and grants, settings and memberships.
CONTENT = """
    CREATE ROLE ana LOGIN PASSWORD 'of ana';
    CREATE ROLE readers;
    GRANT readers TO fastzero;
    GRANT fastzero TO ana;
    ALTER ROLE fastzero SET statement_timeout = '77s';
    ALTER ROLE fastzero IN DATABASE fastzero SET search_path = public, other;
    ALTER ROLE fastzero CONNECTION LIMIT 42;
    CREATE SCHEMA other;
    CREATE EXTENSION pg_trgm;
    CREATE TABLE rows (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, old serial, name text);
    INSERT INTO rows (name) VALUES ('one'), ('two');
    CREATE TABLE "a b'c" (x int) PARTITION BY LIST (x);
    CREATE TABLE part PARTITION OF "a b'c" FOR VALUES IN (1);
    GRANT SELECT ON rows TO readers;
    CREATE INDEX ON rows USING gin (name gin_trgm_ops);
    CREATE VIEW seen AS SELECT name FROM rows;
    CREATE MATERIALIZED VIEW kept AS SELECT name FROM rows;
    CREATE SEQUENCE alone;
    CREATE TYPE mood AS ENUM ('good');
    CREATE TYPE pair AS (a int, b int);
    CREATE TYPE span AS RANGE (subtype = float8);
    CREATE DOMAIN positive AS int CHECK (VALUE > 0);
    CREATE FUNCTION double(x int) RETURNS int LANGUAGE sql AS 'SELECT 2 * x';
    CREATE PROCEDURE nothing(INOUT x int) LANGUAGE plpgsql AS 'BEGIN END';
    CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int4, INITCOND = '0');
    CREATE OPERATOR other.<+> (FUNCTION = int4pl, LEFTARG = int, RIGHTARG = int);
    CREATE OPERATOR @!@ (FUNCTION = double, RIGHTARG = int);
    CREATE OPERATOR FAMILY other.family USING btree;
    CREATE OPERATOR CLASS other.class FOR TYPE int4 USING btree FAMILY other.family AS
        OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 btint4cmp(int4, int4);
    CREATE COLLATION mine (provider = libc, locale = 'C');
    CREATE CONVERSION way FOR 'UTF8' TO 'LATIN1' FROM utf8_to_iso8859_1;
    CREATE STATISTICS related ON id, name FROM rows;
    CREATE TEXT SEARCH DICTIONARY words (TEMPLATE = simple);
    CREATE TEXT SEARCH CONFIGURATION search (COPY = simple);
    CREATE FOREIGN DATA WRAPPER wrapper;
    CREATE SERVER far FOREIGN DATA WRAPPER wrapper;
    CREATE USER MAPPING FOR fastzero SERVER far OPTIONS (password 'a=b''c');
    CREATE FOREIGN TABLE distant (x int) SERVER far;
    CREATE PUBLICATION chosen FOR TABLE rows;
    CREATE PUBLICATION everything FOR ALL TABLES;
    CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
    CREATE EVENT TRIGGER watching ON ddl_command_end EXECUTE FUNCTION watch();
    ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO readers;
    ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
    SELECT lo_from_bytea(7777, 'large');
    CREATE TABLE of_ana (x int);
    ALTER TABLE of_ana OWNER TO ana;
"""
# What is whose, by name; only a superuser may own what is left to it.
OWNERS = """
    SELECT pg_get_userbyid(owner), array_agg(name ORDER BY name) FROM (
        SELECT relowner, relname FROM pg_class WHERE oid >= 16384 AND relkind NOT IN ('i', 'I', 't')
            AND relnamespace <> 'pg_toast'::regnamespace
        UNION ALL SELECT nspowner, nspname FROM pg_namespace WHERE oid >= 16384
        UNION ALL SELECT proowner, proname FROM pg_proc p WHERE oid >= 16384
            AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype IN ('e', 'i'))
        UNION ALL SELECT typowner, typname FROM pg_type t WHERE oid >= 16384 AND typtype IN ('e', 'd', 'r')
        UNION ALL SELECT oprowner, oprname FROM pg_operator o WHERE oid >= 16384
            AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = o.oid AND d.deptype = 'e')
        UNION ALL SELECT opcowner, opcname FROM pg_opclass c WHERE oid >= 16384
            AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
        UNION ALL SELECT opfowner, opfname FROM pg_opfamily f WHERE oid >= 16384
            AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = f.oid AND d.deptype = 'e')
        UNION ALL SELECT collowner, collname FROM pg_collation WHERE oid >= 16384
        UNION ALL SELECT conowner, conname FROM pg_conversion WHERE oid >= 16384
        UNION ALL SELECT stxowner, stxname FROM pg_statistic_ext
        UNION ALL SELECT dictowner, dictname FROM pg_ts_dict WHERE oid >= 16384
        UNION ALL SELECT cfgowner, cfgname FROM pg_ts_config WHERE oid >= 16384
        UNION ALL SELECT srvowner, srvname FROM pg_foreign_server
        UNION ALL SELECT fdwowner, fdwname FROM pg_foreign_data_wrapper
        UNION ALL SELECT pubowner, pubname FROM pg_publication
        UNION ALL SELECT evtowner, evtname FROM pg_event_trigger
        UNION ALL SELECT extowner, extname FROM pg_extension
        UNION ALL SELECT lomowner, oid::text FROM pg_largeobject_metadata
    ) AS owned (owner, name) GROUP BY 1
"""


class Roles:
    """A server, and the sessions that are asked for. `deny` makes the next one of a role fail, as a kill would."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.deny = ""

    def open(self, role: str, database: str) -> psycopg.Connection:
        if role == self.deny:
            self.deny = ""
            raise KeyboardInterrupt
        url = self.served.url(database, PASSWORDS[role], role)
        return psycopg.connect(url, autocommit=True, options=roles.OPTIONS)

    def plainly(self, role: str, database: str) -> psycopg.Connection:
        """A session as a person has it."""
        return psycopg.connect(self.served.url(database, PASSWORDS[role], role), autocommit=True)

    def ask(self, query: str, role: str = SUPERUSER, database: str = DATABASE) -> list[tuple[object, ...]]:
        with self.plainly(role, database) as session:
            return session.execute(query.encode()).fetchall()

    def owners(self, role: str = SUPERUSER) -> dict[str, list[str]]:
        with self.plainly(role, DATABASE) as session:
            return dict(session.execute(OWNERS.encode()).fetchall())

    def do(self, statements: str, role: str = OWNER) -> None:
        with self.plainly(role, DATABASE) as session:
            session.execute(statements.encode())

    def is_refused(self, query: str, role: str, database: str = DATABASE) -> bool:
        with self.plainly(role, database) as session:
            try:
                session.execute(query.encode())
            except psycopg.errors.InsufficientPrivilege:
                return True
        return False

    def separate(self) -> None:
        roles.separate(self.open, DATABASE, PASSWORDS)
        roles.hand_over_others(self.open, DATABASE)


@pytest.fixture(scope="module")
def of_before(binaries: Binaries, account: ServiceUser | None) -> Iterator[Path]:
    """A data directory as older versions made it."""
    folder = Path(tempfile.mkdtemp(dir=session_folder()))
    folder.chmod(0o755)
    made = [f"CREATE DATABASE {DATABASE}"]
    initialise(folder / "data", binaries, account, superuser=OWNER, password=PASSWORDS[OWNER], statements=made)
    yield folder / "data"
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def of_today(binaries: Binaries, account: ServiceUser | None) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(dir=session_folder()))
    folder.chmod(0o755)
    made = roles.creation(literal(PASSWORDS[OWNER]), DATABASE)
    initialise(folder / "data", binaries, account, superuser=SUPERUSER, password=PASSWORDS[SUPERUSER], statements=made)
    yield folder / "data"
    shutil.rmtree(folder)


@pytest.fixture
def new(of_today: Path, folder: Path, serve: Serve) -> Roles:
    subprocess.run(["cp", "-a", str(of_today), str(folder / "data")], check=True)
    return Roles(serve(folder / "data"))


@pytest.fixture
def old(of_before: Path, folder: Path, serve: Serve) -> Roles:
    """A server of before with one of everything, in two databases."""
    subprocess.run(["cp", "-a", str(of_before), str(folder / "data")], check=True)
    old = Roles(serve(folder / "data"))
    with old.plainly(OWNER, DATABASE) as session:
        session.execute(CONTENT.encode())
        session.execute("CREATE DATABASE second TEMPLATE fastzero")
        session.execute("ALTER DATABASE second ALLOW_CONNECTIONS false")
    return old


# -- what each may do ------------------------------------------------------------------------------------------

ATTRIBUTES = """
    SELECT rolname::text, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls
    FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1
"""
FOR_SUPERUSERS = {
    "a program": "COPY (SELECT 1) TO PROGRAM 'cat'",
    "a program's output": "CREATE TABLE x (x text); COPY x FROM PROGRAM 'env'",
    "a file": "SELECT pg_read_file('/etc/hostname')",
    "a file to write": "COPY (SELECT 1) TO '/tmp/fastzero-x'",
    "a folder": "SELECT pg_ls_dir('/')",
    "a role": "CREATE ROLE bob",
    "itself as superuser": f"ALTER ROLE {OWNER} SUPERUSER",
    "the superuser's password": f"ALTER ROLE {SUPERUSER} PASSWORD 'x'",
    "the superuser": f"SET ROLE {SUPERUSER}",
    "the server's settings": "ALTER SYSTEM SET work_mem = '1MB'",
    "passwords": "SELECT rolpassword FROM pg_authid",
    "a language": "CREATE EXTENSION file_fdw",
    "settings of the server": "SELECT pg_reload_conf()",
}


def test_a_new_server_has_a_superuser_and_an_owner_who_is_none(new: Roles) -> None:
    assert new.ask(ATTRIBUTES) == [
        (OWNER, False, False, True, False, False),
        (SUPERUSER, True, True, True, True, True),
    ]


@pytest.mark.parametrize("what", FOR_SUPERUSERS)
def test_the_owner_is_refused(new: Roles, what: str) -> None:
    assert new.is_refused(FOR_SUPERUSERS[what], OWNER)


def test_the_owner_makes_and_drops_what_it_needs(new: Roles) -> None:
    with new.plainly(OWNER, DATABASE) as session:
        for statement in (
            "CREATE EXTENSION pg_trgm",
            "CREATE SCHEMA mine",
            "CREATE TABLE mine.x (x int)",
            "DROP EXTENSION pg_trgm",
            "CREATE DATABASE scratch TEMPLATE template0",
            "ALTER DATABASE scratch RENAME TO another",
            "DROP DATABASE another",
        ):
            session.execute(statement.encode())


@pytest.mark.parametrize("what", [*FOR_SUPERUSERS, "a table", "a schema", "a temporary table", "a column", "to drop"])
def test_the_app_is_refused(new: Roles, what: str) -> None:
    definitions = {
        "a table": "CREATE TABLE y (x int)",
        "a schema": "CREATE SCHEMA y",
        "a temporary table": "CREATE TEMPORARY TABLE y (x int)",
        "a column": "ALTER TABLE rows ADD y int",
        "to drop": "DROP TABLE rows",
    }
    new.do("CREATE TABLE rows (x int)")
    roles.admit_app(new.open, DATABASE, PASSWORDS[APP])

    assert new.is_refused({**FOR_SUPERUSERS, **definitions}[what], APP)


def test_the_app_uses_rows_of_tables_from_before_and_from_later(new: Roles) -> None:
    new.do("CREATE TABLE before (id serial, x int)")
    roles.admit_app(new.open, DATABASE, PASSWORDS[APP])
    new.do("CREATE TABLE later (id serial, x int); CREATE SCHEMA s; CREATE TABLE s.later (id serial)")

    with new.plainly(APP, DATABASE) as session:
        for table in ("before", "later"):
            session.execute(f"INSERT INTO {table} (x) VALUES (1)".encode())
            session.execute(f"UPDATE {table} SET x = 2".encode())
            assert session.execute(f"SELECT * FROM {table}".encode()).fetchall() == [(1, 2)]
            session.execute(f"DELETE FROM {table}".encode())
        session.execute("INSERT INTO s.later DEFAULT VALUES")


@pytest.mark.parametrize("other", ["postgres", "template1", "of_the_owner", "of_another"])
def test_the_app_cannot_connect_to_another_database(new: Roles, other: str) -> None:
    new.do("CREATE DATABASE of_the_owner")
    with new.plainly(SUPERUSER, DATABASE) as session:
        session.execute("CREATE ROLE ana")
        session.execute("CREATE DATABASE of_another OWNER ana")
    roles.admit_app(new.open, DATABASE, PASSWORDS[APP])

    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        new.plainly(APP, other)


def test_the_owner_ends_the_sessions_of_the_app(new: Roles) -> None:
    roles.admit_app(new.open, DATABASE, PASSWORDS[APP])
    with new.plainly(APP, DATABASE) as session:
        ended = f"SELECT pg_terminate_backend({session.info.backend_pid}, 5000)"
        assert new.ask(ended, OWNER) == [(True,)]


def test_the_app_s_role_goes_with_all_that_it_was_granted(new: Roles) -> None:
    new.do("CREATE TABLE x (x int)")
    for _ in range(2):
        roles.admit_app(new.open, DATABASE, PASSWORDS[APP])
        roles.dismiss_app(new.open)

    assert new.ask(f"SELECT count(*) FROM pg_roles WHERE rolname = '{APP}'") == [(0,)]
    assert new.ask("SELECT count(*) FROM pg_default_acl") == [(0,)]


def test_a_stand_in_acts_as_the_role_and_leaves_it_all_it_made(new: Roles) -> None:
    roles.admit_stand_in(new.open, OWNER, "first")
    roles.admit_stand_in(new.open, OWNER, "of the stand-in")
    url = new.served.url(DATABASE, "of the stand-in", roles.STAND_INS[OWNER])
    with psycopg.connect(url, autocommit=True) as session:
        assert session.execute("SELECT current_user, session_user").fetchone() == (OWNER, roles.STAND_INS[OWNER])
        session.execute("CREATE TABLE made (x int)")
        session.execute("RESET ALL")
        session.execute("DISCARD ALL")  # as poolers do
        session.execute("CREATE TABLE also (x int)")
        session.execute("SET ROLE NONE")
        assert new.is_refused("CREATE ROLE other", OWNER)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("CREATE ROLE other")

        roles.dismiss_stand_in(new.open, DATABASE, OWNER)

    assert new.ask("SELECT DISTINCT tableowner FROM pg_tables WHERE tablename IN ('made', 'also')") == [(OWNER,)]
    assert new.ask(f"SELECT FROM pg_roles WHERE rolname = '{roles.STAND_INS[OWNER]}'") == []
    roles.dismiss_stand_in(new.open, DATABASE, OWNER)
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        psycopg.connect(url)


def test_nothing_of_the_owner_s_runs_as_the_superuser(new: Roles) -> None:
    new.do(
        """
        CREATE SCHEMA trap;
        CREATE TABLE trap.sprung (by text);
        CREATE FUNCTION trap.spring(name, text) RETURNS bool LANGUAGE plpgsql
            AS 'BEGIN INSERT INTO trap.sprung VALUES (current_user); RETURN true; END';
        CREATE FUNCTION trap.spring(text, text) RETURNS bool LANGUAGE plpgsql
            AS 'BEGIN INSERT INTO trap.sprung VALUES (current_user); RETURN true; END';
        CREATE OPERATOR trap.= (FUNCTION = trap.spring, LEFTARG = name, RIGHTARG = text);
        CREATE OPERATOR trap.= (FUNCTION = trap.spring, LEFTARG = text, RIGHTARG = text);
        ALTER DATABASE fastzero SET search_path = trap, pg_catalog;
        """
    )
    roles.admit_app(new.open, DATABASE, PASSWORDS[APP])
    roles.separate(new.open, DATABASE, PASSWORDS)
    roles.hand_over_others(new.open, DATABASE)
    roles.dismiss_app(new.open)

    assert new.ask("SELECT * FROM trap.sprung") == []
    with new.plainly(SUPERUSER, DATABASE) as session:  # the trap is one
        session.execute("SELECT 'x'::text = 'y'::text")
    assert new.ask("SELECT by FROM trap.sprung") == [(SUPERUSER,)]


# -- one role becomes two --------------------------------------------------------------------------------------


def test_what_was_the_superusers_is_the_owners_and_the_rest_stays(old: Roles) -> None:
    before = old.owners(OWNER)
    old.separate()
    after = old.owners()

    # A multirange follows its range, an extension has no other owner, and what an event trigger runs could be replaced.
    stays = {"everything", "pg_trgm", "plpgsql", "watch", "watching", "wrapper"}
    assert set(before) == {OWNER, "ana"}
    assert set(after[SUPERUSER]) == stays
    assert set(after[OWNER]) == set(before[OWNER]) - stays
    assert after["ana"] == before["ana"]


def test_rows_grants_settings_and_memberships_are_as_they_were(old: Roles) -> None:
    old.separate()

    assert old.ask("SELECT name FROM rows", OWNER) == [("one",), ("two",)]
    assert old.ask("SELECT has_table_privilege('readers', 'rows', 'SELECT')") == [(True,)]
    assert old.ask("SHOW statement_timeout", OWNER) == [("77s",)]
    assert old.ask("SHOW search_path", OWNER) == [("public, other",)]
    assert old.ask("SHOW statement_timeout", SUPERUSER) == [("0",)]
    assert old.ask(f"SELECT rolconnlimit FROM pg_roles WHERE rolname = '{OWNER}'") == [(42,)]
    assert old.ask(f"SELECT pg_has_role('ana', '{OWNER}', 'USAGE'), pg_has_role('{OWNER}', 'readers', 'USAGE')") == [
        (True, True)
    ]
    assert old.ask(f"SELECT pg_has_role('ana', '{SUPERUSER}', 'MEMBER')") == [(False,)]
    assert old.ask(f"SELECT umoptions FROM pg_user_mappings WHERE usename = '{OWNER}'") == [(["password=a=b'c"],)]
    assert old.ask("SELECT encode(lo_get(7777), 'escape')", OWNER) == [("large",)]


def test_default_privileges_are_the_new_owners(old: Roles) -> None:
    old.separate()
    old.do("CREATE TABLE later (x int); CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'")

    assert old.ask("SELECT has_table_privilege('readers', 'later', 'SELECT')") == [(True,)]
    assert old.ask("SELECT has_function_privilege('readers', 'f()', 'EXECUTE')") == [(False,)]


def test_the_owner_of_before_is_no_superuser_and_keeps_its_password(old: Roles) -> None:
    old.separate()

    assert (OWNER, False, False, True, False, False) in old.ask(ATTRIBUTES, OWNER)
    assert TEMPORARY not in [row[0] for row in old.ask(ATTRIBUTES)]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(old.served.url(DATABASE, PASSWORDS[OWNER], SUPERUSER))


def test_databases_of_the_owner_s_own_are_handed_over_too_also_closed_ones(old: Roles) -> None:
    old.separate()

    assert old.ask("SELECT datallowconn, pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'second'") == [
        (False, OWNER)
    ]
    old.do("ALTER DATABASE second ALLOW_CONNECTIONS true")
    assert old.ask("SELECT name FROM rows", OWNER, "second") == [("one",), ("two",)]


def test_a_session_of_the_superuser_of_before_ends(old: Roles) -> None:
    with old.plainly(OWNER, DATABASE) as session:
        old.separate()
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")


def test_a_role_that_has_the_superuser_s_name_is_told_and_nothing_is_changed(old: Roles) -> None:
    old.do(f"CREATE ROLE {SUPERUSER}")
    before = old.ask(ATTRIBUTES, OWNER)

    with pytest.raises(ConflictError, match="role postgres already exists") as caught:
        old.separate()
    assert "ALTER ROLE postgres RENAME TO" in caught.value.hint
    assert old.ask(ATTRIBUTES, OWNER) == before


@pytest.mark.parametrize("at", [OWNER, TEMPORARY, SUPERUSER])
def test_what_was_killed_is_completed_by_the_next_call(old: Roles, at: str) -> None:
    before = old.owners(OWNER)
    old.deny = at
    with pytest.raises(KeyboardInterrupt):
        old.separate()
    assert old.ask("SELECT name FROM rows", OWNER) == [("one",), ("two",)], "the owner goes on working"

    old.separate()

    assert len(old.owners()[OWNER]) == len(before[OWNER]) - 6
    assert TEMPORARY not in [row[0] for row in old.ask(ATTRIBUTES)]


def test_twice_is_once(old: Roles) -> None:
    old.separate()
    once = (old.ask(OWNERS), old.ask(ATTRIBUTES))
    old.separate()
    assert (old.ask(OWNERS), old.ask(ATTRIBUTES)) == once


# -- and one again ---------------------------------------------------------------------------------------------


def test_the_way_back_makes_it_as_older_versions_have_it(old: Roles) -> None:
    before = (old.owners(OWNER), old.ask(ATTRIBUTES, OWNER))
    old.separate()
    roles.admit_app(old.open, DATABASE, PASSWORDS[APP])
    roles.dismiss_app(old.open)

    roles.unite(old.open, DATABASE, PASSWORDS)

    assert (old.owners(OWNER), old.ask(ATTRIBUTES, OWNER)) == before
    assert old.ask("SELECT name FROM rows", OWNER) == [("one",), ("two",)]
    assert old.ask("SHOW search_path", OWNER) == [("public, other",)]
    assert old.ask("SELECT has_table_privilege('readers', 'rows', 'SELECT')", OWNER) == [(True,)]
    assert old.ask(f"SELECT oid::int FROM pg_roles WHERE rolname = '{OWNER}'", OWNER) == [(roles.BOOTSTRAP,)]
    old.separate()
    assert old.ask("SELECT name FROM rows", OWNER) == [("one",), ("two",)]


@pytest.mark.parametrize("at", [SUPERUSER, TEMPORARY])
def test_a_way_back_that_was_killed_is_gone_on_with_or_undone(old: Roles, at: str) -> None:
    old.separate()
    old.deny = at
    with pytest.raises(KeyboardInterrupt):
        roles.unite(old.open, DATABASE, PASSWORDS)

    old.separate()
    assert old.ask("SELECT name FROM rows", OWNER) == [("one",), ("two",)]

    roles.unite(old.open, DATABASE, PASSWORDS)
    assert old.ask("SELECT name FROM rows", OWNER) == [("one",), ("two",)]
