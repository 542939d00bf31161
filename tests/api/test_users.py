"""The contract of users: signing up, looking around, one's own account."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from .client import PASSWORD, Account, Client, new_name

MISSING = 999_999_999


def body(name: str, **changes: object) -> dict[str, object]:
    return {"username": name, "email": f"{name}@example.com", "password": PASSWORD, **changes}


def test_a_user_is_created(api: Client) -> None:
    name = new_name()
    answer = api.post("/users/", body(name))
    assert answer.status == 201
    assert answer.json == {"id": answer.json["id"], "username": name, "email": f"{name}@example.com"}


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"email": "another@example.com"}, "Username already exists"),
        ({"username": "another"}, "Email already exists"),
    ],
)
def test_a_name_and_an_address_are_there_once(changes: dict[str, str], detail: str, api: Client, ana: Account) -> None:
    for capitals in (str, str.upper):
        taken = {"username": capitals(ana.username), "email": capitals(ana.email), "password": PASSWORD}
        answer = api.post("/users/", {**taken, **changes})
        assert (answer.status, answer.detail) == (409, detail)


def test_of_identical_sign_ups_at_once_one_is_created_and_the_others_conflict(api: Client) -> None:
    new = body(new_name())
    with ThreadPoolExecutor(8) as threads:
        statuses = sorted(threads.map(lambda _: api.post("/users/", new).status, range(8)))
    assert statuses == [201] + [409] * 7


def test_users_are_listed_with_the_address_in_one_s_own_entry_alone(api: Client, ana: Account, bob: Account) -> None:
    users = api.get(f"/users/?after={ana.id - 1}", ana.token).json["users"]
    assert users[0] == {"id": ana.id, "username": ana.username, "email": ana.email}
    assert {"id": bob.id, "username": bob.username} in users


def test_users_are_paged_by_id_and_by_offset(api: Client, ana: Account, bob: Account) -> None:
    everybody = [user["id"] for user in api.get("/users/", ana.token).json["users"]]
    assert everybody == sorted(everybody)
    paged = api.get(f"/users?after={everybody[0]}&offset=0&limit=1", ana.token).json["users"]
    assert [user["id"] for user in paged] == everybody[1:2]
    assert api.get("/users/?offset=1&limit=1", ana.token).json["users"] == paged


def test_a_page_behind_the_last_user_is_empty(api: Client, ana: Account) -> None:
    assert api.get(f"/users/?after={MISSING}", ana.token).json == {"users": []}


def test_a_user_is_shown_to_others_without_the_address(api: Client, ana: Account, bob: Account) -> None:
    assert api.get(f"/users/{bob.id}", ana.token).json == {"id": bob.id, "username": bob.username}
    assert api.get(f"/users/{ana.id}", ana.token).json["email"] == ana.email


@pytest.mark.parametrize("id", [MISSING, 0, -1, 2**63 - 1])
def test_a_user_that_is_not_there_is_not_found(id: int, api: Client, ana: Account) -> None:
    answer = api.get(f"/users/{id}", ana.token)
    assert (answer.status, answer.detail) == (404, "User not found")


def test_an_account_is_replaced(api: Client, ana: Account) -> None:
    name = new_name()
    answer = api.put(f"/users/{ana.id}", body(name, password="another horse"), ana.token)
    assert (answer.status, answer.json) == (200, {"id": ana.id, "username": name, "email": f"{name}@example.com"})
    assert api.log_in(name, "another horse").status == 200


def test_another_password_voids_the_tokens_there_are(api: Client, ana: Account) -> None:
    tokens = [ana.token, api.token(ana.username)]
    assert api.put(f"/users/{ana.id}", body(ana.username, password="another horse"), ana.token).status == 200
    assert [api.get("/todos/", token).status for token in tokens] == [401, 401]
    assert api.log_in(ana.username).status == 401


def test_the_same_password_voids_nothing(api: Client, ana: Account) -> None:
    assert api.put(f"/users/{ana.id}", body(new_name()), ana.token).status == 200
    assert api.get("/todos/", ana.token).status == 200


@pytest.mark.parametrize("field", ["username", "email"])
def test_what_another_has_cannot_be_taken(field: str, api: Client, ana: Account, bob: Account) -> None:
    answer = api.put(f"/users/{ana.id}", body(new_name(), **{field: getattr(bob, field)}), ana.token)
    assert (answer.status, answer.detail) == (409, "Username or Email already exists")


def test_an_account_is_deleted_with_its_todos_and_tokens(api: Client, ana: Account) -> None:
    api.post("/todos/", {"title": "Write"}, ana.token)
    answer = api.delete(f"/users/{ana.id}", ana.token)
    assert (answer.status, answer.json) == (200, {"message": "User deleted"})
    assert api.get("/todos/", ana.token).status == 401
    assert api.log_in(ana.username).status == 401


@pytest.mark.parametrize("id", ["bob", MISSING, 0, -1])
def test_another_s_account_cannot_be_changed(id: object, api: Client, ana: Account, bob: Account) -> None:
    path = f"/users/{bob.id if id == 'bob' else id}"
    for answer in (api.put(path, body(new_name()), ana.token), api.delete(path, ana.token)):
        assert (answer.status, answer.detail) == (403, "Not enough permissions")
    assert api.get(f"/users/{bob.id}", bob.token).json["email"] == bob.email


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"username": ""}, "username", "username must have 1 to 50 characters"),
        ({"username": "a@b"}, "username", "username may have letters, digits, '.', '_', '+' and '-' only"),
        ({"username": "42"}, "username", "username must not be digits alone"),
        ({"username": "a\0b"}, "username", "username must not contain a NUL character"),
        ({"email": "nowhere"}, "email", "email 'nowhere' is not an e-mail address"),
        ({"password": "short"}, "password", "password has 5 characters; 8 to 128 are allowed"),
        ({"password": "x" * 129}, "password", "password has 129 characters; 8 to 128 are allowed"),
    ],
)
def test_what_is_invalid_is_said_in_the_words_of_the_core(
    changes: dict[str, str], field: str, message: str, api: Client
) -> None:
    answer = api.post("/users/", body(new_name(), **changes))
    assert answer.status == 422
    (error,) = answer.detail
    assert error["loc"] == ["body", field]
    assert error["msg"].startswith(message)


def test_an_invalid_answer_repeats_no_password(api: Client) -> None:
    for sent in ({"password": "hunter2"}, {"password": "hunter2", "username": "ana"}, [{"password": "hunter2"}]):
        answer = api.post("/users/", sent)
        assert answer.status == 422
        assert "hunter2" not in answer.text
