"""The operations on users, on a SQLAlchemy Core connection."""

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
"""A user's id, username or e-mail address. Case is ignored."""

# In the class, `list` is a method.
UserList = list[User]
ColumnElements = list[ColumnElement[bool]]


class Users:
    """The operations on the users of one database, in the transaction of one connection.

    With `bearer`, the identity of a token, the operations raise InvalidTokenError if the token has been revoked, and
    AccountError for a change of another user's account. Passwords are hashed at `hash_cost`.
    """

    def __init__(
        self, connection: Connection, bearer: Identity | None = None, *, hash_cost: HashCost = DEFAULT_COST
    ) -> None:
        self._connection = connection
        self._bearer = bearer
        self._hash_cost = hash_cost
        self._token_is_valid = true() if bearer is None else token_is_valid(bearer)

    def add(self, username: str, *, email: str, password: str | PasswordHash, invitation: str | None = None) -> User:
        """Create a user. `invitation` is a code, which is used up.

        Raises InvalidInputError, UsernameTakenError, EmailTakenError, InvitationError.
        """
        values = {"username": validate.username(username), "email": validate.email(email)}
        values["password_hash"] = self._hash(password, username, email)
        if invitation is not None:
            return self._add_invited(values, invitation)
        return _user(self._connection.execute(insert(users).values(values).returning(*_FIELDS)).one())

    def _add_invited(self, values: dict[str, str], invitation: str) -> User:
        """Create the user and use up the code in one statement, so that either both succeed or neither."""
        invited = select(*map(literal, values.values())).select_from(used(invitation))
        statement = insert(users).from_select(list(values), invited).returning(*_FIELDS)
        row = self._connection.execute(statement).one_or_none()
        if row is None:
            raise InvitationError("The invitation is unknown, used or expired")
        return _user(row)

    def get(self, key: UserKey) -> User:
        """Return the user with this id, username or e-mail address. Raises UserNotFoundError."""
        return _user(self._one(key, select(*_FIELDS).where(_named(key), self._token_is_valid)))

    def with_password_hash(self, key: UserKey) -> tuple[User, str]:
        """Return a user and its current password hash, for a change of the password. Raises UserNotFoundError."""
        *fields, password_hash = self._one(key, select(*_FIELDS, users.c.password_hash).where(*self._own(key)))
        return _user(fields), password_hash

    def only(self) -> User:
        """Return the only user of the database.

        Raises UserNotFoundError if there is none, InvalidInputError if there are several.
        """
        rows = self._connection.execute(select(*_FIELDS).order_by(users.c.id).limit(2)).all()
        if not rows:
            raise UserNotFoundError("no users exist yet", hint="Create one: fastzero user add NAME --email ADDRESS")
        if len(rows) > 1:
            raise InvalidInputError(
                "several users exist, and none was chosen",
                field="user",
                hint="Choose one: --user NAME or FASTZERO_USER=NAME. Or set the default: fastzero user use NAME",
            )
        return _user(rows[0])

    def list(self, *, after: int | None = None, offset: int = 0, limit: int = 100) -> UserList:
        """Return up to `limit` users by id, starting after the id `after` and skipping `offset` users."""
        statement = select(*_FIELDS).where(self._token_is_valid).order_by(users.c.id).limit(validate.limit(limit))
        if after is not None:
            statement = statement.where(users.c.id > validate.record_id(after, "after"))
        if offset:
            statement = statement.offset(validate.offset(offset))
        rows = self._connection.execute(statement).all()
        if not rows:
            self.confirm()
        return [_user(row) for row in rows]

    def stream(self, *, after: int | None = None) -> Iterator[User]:
        """Yield all users after the id `after`. They are read in pages, so that memory use stays constant."""
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
        """Change the given fields of a user. A new password revokes the user's tokens.

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
        """Set the user's password and revoke its tokens. Raises InvalidInputError, UserNotFoundError."""
        return self.edit(key, password=password)

    def void_tokens(self, key: UserKey) -> User:
        """Revoke all tokens of the user. Raises UserNotFoundError."""
        return self._update(key, {"token_version": _NEXT_VERSION})

    def remove(self, key: UserKey) -> User:
        """Delete the user with all its todos. Raises UserNotFoundError."""
        return _user(self._one(key, delete(users).where(*self._own(key)).returning(*_FIELDS)))

    def confirm(self) -> None:
        """Raise InvalidTokenError if the bearer's token has been revoked."""
        if self._bearer is not None:
            confirm(self._connection, self._bearer)

    def _new_hash(self, key: UserKey, changes: dict[str, Any], password: str | PasswordHash) -> str:
        if isinstance(password, PasswordHash):
            return password.value
        user = self.get(key)
        return self._hash(password, changes.get("username", user.username), changes.get("email", user.email))

    def _hash(self, password: str | PasswordHash, username: str, email: str) -> str:
        """Check and hash a new password. A PasswordHash is of a password that was already checked."""
        if isinstance(password, PasswordHash):
            return password.value
        return hash_password(check_new_password(password, username=username, email=email), self._hash_cost)

    def _update(self, key: UserKey, changes: dict[str, Any]) -> User:
        return _user(self._one(key, update(users).where(*self._own(key)).values(**changes).returning(*_FIELDS)))

    def _own(self, key: UserKey) -> ColumnElements:
        """Return the conditions for a change.

        They are on the row itself, so that PostgreSQL checks them again after a concurrent change.
        """
        if self._bearer is None:
            return [_named(key)]
        if key != self._bearer.user_id:
            self.confirm()
            raise AccountError("Not enough permissions")
        return [_named(key), users.c.token_version == self._bearer.token_version]

    def _one(self, key: UserKey, statement: Any) -> Any:
        """Return the single row of a statement. If it returns none, the token is checked before UserNotFoundError."""
        row = self._connection.execute(statement).one_or_none()
        if row is None:
            self.confirm()
            raise UserNotFoundError(f"user {key!r} does not exist")
        return row


def token_is_valid(identity: Identity) -> ColumnElement[bool]:
    """Return the condition that a token of this identity has not been revoked."""
    bearer = users.alias("bearer")
    return exists().where(bearer.c.id == identity.user_id, bearer.c.token_version == identity.token_version)


def confirm(connection: Connection, identity: Identity) -> None:
    """Raise InvalidTokenError if a token of this identity has been revoked."""
    valid = select(users.c.id.label("user_id")).where(
        users.c.id == identity.user_id, users.c.token_version == identity.token_version
    )
    if connection.execute(valid).one_or_none() is None:
        raise InvalidTokenError("Could not validate credentials")


def _named(key: UserKey) -> ColumnElement[bool]:
    # A username contains no '@' and never consists of digits only, so the three cannot be confused.
    if isinstance(key, int):
        return users.c.id == validate.record_id(key, "user")
    validate.text(key, "user")
    if key.isascii() and key.isdigit():
        return users.c.id == validate.record_id(int(key[:20]), "user")
    column = users.c.email if "@" in key else users.c.username
    return func.lower(column) == func.lower(literal(key))


def _user(row: Any) -> User:
    return User(*row)
