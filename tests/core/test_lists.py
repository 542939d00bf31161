"""Lists and their members: who reaches which todos, and that nothing tells a stranger whether a list exists."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fastzero_core import FastZero, Identity, InvalidInputError, NewTodo, Role, TodoState, User
from fastzero_core.errors import (
    ConflictError,
    InvalidTokenError,
    ListNameTakenError,
    ListNotFoundError,
    ListRoleError,
    NotFoundError,
    TodoNotFoundError,
    UserNotFoundError,
)
from fastzero_core.postgres.database import create_engine
from fastzero_core.todo_app import validate
from fastzero_core.todo_app.lists import Lists
from fastzero_core.todo_app.todos import Todos

PASSWORD = "correct horse"
CONTENT = "SELECT md5(string_agg(t::text, ',' ORDER BY user_id, id)) FROM todos t"
WORK = "ana/Work"


class Team:
    """Ana's list Work with two todos and one in her inbox; and others, of whom bob has a role in it."""

    def __init__(self, url: str) -> None:
        self.engine = create_engine(url)
        with FastZero(self.engine) as fz:
            self.users = {
                name: fz.users.add(name, email=f"{name}@example.com", password=PASSWORD)
                for name in ("ana", "bob", "eve")
            }
            self.list = fz.lists(self.ana).add("Work")
            self.first, self.second = fz.todos(self.ana, list="Work").add_many(
                [NewTodo("First", tags=["a"]), NewTodo("Second", state="trash")]
            )
            self.private = fz.todos(self.ana).add("Private", tags=["secret"])
            fz.todos(self.bob).add("Bob's own")

    @property
    def ana(self) -> User:
        return self.users["ana"]

    @property
    def bob(self) -> User:
        return self.users["bob"]

    def share(self, role: str) -> None:
        with FastZero(self.engine) as fz:
            fz.lists(self.ana).share("Work", "bob", role)

    def unshare(self) -> None:
        with FastZero(self.engine) as fz:
            fz.lists(self.ana).unshare("Work", "bob")

    def run(self, operation: Callable[[FastZero], Any]) -> Any:
        with FastZero(self.engine) as fz:
            return operation(fz)

    def sql(self, query: str) -> Any:
        with self.engine.begin() as connection:
            return connection.exec_driver_sql(query).fetchone()

    @property
    def content(self) -> Any:
        return self.sql(CONTENT)


@pytest.fixture
def team(database_url: str) -> Iterator[Team]:
    team = Team(database_url)
    yield team
    team.engine.dispose()


READS: dict[str, Callable[[Todos, int], Any]] = {
    "get": lambda todos, id: todos.get(id),
    "list": lambda todos, id: todos.list(),
    "list by title": lambda todos, id: todos.list(sort="title", text="i"),
    "list by tag": lambda todos, id: todos.list(tags=["a"]),
    "next": lambda todos, id: todos.next(),
    "stream": lambda todos, id: list(todos.stream()),
    "count": lambda todos, id: todos.count(),
    "stats": lambda todos, id: todos.stats(),
}
CHANGES: dict[str, Callable[[Todos, int], Any]] = {
    "add": lambda todos, id: todos.add("New"),
    "add many": lambda todos, id: todos.add_many([NewTodo("New")]),
    "edit": lambda todos, id: todos.edit(id, title="Other", tags=["b"]),
    "edit many": lambda todos, id: todos.edit_many([id], due="tomorrow"),
    "edit matching": lambda todos, id: todos.edit_matching({"priority": "high"}, states=["todo"]),
    "move": lambda todos, id: todos.move(id, to="doing"),
    "trash": lambda todos, id: todos.trash(id),
    "restore": lambda todos, id: todos.restore(id + 1),
    "place": lambda todos, id: todos.place(id, after=id + 1),
    "remove": lambda todos, id: todos.remove(id),
    "purge": lambda todos, id: todos.purge(),
    "purge one": lambda todos, id: todos.purge(id + 1),
}
MANAGES: dict[str, Callable[[Lists, int], Any]] = {
    "rename": lambda lists, id: lists.rename(id, "Other"),
    "share": lambda lists, id: lists.share(id, "eve", "editor"),
    "unshare": lambda lists, id: lists.unshare(id, "eve"),
    "remove": lambda lists, id: lists.remove(id),
}


@pytest.mark.parametrize("name", [*READS, *CHANGES])
@pytest.mark.parametrize("role", ["none", *Role])
def test_a_member_does_what_the_role_allows_and_nothing_else(team: Team, role: str, name: str) -> None:
    if role != "none":
        team.share(role)
    before = team.content
    operation = (READS | CHANGES)[name]

    def attempt(key: int | str) -> Any:
        return team.run(lambda fz: operation(fz.todos(team.bob, list=key), team.first.id))

    if role == "none":
        for key in (team.list.id, WORK, "ana/work", str(team.list.id)):
            with pytest.raises(ListNotFoundError, match=rf"^list {key!r} does not exist$"):
                attempt(key)
    elif role == Role.VIEWER and name in CHANGES:
        with pytest.raises(ListRoleError):
            attempt(WORK)
    else:
        attempt(WORK)
    assert (team.content != before) == (name in CHANGES and role in (Role.EDITOR, Role.OWNER))


@pytest.mark.parametrize("name", [*READS, *CHANGES])
@pytest.mark.parametrize("ends", ["unshared", "demoted", "revoked"])
def test_each_statement_checks_the_membership_again(team: Team, name: str, ends: str) -> None:
    """The list was found while it was shared; by the time of the statement it is not any more."""
    team.share("editor")
    with FastZero(team.engine) as fz:
        todos = fz.todos(Identity(team.bob.id, 0), list=WORK)
        if ends == "unshared":
            team.unshare()
        elif ends == "demoted":
            team.share("viewer")
        else:
            team.run(lambda fz: fz.users.void_tokens("bob"))
        before = team.content
        if ends == "demoted" and name in READS:
            READS[name](todos, team.first.id)
            return
        error = {"unshared": ListNotFoundError, "demoted": ListRoleError, "revoked": InvalidTokenError}[ends]
        with pytest.raises(error):
            (READS | CHANGES)[name](todos, team.first.id)
    assert team.content == before


def test_a_member_sees_of_the_owner_this_list_alone(team: Team) -> None:
    team.share("owner")
    with FastZero(team.engine) as fz:
        todos = fz.todos(team.bob, list=WORK)
        assert [todo.title for todo in todos.list()] == ["First", "Second"]
        assert todos.count() == 2
        assert todos.stats().by_tag == {"a": 1}
        assert todos.list(tags=["secret"]) == []
        assert todos.list(text="Private") == []
        for operation in (todos.get, todos.remove, todos.trash, todos.purge):
            with pytest.raises(TodoNotFoundError):
                operation(team.private.id)
        with pytest.raises(TodoNotFoundError):
            todos.place(team.first.id, before=team.private.id)
        assert todos.edit_matching({"priority": "low"}, states=[*TodoState]) == 2
    assert team.run(lambda fz: fz.todos(team.ana).get(team.private.id)) == team.private


def test_without_a_list_nobody_reaches_the_todos_of_another(team: Team) -> None:
    team.share("owner")
    with FastZero(team.engine) as fz:
        todos = fz.todos(team.bob)
        assert [todo.title for todo in todos.list()] == ["Bob's own"]
        with pytest.raises(TodoNotFoundError):
            todos.edit(team.first.id, title="Mine")
        assert fz.history(team.bob).log()[0].title == "Bob's own"


def test_what_a_member_adds_is_the_owner_s_and_in_the_list(team: Team) -> None:
    team.share("editor")
    added = team.run(lambda fz: fz.todos(team.bob, list=WORK).add("By Bob"))
    assert (added.user_id, added.list) == (team.ana.id, "Work")
    assert team.run(lambda fz: fz.todos(team.ana).get(added.id)) == added


# -- that a list cannot be told from one that does not exist ---------------------------------------------------


@pytest.mark.parametrize("operation", ["get", "members", "remove", "leave", "rename", "share", "unshare"])
def test_a_list_of_another_is_as_one_that_does_not_exist(team: Team, operation: str) -> None:
    more: dict[str, tuple[Any, ...]] = {"rename": ("Other",), "share": ("eve",), "unshare": ("bob",)}
    told = []
    for key in (WORK, "ana/Nothing", "nobody/Work", "Work", "Nothing", team.list.id, 987654):
        with pytest.raises(ListNotFoundError) as refused, FastZero(team.engine) as fz:
            getattr(fz.lists(team.users["eve"]), operation)(key, *more.get(operation, ()))
        told.append(refused.value.as_dict() | {"message": refused.value.message.replace(repr(key), "KEY")})
    assert all(each == told[0] for each in told)


def test_two_users_have_lists_of_the_same_name(team: Team) -> None:
    with FastZero(team.engine) as fz:
        fz.lists(team.bob).add("work")
        fz.todos(team.bob, list="WORK").add("Mine")
        assert [todo.title for todo in fz.todos(team.bob, list="bob/work").list()] == ["Mine"]
    with pytest.raises(ListNameTakenError), FastZero(team.engine) as fz:
        fz.lists(team.ana).add("WORK")


@pytest.mark.parametrize("name", MANAGES)
@pytest.mark.parametrize("role", [Role.VIEWER, Role.EDITOR, Role.OWNER])
def test_only_owners_manage_a_list_and_only_its_user_deletes_it(team: Team, role: Role, name: str) -> None:
    team.share(role)
    team.run(lambda fz: fz.lists(team.ana).share("Work", "eve", "viewer"))
    if role is Role.OWNER and name != "remove":
        team.run(lambda fz: MANAGES[name](fz.lists(team.bob), team.list.id))
        return
    before = team.run(lambda fz: (fz.lists(team.ana).list(), fz.lists(team.ana).members("Work")))
    with pytest.raises(ListRoleError), FastZero(team.engine) as fz:
        MANAGES[name](fz.lists(team.bob), team.list.id)
    assert team.run(lambda fz: (fz.lists(team.ana).list(), fz.lists(team.ana).members("Work"))) == before


def test_a_role_that_was_taken_away_shares_nothing(team: Team) -> None:
    team.share("owner")
    with FastZero(team.engine) as fz:
        lists = fz.lists(team.bob)
        found = lists.get(WORK)
        team.share("editor")
        statement_finds = lists._on(found, _sharing(), member=team.users["eve"].id, new_role="owner").all()
    assert statement_finds == []
    assert [each.username for each in team.run(lambda fz: fz.lists(team.ana).members("Work"))] == ["bob"]


def _sharing() -> Any:
    from fastzero_core.todo_app import list_statements

    return list_statements.sharing(False, False, validate.MEMBERS_MAX)


@pytest.mark.parametrize("operation", ["add", "list", "get", "rename", "remove", "members", "share", "unshare"])
def test_a_token_that_is_revoked_does_nothing(team: Team, operation: str) -> None:
    team.share("editor")
    arguments: dict[str, tuple[Any, ...]] = {
        "add": ("Home",), "list": (), "rename": ("Work", "Other"), "share": ("Work", "eve"), "unshare": ("Work", "bob")
    }  # fmt: skip
    with pytest.raises(InvalidTokenError), FastZero(team.engine) as fz:
        getattr(fz.lists(Identity(team.ana.id, 7)), operation)(*arguments.get(operation, ("Work",)))


# -- own lists -------------------------------------------------------------------------------------------------


def test_lists_hold_todos_apart_and_the_inbox_has_the_others(team: Team) -> None:
    with FastZero(team.engine) as fz:
        titles = {
            key: [todo.title for todo in fz.todos(team.ana, list=key).list()]
            for key in (None, "inbox", "INBOX", "work", "ana/Work", team.list.id)
        }
        lists = [todo.list for todo in fz.todos(team.ana).list()]
    work = ["First", "Second"]
    assert titles == {
        None: [*work, "Private"], "inbox": ["Private"], "INBOX": ["Private"],
        "work": work, "ana/Work": work, team.list.id: work,
    }  # fmt: skip
    assert lists == ["Work", "Work", "inbox"]


def test_a_todo_moves_between_own_lists(team: Team) -> None:
    with FastZero(team.engine) as fz:
        todos = fz.todos(team.ana)
        fz.lists(team.ana).add("Home")
        assert todos.edit(team.private.id, list="home").list == "Home"
        assert todos.edit_matching({"list": "inbox"}, states=["todo"]) == 2
        assert {todo.list for todo in todos.list(states=["todo"])} == {"inbox"}
        with pytest.raises(ListNotFoundError):
            todos.edit(team.private.id, list="Nothing")


def test_a_todo_stays_with_its_owner(team: Team) -> None:
    team.share("owner")
    with FastZero(team.engine) as fz:
        fz.lists(team.bob).add("Mine")
        own = fz.todos(team.bob).list()[0]
        for todos, id, key in (
            (fz.todos(team.bob), own.id, WORK),
            (fz.todos(team.bob, list=WORK), team.first.id, "Mine"),
            (fz.todos(team.bob, list=WORK), team.first.id, "inbox"),
        ):
            with pytest.raises(InvalidInputError, match="stays with its owner"):
                todos.edit(id, list=key)


@pytest.mark.parametrize("name", ["", " ", "a/b", "inbox", "Inbox", "12", "a\nb", "a\0b", "x" * 101, " a", "\u202ea"])
def test_a_name_that_could_be_confused_is_refused(team: Team, name: str) -> None:
    with FastZero(team.engine) as fz:
        lists = fz.lists(team.ana)
        with pytest.raises(InvalidInputError):
            lists.add(name)
        with pytest.raises(InvalidInputError):
            lists.rename("Work", name)


def test_lists_are_shown_own_ones_first_with_the_role(team: Team) -> None:
    team.share("viewer")
    with FastZero(team.engine) as fz:
        fz.lists(team.bob).add("zoo")
        shown = [(each.name, each.owner, each.role, each.members) for each in fz.lists(team.bob).list()]
        assert shown == [("zoo", "bob", Role.OWNER, 0), ("Work", "ana", Role.VIEWER, 1)]
        assert fz.lists(team.users["eve"]).list() == []


def test_members_have_limits_and_sense(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    with FastZero(team.engine) as fz:
        lists = fz.lists(team.ana)
        for unknown in ("nobody", 987654, "bob@example.com"):
            with pytest.raises(UserNotFoundError):
                lists.share("Work", unknown)
        for own in ("ANA", team.ana.id):
            with pytest.raises(ConflictError, match="it is the list of ana"):
                lists.share("Work", own)
        with pytest.raises(InvalidInputError):
            lists.share("Work", "bob", "king")
        monkeypatch.setattr(validate, "MEMBERS_MAX", 1)
        assert lists.share("Work", "BOB", "viewer").username == "bob"
        assert lists.share("Work", team.bob.id, "editor").role is Role.EDITOR
        with pytest.raises(ConflictError, match="has 1 members"):
            lists.share("Work", "eve")
        monkeypatch.setattr(validate, "LISTS_MAX", 1)
        with pytest.raises(ConflictError, match="you have 1 lists"):
            lists.add("Home")


def test_another_role_makes_nobody_a_member(team: Team) -> None:
    with FastZero(team.engine) as fz:
        lists = fz.lists(team.ana)
        with pytest.raises(UserNotFoundError):
            lists.change_role("Work", "bob", "viewer")
        assert lists.share("Work", "bob", "viewer").former is None
        assert lists.share("Work", "bob", "editor").former is Role.VIEWER
        assert lists.change_role("Work", "BOB", "owner").role is Role.OWNER
        assert lists.change_role("Work", team.bob.id, "editor") in lists.members("Work")
        with pytest.raises(InvalidInputError):
            lists.change_role("Work", "bob", "king")
        with pytest.raises(ListRoleError):
            fz.lists(team.bob).change_role("ana/Work", "bob", "owner")
        lists.unshare("Work", "bob")
        with pytest.raises(UserNotFoundError):
            lists.change_role("Work", "bob", "viewer")
        assert "bob" not in {each.username for each in lists.members("Work")}


def test_a_member_leaves_and_is_a_stranger_again(team: Team) -> None:
    team.share("viewer")
    with FastZero(team.engine) as fz:
        assert fz.lists(team.bob).leave(WORK).name == "Work"
        with pytest.raises(ListNotFoundError):
            fz.todos(team.bob, list=WORK)
        with pytest.raises(ConflictError):
            fz.lists(team.ana).leave("Work")


# -- what goes with a list and with a user ---------------------------------------------------------------------


def test_with_a_list_its_todos_go_to_the_trash_and_undo_brings_them_back(team: Team) -> None:
    team.share("editor")
    assert team.run(lambda fz: fz.lists(team.ana).remove("Work")) == 2
    with FastZero(team.engine) as fz:
        found = fz.todos(team.ana).list()
        assert [(todo.state, todo.list) for todo in found] == [
            ("trash", "inbox"),
            ("trash", "inbox"),
            ("todo", "inbox"),
        ]
        assert fz.lists(team.bob).list() == fz.lists(team.ana).list() == []
    team.run(lambda fz: fz.history(team.ana).undo())
    found = team.run(lambda fz: fz.todos(team.ana).list())
    assert [(todo.title, todo.state, todo.list) for todo in found] == [
        ("First", "todo", "inbox"), ("Second", "trash", "inbox"), ("Private", "todo", "inbox")
    ]  # fmt: skip
    team.run(lambda fz: fz.history(team.ana).redo())
    assert team.run(lambda fz: fz.todos(team.ana).count(["trash"])) == 2


def test_with_an_account_go_its_lists_and_its_memberships(team: Team) -> None:
    team.share("editor")
    team.run(lambda fz: (fz.lists(team.bob).add("Mine"), fz.lists(team.bob).share("Mine", "ana")))
    team.run(lambda fz: fz.users.remove("bob"))
    with FastZero(team.engine) as fz:
        assert [each.name for each in fz.lists(team.ana).list()] == ["Work"]
        assert fz.lists(team.ana).members("Work") == []
    team.run(lambda fz: fz.lists(team.ana).share("Work", "eve"))
    team.run(lambda fz: fz.users.remove("ana"))
    assert team.run(lambda fz: fz.lists(team.users["eve"]).list()) == []
    assert team.sql("SELECT count(*) FROM todos")[0] == 0


# -- undo ------------------------------------------------------------------------------------------------------


def undo(team: Team, name: str, key: str | None = None) -> list[str]:
    return [entry.title for entry in team.run(lambda fz: fz.history(team.users[name], list=key).undo())]


def test_everybody_undoes_own_changes(team: Team) -> None:
    team.share("editor")
    before = team.content
    team.run(lambda fz: fz.todos(team.bob, list=WORK).edit(team.first.id, title="By Bob"))
    team.run(lambda fz: fz.todos(team.ana).edit(team.private.id, title="By Ana"))
    assert undo(team, "bob", WORK) == ["First"]
    assert undo(team, "ana") == ["Private"]
    assert team.content == before
    team.run(lambda fz: fz.history(team.bob, list=WORK).redo())
    assert team.run(lambda fz: fz.todos(team.ana).get(team.first.id)).title == "By Bob"


def test_a_change_by_another_is_not_overwritten(team: Team) -> None:
    team.share("editor")
    team.run(lambda fz: fz.todos(team.bob, list=WORK).edit(team.first.id, title="By Bob"))
    team.run(lambda fz: fz.todos(team.ana).edit(team.first.id, title="By Ana"))
    with pytest.raises(ConflictError, match=f"todo {team.first.id} was changed in another way"):
        undo(team, "bob", WORK)
    undo(team, "ana")
    assert undo(team, "bob", WORK) == ["First"]


def test_one_s_own_change_ends_one_s_own_redo_alone(team: Team) -> None:
    team.share("editor")
    team.run(lambda fz: fz.todos(team.bob, list=WORK).add("By Bob"))
    undo(team, "bob", WORK)
    team.run(lambda fz: fz.todos(team.ana).add("By Ana"))
    assert team.run(lambda fz: fz.history(team.bob, list=WORK).redo())[0].added == 1
    undo(team, "bob", WORK)
    team.run(lambda fz: fz.todos(team.bob, list=WORK).add("Again"))
    with pytest.raises(NotFoundError, match="nothing to redo"):
        team.run(lambda fz: fz.history(team.bob, list=WORK).redo())


def test_a_member_undoes_nothing_that_is_not_in_the_list_any_more(team: Team) -> None:
    team.share("editor")
    team.run(lambda fz: fz.todos(team.bob, list=WORK).edit(team.first.id, title="By Bob"))
    team.sql(
        "WITH off AS (SELECT set_config('fastzero.entry', 'none', true))"
        f" UPDATE todos SET list_id = NULL FROM off WHERE id = {team.first.id} RETURNING 1"
    )
    with pytest.raises(ConflictError):
        undo(team, "bob", WORK)


@pytest.mark.parametrize("role", ["none", "viewer"])
def test_who_may_not_change_a_list_undoes_nothing_in_it(team: Team, role: str) -> None:
    team.share("editor")
    team.run(lambda fz: fz.todos(team.bob, list=WORK).edit(team.first.id, title="By Bob"))
    with FastZero(team.engine) as fz:
        history = fz.history(team.bob, list=WORK)
        if role == "none":
            team.unshare()
        else:
            team.share(role)
        with pytest.raises(ListNotFoundError if role == "none" else ListRoleError):
            history.undo()
    with pytest.raises(ListNotFoundError if role == "none" else ListRoleError):
        undo(team, "bob", WORK)
    assert team.run(lambda fz: fz.todos(team.ana).get(team.first.id)).title == "By Bob"


def test_the_log_tells_who_and_a_member_sees_the_own_entries(team: Team) -> None:
    team.share("editor")
    team.run(lambda fz: fz.todos(team.bob, list=WORK).edit(team.first.id, title="By Bob"))
    team.run(lambda fz: fz.todos(team.ana).edit(team.second.id, title="By Ana"))
    with FastZero(team.engine) as fz:
        assert [entry.by for entry in fz.history(team.ana).log(2)] == ["ana", "bob"]
        assert [entry.title for entry in fz.history(team.bob, list=WORK).log()] == ["By Bob"]
        assert [entry.title for entry in fz.history(team.ana, list="Work").log(2)] == ["By Ana", "By Bob"]


def test_in_one_block_each_change_is_of_who_made_it(team: Team) -> None:
    team.share("editor")
    with FastZero(team.engine) as fz:
        fz.todos(team.bob, list=WORK).edit(team.first.id, title="By Bob")
        fz.todos(team.ana).edit(team.private.id, title="By Ana")
    assert undo(team, "ana") == ["Private"]
    assert undo(team, "bob", WORK) == ["First"]
