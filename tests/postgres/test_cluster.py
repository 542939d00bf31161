"""A data directory: whole or not there, and its roles' passwords while no server runs."""

import os
from pathlib import Path

import psycopg
import pytest

from fastzero_core.errors import UnhealthyError, VersionMismatchError
from fastzero_core.postgres.account import ServiceUser
from fastzero_core.postgres.binaries import Binaries
from fastzero_core.postgres.cluster import initialise, major_of, remove_unfinished, set_passwords, unfinished

from .conftest import NAME, Serve

pytestmark = pytest.mark.slow


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_initialised_cluster_has_the_role_and_the_database_that_were_named(data: Path, serve: Serve) -> None:
    with psycopg.connect(serve(data).url()) as session:
        assert session.execute("SELECT current_user, current_database()").fetchone() == ("ana", NAME)
        assert session.execute("SHOW data_checksums").fetchone() == ("on",)
        assert session.execute("SHOW server_encoding").fetchone() == ("UTF8",)
        locale = session.execute("SELECT datlocprovider, datlocale FROM pg_database WHERE datname = 'template1'")
        assert locale.fetchone() == ("b", "C.UTF-8")


def test_nothing_lies_beside_a_cluster_that_is_whole(cluster: Path) -> None:
    assert names_in(cluster.parent) == ["data"]


def test_a_cluster_is_its_owners_alone(cluster: Path, account: ServiceUser | None) -> None:
    assert cluster.stat().st_mode & 0o777 == 0o700
    assert cluster.stat().st_uid == (account.uid if account else os.getuid())


def test_a_login_needs_the_password(data: Path, serve: Serve) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(serve(data).url(password="another"))


def test_an_initialisation_that_fails_leaves_nothing(
    folder: Path, binaries: Binaries, account: ServiceUser | None
) -> None:
    with pytest.raises(UnhealthyError, match="initdb failed") as caught:
        initialise(folder / "data", binaries, account, superuser="pg_reserved", password="x")

    assert "pg_reserved" in caught.value.evidence
    assert names_in(folder) == []


def test_a_statement_that_fails_does_not_repeat_the_password(
    folder: Path, binaries: Binaries, account: ServiceUser | None
) -> None:
    initialise(folder / "data", binaries, account, superuser="ana", password="first")

    with pytest.raises(UnhealthyError, match="postgres failed") as caught:
        set_passwords(folder / "data", binaries, account, {"nobody": "s3kr1t"})

    assert 'role "nobody" does not exist' in caught.value.evidence
    assert "s3kr1t" not in caught.value.evidence


@pytest.mark.parametrize("password", ["it's", "back\\slash", 'say "x"; DROP TABLE x', "$1%s", "é"])
def test_a_password_is_changed_while_no_server_runs(
    data: Path, binaries: Binaries, account: ServiceUser | None, serve: Serve, password: str
) -> None:
    set_passwords(data, binaries, account, {"ana": password})

    psycopg.connect(serve(data).url(password=password)).close()


def test_what_a_killed_initialisation_left_is_found_and_removed(folder: Path) -> None:
    for name in (".data.init-1", ".data.init-2", ".data-2.init-3", "data"):
        (folder / name / "cluster").mkdir(parents=True)

    found = unfinished(folder / "data")
    for path in found:
        remove_unfinished(path)

    assert [path.name for path in found] == [".data.init-1", ".data.init-2"]
    assert names_in(folder) == [".data-2.init-3", "data"]


def test_the_major_version_of_a_cluster_is_written_in_it(cluster: Path, binaries: Binaries, folder: Path) -> None:
    assert major_of(cluster) == binaries.major
    assert major_of(folder / "nothing") is None


@pytest.mark.parametrize("content", [b"", b"\xff", b"eighteen"])
def test_a_cluster_that_does_not_say_its_version_is_an_error_and_not_an_absent_one(
    folder: Path, content: bytes
) -> None:
    (folder / "PG_VERSION").write_bytes(content)

    with pytest.raises(VersionMismatchError, match="does not contain a PostgreSQL version"):
        major_of(folder)
