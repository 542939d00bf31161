"""Another program that listens on the port of a stopped stack learns nothing, whatever it asks for."""

import shlex
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import psycopg
import pytest

from fastzero_core import FastZero, Stack
from fastzero_core.backup import dump
from fastzero_core.errors import WrongServerError
from fastzero_core.postgres.programs import find_programs
from fastzero_core.postgres.url import parse
from fastzero_core.stack import probe
from tests import forked

STARTUP, REFUSED = 196_608, b"N"
ASKS = {
    "nothing": struct.pack("!cII", b"R", 8, 0) + struct.pack("!cIc", b"Z", 5, b"I"),
    "a cleartext password": struct.pack("!cII", b"R", 8, 3),
    "an md5 hash": struct.pack("!cII4s", b"R", 12, 5, b"salt"),
}


class Impostor:
    """Speaks PostgreSQL's protocol far enough to ask for a password; `told` is what clients sent after that."""

    def __init__(self, port: int, asks: str) -> None:
        self._asks = ASKS[asks]
        self._listener = socket.create_server(("127.0.0.1", port))
        self.clients = 0
        self.told: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        with client, suppress(OSError, struct.error):
            while _startup(client) != STARTUP:
                client.sendall(REFUSED)  # encryption, of either kind
            self.clients += 1
            client.sendall(self._asks)
            while answer := client.recv(65_536):
                self.told.append(answer)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _startup(client: socket.socket) -> int:
    length, code = struct.unpack("!II", client.recv(8, socket.MSG_WAITALL))
    client.recv(length - 8, socket.MSG_WAITALL)
    return int(code)


@pytest.fixture(params=ASKS)
def impostor(stack: Stack, free_port: int, request: pytest.FixtureRequest) -> Iterator[Impostor]:
    server = Impostor(free_port, request.param)
    yield server
    server.close()


def list_users(stack: Stack) -> object:
    with FastZero(stack.database_url) as fz:
        return fz.users.list()


WAYS: dict[str, Callable[[Stack], object]] = {
    "the library": list_users,
    "a probe": lambda stack: probe.revision_of(stack.database_url),
    "a program": lambda stack: find_programs(stack.database_url, 18).run("pg_dump", ["--no-password"], "fastzero"),
    "a backup": lambda stack: dump.backup(stack.target, stack.project.folder / "x.dump"),
    "the superuser": lambda stack: probe.revision_of(stack.superuser_url),
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_who_connects_tells_it_nothing(stack: Stack, impostor: Impostor, way: str) -> None:
    with pytest.raises(WrongServerError):
        WAYS[way](stack)

    assert (impostor.clients > 0, impostor.told) == (True, [])


@pytest.mark.slow
@pytest.mark.parametrize("words", ["todo list -u ana", "db stats", "db shell -- -c 'SELECT 1'", "migrate status"])
def test_a_command_tells_it_nothing(stack: Stack, impostor: Impostor, words: str) -> None:
    command = [forked.SCRIPT, "-p", stack.project.name, *shlex.split(words)]
    done = forked.run(command, capture_output=True, text=True)

    assert (done.returncode, impostor.told) == (WrongServerError.exit_code, [])


@pytest.mark.slow
def test_a_program_that_goes_by_the_environment_tells_it_nothing(stack: Stack, impostor: Impostor) -> None:
    environment = stack.environment()
    asked = [str(find_programs(stack.database_url, 18).folder / "psql"), "-c", "SELECT 1"]
    done = subprocess.run(asked, env=environment, capture_output=True, text=True)

    assert "authentication method requirement" in done.stderr
    assert (impostor.clients, impostor.told) == (1, [])


def test_the_printed_url_is_one_that_any_driver_reads(stack: Stack) -> None:
    environment = stack.environment()
    assert "require_auth" not in environment["DATABASE_URL"]
    assert environment["PGREQUIREAUTH"] == parse(stack.database_url)["require_auth"] == "scram-sha-256"


@pytest.mark.slow
def test_without_the_requirement_the_password_would_be_told(stack: Stack, free_port: int) -> None:
    """This test's server is one that a client without the requirement falls for."""
    server = Impostor(free_port, "a cleartext password")
    plain = stack.environment()["DATABASE_URL"]
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(plain, connect_timeout=2)
    server.close()
    assert stack.project.secret("database_password").encode() in server.told[0]
