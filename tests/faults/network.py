"""A network between an app and its database that can be lost: a TCP proxy on loopback."""

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Proxy:
    """Hands on what comes to `port`.

    While `is_black_hole`, what is sent is taken and nothing comes back; while `is_cut`, connections are closed at once.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.is_cut = False
        self.is_black_hole = False
        self._is_over = threading.Event()
        self._ways: dict[socket.socket, socket.socket] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._is_over.set()
        self._thread.join()
        self._server.close()

    def _run(self) -> None:
        while not self._is_over.is_set():
            for ready in select.select([self._server, *self._ways], [], [], 0.05)[0]:
                if ready is self._server:
                    self._connect()
                elif ready in self._ways and not self._hand_on(ready, self._ways[ready]):
                    self._disconnect(ready)
            if self.is_cut:
                self._disconnect_all()
        self._disconnect_all()

    def _connect(self) -> None:
        near = self._server.accept()[0]
        try:
            far = socket.create_connection(("127.0.0.1", self._target), timeout=5)
        except OSError:
            near.close()
            return
        self._ways |= {near: far, far: near}

    def _hand_on(self, source: socket.socket, target: socket.socket) -> bool:
        with suppress(OSError):
            data = source.recv(65536)
            if data and not self.is_black_hole:
                target.sendall(data)
            return bool(data)
        return False

    def _disconnect(self, end: socket.socket) -> None:
        for each in (end, self._ways[end]):
            self._ways.pop(each, None)
            each.close()

    def _disconnect_all(self) -> None:
        while self._ways:
            self._disconnect(next(iter(self._ways)))


@contextmanager
def proxy_to(port: int) -> Iterator[Proxy]:
    proxy = Proxy(port)
    try:
        yield proxy
    finally:
        proxy.end()
