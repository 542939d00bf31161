"""Every replica tells its open windows of changes, and they do not delay a stop."""

import contextlib
import http.client
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from fastzero_core.polling import wait_until

from .browsing import HTML, Browser
from .client import PATIENCE, Account, Client
from .conftest import FastzeroServe, ServeApp

CHANGED = b"event: changed"
SOON = 30  # seconds on a busy machine


@contextmanager
def window(port: int, browser: Browser, query: str = "") -> Iterator[http.client.HTTPResponse]:
    """A stream of events that is open, and whose first event has come."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SOON)
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    connection.request("GET", f"/board/events{query}", headers={**HTML, "Cookie": cookies})
    response = connection.getresponse()
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    try:
        until_changed(response)
        yield response
    finally:
        response.close()
        connection.close()


def until_changed(response: http.client.HTTPResponse) -> None:
    """Read up to the next event. The socket's timeout is that of the test."""
    while line := response.readline():
        if line.startswith(CHANGED):
            assert (response.readline(), response.readline()) == (b"data:\n", b"\n")
            return
    raise AssertionError("the stream has ended")


@pytest.fixture
def browser(api: Client, ana: Account) -> Browser:
    browser = Browser(api)
    browser.log_in(ana)
    return browser


def test_events_are_for_those_who_are_logged_in(api: Client) -> None:
    assert Browser(api).get("/board/events").headers["location"] == "/login"


def test_a_window_is_told_of_what_is_changed_elsewhere(api: Client, ana: Account, browser: Browser) -> None:
    with window(api.port, browser) as events:
        api.post("/todos/", {"title": "From the API", "description": ""}, ana.token)
        until_changed(events)


def test_nobody_is_told_of_what_others_change(api: Client, ana: Account, bob: Account, browser: Browser) -> None:
    with window(api.port, browser) as events:
        api.post("/todos/", {"title": "Bob's", "description": ""}, bob.token)
        events.fp.raw._sock.settimeout(1)  # type: ignore[attr-defined]
        with pytest.raises(TimeoutError):
            until_changed(events)


def test_each_replica_tells_its_windows(serve_app: ServeApp, database_url: str) -> None:
    first, second = serve_app(database_url), serve_app(database_url)
    ana = first.sign_up()
    browser = Browser(second)
    browser.log_in(ana)
    with window(second.port, browser) as events:
        first.post("/todos/", {"title": "On another replica", "description": ""}, ana.token)
        until_changed(events)
        with psycopg.connect(database_url) as connection:
            connection.execute("UPDATE todos SET title = 'By SQL', updated_at = now()")
        until_changed(events)


def test_a_connection_that_breaks_is_made_again(serve_app: ServeApp, database_url: str) -> None:
    client = serve_app(database_url)
    ana = client.sign_up()
    browser = Browser(client)
    browser.log_in(ana)
    with window(client.port, browser) as events:
        with psycopg.connect(database_url, autocommit=True) as connection:
            listening = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%todo_watchers%'"
            assert connection.execute(listening + " AND pid <> pg_backend_pid()").fetchone() == (True,)
        until_changed(events)  # what happened meanwhile is not known
        client.post("/todos/", {"title": "Afterwards", "description": ""}, ana.token)
        until_changed(events)


def test_too_many_windows_are_refused(api: Client, ana: Account, browser: Browser) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(window(api.port, browser))
        assert browser.get("/board/events").status == 503
    assert wait_until(lambda: len(api.app.state.watching._windows) == 0, PATIENCE)


def test_a_window_does_not_delay_a_stop(fastzero_serve: FastzeroServe, database_url: str) -> None:
    served = fastzero_serve(url=database_url).until_it_answers()
    client = Client(served.port)
    ana = client.sign_up()
    browser = Browser(client)
    browser.log_in(ana)
    with window(served.port, browser) as events:
        started = time.monotonic()
        served.process.terminate()
        assert events.read() == b""
        assert served.process.wait(PATIENCE) == 0
        assert "Cancel" not in served.log, served.log
        assert time.monotonic() - started < 3
