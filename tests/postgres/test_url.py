"""Database URLs: every reader of one reads what was meant, and none of them loads SQLAlchemy for it."""

from pathlib import Path

import pytest
from psycopg.pq import Conninfo
from sqlalchemy.engine import make_url

from fastzero_core.backup.target import backups_of_url
from fastzero_core.errors import InvalidInputError
from fastzero_core.postgres import url as urls
from fastzero_core.postgres.database import parse_url
from fastzero_core.postgres.url import (
    address,
    clear_password,
    conninfo,
    database_url,
    parse,
    render,
    same_database,
    url_of,
    variables,
    without_password,
)

NAMES = ["plain", "a b'c\"d%=é", "a/b", "a?b#c", "a+b", "a@b:c", "%20", "[x]", "日本", "a&b=c"]
OWN = "postgresql://fastzero:secret@127.0.0.1:5433/fastzero"


def read_by_libpq(url: str) -> dict[str, str]:
    options = Conninfo.parse(url.encode())
    return {option.keyword.decode(): option.val.decode() for option in options if option.val is not None}


@pytest.mark.parametrize("name", NAMES)
def test_every_reader_reads_the_names_that_were_meant(name: str) -> None:
    url = database_url(name, name, "127.0.0.1", 5433, name)

    meant = {"user": name, "password": name, "host": "127.0.0.1", "port": "5433", "dbname": name}
    assert read_by_libpq(url) == parse(url) == meant
    by_sqlalchemy = make_url(url)
    assert (by_sqlalchemy.username, by_sqlalchemy.password, by_sqlalchemy.database) == (name, name, name)


@pytest.mark.parametrize("host", ["db.example.com", "::1", "fe80::1%eth0", "/var/run/postgresql"])
def test_a_host_may_be_a_name_an_address_or_the_folder_of_a_socket(host: str) -> None:
    url = database_url("ana", None, host, 5432, "x")

    assert parse(url)["host"] == host
    if "%" not in host:  # a zone is part of the address to SQLAlchemy, and quoted to libpq
        assert read_by_libpq(url)["host"] == host


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dbname": "x"},
        {"host": "a,b", "port": "1,2", "target_session_attrs": "any"},
        {"host": "h", "options": "-c search_path=a b+c", "sslmode": "require", "dbname": "x y"},
        {"password": "p", "host": "h"},
    ],
)
def test_what_is_rendered_is_read_again(options: dict[str, str]) -> None:
    assert parse(render(options)) == read_by_libpq(render(options)) == options


@pytest.mark.parametrize("url", ["", "x", "postgresql", "postgresql://h:port/x", "://h/x"])
def test_what_cannot_be_read_is_invalid(url: str) -> None:
    with pytest.raises(InvalidInputError, match="cannot be read") as caught:
        parse(url)

    assert caught.value.field == "database_url"


def test_another_database_is_refused_by_its_name() -> None:
    with pytest.raises(InvalidInputError, match="'mysql'; fastzero needs PostgreSQL"):
        parse("mysql://h/x")


@pytest.mark.parametrize("url", ["postgresql://h/a%00b", "postgresql://h/a\0b", "postgresql://h/a\udcff"])
def test_what_is_no_text_is_invalid(url: str) -> None:
    with pytest.raises(InvalidInputError):
        parse(url)


# -- environment variables -------------------------------------------------------------------------------------


def test_a_url_as_environment_variables() -> None:
    assert variables(f"{OWN}?sslmode=require&keepalives=0") == {
        "PGHOST": "127.0.0.1",
        "PGPORT": "5433",
        "PGUSER": "fastzero",
        "PGPASSWORD": "secret",
        "PGDATABASE": "fastzero",
        "PGSSLMODE": "require",
    }


def test_the_variables_are_those_of_libpq() -> None:
    known = {option.keyword.decode(): option.envvar.decode() for option in Conninfo.get_defaults() if option.envvar}

    assert known.items() <= urls._VARIABLES.items()


# -- the parts of one ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (OWN, "127.0.0.1:5433"),
        ("postgresql://h/x", "h:5432"),
        ("postgresql://[::1]:1/x", "[::1]:1"),
        ("postgresql:///x", "localhost:5432"),
        ("postgresql:///x?host=h&port=7", "h:7"),
    ],
)
def test_the_address_of_a_url(url: str, expected: str) -> None:
    assert address(url) == expected


def test_a_url_without_its_passwords_has_all_else() -> None:
    url = f"{OWN}?sslmode=require&password=other&sslpassword=third"

    assert without_password(url) == "postgresql://fastzero@127.0.0.1:5433/fastzero?sslmode=require"


def test_the_url_of_another_database_of_the_server() -> None:
    assert url_of("postgresql+psycopg://ana:p@h/x?sslmode=require", "a b") == (
        "postgresql://ana:p@h/a%20b?sslmode=require"
    )


@pytest.mark.parametrize(
    "other",
    [
        OWN,
        "postgres://fastzero@localhost:5433/fastzero",
        "postgresql+psycopg://fastzero:x@[::1]:5433/fastzero?sslmode=disable",
        "postgresql://fastzero@LOCALHOST:5433",
        "postgresql:///?host=localhost&port=5433&user=fastzero&dbname=fastzero",
    ],
)
def test_one_database_has_many_urls(other: str) -> None:
    assert same_database(OWN, other)
    assert same_database(other, OWN)


def test_the_default_port_need_not_be_said() -> None:
    assert same_database("postgresql://h/x", "postgresql://h:5432/x")


@pytest.mark.parametrize(
    "other",
    [
        "postgresql://fastzero@127.0.0.1/fastzero",
        "postgresql://fastzero@127.0.0.1:5433/other",
        "postgresql://ana@127.0.0.1:5433/fastzero",
        "postgresql://fastzero@db:5433/fastzero",
    ],
)
def test_another_port_database_role_or_host_is_another_database(other: str) -> None:
    assert not same_database(OWN, other)


@pytest.mark.parametrize("name", [*NAMES, "back\\slash", "postgresql://h/x"])
def test_a_name_alone_is_never_taken_for_options(name: str) -> None:
    assert read_by_libpq(conninfo(name)) == {"dbname": name}


REMOTE = "postgresql://ana:secret@db.example.com/x"


@pytest.mark.parametrize(
    "query", ["", "?sslmode=disable", "?sslmode=allow", "?sslmode=prefer", "?require_auth=password"]
)
def test_a_password_that_may_cross_a_network_in_clear_is_told_with_the_way_out(query: str) -> None:
    told = clear_password(REMOTE + query)
    assert "db.example.com" in told
    assert "sslmode=verify-full" in told
    assert "secret" not in told


@pytest.mark.parametrize(
    "url",
    [
        f"{REMOTE}?sslmode=require",
        f"{REMOTE}?sslmode=verify-full&sslrootcert=system",
        f"{REMOTE}?require_auth=scram-sha-256",
        "postgresql://ana@db.example.com/x",
        "postgresql://ana:secret@localhost/x",
        "postgresql://ana:secret@127.0.0.1/x",
        "postgresql://ana:secret@[::1]/x",
        "postgresql://ana:secret@/x?host=/var/run/postgresql",
        "postgresql://ana:secret@/x",
    ],
)
def test_a_password_that_cannot_cross_a_network_in_clear_is_no_matter(url: str) -> None:
    assert clear_password(url) == ""


def test_one_host_of_several_is_enough_for_a_password_in_clear() -> None:
    assert "db2.example.com" in clear_password("postgresql://ana:secret@/x?host=localhost,db2.example.com")


def test_the_environment_s_mode_counts_where_the_url_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    assert clear_password(REMOTE) == ""
    assert clear_password(f"{REMOTE}?sslmode=prefer") != ""


SEVERAL = {"host": "a,::1", "port": "1,2", "target_session_attrs": "read-write", "user": "ana", "dbname": "x"}


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ana@a:1,[::1]:2/x",
        "postgresql://ana@/x?host=a:1&host=[::1]:2",
        "postgresql+psycopg://ana@/x?host=a,::1&port=1,2",
    ],
)
def test_several_hosts_may_be_written_in_each_usual_form(url: str) -> None:
    assert parse(url) == read_by_libpq(url_of(url)) == SEVERAL
    parsed = parse_url(url)
    assert parsed.get_dialect()().create_connect_args(parsed)[1] == SEVERAL
    assert address(url) == "a:1,[::1]:2"
    assert (variables(url)["PGHOST"], variables(url)["PGPORT"]) == ("a,::1", "1,2")


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("postgresql://a:1,b/x", "1,5432"),
        ("postgresql:///x?host=a,b&port=7", "7,7"),
        ("postgresql://a,b/x", ""),
        ("postgresql:///x?host=a:1", "1"),
    ],
)
def test_each_host_has_its_port(url: str, port: str) -> None:
    assert parse(url).get("port", "") == port


def test_one_host_may_be_a_standby_and_of_several_a_session_is_with_the_primary_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "target_session_attrs" not in parse("postgresql://a:1/x")
    assert parse("postgresql://a:1,b:2/x?target_session_attrs=any")["target_session_attrs"] == "any"
    monkeypatch.setenv("PGTARGETSESSIONATTRS", "prefer-standby")
    assert "target_session_attrs" not in parse("postgresql://a:1,b:2/x")


def test_more_ports_than_hosts_are_invalid() -> None:
    with pytest.raises(InvalidInputError, match="2 hosts and 3 ports"):
        parse("postgresql:///x?host=a,b&port=1,2,3")


def test_the_order_of_hosts_does_not_make_another_database() -> None:
    assert same_database("postgresql://a:1,b:2/x", "postgresql:///x?host=B:2&host=A:1")
    assert not same_database("postgresql://a:1,b:2/x", "postgresql://a:1,b:3/x")
    one, other = "postgresql://a:1,b:2/x", "postgresql://b:2,a:1/x"
    assert backups_of_url(Path("/tmp/home"), one) == backups_of_url(Path("/tmp/home"), other)
