"""The operations on users, each written once, on a Core connection."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Column, Connection, delete, exists, func, insert, literal, select, true, update
from sqlalchemy.sql import ColumnElement

from ..errors import AccountError, InvalidInputError, InvalidTokenError, InvitationError, UserNotFoundError
from . import validate
from .invitations import used
from .models import Identity, User
from .passwords import DEFAULT_COST, HashCost, PasswordHash, check_new_password, hash_password
from .tables import users

_FIELDS: tuple[Column[Any], ...] = (users.c.id, users.c.username, users.c.email, users.c.created_at, users.c.updated_at)
_NEXT_VERSION = users.c.token_version + 1
_PAGE = 1000

UserKey = int | str
"""What names a user: its id, its username or its e-mail address, the last two without regard to case."""

# Inside Users, whose method it is, `list` means something else.
UserList = list[User]
ColumnElements = list[ColumnElement[bool]]


class Users:
    """All users of one database, on one connection: part of its transaction.

    With `seen_by`, whom a token is of, every statement holds only as long as the token does: otherwise the operation
    raises InvalidTokenError. Nobody else's account is changed then: AccountError. Passwords are hashed at `hash_cost`.
    """

    def __init__(
        self, connection: Connection, seen_by: Identity | None = None, *, hash_cost: HashCost = DEFAULT_COST
    ) -> None:
        self._connection = connection
        self._seen_by = seen_by
        self._hash_cost = hash_cost
        self._holds = true() if seen_by is None else holds(seen_by)

    def add(self, username: str, *, email: str, password: str | PasswordHash, invitation: str | None = None) -> User:
        """Create a user; `invitation` is a code to use up for it.

        Raises InvalidInputError, UsernameTakenError, EmailTakenError, InvitationError.
        """
        values = {"username": validate.username(username), "email": validate.email(email)}
        values["password_hash"] = self._hash(password, username, email)
        if invitation is not None:
            return self._add_invited(values, invitation)
        return _user(self._connection.execute(insert(users).values(values).returning(*_FIELDS)).one())

    def _add_invited(self, values: dict[str, str], invitation: str) -> User:
        """Create the user and use the code in one statement: where one of them fails, so does the other."""
        invited = select(*map(literal, values.values())).select_from(used(invitation))
        statement = insert(users).from_select(list(values), invited).returning(*_FIELDS)
        row = self._connection.execute(statement).one_or_none()
        if row is None:
            raise InvitationError("The invitation is unknown, used or expired")
        return _user(row)

    def get(self, key: UserKey) -> User:
        """The user of this id, username or e-mail address. Raises UserNotFoundError."""
        return _user(self._one(key, select(*_FIELDS).where(_named(key), self._holds)))

    def with_password_hash(self, key: UserKey) -> tuple[User, str]:
        """A user whom a change of the password is about, and its present hash. Raises UserNotFoundError."""
        *fields, password_hash = self._one(key, select(*_FIELDS, users.c.password_hash).where(*self._own(key)))
        return _user(fields), password_hash

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

    def list(self, *, after: int | None = None, offset: int = 0, limit: int = 100) -> UserList:
        """Up to `limit` users in the order of their ids, behind the id `after` and then behind `offset` of them."""
        statement = select(*_FIELDS).where(self._holds).order_by(users.c.id).limit(validate.limit(limit))
        if after is not None:
            statement = statement.where(users.c.id > validate.record_id(after, "after"))
        if offset:
            statement = statement.offset(validate.offset(offset))
        rows = self._connection.execute(statement).all()
        if not rows:
            self.confirm()
        return [_user(row) for row in rows]

    def stream(self, *, after: int | None = None) -> Iterator[User]:
        """Every user behind the id `after`, read page by page, so that memory stays flat."""
        page = self.list(after=after, limit=_PAGE)
        while page:
            yield from page
            page = self.list(after=page[-1].id, limit=_PAGE) if len(page) == _PAGE else []

    def edit(
        self,
        key: UserKey,
        *,
        username: str | None = None,
        email: str | None = None,
        password: str | PasswordHash | None = None,
    ) -> User:
        """Change what is given; another password voids the user's tokens.

        Raises InvalidInputError, UserNotFoundError, UsernameTakenError or EmailTakenError.
        """
        changes: dict[str, Any] = {}
        if username is not None:
            changes["username"] = validate.username(username)
        if email is not None:
            changes["email"] = validate.email(email)
        if password is not None:
            changes |= {"password_hash": self._new_hash(key, changes, password), "token_version": _NEXT_VERSION}
        if not changes:
            raise InvalidInputError("nothing to change: give a username, an e-mail address or a password")
        return self._update(key, {**changes, "updated_at": func.now()})

    def set_password(self, key: UserKey, password: str | PasswordHash) -> User:
        """Give the user another password and void its tokens. Raises InvalidInputError, UserNotFoundError."""
        return self.edit(key, password=password)

    def void_tokens(self, key: UserKey) -> User:
        """Log the user out everywhere. Raises UserNotFoundError."""
        return self._update(key, {"token_version": _NEXT_VERSION})

    def remove(self, key: UserKey) -> User:
        """Delete the user with all of its todos. Raises UserNotFoundError."""
        return _user(self._one(key, delete(users).where(*self._own(key)).returning(*_FIELDS)))

    def confirm(self) -> None:
        """Raises InvalidTokenError unless the token of whom this is seen by holds."""
        if self._seen_by is not None:
            confirm(self._connection, self._seen_by)

    def _new_hash(self, key: UserKey, changes: dict[str, Any], password: str | PasswordHash) -> str:
        if isinstance(password, PasswordHash):
            return password.value
        user = self.get(key)
        return self._hash(password, changes.get("username", user.username), changes.get("email", user.email))

    def _hash(self, password: str | PasswordHash, username: str, email: str) -> str:
        """The hash of a new password. One that was hashed beforehand was checked beforehand."""
        if isinstance(password, PasswordHash):
            return password.value
        return hash_password(check_new_password(password, username=username, email=email), self._hash_cost)

    def _update(self, key: UserKey, changes: dict[str, Any]) -> User:
        return _user(self._one(key, update(users).where(*self._own(key)).values(**changes).returning(*_FIELDS)))

    def _own(self, key: UserKey) -> ColumnElements:
        """The conditions for a change: of the row itself, which is looked at again where another change was first."""
        if self._seen_by is None:
            return [_named(key)]
        if key != self._seen_by.user_id:
            self.confirm()
            raise AccountError("Not enough permissions")
        return [_named(key), users.c.token_version == self._seen_by.token_version]

    def _one(self, key: UserKey, statement: Any) -> Any:
        """The row that a statement about one user gives; where it gives none, the token is looked at first."""
        row = self._connection.execute(statement).one_or_none()
        if row is None:
            self.confirm()
            raise UserNotFoundError(f"no user {key!r}")
        return row


def holds(identity: Identity) -> ColumnElement[bool]:
    """Whether a token of this identity is one of today's, as a condition of any statement."""
    bearer = users.alias("bearer")
    return exists().where(bearer.c.id == identity.user_id, bearer.c.token_version == identity.token_version)


def confirm(connection: Connection, identity: Identity) -> None:
    """Raises InvalidTokenError unless a token of this identity is one of today's."""
    of_today = select(users.c.id.label("user_id")).where(
        users.c.id == identity.user_id, users.c.token_version == identity.token_version
    )
    if connection.execute(of_today).one_or_none() is None:
        raise InvalidTokenError("Could not validate credentials")


def _named(key: UserKey) -> ColumnElement[bool]:
    # The rules for usernames keep the three apart: they hold no '@' and are never digits alone.
    if isinstance(key, int):
        return users.c.id == validate.record_id(key, "user")
    validate.text(key, "user")
    if key.isascii() and key.isdigit():
        return users.c.id == validate.record_id(int(key[:20]), "user")
    column = users.c.email if "@" in key else users.c.username
    return func.lower(column) == func.lower(literal(key))


def _user(row: Any) -> User:
    return User(*row)
