"""Logins by password, and the waiting that failed ones bring: counted in the database, so that all replicas share it.

Failures are counted twice. By account and network: after five, this network waits for this account, and the owner
elsewhere does not. And by account alone, for the networks from which nobody has logged in to it for 30 days: after 50,
all of these wait, which bounds guesses from many networks at once. Networks are counted and not addresses, of which a
client may have many.

A login is two statements with the password's verification between them, which takes long and needs no connection. The
second decides: as soon as an account has to wait, whatever was verified in the meantime is refused, right or wrong.
So many guesses at once are worth no more than so many one after the other.
"""

import hashlib
import ipaddress
import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    DateTime,
    Interval,
    Numeric,
    Select,
    Text,
    and_,
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
from .tables import login_failures, login_networks, users

FREE_FAILURES = 5  # in a row from one network, before the first wait
FREE_FAILURES_ALL = 50  # in a row from networks that are not known, before the first wait
KNOWN_FOR = timedelta(days=30)  # after a login, its network is known
NOTED_FOR = timedelta(days=1)  # a login in this time does not note its network again
NETWORKS_MAX = 20  # that are known of a user
IPV4_NETWORK, IPV6_NETWORK = 24, 64  # bits that are one network
NOWHERE = "local"  # the network of clients without an address
LONGEST_WAIT = 300  # seconds
FORGOTTEN_AFTER = timedelta(hours=1)
SWEPT_AT_ONCE = 4  # more than come in at a time, so that what is forgotten does not pile up


@dataclass(frozen=True, slots=True)
class Attempt:
    """A login that is under way. `identity` and `password_hash` are None where nobody has the name."""

    account: str
    network: str
    is_known: bool  # whether there was a login from this network in the last 30 days
    is_noted: bool  # and in the last day, so that there is nothing to renew
    identity: Identity | None
    password_hash: str | None

    @property
    def counters(self) -> list[str]:
        """What its failures are counted under, and what it has to wait for."""
        here = f"{self.account} {self.network}"
        return [here] if self.is_known else [here, self.account]


class Logins:
    """The logins of one database, on one connection: part of its transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def begin(self, name: str, network: str = NOWHERE) -> Attempt:
        """The account of this username or e-mail address, asked for from a network that `network_of` has named.

        Raises LoginThrottledError while it has to wait.
        """
        row = self._connection.execute(_account_of(name, network)).one()
        key, known, noted, user_id, version, password_hash, seconds = row
        _refuse_while(seconds)
        identity = None if user_id is None else Identity(user_id, version)
        return Attempt(key, network, known, noted, identity, password_hash)

    def fail(self, attempt: Attempt) -> None:
        """Count a wrong password. Raises LoginThrottledError if the account waits by now."""
        known = login_failures.c
        failures = case((known.failed_at < _now() - FORGOTTEN_AFTER, 1), else_=known.failures + 1)
        first = insert(login_failures).values(
            [
                {"account": each, "failures": 1, "failed_at": _now(), "blocked_until": _now()}
                for each in attempt.counters
            ]
        )
        free = case((known.account == attempt.account, FREE_FAILURES_ALL), else_=FREE_FAILURES)
        counted = first.on_conflict_do_update(
            index_elements=[known.account],
            set_={"failures": failures, "failed_at": _now(), "blocked_until": _now() + _wait_after(failures, free)},
            where=known.blocked_until <= _now(),
        ).returning(known.account)
        rows = self._connection.execute(counted.add_cte(_sweep(attempt.counters))).all()
        if len(rows) < len(attempt.counters):
            left = self._connection.execute(_wait_of(attempt)).scalar_one()
            raise LoginThrottledError(max(1, math.ceil(left or 0)))

    def succeed(self, attempt: Attempt, upgraded: PasswordHash | None = None) -> None:
        """Forget the failures of this network, and remember it.

        `upgraded` is the hash of the same password at another cost, to keep.
        Raises LoginThrottledError if the account waits by now.
        """
        failures = login_failures.c
        here = attempt.counters[0]
        clear = delete(login_failures).where(failures.account == here, failures.blocked_until <= _now())
        _refuse_while(self._connection.execute(_wait_of(attempt).add_cte(clear.cte("cleared"))).scalar_one())
        if attempt.identity is None:
            return
        if not attempt.is_noted:
            self._remember(attempt.identity.user_id, attempt.network)
        if upgraded is not None:
            unchanged = users.c.password_hash == attempt.password_hash
            upgrade = update(users).where(users.c.id == attempt.identity.user_id, unchanged)
            self._connection.execute(upgrade.values(password_hash=upgraded.value))

    def _remember(self, user_id: int, network: str) -> None:
        """Note a login from this network, and forget those that are not among the user's latest."""
        note = insert(login_networks).values(user_id=user_id, network=network, seen_at=_now())
        noted = note.on_conflict_do_update(index_elements=["user_id", "network"], set_={"seen_at": _now()})
        seen = login_networks.c
        others = select(seen.network).where(seen.user_id == user_id, seen.network != network)
        too_many = others.order_by(seen.seen_at.desc()).offset(NETWORKS_MAX - 1)
        forget = delete(login_networks).where(seen.user_id == user_id, seen.network.in_(too_many))
        self._connection.execute(noted.add_cte(forget.cte("forgotten")))


def network_of(address: str | None) -> str:
    """The network of a client's address: /24 of IPv4, /64 of IPv6, as text."""
    try:
        parsed = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return NOWHERE
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    bits = IPV4_NETWORK if parsed.version == 4 else IPV6_NETWORK
    return str(ipaddress.ip_network(f"{parsed}/{bits}", strict=False))


def _account_of(name: str, network: str) -> Select[Any]:
    """Whoever has the name, whether the network is known and noted, and the seconds to wait; one row in any case."""
    found = select(users).where(_is_called(name)).subquery("found")
    account = func.coalesce(cast(found.c.id, Text), _digest(name))
    always = select(literal(1)).subquery("always")
    seen = login_networks.c
    is_known = func.coalesce(seen.seen_at > _now() - KNOWN_FOR, false())
    is_noted = func.coalesce(seen.seen_at > _now() - NOTED_FOR, false())
    here, all_else = login_failures.alias("here"), login_failures.alias("all_else")
    wait = func.greatest(
        _seconds_left(here.c.blocked_until), case((is_known, 0), else_=_seconds_left(all_else.c.blocked_until))
    )
    statement = select(account, is_known, is_noted, found.c.id, found.c.token_version, found.c.password_hash, wait)
    return statement.select_from(
        always.outerjoin(found, true())
        .outerjoin(login_networks, and_(seen.user_id == found.c.id, seen.network == network))
        .outerjoin(here, here.c.account == account.concat(f" {network}"))
        .outerjoin(all_else, all_else.c.account == account)
    )


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


def _seconds_left(blocked_until: ColumnElement[datetime]) -> ColumnElement[Decimal]:
    return cast(extract("epoch", blocked_until - _now()), Numeric)


def _wait_of(attempt: Attempt) -> Select[Decimal | None]:
    waits = select(func.max(_seconds_left(login_failures.c.blocked_until)))
    return waits.where(login_failures.c.account.in_(attempt.counters))


def _wait_after(failures: ColumnElement[int], free: ColumnElement[int]) -> ColumnElement[timedelta]:
    """No wait, then 1, 2, 4 … seconds."""
    doubled = func.least(LONGEST_WAIT, func.power(2, func.least(failures - free, 30)))
    seconds = case((failures < free, 0), else_=doubled)
    return func.make_interval(0, 0, 0, 0, 0, 0, seconds, type_=Interval)


def _sweep(counters: list[str]) -> CTE:
    """Delete some of the rows that are forgotten, but for those that the statement itself changes."""
    failures = login_failures.c
    forgotten = (
        select(failures.account)
        .where(failures.failed_at < _now() - FORGOTTEN_AFTER, failures.account.not_in(counters))
        .order_by(failures.failed_at)
        .limit(SWEPT_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    return delete(login_failures).where(failures.account.in_(forgotten)).cte("swept")


def _refuse_while(seconds_left: Decimal | int | None) -> None:
    if seconds_left is not None and seconds_left > 0:
        raise LoginThrottledError(math.ceil(seconds_left))
