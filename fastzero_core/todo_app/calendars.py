"""A read-only calendar of a user's todos, for whoever knows its secret URL.

The database stores only a hash of the token in the URL: a token of 24 random bytes cannot be guessed, so a fast hash is
enough. An unknown token takes one look-up by the hash, as a known one does. Each statement requires that the token is
still valid, so that a new or revoked one takes effect at once.
"""

import hashlib
import secrets
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Text,
    bindparam,
    delete,
    exists,
    extract,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by, insert

from ..errors import CalendarNotFoundError, UserNotFoundError
from .access import Access, allowed, number
from .models import CALENDAR_PREFIX, Todo, TodoSort, TodoState
from .owner import OfOwner
from .results import Calendar, CalendarState, FeedStamp
from .tables import calendars, users
from .todo_rows import sort_keys, todo_of
from .todo_statements import Conditions, Page, page

TODOS_MAX = 5000  # those that were changed last
_TOKEN_BYTES = 24
_SHOWN = Conditions(states=tuple(sorted(state.value for state in TodoState if state is not TodoState.TRASH)))
_FORMAT = "1"  # changes if the same todos are written in another way

Todos = list[Todo]


class Calendars(OfOwner):
    """The calendar of one owner, in the transaction of one connection."""

    def show(self) -> CalendarState:
        """Return since when the calendar has its URL, which cannot be shown again. Raises CalendarNotFoundError."""
        row = self._execute(_showing(self._access)).one_or_none()
        return CalendarState(*(row or self._refuse()))

    def renew(self) -> Calendar:
        """Give the calendar a new secret URL, and revoke the one before. Only this call returns it.

        Raises UserNotFoundError.
        """
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        row = self._execute(_renewal(self._access), token_hash=_hash(token)).one_or_none()
        if row is None:
            self._confirm()
            raise UserNotFoundError("the owner of this calendar does not exist")
        return Calendar(f"{CALENDAR_PREFIX}{token}.ics", row.created_at)

    def revoke(self) -> CalendarState:
        """Revoke the URL: the calendar can no longer be read. Raises CalendarNotFoundError."""
        row = self._execute(_revocation(self._access)).one_or_none()
        return CalendarState(*(row or self._refuse()))

    def _refuse(self) -> Any:
        self._confirm()
        raise _unknown()


class Feed:
    """The todos of a calendar, for whoever knows its token. Raises CalendarNotFoundError for another one."""

    def __init__(self, connection: Connection, token: str) -> None:
        self._connection = connection
        self._hash = _hash(token)

    def stamp(self) -> FeedStamp:
        """Return whose todos it has, and what changes with them."""
        owner_id = self._connection.execute(_owner(), {"token_hash": self._hash}).scalar_one_or_none()
        if owner_id is None:
            raise _unknown()
        digest, changed_at = self._connection.execute(_stamp(), self._values(owner_id, TODOS_MAX)).one()
        return FeedStamp(owner_id, digest, changed_at)

    def page(self, owner_id: int, after: Todo | None, limit: int) -> Todos:
        """Return the next todos, those that were changed last first."""
        values = self._values(owner_id, limit)
        if after is not None:
            keys = sort_keys(after, TodoSort.UPDATED)
            values |= {"last_id": after.id} | {f"last_{number}": key for number, key in enumerate(keys)}
        return [todo_of(row) for row in self._connection.execute(_page(after is not None), values)]

    def _values(self, owner_id: int, limit: int) -> dict[str, Any]:
        return {"owner_id": owner_id, "token_hash": self._hash, "page_size": limit, "reach": limit}


def _unknown() -> CalendarNotFoundError:
    return CalendarNotFoundError("this calendar does not exist")


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _of_owner(access: Access) -> list[ColumnElement[bool]]:
    return [calendars.c.user_id == number("owner_id"), *allowed(access)]


@cache
def _showing(access: Access) -> Any:
    return select(calendars.c.created_at).where(*_of_owner(access))


@cache
def _renewal(access: Access) -> Any:
    token_hash = bindparam("token_hash", type_=Text)
    owner = select(users.c.id, token_hash).where(users.c.id == number("owner_id"))
    statement = insert(calendars).from_select(["user_id", "token_hash"], owner.where(*allowed(access)))
    renewed = {"token_hash": statement.excluded.token_hash, "created_at": func.now()}
    return statement.on_conflict_do_update(index_elements=["user_id"], set_=renewed).returning(calendars.c.created_at)


@cache
def _revocation(access: Access) -> Any:
    return delete(calendars).where(*_of_owner(access)).returning(calendars.c.created_at)


@cache
def _owner() -> Any:
    return select(calendars.c.user_id).where(calendars.c.token_hash == bindparam("token_hash", type_=Text))


@cache
def _page(after: bool) -> Any:
    of_owner = calendars.c.user_id == number("owner_id")
    is_valid = exists().where(of_owner, calendars.c.token_hash == bindparam("token_hash", type_=Text))
    return page(Page(Access(), TodoSort.UPDATED, descending=True, where=_SHOWN, after=after)).where(is_valid)


@cache
def _stamp() -> Any:
    """Return a query for a digest of the ids and times of all todos of the feed, and for the last time."""
    shown = _page(False).subquery("shown")
    key = func.concat_ws(":", shown.c.id, extract("epoch", shown.c.updated_at))
    keys = func.string_agg(key, aggregate_order_by(literal_column("','"), shown.c.id))
    digest = func.encode(func.sha256(func.convert_to(func.concat_ws(":", _FORMAT, keys), "UTF8")), "hex")
    return select(digest, func.max(shown.c.updated_at)).select_from(shown)
