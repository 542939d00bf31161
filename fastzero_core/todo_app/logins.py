"""Logins by password, and the waiting that failed ones bring: counted in the database, so that all replicas share it.

A login is two statements with the password's verification between them, which takes long and needs no connection. The
second decides: as soon as an account has to wait, whatever was verified in the meantime is refused, right or wrong.
So many guesses at once are worth no more than so many one after the other.
"""

import hashlib
import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    DateTime,
    Interval,
    Numeric,
    Select,
    Text,
    case,
    cast,
    delete,
    extract,
    false,
    func,
    literal,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from ..errors import LoginThrottledError
from . import validate
from .models import Identity
from .passwords import PasswordHash
from .tables import login_failures, users

FREE_FAILURES = 5  # in a row, before the first wait
LONGEST_WAIT = 300  # seconds
FORGOTTEN_AFTER = timedelta(hours=1)
SWEPT_AT_ONCE = 2  # more than one comes in at a time, so that what is forgotten does not pile up


@dataclass(frozen=True, slots=True)
class Attempt:
    """A login that is under way. `identity` and `password_hash` are None where nobody has the name."""

    account: str
    identity: Identity | None
    password_hash: str | None


class Logins:
    """The logins of one database, on one connection: part of its transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def begin(self, name: str) -> Attempt:
        """The account of this username or e-mail address. Raises LoginThrottledError while it has to wait."""
        found = select(users).where(_is_called(name)).subquery("found")
        account = func.coalesce(cast(found.c.id, Text), _digest(name))
        always = select(literal(1)).subquery("always")
        statement = select(
            account, found.c.id, found.c.token_version, found.c.password_hash, _seconds_left()
        ).select_from(always.outerjoin(found, true()).outerjoin(login_failures, login_failures.c.account == account))
        key, user_id, version, password_hash, wait = self._connection.execute(statement).one()
        _refuse_while(wait)
        return Attempt(key, None if user_id is None else Identity(user_id, version), password_hash)

    def fail(self, attempt: Attempt) -> None:
        """Count a wrong password. Raises LoginThrottledError, and counts nothing, if the account waits by now."""
        known = login_failures.c
        failures = case((known.failed_at < _now() - FORGOTTEN_AFTER, 1), else_=known.failures + 1)
        first = insert(login_failures).values(
            account=attempt.account, failures=1, failed_at=_now(), blocked_until=_now()
        )
        counted = first.on_conflict_do_update(
            index_elements=[known.account],
            set_={"failures": failures, "failed_at": _now(), "blocked_until": _now() + _wait_behind(failures)},
            where=known.blocked_until <= _now(),
        ).returning(known.account)
        if self._connection.execute(counted.add_cte(_sweep(attempt.account))).one_or_none() is None:
            left = self._connection.execute(_wait_of(attempt.account)).scalar_one()
            raise LoginThrottledError(max(1, math.ceil(left or 0)))

    def succeed(self, attempt: Attempt, upgraded: PasswordHash | None = None) -> None:
        """Count anew from here, and keep the hash of the same password at another cost, if there is one.

        Raises LoginThrottledError if the account waits by now.
        """
        failures = login_failures.c
        clear = delete(login_failures).where(failures.account == attempt.account, failures.blocked_until <= _now())
        _refuse_while(self._connection.execute(_wait_of(attempt.account).add_cte(clear.cte("cleared"))).scalar_one())
        if upgraded is not None and attempt.identity is not None:
            unchanged = users.c.password_hash == attempt.password_hash
            upgrade = update(users).where(users.c.id == attempt.identity.user_id, unchanged)
            self._connection.execute(upgrade.values(password_hash=upgraded.value))


def _is_called(name: str) -> ColumnElement[bool]:
    if len(name) > validate.EMAIL_MAX or not validate.is_text(name):
        return false()
    column = users.c.email if "@" in name else users.c.username
    return func.lower(column) == func.lower(literal(name))


def _digest(name: str) -> str:
    """What stands for a name that nobody has: of one length, and never the id of an account."""
    return hashlib.sha256(name.lower().encode("utf-8", "surrogatepass")).hexdigest()


def _now() -> ColumnElement[datetime]:
    # Not now(), which is when the statement began: it may have waited for the row since.
    return func.clock_timestamp(type_=DateTime(timezone=True))


def _seconds_left() -> ColumnElement[Decimal]:
    return cast(extract("epoch", login_failures.c.blocked_until - _now()), Numeric)


def _wait_of(account: str) -> Select[Decimal]:
    always = select(literal(1)).subquery("always")
    return select(_seconds_left()).select_from(always.outerjoin(login_failures, login_failures.c.account == account))


def _wait_behind(failures: ColumnElement[int]) -> ColumnElement[timedelta]:
    """No wait, then 1, 2, 4 … seconds."""
    doubled = func.least(LONGEST_WAIT, func.power(2, func.least(failures, 30) - FREE_FAILURES))
    seconds = case((failures < FREE_FAILURES, 0), else_=doubled)
    return func.make_interval(0, 0, 0, 0, 0, 0, seconds, type_=Interval)


def _sweep(account: str) -> CTE:
    """Delete some of the rows that are forgotten, but for the one that the statement itself changes."""
    failures = login_failures.c
    forgotten = (
        select(failures.account)
        .where(failures.failed_at < _now() - FORGOTTEN_AFTER, failures.account != account)
        .order_by(failures.failed_at)
        .limit(SWEPT_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    return delete(login_failures).where(failures.account.in_(forgotten)).cte("swept")


def _refuse_while(seconds_left: Decimal | int | None) -> None:
    if seconds_left is not None and seconds_left > 0:
        raise LoginThrottledError(math.ceil(seconds_left))
