"""The operations on lists and their members, on a SQLAlchemy Core connection.

A list belongs to one user. Members have a role: viewers read its todos, editors change them too, owners also rename the
list and choose its members. Only the user whose list it is can delete it. A list that is not shared with a user is to
this user as one that does not exist.
"""

from dataclasses import replace
from typing import Any

from ..errors import ConflictError, LimitReachedError, ListRoleError, UserNotFoundError
from . import list_statements, validate
from .models import ListInfo, Member, Role
from .owner import ListKey, OfOwner, find_list, list_of

MemberKey = int | str
"""A member's id or username. E-mail addresses are refused: they would tell which are registered."""

# In the class, `list` is a method.
Infos = list[ListInfo]
Members = list[Member]


class Lists(OfOwner):
    """The lists of one user and those shared with this user, in the transaction of one connection."""

    def add(self, name: str) -> ListInfo:
        """Create a list. Raises InvalidInputError; ListNameTakenError; LimitReachedError."""
        statement = list_statements.adding(self._with_token, validate.LISTS_MAX)
        id = self._execute(statement, list_name=validate.list_name(name)).scalar()
        if id is None:
            self._confirm()
            raise LimitReachedError(f"you have {validate.LISTS_MAX} lists; more are not allowed", validate.LISTS_MAX)
        return self.get(id)

    def list(self) -> Infos:
        """Return the user's own lists by name, then those shared with the user by owner and name."""
        found = self._execute(list_statements.finding(self._with_token, list_statements.EVERY)).all()
        if not found:
            self._confirm()
        return [list_of(row) for row in found]

    def get(self, key: ListKey) -> ListInfo:
        """Return a list. Raises ListNotFoundError."""
        return find_list(self._connection, self._asker, key)

    def rename(self, key: ListKey, name: str) -> ListInfo:
        """Give a list another name. Raises InvalidInputError, ListNotFoundError, ListNameTakenError, ListRoleError."""
        validate.list_name(name)
        found = self._managed(key)
        self._on(found, list_statements.renaming(self._with_token), list_name=name)
        return self._managed(found.id)

    def remove(self, key: ListKey) -> int:
        """Delete one of the user's own lists and move its todos to the trash. Return how many these are.

        Undo takes them out again, into the inbox. Raises ListNotFoundError; ListRoleError for another user's list.
        """
        found = self.get(key)
        if found.user_id != self.user_id:
            raise ListRoleError("only the user whose list it is can delete it")
        gone, trashed = self._on(found, list_statements.removing(self._with_token)).one()
        if not gone:
            self.get(found.id)
        self._announce(found)
        return int(trashed)

    def members(self, key: ListKey) -> Members:
        """Return the members of a list by username, without the user whose list it is. Raises ListNotFoundError."""
        found = self.get(key)
        rows = self._on(found, list_statements.listing_members(self._with_token)).all()
        return [_member(row) for row in rows]

    def share(self, key: ListKey, user: MemberKey, role: Role | str = Role.EDITOR) -> Member:
        """Make a user a member of a list, or give a member another role.

        Raises InvalidInputError, ListNotFoundError, ListRoleError, UserNotFoundError; ConflictError for the user whose
        list it is; LimitReachedError.
        """
        new_role, member = validate.role(role).value, _checked(user)
        found = self._managed(key)
        statement = list_statements.sharing(self._with_token, isinstance(member, str), validate.MEMBERS_MAX)
        row = self._on(found, statement, member=member, new_role=new_role).one_or_none()
        if row is None:
            self._refuse_member(self._managed(found.id), member)
        id, former = row
        if former != new_role:
            self._announce(found)
        shared = next(each for each in self.members(found.id) if each.id == id)
        return replace(shared, former=former and Role(former))

    def change_role(self, key: ListKey, user: MemberKey, role: Role | str) -> Member:
        """Give a member another role. Unlike `share`, it does not make a user a member.

        Raises InvalidInputError, ListNotFoundError, ListRoleError; UserNotFoundError for a user who is not a member.
        """
        new_role, member = validate.role(role).value, _checked(user)
        found = self._managed(key)
        statement = list_statements.changing_role(self._with_token, isinstance(member, str))
        return self._the_member(found, user, self._on(found, statement, member=member, new_role=new_role))

    def unshare(self, key: ListKey, user: MemberKey) -> Member:
        """End the membership of a user. Raises ListNotFoundError, ListRoleError, UserNotFoundError."""
        found, member = self.get(key), _checked(user)
        statement = list_statements.unsharing(self._with_token, isinstance(member, str))
        return self._the_member(found, user, self._on(found, statement, member=member))

    def leave(self, key: ListKey) -> ListInfo:
        """End the user's own membership. Raises ListNotFoundError; ConflictError for a list of the user's own."""
        found = self.get(key)
        if found.user_id == self.user_id:
            raise ConflictError("it is your own list", hint="Delete it, or end the membership of others")
        self.unshare(found.id, self.user_id)
        return found

    def _the_member(self, found: ListInfo, user: MemberKey, changed: Any) -> Member:
        """Return the member that a statement has changed. Raises the error if it has changed none."""
        row = changed.one_or_none()
        if row is None:
            self._managed(found.id)
            raise UserNotFoundError(f"user {user!r} is not a member of this list")
        self._announce(found)
        return _member(row)

    def _announce(self, found: ListInfo) -> None:
        """Tell open windows: what a member may see and do has changed."""
        self._on(found, list_statements.announcing())

    def _managed(self, key: ListKey) -> ListInfo:
        """Return a list of which the user is an owner. Raises ListNotFoundError, ListRoleError."""
        found = self.get(key)
        if found.role is not Role.OWNER:
            raise ListRoleError(f"your role in this list is {found.role}; only its owners may do that")
        return found

    def _refuse_member(self, found: ListInfo, user: MemberKey) -> None:
        """Raise the error for a user who was not made a member."""
        if user == found.user_id or str(user).lower() == found.owner.lower():
            raise ConflictError(f"it is the list of {found.owner}")
        if found.members >= validate.MEMBERS_MAX:
            message = f"the list has {validate.MEMBERS_MAX} members; more are not allowed"
            raise LimitReachedError(message, validate.MEMBERS_MAX)
        raise UserNotFoundError(f"user {user!r} does not exist")

    def _on(self, found: ListInfo, statement: Any, **values: Any) -> Any:
        """Run a statement about a list."""
        return self._execute(statement, list_owner=found.user_id, place_id=found.id, **values)


def _checked(user: MemberKey) -> MemberKey:
    """Return an id as a number. Raises UserNotFoundError for an e-mail address."""
    if isinstance(user, str):
        if "@" in validate.text(user, "user"):
            raise UserNotFoundError(f"user {user!r} does not exist", hint="Give a username or an id")
        if not (user.isascii() and user.isdigit()):
            return user
        return validate.possible_id(user)
    return validate.record_id(user, "user")


def _member(row: Any) -> Member:
    id, username, role = row
    return Member(id, username, Role(role))
