"""Two real servers, a primary and its standby: the app and the shell follow the one that accepts writes."""

import os
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest
from sqlalchemy import text

from fastzero_core.errors import ReadOnlyDatabaseError
from fastzero_core.polling import wait_until
from fastzero_core.postgres import database, server
from fastzero_core.postgres.account import process_options, service_user
from fastzero_core.postgres.binaries import find_binaries
from fastzero_core.postgres.cluster import initialise
from fastzero_core.postgres.programs import find_programs
from fastzero_core.postgres.url import database_url
from fastzero_core.schema import migrate
from tests.cli.shell import script
from tests.ports import any_free_port

from .client import PATIENCE
from .conftest import Client, FastzeroServe, ServeApp, get

pytestmark = pytest.mark.slow

PASSWORD = "secret"
QUICK = {"fsync": "off", "shared_buffers": "16MB", "autovacuum": "off"}
WRITERS = 4


class Node:
    """A server of a pair, on its own data directory and port."""

    def __init__(self, data: Path) -> None:
        self.data, self.port = data, any_free_port()
        self.user = service_user()

    def start(self) -> None:
        command = server.command(find_binaries(), self.data, "127.0.0.1", self.port, QUICK)
        options = process_options(self.user)
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
        assert wait_until(lambda: server.is_ready(self.data, self.process.pid), PATIENCE)

    @property
    def url(self) -> str:
        return database_url("ana", PASSWORD, "127.0.0.1", self.port, "postgres")

    def run(self, statement: str) -> object:
        with psycopg.connect(self.url, autocommit=True) as connection:
            row = connection.execute(statement.encode())
            return row.fetchone() if row.description else None

    def kill(self) -> None:
        for process in server.processes_on(self.data):
            with suppress(psutil.NoSuchProcess):  # it may end with the one before
                process.kill()
        self.process.wait()


@pytest.fixture
def pair(folder: Path) -> Iterator[tuple[Node, Node]]:
    """A primary that acknowledges only what its standby has too."""
    primary, standby = Node(folder / "primary"), Node(folder / "standby")
    initialise(primary.data, find_binaries(), primary.user, superuser="ana", password=PASSWORD)
    primary.start()
    standby.data.mkdir(0o700)
    if primary.user:
        os.chown(standby.data, primary.user.uid, primary.user.gid)
    copy = [find_binaries().program("pg_basebackup"), "-D", str(standby.data), "-d", primary.url, "-R", "-c", "fast"]
    subprocess.run(copy, check=True, **process_options(primary.user))
    standby.start()
    primary.run("ALTER SYSTEM SET synchronous_standby_names = '*'")
    primary.run("SELECT pg_reload_conf()")
    attached = "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'sync'"
    assert wait_until(lambda: primary.run(attached) == (1,), PATIENCE)
    yield primary, standby
    for each in (primary, standby):
        each.kill()


def of_both(pair: tuple[Node, Node]) -> str:
    ports = ",".join(f"127.0.0.1:{node.port}" for node in pair)
    return f"postgresql://ana:{PASSWORD}@{ports}/postgres"


def demote(primary: Node, standby: Node) -> None:
    """Make the standby the primary; the sessions with the old one stay open, and may not write any more."""
    primary.run("ALTER SYSTEM SET default_transaction_read_only = on")
    primary.run("SELECT pg_reload_conf()")
    assert wait_until(lambda: primary.run("SHOW transaction_read_only") == ("on",), PATIENCE)
    standby.run("SELECT pg_promote()")


def test_a_pool_drops_its_connections_to_a_primary_that_was_demoted(pair: tuple[Node, Node]) -> None:
    primary, standby = pair
    engine = database.create_engine(of_both(pair), pooled=True)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE written (id int)"))
    assert wait_until(lambda: standby.run("SELECT to_regclass('written')::text") == ("written",), PATIENCE)
    demote(primary, standby)
    with pytest.raises(ReadOnlyDatabaseError), engine.begin() as connection:
        connection.execute(text("INSERT INTO written VALUES (1)"))
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO written VALUES (2)"))
    engine.dispose()
    assert standby.run("SELECT array_agg(id) FROM written") == ([2],)


class Writer(threading.Thread):
    """Adds todos one after another until it is told to stop."""

    def __init__(self, api: Client, token: str, number: int, stop: threading.Event) -> None:
        super().__init__()
        self.api, self.token, self.number, self.stop = api, token, number, stop
        self.acknowledged: list[str] = []
        self.answers: Counter[int] = Counter()

    def run(self) -> None:
        count = 0
        while not self.stop.is_set():
            count += 1
            title = f"{self.number}-{count}"
            answer = self.api.post("/todos/", {"title": title}, self.token)
            self.answers[answer.status] += 1
            if answer.status == 201:
                self.acknowledged.append(title)


@pytest.mark.parametrize("how", ["killed", "demoted"])
def test_the_app_follows_the_primary_and_loses_no_acknowledged_write(
    how: str, pair: tuple[Node, Node], serve_app: ServeApp
) -> None:
    primary, standby = pair
    migrate.up(of_both(pair))
    api = serve_app(of_both(pair))
    token, stop = api.sign_up("ana").token, threading.Event()
    writers = [Writer(api, token, number, stop) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    try:
        assert wait_until(lambda: all(len(writer.acknowledged) > 20 for writer in writers), PATIENCE)
        if how == "killed":
            primary.kill()
            standby.run("SELECT pg_promote()")
        else:
            demote(primary, standby)
        before = [len(writer.acknowledged) for writer in writers]
        assert wait_until(
            lambda: all(len(each.acknowledged) > count + 20 for each, count in zip(writers, before, strict=True)),
            PATIENCE,
        )
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    acknowledged = {title for writer in writers for title in writer.acknowledged}
    with psycopg.connect(standby.url) as connection:
        found = {title for (title,) in connection.execute("SELECT title FROM todos")}
    assert acknowledged - found == set()
    assert set().union(*(writer.answers for writer in writers)) <= {201, 503}
    assert get(api.port, "/readyz").status == 200


def test_a_standby_without_its_primary_says_that_no_server_accepts_writes(pair: tuple[Node, Node]) -> None:
    primary, standby = pair
    primary.kill()
    for order in ((primary, standby), (standby, primary)):
        with pytest.raises(ReadOnlyDatabaseError, match="no server of the database accepts writes"):
            database.create_engine(of_both(order)).connect()


def test_programs_find_a_new_database_on_the_primary_if_a_standby_is_late(pair: tuple[Node, Node]) -> None:
    primary, standby = pair
    standby.run("SELECT pg_wal_replay_pause()")
    primary.run("CREATE DATABASE late")
    programs = find_programs(of_both((standby, primary)), find_binaries().major)

    programs.run("pg_dump", ["--schema-only"], "late")


def test_every_command_reads_several_hosts(pair: tuple[Node, Node]) -> None:
    primary, standby = pair
    both = ["--database-url", of_both(pair)]
    assert script("migrate", *both).code == 0
    standby.run("SELECT pg_promote()")
    primary.kill()
    added = script(
        "user", "add", "ana", "--email", "ana@example.com", "--password-stdin", *both, stdin="correct horse\n"
    )
    assert added.code == 0, added.err
    backup = script("db", "backup", "one", *both)
    assert backup.code == 0, backup.err
    shown = script("db", "shell", *both, "--", "-Atc", "SELECT username FROM users")
    assert (shown.code, shown.out) == (0, "ana\n"), shown.err
    found = script("doctor", *both, "-o", "json").out
    assert f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}" in found


def test_a_process_whose_databases_are_absent_at_its_start_waits_and_then_migrates(
    folder: Path, fastzero_serve: FastzeroServe
) -> None:
    late, never = Node(folder / "late"), any_free_port()
    url = f"postgresql://ana:{PASSWORD}@127.0.0.1:{never},127.0.0.1:{late.port}/postgres"
    served = fastzero_serve("--migrate", url=url).until_it_answers()
    assert get(served.port, "/readyz").status == 503
    initialise(late.data, find_binaries(), late.user, superuser="ana", password=PASSWORD)
    late.start()
    try:
        assert wait_until(lambda: get(served.port, "/readyz").status == 200, PATIENCE)
    finally:
        late.kill()


def test_a_migration_that_waited_and_fails_ends_the_process_with_its_error(
    folder: Path, fastzero_serve: FastzeroServe
) -> None:
    late = Node(folder / "late")
    served = fastzero_serve("--migrate", url=late.url).until_it_answers()
    initialise(late.data, find_binaries(), late.user, superuser="ana", password="another")
    late.start()
    try:
        assert served.process.wait(PATIENCE) == 5
        assert "password authentication failed" in served.log
    finally:
        late.kill()
