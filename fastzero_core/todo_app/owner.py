"""What the operations on the data of one user share, on a SQLAlchemy Core connection."""

from typing import Any

from sqlalchemy import Connection, CursorResult, Text, bindparam, func, select

from ..errors import InvalidInputError, ListNotFoundError, ListRoleError
from . import list_statements, validate
from .access import ACTOR, ALL, IN_INBOX, IN_LIST, Access
from .models import INBOX, Identity, ListInfo, Role
from .users import confirm

ListKey = int | str
"""A list's id, the name of the user's own, or `OWNER/NAME` with its owner's username. Case is ignored."""

_SEPARATOR = "/"
_FORGET = select(func.set_config(bindparam("actor", ACTOR, type_=Text), "", True))


class OfOwner:
    """Operations for one user, in the transaction of one connection.

    Every statement is for the rows of one owner: of the user, or if `place` is a list of which the user is a member, of
    its owner, and then in this list alone. If the user is the Identity of a token, it also checks that the token is
    valid: see `_confirm` for a statement that finds nothing.
    """

    def __init__(self, connection: Connection, user: Identity | int, place: ListInfo | str | None = None) -> None:
        self._connection = connection
        self._bearer = user if isinstance(user, Identity) else None
        self.user_id = validate.record_id(user.user_id if isinstance(user, Identity) else user, "user")
        self._place = place
        self._scope = {"owner_id": self.user_id}
        if self._bearer is not None:
            self._scope["token_version"] = self._bearer.token_version
        self._access = Access(self._with_token, IN_INBOX if place == INBOX else ALL)
        if isinstance(place, ListInfo):
            by_member = place.user_id != self.user_id
            self._access = Access(self._with_token, IN_LIST, by_member)
            self._scope |= {"owner_id": place.user_id, "place_id": place.id}
            if by_member:
                self._scope["member_id"] = self.user_id

    @property
    def owner_id(self) -> int:
        """The id of the user whose the rows are."""
        return self._scope["owner_id"]

    @property
    def list_id(self) -> int | None:
        """The id of the only list whose todos are reached, if it is one."""
        return self._scope.get("place_id")

    @property
    def is_read_only(self) -> bool:
        """Whether the user is a viewer of the list."""
        return isinstance(self._place, ListInfo) and self._place.role is Role.VIEWER

    @property
    def _with_token(self) -> bool:
        return self._bearer is not None

    @property
    def _to_change(self) -> Access:
        """The condition of access of a change. Raises ListRoleError for a viewer."""
        if not self._access.by_member:
            return self._access
        self._require_editor()
        return Access(self._with_token, IN_LIST, by_member=True, changes=True)

    def _execute(self, statement: Any, **values: Any) -> CursorResult[Any]:
        return self._connection.execute(statement, {**self._scope, **values})

    def _change(self, statement: Any, **values: Any) -> CursorResult[Any]:
        """Run a statement that changes todos. Who made it is not that of other changes in the transaction."""
        done = self._execute(statement, **values)
        if self._access.by_member and not each_commits(self._connection):
            self._connection.execute(_FORGET)
        return done

    def _confirm(self, *, changes: bool = False) -> None:
        """Raise the error that is the reason that nothing was found, if there is one.

        InvalidTokenError for a token that is not valid, ListNotFoundError for a list that is not shared any more,
        ListRoleError with `changes` for a role that does not allow them any more.
        """
        if self._bearer is not None:
            confirm(self._connection, self._bearer)
        if self._access.by_member and isinstance(self._place, ListInfo):
            self._place = find_list(self._connection, self._asker, self._place.id)
            if changes:
                self._require_editor()

    def _confirm_change(self) -> None:
        """Raise the error of a member whose change found nothing, if the role is the reason."""
        if self._access.by_member:
            self._confirm(changes=True)

    def _own_list(self, key: ListKey) -> int | None:
        """Return the id of the user's list to which todos move, None for the inbox."""
        place = place_of(self._connection, self._asker, key)
        owner_id = place.user_id if isinstance(place, ListInfo) else self.user_id
        if owner_id != self.user_id or self._access.by_member:
            raise InvalidInputError("a todo stays with its owner, who alone moves it to another own list", field="list")
        return place.id if isinstance(place, ListInfo) else None

    def _require_editor(self) -> None:
        if self.is_read_only:
            raise ListRoleError("your role in this list is viewer, which may only read it")

    @property
    def _asker(self) -> Identity | int:
        return self._bearer or self.user_id


def find_list(connection: Connection, user: Identity | int, key: ListKey) -> ListInfo:
    """Return the list that the user knows by a key. Raises ListNotFoundError also for one that is not shared."""
    by, values = _criterion(key)
    if isinstance(user, Identity):
        values |= {"owner_id": user.user_id, "token_version": user.token_version}
    else:
        values["owner_id"] = user
    row = connection.execute(list_statements.finding("token_version" in values, by), values).one_or_none()
    if row is not None:
        return list_of(row)
    if isinstance(user, Identity):
        confirm(connection, user)
    raise ListNotFoundError(f"list {key!r} does not exist")


def place_of(connection: Connection, user: Identity | int, key: ListKey | None) -> ListInfo | str | None:
    """Return where todos are, for a key that a user gave: a list, the inbox, or None for all of the user's lists."""
    if key is None:
        return None
    is_inbox = isinstance(key, str) and key.lower() == INBOX
    return INBOX if is_inbox else find_list(connection, user, key)


def list_of(row: Any) -> ListInfo:
    id, name, owner, role, members, created_at, user_id = row
    return ListInfo(id, name, owner, Role(role), members, created_at, user_id)


def _criterion(key: ListKey) -> tuple[str, dict[str, Any]]:
    """Return by what to find a list, with its values. Raises InvalidInputError."""
    if isinstance(key, int):
        return list_statements.BY_ID, {"place_id": validate.record_id(key, "list")}
    validate.text(key, "list")
    if key.isascii() and key.isdigit():
        return list_statements.BY_ID, {"place_id": validate.possible_id(key)}
    owner, separator, name = key.partition(_SEPARATOR)
    if separator:
        return list_statements.BY_OWNER_AND_NAME, {"owner_name": owner, "list_name": name}
    if not key:
        raise InvalidInputError("the name of a list must not be empty", field="list")
    return list_statements.BY_NAME, {"list_name": key}


def each_commits(connection: Connection) -> bool:
    """Return whether each statement is a transaction of its own."""
    options = connection.get_execution_options()
    return bool(options.get("commits_by_itself")) or options.get("isolation_level") == "AUTOCOMMIT"
