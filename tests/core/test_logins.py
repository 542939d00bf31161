"""Logins that fail: who waits for how long, from where, however many ask at once."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import psycopg
import pytest
from sqlalchemy import Engine

from fastzero_core import FastZero
from fastzero_core.errors import LoginThrottledError
from fastzero_core.postgres import database
from fastzero_core.todo_app.logins import (
    FREE_FAILURES,
    FREE_FAILURES_ALL,
    LOCAL,
    NETWORKS_MAX,
    WAIT_MAX,
    network_of,
)
from fastzero_core.todo_app.passwords import PasswordHash

NAMES = ["ana", "nobody"]


@pytest.fixture
def engine(database_url: str) -> Engine:
    with FastZero(database_url) as fz:
        fz.users.add("ana", email="ana@example.com", password="correct horse")
    return database.create_engine(database_url)


def fail(engine: Engine, name: str, network: str = LOCAL) -> int:
    """A login with a wrong password; returns the seconds it has to wait, 0 where it was looked at."""
    try:
        with FastZero(engine) as fz:
            fz.logins.fail(fz.logins.begin(name, network))
    except LoginThrottledError as error:
        return error.retry_after
    return 0


def log_in(engine: Engine, name: str, network: str) -> int:
    """A login with the right password; returns the seconds it has to wait, 0 where it succeeds."""
    try:
        with FastZero(engine) as fz:
            fz.logins.succeed(fz.logins.begin(name, network))
    except LoginThrottledError as error:
        return error.retry_after
    return 0


def skip_time(other: psycopg.Connection, seconds: float) -> None:
    """As if so much time had passed since; a negative time is for what waits already."""
    interval = f"{seconds} seconds"
    other.execute(
        """
        UPDATE login_failures
        SET failed_at = failed_at - %(by)s::interval, blocked_until = blocked_until - %(by)s::interval
        WHERE %(by)s::interval > '0' OR blocked_until - failed_at > '0.5 s'
        """,
        {"by": interval},
    )


@pytest.mark.parametrize("name", NAMES)
def test_waits_double_behind_five_failures_up_to_five_minutes(
    name: str, engine: Engine, other: psycopg.Connection
) -> None:
    assert [fail(engine, name) for _ in range(FREE_FAILURES)] == [0] * 5
    waits = []
    for _ in range(11):
        waits.append(fail(engine, name))
        skip_time(other, waits[-1])
        assert fail(engine, name) == 0
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert max(waits) == WAIT_MAX


@pytest.mark.parametrize("name", NAMES)
def test_asking_while_waiting_makes_the_wait_no_longer(name: str, engine: Engine, other: psycopg.Connection) -> None:
    for _ in range(FREE_FAILURES):
        fail(engine, name)
    skip_time(other, -100)  # as if it had to wait for so much longer
    waits = [fail(engine, name) for _ in range(20)]
    assert waits == sorted(waits, reverse=True)
    assert 50 < waits[-1] <= 101


def test_name_and_address_are_one_account(engine: Engine, other: psycopg.Connection) -> None:
    for name in ("ana", "ana@example.com", "ANA", "Ana@Example.com", "ana"):
        assert fail(engine, name) == 0
    skip_time(other, -100)
    assert fail(engine, "ana@example.com") > 0


def test_a_success_ends_the_row(engine: Engine) -> None:
    for _ in range(FREE_FAILURES - 1):
        fail(engine, "ana")
    with FastZero(engine) as fz:
        fz.logins.succeed(fz.logins.begin("ana"))
    assert [fail(engine, "ana") for _ in range(FREE_FAILURES)] == [0] * 5


def test_a_right_password_waits_as_well(engine: Engine, other: psycopg.Connection) -> None:
    with FastZero(engine) as fz:
        early = fz.logins.begin("ana")
    for _ in range(FREE_FAILURES):
        fail(engine, "ana")
    skip_time(other, -100)
    with FastZero(engine) as fz, pytest.raises(LoginThrottledError):
        fz.logins.begin("ana")
    with FastZero(engine) as fz, pytest.raises(LoginThrottledError):
        fz.logins.succeed(early)


@pytest.mark.parametrize("name", NAMES)
def test_of_many_guesses_at_once_five_are_looked_at(name: str, engine: Engine) -> None:
    at_once = 20
    together = Barrier(at_once)

    def guess(_: int) -> int:
        with FastZero(engine) as fz:
            attempt = fz.logins.begin(name)
        together.wait()
        try:
            with FastZero(engine) as fz:
                fz.logins.fail(attempt)
        except LoginThrottledError as error:
            return error.retry_after
        return 0

    began = time.monotonic()
    with ThreadPoolExecutor(at_once) as threads:
        waits = list(threads.map(guess, range(at_once)))
    # After the free ones, one more is looked at for each second that passes.
    assert FREE_FAILURES <= waits.count(0) <= FREE_FAILURES + int(time.monotonic() - began)


def test_failures_of_an_hour_ago_do_not_count(engine: Engine, other: psycopg.Connection) -> None:
    for _ in range(FREE_FAILURES):
        fail(engine, "ana")
    skip_time(other, 3601)
    assert [fail(engine, "ana") for _ in range(FREE_FAILURES)] == [0] * 5


def test_rows_that_are_forgotten_go_as_others_come(engine: Engine, other: psycopg.Connection) -> None:
    for number in range(10):
        fail(engine, f"nobody-{number}")
    skip_time(other, 3601)
    for number in range(10):
        fail(engine, f"somebody-{number}")
    (count,) = other.execute("SELECT count(*) FROM login_failures").fetchone() or (None,)
    assert count == 20  # each is counted for its network and for all


def test_a_hash_is_upgraded_only_where_it_is_the_one_that_was_verified(
    engine: Engine, other: psycopg.Connection
) -> None:
    with FastZero(engine) as fz:
        attempt = fz.logins.begin("ana")
    with FastZero(engine) as fz:
        fz.users.set_password("ana", "another horse")
    with FastZero(engine) as fz:
        fz.logins.succeed(attempt, PasswordHash("of the old password"))
    (kept,) = other.execute("SELECT password_hash FROM users").fetchone() or ("",)
    assert kept.startswith("$argon2id$")


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "x" * 100_000, "1", "", "%"])
def test_any_name_is_one_that_may_not_be_there(name: str, engine: Engine) -> None:
    with FastZero(engine) as fz:
        assert fz.logins.begin(name).identity is None


def test_neither_the_password_nor_the_name_is_kept(engine: Engine, other: psycopg.Connection) -> None:
    fail(engine, "my-secret-typed-as-a-name")
    (row,) = other.execute("SELECT login_failures::text FROM login_failures").fetchone() or ("",)
    assert "secret" not in row


# -- networks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_network_that_guesses_waits_and_the_others_do_not(
    name: str, engine: Engine, other: psycopg.Connection
) -> None:
    for _ in range(FREE_FAILURES):
        fail(engine, name, "192.0.2.0/24")
    skip_time(other, -100)
    assert fail(engine, name, "192.0.2.0/24") > 0
    assert fail(engine, name, "198.51.100.0/24") == 0


def test_the_owner_logs_in_while_a_stranger_guesses(engine: Engine, other: psycopg.Connection) -> None:
    for _ in range(FREE_FAILURES):
        fail(engine, "ana", "192.0.2.0/24")
    skip_time(other, -100)
    assert log_in(engine, "ana", "198.51.100.0/24") == 0
    assert log_in(engine, "ana", "192.0.2.0/24") > 0


def guess_from_many_networks(engine: Engine, name: str) -> int:
    """As many wrong guesses as all networks together have; returns what the next one has to wait."""
    for number in range(FREE_FAILURES_ALL):
        assert fail(engine, name, f"192.0.{number}.0/24") == 0
    return fail(engine, name, "203.0.113.0/24")


@pytest.mark.parametrize("name", NAMES)
def test_guesses_from_many_networks_make_every_unknown_one_wait(name: str, engine: Engine) -> None:
    assert guess_from_many_networks(engine, name) == 1


def test_a_network_of_an_earlier_login_goes_on_while_unknown_ones_wait(
    engine: Engine, other: psycopg.Connection
) -> None:
    assert log_in(engine, "ana", "198.51.100.0/24") == 0
    guess_from_many_networks(engine, "ana")
    skip_time(other, -100)
    assert log_in(engine, "ana", "203.0.113.0/24") > 0
    assert log_in(engine, "ana", "198.51.100.0/24") == 0


def test_a_network_is_known_for_thirty_days(engine: Engine, other: psycopg.Connection) -> None:
    log_in(engine, "ana", "198.51.100.0/24")
    for days, is_known in ((29, True), (31, False)):
        other.execute("UPDATE login_networks SET seen_at = now() - make_interval(days => %s)", [days])
        with FastZero(engine) as fz:
            assert fz.logins.begin("ana", "198.51.100.0/24").is_known is is_known


def test_a_login_renews_the_note_of_its_network_once_a_day(engine: Engine, other: psycopg.Connection) -> None:
    def seen() -> object:
        return other.execute("SELECT seen_at FROM login_networks").fetchone()

    log_in(engine, "ana", "198.51.100.0/24")
    first = seen()
    log_in(engine, "ana", "198.51.100.0/24")
    assert seen() == first
    other.execute("UPDATE login_networks SET seen_at = now() - interval '2 days'")
    log_in(engine, "ana", "198.51.100.0/24")
    assert other.execute("SELECT now() - seen_at < interval '1 hour' FROM login_networks").fetchone() == (True,)


def test_a_known_network_waits_for_its_own_failures(engine: Engine, other: psycopg.Connection) -> None:
    log_in(engine, "ana", "198.51.100.0/24")
    for _ in range(FREE_FAILURES):
        assert fail(engine, "ana", "198.51.100.0/24") == 0
    assert fail(engine, "ana", "198.51.100.0/24") == 1


def test_a_few_networks_of_a_user_are_remembered(engine: Engine, other: psycopg.Connection) -> None:
    for number in range(NETWORKS_MAX + 5):
        log_in(engine, "ana", f"192.0.{number}.0/24")
    kept = {row[0] for row in other.execute("SELECT network FROM login_networks").fetchall()}
    assert kept == {f"192.0.{number}.0/24" for number in range(5, NETWORKS_MAX + 5)}


def test_a_user_goes_with_its_networks(engine: Engine, other: psycopg.Connection) -> None:
    log_in(engine, "ana", "198.51.100.0/24")
    with FastZero(engine) as fz:
        fz.users.remove("ana")
    assert other.execute("SELECT count(*) FROM login_networks").fetchone() == (0,)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.77", "203.0.113.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.77", "203.0.113.0/24"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", LOCAL),
        ("", LOCAL),
        (None, LOCAL),
    ],
)
def test_what_is_counted_is_the_network_of_an_address(address: str | None, network: str) -> None:
    assert network_of(address) == network
