"""Calendars by a secret URL: whoever knows it reads one user's todos, and nobody else does."""

import hashlib
from typing import Any

import pytest
from sqlalchemy import Connection

from fastzero_core import FastZero, User
from fastzero_core.errors import CalendarNotFoundError, InvalidTokenError, UserNotFoundError
from fastzero_core.todo_app import calendars
from fastzero_core.todo_app.models import Identity
from fastzero_core.todo_app.results import Calendar


@pytest.fixture
def calendar(fz: FastZero, ana: User) -> Calendar:
    fz.todos(ana).add("Report", due="2026-12-24")
    return fz.calendar(ana).renew()


def token_of(calendar: Calendar) -> str:
    return calendar.path.removeprefix("/calendar/").removesuffix(".ics")


def titles(fz: FastZero, calendar: Calendar) -> list[str]:
    feed = fz.calendar_feed(token_of(calendar))
    return [todo.title for todo in feed.page(feed.stamp().owner_id, None, 100)]


def test_a_calendar_has_the_todos_outside_of_the_trash(fz: FastZero, ana: User, calendar: Calendar) -> None:
    done = fz.todos(ana).add("Done", state="done")
    fz.todos(ana).add("Gone", state="trash")
    assert sorted(titles(fz, calendar)) == ["Done", "Report"]
    fz.todos(ana).trash(done.id)
    assert titles(fz, calendar) == ["Report"]


def test_the_token_is_not_in_the_database(fz: FastZero, calendar: Calendar, connection: Connection) -> None:
    stored = fz._bound.exec_driver_sql("SELECT c::text FROM calendars c").scalar_one()
    assert token_of(calendar) not in stored
    assert hashlib.sha256(token_of(calendar).encode()).hexdigest() in stored


def test_a_new_url_replaces_the_one_before(fz: FastZero, ana: User, calendar: Calendar) -> None:
    new = fz.calendar(ana).renew()
    assert titles(fz, new) == ["Report"]
    with pytest.raises(CalendarNotFoundError):
        titles(fz, calendar)


def test_a_revoked_url_is_unknown_and_ends_a_feed_that_is_read(fz: FastZero, ana: User, calendar: Calendar) -> None:
    feed = fz.calendar_feed(token_of(calendar))
    owner = feed.stamp().owner_id
    assert fz.calendar(ana).show().created_at == calendar.created_at
    fz.calendar(ana).revoke()
    assert feed.page(owner, None, 10) == []
    for operation in (feed.stamp, fz.calendar(ana).show, fz.calendar(ana).revoke):
        with pytest.raises(CalendarNotFoundError):
            operation()


def test_a_token_opens_no_todos_of_others(fz: FastZero, ana: User, calendar: Calendar) -> None:
    bob = fz.users.add("bob", email="bob@example.com", password="correct horse")
    fz.todos(bob).add("Secret")
    assert titles(fz, calendar) == ["Report"]
    assert fz.calendar_feed(token_of(calendar)).page(bob.id, None, 10) == []


@pytest.mark.parametrize("token", ["", "x", "\0", "\ud800", "é" * 5000])
def test_any_other_token_is_unknown(token: str, fz: FastZero, calendar: Calendar) -> None:
    with pytest.raises(CalendarNotFoundError):
        fz.calendar_feed(token).stamp()


def test_the_digest_changes_with_the_todos_alone(fz: FastZero, ana: User, calendar: Calendar) -> None:
    feed = fz.calendar_feed(token_of(calendar))
    seen = [feed.stamp().digest]
    fz.todos(ana).add("Gone", state="trash")
    assert feed.stamp().digest == seen[0]
    other = fz.todos(ana).add("Other")
    seen.append(feed.stamp().digest)
    fz.todos(ana).remove(other.id)
    assert feed.stamp().digest == seen[0] != seen[1]


def test_a_calendar_is_read_in_pages_and_ends_with_the_newest(
    fz: FastZero, ana: User, calendar: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        fz.todos(ana).add(f"{number}")
    feed = fz.calendar_feed(token_of(calendar))
    owner = feed.stamp().owner_id
    found: list[Any] = feed.page(owner, None, 4)
    found += feed.page(owner, found[-1], 4)
    assert [todo.title for todo in found] == ["4", "3", "2", "1", "0", "Report"]
    monkeypatch.setattr(calendars, "TODOS_MAX", 2)
    assert feed.stamp().changed_at == found[0].updated_at


def test_a_revoked_login_changes_no_calendar(fz: FastZero, ana: User, calendar: Calendar) -> None:
    bearer = fz.calendar(Identity(ana.id, 0))
    assert bearer.show().created_at == calendar.created_at
    fz.users.void_tokens(ana.id)
    for operation in (bearer.show, bearer.renew, bearer.revoke):
        with pytest.raises(InvalidTokenError):
            operation()
    assert titles(fz, calendar) == ["Report"]


def test_a_user_who_does_not_exist_has_no_calendar(fz: FastZero) -> None:
    with pytest.raises(UserNotFoundError):
        fz.calendar(99).renew()
