"""Those who write all the time: clients of the HTTP API, and a program that uses the library."""

import http.client
import json
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from fastzero_core import FastZero
from fastzero_core.errors import FastZeroError
from fastzero_core.polling import wait_until
from tests.api.client import Client

from .ledger import Ledger, Row

OWNER, PASSWORD = "ana", "correct horse"
PACE = 0.01  # seconds between two writes of a writer
AFTER_AN_ERROR = 0.05  # seconds
MAY_PASS = (6, 7)  # exit codes of errors that say: try again
CLOSED, TIMED_OUT = "closed", "timed out"
ALWAYS_EXPECTED = frozenset({"503", CLOSED, TIMED_OUT})


class Refusal(Exception):
    """A write that was not acknowledged, by the kind of answer: a status, `closed`, `timed out` or an error's name."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class Writer(ABC):
    """Writes rows one after another. An outage is over when one `of_app` has written."""

    of_app = False

    @abstractmethod
    def write(self, row: Row) -> None:
        """Write one row, and return once it is acknowledged. Raises Refusal."""


class HttpWriter(Writer):
    """A client of the app at the port that `port` names at that moment."""

    of_app = True

    def __init__(self, port: Callable[[], int]) -> None:
        self._port = port
        self._token = ""

    def write(self, row: Row) -> None:
        client = self._client()
        try:
            if not self._token:
                self._log_in(client)
            answer = client.post("/todos/", {"title": row.title, "description": row.content}, self._token)
        except TimeoutError:
            raise Refusal(TIMED_OUT) from None
        except (OSError, http.client.HTTPException):
            raise Refusal(CLOSED) from None
        if answer.status == 401:
            self._token = ""
        if answer.status != 201:
            raise Refusal(str(answer.status))

    def _client(self) -> Client:
        return Client(self._port())

    def _log_in(self, client: Client) -> None:
        answer = client.log_in(OWNER, PASSWORD)
        if answer.status != 200:
            raise Refusal(str(answer.status))
        self._token = json.loads(answer.text)["access_token"]


class LibraryWriter(Writer):
    """A program that opens a block for each row: what its end does not raise about is committed."""

    def __init__(self, url: Callable[[], str]) -> None:
        self._url = url

    def write(self, row: Row) -> None:
        try:
            with FastZero(self._url()) as fz:
                fz.todos(OWNER).add(row.title, description=row.content)
        except FastZeroError as error:
            raise Refusal("503" if error.exit_code in MAY_PASS else type(error).__name__) from None


class Load:
    """Writers at work, each in a thread of its own, and what they were told."""

    def __init__(self, ledger: Ledger, writers: list[Writer]) -> None:
        self.ledger = ledger
        self.refusals: Counter[str] = Counter()
        self.longest_outage = 0.0
        self.written_by_app = 0
        self._last = time.monotonic()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._turns = [threading.Lock() for _ in writers]
        self._threads = [
            threading.Thread(target=self._work, args=pair, daemon=True)
            for pair in zip(writers, self._turns, strict=True)
        ]
        for thread in self._threads:
            thread.start()

    def _work(self, writer: Writer, turn: threading.Lock) -> None:
        while not self._over.is_set():
            with turn:
                pause = self._try(writer)
            self._over.wait(pause)

    def _try(self, writer: Writer) -> float:
        row = self.ledger.begin()
        try:
            writer.write(row)
        except Refusal as refusal:
            with self._lock:
                self.refusals[refusal.kind] += 1
            return AFTER_AN_ERROR
        self.ledger.acknowledge(row)
        if writer.of_app:
            self._count_for_the_app()
        return PACE

    def _count_for_the_app(self) -> None:
        with self._lock:
            self.written_by_app += 1
            now = time.monotonic()
            self.longest_outage = max(self.longest_outage, now - self._last)
            self._last = now

    def begin_round(self) -> None:
        """Count refusals and outages from here on."""
        with self._lock:
            self.refusals = Counter()
            self.longest_outage = 0.0
            self._last = time.monotonic()

    def wait_for_writes(self, number: int, timeout: float) -> bool:
        """Wait until the app has acknowledged so many more writes. Returns whether it did."""
        enough = self.written_by_app + number
        return wait_until(lambda: self.written_by_app >= enough, timeout)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing is being written in this block; what was has been answered."""
        with ExitStack() as held:
            for turn in self._turns:
                held.enter_context(turn)
            yield
            with self._lock:
                self._last = time.monotonic()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
