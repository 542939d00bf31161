"""Invitations: one user each, for a time."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from fastzero_core import FastZero, InvalidInputError, User
from fastzero_core.errors import FastZeroError, InvitationError, UsernameTakenError

PASSWORD = "correct horse"


def test_an_invitation_lets_one_user_sign_up(fz: FastZero) -> None:
    code = fz.invitations.add().code
    fz.invitations.check(code)
    ana = fz.users.add("ana", email="ana@example.com", password=PASSWORD, invitation=code)
    assert fz.users.get("ana") == ana
    with pytest.raises(InvitationError):
        fz.invitations.check(code)
    with pytest.raises(InvitationError):
        fz.users.add("bob", email="bob@example.com", password=PASSWORD, invitation=code)
    assert fz.users.list() == [ana]


def test_of_several_at_once_with_one_invitation_one_signs_up(database_url: str) -> None:
    with FastZero(database_url) as fz:
        code = fz.invitations.add().code

    def sign_up(number: int) -> str:
        try:
            with FastZero(database_url) as fz:
                fz.users.add(f"u{number}", email=f"u{number}@example.com", password=PASSWORD, invitation=code)
        except FastZeroError as error:
            return error.code
        return "added"

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(sign_up, range(4))) == ["added"] + ["invitation_refused"] * 3


def test_a_sign_up_that_fails_leaves_the_invitation(database_url: str) -> None:
    with FastZero(database_url) as fz:
        fz.users.add("ana", email="ana@example.com", password=PASSWORD)
        code = fz.invitations.add().code
    with pytest.raises(UsernameTakenError), FastZero(database_url, autocommit=True) as fz:
        fz.users.add("ana", email="another@example.com", password=PASSWORD, invitation=code)
    with FastZero(database_url) as fz:
        fz.invitations.check(code)


def test_an_invitation_expires(database_url: str, other: psycopg.Connection) -> None:
    with FastZero(database_url) as fz:
        invitation = fz.invitations.add(timedelta(hours=2))
    assert timedelta(hours=1) < invitation.expires_at - datetime.now(UTC) < timedelta(hours=3)
    other.execute("UPDATE invitations SET expires_at = now() - interval '1 second'")
    with FastZero(database_url) as fz, pytest.raises(InvitationError):
        fz.users.add("ana", email="ana@example.com", password=PASSWORD, invitation=invitation.code)
    with FastZero(database_url) as fz:
        fz.invitations.add()
    assert other.execute("SELECT count(*) FROM invitations").fetchone() == (1,)


@pytest.mark.parametrize("code", ["", "unknown", "a\0b", "\ud800", "x" * 100_000])
def test_an_unknown_code_invites_nobody(code: str, fz: FastZero, ana: User) -> None:
    with pytest.raises(InvitationError):
        fz.invitations.check(code)
    with pytest.raises(InvitationError):
        fz.users.add("bob", email="bob@example.com", password=PASSWORD, invitation=code)


@pytest.mark.parametrize("lifetime", [timedelta(), timedelta(seconds=-1), timedelta(days=366)])
def test_an_invitation_lasts_up_to_a_year(lifetime: timedelta, fz: FastZero) -> None:
    with pytest.raises(InvalidInputError, match="up to 365 days"):
        fz.invitations.add(lifetime)


def test_the_code_of_an_invitation_is_not_kept(database_url: str, other: psycopg.Connection) -> None:
    with FastZero(database_url) as fz:
        code = fz.invitations.add().code
    (row,) = other.execute("SELECT invitations::text FROM invitations").fetchone() or ("",)
    assert code not in row
