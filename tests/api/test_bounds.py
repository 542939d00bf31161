"""What a client may ask of the app before and without a token: little work, little memory, little time."""

import asyncio
import http.client
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import IO

import psutil
import pytest
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from fastzero_core.polling import wait_until
from fastzero_core.todo_app.api import bodies, connection, deps, middleware, routing

from .client import JSON, PASSWORD, PATIENCE, Account, Client, new_name

MIB = 1024 * 1024
SHORT = 0.2  # seconds, where a test waits for a deadline


class Wire:
    """A client that sends any bytes, and need not send all of them."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def ask(self, head: str, body: bytes = b"") -> None:
        self.send(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)

    def status(self) -> int:
        """The status of the next answer, which is read whole."""
        return self.statuses(1)[0]

    def statuses(self, count: int) -> list[int]:
        """The statuses of the next answers, which are read whole: what `makefile` has read ahead is not lost."""
        with self._socket.makefile("rb") as file:
            return [self._status(file) for _ in range(count)]

    def _status(self, file: IO[bytes]) -> int:
        status = int(file.readline().split()[1])
        file.read(int(http.client.parse_headers(file)["Content-Length"]))
        return status

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def receive(self) -> bytes:
        return self._socket.recv(65536)

    def is_ended(self) -> bool:
        """Read what there is, and return whether the server has closed the connection."""
        try:
            while self.receive():
                pass
        except ConnectionError:
            pass
        return True

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def wire(api: Client) -> Iterator[Callable[[], Wire]]:
    """Opens connections to the app, which are closed after the test."""
    with ExitStack() as opened:

        def connect() -> Wire:
            new = Wire(api.port)
            opened.callback(new.close)
            return new

        yield connect


@pytest.fixture
def deadline(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes one deadline of a connection short."""
    return lambda name: monkeypatch.setattr(connection, name, SHORT)


# -- before the token --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/todos/"), ("POST", "/todos/bulk"), ("PATCH", "/todos/1"), ("PUT", "/users/1")],
)
def test_a_request_without_a_token_is_refused_before_its_body_comes(
    method: str, path: str, wire: Callable[[], Wire]
) -> None:
    client = wire()
    client.ask(f"{method} {path} HTTP/1.1\nHost: x\nContent-Type: {JSON}\nContent-Length: 10000")
    assert client.status() == 401


def test_a_request_without_a_token_is_not_told_what_else_is_wrong(api: Client) -> None:
    assert api.get("/todos/?limit=1&limit=2").status == 401
    assert api.request("POST", "/todos/", body=b"{", headers={"Content-Type": JSON}).status == 401


def test_too_many_parameters_are_refused_before_the_token(api: Client) -> None:
    assert api.get("/todos/?" + "&".join(f"p{n}=" for n in range(100))).status == 401
    assert api.get("/todos/?" + "&".join(f"p{n}=" for n in range(101))).status == 422


def test_names_are_looked_at_once_each(api: Client, ana: Account) -> None:
    query = "&".join(f"p{n}=" for n in range(98))
    refused = api.get(f"/todos/?{query}&limit=1", ana.token)
    assert (refused.status, "unknown parameter 'p0'" in refused.text) == (422, True)
    assert api.get("/todos/?limit=1&limit=1", ana.token).status == 422
    assert api.get(f"/todos/?{query}&limit=1&limit=1", ana.token).status == 422


@pytest.mark.parametrize("address", ["/" + "a" * 9000, "/todos/?title=" + "a" * 9000])
def test_an_address_has_at_most_eight_kibibytes(address: str, api: Client) -> None:
    assert api.get(address).status == 414


def test_a_request_has_at_most_a_hundred_headers(api: Client) -> None:
    def status(count: int) -> int:
        return api.request("GET", "/healthz", headers={f"X-{number}": "x" for number in range(count)}).status

    assert (status(90), status(101)) == (200, 431)


# -- heads -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "begun", [b"GET /healthz HTTP/1.1\r\nX: y\r\n", b"G", b"\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET"]
)
def test_a_head_that_does_not_end_is_given_up(
    begun: bytes, wire: Callable[[], Wire], deadline: Callable[[str], None]
) -> None:
    deadline("HEAD_SECONDS")
    client = wire()
    client.send(begun)
    assert client.is_ended()


def test_a_head_that_comes_drop_by_drop_has_the_same_time(
    wire: Callable[[], Wire], deadline: Callable[[str], None]
) -> None:
    deadline("HEAD_SECONDS")
    client = wire()
    client.send(b"GET /healthz HTTP/1.1\r\n")

    def is_refused() -> bool:
        try:
            client.send(b"X: y\r\n")
        except ConnectionError:
            return True
        return False

    assert wait_until(is_refused, PATIENCE)


def test_a_head_that_is_given_up_is_told_so(wire: Callable[[], Wire], deadline: Callable[[str], None]) -> None:
    deadline("HEAD_SECONDS")
    client = wire()
    client.send(b"GET /healthz HTTP/1.1\r\n")
    assert client.status() == 408


@pytest.mark.parametrize("part", [b"X: y\r\n", b"y"], ids=["headers", "header"])
def test_a_head_has_at_most_16_kibibytes(part: bytes, wire: Callable[[], Wire]) -> None:
    client = wire()
    client.send(b"GET /healthz HTTP/1.1\r\nX: ")
    client.send(part * (connection.HEAD_MAX // len(part) + 1))
    assert client.status() == 431


@pytest.mark.parametrize("count", [2, 90], ids=["large", "many"])
def test_a_head_that_comes_at_once_has_at_most_16_kibibytes(count: int, wire: Callable[[], Wire]) -> None:
    value = "y" * (connection.HEAD_MAX // count)
    client = wire()
    client.ask("GET /healthz HTTP/1.1\nHost: x\n" + "\n".join([f"X: {value}"] * count))
    assert client.status() == 431


def test_of_the_headers_of_an_unfinished_head_no_more_are_kept_than_may_be(
    wire: Callable[[], Wire], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[connection.Connection] = []
    original = connection.Connection.on_message_begin

    def noted(self: connection.Connection) -> None:
        original(self)
        made.append(self)

    monkeypatch.setattr(connection.Connection, "on_message_begin", noted)
    client = wire()
    client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 2000)
    assert client.status() == 431
    assert len(made[0].headers) == connection.HEADERS_MAX + 1


def test_requests_that_wait_have_heads_of_16_kibibytes_together(wire: Callable[[], Wire]) -> None:
    client = wire()
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 8000 + b"\r\n\r\n"
    client.send(head * 8)
    assert client.is_ended()


@pytest.mark.parametrize("hosts", ["", "Host: a\n", "Host: a\nHost: b\n", "Host: a\nhost: a\n"])
def test_a_request_names_one_host(hosts: str, wire: Callable[[], Wire]) -> None:
    client = wire()
    client.ask(f"GET /healthz HTTP/1.1\n{hosts}X: y")
    assert client.status() == (200 if hosts == "Host: a\n" else 400)


def test_a_request_of_http_1_0_needs_no_host(wire: Callable[[], Wire]) -> None:
    client = wire()
    client.ask("GET /healthz HTTP/1.0\nX: y")
    assert client.status() == 200


def test_another_protocol_is_not_offered_and_ends_the_connection_after_the_answer(wire: Callable[[], Wire]) -> None:
    client = wire()
    client.ask("GET /healthz HTTP/1.1\nHost: x\nConnection: Upgrade\nUpgrade: h2c")
    assert client.status() == 200
    assert client.is_ended()


def test_what_follows_the_last_chunk_of_a_body_counts_as_well(wire: Callable[[], Wire]) -> None:
    client = wire()
    client.ask("POST /todos/ HTTP/1.1\nHost: x\nTransfer-Encoding: chunked", b"0\r\nX: ")
    assert client.status() == 401
    client.send(b"y" * connection.HEAD_MAX)
    assert client.is_ended()


def test_a_client_that_asks_without_waiting_for_answers_is_given_up(wire: Callable[[], Wire]) -> None:
    client = wire()
    client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
    assert client.is_ended()


def test_some_requests_may_be_sent_without_waiting(wire: Callable[[], Wire]) -> None:
    client = wire()
    client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 10)
    received = b""
    while received.count(b'"ok"') < 10:
        more = client.receive()
        assert more
        received += more


@pytest.mark.parametrize(
    "framing",
    [
        "Content-Length: 30\nTransfer-Encoding: chunked",
        "Content-Length: 30\nContent-Length: 31",
        "Content-Length: +30",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding:\n chunked",
    ],
)
def test_a_body_whose_end_two_readers_might_see_differently_is_refused(framing: str, wire: Callable[[], Wire]) -> None:
    client = wire()
    client.ask(f"POST /auth/token HTTP/1.1\nHost: x\n{framing}", b"0\r\n\r\nGET /healthz HTTP/1.1\r\n")
    assert client.status() == 400
    assert client.is_ended()


# -- bodies ------------------------------------------------------------------------------------------------------


def test_a_body_that_does_not_come_is_given_up(wire: Callable[[], Wire], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "SECONDS", SHORT)
    client = wire()
    client.ask(f"POST /users/ HTTP/1.1\nHost: x\nContent-Type: {JSON}\nContent-Length: 100", b"{")
    assert client.status() == 408
    assert client.is_ended()


def test_a_body_that_comes_slowly_has_more_time_the_more_there_is_of_it(
    wire: Callable[[], Wire], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "SECONDS", SHORT)
    monkeypatch.setattr(bodies, "BYTES_PER_SECOND", 1)
    client = wire()
    client.ask(f"POST /users/ HTTP/1.1\nHost: x\nContent-Type: {JSON}\nContent-Length: 200", b" " * 100)
    until = time.monotonic() + 5 * SHORT
    assert wait_until(lambda: time.monotonic() > until, PATIENCE)
    client.send(b" " * 100)
    assert client.status() == 422


@pytest.mark.slow
def test_what_a_body_takes_to_come_is_not_taken_from_the_answer(
    ana: Account, wire: Callable[[], Wire], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deps, "DATABASE_TIMEOUT_MIN", 0)
    client = wire()
    client.ask(
        f"POST /todos/ HTTP/1.1\nHost: x\nAuthorization: Bearer {ana.token}\nContent-Type: {JSON}\nContent-Length: 18"
    )
    until = time.monotonic() + deps.DATABASE_TIMEOUT + SHORT
    assert wait_until(lambda: time.monotonic() > until, PATIENCE)
    client.send(b'{"title": "Write"}')
    assert client.status() == 201


def test_the_rest_of_a_body_that_is_refused_is_not_waited_for(
    wire: Callable[[], Wire], deadline: Callable[[str], None]
) -> None:
    deadline("REST_SECONDS")
    client = wire()
    client.ask("POST /todos/ HTTP/1.1\nHost: x\nContent-Length: 400000", b"{")
    assert client.status() == 401
    assert client.is_ended()


def test_a_connection_goes_on_where_the_rest_of_a_refused_body_comes_at_once(wire: Callable[[], Wire]) -> None:
    client = wire()
    client.ask("POST /todos/ HTTP/1.1\nHost: x\nContent-Length: 200000", b" " * 200000)
    assert client.status() == 401
    client.ask("GET /healthz HTTP/1.1\nHost: x")
    assert client.status() == 200


@pytest.mark.parametrize("path", ["/auth/token", "/users/", "/users"])
def test_a_body_that_is_read_without_a_token_has_at_most_16_kibibytes(path: str, wire: Callable[[], Wire]) -> None:
    counted, chunked = wire(), wire()
    counted.ask(f"POST {path} HTTP/1.1\nHost: x\nContent-Length: {bodies.SMALL + 1}")
    assert counted.status() == 413
    chunked.ask(f"POST {path} HTTP/1.1\nHost: x\nTransfer-Encoding: chunked", b"4001\r\n" + b" " * 0x4001)
    assert chunked.status() == 413


def test_of_too_many_bodies_under_way_the_first_begun_is_given_up(
    api: Client, wire: Callable[[], Wire], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "UNFINISHED_MAX", 1)
    head = f"POST /users/ HTTP/1.1\nHost: x\nContent-Type: {JSON}\nContent-Length: 100"
    slower = wire()
    slower.ask(head)
    assert wait_until(lambda: len(bodies._unfinished) == 1, PATIENCE)
    assert api.log_in("nobody", PASSWORD).status == 401
    assert slower.status() == 408


def test_the_largest_account_fits_into_the_smallest_limit(api: Client) -> None:
    name = new_name().ljust(50, "\N{LATIN SMALL LETTER A WITH DIAERESIS}")
    account = {"username": name, "email": f"{name[:10]}@example.com", "password": "\N{GRINNING FACE}abc" * 32}
    assert api.post("/users/", account).status == 201


def test_large_bodies_share_a_budget_that_small_ones_do_not_need(
    api: Client, ana: Account, wire: Callable[[], Wire], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routing.BUDGET, "left", MIB // 4)
    held = wire()
    held.ask(
        f"POST /todos/bulk HTTP/1.1\nHost: x\nAuthorization: Bearer {ana.token}\n"
        f"Content-Type: {JSON}\nContent-Length: 500000",
        b" " * 270_000,
    )
    assert wait_until(lambda: routing.BUDGET.left < MIB // 32, PATIENCE)
    many = [{"title": "x" * 200}] * 500
    assert api.post("/todos/bulk", many, ana.token).status == 503
    assert api.post("/todos/", {"title": "Write"}, ana.token).status == 201
    held.close()
    assert wait_until(lambda: api.post("/todos/bulk", many, ana.token).status == 200, PATIENCE)
    assert wait_until(lambda: routing.BUDGET.left == MIB // 4, PATIENCE)


def test_deep_json_is_invalid_at_once(api: Client, ana: Account) -> None:
    body = b"[" * 500_000
    assert api.request("POST", "/todos/", token=ana.token, body=body, headers={"Content-Type": JSON}).status == 422


# -- connections -------------------------------------------------------------------------------------------------


def test_a_connection_that_asks_nothing_is_closed(wire: Callable[[], Wire]) -> None:
    client = wire()
    assert client.is_ended()  # uvicorn's default is five seconds


def test_connections_beyond_the_limit_are_refused(wire: Callable[[], Wire], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_connections_max", lambda: 2)
    wire()
    wire()
    assert wire().status() == 503


def test_a_client_that_does_not_take_its_answer_is_given_up(
    long_list: str, api: Client, wire: Callable[[], Wire], deadline: Callable[[str], None]
) -> None:
    deadline("SEND_SECONDS")
    client = wire()
    for _ in range(connection.PIPELINE_MAX):
        client.ask(long_list)
    assert wait_until(lambda: client.port not in served_ports(api), PATIENCE)


def test_of_too_many_unfinished_heads_the_first_begun_is_given_up(
    api: Client, wire: Callable[[], Wire], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "UNFINISHED_MAX", 1)
    slower, slow = wire(), wire()
    slower.send(b"GET /healthz HTTP/1.1\r\n")
    assert wait_until(lambda: len(connection._unfinished) == 1, PATIENCE)
    slow.send(b"GET /healthz HTTP/1.1\r\n")
    assert slower.status() == 408
    slow.send(b"Host: x\r\n\r\n")
    assert slow.status() == 200


def test_beyond_so_many_requests_under_way_the_next_is_refused_and_may_come_again(
    api: Client, wire: Callable[[], Wire], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(middleware, "REQUESTS_MAX", 1)
    held = wire()
    held.ask(f"POST /users/ HTTP/1.1\nHost: x\nContent-Type: {JSON}\nContent-Length: 100")
    assert wait_until(lambda: len(bodies._unfinished) == 1, PATIENCE)
    refused = api.get("/healthz")
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    held.close()
    assert wait_until(lambda: api.get("/healthz").status == 200, PATIENCE)


@pytest.fixture
def long_list(api: Client, ana: Account, monkeypatch: pytest.MonkeyPatch) -> str:
    """What asks for a megabyte, of which the app's sockets take little at once."""
    original = connection.Connection.connection_made

    def with_small_buffer(self: connection.Connection, transport: asyncio.Transport) -> None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * 1024)
        original(self, transport)

    monkeypatch.setattr(connection.Connection, "connection_made", with_small_buffer)
    for _ in range(5):
        assert api.post("/todos/bulk", [{"title": "x", "description": "y" * 10_000}] * 20, ana.token).status == 200
    return f"GET /todos/ HTTP/1.1\nHost: x\nAuthorization: Bearer {ana.token}"


def test_the_slowest_client_is_given_up_where_answers_take_too_much_memory(
    long_list: str, api: Client, wire: Callable[[], Wire], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "UNSENT_MAX", MIB)
    slow, slower = wire(), wire()
    slower.ask(long_list)
    assert wait_until(lambda: slower.port in unsent_ports(), PATIENCE)
    slow.ask(long_list)
    assert wait_until(lambda: slower.port not in served_ports(api), PATIENCE)
    assert slow.status() == 200


def test_no_answer_is_made_for_a_client_that_has_not_taken_the_one_before(
    long_list: str, api: Client, wire: Callable[[], Wire], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []
    original = HttpToolsProtocol._start_asgi_task

    def noted(self: HttpToolsProtocol, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        begun.append(cycle.scope["client"][1] if cycle.scope["client"] else 0)
        original(self, cycle, app)

    monkeypatch.setattr(HttpToolsProtocol, "_start_asgi_task", noted)
    client = wire()
    client.ask(long_list)
    client.ask(long_list)
    assert wait_until(lambda: client.port in unsent_ports(), PATIENCE)
    assert api.get("/healthz").status == 200  # by then the first answer is whole
    assert begun.count(client.port) == 1
    assert client.statuses(2) == [200, 200]


def unsent_ports() -> set[int]:
    """The ports of the clients that have not taken their answers yet."""
    return {each.client[1] for each in list(connection._unsent) if each.client}


def served_ports(api: Client) -> set[int]:
    """The ports of the clients that the app has a connection to."""
    connections = psutil.Process().net_connections("tcp")
    return {each.raddr.port for each in connections if each.laddr.port == api.port and each.raddr}


IDLE, SLOW = 200, 20


def test_idle_and_slow_clients_leave_the_service_answering(api: Client, ana: Account) -> None:
    async def crowd() -> list[int]:
        idle = [await asyncio.open_connection("127.0.0.1", api.port) for _ in range(IDLE)]
        slow = [await asyncio.open_connection("127.0.0.1", api.port) for _ in range(SLOW)]
        for number, (_, writer) in enumerate(slow):
            writer.write(b"GET /healthz HTTP/1.1\r\nX: " if number % 2 else b"POST /users/ HTTP/1.1\r\nHost: x\r\n")
        statuses = [(await asyncio.to_thread(api.get, "/todos/", ana.token)).status for _ in range(20)]
        for _, writer in [*idle, *slow]:
            writer.close()
        return statuses

    assert asyncio.run(crowd()) == [200] * 20
