"""Commands in a container, whose words all arrive however they are cut into packets."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from fastzero_core.errors import CommandNotFoundError
from fastzero_core.stack.docker.runtime import DockerRuntime

from .conftest import Contained, Proxy, engine_socket

pytestmark = pytest.mark.docker


class Collector(Proxy):
    """Hands the answer to a command on when it is whole, as one packet, as a loaded machine may."""

    def __init__(self, path: Path, target: str) -> None:
        self._collected: set[socket.socket] = set()
        super().__init__(path, target)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        answer = bytearray()
        with suppress(OSError):
            while data := source.recv(65536):
                if b"/exec/" in data and b"/start " in data.partition(b"\r\n")[0]:
                    self._collected.add(sink)
                if source in self._collected:
                    answer += data
                else:
                    sink.sendall(data)
        with suppress(OSError):
            sink.sendall(answer)
            sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def runtime(served: Contained, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DockerRuntime]:
    proxy = Collector(folder / "docker.sock", engine_socket())
    monkeypatch.setenv("DOCKER_HOST", f"unix://{folder / 'docker.sock'}")
    yield DockerRuntime(served.stack().project)
    proxy.cut()


def test_words_that_come_with_the_head_of_the_answer_are_printed(
    runtime: DockerRuntime, capfd: pytest.CaptureFixture[str]
) -> None:
    code = runtime.execute_in("app", ["sh", "-c", "echo out; echo err >&2; exit 3"], interactive=False)
    assert (code, capfd.readouterr()) == (3, ("out\n", "err\n"))


def test_words_that_come_with_the_head_of_the_answer_are_handed_on(runtime: DockerRuntime) -> None:
    got = bytearray()
    assert runtime.pipe("app", ["sh", "-c", "echo out; echo err >&2; exit 3"], write=got.extend) == (3, "err\n")
    assert got == b"out\n"


def test_a_long_output_in_one_packet_is_whole(runtime: DockerRuntime) -> None:
    got = bytearray()
    assert runtime.pipe("app", ["python", "-c", "print('x' * 1_000_000, end='')"], write=got.extend) == (0, "")
    assert got == b"x" * 1_000_000


def test_a_command_that_never_started_is_an_error_and_prints_nothing(
    runtime: DockerRuntime, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CommandNotFoundError):
        runtime.execute_in("app", ["nonsense"], interactive=False)
    assert capfd.readouterr() == ("", "")
