"""The contract of logging in, refreshing and logging out."""

import time
from typing import Any

import jwt
import pytest

from .client import PASSWORD, Account, Client, new_name
from .conftest import SECRET_KEY, ServeApp

HOUR = 3600


def claims(token: str) -> dict[str, Any]:
    return dict(jwt.decode(token, SECRET_KEY, algorithms=["HS256"], audience="fastzero-api"))


def forged(account: Account, **changes: Any) -> str:
    """The account's token with other claims, signed with the right key."""
    return jwt.encode({**claims(account.token), **changes}, SECRET_KEY)


@pytest.mark.parametrize("name", ["username", "email"])
def test_a_login_by_name_or_address_gives_a_token(name: str, api: Client, ana: Account) -> None:
    for capitals in (str, str.upper):
        answer = api.log_in(capitals(getattr(ana, name)))
        assert (answer.status, answer.json["token_type"]) == (200, "bearer")
        assert api.get("/todos/", answer.json["access_token"]).status == 200


def test_a_token_says_who_it_is_of_and_how_long_it_holds(api: Client) -> None:
    before = int(time.time())
    ana = api.sign_up()
    token = claims(ana.token)
    assert token == {
        "iss": "fastzero",
        "aud": "fastzero-api",
        "sub": str(ana.id),
        "ver": 0,
        "iat": token["iat"],
        "exp": token["iat"] + 30 * 60,
        "auth_time": token["iat"],
        "type": "access",
    }
    assert before <= token["iat"] <= time.time()


@pytest.mark.parametrize("name", ["ana", "nobody", "1", "a\0b", "\ud7ff", "x" * 10_000])
def test_a_wrong_password_and_an_unknown_name_get_the_same_answer(name: str, api: Client, ana: Account) -> None:
    answer = api.log_in(ana.username if name == "ana" else f"{name}{new_name()}", "wrong")
    assert (answer.status, answer.detail) == (401, "Incorrect email or password")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_an_id_is_no_name_to_log_in_with(api: Client, ana: Account) -> None:
    assert api.log_in(str(ana.id)).status == 401


def test_a_refreshed_token_begins_now_and_is_of_the_same_login(api: Client, ana: Account) -> None:
    before = int(time.time()) - 5
    answer = api.post("/auth/refresh_token", token=forged(ana, iat=before, auth_time=before))
    assert answer.json["token_type"] == "bearer"
    refreshed = claims(answer.json["access_token"])
    assert refreshed["auth_time"] == before
    assert refreshed["iat"] > before


def test_no_token_holds_behind_the_end_of_its_session(api: Client, ana: Account) -> None:
    soon = int(time.time()) - 24 * HOUR + 20 * 60
    last = claims(api.post("/auth/refresh_token", token=forged(ana, auth_time=soon)).json["access_token"])
    assert last["exp"] == soon + 24 * HOUR
    over = api.post("/auth/refresh_token", token=forged(ana, auth_time=soon - HOUR))
    assert (over.status, over.detail) == (401, "Could not validate credentials")


def test_logging_out_voids_every_token(api: Client, ana: Account) -> None:
    other = api.token(ana.username)
    answer = api.post("/auth/logout", token=ana.token)
    assert (answer.status, answer.json) == (200, {"message": "Logged out"})
    for token in (ana.token, other):
        assert api.get("/todos/", token).status == 401
        assert api.post("/auth/refresh_token", token=token).status == 401
    assert api.log_in(ana.username).status == 200


def test_credentials_are_changed_behind_a_login_of_the_last_ten_minutes(api: Client, ana: Account) -> None:
    old = forged(ana, auth_time=int(time.time()) - 601)
    body = {
        "username": ana.username,
        "email": ana.email,
        "password": "another horse",
        "current_password": ana.password,
    }
    answer = api.put(f"/users/{ana.id}", body, old)
    assert (answer.status, answer.detail) == (401, "Log in again to change credentials")
    assert api.log_in(ana.username).status == 200
    fresh = forged(ana, auth_time=int(time.time()) - 480)
    assert api.put(f"/users/{ana.id}", body, fresh).status == 200


def test_a_login_needs_both_fields(api: Client) -> None:
    for form in ({}, {"username": "ana"}, {"password": PASSWORD}):
        answer = api.request("POST", "/auth/token", form=form)
        assert answer.status == 422
        assert {error["loc"][0] for error in answer.detail} == {"body"}
        assert PASSWORD not in answer.text


def test_a_login_as_json_is_none(api: Client, ana: Account) -> None:
    assert api.post("/auth/token", {"username": ana.username, "password": PASSWORD}).status == 422


def test_a_stranger_does_not_lock_an_account_for_its_owner(api: Client, ana: Account) -> None:
    stranger = Client(api.port, source="127.0.7.1")
    assert [stranger.log_in(ana.username, "wrong").status for _ in range(6)] == [401] * 5 + [429]
    assert api.log_in(ana.username).status == 200
    neighbour = Client(api.port, source="127.0.7.2")
    assert neighbour.log_in(ana.username).status == 429


@pytest.mark.parametrize(("name", "password"), [("email", "wrong"), ("username", PASSWORD)])
def test_five_failures_in_a_row_make_the_next_wait_by_any_name(
    name: str, password: str, api: Client, ana: Account
) -> None:
    failures = [api.log_in(each, "wrong").status for each in [ana.username, ana.email] * 2 + [ana.username]]
    answer = api.log_in(getattr(ana, name), password)  # only one: the wait may be over for a second one
    assert failures == [401] * 5
    assert answer.status == 429
    assert answer.headers["retry-after"] == "1"


def test_a_name_that_nobody_has_waits_as_well(api: Client) -> None:
    name = new_name()
    assert [api.log_in(name, "wrong").status for _ in range(6)] == [401] * 5 + [429]


def test_a_success_lets_failures_be_counted_anew(api: Client, ana: Account) -> None:
    for _ in range(2):
        assert [api.log_in(ana.username, "wrong").status for _ in range(4)] == [401] * 4
        assert api.log_in(ana.username).status == 200


def test_logins_at_once_of_one_user_all_succeed(api: Client, ana: Account) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(20) as threads:
        assert set(threads.map(lambda _: api.log_in(ana.username).status, range(20))) == {200}


def test_the_signing_key_can_be_changed_without_a_new_login(serve_app: ServeApp, database_url: str) -> None:
    before = serve_app(database_url).sign_up().token
    api = serve_app(database_url, secret_key="another key, which is long enough too", secret_key_previous=SECRET_KEY)
    assert api.get("/todos/", before).status == 200
    after = api.post("/auth/refresh_token", token=before).json["access_token"]
    assert api.get("/todos/", after).status == 200
    assert jwt.get_unverified_header(after)["kid"] != jwt.get_unverified_header(before)["kid"]


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_another_algorithm_is_a_setting(algorithm: str, serve_app: ServeApp, database_url: str) -> None:
    api = serve_app(database_url, algorithm=algorithm, access_token_expire_minutes=5, session_hours=1)
    token = api.sign_up().token
    assert jwt.get_unverified_header(token)["alg"] == algorithm
    payload = jwt.decode(token, options={"verify_signature": False})
    assert payload["exp"] - payload["iat"] == 300
    assert api.get("/todos/", token).status == 200


def test_a_hash_of_another_cost_is_upgraded_at_the_login(
    serve_app: ServeApp, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # real costs, since these are what this is about
    import psycopg

    account = serve_app(database_url).sign_up()
    cheaper = serve_app(database_url, argon2_time=2, argon2_memory=19_456, argon2_parallelism=1)
    assert cheaper.log_in(account.username).status == 200
    with psycopg.connect(database_url) as connection:
        (kept,) = connection.execute("SELECT password_hash FROM users").fetchone() or ("",)
    assert "m=19456,t=2,p=1" in kept
    assert cheaper.log_in(account.username).status == 200
    assert cheaper.get("/todos/", account.token).status == 200
