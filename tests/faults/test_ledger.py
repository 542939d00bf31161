"""The ledger of the fault suite finds whatever is wrong with a database: on a real one, to which it is done."""

import psycopg
import pytest

from fastzero_core import FastZero, User
from tests.faults.ledger import Ledger, Row, Verdict, row_of

WRITES = 20


@pytest.fixture
def ledger(fz: FastZero, ana: User) -> Ledger:
    """Twenty acknowledged writes, and one that was tried alone."""
    ledger = Ledger()
    for _ in range(WRITES):
        row = ledger.begin()
        fz.todos(ana).add(row.title, description=row.content)
        ledger.acknowledge(row)
    ledger.begin()
    return ledger


@pytest.fixture
def session(fz: FastZero) -> psycopg.Cursor:
    cursor: psycopg.Cursor = fz.driver_connection.cursor()
    return cursor


def rows(fz: FastZero, owner: User) -> list[Row]:
    return [Row(todo.title, todo.description) for todo in fz.todos(owner).stream()]


def test_a_database_that_kept_everything_is_sound(ledger: Ledger, fz: FastZero, ana: User) -> None:
    assert ledger.total == WRITES
    assert ledger.check(rows(fz, ana)).is_sound


def test_a_write_that_is_gone_is_lost(ledger: Ledger, fz: FastZero, ana: User, session: psycopg.Cursor) -> None:
    session.execute("DELETE FROM todos WHERE title = 'write-7'")
    assert ledger.check(rows(fz, ana)) == Verdict(lost=("write-7",))


def test_a_write_that_is_there_twice_is_found(ledger: Ledger, fz: FastZero, ana: User, session: psycopg.Cursor) -> None:
    again = "SELECT user_id, title, description FROM todos WHERE title = 'write-7'"
    session.execute(f"INSERT INTO todos (user_id, title, description) {again}")
    assert ledger.check(rows(fz, ana)) == Verdict(duplicated=("write-7",))


def test_a_write_with_other_content_is_found(ledger: Ledger, fz: FastZero, ana: User, session: psycopg.Cursor) -> None:
    session.execute("UPDATE todos SET description = left(description, -1) WHERE title = 'write-7'")
    assert ledger.check(rows(fz, ana)) == Verdict(altered=("write-7",))


def test_a_row_that_nobody_wrote_is_found(ledger: Ledger, fz: FastZero, ana: User) -> None:
    forged = row_of("write-1000")
    fz.todos(ana).add(forged.title, description=forged.content)
    assert ledger.check(rows(fz, ana)) == Verdict(unknown=("write-1000",))


def test_a_write_that_was_not_acknowledged_may_be_there(ledger: Ledger, fz: FastZero, ana: User) -> None:
    tried = row_of(f"write-{WRITES + 1}")
    fz.todos(ana).add(tried.title, description=tried.content)
    assert ledger.check(rows(fz, ana)).is_sound


def test_a_write_is_kept_if_one_of_two_snapshots_has_it(ledger: Ledger, fz: FastZero, ana: User) -> None:
    there = rows(fz, ana)
    assert ledger.check(there[:5], there[5:]).is_sound
    assert ledger.check(there[:5], there[6:]) == Verdict(lost=(there[5].title,))


def test_a_row_in_two_snapshots_is_not_there_twice(ledger: Ledger, fz: FastZero, ana: User) -> None:
    there = rows(fz, ana)
    assert ledger.check(there, there).is_sound


def test_what_was_replaced_on_purpose_is_not_missed(ledger: Ledger, fz: FastZero, ana: User) -> None:
    there = rows(fz, ana)
    ledger.forget_all_but(there[:5])
    assert ledger.check(there[:5]).is_sound
    assert ledger.check(there[:4]) == Verdict(lost=(there[4].title,))
