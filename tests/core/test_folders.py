"""Folders: who can change them, what root refuses to do below those of others, and what is marked and deleted."""

import contextlib
import os
import stat
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastzero_core import files, folders
from fastzero_core.errors import FastZeroError, NotAllowedError
from fastzero_core.folders import MARK, Weakness, file_of_owner, mark_of, names_in, opened, remove, weakness, write_mark
from tests.swapping import Swapping, swapping

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders to other users")
NOBODY = 65534


@pytest.fixture
def secret(folder: Path) -> Path:
    """A file that only root may read, outside of every folder of somebody else's."""
    (folder / "roots").mkdir(0o700)
    (folder / "roots" / "file").write_text("root's secret")
    return folder / "roots" / "file"


@pytest.fixture
def theirs(folder: Path) -> Path:
    """A folder of the user nobody."""
    theirs = folder / "theirs"
    theirs.mkdir()
    os.chown(theirs, NOBODY, NOBODY)
    return theirs


# -- who can change a folder -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o711, 0o1777, 0o1733])
def test_a_folder_of_ours_that_others_can_only_enter_or_add_to_is_ours(folder: Path, mode: int) -> None:
    (folder / "ours").mkdir()
    (folder / "ours").chmod(mode)

    assert weakness(folder / "ours" / "new" / "deep") is None


def test_a_folder_that_everybody_may_write_is_everybodys(folder: Path) -> None:
    (folder / "all").mkdir()
    (folder / "all").chmod(0o777)

    assert weakness(folder / "all" / "new") == Weakness(folder / "all", "every user")


@as_root
def test_a_folder_of_somebody_else_is_theirs_whatever_its_mode(theirs: Path) -> None:
    theirs.chmod(0o500)

    assert weakness(theirs) == Weakness(theirs, "user nobody")


@as_root
def test_a_folder_below_one_of_somebody_else_is_theirs_too(theirs: Path) -> None:
    (theirs / "roots").mkdir(0o700)

    assert weakness(theirs / "roots") == Weakness(theirs, "user nobody")


@as_root
def test_a_group_without_other_members_is_nobody_else(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.chmod(0o775)
    os.chown(folder, 0, NOBODY)
    found = weakness(folder)
    assert found is not None
    assert found.who.startswith("group ")

    monkeypatch.setattr("pwd.getpwall", lambda: [])

    assert weakness(folder) is None


def test_an_access_control_list_that_lets_others_write_is_seen(folder: Path) -> None:
    user_obj, user, group_obj, mask, other, none = 1, 2, 4, 16, 32, 2**32 - 1
    entries = [(user_obj, 7, none), (user, 7, NOBODY), (group_obj, 5, none), (mask, 7, none), (other, 5, none)]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    try:
        os.setxattr(folder, "system.posix_acl_access", acl)
    except (AttributeError, OSError):
        pytest.skip("no access control lists here")

    found = weakness(folder)

    assert found is not None
    assert "access control list" in found.who


# -- as root, below a folder of somebody else ------------------------------------------------------------------


def _append(path: Path) -> None:
    with files.open_append(path) as file:
        file.write(b"more")


OWN: dict[str, Callable[[Path], object]] = {
    "read": lambda path: files.read_text(path, own=True),
    "write": lambda path: files.write_atomically(path, "text"),
    "append": _append,
    "make a folder": lambda path: files.make_folder(path, 0o700),
    "remove": remove,
    "read the mark": mark_of,
    "mark": lambda path: write_mark(path, "mark"),
    "list": names_in,
}


@as_root
@pytest.mark.parametrize("do", OWN.values(), ids=OWN)
def test_nothing_of_fastzeros_own_is_there(theirs: Path, do: Callable[[Path], object]) -> None:
    (theirs / "one").mkdir()
    before = sorted(theirs.rglob("*"))

    with pytest.raises(NotAllowedError, match="theirs can be changed by user nobody") as refused:
        do(theirs / "one" / "two")

    assert "FASTZERO_HOME" in refused.value.hint
    assert sorted(theirs.rglob("*")) == before


@as_root
def test_a_link_there_is_not_followed(theirs: Path, secret: Path) -> None:
    (theirs / "link").symlink_to(secret)
    (theirs / "folder").symlink_to(secret.parent)

    for path in (theirs / "link", theirs / "folder" / "file"):
        with pytest.raises(NotAllowedError, match="is a link that user nobody can change"):
            files.read_text(path)
    with pytest.raises(NotAllowedError, match="is a link"), files.new_file(theirs / "folder" / "new"):
        pass
    assert list(secret.parent.iterdir()) == [secret]


@as_root
def test_a_second_name_of_a_file_of_roots_is_not_read_there(theirs: Path, secret: Path) -> None:
    (theirs / "name").hardlink_to(secret)

    with pytest.raises(NotAllowedError, match="hard link"):
        files.read_text(theirs / "name")


@as_root
def test_a_file_that_root_names_there_is_read_and_written(theirs: Path) -> None:
    with files.new_file(theirs / "new") as file:
        file.write(b"text")

    assert files.read_text(theirs / "new") == "text"


@as_root
def test_a_link_of_somebody_else_in_a_folder_for_all_is_not_followed_and_one_of_roots_is(
    folder: Path, secret: Path
) -> None:
    folder.chmod(0o1777)
    (folder / "roots link").symlink_to(secret)
    (folder / "link").symlink_to(secret)
    os.chown(folder / "link", NOBODY, NOBODY, follow_symlinks=False)

    assert files.read_text(folder / "roots link") == "root's secret"
    with pytest.raises(NotAllowedError, match="is a link that user nobody can change"):
        files.read_text(folder / "link")


@as_root
def test_links_that_lead_in_a_circle_are_an_error(folder: Path) -> None:
    (folder / "one").symlink_to("two")
    (folder / "two").symlink_to("one")

    with pytest.raises(OSError, match="symbolic links"), opened(folder / "one" / "more"):
        pass


# -- and while they swap links ---------------------------------------------------------------------------------


@pytest.fixture
def swapped(theirs: Path, secret: Path) -> Iterator[Swapping]:
    """A folder of nobody's that is a link to root's folder every other moment."""
    (theirs / "swapped").mkdir()
    (theirs / "swapped" / "file").write_text("theirs")
    with swapping(theirs / "swapped", secret.parent, NOBODY) as swaps:
        yield swaps


def _write_new(path: Path) -> None:
    with files.new_file(path.with_name(f"new-{os.urandom(4).hex()}")) as file:
        file.write(b"root's backup")


@as_root
@pytest.mark.parametrize("do", [files.read_text, _write_new, *OWN.values()])
def test_nothing_outside_is_read_written_or_deleted(
    swapped: Swapping, secret: Path, do: Callable[[Path], object]
) -> None:
    names = sorted(secret.parent.iterdir())
    for _ in range(300):
        with contextlib.suppress(FastZeroError, OSError):
            assert do(swapped.path / "file") != "root's secret"

    assert swapped.count() > 0
    assert secret.read_text() == "root's secret"
    assert sorted(secret.parent.iterdir()) == names


# -- files of a folder that belongs to another account ---------------------------------------------------------


@pytest.mark.parametrize("kind", ["a link", "a FIFO", "a folder", "a socket"])
def test_only_regular_files_of_the_owner_are_opened(folder: Path, secret: Path, kind: str) -> None:
    makers: dict[str, Callable[[Path], object]] = {
        "a link": lambda path: path.symlink_to(secret),
        "a FIFO": os.mkfifo,
        "a folder": Path.mkdir,
        "a socket": lambda path: os.mknod(path, stat.S_IFSOCK | 0o600),
    }
    makers[kind](folder / "one")

    for flags in (os.O_RDONLY, os.O_RDWR):
        with (
            pytest.raises(PermissionError, match="not a regular file of the folder's owner"),
            file_of_owner(folder, "one", flags),
        ):
            pass
    assert secret.read_text() == "root's secret"


@as_root
def test_a_second_name_of_a_file_of_another_user_is_not_opened(theirs: Path, secret: Path) -> None:
    (theirs / "one").hardlink_to(secret)

    with pytest.raises(PermissionError), file_of_owner(theirs, "one"):
        pass


def test_a_file_of_the_owner_is_read_and_written(folder: Path) -> None:
    (folder / "one").write_text("1234")

    with file_of_owner(folder, "one", os.O_RDWR) as file:
        assert file.read() == b"1234"
        file.seek(0)
        file.write(b"5")

    assert (folder / "one").read_text() == "5234"


# -- marks, and what is deleted --------------------------------------------------------------------------------


def test_a_folder_bears_its_mark_for_its_owner_alone(folder: Path) -> None:
    assert mark_of(folder) is None

    write_mark(folder, "made here")

    assert mark_of(folder) == "made here"
    assert stat.S_IMODE((folder / MARK).stat().st_mode) == 0o600
    assert names_in(folder) == [MARK]


@as_root
def test_a_mark_in_a_folder_of_another_account_is_that_accounts(theirs: Path) -> None:
    write_mark(theirs, "made here")

    assert (theirs / MARK).stat().st_uid == NOBODY
    assert mark_of(theirs) == "made here"


def test_a_link_is_no_mark_and_gives_way_to_one(folder: Path, secret: Path) -> None:
    (folder / MARK).symlink_to(secret)
    assert mark_of(folder) is None

    write_mark(folder, "made here")

    assert mark_of(folder) == "made here"
    assert secret.read_text() == "root's secret"


def test_what_links_lead_to_stays_when_a_folder_is_deleted(folder: Path, secret: Path) -> None:
    (folder / "gone" / "deep").mkdir(parents=True)
    (folder / "gone" / "deep" / "link").symlink_to(secret.parent)

    remove(folder / "gone")

    assert not (folder / "gone").exists()
    assert secret.read_text() == "root's secret"


def test_a_link_is_not_deleted_in_place_of_a_folder(folder: Path, secret: Path) -> None:
    (folder / "link").symlink_to(secret.parent)

    with pytest.raises(OSError, match="symbolic link"):
        remove(folder / "link")

    assert secret.read_text() == "root's secret"


@as_root
def test_a_folder_is_deleted_while_its_owner_swaps_links_in_it(theirs: Path, secret: Path) -> None:
    for number in range(100):
        (theirs / "swapped" / str(number)).mkdir(parents=True)
    with swapping(theirs / "swapped", secret.parent, NOBODY):
        while theirs.exists():
            with contextlib.suppress(OSError):
                remove(theirs)

    assert secret.read_text() == "root's secret"


@as_root
def test_doctor_and_commands_name_the_folder_and_the_way_out(theirs: Path) -> None:
    weak = weakness(theirs / "home")
    assert weak is not None

    error = folders.refusal(weak)

    assert error.exit_code == 5
    assert str(theirs) in error.message
