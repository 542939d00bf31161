"""Files: whole or not there, one winner for a name, and errors that say what to do."""

import errno
import os
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from fastzero_core import errors
from fastzero_core.files import claim, make_folder, new_file, read_chunks, read_text, status, write_atomically

Python = Callable[..., "subprocess.Popen[str]"]

needs_ordinary_rights = pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")


@pytest.fixture(params=["directory", "FIFO", "socket", "device"])
def special(request: pytest.FixtureRequest, folder: Path) -> Path:
    """Something that is not a regular file."""
    path = folder / "special"
    return make_special(request.param, path)


def make_special(kind: str, path: Path) -> Path:
    if kind == "directory":
        path.mkdir()
    elif kind == "FIFO":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.relpath(path))
    else:
        path.symlink_to("/dev/zero")
    return path


# -- a new file ------------------------------------------------------------------------------------------------


def test_a_new_file_has_its_name_when_it_is_whole(folder: Path) -> None:
    with new_file(folder / "one") as file:
        file.write(b"half")
        assert not (folder / "one").exists()
    assert (folder / "one").read_bytes() == b"half"
    assert list(folder.iterdir()) == [folder / "one"]
    assert (folder / "one").stat().st_nlink == 1


def test_a_new_file_never_replaces_one_that_came_meanwhile(folder: Path) -> None:
    with pytest.raises(errors.ConflictError), new_file(folder / "one"):
        (folder / "one").write_text("theirs")
    assert (folder / "one").read_text() == "theirs"
    assert list(folder.iterdir()) == [folder / "one"]


def test_a_name_that_is_being_written_is_taken(folder: Path) -> None:
    with new_file(folder / "one") as file:
        with pytest.raises(errors.ConflictError, match="another command is writing"), new_file(folder / "one"):
            pass
        file.write(b"first")
    assert (folder / "one").read_bytes() == b"first"


def test_a_dangling_link_is_not_replaced(folder: Path) -> None:
    (folder / "one").symlink_to("nowhere")
    with pytest.raises(errors.ConflictError), new_file(folder / "one"):
        pass


def test_of_many_writers_at_once_one_wins(folder: Path) -> None:
    begin, won = threading.Barrier(8), []

    def write(number: int) -> None:
        begin.wait()
        try:
            with new_file(folder / "one") as file:
                file.write(str(number).encode())
            won.append(number)
        except errors.ConflictError:
            pass

    for _ in range(20):
        won.clear()
        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [str(number) for number in won] == [(folder / "one").read_text()]
        (folder / "one").unlink()


def test_a_name_that_a_killed_writer_claimed_is_free_again(folder: Path, python: Python) -> None:
    code = (
        "import os, sys; from pathlib import Path; from fastzero_core.files import new_file\n"
        "with new_file(Path(sys.argv[1])) as file: file.write(b'half'); file.flush(); os.kill(os.getpid(), 9)"
    )
    python(code, str(folder / "one")).wait()
    assert len(list(folder.iterdir())) == 1
    with new_file(folder / "one") as file:
        file.write(b"whole")
    assert (folder / "one").read_bytes() == b"whole"
    assert list(folder.iterdir()) == [folder / "one"]


def test_a_file_system_without_hard_links_has_new_files_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with new_file(folder / "one") as file:
        file.write(b"whole")
    assert (folder / "one").read_bytes() == b"whole"
    assert list(folder.iterdir()) == [folder / "one"]


def test_a_claim_keeps_a_name_free_and_leaves_nothing(folder: Path) -> None:
    with claim(folder / "one"), pytest.raises(errors.ConflictError), new_file(folder / "one"):
        pass
    assert list(folder.iterdir()) == []


# -- a file that is replaced -----------------------------------------------------------------------------------


def test_a_write_that_fails_leaves_the_old_content_and_no_rest(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_atomically(folder / "one", "old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(errors.UnavailableError, match="No space left on device") as failed:
        write_atomically(folder / "one", "new")
    assert "FASTZERO_HOME" in failed.value.hint
    assert (folder / "one").read_text() == "old"
    assert list(folder.iterdir()) == [folder / "one"]


def test_a_reader_sees_the_old_content_or_the_new_even_if_the_writer_is_killed(folder: Path, python: Python) -> None:
    write_atomically(folder / "one", "0" * 100_000)
    code = (
        "import sys, itertools; from pathlib import Path; from fastzero_core.files import write_atomically\n"
        "for n in itertools.cycle('123'): write_atomically(Path(sys.argv[1]), n * 100_000); print(n, flush=True)"
    )
    for _ in range(3):
        writer = python(code, str(folder / "one"))
        assert writer.stdout is not None
        for _ in range(20):
            writer.stdout.readline()
            text = read_text(folder / "one")
            assert text == text[0] * 100_000
        writer.kill()
        writer.wait()
    write_atomically(folder / "one", "last")
    assert list(folder.iterdir()) == [folder / "one"]


def test_only_the_owner_may_read_what_is_written(folder: Path) -> None:
    write_atomically(folder / "new" / "one", "secret")
    assert (folder / "new" / "one").stat().st_mode & 0o777 == 0o600
    assert (folder / "new").stat().st_mode & 0o777 == 0o711


def test_a_folder_gets_its_mode_and_its_parents_can_be_entered(folder: Path) -> None:
    folder.chmod(0o750)
    make_folder(folder / "a" / "b", 0o700)
    assert [path.stat().st_mode & 0o777 for path in (folder, folder / "a", folder / "a" / "b")] == [0o750, 0o711, 0o700]


def test_a_file_in_the_place_of_a_folder_is_told(folder: Path) -> None:
    (folder / "home").touch()
    with pytest.raises(errors.UnavailableError, match=r"Not a directory|File exists") as failed:
        write_atomically(folder / "home" / "one", "text")
    assert "FASTZERO_HOME" in failed.value.hint


@needs_ordinary_rights
def test_a_folder_of_another_user_is_told(folder: Path) -> None:
    folder.chmod(0o555)
    with pytest.raises(errors.NotAllowedError) as failed:
        write_atomically(folder / "one", "text")
    assert "FASTZERO_HOME" in failed.value.hint


# -- reading ---------------------------------------------------------------------------------------------------


def test_only_a_regular_file_is_read(special: Path) -> None:
    for read in (read_text, lambda path: list(read_chunks(path))):
        with pytest.raises((errors.InvalidInputError, errors.UnavailableError)) as refused:
            read(special)
        assert str(special) in refused.value.message


def test_a_link_to_a_regular_file_is_read(folder: Path) -> None:
    (folder / "one").write_text("text")
    (folder / "two").symlink_to("one")
    assert read_text(folder / "two") == "text"


def test_what_is_not_utf_8_is_invalid_input(folder: Path) -> None:
    (folder / "one").write_bytes(b"\xff")
    with pytest.raises(errors.InvalidInputError, match="is not UTF-8 text"):
        read_text(folder / "one")


def test_what_an_absent_file_means_the_caller_knows(folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_text(folder / "one")
    assert status(folder / "one") is None


@needs_ordinary_rights
def test_a_file_of_another_user_is_told_with_the_hint_of_the_caller(folder: Path) -> None:
    (folder / "one").touch(mode=0)
    with pytest.raises(errors.NotAllowedError) as refused:
        read_text(folder / "one", denied="Ask its owner")
    assert refused.value.hint == "Ask its owner"


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_a_name_that_no_file_can_have_is_invalid_input(name: str, folder: Path) -> None:
    with pytest.raises(errors.InvalidInputError, match="invalid file name"):
        status(folder / name)


def test_a_link_to_itself_is_no_file(folder: Path) -> None:
    (folder / "one").symlink_to("one")
    assert status(folder / "one") is None
