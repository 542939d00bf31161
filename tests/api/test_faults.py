"""A database that is away, silent, busy or killed: a bounded 503, and then service as before."""

import logging
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
import psycopg
import pytest
from sqlalchemy.engine import make_url

from fastzero_core import Stack, load_settings
from fastzero_core.polling import wait_until
from fastzero_core.todo_app.api import hashing, logs
from fastzero_core.todo_app.models import Identity
from fastzero_core.todo_app.tokens import Tokens
from tests.faults.network import Proxy, proxy_to
from tests.ports import any_free_port

from .client import PATIENCE, Answer, Client
from .conftest import SECRET_KEY, ServeApp, served

AT_MOST = 5  # seconds until the answer
NOBODY = "postgresql://nobody:a-secret@127.0.0.1:{port}/nothing"
REQUESTS: list[tuple[str, str]] = [
    ("GET", "/todos/"),
    ("POST", "/todos/"),
    ("GET", "/users/"),
    ("POST", "/auth/token"),
    ("POST", "/auth/logout"),
]


def ask(api: Client, method: str, path: str, token: str | None = None) -> Answer:
    """Any request of the table, with what it needs; it is answered in time. Without `token` with that of nobody."""
    token = token or Tokens(SECRET_KEY).issue(Identity(1, 0))
    began = time.monotonic()
    form = {"username": "ana", "password": "correct horse"} if path == "/auth/token" else None
    body = {"title": "Write"} if (method, path) == ("POST", "/todos/") else None
    answer = api.request(method, path, token=token, form=form, json_body=body)
    assert time.monotonic() - began < AT_MOST, (method, path)
    return answer


def is_unavailable(answer: Answer) -> bool:
    return answer.status == 503 and answer.headers["retry-after"] == "1" and isinstance(answer.detail, str)


@pytest.mark.parametrize(("method", "path"), REQUESTS)
def test_a_database_that_is_away_is_a_503_that_tells_nothing_of_it(method: str, path: str, serve_app: ServeApp) -> None:
    answer = ask(serve_app(NOBODY.format(port=any_free_port())), method, path)
    assert is_unavailable(answer)
    assert "nobody" not in answer.text
    assert "127.0.0.1" not in answer.text


def test_why_the_database_is_away_is_in_the_log_with_the_request(
    serve_app: ServeApp, caplog: pytest.LogCaptureFixture
) -> None:
    port = any_free_port()
    with caplog.at_level(logging.WARNING, logs.SERVER.name):
        answer = ask(serve_app(NOBODY.format(port=port)), "GET", "/todos/")
    reasons = [record.getMessage() for record in caplog.records if record.name == logs.SERVER.name]
    assert any(str(port) in each and each.endswith(answer.headers["x-request-id"]) for each in reasons)


@pytest.mark.parametrize(("method", "path"), REQUESTS)
def test_a_database_without_the_schema_is_a_503(
    method: str, path: str, serve_app: ServeApp, empty_database_url: str
) -> None:
    assert is_unavailable(ask(serve_app(empty_database_url), method, path))


@pytest.mark.slow
def test_a_database_that_accepts_and_says_nothing_is_a_503_in_time(serve_app: ServeApp) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        api = serve_app(NOBODY.format(port=silent.getsockname()[1]), pool_size=1)
        threads = [_Asking(api, "GET", "/todos/") for _ in range(6)]
        assert all(is_unavailable(thread.answer()) for thread in threads)


class _Asking(threading.Thread):
    """A request that is under way while others are."""

    def __init__(self, api: Client, method: str, path: str, token: str | None = None) -> None:
        super().__init__()
        self._request = (api, method, path, token)
        self._answer: Answer | None = None
        self.start()

    def run(self) -> None:
        self._answer = ask(*self._request)

    def answer(self) -> Answer:
        self.join()
        assert self._answer is not None, "it was not answered in time"
        return self._answer


@pytest.fixture
def lock(database_url: str) -> Iterator[psycopg.Connection]:
    """Keeps everybody from the todos until it is released."""
    with psycopg.connect(database_url) as connection:
        connection.execute("LOCK TABLE todos")
        yield connection


@pytest.mark.slow
def test_a_busy_database_and_a_full_pool_are_503s_in_time(
    serve_app: ServeApp, database_url: str, lock: psycopg.Connection
) -> None:
    api = serve_app(database_url, pool_size=2)
    threads = [_Asking(api, "GET", "/todos/") for _ in range(8)]
    assert all(is_unavailable(thread.answer()) for thread in threads)
    assert api.get("/healthz").status == 200
    lock.rollback()
    assert ask(api, "GET", "/todos/").status == 401  # it is nobody's token, which only the database knows


SLOW_TRIGGER = """
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql
        AS 'BEGIN PERFORM pg_sleep(3.5); RETURN coalesce(NEW, OLD); END';
    CREATE TRIGGER slow BEFORE INSERT OR DELETE ON todos FOR EACH ROW EXECUTE FUNCTION slow()
"""


@pytest.mark.slow
def test_an_account_with_many_todos_may_take_longer_to_go(serve_app: ServeApp, database_url: str) -> None:
    api = serve_app(database_url)
    ana = api.sign_up()
    assert api.post("/todos/", {"title": "Write"}, ana.token).status == 201
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(SLOW_TRIGGER)
    assert is_unavailable(ask(api, "POST", "/todos/", ana.token))
    assert is_unavailable(api.post("/todos/bulk", [{"title": "Write"}], ana.token))
    assert api.delete(f"/users/{ana.id}", ana.token).status == 200


def test_connections_that_the_server_ended_are_replaced_unnoticed(serve_app: ServeApp, database_url: str) -> None:
    api = serve_app(database_url)
    ana = api.sign_up()
    with psycopg.connect(database_url, autocommit=True) as connection:
        others = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        assert connection.execute(others).fetchall()
        connection.execute(f"SELECT pg_terminate_backend(pid, 5000) FROM ({others}) AS others")
    assert api.get("/todos/", ana.token).status == 200


@contextmanager
def proxied(url: str) -> Iterator[tuple[Proxy, str]]:
    """A way to the database that can be lost, and the URL that leads through it."""
    parsed = make_url(url)
    assert parsed.port
    with proxy_to(parsed.port) as proxy:
        yield proxy, parsed.set(host="127.0.0.1", port=proxy.port).render_as_string(False)


@pytest.mark.slow
def test_a_network_that_swallows_everything_is_a_503_in_time_and_service_comes_back(
    serve_app: ServeApp, database_url: str
) -> None:
    with proxied(database_url) as (proxy, url):
        api = serve_app(url, pool_size=2)
        ana = api.sign_up()
        proxy.is_black_hole = True
        threads = [_Asking(api, "GET", "/todos/", ana.token) for _ in range(6)]
        assert all(is_unavailable(thread.answer()) for thread in threads)
        proxy.is_black_hole = False
        assert wait_until(lambda: api.get("/todos/", ana.token).status == 200, PATIENCE)


@pytest.mark.slow
def test_a_database_lost_while_a_password_is_checked_is_a_503_in_time(
    serve_app: ServeApp, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxied(database_url) as (proxy, url):
        api = serve_app(url)
        ana = api.sign_up()

        def check_for_long(*_: str) -> bool:
            proxy.is_black_hole = True
            return not threading.Event().wait(AT_MOST / 2)

        monkeypatch.setattr(hashing, "verify_password", check_for_long)
        began = time.monotonic()
        assert is_unavailable(api.log_in(ana.username))
        assert time.monotonic() - began < AT_MOST


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    settings = load_settings(project="faults", runtime="embedded", app=False, database_port=any_free_port())
    stack = Stack(settings).up()
    yield stack
    stack.down(volumes=True)


@pytest.mark.slow
def test_a_database_killed_under_load_is_503s_and_no_acknowledged_todo_is_lost(stack: Stack) -> None:
    with served(stack.database_url) as api:
        ana = api.sign_up()
        ledger, statuses, over = _Ledger(), set[int](), threading.Event()

        def write(worker: int) -> None:
            number = 0
            while not over.is_set():
                number += 1
                title = f"{worker}-{number}"
                began = time.monotonic()
                answer = api.post("/todos/", {"title": title}, ana.token)
                assert time.monotonic() - began < AT_MOST
                statuses.add(answer.status)
                ledger.write(title, answer.status)

        writers = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
        for writer in writers:
            writer.start()
        for _ in range(2):
            ledger.wait_for_more()
            _kill(stack)
            assert wait_until(lambda: 503 in statuses, PATIENCE)
            stack.up()
        ledger.wait_for_more()
        over.set()
        for writer in writers:
            writer.join()
        assert statuses == {201, 503}
        assert "\nfastzero_pool_connections_in_use 0.0\n" in api.get("/metrics").text
        with psycopg.connect(stack.database_url) as connection:
            kept = [title for (title,) in connection.execute("SELECT title FROM todos")]
        assert len(kept) == len(set(kept))
        assert ledger.acknowledged <= set(kept) <= ledger.tried


class _Ledger:
    """What was tried, and what of it was acknowledged."""

    def __init__(self) -> None:
        self.tried: set[str] = set()
        self.acknowledged: set[str] = set()

    def wait_for_more(self) -> None:
        enough = len(self.acknowledged) + 20
        assert wait_until(lambda: len(self.acknowledged) > enough, PATIENCE)

    def write(self, title: str, status: int) -> None:
        self.tried.add(title)
        if status == 201:
            self.acknowledged.add(title)


def _kill(stack: Stack) -> None:
    (database,) = [service for service in stack.status() if service.service == "database"]
    assert database.pid
    server = psutil.Process(database.pid)
    for process in (server, *server.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
    psutil.wait_procs([server], timeout=PATIENCE)
