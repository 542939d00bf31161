"""The contract of users: signing up, looking around, one's own account."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from fastzero_core import FastZero
from fastzero_core.todo_app.passwords import PasswordHash, hash_password

from .client import PASSWORD, Account, Client, new_name
from .conftest import ServeApp
from .test_auth import forged

MISSING = 999_999_999


def body(name: str, **changes: object) -> dict[str, object]:
    return {"username": name, "email": f"{name}@example.com", "password": PASSWORD, **changes}


def new_password(name: str, current: str = PASSWORD) -> dict[str, object]:
    return body(name, password="another horse", current_password=current)


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
    answer = api.put(f"/users/{ana.id}", new_password(name), ana.token)
    assert (answer.status, answer.json) == (200, {"id": ana.id, "username": name, "email": f"{name}@example.com"})
    assert api.log_in(name, "another horse").status == 200


def test_another_password_voids_the_tokens_there_are(api: Client, ana: Account) -> None:
    tokens = [ana.token, api.token(ana.username)]
    assert api.put(f"/users/{ana.id}", new_password(ana.username), ana.token).status == 200
    assert [api.get("/todos/", token).status for token in tokens] == [401, 401]
    assert api.log_in(ana.username).status == 401


def test_the_same_password_voids_nothing(api: Client, ana: Account) -> None:
    assert api.put(f"/users/{ana.id}", body(new_name()), ana.token).status == 200
    assert api.get("/todos/", ana.token).status == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"password": "another horse"},
        {"password": "another horse", "current_password": "wrong horse"},
        {"password": "another horse", "current_password": ""},
        {"password": PASSWORD, "current_password": "wrong horse"},
    ],
)
def test_an_account_is_changed_with_its_current_password_alone(
    changes: dict[str, str], api: Client, ana: Account
) -> None:
    answer = api.put(f"/users/{ana.id}", body(new_name(), **changes), ana.token)
    assert (answer.status, answer.detail) == (
        403,
        "The current password is missing or wrong: give it as current_password",
    )
    assert api.get(f"/users/{ana.id}", ana.token).json["username"] == ana.username
    assert api.log_in(ana.username).status == 200


def test_guesses_of_the_current_password_are_counted_as_failed_logins(api: Client, ana: Account) -> None:
    guesses = [body(ana.username, password=f"wrong horse {number}") for number in range(6)]
    statuses = [api.put(f"/users/{ana.id}", guess, ana.token).status for guess in guesses]
    assert statuses == [403] * 5 + [429]


def test_a_new_password_is_one_that_is_hard_to_guess(api: Client, ana: Account) -> None:
    changes = body(ana.username, password="password1", current_password=PASSWORD)
    answer = api.put(f"/users/{ana.id}", changes, ana.token)
    assert answer.status == 422
    assert answer.detail[0]["msg"] == "password is one of the most common passwords"


def test_the_current_password_may_be_one_that_is_refused_today(serve_app: ServeApp, database_url: str) -> None:
    with FastZero(database_url) as fz:
        user = fz.users.add("ana", email="a@example.com", password=PasswordHash(hash_password("password1")))
    api = serve_app(database_url)
    token = api.token("ana", "password1")
    answer = api.put(f"/users/{user.id}", body("anna", password="password1"), token)
    assert (answer.status, answer.json["username"]) == (200, "anna")


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


def test_an_account_is_deleted_after_a_login_of_the_last_ten_minutes(api: Client, ana: Account) -> None:
    answer = api.delete(f"/users/{ana.id}", forged(ana, auth_time=int(time.time()) - 601))
    assert (answer.status, answer.detail) == (401, "Log in again to change credentials")
    assert api.get(f"/users/{ana.id}", ana.token).status == 200
    assert api.delete(f"/users/{ana.id}", forged(ana, auth_time=int(time.time()) - 480)).status == 200


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
        ({"username": "a@b"}, "username", "username may contain only letters, digits, '.', '_', '+' and '-'"),
        ({"username": "42"}, "username", "username must not consist of digits only"),
        ({"username": "a\0b"}, "username", "username must not contain a NUL character"),
        ({"email": "nowhere"}, "email", "email 'nowhere' is not an e-mail address"),
        ({"password": "short"}, "password", "password has 5 characters; 8 to 128 are allowed"),
        ({"password": "x" * 129}, "password", "password has 129 characters; 8 to 128 are allowed"),
        ({"password": "password"}, "password", "password is one of the most common passwords"),
        ({"password": "aaaaaaaa"}, "password", "password is one of the most common passwords"),
        ({"password": "FastZero 2026"}, "password", "password contains fastzero"),
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


# -- who may sign up -------------------------------------------------------------------------------------------


def test_sign_up_can_be_closed(serve_app: ServeApp, database_url: str) -> None:
    api = serve_app(database_url, signup="closed")
    answer = api.post("/users/", body("ana"))
    assert (answer.status, answer.detail) == (403, "Sign-up is closed")
    with FastZero(database_url) as fz:
        fz.users.add("ana", email="ana@example.com", password=PASSWORD)
    assert api.log_in("ana").status == 200


def test_sign_up_can_need_an_invitation(serve_app: ServeApp, database_url: str) -> None:
    api = serve_app(database_url, signup="invite")
    with FastZero(database_url) as fz:
        code = fz.invitations.add().code
    for given in ({}, {"invitation": ""}, {"invitation": "wrong"}, {"invitation": f"{code}x"}):
        answer = api.post("/users/", body("ana", **given))
        assert (answer.status, answer.detail) == (403, "The invitation is unknown, used or expired")
    assert api.post("/users/", body("ana", invitation=code)).status == 201
    assert api.post("/users/", body("bob", invitation=code)).status == 403


def test_a_sign_up_that_conflicts_leaves_the_invitation(serve_app: ServeApp, database_url: str) -> None:
    api = serve_app(database_url, signup="invite")
    with FastZero(database_url) as fz:
        fz.users.add("ana", email="ana@example.com", password=PASSWORD)
        code = fz.invitations.add().code
    assert api.post("/users/", body("ana", invitation=code)).status == 409
    assert api.post("/users/", body("bob", invitation=code)).status == 201


def test_where_sign_up_is_open_an_invitation_is_not_looked_at(api: Client) -> None:
    assert api.post("/users/", body(new_name(), invitation="whatever")).status == 201
