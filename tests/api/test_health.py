"""`/`, `/healthz` and `/readyz`: what they answer, and how fast they say that something is missing."""

import socket
import time

import psycopg
import pytest

from fastzero_core.schema import migrate
from fastzero_core.schema.revisions import head_revision
from tests.ports import any_free_port

from .conftest import ServeApp

NOBODY = "postgresql://nobody:wrong@127.0.0.1:{port}/nothing"


def test_the_root_greets(serve_app: ServeApp, database_url: str) -> None:
    answer = serve_app(database_url).get("/")
    assert (answer.status, answer.json) == (200, {"message": "Olá Mundo!"})


def test_it_is_alive_without_a_database(serve_app: ServeApp) -> None:
    answer = serve_app(NOBODY.format(port=any_free_port())).get("/healthz")
    assert (answer.status, answer.json["status"]) == (200, "ok")


def test_it_is_ready_at_head_and_says_which_revision_that_is(serve_app: ServeApp, database_url: str) -> None:
    answer = serve_app(database_url).get("/readyz")
    assert (answer.status, answer.json) == (200, {"status": "ok", "revision": head_revision(), "reason": ""})


def test_it_is_not_ready_without_a_schema(serve_app: ServeApp, empty_database_url: str) -> None:
    answer = serve_app(empty_database_url).get("/readyz")
    assert (answer.status, answer.json["reason"]) == (503, f"the schema is at base; head is {head_revision()}")
    assert answer.headers["retry-after"] == "1"


def test_it_is_not_ready_behind_head(serve_app: ServeApp, database_url: str) -> None:
    migrate.down(database_url, "0001")
    answer = serve_app(database_url).get("/readyz")
    assert answer.status == 503
    assert answer.json["revision"] == "0001"
    assert answer.json["reason"] == f"the schema is at 0001; head is {head_revision()}"


def test_it_becomes_ready_when_the_schema_does(serve_app: ServeApp, empty_database_url: str) -> None:
    api = serve_app(empty_database_url)
    assert api.get("/readyz").status == 503
    migrate.up(empty_database_url)
    assert api.get("/readyz").status == 200


def test_a_database_that_is_away_is_a_reason_that_names_no_host_port_or_role(
    serve_app: ServeApp, caplog: pytest.LogCaptureFixture
) -> None:
    port = any_free_port()
    answer = serve_app(NOBODY.format(port=port)).get("/readyz")
    assert (answer.status, answer.json["reason"]) == (503, "the database does not answer: see the app's log")
    assert str(port) in caplog.text


def test_a_refused_login_is_a_reason_that_names_no_role_and_no_password(
    serve_app: ServeApp, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with psycopg.connect(database_url) as connection:
        port = connection.info.port
    answer = serve_app(NOBODY.format(port=port)).get("/readyz")
    assert (answer.status, answer.json["reason"]) == (503, "the database refuses the app's role: see the app's log")
    assert "nobody" in caplog.text
    assert "wrong" not in answer.text + caplog.text


@pytest.mark.slow
def test_a_database_that_accepts_and_says_nothing_is_unready_within_five_seconds(serve_app: ServeApp) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        api = serve_app(NOBODY.format(port=silent.getsockname()[1]))
        began = time.monotonic()
        answer = api.get("/readyz")
    assert answer.status == 503
    assert "does not answer" in answer.json["reason"]
    assert time.monotonic() - began < 5


@pytest.mark.slow
def test_a_database_that_answers_no_query_is_unready_and_ready_again_afterwards(
    serve_app: ServeApp, database_url: str, schema_lock: psycopg.Connection
) -> None:
    api = serve_app(database_url)
    began = time.monotonic()
    answers = [api.get("/readyz") for _ in range(2)]
    assert [answer.status for answer in answers] == [503, 503]
    assert time.monotonic() - began < 10
    schema_lock.rollback()
    assert api.get("/readyz").status == 200
