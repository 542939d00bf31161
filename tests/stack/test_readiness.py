"""When a process is ready: any answer, a path that answers, or an open port alone."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import pytest

from fastzero_core.stack.spec import ServiceSpec
from fastzero_core.stack.steps import wait
from fastzero_core.stack.wait import ask, until_ready

SILENT = b""


class Alive:
    """A process that runs."""

    def is_alive(self, service: str) -> bool:
        return True

    def evidence(self, service: str) -> str:
        return ""

    def failed_check(self, service: ServiceSpec) -> str:
        return ""


@contextmanager
def listening(answer: bytes) -> Iterator[int]:
    """A server that answers every connection with some bytes and closes it. Yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_answer_all, args=(server, answer))
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def _answer_all(server: socket.socket, answer: bytes) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return  # it is over
        with connection:
            connection.settimeout(1)
            try:
                connection.recv(1000)
                connection.sendall(answer)
            except OSError:
                pass  # who only looked whether the port is open


def http(status: HTTPStatus) -> bytes:
    return f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Length: 0\r\n\r\n".encode()


def reason(readiness: str | None, answer: bytes, *, built_in: bool = False) -> str:
    with listening(answer) as port:
        interpreter = ("python",) if built_in else ()
        return ask(ServiceSpec("web", port, readiness=readiness, interpreter=interpreter), "", Alive()).reason


@pytest.mark.parametrize("status", [HTTPStatus.OK, HTTPStatus.NOT_FOUND, HTTPStatus.INTERNAL_SERVER_ERROR])
def test_without_a_path_any_answer_will_do(status: HTTPStatus) -> None:
    assert reason("", http(status)) == ""


@pytest.mark.parametrize("status", [HTTPStatus.OK, HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED])
def test_a_path_may_ask_for_a_login(status: HTTPStatus) -> None:
    assert reason("/health", http(status)) == ""


def test_a_path_that_fails_is_not_ready() -> None:
    assert reason("/health", http(HTTPStatus.SERVICE_UNAVAILABLE)) == "/health answers 503 Service Unavailable"


def test_the_built_in_application_must_succeed() -> None:
    assert reason("/readyz", http(HTTPStatus.NOT_FOUND), built_in=True) == "/readyz answers 404 Not Found"


def test_an_open_port_is_enough_where_no_path_is_asked_for() -> None:
    assert reason(None, SILENT) == ""
    assert reason("", SILENT) != ""


def test_a_port_that_nobody_opened_is_told(free_port: int) -> None:
    assert "does not answer" in ask(ServiceSpec("web", free_port, readiness=None), "", Alive()).reason


def test_a_port_that_an_engine_opened_for_nobody_is_told() -> None:
    """Its proxy takes the connection and closes it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        threading.Thread(target=lambda: server.accept()[0].close()).start()
        assert (
            "closes every connection"
            in ask(ServiceSpec("web", port, readiness=None, image="image"), "", Alive()).reason
        )


@pytest.mark.parametrize(
    ("readiness", "said"),
    [(None, "until port 8000 is open"), ("", "until port 8000 answers"), ("/health", "until /health answers")],
)
def test_the_plan_says_what_is_waited_for(readiness: str | None, said: str) -> None:
    assert wait(ServiceSpec("web", 8000, readiness=readiness)).cause == said


def test_the_seconds_that_a_process_has_run_already_count() -> None:
    worker = ServiceSpec("worker", 0, grace=3600)
    assert until_ready(worker, Alive(), "", 1, "", ran=3600).is_ready
