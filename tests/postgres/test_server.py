"""A PostgreSQL server as a process: what its lock files say, and what it leaves where it was killed."""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from fastzero_core.postgres import server
from fastzero_core.postgres.account import ServiceUser
from fastzero_core.postgres.binaries import Binaries

from .conftest import Serve, Served

pytestmark = pytest.mark.slow

POSIX = Path("/dev/shm")
on_linux = pytest.mark.skipif(not POSIX.exists(), reason="Linux alone has files for its shared memory")


def segments() -> set[str]:
    """The ids of all System V segments of this machine."""
    listed = subprocess.run(["ipcs", "-m"], capture_output=True, text=True, check=True).stdout
    return {line.split()[1] for line in listed.splitlines() if line.startswith("0x")}


def posix_segments_of(served: Served) -> set[Path]:
    """The files of the POSIX shared memory that a server has mapped."""
    mapped = Path(f"/proc/{served.process.pid}/maps").read_text()
    return {Path(name) for name in re.findall(rf"{POSIX}/PostgreSQL\.\d+", mapped)}


def segment_of(data: Path) -> str:
    return server.pid_file(data)[6].split()[1]


def test_the_command_tells_where_to_listen_and_the_configuration_has_the_last_word(binaries: Binaries) -> None:
    command = server.command(binaries, Path("/d"), "127.0.0.1", 5433, {"log_timezone": "CET", "work_mem": "1MB"})

    assert command[:3] == [str(binaries.folder / "postgres"), "-D", "/d"]
    assert {"listen_addresses=127.0.0.1", "port=5433", "log_timezone=CET", "work_mem=1MB"} <= set(command)


def test_a_server_is_ready_when_it_says_so_of_itself(data: Path, serve: Serve) -> None:
    served = serve(data)

    assert server.is_ready(data, served.process.pid)
    assert not server.is_ready(data, served.process.pid + 1)
    served.stop()
    assert not server.is_ready(data, served.process.pid)


def test_the_server_of_a_data_directory_is_found_whoever_started_it(data: Path, serve: Serve) -> None:
    assert server.postmaster(data) is None
    served = serve(data)

    assert server.postmaster(data) == served.process.pid
    assert served.process.pid in {process.pid for process in server.processes_on(data)}
    served.kill()
    assert server.postmaster(data) is None


def test_the_processes_on_a_folder_are_found_whatever_encoding_its_name_was_written_in(
    cluster: Path, folder: Path, serve: Serve
) -> None:
    subprocess.run(["cp", "-a", str(cluster), str(folder / "é")], check=True)
    served = serve(folder / "é")

    in_the_c_locale = Path(str(served.data).encode().decode("ascii", "surrogateescape"))

    assert server.postmaster(in_the_c_locale) == served.process.pid


@pytest.mark.parametrize("line", ["{pid}\n/data\n", ""])
def test_a_lock_file_with_the_pid_of_somebody_else_does_not_keep_a_server_from_starting(
    data: Path, serve: Serve, line: str
) -> None:
    owner = data.stat()
    for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
        (data / name).write_text(line.format(pid=os.getpid()))
        os.chown(data / name, owner.st_uid, owner.st_gid)

    server.disown_reused_pids(data)

    psycopg.connect(serve(data).url()).close()


def test_the_lock_file_of_a_server_that_runs_is_left_as_it_is(data: Path, serve: Serve) -> None:
    serve(data)
    before = (data / "postmaster.pid").read_bytes()

    server.disown_reused_pids(data)

    assert (data / "postmaster.pid").read_bytes() == before


def test_a_lock_file_may_name_a_folder_in_any_encoding(folder: Path) -> None:
    (folder / "postmaster.pid").write_bytes(b"1\n/data/\xff\n")

    server.disown_reused_pids(folder)

    assert (folder / "postmaster.pid").read_bytes() == b"%d\n/data/\xff\n" % server.NO_PROCESS


# -- shared memory ---------------------------------------------------------------------------------------------


@pytest.fixture
def remove(binaries: Binaries, account: ServiceUser | None) -> Callable[[Path], bool]:
    return lambda data: server.remove_shared_memory(data, binaries, account)


@on_linux
def test_the_segments_of_a_server_whose_processes_were_all_killed_are_removed(
    data: Path, serve: Serve, remove: Callable[[Path], bool]
) -> None:
    served = serve(data)
    segment, files = segment_of(data), posix_segments_of(served)
    served.kill()
    assert segment in segments()
    assert files
    assert all(file.exists() for file in files)

    assert remove(data)

    assert segment not in segments()
    assert not any(file.exists() for file in files)
    assert not remove(data), "there is nothing left"


@on_linux
def test_the_segments_of_a_killed_server_are_removed_by_the_next_one(data: Path, serve: Serve) -> None:
    served = serve(data)
    segment, files = segment_of(data), posix_segments_of(served)
    served.kill()

    serve(data)

    assert segment not in segments()
    assert not any(file.exists() for file in files)


@on_linux
def test_they_are_removed_where_the_pid_of_the_server_is_somebody_else_s_now(
    data: Path, serve: Serve, remove: Callable[[Path], bool]
) -> None:
    served = serve(data)
    segment, files = segment_of(data), posix_segments_of(served)
    served.kill()
    lines = (data / "postmaster.pid").read_text().splitlines()
    (data / "postmaster.pid").write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")

    assert remove(data)

    assert segment not in segments()
    assert not any(file.exists() for file in files)


@on_linux
def test_the_segments_of_a_server_that_runs_stay(data: Path, serve: Serve, remove: Callable[[Path], bool]) -> None:
    served = serve(data)

    assert not remove(data)

    assert segment_of(data) in segments()
    assert all(file.exists() for file in posix_segments_of(served))


@on_linux
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_the_segment_of_another_user_stays(data: Path, serve: Serve, remove: Callable[[Path], bool]) -> None:
    served = serve(data)
    segment = segment_of(data)
    served.kill()
    owner = data.stat()

    os.chown(data, 65534, 65534)
    assert not remove(data)

    os.chown(data, owner.st_uid, owner.st_gid)
    assert segment in segments()
    assert remove(data)


@on_linux
def test_the_segments_of_another_server_stay_whatever_a_pid_file_says(
    data: Path, cluster: Path, folder: Path, serve: Serve, remove: Callable[[Path], bool]
) -> None:
    subprocess.run(["cp", "-a", str(cluster), str(folder / "other")], check=True)
    other, served = serve(folder / "other"), serve(data)
    files = posix_segments_of(other)
    theirs, own = server.pid_file(other.data)[6], server.pid_file(data)[6]
    other.kill()
    served.kill()
    lines = (data / "postmaster.pid").read_text()
    (data / "postmaster.pid").write_text(lines.replace(own, theirs))

    remove(data)

    assert theirs.split()[1] in segments()
    assert all(file.exists() for file in files)
    assert remove(other.data)


@pytest.mark.parametrize("content", ["", "1\n2\n", "1\n/d\n0\n5432\n\n\nnot numbers\nready\n"])
def test_a_data_directory_that_names_no_segment_has_none_removed(
    folder: Path, content: str, remove: Callable[[Path], bool]
) -> None:
    (folder / "postmaster.pid").write_text(content)

    assert not remove(folder)


def test_a_data_directory_without_a_server_has_none_removed(folder: Path, remove: Callable[[Path], bool]) -> None:
    assert not remove(folder / "nothing")
