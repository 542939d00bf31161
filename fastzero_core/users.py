"""The operations on users, each written once, on a Core connection."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Column, Connection, Row, delete, func, insert, literal, select, update
from sqlalchemy.sql import ColumnElement

from . import validate
from .errors import InvalidInputError, UserNotFoundError
from .models import User
from .passwords import hash_password
from .tables import users

_FIELDS: tuple[Column[Any], ...] = (users.c.id, users.c.username, users.c.email, users.c.created_at, users.c.updated_at)
_PAGE = 1000

UserKey = int | str
"""What names a user: its id, its username or its e-mail address, the last two without regard to case."""

UserRow = Row[*tuple[Any, ...]]

# Inside Users, whose method it is, `list` means something else.
UserList = list[User]


class Users:
    """All users of one database, on one connection: part of its transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, username: str, *, email: str, password: str) -> User:
        """Create a user. Raises InvalidInputError, UsernameTakenError or EmailTakenError."""
        values = {"username": validate.username(username), "email": validate.email(email)}
        values["password_hash"] = hash_password(password)
        return _user(self._connection.execute(insert(users).values(values).returning(*_FIELDS)).one())

    def get(self, key: UserKey) -> User:
        """The user of this id, username or e-mail address. Raises UserNotFoundError."""
        row = self._connection.execute(select(*_FIELDS).where(_named(key))).one_or_none()
        if row is None:
            raise _not_found(key)
        return _user(row)

    def only(self) -> User:
        """The user of a database that has exactly one. Raises UserNotFoundError or InvalidInputError."""
        rows = self._connection.execute(select(*_FIELDS).order_by(users.c.id).limit(2)).all()
        if not rows:
            raise UserNotFoundError("there is no user yet", hint="Add one: fastzero user add NAME --email ADDRESS")
        if len(rows) > 1:
            raise InvalidInputError(
                "there are several users: whose todos?",
                field="user",
                hint="Name the user: --user NAME, FASTZERO_USER=NAME, or once and for all: fastzero user use NAME",
            )
        return _user(rows[0])

    def list(self, *, after: int | None = None, limit: int = 100) -> UserList:
        """Up to `limit` users in the order of their ids, beginning behind the id `after`."""
        statement = select(*_FIELDS).order_by(users.c.id).limit(validate.limit(limit))
        if after is not None:
            statement = statement.where(users.c.id > validate.record_id(after, "after"))
        return [_user(row) for row in self._connection.execute(statement)]

    def stream(self, *, after: int | None = None) -> Iterator[User]:
        """Every user behind the id `after`, read page by page, so that memory stays flat."""
        page = self.list(after=after, limit=_PAGE)
        while page:
            yield from page
            page = self.list(after=page[-1].id, limit=_PAGE) if len(page) == _PAGE else []

    def edit(self, key: UserKey, *, username: str | None = None, email: str | None = None) -> User:
        """Change what is given. Raises InvalidInputError, UserNotFoundError, UsernameTakenError or EmailTakenError."""
        changes: dict[str, Any] = {}
        if username is not None:
            changes["username"] = validate.username(username)
        if email is not None:
            changes["email"] = validate.email(email)
        if not changes:
            raise InvalidInputError("nothing to change: give a username or an e-mail address")
        return self._update(key, changes)

    def set_password(self, key: UserKey, password: str) -> User:
        """Give the user another password and void its tokens. Raises InvalidInputError, UserNotFoundError."""
        return self._update(key, {"password_hash": hash_password(password), "token_version": users.c.token_version + 1})

    def remove(self, key: UserKey) -> User:
        """Delete the user with all of its todos. Raises UserNotFoundError."""
        row = self._connection.execute(delete(users).where(_named(key)).returning(*_FIELDS)).one_or_none()
        if row is None:
            raise _not_found(key)
        return _user(row)

    def _update(self, key: UserKey, changes: dict[str, Any]) -> User:
        statement = update(users).where(_named(key)).values(**changes, updated_at=func.now()).returning(*_FIELDS)
        row = self._connection.execute(statement).one_or_none()
        if row is None:
            raise _not_found(key)
        return _user(row)


def _named(key: UserKey) -> ColumnElement[bool]:
    # The rules for usernames keep the three apart: they hold no '@' and are never digits alone.
    if isinstance(key, int):
        return users.c.id == validate.record_id(key, "user")
    validate.text(key, "user")
    if key.isascii() and key.isdigit():
        return users.c.id == validate.record_id(int(key[:20]), "user")
    column = users.c.email if "@" in key else users.c.username
    return func.lower(column) == func.lower(literal(key))


def _not_found(key: UserKey) -> UserNotFoundError:
    return UserNotFoundError(f"no user {key!r}")


def _user(row: UserRow) -> User:
    return User(*row)
