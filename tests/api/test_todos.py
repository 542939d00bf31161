"""The contract of todos."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from .client import Account, Client

MISSING = 999_999_999


def add(api: Client, account: Account, title: str = "Write", **more: Any) -> dict[str, Any]:
    answer = api.post("/todos/", {"title": title, **more}, account.token)
    assert answer.status == 201, answer.text
    return dict(answer.json)


def titles(api: Client, account: Account, query: str = "") -> list[str]:
    answer = api.get(f"/todos/?{query}", account.token)
    assert answer.status == 200, answer.text
    return [todo["title"] for todo in answer.json["todos"]]


def test_a_todo_is_created(api: Client, ana: Account) -> None:
    todo = add(api, ana, "Write the report", description="For Friday", state="doing")
    assert todo == {
        "id": todo["id"],
        "title": "Write the report",
        "description": "For Friday",
        "state": "doing",
        "created_at": todo["created_at"],
        "updated_at": todo["created_at"],
        "priority": "none",
        "due": None,
        "tags": [],
        "completed_at": None,
        "list": "inbox",
        "external_id": None,
    }


def test_times_are_rfc_3339_in_utc(api: Client, ana: Account) -> None:
    created = add(api, ana)["created_at"]
    assert created.endswith("Z")
    assert datetime.fromisoformat(created).utcoffset() == timedelta(0)


def test_description_and_state_have_defaults(api: Client, ana: Account) -> None:
    todo = add(api, ana)
    assert (todo["description"], todo["state"]) == ("", "todo")


def test_a_todo_is_read(api: Client, ana: Account) -> None:
    todo = add(api, ana)
    assert api.get(f"/todos/{todo['id']}", ana.token).json == todo


def test_todos_are_listed_in_order(api: Client, ana: Account) -> None:
    todos = [add(api, ana, title) for title in "abc"]
    assert api.get("/todos/", ana.token).json == {"todos": todos}


def test_a_list_of_nothing_is_empty(api: Client, ana: Account) -> None:
    assert api.get("/todos/", ana.token).json == {"todos": []}


def test_todos_are_paged_by_id_and_by_offset(api: Client, ana: Account) -> None:
    ids = [add(api, ana, title)["id"] for title in "abcde"]
    assert titles(api, ana, "limit=2") == ["a", "b"]
    assert titles(api, ana, "limit=2&offset=2") == ["c", "d"]
    assert titles(api, ana, f"limit=2&after={ids[1]}") == ["c", "d"]
    assert titles(api, ana, f"limit=2&after={ids[1]}&offset=1&state=todo") == ["d", "e"]
    assert titles(api, ana, "offset=10000") == []


@pytest.mark.parametrize("query", ["x=1", "titel=report", "limit=2&page=3"])
def test_an_unknown_parameter_is_refused_and_not_ignored(query: str, api: Client, ana: Account) -> None:
    answer = api.get(f"/todos/?{query}", ana.token)
    assert (answer.status, "unknown parameter" in str(answer.json)) == (422, True)


def test_todos_are_filtered_by_states(api: Client, ana: Account) -> None:
    for state in ("draft", "todo", "doing", "done", "trash"):
        add(api, ana, state, state=state)
    assert titles(api, ana, "state=doing") == ["doing"]
    assert titles(api, ana, "state=trash&state=draft") == ["draft", "trash"]


def test_title_and_description_are_matched_anywhere_without_regard_to_case(api: Client, ana: Account) -> None:
    add(api, ana, "Write the REPORT", description="for Friday")
    add(api, ana, "Friday")
    assert titles(api, ana, "title=report") == ["Write the REPORT"]
    assert titles(api, ana, "description=FRIDAY") == ["Write the REPORT"]
    assert titles(api, ana, "title=friday") == ["Friday"]
    assert titles(api, ana, "title=report&description=monday") == []


@pytest.mark.parametrize("literal", ["%25%25%25", "___", "%5C%5C%5C"])
def test_what_means_something_to_sql_is_matched_literally(literal: str, api: Client, ana: Account) -> None:
    add(api, ana, "Write the report")
    assert titles(api, ana, f"title={literal}") == []


def test_a_change_is_of_what_is_given(api: Client, ana: Account) -> None:
    todo = add(api, ana, "Write", description="For Friday")
    changed = api.patch(f"/todos/{todo['id']}", {"state": "done"}, ana.token).json
    assert changed == {
        **todo,
        "state": "done",
        "updated_at": changed["updated_at"],
        "completed_at": changed["updated_at"],
    }
    assert changed["updated_at"] > todo["updated_at"]
    changed = api.patch(f"/todos/{todo['id']}", {"title": "Read", "description": ""}, ana.token).json
    assert (changed["title"], changed["description"], changed["state"]) == ("Read", "", "done")


def test_a_change_of_nothing_changes_nothing(api: Client, ana: Account) -> None:
    todo = add(api, ana)
    assert api.patch(f"/todos/{todo['id']}", {}, ana.token).json == todo


@pytest.mark.parametrize("field", ["title", "description", "state"])
def test_null_is_not_the_same_as_absent(field: str, api: Client, ana: Account) -> None:
    todo = add(api, ana)
    assert api.patch(f"/todos/{todo['id']}", {field: None}, ana.token).status == 422
    assert api.post("/todos/", {"title": "Write", field: None}, ana.token).status == 422
    assert api.get(f"/todos/{todo['id']}", ana.token).json == todo


def test_a_todo_is_deleted(api: Client, ana: Account) -> None:
    path = f"/todos/{add(api, ana)['id']}"
    answer = api.delete(path, ana.token)
    assert (answer.status, answer.json) == (200, {"message": "Task has been deleted successfully."})
    assert api.get(path, ana.token).status == 404


@pytest.mark.parametrize("whose", ["nobody", "another", 0, -1, 2**63 - 1])
def test_a_todo_that_is_not_one_s_own_is_not_found(whose: object, api: Client, ana: Account, bob: Account) -> None:
    id = add(api, bob)["id"] if whose == "another" else MISSING if whose == "nobody" else whose
    path = f"/todos/{id}"
    answers = [
        api.get(path, ana.token),
        api.patch(path, {"title": "Mine"}, ana.token),
        api.patch(path, {}, ana.token),
        api.delete(path, ana.token),
    ]
    assert [(answer.status, answer.detail) for answer in answers] == [(404, "Task not found.")] * 4


def test_many_are_added_at_once_in_order(api: Client, ana: Account) -> None:
    new = [{"title": f"todo {number}", "state": "done"} for number in range(1000)]
    answer = api.post("/todos/bulk", {"todos": new}, ana.token)
    assert answer.status == 200
    added = answer.json["todos"]
    assert [todo["title"] for todo in added] == [todo["title"] for todo in new]
    assert [todo["id"] for todo in added] == sorted(todo["id"] for todo in added)
    assert api.get("/todos/?limit=1&offset=999", ana.token).json["todos"] == added[-1:]


def test_many_may_be_a_list_alone(api: Client, ana: Account) -> None:
    added = api.post("/todos/bulk", [{"title": "a"}, {"title": "b"}], ana.token).json["todos"]
    assert [todo["title"] for todo in added] == ["a", "b"]


@pytest.mark.parametrize("wrap", [lambda new: new, lambda new: {"todos": new}])
def test_of_many_all_are_added_or_none_and_the_bad_one_is_named(wrap: Any, api: Client, ana: Account) -> None:
    answer = api.post("/todos/bulk", wrap([{"title": "good"}, {"title": " "}, {"title": "good"}]), ana.token)
    assert answer.status == 422
    (error,) = answer.detail
    assert error["loc"] == ["body", "todos", 1, "title"]
    assert error["msg"] == "title must not be empty"
    assert titles(api, ana) == []


def test_more_than_a_thousand_at_once_are_refused(api: Client, ana: Account) -> None:
    assert api.post("/todos/bulk", [{"title": "a"}] * 1001, ana.token).status == 422


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"title": ""}, "title must not be empty"),
        ({"title": "x" * 201}, "title has 201 characters; at most 200 are allowed"),
        ({"title": "a\0b"}, "title must not contain a NUL character"),
        ({"title": "\ud800"}, "unpaired surrogate|valid string"),
        ({"title": "a", "description": "x" * 10_001}, "description has 10001 characters; at most 10000 are allowed"),
        ({"title": "a", "state": "later"}, "state 'later' is not one of draft, todo, doing, done, trash"),
        ({}, "Field required"),
        ([], "valid dictionary|object"),
        ("text", "valid dictionary|object"),
    ],
)
def test_what_is_invalid_is_named(body: Any, message: str, api: Client, ana: Account) -> None:
    import re

    answer = api.post("/todos/", body, ana.token)
    assert answer.status == 422
    (error,) = answer.detail
    assert error["loc"][0] == "body"
    assert re.search(message, error["msg"])


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=10000000",
        "limit=x",
        "offset=-1",
        "offset=10001",
        f"offset={2**63}",
        "after=-1",
        f"after={2**63}",
        "state=later",
        "title=ab",
        "title=" + "x" * 21,
        "description=ab",
        "title=a%00b",
    ],
)
def test_what_a_query_may_not_have_is_invalid(query: str, api: Client, ana: Account) -> None:
    answer = api.get(f"/todos/?{query}", ana.token)
    assert answer.status == 422
    assert answer.detail[0]["loc"] == ["query", query.partition("=")[0], *answer.detail[0]["loc"][2:]]


@pytest.mark.parametrize("id", [str(2**63), str(-(2**63) - 1), "x", "1.5", "%00"])
def test_what_is_no_bigint_is_no_id(id: str, api: Client, ana: Account) -> None:
    assert api.get(f"/todos/{id}", ana.token).status == 422
    assert api.get(f"/users/{id}", ana.token).status == 422


@pytest.mark.parametrize(
    "path", ["/todos", "/todos/", "/users", "/users/", "/auth/token/", "/todos/bulk/", "/healthz/"]
)
def test_a_slash_at_the_end_makes_no_difference_and_no_redirect(path: str, api: Client, ana: Account) -> None:
    assert api.request("GET", path, token=ana.token).status == (
        405 if path in ("/auth/token/", "/todos/bulk/") else 200
    )


def test_a_todo_with_a_slash_behind_is_the_same_todo(api: Client, ana: Account) -> None:
    todo = add(api, ana)
    assert api.get(f"/todos/{todo['id']}/", ana.token).json == todo


def test_what_is_invalid_is_told_in_the_shape_of_fastapi(api: Client, ana: Account) -> None:
    too_short = api.get("/todos/?title=ab", ana.token).detail
    assert too_short == [
        {
            "type": "string_too_short",
            "loc": ["query", "title"],
            "msg": "String should have at least 3 characters",
            "input": "ab",
            "ctx": {"min_length": 3},
        }
    ]
    blank = api.post("/todos/", {"title": " "}, ana.token).detail
    assert blank == [
        {"type": "invalid_input", "loc": ["body", "title"], "msg": "title must not be empty", "input": " "}
    ]


@pytest.mark.parametrize(
    "query", ["limit=999&limit=5", "after=x&after=3", "title=a&title=abc", "limit=1_0", "limit=5.0", "limit=%205"]
)
def test_a_parameter_is_given_once_and_a_number_in_digits(query: str, api: Client, ana: Account) -> None:
    assert api.get(f"/todos/?{query}", ana.token).status == 422


@pytest.mark.parametrize("id", ["1_0", "1.0", "+1", "%201"])
def test_an_id_has_one_spelling(id: str, api: Client, ana: Account) -> None:
    assert api.get(f"/todos/{id}", ana.token).status == 422
