"""Lists over HTTP: every operation × own, shared in each role, another's and no list at all."""

from typing import Any
from urllib.parse import quote

import pytest

from .client import Account, Answer, Client

ROLES = ("viewer", "editor", "owner")

# Each is called with a token, the id of a list, and `?list=…` for its todos.
READS: dict[str, tuple[str, str, Any]] = {
    "list": ("GET", "/todos/{in}", None),
    "sorted": ("GET", "/todos/{in}&sort=title&state=todo", None),
    "count": ("GET", "/todos/count{in}", None),
    "next": ("GET", "/todos/next{in}", None),
    "stats": ("GET", "/todos/stats{in}", None),
    "read": ("GET", "/todos/{todo}{in}", None),
    "history": ("GET", "/history/{in}", None),
    "the list": ("GET", "/lists/{list}", None),
    "its members": ("GET", "/lists/{list}/members", None),
}
CHANGES: dict[str, tuple[str, str, Any]] = {
    "create": ("POST", "/todos/{in}", {"title": "New"}),
    "bulk": ("POST", "/todos/bulk{in}", [{"title": "New"}]),
    "change": ("PATCH", "/todos/{todo}{in}", {"title": "Other"}),
    "change matching": ("PATCH", "/todos/{in}&state=todo", {"priority": "high", "expected": 1}),
    "place": ("PUT", "/todos/{todo}/place{in}", {"other": "{second}", "side": "after"}),
    "delete": ("DELETE", "/todos/{todo}{in}", None),
}
UNDO: dict[str, tuple[str, str, Any]] = {
    "undo": ("POST", "/history/undo", {"list": "{key}"}),
    "redo": ("POST", "/history/redo", {"list": "{key}"}),
}
MANAGES: dict[str, tuple[str, str, Any]] = {
    "rename": ("PATCH", "/lists/{list}", {"name": "Renamed"}),
    "share": ("PUT", "/lists/{list}/members/{eve}", {"role": "owner"}),
    "unshare": ("DELETE", "/lists/{list}/members/{eve}", None),
}
OWN: dict[str, tuple[str, str, Any]] = {"delete the list": ("DELETE", "/lists/{list}", None)}
ALL = READS | CHANGES | UNDO | MANAGES | OWN


class Shared:
    """Ana's list Work with a todo, and a second one that is in the trash."""

    def __init__(self, api: Client, ana: Account, eve: str) -> None:
        self.api, self.ana, self.eve = api, ana, eve
        self.id = int(api.post("/lists/", {"name": "Work"}, ana.token).json["id"])
        self.key = f"{ana.username}/Work"
        new = [{"title": "First"}, {"title": "Second", "state": "trash"}]
        todos = api.post(f"/todos/bulk?list={self.id}", new, ana.token).json["todos"]
        self.todo, self.second = (int(each["id"]) for each in todos)

    def share(self, user: str, role: str) -> Answer:
        return self.api.put(f"/lists/{self.id}/members/{user}", {"role": role}, self.ana.token)

    def send(self, name: str, token: str, *, id: int | None = None, key: str | None = None) -> Answer:
        method, path, body = ALL[name]
        id, key = id or self.id, key or self.key
        known = {"list": id, "todo": self.todo, "in": f"?list={quote(key, safe='')}", "eve": self.eve}
        for word, value in known.items():
            path = path.replace(f"{{{word}}}", str(value))
        filled = {"{second}": self.second, "{key}": key}
        if isinstance(body, dict):
            body = {field: filled.get(value, value) for field, value in body.items()}
        return self.api.request(method, path, token=token, json_body=body)

    @property
    def content(self) -> Any:
        """What ana sees of everything that another could change."""
        paths = ("/todos/", "/lists/", f"/lists/{self.id}/members", "/history/")
        return [self.api.get(path, self.ana.token).text for path in paths]


@pytest.fixture
def shared(api: Client, ana: Account, eve: Account) -> Shared:
    return Shared(api, ana, eve.username)


@pytest.fixture
def eve(api: Client) -> Account:
    return api.sign_up()


@pytest.mark.parametrize("name", ALL)
def test_a_list_of_another_answers_as_one_that_does_not_exist(shared: Shared, bob: Account, name: str) -> None:
    before = shared.content
    wanted = [
        shared.send(name, bob.token, id=id, key=key)
        for id, key in (
            (shared.id, shared.key),
            (shared.id, str(shared.id)),
            (987654, f"{shared.ana.username}/Nothing"),
            (987654, "nobody/Work"),
            (987654, "987654"),
        )
    ]
    assert {(answer.status, answer.text) for answer in wanted} == {(404, '{"detail": "List not found"}')}
    assert shared.content == before


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("role", ROLES)
def test_a_member_may_do_what_the_role_says(shared: Shared, bob: Account, role: str, name: str) -> None:
    assert shared.share(bob.username, role).json == {"id": bob.id, "username": bob.username, "role": role}
    shared.share(shared.eve, "viewer")
    before = shared.content
    answer = shared.send(name, bob.token)
    allowed = {**READS, **(CHANGES | UNDO if role != "viewer" else {}), **(MANAGES if role == "owner" else {})}
    if name not in allowed:
        assert answer.status == 403
        assert "role in this list" in answer.detail or "only the user whose list it is" in answer.detail
        assert shared.content == before
    elif name in UNDO:
        assert (answer.status, shared.content) == (404, before)  # bob has changed nothing so far
        assert "nothing to" in answer.detail
    else:
        assert answer.status in (200, 201), answer.text
        assert (shared.content == before) == (name in READS)


@pytest.mark.parametrize("name", ALL)
def test_without_a_token_nothing_is_told(shared: Shared, name: str) -> None:
    assert shared.send(name, "").status == 401


def test_a_member_undoes_over_http_what_the_member_did(shared: Shared, bob: Account) -> None:
    shared.share(bob.username, "editor")
    shared.send("change", bob.token)
    shared.api.patch(f"/todos/{shared.second}", {"state": "todo"}, shared.ana.token)
    [entry] = shared.send("undo", bob.token).json["entries"]
    assert (entry["title"], entry["by"], entry["undone"]) == ("First", bob.username, True)
    titles = [each["title"] for each in shared.api.get("/todos/", shared.ana.token).json["todos"]]
    assert titles == ["First", "Second"]


def test_lists_say_whose_they_are_and_todos_say_in_which_they_are(shared: Shared, bob: Account) -> None:
    shared.share(bob.username, "viewer")
    [found] = shared.api.get("/lists/", bob.token).json["lists"]
    del found["created_at"]
    assert found == {
        "id": shared.id, "name": "Work", "owner": shared.ana.username, "role": "viewer", "members": 1
    }  # fmt: skip
    first = shared.api.get(f"/todos/?list={shared.id}", bob.token).json["todos"][0]
    assert first["list"] == "Work"
    moved = shared.api.patch(f"/todos/{shared.todo}", {"list": "inbox"}, shared.ana.token)
    assert moved.json["list"] == "inbox"
    assert shared.api.get(f"/todos/count?list={shared.id}", bob.token).json == {"count": 1}


def test_a_member_leaves(shared: Shared, bob: Account) -> None:
    shared.share(bob.username, "viewer")
    path = f"/lists/{shared.id}/members/{bob.id}"
    assert shared.api.delete(path, bob.token).status == 200
    assert shared.api.delete(path, bob.token).detail == "List not found"


def test_a_deleted_list_leaves_its_todos_in_the_trash(shared: Shared) -> None:
    assert shared.send("delete the list", shared.ana.token).json == {"trashed": 2}
    states = [each["state"] for each in shared.api.get("/todos/", shared.ana.token).json["todos"]]
    assert states == ["trash", "trash"]
    shared.api.post("/history/undo", {}, shared.ana.token)
    assert shared.api.get(f"/todos/{shared.todo}", shared.ana.token).json["state"] == "todo"


@pytest.mark.parametrize(
    "body", [{"name": ""}, {"name": "inbox"}, {"name": "a/b"}, {"name": "7"}, {"name": "a\x00"}, {}]
)
def test_a_name_that_could_be_confused_is_refused(api: Client, ana: Account, body: Any) -> None:
    assert api.post("/lists/", body, ana.token).status == 422


def test_a_name_is_taken_once(shared: Shared) -> None:
    assert shared.api.post("/lists/", {"name": "WORK"}, shared.ana.token).status == 409


@pytest.mark.parametrize("key", ["a\x00", "\ud800", "x" * 200, ""])
def test_a_key_that_can_be_no_list_is_refused(api: Client, ana: Account, key: str) -> None:
    encoded = quote(key.encode("utf-8", "surrogatepass"), safe="")
    assert api.get(f"/todos/?list={encoded}", ana.token).status in (404, 422)
