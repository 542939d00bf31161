"""Priority, due, tags and the order made by hand over HTTP: fields, filters, and changes by filter."""

from typing import Any

import pytest

from .client import Account, Client
from .test_todos import add, titles

DUE = {"due": "2026-12-24T18:00:00-03:00"}


def test_all_fields_are_kept(api: Client, ana: Account) -> None:
    todo = add(api, ana, priority="high", tags=["Work", "home", "work"], **DUE)
    assert (todo["priority"], todo["due"], todo["tags"]) == ("high", "2026-12-24T21:00:00Z", ["home", "work"])
    assert api.get(f"/todos/{todo['id']}", ana.token).json == todo
    assert api.get("/todos/", ana.token).json == {"todos": [todo]}


def test_a_whole_day_is_a_date_and_ends_in_the_time_zone(api: Client, ana: Account) -> None:
    path = "/todos/?time_zone=America/Sao_Paulo"
    todo = api.post(path, {"title": "Write", "due": "2026-12-24"}, ana.token).json
    assert todo["due"] == "2026-12-24"
    assert titles(api, ana, "due_before=2026-12-25T02:59:59Z") == []
    assert titles(api, ana, "due_before=2026-12-25T03:00:00Z") == ["Write"]
    assert titles(api, ana, "due_before=2026-12-25") == []
    assert titles(api, ana, "due_before=2026-12-25&time_zone=America/Sao_Paulo") == ["Write"]


def test_a_change_is_of_what_is_given_and_null_means_not_due(api: Client, ana: Account) -> None:
    todo = add(api, ana, priority="low", tags=["a", "b"], **DUE)
    path = f"/todos/{todo['id']}"
    changed = api.patch(path, {"priority": "high", "add_tags": ["C"], "remove_tags": ["a"]}, ana.token).json
    assert changed == {**todo, "priority": "high", "tags": ["b", "c"], "updated_at": changed["updated_at"]}
    changed = api.patch(path, {"due": None, "tags": []}, ana.token).json
    assert (changed["priority"], changed["due"], changed["tags"]) == ("high", None, [])


@pytest.mark.parametrize("field", ["priority", "tags", "add_tags", "remove_tags"])
def test_other_fields_may_not_be_null(field: str, api: Client, ana: Account) -> None:
    assert api.patch(f"/todos/{add(api, ana)['id']}", {field: None}, ana.token).status == 422


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"priority": "urgent"}, "priority 'urgent' is not one of none, low, medium, high"),
        ({"due": "tomorrow"}, "invalid date 'tomorrow'"),
        ({"due": "2026-12-24T18:00:00"}, "invalid date|time zone"),
        ({"due": "2026-02-30"}, "invalid date '2026-02-30'"),
        ({"due": "1899-01-01"}, "due must be between 1900-01-01 and 9998-12-31"),
        ({"tags": ["a b"]}, "invalid tag 'a b'"),
        ({"tags": ["x" * 51]}, "tag must have 1 to 50 characters"),
        ({"tags": [f"t{number}" for number in range(21)]}, "at most 20 items"),
    ],
)
def test_what_is_invalid_is_named(body: dict[str, Any], message: str, api: Client, ana: Account) -> None:
    import re

    for answer in (
        api.post("/todos/", {"title": "Write", **body}, ana.token),
        api.patch(f"/todos/{add(api, ana)['id']}", body, ana.token),
    ):
        assert answer.status == 422
        (error,) = answer.detail
        assert error["loc"][:2] == ["body", *body]
        assert re.search(message, error["msg"]), error


@pytest.mark.parametrize(
    "query",
    [
        "priority=urgent", "tag=a%20b", "due_before=soon", "due_after=2026-12-24T18:00:00", "created_after=x",
        "overdue=maybe", "sort=size", "text=ab", "time_zone=Nowhere", "time_zone=../../etc/passwd",
        "time_zone=America", "descending=2",
    ],
)  # fmt: skip
def test_what_a_query_may_not_have_is_invalid(query: str, api: Client, ana: Account) -> None:
    answer = api.get(f"/todos/?{query}", ana.token)
    assert answer.status == 422
    assert answer.detail[0]["loc"][:2] == ["query", query.partition("=")[0]]


@pytest.fixture
def several(api: Client, ana: Account) -> None:
    add(api, ana, "late", due="2020-01-01", priority="low", tags=["work"])
    add(api, ana, "late and done", due="2020-01-02T00:00:00Z", state="done", tags=["work", "home"])
    add(api, ana, "soon", due="2100-01-01", priority="high", tags=["home"])
    add(api, ana, "someday", priority="high")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("priority=high", ["soon", "someday"]),
        ("priority=low&priority=none", ["late", "late and done"]),
        ("tag=work", ["late", "late and done"]),
        ("tag=work&tag=home", ["late and done"]),
        ("overdue=true", ["late"]),
        ("overdue=false", ["late", "late and done", "soon", "someday"]),
        ("due_after=2020-01-01", ["late and done", "soon"]),
        ("due_before=2020-01-02&tag=work", ["late"]),
        ("text=LATE&state=todo", ["late"]),
        ("created_before=2020-01-01", []),
        ("created_after=2020-01-01&limit=2", ["late", "late and done"]),
        ("sort=due&descending=true&limit=2", ["someday", "soon"]),
        ("sort=priority&limit=3", ["soon", "someday", "late"]),
        ("sort=title&after=0&offset=1&limit=1", ["late and done"]),
    ],
)
def test_a_list_is_filtered_and_sorted(
    query: str, expected: list[str], several: None, api: Client, ana: Account
) -> None:
    assert titles(api, ana, query) == expected
    of_page = ("sort", "limit", "desc", "offset", "after=")
    filters = "&".join(each for each in query.split("&") if not each.startswith(of_page))
    counted = api.get(f"/todos/count?{filters}", ana.token).json["count"]
    assert counted >= len(expected)
    assert ("limit" in query) or counted == len(expected)


def test_next_are_the_open_ones_by_due(several: None, api: Client, ana: Account) -> None:
    found = api.get("/todos/next?limit=2", ana.token).json["todos"]
    assert [todo["title"] for todo in found] == ["late", "soon"]


def test_what_matches_is_changed_if_it_is_as_many_as_expected(several: None, api: Client, ana: Account) -> None:
    count = api.get("/todos/count?tag=work&state=todo", ana.token).json["count"]
    body = {"state": "done", "add_tags": ["old"], "expected": count}
    assert api.patch("/todos/?tag=work&state=todo", body, ana.token).json == {"changed": 1}
    assert titles(api, ana, "tag=old") == ["late"]
    refused = api.patch("/todos/?tag=home", {"state": "trash", "expected": 3}, ana.token)
    assert (refused.status, refused.detail) == (409, "2 todos match now, not 3")
    assert titles(api, ana, "state=trash") == []


@pytest.mark.parametrize("body", [{}, {"expected": 0}, {"expected": 1001}, {"expected": "1"}, {"expected": True}])
def test_a_change_by_filter_needs_the_number_that_it_changes(
    body: dict[str, Any], several: None, api: Client, ana: Account
) -> None:
    assert api.patch("/todos/?tag=work", {"state": "done", **body}, ana.token).status == 422


def test_nobody_changes_the_todos_of_another(several: None, api: Client, bob: Account) -> None:
    assert api.get("/todos/count", bob.token).json == {"count": 0}
    assert api.patch("/todos/?tag=work", {"state": "done", "expected": 2}, bob.token).status == 409


def test_todos_are_placed_by_hand(api: Client, ana: Account, bob: Account) -> None:
    a, b, c = (add(api, ana, title)["id"] for title in "abc")
    theirs = add(api, bob, "d")["id"]
    assert api.put(f"/todos/{c}/place", {"other": a, "side": "before"}, ana.token).json["id"] == c
    assert api.put(f"/todos/{a}/place", {"other": b, "side": "after"}, ana.token).status == 200
    assert titles(api, ana, "sort=position") == ["c", "b", "a"]
    for id, other, status in ((theirs, a, 404), (999_999_999, a, 404), (a, theirs, 409), (a, 999_999_999, 409)):
        assert api.put(f"/todos/{id}/place", {"other": other, "side": "after"}, ana.token).status == status
    assert api.put(f"/todos/{a}/place", {"other": b, "side": "beside"}, ana.token).status == 422


def test_statistics_are_by_state_tag_and_day(several: None, api: Client, ana: Account, bob: Account) -> None:
    found = api.get("/todos/stats?days=2&time_zone=America/Sao_Paulo", ana.token).json
    assert found["by_state"] == {"draft": 0, "todo": 3, "doing": 0, "done": 1, "trash": 0}
    assert (found["total"], found["by_tag"], found["overdue"]) == (4, {"home": 2, "work": 2}, 1)
    assert (found["completed"], found["throughput"], len(found["by_day"])) == (1, 0.5, 2)
    assert sum(day["created"] for day in found["by_day"]) == 4
    assert api.get("/todos/stats", bob.token).json["total"] == 0
    for query in ("days=0", "days=367", "days=x", "day=1"):
        assert api.get(f"/todos/stats?{query}", ana.token).status == 422


@pytest.mark.parametrize("path", ["count", "next", "stats"])
def test_the_name_of_a_view_is_not_an_id(path: str, api: Client, ana: Account) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert api.request(method, f"/todos/{path}", token=ana.token).status == 405
