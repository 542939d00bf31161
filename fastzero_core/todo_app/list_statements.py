"""The SQL statements for lists. Pure.

Who asks is `owner_id` in all of them, as in those for todos, with `token_version` in those that also check a token.
`list_owner` and `place_id` are a list; the rows of one list have its owner as `user_id`, and are distributed by it.
"""

from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Text,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from .access import number
from .models import Role, TodoState
from .tables import CHANNEL, SEPARATOR, list_members, lists, todo_watchers, todos, users

EVERY, BY_ID, BY_NAME, BY_OWNER_AND_NAME = "every", "id", "name", "owner and name"
_OWNER = literal_column(f"'{Role.OWNER}'", Text)


@cache
def finding(with_token: bool, by: str) -> Any:
    """Return a query for the lists that the user sees: own ones, and those of which the user is a member.

    `by` is EVERY, BY_ID, BY_NAME for own ones by `list_name`, or BY_OWNER_AND_NAME with `owner_name`. The other users'
    are found by the membership, so that nothing tells whether there are more.
    """
    user = number("owner_id")
    chosen = _chosen(by) + _token_is_valid(with_token)
    own = select(*_fields(_OWNER)).join(users, users.c.id == lists.c.user_id)
    own = own.where(lists.c.user_id == user, *chosen)
    if by == BY_NAME:
        return own
    of_list = (list_members.c.user_id == lists.c.user_id, list_members.c.list_id == lists.c.id)
    shared = select(*_fields(list_members.c.role)).join(list_members, of_list[0] & of_list[1])
    shared = shared.join(users, users.c.id == lists.c.user_id).where(list_members.c.member_id == user, *chosen)
    both = union_all(own, shared).subquery("found")
    return select(both).order_by(both.c.user_id != user, func.lower(both.c.owner), func.lower(both.c.name))


@cache
def adding(with_token: bool, most: int) -> Any:
    """Return a statement that adds a list with `list_name`, unless the user has `most` already."""
    user, name = number("owner_id"), bindparam("list_name", type_=Text)
    few = select(func.count()).where(lists.c.user_id == user).scalar_subquery() < most
    row = select(user, name).where(few, *_token_is_valid(with_token))
    return insert(lists).from_select(["user_id", "name"], row).returning(lists.c.id)


@cache
def renaming(with_token: bool) -> Any:
    return (
        update(lists).where(*_managed(with_token)).values(name=bindparam("list_name", type_=Text)).returning(lists.c.id)
    )


@cache
def removing(with_token: bool) -> Any:
    """Return a statement that deletes one of the user's own lists and moves its todos to the trash. It counts both."""
    mine = (lists.c.user_id == number("owner_id"), lists.c.id == number("place_id"))
    gone = delete(lists).where(*mine, *_token_is_valid(with_token)).returning(lists.c.user_id, lists.c.id).cte("gone")
    trashed = (
        update(todos)
        .where(todos.c.user_id == number("owner_id"), todos.c.user_id == gone.c.user_id, todos.c.list_id == gone.c.id)
        .values(state=TodoState.TRASH.value, list_id=None, updated_at=func.now())
        .returning(todos.c.id)
        .cte("trashed")
    )
    return select(
        select(func.count()).select_from(gone).scalar_subquery(),
        select(func.count()).select_from(trashed).scalar_subquery(),
    )


@cache
def sharing(with_token: bool, by_name: bool, most: int) -> Any:
    """Return a statement that makes the user `member` a member with `new_role`, or changes the role.

    It returns the id, and the former role of a user who was a member before.
    """
    found = select(lists.c.user_id, lists.c.id, users.c.id, bindparam("new_role", type_=Text)).join(
        users, _named(by_name) & (users.c.id != lists.c.user_id)
    )
    others = select(func.count()).where(
        list_members.c.user_id == number("list_owner"),
        list_members.c.list_id == number("place_id"),
        list_members.c.member_id != users.c.id,
    )
    found = found.where(*_managed(with_token), others.correlate(users).scalar_subquery() < most)
    new = upsert(list_members).from_select(["user_id", "list_id", "member_id", "role"], found)
    new = new.on_conflict_do_update(constraint=list_members.primary_key, set_={"role": new.excluded.role})
    before = list_members.alias("before")
    # The column is literal, since SQLAlchemy does not correlate a query in RETURNING of an INSERT.
    former = select(before.c.role).where(
        before.c.user_id == number("list_owner"),
        before.c.list_id == number("place_id"),
        before.c.member_id == literal_column("list_members.member_id", BigInteger),
    )
    return new.returning(list_members.c.member_id, former.scalar_subquery())


@cache
def changing_role(with_token: bool, by_name: bool) -> Any:
    """Return a statement that gives `new_role` to a member alone: who was removed in between does not come back."""
    of_list = (list_members.c.user_id == number("list_owner"), list_members.c.list_id == number("place_id"))
    return (
        update(list_members)
        .where(*of_list, list_members.c.member_id == users.c.id, _named(by_name), exists().where(*_managed(with_token)))
        .values(role=bindparam("new_role", type_=Text))
        .returning(users.c.id, users.c.username, list_members.c.role)
    )


@cache
def unsharing(with_token: bool, by_name: bool) -> Any:
    """Return a statement that ends a membership: an owner of the list may end any, a member only their own."""
    of_list = (list_members.c.user_id == number("list_owner"), list_members.c.list_id == number("place_id"))
    managed = exists().where(*_managed(with_token))
    own = list_members.c.member_id == number("owner_id")
    return (
        delete(list_members)
        .where(*of_list, list_members.c.member_id == users.c.id, _named(by_name))
        .where(or_(own, managed), *_token_is_valid(with_token))
        .returning(users.c.id, users.c.username, list_members.c.role)
    )


@cache
def announcing() -> Any:
    """Return a statement that tells the open windows of a list that what a user may see or do there has changed."""
    owner, id = number("list_owner"), number("place_id")
    is_watched = exists().where(todo_watchers.c.user_id == owner, todo_watchers.c.until > func.now())
    separator = literal_column(f"'{SEPARATOR}'", Text)
    return select(func.pg_notify(CHANNEL, func.concat(owner, separator, id))).where(is_watched)


@cache
def listing_members(with_token: bool) -> Any:
    """Return a query for the members of a list that the user sees."""
    asking = list_members.alias("asking")
    user, owner, id = number("owner_id"), number("list_owner"), number("place_id")
    is_member = exists().where(asking.c.user_id == owner, asking.c.list_id == id, asking.c.member_id == user)
    return (
        select(users.c.id, users.c.username, list_members.c.role)
        .join(list_members, list_members.c.member_id == users.c.id)
        .where(list_members.c.user_id == owner, list_members.c.list_id == id)
        .where(or_(owner == user, is_member), *_token_is_valid(with_token))
        .order_by(func.lower(users.c.username))
    )


def _fields(role: Any) -> list[Any]:
    others = list_members.alias("others")
    of_list = (others.c.user_id == lists.c.user_id, others.c.list_id == lists.c.id)
    members = select(func.count()).select_from(others).where(*of_list).correlate(lists).scalar_subquery()
    return [
        lists.c.id,
        lists.c.name,
        users.c.username.label("owner"),
        role.label("role"),
        members.label("members"),
        lists.c.created_at,
        lists.c.user_id,
    ]


def _chosen(by: str) -> list[Any]:
    named = func.lower(lists.c.name) == func.lower(bindparam("list_name", type_=Text))
    owned_by = func.lower(users.c.username) == func.lower(bindparam("owner_name", type_=Text))
    return {
        EVERY: [],
        BY_ID: [lists.c.id == number("place_id")],
        BY_NAME: [named],
        BY_OWNER_AND_NAME: [named, owned_by],
    }[by]


def _managed(with_token: bool) -> list[Any]:
    """Return the conditions for a list of which the user is an owner."""
    user = number("owner_id")
    manager = list_members.alias("manager")
    is_owner = exists().where(
        manager.c.user_id == lists.c.user_id,
        manager.c.list_id == lists.c.id,
        manager.c.member_id == user,
        manager.c.role == _OWNER,
    )
    chosen = [lists.c.user_id == number("list_owner"), lists.c.id == number("place_id")]
    return [*chosen, or_(lists.c.user_id == user, is_owner), *_token_is_valid(with_token)]


def _named(by_name: bool) -> Any:
    if by_name:
        return func.lower(users.c.username) == func.lower(bindparam("member", type_=Text))
    return users.c.id == number("member")


def _token_is_valid(with_token: bool) -> list[Any]:
    bearer = users.alias("bearer")
    valid = exists().where(bearer.c.id == number("owner_id"), bearer.c.token_version == number("token_version"))
    return [valid] if with_token else []
