"""`fastzero serve`: how it starts, how it ends, and what it says when it cannot."""

import http.client
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest

from fastzero_core.polling import wait_until
from fastzero_core.postgres.url import as_role
from fastzero_core.schema import migrate
from tests import forked
from tests.ports import any_free_port

from .client import PATIENCE
from .conftest import Answer, FastzeroServe, answers, get, is_waiting

pytestmark = pytest.mark.slow

BUSY = 8  # seconds: more than uvicorn's own patience with a worker
AT_MOST = 5  # seconds between the signal and the end
NOBODY = "postgresql://nobody:a-secret@127.0.0.1:1/nothing"


class Asking(threading.Thread):
    """A request that is under way while the test does something else."""

    def __init__(self, port: int, path: str) -> None:
        super().__init__()
        self._port, self._path = port, path
        self._answer: Answer | None = None

    def run(self) -> None:
        self._answer = get(self._port, self._path)

    def answer(self) -> Answer:
        self.join()
        assert self._answer is not None, "the request failed"
        return self._answer


@contextmanager
def ends_in_time() -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < AT_MOST


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0(
    number: signal.Signals, workers: str, fastzero_serve: FastzeroServe, database_url: str
) -> None:
    served = fastzero_serve("--workers", workers, url=database_url).until_it_answers()
    with ends_in_time():
        served.process.send_signal(number)
        assert served.process.wait(AT_MOST) == 0
    assert "Traceback" not in served.log


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_which_reaches_the_whole_group_ends_it_with_0(
    workers: str, fastzero_serve: FastzeroServe, database_url: str
) -> None:
    served = fastzero_serve("--workers", workers, url=database_url).until_it_answers()
    with ends_in_time():
        os.killpg(served.process.pid, signal.SIGINT)
        assert served.process.wait(AT_MOST) == 0
    assert "Traceback" not in served.log


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_request_in_flight_is_answered_before_it_ends(
    workers: str, fastzero_serve: FastzeroServe, database_url: str, schema_lock: psycopg.Connection
) -> None:
    served = fastzero_serve("--workers", workers, url=database_url).until_it_answers()
    asking = Asking(served.port, "/readyz")
    asking.start()
    assert wait_until(lambda: is_waiting(schema_lock), PATIENCE)
    with ends_in_time():
        served.process.send_signal(signal.SIGTERM)
        assert wait_until(lambda: "Shutting down" in served.log, PATIENCE)
        schema_lock.rollback()
        assert asking.answer().status == 200
        assert served.process.wait(AT_MOST) == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_request_that_does_not_end_holds_it_up_no_longer_than_five_seconds(
    workers: str, fastzero_serve: FastzeroServe, database_url: str
) -> None:
    served = fastzero_serve("--workers", workers, url=database_url).until_it_answers()
    connection = http.client.HTTPConnection("127.0.0.1", served.port)
    connection.putrequest("POST", "/healthz")
    connection.putheader("Content-Length", "1000000")
    connection.endheaders(b"never all of it")
    assert answers(served.port)
    with ends_in_time():
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(AT_MOST) == 0
    connection.close()


def test_a_request_that_is_cut_off_may_be_tried_again(fastzero_serve: FastzeroServe, database_url: str) -> None:
    served = fastzero_serve(url=database_url).until_it_answers()
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=PATIENCE)
    connection.putrequest("POST", "/users/")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", "1000")
    connection.endheaders(b"{")
    assert answers(served.port)
    served.process.send_signal(signal.SIGTERM)
    response = connection.getresponse()
    assert (response.status, response.getheader("Retry-After")) == (503, "1")
    connection.close()


def test_a_worker_that_is_too_busy_to_answer_for_a_while_is_not_replaced(
    fastzero_serve: FastzeroServe, database_url: str
) -> None:
    served = fastzero_serve("--workers", "2", url=database_url).until_it_answers()
    assert wait_until(lambda: len(served.workers()) == 2, PATIENCE)
    busy, _ = served.workers()
    busy.suspend()
    gone, _ = psutil.wait_procs([busy], timeout=BUSY)
    assert gone == []
    busy.resume()


def test_workers_do_not_outlive_a_parent_that_is_killed(fastzero_serve: FastzeroServe, database_url: str) -> None:
    served = fastzero_serve("--workers", "2", url=database_url).until_it_answers()
    assert wait_until(lambda: len(served.workers()) == 2, PATIENCE)
    workers = served.workers()
    served.process.kill()
    served.process.wait()
    assert psutil.wait_procs(workers, timeout=PATIENCE)[1] == []
    assert not answers(served.port)


def test_a_worker_that_is_killed_is_replaced(fastzero_serve: FastzeroServe, database_url: str) -> None:
    served = fastzero_serve("--workers", "2", url=database_url).until_it_answers()
    assert wait_until(lambda: len(served.workers()) == 2, PATIENCE)
    killed, _ = served.workers()
    killed.kill()
    assert wait_until(lambda: len(served.workers()) == 2 and killed not in served.workers(), PATIENCE)
    assert answers(served.port)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_in_use_is_an_error_that_names_who_has_it(
    workers: str, fastzero_serve: FastzeroServe, database_url: str
) -> None:
    first = fastzero_serve(url=database_url).until_it_answers()
    second = fastzero_serve("--workers", workers, url=database_url, port=first.port)
    assert second.process.wait(PATIENCE) == 6
    assert f"(pid {first.process.pid})" in second.log
    assert f"fastzero serve --port {first.port + 1}" in second.log
    assert "Traceback" not in second.log


def test_an_address_that_is_none_is_invalid_input(fastzero_serve: FastzeroServe, database_url: str) -> None:
    served = fastzero_serve("--host", "nowhere.invalid", url=database_url)
    assert served.process.wait(PATIENCE) == 2
    assert "cannot listen on 'nowhere.invalid': unknown host" in served.log


def test_an_address_of_another_machine_is_an_error(fastzero_serve: FastzeroServe, database_url: str) -> None:
    served = fastzero_serve("--host", "192.0.2.1", url=database_url)
    assert served.process.wait(PATIENCE) == 6
    assert "cannot listen on 192.0.2.1" in served.log


@pytest.mark.parametrize("workers", ["1", "2"])
def test_without_a_database_to_serve_it_is_the_usual_error(workers: str) -> None:
    command = [sys.executable, "-m", "fastzero_cli", "serve", "--workers", workers, "--port", str(any_free_port())]
    run = forked.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert run.returncode == 3
    assert run.stderr.startswith("Error: project fastzero has no stack yet")


def test_a_url_that_is_none_is_the_usual_error(fastzero_serve: FastzeroServe) -> None:
    served = fastzero_serve("--workers", "2", url="mysql://somewhere")
    assert served.process.wait(PATIENCE) == 2
    assert "fastzero needs PostgreSQL" in served.log


def test_it_serves_while_the_database_is_away(fastzero_serve: FastzeroServe) -> None:
    served = fastzero_serve(url=NOBODY).until_it_answers()
    assert get(served.port, "/readyz").status == 503


def test_migrate_brings_the_schema_to_head_first(fastzero_serve: FastzeroServe, empty_database_url: str) -> None:
    served = fastzero_serve("--migrate", url=empty_database_url).until_it_answers()
    assert get(served.port, "/readyz").status == 200
    assert migrate.status(empty_database_url).pending == []


def test_a_migration_that_is_refused_is_an_error_before_anything_is_served(
    fastzero_serve: FastzeroServe, empty_database_url: str
) -> None:
    served = fastzero_serve("--migrate", url=as_role(empty_database_url, "nobody", "a-secret"))
    assert served.process.wait(PATIENCE) == 5
    assert "Traceback" not in served.log


def test_several_that_migrate_at_once_all_serve(fastzero_serve: FastzeroServe, empty_database_url: str) -> None:
    several = [fastzero_serve("--migrate", url=empty_database_url) for _ in range(3)]
    assert [get(each.until_it_answers().port, "/readyz").status for each in several] == [200, 200, 200]


def test_its_log_lines_have_the_time_in_utc(
    fastzero_serve: FastzeroServe, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "America/Sao_Paulo")
    before = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    log = fastzero_serve(url=database_url).until_it_answers().log
    times = re.findall(r"^(\d{4}-\d\d-\d\d \d\d:\d\d):\d\d\.\d{3} UTC INFO ", log, re.MULTILINE)
    assert len(times) == len(log.splitlines())
    assert times[0] in (before, time.strftime("%Y-%m-%d %H:%M", time.gmtime()))


def test_a_url_from_a_flag_reaches_every_worker(folder: Path, fastzero_serve: FastzeroServe, database_url: str) -> None:
    served = fastzero_serve("--workers", "2", "--database-url", database_url, url=NOBODY).until_it_answers()
    assert [get(served.port, "/readyz").status for _ in range(10)] == [200] * 10


@pytest.mark.usefixtures("started_anew", "trusted_folder")
def test_a_password_in_a_file_is_in_no_worker_s_environment(
    folder: Path, fastzero_serve: FastzeroServe, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "fastzero.toml").write_text(f"DATABASE_URL = {NOBODY!r}\n")
    monkeypatch.chdir(folder)
    served = fastzero_serve("--workers", "2", url="").until_it_answers()
    assert wait_until(lambda: len(served.workers()) == 2, PATIENCE)
    for process in (psutil.Process(served.process.pid), *served.workers()):
        assert "a-secret" not in f"{process.environ()} {process.cmdline()}"
