"""A PostgreSQL server as a process: what its lock files say, and what it leaves where it was killed."""

import os
import subprocess
from pathlib import Path

import psycopg
import pytest

from fastzero_core.postgres import server
from fastzero_core.postgres.binaries import Binaries

from .conftest import Serve

pytestmark = pytest.mark.slow

on_linux = pytest.mark.skipif(not server.SEGMENTS.exists(), reason="the kernel lists its segments on Linux alone")


def segments() -> set[str]:
    """The ids of all System V segments of this machine."""
    listed = subprocess.run(["ipcs", "-m"], capture_output=True, text=True, check=True).stdout
    return {line.split()[1] for line in listed.splitlines() if line.startswith("0x")}


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
    for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
        (data / name).write_text(line.format(pid=os.getpid()))

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


@on_linux
def test_the_segment_of_a_server_whose_processes_were_all_killed_is_removed(data: Path, serve: Serve) -> None:
    served = serve(data)
    segment = segment_of(data)
    served.kill()
    assert segment in segments()

    assert server.remove_shared_memory(data)

    assert segment not in segments()
    assert not server.remove_shared_memory(data), "there is nothing left"


@on_linux
def test_the_segment_of_a_server_that_runs_stays(data: Path, serve: Serve) -> None:
    serve(data)

    assert not server.remove_shared_memory(data)

    assert segment_of(data) in segments()


@on_linux
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_the_segment_of_another_user_stays(data: Path, serve: Serve) -> None:
    served = serve(data)
    segment = segment_of(data)
    served.kill()
    owner = data.stat()

    os.chown(data, 65534, 65534)
    assert not server.remove_shared_memory(data)

    os.chown(data, owner.st_uid, owner.st_gid)
    assert segment in segments()
    assert server.remove_shared_memory(data)


@on_linux
def test_a_segment_under_another_key_stays(data: Path, serve: Serve) -> None:
    served = serve(data)
    lines = (data / "postmaster.pid").read_text()
    key, segment = server.pid_file(data)[6].split()
    served.kill()

    (data / "postmaster.pid").write_text(lines.replace(key, str(int(key) + 1)))
    assert not server.remove_shared_memory(data)

    (data / "postmaster.pid").write_text(lines)
    assert segment in segments()
    assert server.remove_shared_memory(data)


@pytest.mark.parametrize("content", ["", "1\n2\n", "1\n/d\n0\n5432\n\n\nnot numbers\nready\n"])
def test_a_data_directory_that_names_no_segment_has_none_removed(folder: Path, content: str) -> None:
    (folder / "postmaster.pid").write_text(content)

    assert not server.remove_shared_memory(folder)


def test_a_data_directory_without_a_server_has_none_removed(folder: Path) -> None:
    assert not server.remove_shared_memory(folder / "nothing")
