"""Every verb × one's own, another's, and no token or one that does not hold: who gets what."""

import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest

from .client import Account, Answer, Client, new_name
from .conftest import SECRET_KEY

HOUR = 3600


def _own(account: Account) -> dict[str, Any]:
    return dict(jwt.decode(account.token, SECRET_KEY, algorithms=["HS256"], audience="fastzero-api"))


def _signed(account: Account, key: str = SECRET_KEY, algorithm: str = "HS256", **changes: Any) -> str:
    claims = {name: value for name, value in {**_own(account), **changes}.items() if value is not ...}
    return jwt.encode(claims, key, algorithm)


def _unsigned(account: Account) -> str:
    return jwt.encode(_own(account), "", algorithm="none")


def _with_numeric_subject(account: Account) -> str:
    # PyJWT refuses to make one.
    claims = json.dumps({**_own(account), "sub": account.id}).encode()
    return jwt.api_jws.encode(claims, SECRET_KEY, "HS256")


def _revoked(api: Client, account: Account) -> str:
    assert api.post("/auth/logout", token=account.token).status == 200
    return account.token


def _deleted(api: Client, account: Account) -> str:
    assert api.delete(f"/users/{account.id}", account.token).status == 200
    return account.token


def _now() -> int:
    return int(time.time())


DEFECTS: dict[str, Callable[[Client, Account], str | None]] = {
    "none": lambda api, ana: None,
    "empty": lambda api, ana: "",
    "not a token": lambda api, ana: "a.b.c",
    "not even ASCII": lambda api, ana: "\u00e9\u00e9",
    "too long": lambda api, ana: "x" * 10_000,
    "deeply nested": lambda api, ana: f"{jwt.utils.base64url_encode(b'[' * 1500).decode()}.e30.x",
    "alg none": lambda api, ana: _unsigned(ana),
    "another algorithm": lambda api, ana: _signed(ana, SECRET_KEY.ljust(64, "\0"), "HS512"),
    "another key": lambda api, ana: _signed(ana, "another key that is long enough too"),
    "numeric sub": lambda api, ana: _with_numeric_subject(ana),
    "no number in sub": lambda api, ana: _signed(ana, sub="ana"),
    "sub beyond bigint": lambda api, ana: _signed(ana, sub=str(2**63)),
    "another's sub and version": lambda api, ana: _signed(ana, ver=7),
    "version beyond bigint": lambda api, ana: _signed(ana, ver=2**63),
    "no issuer, as before": lambda api, ana: _signed(ana, iss=..., aud=...),
    "another issuer": lambda api, ana: _signed(ana, iss="another"),
    "another audience": lambda api, ana: _signed(ana, aud="another"),
    "no sub": lambda api, ana: _signed(ana, sub=...),
    "no ver": lambda api, ana: _signed(ana, ver=...),
    "no iat": lambda api, ana: _signed(ana, iat=...),
    "no exp": lambda api, ana: _signed(ana, exp=...),
    "no auth_time": lambda api, ana: _signed(ana, auth_time=...),
    "no type": lambda api, ana: _signed(ana, type=...),
    "another type": lambda api, ana: _signed(ana, type="refresh"),
    "exp as text": lambda api, ana: _signed(ana, exp="tomorrow"),
    "exp as truth": lambda api, ana: _signed(ana, exp=True),
    "exp beyond time": lambda api, ana: _signed(ana, iat=10**400),
    "expired": lambda api, ana: _signed(ana, iat=_now() - HOUR, exp=_now() - 1),
    "from the future": lambda api, ana: _signed(ana, iat=_now() + HOUR, exp=_now() + 2 * HOUR),
    "issued before time": lambda api, ana: _signed(ana, iat=-1),
    "exp beyond bigint": lambda api, ana: _signed(ana, exp=2**70),
    "of a login in the future": lambda api, ana: _signed(ana, auth_time=_now() + HOUR),
    "sub spelled otherwise": lambda api, ana: _signed(ana, sub=f"0{ana.id}"),
    "of a session that is over": lambda api, ana: _signed(ana, auth_time=_now() - 25 * HOUR),
    "revoked": _revoked,
    "of a user that is deleted": _deleted,
}
# Of all that asks for a token; `{todo}` and `{user}` are the caller's own.
REQUESTS: list[tuple[str, str, Any]] = [
    ("GET", "/users/", None),
    ("GET", "/users/{user}", None),
    ("PUT", "/users/{user}", {"username": "x", "email": "x@example.com", "password": "correct horse"}),
    ("DELETE", "/users/{user}", None),
    ("GET", "/users/1000000", None),
    ("PUT", "/users/1000000", {"username": "x", "email": "x@example.com", "password": "correct horse"}),
    ("DELETE", "/users/1000000", None),
    ("POST", "/auth/refresh_token", None),
    ("POST", "/auth/logout", None),
    ("GET", "/todos/", None),
    ("GET", "/todos/?state=done", None),
    ("POST", "/todos/", {"title": "Write"}),
    ("POST", "/todos/bulk", [{"title": "Write"}]),
    ("POST", "/todos/bulk", []),
    ("GET", "/todos/{todo}", None),
    ("PATCH", "/todos/{todo}", {"title": "Read"}),
    ("PATCH", "/todos/{todo}", {}),
    ("DELETE", "/todos/{todo}", None),
    ("GET", "/todos/1000000", None),
]


@pytest.mark.parametrize("defect", DEFECTS)
def test_whatever_is_wrong_with_a_token_the_answer_is_the_same(defect: str, api: Client, ana: Account) -> None:
    todo = api.post("/todos/", {"title": "Write"}, ana.token).json["id"]
    token = DEFECTS[defect](api, ana)
    headers = {} if token is None else {"Authorization": f"Bearer {token}".encode().decode("latin-1")}
    for method, path, body in REQUESTS:
        answer = api.request(method, path.format(todo=todo, user=ana.id), json_body=body, headers=headers)
        assert (answer.status, answer.detail) == (401, "Could not validate credentials"), (method, path)
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("scheme", ["Basic", "Token", ""])
def test_another_scheme_is_no_token(scheme: str, api: Client, ana: Account) -> None:
    answer = api.request("GET", "/todos/", headers={"Authorization": f"{scheme} {ana.token}"})
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_the_scheme_is_read_without_regard_to_case(api: Client, ana: Account) -> None:
    assert api.request("GET", "/todos/", headers={"Authorization": f"bEARER {ana.token}"}).status == 200


def test_clocks_may_differ_by_some_seconds(api: Client, ana: Account) -> None:
    now = int(time.time())
    assert api.get("/todos/", _signed(ana, iat=now + 3)).status == 200
    assert api.get("/todos/", _signed(ana, iat=now + 60)).status == 401


@pytest.fixture
def bobs(api: Client, bob: Account) -> str:
    todo = api.post("/todos/", {"title": "Bob's own"}, bob.token).json
    return f"/todos/{todo['id']}"


ON_ANOTHER_S_TODO: list[Callable[[Client, str, str], Answer]] = [
    lambda api, path, token: api.get(path, token),
    lambda api, path, token: api.patch(path, {"title": "Mine"}, token),
    lambda api, path, token: api.patch(path, {}, token),
    lambda api, path, token: api.delete(path, token),
]


@pytest.mark.parametrize("ask", ON_ANOTHER_S_TODO)
def test_another_s_todo_is_not_there(
    ask: Callable[[Client, str, str], Answer], api: Client, ana: Account, bob: Account, bobs: str
) -> None:
    answer = ask(api, bobs, ana.token)
    assert (answer.status, answer.detail) == (404, "Task not found.")
    assert api.get(bobs, bob.token).json["title"] == "Bob's own"
    assert api.get("/todos/", ana.token).json == {"todos": []}


def test_an_old_token_does_not_reach_who_has_the_old_address_now(api: Client, ana: Account) -> None:
    """What a token keyed by e-mail address allows."""
    name = new_name()
    changed = {"username": name, "email": f"{name}@example.com", "password": ana.password}
    assert api.put(f"/users/{ana.id}", changed, ana.token).status == 200
    heir = api.post("/users/", {"username": ana.username, "email": ana.email, "password": "correct horse"}).json
    assert api.delete(f"/users/{heir['id']}", ana.token).status == 403
    assert api.get(f"/users/{ana.id}", ana.token).json["email"] == f"{name}@example.com"
