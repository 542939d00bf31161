"""A restore under an app that serves: it goes on without a restart, and what it acknowledges afterwards stays."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from fastzero_core.backup import dump, restore
from fastzero_core.backup.target import Target
from fastzero_core.polling import wait_until

from .client import PATIENCE, Account, Client
from .conftest import FastzeroServe

pytestmark = pytest.mark.slow

CLIENTS = 10


@pytest.fixture
def target(database_url: str, folder: Path) -> Iterator[Target]:
    target = Target.of_url(database_url, folder / "backups")
    yield target
    restore.drop_kept(target)


class Writers:
    """Clients that add todos as fast as they are answered, and remember what was acknowledged."""

    def __init__(self, client: Client, account: Account) -> None:
        self.statuses: Counter[int] = Counter()
        self.acknowledged: list[tuple[float, str]] = []
        self._client, self._account = client, account
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in range(CLIENTS)]

    def __enter__(self) -> "Writers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, more: int) -> None:
        """Until so many more writes are acknowledged."""
        count = len(self.acknowledged)
        assert wait_until(lambda: len(self.acknowledged) >= count + more, PATIENCE), self.statuses

    def _write(self, client: int) -> None:
        number = 0
        while not self._over.is_set():
            number += 1
            title, sent = f"client {client}, todo {number}", time.monotonic()
            body = {"title": title, "description": "", "state": "todo"}
            status = self._client.post("/todos/", body, self._account.token).status
            self.statuses[status] += 1
            if status in (200, 201):
                self.acknowledged.append((sent, title))


def test_an_app_serves_on_through_a_restore(target: Target, fastzero_serve: FastzeroServe) -> None:
    app = fastzero_serve(url=target.url).until_it_answers()
    client = Client(app.port)
    account = client.sign_up()
    archive = target.folder / "one.dump"
    dump.backup(target, archive)

    with Writers(client, account) as writers:
        writers.wait_for(50)
        restore.restore(target, archive)
        swapped = time.monotonic()
        writers.wait_for(200)

    with psycopg.connect(target.url) as session:
        there = {title for (title,) in session.execute("SELECT title FROM todos")}
    after = [title for sent, title in writers.acknowledged if sent > swapped]
    assert len(after) >= 100
    assert [title for title in after if title not in there] == []
    assert set(writers.statuses) <= {200, 201, 503}
    assert writers.statuses[503] <= 5 * CLIENTS
    assert app.process.poll() is None
