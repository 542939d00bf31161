"""Data on the way to another version or runtime: at every moment one place is the project's, with every row in it."""

import json
import signal
import threading
import time
from pathlib import Path

import psycopg
import pytest

from fastzero_core import FastZero, Stack, load_settings
from fastzero_core.errors import (
    ConflictError,
    FastZeroError,
    ImageError,
    InvalidInputError,
    UnavailableError,
    VersionMismatchError,
)
from fastzero_core.stack import relocation
from fastzero_core.stack.process import wait_until
from fastzero_core.stack.spec import image_of_major

from .conftest import Contained, RunPython, add_user, users_of

MANY = "INSERT INTO todos (user_id, title) SELECT id, md5(n::text) FROM users, generate_series(1, 5000) n"
MOVE = "from fastzero_core import Stack; print('begun', flush=True); Stack().{}; print('done', flush=True)"
MOMENTS = 10


@pytest.fixture
def old(contained: Contained) -> Contained:
    """A project of PostgreSQL 17 with a user and many todos."""
    _fill(contained.stack(postgres_image="postgres:17").up())
    return contained


def _fill(stack: Stack) -> None:
    add_user(stack)
    with psycopg.connect(stack.database_url) as session:
        session.execute(MANY)


def _todos_of(stack: Stack) -> int:
    with psycopg.connect(stack.database_url) as session:
        row = session.execute("SELECT count(*) FROM todos").fetchone()
        return int(row[0]) if row else 0


def _version_of(stack: Stack) -> int:
    with psycopg.connect(stack.database_url) as session:
        return session.info.server_version // 10_000


@pytest.mark.parametrize(
    ("image", "major", "wanted"),
    [
        ("postgres:17", 18, "postgres:18"),
        ("postgres:17.2", 18, "postgres:18"),
        ("postgres:17-alpine", 18, "postgres:18-alpine"),
        ("postgres:17.2-bookworm", 19, "postgres:19-bookworm"),
        ("registry:5000/postgres:17", 18, "registry:5000/postgres:18"),
        ("postgres:17@sha256:0123", 18, "postgres:18"),
    ],
)
def test_the_image_of_another_version_is_of_the_same_kind(image: str, major: int, wanted: str) -> None:
    assert image_of_major(image, major) == wanted


# -- to another version ----------------------------------------------------------------------------------------


@pytest.mark.docker
@pytest.mark.slow
def test_an_upgrade_and_its_way_back_and_again(old: Contained) -> None:
    stack = old.stack(postgres_image="postgres:17")
    moved = stack.upgrade(18)
    assert (_version_of(stack), users_of(stack), _todos_of(stack)) == (18, ["ana"], 5000)
    assert moved.kept == old.name("database")
    add_user(stack, "bob")

    stack.go_back()
    assert (_version_of(stack), users_of(stack)) == (17, ["ana"])

    stack.upgrade(18)
    assert (_version_of(stack), users_of(stack)) == (18, ["ana"])
    assert stack.up().running() == {"database"}
    assert old.services() == {"database"}


@pytest.mark.docker
def test_an_upgraded_project_keeps_its_version_whatever_the_settings_name(old: Contained) -> None:
    old.stack(postgres_image="postgres:17").upgrade(18)
    for image in ("postgres:17", "postgres:18"):
        stack = old.stack(postgres_image=image)
        stack.down()
        assert _version_of(stack.up()) == 18


@pytest.mark.docker
def test_a_stopped_project_is_upgraded_and_stays_stopped(old: Contained) -> None:
    stack = old.stack(postgres_image="postgres:17")
    stack.down()
    stack.upgrade(18)
    assert old.services() == set()
    assert users_of(stack.up()) == ["ana"]


@pytest.mark.docker
@pytest.mark.parametrize("major", [16, 17])
def test_only_a_newer_version_is_an_upgrade(major: int, old: Contained) -> None:
    with pytest.raises(InvalidInputError, match="not newer"):
        old.stack(postgres_image="postgres:17").upgrade(major)


@pytest.mark.docker
def test_an_image_that_is_not_here_is_not_pulled(old: Contained) -> None:
    stack = old.stack(postgres_image="postgres:17")
    with pytest.raises(ImageError, match="postgres:30 is not here") as missing:
        stack.upgrade(30)
    assert "docker pull postgres:30" in missing.value.hint
    assert (users_of(stack), len(old.volumes())) == (["ana"], 1)


@pytest.mark.docker
def test_what_is_destroyed_is_all_of_it(old: Contained) -> None:
    stack = old.stack(postgres_image="postgres:17")
    stack.upgrade(18)
    assert len(old.volumes()) == 2
    stack.down(volumes=True)
    assert old.volumes() == []
    assert not old.has_network()


@pytest.mark.docker
@pytest.mark.slow
def test_no_acknowledged_write_is_lost_on_the_way(old: Contained) -> None:
    stack = old.stack(postgres_image="postgres:17")
    over, acknowledged, refused = threading.Event(), [], []

    def write() -> None:
        while not over.is_set():
            try:
                with FastZero(stack.database_url) as fz:
                    acknowledged.append(fz.todos("ana").add("while it moves").id)
            except FastZeroError as error:
                refused.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        stack.upgrade(18)
        count = len(acknowledged)
        assert wait_until(lambda: len(acknowledged) > count, 10)
    finally:
        over.set()
        writer.join()
    with psycopg.connect(stack.database_url) as session:
        there = {id for (id,) in session.execute("SELECT id FROM todos")}
    assert set(acknowledged) <= there
    assert {type(error).__base__ for error in refused} <= {UnavailableError}


# -- to another runtime ----------------------------------------------------------------------------------------


@pytest.mark.docker
@pytest.mark.slow
def test_embedded_to_docker_and_back(contained: Contained) -> None:
    _fill(contained.stack(runtime="embedded").up())
    settings = {"runtime": None}
    moved = contained.stack(**settings).move("docker")
    stack = contained.stack(**settings)
    assert (moved.runtime, contained.services(), users_of(stack)) == ("docker", {"database"}, ["ana"])
    add_user(stack, "bob")

    stack.move("embedded")
    back = contained.stack(**settings)
    assert (contained.services(), users_of(back), _todos_of(back)) == (set(), ["ana", "bob"], 5000)
    assert back.up().running() == {"database"}
    with FastZero(back.database_url) as fz:
        assert fz.todos("ana").add("goes on").id == 5001
    back.down(volumes=True)
    assert contained.volumes() == []


def test_a_runtime_that_it_has_is_none_to_move_to(running: Stack) -> None:
    with pytest.raises(InvalidInputError, match="runs embedded already"):
        running.move("embedded")
    with pytest.raises(InvalidInputError, match="not one of"):
        running.move("swarm")


def test_an_embedded_project_has_the_version_that_is_installed(running: Stack) -> None:
    with pytest.raises(InvalidInputError, match="is the one that is installed"):
        running.upgrade(19)


def test_who_has_not_moved_cannot_go_back(running: Stack) -> None:
    with pytest.raises(InvalidInputError, match="has not moved"):
        running.go_back()


@pytest.mark.docker
def test_data_does_not_move_to_an_older_version(contained: Contained) -> None:
    _fill(contained.stack(runtime="embedded").up())
    stack = contained.stack(runtime=None, postgres_image="postgres:17")
    with pytest.raises(VersionMismatchError):
        stack.move("docker")
    assert (users_of(stack), contained.services(), contained.volumes()) == (["ana"], set(), [])
    stack.down(volumes=True)


# -- killed on the way -----------------------------------------------------------------------------------------


def _kill_at_moments(run_python: RunPython, contained: Contained, operation: str, **environment: str) -> list[Path]:
    """Begin an operation again and again, end it by kill -9, each time later; between them `up`, and look."""
    code = MOVE.format(operation)
    seen = []
    for moment in range(MOMENTS):
        process = run_python(code, env=contained.environment(**environment))
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(0.35 * moment)  # the moment is what is tried, not a condition
        process.send_signal(signal.SIGKILL)
        process.wait()
        run_python("from fastzero_core import Stack; Stack().up()", env=contained.environment(**environment)).wait()
        stack = Stack(load_settings(project=contained.project, home=contained.home, app=False))
        assert (users_of(stack), _todos_of(stack)) == (["ana"], 5000)
        assert not (stack.project.folder / "next").exists()
        seen.append(Path(stack.project.folder))
    return seen


@pytest.mark.docker
@pytest.mark.slow
def test_kill_9_of_an_upgrade_at_any_moment_loses_nothing(old: Contained, run_python: RunPython) -> None:
    _kill_at_moments(run_python, old, "upgrade(18)", postgres_image="postgres:17")
    stack = old.stack(postgres_image="postgres:17")
    if _version_of(stack) == 17:
        stack.upgrade(18)
    assert (_version_of(stack), _todos_of(stack)) == (18, 5000)
    assert old.services() == {"database"}


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.parametrize("there", ["docker", "embedded"])
def test_kill_9_of_a_move_at_any_moment_loses_nothing(there: str, contained: Contained, run_python: RunPython) -> None:
    here = "embedded" if there == "docker" else "docker"
    _fill(contained.stack(runtime=here).up())
    _kill_at_moments(run_python, contained, f"move({there!r})", runtime="")
    stack = contained.stack(runtime=None)
    record = json.loads((stack.project.folder / "project.json").read_text())
    if record["runtime"] == here:
        stack.move(there)
    assert (contained.services(), _todos_of(stack)) == ({"database"} if there == "docker" else set(), 5000)
    stack.down(volumes=True)


@pytest.mark.docker
def test_a_move_that_fails_leaves_all_as_it_was(contained: Contained, monkeypatch: pytest.MonkeyPatch) -> None:
    _fill(contained.stack(runtime="embedded").up())
    stack = contained.stack(runtime=None)
    monkeypatch.setattr(relocation, "_wait", _fail)
    with pytest.raises(ConflictError):
        stack.move("docker")
    assert (users_of(stack), contained.services(), contained.volumes()) == (["ana"], set(), [])
    assert not (stack.project.folder / "next").exists()
    stack.down(volumes=True)


def _fail(*_: object) -> None:
    raise ConflictError("it failed")
