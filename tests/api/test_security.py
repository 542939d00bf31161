"""What an operator can rely on to see, and what strangers cannot see or forge."""

import base64
import hashlib
import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fastzero_core import InvalidInputError, load_settings
from fastzero_core.polling import wait_until
from fastzero_core.todo_app.api import logs
from fastzero_core.todo_app.api.logs import JsonFormatter, PlainFormatter

from .client import PASSWORD, PATIENCE, Account, Answer, Client, new_name
from .conftest import FastzeroServe, ServeApp

# -- security events ---------------------------------------------------------------------------------------------

Events = Callable[[], list[tuple[str, int | None]]]


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[Events]:
    """The security events of the test so far: what happened, and to the account of which id."""
    with caplog.at_level(logging.INFO, logs.SECURITY.name):
        yield lambda: [(event["event"], event["user_id"]) for event in events_in(caplog)]


def events_in(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    records = [record for record in caplog.records if record.name == logs.SECURITY.name]
    return [json.loads(JsonFormatter().format(record)) for record in records]


def test_signing_up_and_logging_in_are_events(api: Client, logged: Events) -> None:
    ana = api.sign_up()
    assert logged() == [("sign_up", ana.id), ("login", ana.id)]


def test_a_failed_login_is_an_event_of_the_account(api: Client, ana: Account, logged: Events) -> None:
    api.log_in(ana.username, "a wrong password")
    api.log_in(new_name())
    assert logged() == [("login_failed", ana.id), ("login_failed", None)]


def test_a_login_that_has_to_wait_is_an_event(api: Client, ana: Account, logged: Events) -> None:
    assert wait_until(lambda: api.log_in(ana.username, "a wrong password").status == 429, PATIENCE)
    assert logged()[-1][0] == "login_locked"


def test_a_token_that_is_refused_is_an_event(api: Client, ana: Account, logged: Events) -> None:
    api.get("/todos/", "not.a.token")
    assert logged()[-1] == ("token_refused", None)
    api.request("POST", "/auth/logout", token=ana.token)
    assert logged()[-1] == ("logout", ana.id)
    api.get("/todos/", ana.token)
    assert logged()[-1] == ("token_refused", ana.id)


def test_another_password_and_the_end_of_an_account_are_events(api: Client, ana: Account, logged: Events) -> None:
    account = {"username": ana.username, "email": ana.email, "password": "another horse", "current_password": PASSWORD}
    assert api.put(f"/users/{ana.id}", account, ana.token).status == 200
    assert logged()[-1] == ("password_changed", ana.id)
    token = api.token(ana.username, "another horse")
    assert api.delete(f"/users/{ana.id}", token).status == 200
    assert logged()[-1] == ("account_deleted", ana.id)


def test_sharing_a_list_is_an_event(
    api: Client, ana: Account, bob: Account, logged: Events, caplog: pytest.LogCaptureFixture
) -> None:
    id = api.post("/lists/", {"name": "Work"}, ana.token).json["id"]
    member = f"/lists/{id}/members/{bob.username}"
    for role in ("viewer", "viewer", "editor"):
        assert api.put(member, {"role": role}, ana.token).status == 200
    assert api.delete(member, bob.token).status == 200
    found = [
        ("list_shared", ana.id, "viewer"),
        ("list_role_changed", ana.id, "editor"),
        ("list_unshared", bob.id, "editor"),
    ]
    told = [event for event in events_in(caplog) if event["event"].startswith("list_")]
    assert [(event["event"], event["user_id"], event["role"]) for event in told] == found
    assert {(event["list_id"], event["member_id"]) for event in told} == {(id, bob.id)}


def test_what_is_another_s_is_an_event(api: Client, ana: Account, bob: Account, logged: Events) -> None:
    assert api.delete(f"/users/{bob.id}", ana.token).status == 403
    assert logged()[-1] == ("access_refused", ana.id)


def test_an_event_has_the_request_and_the_client_and_nothing_private(
    api: Client, caplog: pytest.LogCaptureFixture
) -> None:
    name = new_name()
    form = {"username": f"{name}@example.com", "password": PASSWORD}
    api.request("POST", "/auth/token", form=form, headers={"X-Request-ID": "mine"})
    (event,) = events_in(caplog)
    assert (event["request_id"], event["client"], event["level"]) == ("mine", "127.0.0.1", "warning")
    assert name not in json.dumps(event)
    assert PASSWORD not in json.dumps(event)


def test_a_request_for_another_s_todo_is_logged_with_the_account_that_asked(
    api: Client, ana: Account, bob: Account, caplog: pytest.LogCaptureFixture
) -> None:
    todo = api.post("/todos/", {"title": "one"}, bob.token).json["id"]
    with caplog.at_level(logging.INFO, logs.ACCESS.name):
        assert api.patch(f"/todos/{todo}", {"title": "two"}, ana.token).status == 404
        # The line is written once the answer is sent.
        assert wait_until(lambda: any(f"/todos/{todo}" in each.getMessage() for each in caplog.records), PATIENCE)

    lines = [json.loads(JsonFormatter().format(each)) for each in caplog.records]
    [line] = [each for each in lines if each.get("path") == f"/todos/{todo}"]
    assert (line["user_id"], line["status"]) == (ana.id, 404)


# -- what the app may reach --------------------------------------------------------------------------------------

CLIENTS = {"requests", "urllib3", "httpx", "aiohttp", "docker", "smtplib", "ftplib"}
LOADED = """
import sys
from fastzero_core import load_settings
from fastzero_core.todo_app.api.app import create_app
create_app(load_settings(database_url="postgresql://ana@localhost/db", secret_key="x" * 32))
print(*sys.modules)
"""


def test_the_app_loads_nothing_that_asks_other_services() -> None:
    loaded = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True).stdout.split()

    assert "psycopg" in loaded
    assert not CLIENTS & set(loaded)


# -- proxies -----------------------------------------------------------------------------------------------------

FORWARDED = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}


def line_of(request_id: str, served: Any) -> str:
    def lines() -> list[str]:
        return [line for line in served.log.splitlines() if line.endswith(f"request {request_id}")]

    assert wait_until(lines, PATIENCE)
    return lines()[0]


def test_the_client_s_address_is_not_what_the_client_says(fastzero_serve: FastzeroServe, database_url: str) -> None:
    served = fastzero_serve(url=database_url).until_it_answers()
    answer = Client(served.port).request("GET", "/", headers={**FORWARDED, "X-Request-ID": "mine"})
    assert " 127.0.0.1 GET / 200 " in line_of("mine", served)
    assert "strict-transport-security" not in answer.headers


def test_the_client_s_address_is_what_a_configured_proxy_says(
    fastzero_serve: FastzeroServe, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTZERO_FORWARDED_ALLOW_IPS", "192.0.2.0/24, 127.0.0.1")
    served = fastzero_serve(url=database_url).until_it_answers()
    client = Client(served.port)
    answer = client.request("GET", "/", headers={**FORWARDED, "X-Request-ID": "mine"})
    assert " 203.0.113.7 GET / 200 " in line_of("mine", served)
    assert answer.headers["strict-transport-security"] == "max-age=31536000; includeSubDomains"
    client.request("GET", "/", headers={"X-Forwarded-For": "\x9b2Jforged", "X-Request-ID": "odd"})
    assert r" \x9b2Jforged GET / 200 " in line_of("odd", served)


@pytest.mark.parametrize("value", ["*", "proxy.example", "10.0.0.1/8"])
def test_a_proxy_is_an_address_or_a_network(value: str) -> None:
    with pytest.raises(InvalidInputError, match="invalid --forwarded-allow-ips"):
        load_settings(forwarded_allow_ips=value)


# -- the log's characters ----------------------------------------------------------------------------------------

ODD = "a\x1b[2J\r\x9b\x7f\u202e\u2028b"


def _record(message: str) -> logging.LogRecord:
    return logging.LogRecord("fastzero", logging.INFO, "", 0, "%s", (message,), None)


@pytest.mark.parametrize("formatter", [PlainFormatter(), JsonFormatter()])
def test_no_control_character_reaches_the_log(formatter: logging.Formatter) -> None:
    line = formatter.format(_record(ODD))
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u202e]", line)
    assert line.count("202e") == 1


def test_a_message_of_several_lines_forges_no_other() -> None:
    _, *more = PlainFormatter().format(_record("a\n2026-01-01 00:00:00 INFO forged")).split("\n")
    assert more == ["  2026-01-01 00:00:00 INFO forged"]


# -- pages and metrics for operators -----------------------------------------------------------------------------

OPERATOR_TOKEN = "the token of the tests"
PATHS = ["/docs", "/redoc", "/openapi.json", "/metrics", "/static-offline-docs/swagger-ui.css"]


@pytest.fixture
def closed(serve_app: ServeApp, database_url: str) -> Client:
    return serve_app(database_url, operator_token_sha256=hashlib.sha256(OPERATOR_TOKEN.encode()).hexdigest())


def _basic(api: Client, path: str, credentials: str) -> Answer:
    encoded = base64.b64encode(credentials.encode()).decode()
    return api.request("GET", path, headers={"Authorization": f"Basic {encoded}"})


@pytest.mark.parametrize("path", PATHS)
def test_metrics_and_pages_may_need_a_token(path: str, closed: Client) -> None:
    refused = closed.get(path)
    assert (refused.status, refused.headers["www-authenticate"][:5]) == (401, "Basic")
    assert closed.get(path, OPERATOR_TOKEN).status == 200
    assert _basic(closed, path, f"anybody:{OPERATOR_TOKEN}").status == 200


@pytest.mark.parametrize("credentials", ["", "anybody", f"{OPERATOR_TOKEN}:", f"anybody:{OPERATOR_TOKEN}x"])
def test_another_token_is_refused(credentials: str, closed: Client) -> None:
    assert _basic(closed, "/metrics", credentials).status == 401


def test_what_is_no_encoding_is_refused(closed: Client) -> None:
    assert closed.request("GET", "/metrics", headers={"Authorization": "Basic é"}).status == 401


def test_health_needs_no_token(closed: Client) -> None:
    assert [closed.get(path).status for path in ("/", "/healthz", "/readyz")] == [200, 200, 200]
