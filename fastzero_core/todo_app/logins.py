"""Password logins and their throttling. Failures are counted in the database, so that all replicas share them.

Failures are counted twice. By account and network: after five, logins from this network to this account have to wait,
but the owner can log in from elsewhere. And by account only, for networks without a login to it in the last 30 days:
after 50, all of these have to wait, which limits guessing from many networks. Networks are counted instead of
addresses, since a client may have many addresses.

A login is two statements, with the verification of the password between them, which is slow and uses no connection. The
second statement decides: once an account has to wait, a login whose verification was in progress is refused, even if
the password is correct. So parallel guesses have no advantage over sequential ones.
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

FREE_FAILURES = 5  # consecutive failures from one network before the first wait
FREE_FAILURES_ALL = 50  # consecutive failures from unknown networks before the first wait
KNOWN_FOR = timedelta(days=30)  # how long a network is known after a login
RECORDED_FOR = timedelta(days=1)  # how long after a login its network is not recorded again
NETWORKS_MAX = 20  # known networks per user
IPV4_NETWORK, IPV6_NETWORK = 24, 64  # prefix length of a network, in bits
LOCAL = "local"  # the network of clients without an address
WAIT_MAX = 300  # seconds
FORGOTTEN_AFTER = timedelta(hours=1)
SWEEP_MAX = 4  # more rows than a statement adds, so that expired rows do not accumulate


@dataclass(frozen=True, slots=True)
class Attempt:
    """A login in progress. `identity` and `password_hash` are None if the user does not exist."""

    account: str
    network: str
    is_known: bool  # whether a login from this network succeeded in the last 30 days
    is_recorded: bool  # whether one succeeded in the last day, so that it need not be recorded again
    identity: Identity | None
    password_hash: str | None

    @property
    def counters(self) -> list[str]:
        """The keys under which failures are counted, and whose waiting times apply."""
        here = f"{self.account} {self.network}"
        return [here] if self.is_known else [here, self.account]


class Logins:
    """The operations for logins, in the transaction of one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def begin(self, name: str, network: str = LOCAL) -> Attempt:
        """Start a login with a username or e-mail address. `network` is a result of `network_of`.

        Raises LoginThrottledError if the login has to wait.
        """
        row = self._connection.execute(_account_of(name, network)).one()
        key, known, recorded, user_id, version, password_hash, seconds = row
        _refuse_while(seconds)
        identity = None if user_id is None else Identity(user_id, version)
        return Attempt(key, network, known, recorded, identity, password_hash)

    def fail(self, attempt: Attempt) -> None:
        """Count a wrong password. Raises LoginThrottledError if the login now has to wait."""
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
        """Delete the failures counted for this network, and record the network as known.

        `upgraded` is a hash of the same password at another cost, which replaces the stored one.
        Raises LoginThrottledError if the login now has to wait.
        """
        failures = login_failures.c
        here = attempt.counters[0]
        clear = delete(login_failures).where(failures.account == here, failures.blocked_until <= _now())
        _refuse_while(self._connection.execute(_wait_of(attempt).add_cte(clear.cte("cleared"))).scalar_one())
        if attempt.identity is None:
            return
        if not attempt.is_recorded:
            self._record_network(attempt.identity.user_id, attempt.network)
        if upgraded is not None:
            unchanged = users.c.password_hash == attempt.password_hash
            upgrade = update(users).where(users.c.id == attempt.identity.user_id, unchanged)
            self._connection.execute(upgrade.values(password_hash=upgraded.value))

    def _record_network(self, user_id: int, network: str) -> None:
        """Record a login from this network, and delete all but the user's latest networks."""
        added = insert(login_networks).values(user_id=user_id, network=network, seen_at=_now())
        recorded = added.on_conflict_do_update(index_elements=["user_id", "network"], set_={"seen_at": _now()})
        seen = login_networks.c
        others = select(seen.network).where(seen.user_id == user_id, seen.network != network)
        too_many = others.order_by(seen.seen_at.desc()).offset(NETWORKS_MAX - 1)
        forget = delete(login_networks).where(seen.user_id == user_id, seen.network.in_(too_many))
        self._connection.execute(recorded.add_cte(forget.cte("forgotten")))


def network_of(address: str | None) -> str:
    """Return the network of a client's address as text: /24 for IPv4, /64 for IPv6."""
    try:
        parsed = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return LOCAL
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    bits = IPV4_NETWORK if parsed.version == 4 else IPV6_NETWORK
    return str(ipaddress.ip_network(f"{parsed}/{bits}", strict=False))


def _account_of(name: str, network: str) -> Select[Any]:
    """Select the user with this name, whether the network is known and recorded, and the seconds to wait.

    The statement always returns one row.
    """
    found = select(users).where(_is_called(name)).subquery("found")
    account = func.coalesce(cast(found.c.id, Text), _digest(name))
    always = select(literal(1)).subquery("always")
    seen = login_networks.c
    is_known = func.coalesce(seen.seen_at > _now() - KNOWN_FOR, false())
    is_recorded = func.coalesce(seen.seen_at > _now() - RECORDED_FOR, false())
    here, all_else = login_failures.alias("here"), login_failures.alias("all_else")
    wait = func.greatest(
        _seconds_left(here.c.blocked_until), case((is_known, 0), else_=_seconds_left(all_else.c.blocked_until))
    )
    statement = select(account, is_known, is_recorded, found.c.id, found.c.token_version, found.c.password_hash, wait)
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
    """Return the key for a name without a user: a digest has a fixed length and cannot be the id of a user."""
    return hashlib.sha256(name.lower().encode("utf-8", "surrogatepass")).hexdigest()


def _now() -> ColumnElement[datetime]:
    # Not now(), the start of the transaction: the statement may have waited for the row since then.
    return func.clock_timestamp(type_=DateTime(timezone=True))


def _seconds_left(blocked_until: ColumnElement[datetime]) -> ColumnElement[Decimal]:
    return cast(extract("epoch", blocked_until - _now()), Numeric)


def _wait_of(attempt: Attempt) -> Select[Decimal | None]:
    waits = select(func.max(_seconds_left(login_failures.c.blocked_until)))
    return waits.where(login_failures.c.account.in_(attempt.counters))


def _wait_after(failures: ColumnElement[int], free: ColumnElement[int]) -> ColumnElement[timedelta]:
    """Return the wait after so many failures: none for the free ones, then 1, 2, 4 … seconds."""
    doubled = func.least(WAIT_MAX, func.power(2, func.least(failures - free, 30)))
    seconds = case((failures < free, 0), else_=doubled)
    return func.make_interval(0, 0, 0, 0, 0, 0, seconds, type_=Interval)


def _sweep(counters: list[str]) -> CTE:
    """Return a CTE that deletes some expired rows, except those that the statement itself changes."""
    failures = login_failures.c
    forgotten = (
        select(failures.account)
        .where(failures.failed_at < _now() - FORGOTTEN_AFTER, failures.account.not_in(counters))
        .order_by(failures.failed_at)
        .limit(SWEEP_MAX)
        .with_for_update(skip_locked=True)
    )
    return delete(login_failures).where(failures.account.in_(forgotten)).cte("swept")


def _refuse_while(seconds_left: Decimal | int | None) -> None:
    if seconds_left is not None and seconds_left > 0:
        raise LoginThrottledError(math.ceil(seconds_left))
