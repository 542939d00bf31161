"""Clients that a server wishes it did not have: slow ones, idle ones, and many that log in at once."""

import http.client
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from random import Random

from tests.api.client import Client

from .writers import CLOSED, PASSWORD

SLOW_HEAD = b"POST /users/ HTTP/1.1\r\nHost: app\r\nX-Slow: "
SLOW_BODY = b"POST /users/ HTTP/1.1\r\nHost: app\r\nContent-Type: application/json\r\nContent-Length: 4000\r\n\r\n{"
DRIP = 0.5  # seconds between two bytes
AT_ONCE = 16  # logins


@contextmanager
def slow_clients(port: int, *, heads: int, bodies: int, idle: int) -> Iterator[None]:
    """Clients that send a head or a body byte by byte, or nothing at all, for as long as the block lasts."""
    beginnings = [SLOW_HEAD] * heads + [SLOW_BODY] * bodies + [b""] * idle
    clients = [opened for beginning in beginnings if (opened := _open(port, beginning))]
    slow = clients[: heads + bodies]
    over = threading.Event()
    dripping = threading.Thread(target=_drip, args=(slow, over))
    dripping.start()
    try:
        yield
    finally:
        over.set()
        dripping.join()
        for client in clients:
            client.close()


def _open(port: int, beginning: bytes) -> socket.socket | None:
    with suppress(OSError):
        client = socket.create_connection(("127.0.0.1", port), timeout=5)
        client.sendall(beginning)
        return client
    return None


def _drip(clients: list[socket.socket], over: threading.Event) -> None:
    while not over.wait(DRIP):
        for client in clients:
            with suppress(OSError):
                client.sendall(b"a")


def login_storm(port: int, username: str, number: int, chance: Random) -> Counter[str]:
    """Log in so many times, with right and wrong passwords and names. Returns how often which status came."""
    names = [username, username, "nobody"]
    attempts = [(chance.choice(names), chance.choice([PASSWORD, "wrong horse"])) for _ in range(number)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return Counter(pool.map(lambda attempt: _log_in(port, *attempt), attempts))


def _log_in(port: int, username: str, password: str) -> str:
    try:
        return str(Client(port).log_in(username, password).status)
    except (OSError, http.client.HTTPException):
        return CLOSED
