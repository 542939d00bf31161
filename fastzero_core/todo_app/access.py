"""The condition of access, which every statement about todos carries.

A user reaches their own todos, or those of one list: their own, or one that another user shares with them.
Rows are those of their owner in every case, and are distributed by this user. The parameters are `owner_id`, the owner
of the rows; `place_id`, the list; `member_id`, the user who is not the owner; and `token_version` of the user's token.
Pure: it uses no connection and no values.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, BindParameter, ColumnElement, Text, bindparam, cast, exists, func, or_, select

from .models import Role
from .tables import list_members, todos, users

ALL, IN_INBOX, IN_LIST = "all", "inbox", "list"
# Who made a change, for the history. The setting ends with the transaction.
ACTOR = "fastzero.member"


@dataclass(frozen=True, slots=True)
class Access:
    """The shape of a condition of access, without its values.

    `within` is ALL, IN_INBOX or IN_LIST. With `by_member` the list is another user's; `changes` says whether the
    statement changes todos, which a viewer may not.
    """

    with_token: bool = False
    within: str = ALL
    by_member: bool = False
    changes: bool = False


def owned(access: Access) -> list[ColumnElement[bool]]:
    """Return the conditions of every statement about `todos`."""
    mine: list[ColumnElement[bool]] = [todos.c.user_id == number("owner_id")]
    if access.within == IN_INBOX:
        mine.append(todos.c.list_id.is_(None))
    elif access.within == IN_LIST:
        mine.append(todos.c.list_id == number("place_id"))
    return [*mine, *allowed(access)]


def allowed(access: Access) -> list[ColumnElement[bool]]:
    """Return the conditions that are not about the todos: that the user is a member, and that the token is valid."""
    conditions: list[ColumnElement[bool]] = []
    if access.by_member:
        conditions.append(_is_member(access.changes))
    if access.with_token:
        of_user = users.c.id == number("member_id" if access.by_member else "owner_id")
        conditions.append(exists().where(of_user, users.c.token_version == number("token_version")))
    if access.by_member and access.changes:
        as_text = cast(number("member_id"), Text)
        conditions.append(select(func.set_config(ACTOR, as_text, True)).scalar_subquery().is_not(None))
    return conditions


def number(name: str) -> BindParameter[int]:
    return bindparam(name, type_=BigInteger)


def with_role(*roles: Role) -> ColumnElement[bool]:
    """Return the condition that a member has one of some roles."""
    return or_(*(list_members.c.role == role.value for role in roles))


def _is_member(changes: bool) -> ColumnElement[bool]:
    found: Any = exists().where(
        list_members.c.user_id == number("owner_id"),
        list_members.c.list_id == number("place_id"),
        list_members.c.member_id == number("member_id"),
    )
    return found.where(with_role(Role.EDITOR, Role.OWNER)) if changes else found  # type: ignore[no-any-return]
