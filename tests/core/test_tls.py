"""The mode of TLS that a URL names counts for every way to a database: this server has none, and is refused."""

from collections.abc import Callable

import pytest

from fastzero_core import FastZero
from fastzero_core.errors import BinariesNotFoundError, DatabaseUnreachableError
from fastzero_core.postgres.programs import find_programs
from fastzero_core.settings import load_settings
from fastzero_core.stack import probe
from fastzero_core.stack.doctor import examine


def list_users(url: str) -> object:
    with FastZero(url) as fz:
        return fz.users.list()


WAYS: dict[str, Callable[[str], object]] = {
    "the library": list_users,
    "a probe": probe.revision_of,
    "doctor's": probe.is_encrypted,
    "a program": lambda url: find_programs(url, 18).run("pg_dump", ["--no-password", "--schema-only"], "postgres"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
def test_a_server_without_tls_is_refused_where_it_is_required(database_url: str, way: str, mode: str) -> None:
    separator = "&" if "?" in database_url else "?"
    # Programs may be built without TLS.
    with pytest.raises((DatabaseUnreachableError, BinariesNotFoundError), match=r"SSL|root certificate|TLS"):
        WAYS[way](f"{database_url}{separator}sslmode={mode}")


def test_doctor_shows_the_mode_and_whether_the_session_is_encrypted(database_url: str) -> None:
    found = {finding.code: finding for finding in examine(load_settings(database_url=database_url))}
    assert found["tls"].result == "ok"
    assert "is not encrypted (sslmode=prefer)" in found["tls"].found
