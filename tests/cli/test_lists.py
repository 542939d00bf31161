"""fastzero list, and --list in the commands about todos: own lists, shared ones, and those of others."""

from typing import Any

import pytest

from fastzero_core import FastZero, User

from .conftest import Run, records

PASSWORD = "correct horse"


@pytest.fixture
def bob(ana: User, database: str) -> User:
    """Ana has the list Work with a todo, and one in her inbox; bob has a todo of his own."""
    with FastZero(database) as fz:
        bob = fz.users.add("bob", email="bob@example.com", password=PASSWORD)
        fz.lists(ana).add("Work")
        fz.todos(ana, list="Work").add("In work", tags=["urgent"])
        fz.todos(ana).add("In the inbox")
        fz.todos(bob).add("Bob's")
    return bob


def titles(fastzero: Run, *words: str) -> list[str]:
    return [todo["title"] for todo in records(fastzero("todo", "list", "-u", "ana", *words, "-o", "json"))]


def test_a_list_holds_todos_apart(bob: User, fastzero: Run) -> None:
    assert titles(fastzero) == ["In work", "In the inbox"]
    assert titles(fastzero, "--list", "work") == ["In work"]
    assert titles(fastzero, "-l", "inbox") == ["In the inbox"]
    added = records(fastzero("todo", "add", "New", "-l", "Work", "-u", "ana", "-o", "json"))
    assert added[0]["list"] == "Work"


def test_edit_moves_to_another_list_and_where_list_selects(bob: User, fastzero: Run) -> None:
    assert (
        fastzero("todo", "edit", "--where-list", "Work", "--text", "work", "--list", "inbox", "-u", "ana", "--yes").code
        == 0
    )
    assert titles(fastzero, "-l", "inbox") == ["In work", "In the inbox"]


COMMANDS: dict[str, list[str]] = {
    "add": ["todo", "add", "x"],
    "list": ["todo", "list"],
    "show": ["todo", "show", "1"],
    "edit": ["todo", "edit", "1", "--title", "x"],
    "tag": ["todo", "tag", "1", "--add", "x"],
    "move": ["todo", "move", "1", "--to", "doing"],
    "done": ["todo", "done", "--text", "work", "--yes"],
    "trash": ["todo", "trash", "1"],
    "restore": ["todo", "restore", "1"],
    "purge": ["todo", "purge", "--yes"],
    "next": ["todo", "next"],
    "stats": ["todo", "stats"],
    "undo": ["todo", "undo"],
    "redo": ["todo", "redo"],
    "log": ["todo", "log"],
    "export": ["todo", "export"],
}
READS = {"list", "show", "next", "stats", "log", "export"}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_list_of_another_is_as_one_that_does_not_exist(bob: User, fastzero: Run, name: str) -> None:
    option = "--where-list" if name == "edit" else "--list"
    told = []
    for key in ("ana/Work", "ana/Nothing", "nobody/Work"):
        result = fastzero(*COMMANDS[name], option, key, "-u", "bob")
        assert result.code == 3
        told.append(result.err.replace(key, "KEY"))
    assert told[0] == told[1] == told[2]
    assert "list 'KEY' does not exist" in told[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_viewer_reads_and_changes_nothing(bob: User, fastzero: Run, name: str) -> None:
    assert fastzero("list", "share", "Work", "bob", "--role", "viewer", "-u", "ana").code == 0
    option = "--where-list" if name == "edit" else "--list"
    result = fastzero(*COMMANDS[name], option, "ana/Work", "-u", "bob")
    assert result.code == (0 if name in READS else 5), result.err
    if name not in READS:
        assert "your role in this list is viewer" in result.err


def test_a_list_is_shared_and_left(bob: User, fastzero: Run) -> None:
    shared = records(fastzero("list", "share", "Work", "bob", "-u", "ana", "-o", "json"))
    assert shared == [{"id": bob.id, "username": "bob", "role": "editor"}]
    [found] = records(fastzero("list", "list", "-u", "bob", "-o", "json"))
    assert (found["name"], found["owner"], found["role"], found["members"]) == ("Work", "ana", "editor", 1)
    assert fastzero("todo", "done", "1", "--list", "ana/Work", "-u", "bob").code == 0
    assert fastzero("todo", "undo", "--list", "ana/Work", "-u", "bob").code == 0
    assert records(fastzero("list", "members", "Work", "-u", "ana", "-o", "json")) == shared
    assert fastzero("list", "leave", "ana/Work", "-u", "bob").code == 0
    assert fastzero("list", "list", "-u", "bob", "-o", "ids").out == ""


def test_a_list_is_renamed_and_deleted_after_asking(bob: User, fastzero: Run) -> None:
    assert records(fastzero("list", "rename", "Work", "Office", "-u", "ana", "-o", "json"))[0]["name"] == "Office"
    refused = fastzero("list", "rm", "Office", "-u", "ana")
    assert (refused.code, "1 todo moved to the trash" in refused.err) == (2, True)
    assert records(fastzero("list", "rm", "Office", "-u", "ana", "--yes", "-o", "json")) == {"trashed": 1}
    assert titles(fastzero, "-s", "trash") == ["In work"]


def test_the_table_has_the_list_where_there_is_one(bob: User, fastzero: Run) -> None:
    def heading(*words: str) -> Any:
        return fastzero("todo", "list", *words, "-o", "table").out.splitlines()[0].split()

    assert "list" in heading("-u", "ana")
    assert "list" not in heading("-u", "ana", "-l", "Work")
    assert "list" not in heading("-u", "bob")
