"""What an operator relies on: request ids, the log, metrics, limits, headers and switches."""

import http.client
import json
import logging
import re
import socket
from typing import Any

import psycopg
import pytest

from fastzero_core.polling import wait_until
from fastzero_core.todo_app.api.bodies import SMALL
from fastzero_core.todo_app.api.logs import JsonFormatter

from .client import JSON, PASSWORD, PATIENCE, Account, Client, new_name
from .conftest import FastzeroServe, ServeApp

MIB = 1024 * 1024


# -- request ids and headers -----------------------------------------------------------------------------------


def test_a_request_id_is_given(api: Client) -> None:
    ids = {api.get("/").headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3
    assert all(re.fullmatch("[0-9a-f]{16}", each) for each in ids)


def test_a_request_id_that_comes_with_the_request_is_kept(api: Client) -> None:
    answer = api.request("GET", "/nowhere", headers={"X-Request-ID": "of-the-proxy:42"})
    assert answer.headers["x-request-id"] == "of-the-proxy:42"


@pytest.mark.parametrize("odd", ["two words", "x" * 65, "{}", "é"])
def test_one_that_no_log_should_hold_is_replaced(odd: str, api: Client) -> None:
    answer = api.request("GET", "/", headers={"X-Request-ID": odd})
    assert re.fullmatch("[0-9a-f]{16}", answer.headers["x-request-id"])


@pytest.mark.parametrize("path", ["/", "/nowhere", "/todos/", "/docs", "/healthz"])
def test_every_answer_has_safe_headers(path: str, api: Client) -> None:
    headers = api.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "base-uri 'none'" in headers["content-security-policy"]
    assert "object-src 'none'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"


def test_what_is_one_s_own_is_stored_nowhere(api: Client, ana: Account) -> None:
    assert api.get("/todos/", ana.token).headers["cache-control"] == "no-store"


# -- the log ---------------------------------------------------------------------------------------------------


def events(log: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.splitlines()]


def test_each_request_is_a_json_line(
    fastzero_serve: FastzeroServe, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTZERO_LOG", "json")
    served = fastzero_serve(url=database_url).until_it_answers()
    client = Client(served.port)
    client.request("GET", "/todos/?title=private%0Aline", headers={"X-Request-ID": "mine"})

    def lines() -> list[dict[str, Any]]:
        return [event for event in events(served.log) if event.get("request_id") == "mine" and "status" in event]

    assert wait_until(lines, PATIENCE)
    (event,) = lines()
    assert (event["method"], event["path"], event["status"], event["level"]) == ("GET", "/todos/", 401, "info")
    assert 0 < event["duration_ms"] < 10_000
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["time"])


@pytest.mark.slow
def test_the_log_holds_no_secret_no_body_and_no_query(fastzero_serve: FastzeroServe, database_url: str) -> None:
    served = fastzero_serve(url=database_url).until_it_answers()
    client = Client(served.port)
    ana = client.sign_up()
    client.post("/todos/", {"title": "a-private-title"}, ana.token)
    client.get("/todos/?title=a-private-search", ana.token)
    client.log_in(ana.username, "a-wrong-password")
    client.put(f"/users/{ana.id}", {"username": "", "password": "another-password"}, ana.token)
    assert wait_until(lambda: f"PUT /users/{ana.id} 422" in served.log, PATIENCE)
    for private in (PASSWORD, ana.token, "private", "a-wrong-password", "another-password"):
        assert private not in served.log


@pytest.mark.parametrize("depth", [10, 100, 500, 700, 900, 1500, 5000, 20_000])
def test_what_is_nested_deeply_is_invalid_and_in_no_log(
    depth: int, api: Client, caplog: pytest.LogCaptureFixture
) -> None:
    for nested in ("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth):
        body = f'{{"email":{nested},"password":"a-private-word"}}'.encode()
        answer = api.request("POST", "/users/", body=body, headers={"Content-Type": JSON})
        assert answer.status == (422 if len(body) <= SMALL else 413)
        assert "a-private-word" not in caplog.text + answer.text


def test_a_path_cannot_forge_a_line(fastzero_serve: FastzeroServe, database_url: str) -> None:
    served = fastzero_serve(url=database_url).until_it_answers()
    Client(served.port).get("/a%0A2026-01-01 INFO forged".replace(" ", "%20"))
    assert wait_until(lambda: "/a%0A2026-01-01%20INFO%20forged 404" in served.log, PATIENCE)
    assert not [line for line in served.log.splitlines() if line.startswith("2026-01-01 INFO forged")]


def test_a_bug_is_a_500_with_its_traceback_in_the_log_alone(
    serve_app: ServeApp, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    api = serve_app(database_url)

    async def bug() -> None:
        raise ZeroDivisionError("a private detail")

    api.app.add_api_route("/bug", bug)
    with caplog.at_level(logging.ERROR, "fastzero"):
        answer = api.request("GET", "/bug", headers={"X-Request-ID": "mine"})
    assert (answer.status, answer.detail) == (500, "Internal Server Error")
    assert answer.headers["x-request-id"] == "mine"
    (record,) = [record for record in caplog.records if record.name == "fastzero.error"]
    assert "mine" in record.getMessage()
    event = json.loads(JsonFormatter().format(record))
    assert event["request_id"] == "mine"
    assert "ZeroDivisionError" in event["traceback"]


ODD_TRIGGER = """
    CREATE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''odd''; END';
    CREATE TRIGGER odd BEFORE INSERT ON todos FOR EACH ROW EXECUTE FUNCTION odd()
"""


def test_a_statement_that_fails_leaves_nothing_of_what_was_written_in_the_log(
    serve_app: ServeApp, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    api = serve_app(database_url)
    ana = api.sign_up()
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(ODD_TRIGGER)
    with caplog.at_level(logging.ERROR, "fastzero"):
        answer = api.post("/todos/", {"title": "a-private-title"}, ana.token)
    assert answer.status == 500
    (record,) = [record for record in caplog.records if record.name == "fastzero.error"]
    assert "a-private-title" not in JsonFormatter().format(record)


# -- metrics ---------------------------------------------------------------------------------------------------


def sample(exposition: str, name: str, **labels: str) -> float:
    """The value of one line of the exposition; 0 where there is none yet."""
    for line in exposition.splitlines():
        if line.startswith(name) and all(f'{label}="{value}"' for label, value in labels.items()):
            series, _, value = line.rpartition(" ")
            if all(f'{label}="{given}"' in series for label, given in labels.items()):
                return float(value)
    return 0.0


def test_requests_are_counted_by_route_and_status(api: Client, ana: Account) -> None:
    def count() -> float:
        labels = {"method": "GET", "route": "/todos/{id}", "status": "404"}
        return sample(api.get("/metrics").text, "fastzero_http_requests_total", **labels)

    before = count()
    for id in (1_000_000, 1_000_001, 1_000_002):
        api.get(f"/todos/{id}", ana.token)
    assert count() == before + 3


def test_time_in_all_and_in_the_database_is_measured(api: Client, ana: Account) -> None:
    api.get("/todos/", ana.token)
    text = api.get("/metrics").text
    labels = {"method": "GET", "route": "/todos/"}
    whole = sample(text, "fastzero_http_request_duration_seconds_sum", **labels)
    database = sample(text, "fastzero_database_seconds_total", **labels)
    assert 0 < database < whole


def test_the_pool_is_measured(api: Client, ana: Account) -> None:
    text = api.get("/metrics").text
    assert sample(text, "fastzero_pool_connections_max ") == 12
    assert sample(text, "fastzero_pool_connections_in_use ") == 0


def test_paths_that_are_none_make_no_series_of_their_own(api: Client) -> None:
    for _ in range(3):
        api.get(f"/{new_name()}")
    text = api.get("/metrics").text
    assert sample(text, "fastzero_http_requests_total", route="unmatched", status="404") >= 3
    assert "user-" not in text


@pytest.mark.slow
def test_several_workers_count_as_one(fastzero_serve: FastzeroServe, database_url: str) -> None:
    served = fastzero_serve("--workers", "2", url=database_url).until_it_answers()
    client = Client(served.port)
    for _ in range(20):
        client.get("/")
    asked = [client.get("/metrics").text for _ in range(6)]
    assert {sample(text, "fastzero_http_requests_total", route="/", status="200") for text in asked} == {20.0}
    assert {sample(text, "fastzero_pool_connections_max ") for text in asked} <= {12.0, 24.0}


# -- limits ----------------------------------------------------------------------------------------------------


def test_a_body_has_at_most_a_mebibyte(api: Client, ana: Account) -> None:
    for size, status in ((MIB - 100, 422), (MIB + 1, 413)):
        body = json.dumps({"title": "x" * (size - 13)}).encode()
        answer = api.request("POST", "/todos/", token=ana.token, body=body, headers={"Content-Type": JSON})
        assert answer.status == status
    assert isinstance(answer.detail, str)


def test_a_body_that_nobody_reads_is_limited_as_well(api: Client, ana: Account) -> None:
    assert api.request("GET", "/todos/", token=ana.token, body=b" " * (MIB + 1)).status == 413


def test_many_todos_have_at_most_half_a_mebibyte(api: Client, ana: Account) -> None:
    todos = [{"title": "x" * 200, "description": "y" * 280}] * 1000
    assert api.post("/todos/bulk", todos, ana.token).status == 200
    assert api.post("/todos/bulk", [{"title": "x", "description": "y" * 500}] * 1000, ana.token).status == 413


def test_a_body_of_unknown_length_is_limited_as_well(api: Client, ana: Account) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=PATIENCE)
    connection.request(
        "POST",
        "/todos/",
        iter([b" " * 65536] * 17),
        {"Authorization": f"Bearer {ana.token}", "Content-Type": JSON},
        encode_chunked=True,
    )
    assert connection.getresponse().status == 413
    connection.close()


BODIES = [
    b"{",
    b"\xff\xfe",
    b'{"title": "\\ud800"}',
    b'{"title": NaN}',
    b'{"title": 1e999}',
    b'{"title": ' + b"9" * 5000 + b"}",
    b"[" * 16_000,
    b'{"title": "a", "title": null}',
    b"",
    b"null",
]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:30]))
@pytest.mark.parametrize("path", ["/todos/", "/todos/bulk", "/users/", "/auth/token"])
def test_a_body_that_cannot_be_read_is_invalid(path: str, body: bytes, api: Client, ana: Account) -> None:
    answer = api.request("POST", path, token=ana.token, body=body, headers={"Content-Type": JSON})
    assert answer.status == 422
    assert answer.detail[0]["loc"][0] == "body"


@pytest.mark.parametrize("body", [b'"correct horse"', b'["correct horse"]', b'[{"password": "correct horse"}]'])
def test_a_body_of_another_shape_is_not_sent_back_with_its_password(body: bytes, api: Client) -> None:
    answer = api.request("POST", "/users/", body=body, headers={"Content-Type": JSON})
    assert answer.status == 422
    assert "correct horse" not in json.dumps(answer.json)


@pytest.mark.parametrize("form", [b"username=%ff&password=%ff", b"%", b"&&&", b"username[]=a&password=b", b"\0"])
def test_a_form_that_is_odd_is_a_login_that_fails(form: bytes, api: Client) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert api.request("POST", "/auth/token", body=form, headers=headers).status in (401, 422)


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data", "multipart/form-data; boundary=x", "a/b;c"])
def test_another_kind_of_body_is_invalid(kind: str, api: Client, ana: Account) -> None:
    for path in ("/todos/", "/auth/token"):
        answer = api.request("POST", path, token=ana.token, body=b'{"title": "a"}', headers={"Content-Type": kind})
        assert answer.status == 422


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/todos/", "GET, PATCH, POST"),
        ("/todos/1", "DELETE, GET, PATCH"),
        ("/todos/bulk", "POST"),
        ("/users/1", "DELETE, GET, PUT"),
        ("/auth/token", "POST"),
        ("/healthz", "GET"),
    ],
)
def test_a_method_that_a_path_has_not_is_told_which_it_has(path: str, allowed: str, api: Client) -> None:
    for method in ("OPTIONS", "TRACE", "PUT" if "/users" not in path else "POST", "PROPFIND"):
        answer = api.request(method, path)
        assert (answer.status, answer.headers["allow"]) == (405, allowed)


def test_what_is_no_http_is_refused_without_harm(api: Client) -> None:
    with socket.create_connection(("127.0.0.1", api.port)) as connection:
        connection.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400")
    assert api.get("/healthz").status == 200


# -- switches --------------------------------------------------------------------------------------------------


def test_pages_and_metrics_can_be_switched_off(serve_app: ServeApp, database_url: str) -> None:
    api = serve_app(database_url, docs=False, metrics=False)
    for path in ("/docs", "/redoc", "/openapi.json", "/metrics", "/static-offline-docs/swagger-ui.css"):
        assert api.get(path).status == 404
    assert api.get("/healthz").status == 200


@pytest.mark.parametrize(
    ("chosen", "status"),
    [({}, 404), ({"docs": True, "metrics": True}, 200), ({"operator_token_sha256": "0" * 64}, 401)],
    ids=["by default", "where it was chosen", "with a token"],
)
def test_behind_a_proxy_pages_and_metrics_are_shown_to_nobody_by_accident(
    chosen: dict[str, Any], status: int, serve_app: ServeApp, database_url: str
) -> None:
    api = serve_app(database_url, forwarded_allow_ips=["192.0.2.1"], **chosen)
    for path in ("/docs", "/redoc", "/openapi.json", "/metrics"):
        assert api.get(path).status == status


ORIGIN = "https://app.example"
PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "PATCH",
    "Access-Control-Request-Headers": "authorization",
}


def test_other_origins_get_nothing_unless_they_are_configured(
    api: Client, serve_app: ServeApp, database_url: str
) -> None:
    assert "access-control-allow-origin" not in api.request("GET", "/", headers={"Origin": ORIGIN}).headers
    assert api.request("OPTIONS", "/todos/1", headers=PREFLIGHT).status == 405
    configured = serve_app(database_url, cors_origins=[ORIGIN])
    answer = configured.request("OPTIONS", "/todos/1", headers=PREFLIGHT)
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, ORIGIN)
    other = configured.request("GET", "/", headers={"Origin": "https://other.example"})
    assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_short_key_is_refused_at_the_start(
    workers: str, fastzero_serve: FastzeroServe, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", "short-but-secret")
    served = fastzero_serve("--workers", workers, url=database_url)
    assert served.process.wait(PATIENCE) == 2
    assert "SECRET_KEY must have at least 32 bytes; it has 16" in served.log
    assert "short-but-secret" not in served.log
    assert "Traceback" not in served.log


def test_without_a_key_and_without_a_project_it_says_what_to_do(
    fastzero_serve: FastzeroServe, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", "")
    served = fastzero_serve(url=database_url)
    assert served.process.wait(PATIENCE) == 2
    assert "SECRET_KEY is not set: it is required to sign tokens" in served.log
    assert "fastzero up" in served.log


def test_another_algorithm_than_the_three_is_refused(
    fastzero_serve: FastzeroServe, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALGORITHM", "none")
    served = fastzero_serve(url=database_url)
    assert served.process.wait(PATIENCE) == 2
    assert "invalid ALGORITHM" in served.log


def test_pools_are_announced_and_too_many_connections_are_warned_of(
    fastzero_serve: FastzeroServe, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTZERO_POOL_SIZE", "1000")
    served = fastzero_serve("--workers", "2", url=database_url)
    assert wait_until(lambda: "WARNING" in served.log, PATIENCE)
    assert re.search(r"pools of up to 2 × 1003 .* allows \d+: reduce FASTZERO_POOL_SIZE", served.log)
