"""What an upgrade carries from server to server: roles, memberships as they were, ALTER SYSTEM settings."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from fastzero_core.backup import carry, roles
from fastzero_core.backup.roles import Membership
from fastzero_core.events import Event, Notice
from fastzero_core.polling import wait_until
from fastzero_core.postgres import database
from fastzero_core.postgres.database import url_of

ANA = '"it\'s ""ana"""'
MEMBERSHIPS = """
    SELECT g.rolname, m.rolname, b.rolname, admin_option, inherit_option, set_option FROM pg_auth_members
    JOIN pg_roles g ON g.oid = roleid JOIN pg_roles m ON m.oid = member JOIN pg_roles b ON b.oid = grantor
    WHERE m.rolname !~ '^pg_' ORDER BY 1, 2, 3
"""
ROLES = """
    SELECT rolname, rolpassword, rolcanlogin, rolinherit, rolcreaterole, rolconnlimit, setconfig,
        shobj_description(a.oid, 'pg_authid')
    FROM pg_authid a LEFT JOIN pg_db_role_setting ON setrole = a.oid AND setdatabase = 0
    WHERE rolname !~ '^pg_' AND rolname <> current_user ORDER BY 1
"""
SYSTEM = "SELECT name, setting FROM pg_file_settings WHERE sourcefile ~ 'auto.conf$' ORDER BY 1"


# -- two servers -----------------------------------------------------------------------------------------------


@contextmanager
def _server(major: int, data: str) -> Iterator[str]:
    """The URL of a throw-away server of that version, its data in memory."""
    os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"  # the session's own server needs it so as well
    from testcontainers.core.container import DockerContainer

    password = secrets.token_hex(16)
    container = (
        DockerContainer(f"postgres:{major}")
        .with_env("POSTGRES_USER", "fastzero")
        .with_env("POSTGRES_PASSWORD", password)
        .with_env("POSTGRES_INITDB_ARGS", "--no-sync")
        .with_exposed_ports(5432)
        .with_tmpfs_mount(data)
        .start()
    )
    try:
        address = f"{container.get_container_host_ip()}:{container.get_exposed_port(5432)}"
        url = f"postgresql://fastzero:{password}@{address}/fastzero"
        assert wait_until(lambda: _answers(url), 60)
        yield url
    finally:
        container.stop()


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.fixture(scope="module")
def old() -> Iterator[str]:
    with _server(17, "/var/lib/postgresql/data") as url:
        yield url


@pytest.fixture(scope="module")
def new() -> Iterator[str]:
    with _server(18, "/var/lib/postgresql") as url:
        yield url


def _execute(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as session:
        for statement in statements:
            session.execute(statement.encode())


def _rows(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as session:
        return session.execute(query.encode()).fetchall()


def _reset(*urls: str) -> None:
    for url in urls:
        _execute(url, "ALTER SYSTEM RESET ALL")


def _notices(told: list[Event]) -> list[str]:
    return [event.text for event in told if isinstance(event, Notice)]


@pytest.mark.docker
@pytest.mark.slow
def test_roles_and_memberships_are_the_same_on_a_newer_server(old: str, new: str) -> None:
    _execute(
        old,
        f"CREATE ROLE {ANA} LOGIN PASSWORD 'secret' CONNECTION LIMIT 7",
        f"COMMENT ON ROLE {ANA} IS 'the first'",
        f"""ALTER ROLE {ANA} SET search_path = public, "it's", "a, b" """,
        "CREATE ROLE staff",
        "CREATE ROLE reader NOINHERIT",
        "CREATE ROLE boss CREATEROLE LOGIN",
        "CREATE ROLE deputy",
        "CREATE ROLE worker",
        "GRANT staff TO reader WITH INHERIT FALSE, SET FALSE",
        f"GRANT staff TO {ANA} WITH INHERIT TRUE, SET FALSE",
        "GRANT pg_read_all_data TO reader WITH INHERIT FALSE, SET TRUE",
        # By whom: fastzero lets the deputy, who lets the boss, who lets the worker, who is older than all of them.
        "GRANT staff TO deputy WITH ADMIN TRUE, INHERIT FALSE, SET FALSE",
        "GRANT staff TO boss WITH ADMIN TRUE, INHERIT FALSE GRANTED BY deputy",
        "GRANT staff TO worker WITH SET FALSE GRANTED BY boss",
        "GRANT staff TO worker WITH INHERIT FALSE GRANTED BY deputy",
        "SET ROLE boss",
        "CREATE ROLE made_by_boss",
        "GRANT made_by_boss TO worker",
        "RESET ROLE",
    )
    told: list[Event] = []
    carry.carry_roles(old, new, told.append)
    assert _rows(new, MEMBERSHIPS) == _rows(old, MEMBERSHIPS)
    assert _rows(new, ROLES) == _rows(old, ROLES)
    assert _notices(told) == []


@pytest.mark.docker
@pytest.mark.slow
def test_alter_system_settings_are_carried_and_what_cannot_be_is_told(old: str, new: str) -> None:
    _reset(old, new)
    _execute(
        old,
        "ALTER SYSTEM SET work_mem = '7MB'",
        "ALTER SYSTEM SET log_line_prefix = 'it''s %m \\ '",
        'ALTER SYSTEM SET search_path = public, "a, b"',
        "ALTER SYSTEM SET shared_preload_libraries = pg_stat_statements, auto_explain",
        "ALTER SYSTEM SET session_preload_libraries = nowhere",
        "ALTER SYSTEM SET auto_explain.log_min_duration = '3s'",
        "ALTER SYSTEM SET port = 5433",
        "ALTER SYSTEM SET listen_addresses = 'localhost'",
        "ALTER SYSTEM SET my_application.x = 1",
        "ALTER SYSTEM SET ssl_cert_file = 'mine.crt'",
        "ALTER SYSTEM SET default_toast_compression = lz4",
    )
    told: list[Event] = []
    carry.carry_system_settings(old, new, told.append)
    left_out = {"port", "listen_addresses", "session_preload_libraries", "ssl_cert_file"}
    assert _rows(new, SYSTEM) == [row for row in _rows(old, SYSTEM) if row[0] not in left_out]
    session_libraries, certificate = sorted(_notices(told))
    assert session_libraries.endswith("session_preload_libraries: the new server does not have the library nowhere")
    assert certificate.endswith("ssl_cert_file: the file that it needs stays in the old data directory")


@pytest.mark.docker
@pytest.mark.slow
def test_a_setting_that_the_new_server_does_not_know_is_told(old: str, new: str) -> None:
    _reset(old, new)
    _execute(new, "ALTER SYSTEM SET io_max_concurrency = 7")  # which came with 18
    told: list[Event] = []
    carry.carry_system_settings(new, old, told.append)
    (notice,) = _notices(told)
    assert "skipped ALTER SYSTEM setting io_max_concurrency" in notice
    assert "unrecognized configuration parameter" in notice


# -- the order of grants ---------------------------------------------------------------------------------------


def _membership(role: str, member: str, grantor: str | None, *, admin: bool = False) -> Membership:
    return Membership(role, member, grantor, admin, inherit=True, set=False)


def test_who_grants_has_been_granted_admin_before() -> None:
    last = _membership("staff", "worker", "boss")
    second = _membership("staff", "boss", "deputy", admin=True)
    first = _membership("staff", "deputy", None, admin=True)
    assert list(roles.in_order([last, second, first])) == [first, second, last]


def test_where_a_grantor_has_no_admin_another_grants_and_the_former_one_is_told() -> None:
    by_creator = _membership("staff", "boss", "creator", admin=True)
    by_boss = _membership("staff", "worker", "boss")
    given = list(roles.in_order([by_boss, by_creator]))
    assert [(each.member, each.grantor, each.former) for each in given] == [
        ("boss", None, "creator"),
        ("worker", "boss", None),
    ]


def test_a_grant_says_every_option_and_none_where_a_server_does_not_know_them() -> None:
    granted = _membership("staff", 'a"b', "boss", admin=True)
    assert granted.grant(18) == ('GRANT "staff" TO "a""b" WITH ADMIN True, INHERIT True, SET False GRANTED BY "boss"')
    assert granted.grant(15) == 'GRANT "staff" TO "a""b" WITH ADMIN OPTION GRANTED BY "boss"'


def test_the_memberships_of_this_server_can_be_read(empty_database_url: str) -> None:
    with database.create_engine(url_of(empty_database_url, "postgres")).connect() as session:
        assert all(each.former is None for each in roles.memberships(session))
