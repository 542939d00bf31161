"""The folder of backups: several commands at once, and whatever else may lie in it."""

import os
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fastzero_core import errors
from fastzero_core.backup import dump, repository, restore
from fastzero_core.backup.manifest import check_archive, manifest_path, read_manifest
from fastzero_core.backup.target import Target

from .backup import databases, target
from .test_files import make_special

__all__ = ["databases", "target"]
Python = Callable[..., "subprocess.Popen[str]"]
SPECIAL = ["directory", "FIFO", "socket", "device"]


@pytest.fixture
def archive(target: Target) -> Path:
    dump.backup(target, target.folder / "one.dump")
    return target.folder / "one.dump"


# -- several at once -------------------------------------------------------------------------------------------


def test_of_two_backups_under_one_name_at_once_one_is_refused(target: Target) -> None:
    begin = threading.Barrier(3)
    results: list[object] = []

    def take() -> None:
        begin.wait()
        try:
            results.append(dump.take(target, name="one"))
        except errors.ConflictError as error:
            results.append(error)

    threads = [threading.Thread(target=take) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(type(result).__name__ for result in results) == ["Backup", "ConflictError", "ConflictError"]
    check_archive(target.folder / "one.dump")
    assert {path.name for path in target.folder.iterdir()} == {"one.dump", "one.dump.manifest.json"}


TAKE = """
import sys
from pathlib import Path
from fastzero_core.backup import dump
from fastzero_core.backup.target import Target
target = Target.of_url(sys.argv[1], Path(sys.argv[2]))
print(dump.take(target).file)
"""


def test_backups_of_one_second_get_names_of_their_own(target: Target, python: Python) -> None:
    processes = [python(TAKE, target.url, str(target.folder)) for _ in range(3)]
    printed = [process.communicate()[0].strip() for process in processes]
    assert len(set(printed)) == 3
    assert sorted(each.file for each in repository.backups(target.folder)) == sorted(printed)
    for path in printed:
        check_archive(Path(path))


def test_a_name_that_is_taken_at_that_second_is_counted_on(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository, "new_paths", lambda *_: [target.folder / name for name in ("a.dump", "a-2.dump")])
    assert [dump.take(target).name for _ in range(2)] == ["a", "a-2"]
    with pytest.raises(errors.ConflictError):
        dump.take(target)


def test_a_prune_in_the_last_moment_of_a_backup_leaves_its_manifest(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, fsync = target.folder / "one.dump", os.fsync
    pruned: list[list[repository.Backup]] = []

    def prune_first(descriptor: int) -> None:
        if manifest_path(path).exists() and not pruned:
            pruned.append(repository.prune(target.folder, 0))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", prune_first)
    dump.backup(target, path)
    assert pruned == [[]]
    check_archive(path)


def test_a_manifest_without_a_backup_is_pruned(target: Target, archive: Path) -> None:
    archive.unlink()
    assert repository.prune(target.folder, 5) == []
    assert list(target.folder.iterdir()) == []


# -- what else may lie there -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_not_a_regular_file_is_listed_with_its_problem_and_never_pruned(
    kind: str, target: Target, archive: Path
) -> None:
    special = make_special(kind, target.folder / "special.dump")
    problem, one = repository.backups(target.folder)
    assert (problem.name, "is not a regular file" in problem.problem, one.name) == ("special", True, "one")
    assert [each.name for each in repository.prune(target.folder, 0)] == ["one"]
    assert os.path.lexists(special)


@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_not_a_regular_file_is_no_manifest(kind: str, target: Target, archive: Path) -> None:
    manifest_path(archive).unlink()
    make_special(kind, manifest_path(archive))
    (listed,) = repository.backups(target.folder)
    assert "cannot read the manifest" in listed.problem
    assert repository.prune(target.folder, 0) == []


@pytest.mark.parametrize("to", ["nowhere", "link.dump"])
def test_a_link_to_nothing_is_no_backup(to: str, target: Target, archive: Path) -> None:
    (target.folder / "link.dump").symlink_to(to)
    assert [each.name for each in repository.backups(target.folder)] == ["one"]
    assert [each.name for each in repository.prune(target.folder, 0)] == ["one"]
    with pytest.raises(errors.BackupNotFoundError):
        repository.find(target.folder, "link")


def test_a_directory_called_like_a_manifest_does_not_stop_a_prune(target: Target, archive: Path) -> None:
    (target.folder / "other.dump.manifest.json").mkdir()
    assert [each.name for each in repository.prune(target.folder, 0)] == ["one"]


@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_not_a_regular_file_cannot_be_restored(kind: str, target: Target, folder: Path) -> None:
    special = make_special(kind, folder / "special")
    for operation in (restore.verify, restore.restore):
        with pytest.raises(errors.InvalidInputError, match="is not a regular file"):
            operation(target, special)
    with pytest.raises(errors.InvalidInputError, match="is not a regular file"):
        repository.find(target.folder, str(special))


def test_a_backup_is_found_by_its_name_beside_a_directory_of_that_name(target: Target, archive: Path) -> None:
    Path("one").mkdir()
    assert repository.find(target.folder, "one") == archive


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_a_name_that_no_file_can_have_is_invalid_input(name: str, target: Target) -> None:
    for operation in (repository.find, lambda folder, name: repository.new_path(folder, "fastzero", name)):
        with pytest.raises(errors.InvalidInputError):
            operation(target.folder, name)
    with pytest.raises(errors.InvalidInputError):
        dump.backup(target, target.folder / name)


def test_a_database_of_a_long_name_has_names_for_its_backups(folder: Path) -> None:
    assert len(repository.new_path(folder, "x" * 300).name) < 100


# -- of several databases --------------------------------------------------------------------------------------


def test_prune_counts_the_backups_of_one_database_alone(target: Target, archive: Path) -> None:
    other = target.folder / "other.dump"
    other.write_bytes(archive.read_bytes())
    foreign = replace(read_manifest(archive), database="other")
    manifest_path(other).write_text(foreign.as_text(), encoding="utf-8")
    assert repository.surplus(target.folder, 1, target.database) == []
    assert [each.name for each in repository.prune(target.folder, 0, target.database)] == ["one"]
    assert [each.name for each in repository.backups(target.folder)] == ["other"]
