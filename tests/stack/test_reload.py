"""`up --reload`: a change is served, the database goes on, and nothing of the code before is left."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from fastzero_core import Stack
from fastzero_core.errors import InvalidInputError
from fastzero_core.events import Event, Notice
from fastzero_core.polling import wait_until
from tests.ports import any_free_port

from .conftest import SOON
from .own_app import answer, started_by

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("trusted_folder")]

CHANGES = 50
OF_THE_APPLICATION = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'kept'"
KEEPS_A_CONNECTION = "kept = psycopg.connect(os.environ['DATABASE_URL'], application_name='kept')\n"


class Events:
    """What was told, to find out that something was."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.told.append(event.text)


@contextmanager
def reloading(stack: Stack, application: Path) -> Iterator[None]:
    """Reload on change for one block, once the watch has begun."""
    stop = threading.Event()
    watcher = threading.Thread(target=stack.reload_on_change, args=(stop,))
    watcher.start()
    try:
        assert wait_until(lambda: is_changed(stack, application, 1), SOON, every=1)
        yield
    finally:
        stop.set()
        watcher.join()


def is_changed(stack: Stack, application: Path, version: int) -> bool:
    """Write a version, and say whether it is served: the first changes may come before the watch has begun."""
    change(application, version)
    return is_served(stack, version, 5)


def is_served(stack: Stack, version: int, seconds: float = SOON) -> bool:
    return wait_until(lambda: served_version(stack) == version, seconds)


def change(application: Path, version: int) -> None:
    path = application / "app.py"
    path.write_text(f"{path.read_text().partition('VERSION =')[0]}VERSION = {version}\n")


def served_version(stack: Stack) -> int | None:
    try:
        return int(answer(stack)["version"])
    except OSError:
        return None


def test_fifty_changes_leave_one_process_each_and_no_connection(home: Path, application: Path) -> None:
    code = (application / "app.py").read_text()
    (application / "app.py").write_text(code.replace("VERSION = 1", f"{KEEPS_A_CONNECTION}VERSION = 1"))
    stack = Stack().up(runtime="embedded", port=any_free_port())
    database = stack.status()[0].pid

    with reloading(stack, application):
        for version in range(2, CHANGES + 2):
            change(application, version)
            assert is_served(stack, version)

    assert len(started_by(stack)) == 5  # the server, and a supervisor and a process for each of the others
    with psycopg.connect(stack.database_url) as connection:
        assert connection.execute(OF_THE_APPLICATION).fetchone() == (1,)
    assert stack.status()[0].pid == database


def test_two_changes_of_the_same_second_and_size_are_served(
    home: Path, application: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    stack = Stack().up(runtime="embedded", port=any_free_port())
    file = application / "app.py"

    with reloading(stack, application):
        times = file.stat()
        for version in (2, 3):
            change(application, version)
            os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
            assert is_served(stack, version)


def test_a_mistake_is_told_once_and_the_next_change_mends_it(home: Path, application: Path) -> None:
    events = Events()
    stack = Stack(on_event=events).up(runtime="embedded", port=any_free_port())
    good = (application / "app.py").read_text()

    with reloading(stack, application):
        (application / "app.py").write_text("def app(:")
        assert wait_until(lambda: any("SyntaxError" in text for text in events.told), SOON)
        (application / "app.py").write_text(good)
        assert is_served(stack, 1)

    assert len([text for text in events.told if "web ended before it was ready" in text]) == 1


def test_a_file_that_the_application_writes_is_no_change(home: Path, application: Path) -> None:
    events = Events()
    stack = Stack(on_event=events).up(runtime="embedded", port=any_free_port())

    with reloading(stack, application):
        (application / "app.log").write_text("a line")
        (application / "upload.png").write_bytes(b"\0")
        change(application, 2)
        assert is_served(stack, 2)

    assert {text for text in events.told if text.startswith("changed: ")} == {"changed: app.py"}


def test_an_application_in_containers_is_not_reloaded(home: Path, application: Path) -> None:
    with pytest.raises(InvalidInputError, match="as local processes"):
        Stack().reloadable("docker")


def test_the_built_in_application_is_not_reloaded(home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(InvalidInputError, match="your own application"):
        Stack().reloadable("embedded")
