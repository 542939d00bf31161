"""Local processes that outlive their starter: any program, not only PostgreSQL."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from queue import Queue

import psutil
import pytest

from fastzero_core.errors import FastZeroError
from fastzero_core.polling import wait_until
from fastzero_core.stack.embedded import identity
from fastzero_core.stack.embedded import process as process_module
from fastzero_core.stack.embedded.process import UNKNOWN, Processes, ProcessRecord, is_alive
from fastzero_core.stack.lines import LogLine

from .conftest import SOON, RunPython, WorkingOn

SERVE = ["/bin/sh", "-c", "echo serving; exec sleep 1000"]
ENDS_IN_ITS_OWN_WAY = [
    sys.executable,
    "-c",
    "import signal; signal.signal(signal.SIGTERM, lambda *_: print('bye', flush=True));"
    "print('serving', flush=True); signal.pause()",
]
IGNORES_SIGTERM = [
    sys.executable,
    "-c",
    "import signal, subprocess, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "child = subprocess.Popen(['sleep', '1000']); print(child.pid, flush=True); child.wait()",
]


@pytest.fixture
def place(home: Path) -> Path:
    return home / "projects" / "demo"


@pytest.fixture
def processes(place: Path) -> Iterator[Processes]:
    processes = Processes(place)
    yield processes
    for record in (place / "processes").glob("*.json"):
        processes.stop(record.stem, stop_signal=signal.SIGKILL)


def texts(processes: Processes, stream: str = "stdout", tail: int | None = None) -> list[str]:
    return [line.text for line in processes.logs(["web"], tail=tail) if line.stream == stream]


def run_to_its_end(processes: Processes, script: str) -> None:
    record = processes.start("web", ["/bin/sh", "-c", script])
    assert wait_until(lambda: not is_alive(record), SOON)


# -- start, find again, stop -----------------------------------------------------------------------------------


def test_what_was_started_is_found_and_what_was_stopped_is_not(processes: Processes) -> None:
    started = processes.start("web", SERVE)

    assert processes.find("web") == started

    assert processes.stop("web")
    assert processes.find("web") is None
    assert not psutil.pid_exists(started.pid)


def test_nothing_was_started_under_a_name_that_is_new(processes: Processes) -> None:
    assert processes.find("web") is None
    assert processes.recorded("web") is None


def test_stopping_what_does_not_run_is_no_error(processes: Processes) -> None:
    assert processes.stop("web")


def test_another_process_finds_and_stops_what_this_one_started(
    processes: Processes, place: Path, run_python: RunPython
) -> None:
    started = processes.start("web", SERVE)

    code = (
        "import sys; from pathlib import Path; from fastzero_core.stack.embedded.process import Processes\n"
        "processes = Processes(Path(sys.argv[1])); print(processes.find('web').pid, processes.stop('web'))"
    )
    said, _ = run_python(code, str(place)).communicate()

    # Only its parent can reap it, hence it is this process that must notice.
    assert said == f"{started.pid} True\n"
    assert not is_alive(started)


def test_it_outlives_its_starter(processes: Processes, place: Path, run_python: RunPython) -> None:
    code = (
        "import sys; from pathlib import Path; from fastzero_core.stack.embedded.process import Processes\n"
        "print(Processes(Path(sys.argv[1])).start('web', ['sleep', '1000']).pid)"
    )
    starter = run_python(code, str(place), start_new_session=True)
    said, _ = starter.communicate()

    found = processes.find("web")

    assert found is not None
    assert found.pid == int(said)


def test_it_leads_a_session_and_a_group_of_its_own(processes: Processes) -> None:
    record = processes.start("web", SERVE)

    assert os.getsid(record.pid) == os.getpgid(record.pid) == record.pid


def test_the_record_keeps_what_it_was_started_with(processes: Processes) -> None:
    processes.start("web", SERVE, config_hash="abc", document={"port": 80})

    record = processes.recorded("web")

    assert record is not None
    assert (record.config_hash, record.document) == ("abc", {"port": 80})
    assert abs(record.started_at.timestamp() - psutil.Process(record.pid).create_time()) < 1


def test_it_reads_nothing_from_anybody(processes: Processes) -> None:
    run_to_its_end(processes, "cat; echo end")

    assert texts(processes) == ["end"]


def test_its_arguments_arrive_as_they_are(processes: Processes) -> None:
    record = processes.start("web", ["printf", "%s\\n", "$HOME", "a b", "'\"", "é"])
    assert wait_until(lambda: not is_alive(record), SOON)

    assert texts(processes) == ["$HOME", "a b", "'\"", "é"]


def test_its_environment_is_the_one_that_was_given(processes: Processes) -> None:
    record = processes.start("web", ["/bin/sh", "-c", "echo $GREETING $HOME"], environment={"GREETING": "hello"})
    assert wait_until(lambda: not is_alive(record), SOON)

    assert texts(processes) == ["hello"]


def test_a_program_that_ignores_sigterm_is_killed_with_its_whole_group(processes: Processes) -> None:
    record = processes.start("web", IGNORES_SIGTERM)
    assert wait_until(lambda: bool(texts(processes)), SOON)
    child = psutil.Process(int(texts(processes)[0]))

    assert not processes.stop("web", timeout=0.1)

    assert not is_alive(record)
    assert wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, SOON)


def test_a_suspended_program_is_stopped_in_its_own_way(processes: Processes) -> None:
    record = processes.start("web", ENDS_IN_ITS_OWN_WAY)
    assert wait_until(lambda: texts(processes) == ["serving"], SOON)
    os.kill(record.pid, signal.SIGSTOP)

    assert processes.stop("web", timeout=SOON)
    assert texts(processes) == ["serving", "bye"]


def test_a_process_that_ended_is_reaped_by_the_one_that_started_it(processes: Processes) -> None:
    record = processes.start("web", ["true"])

    assert wait_until(lambda: processes.find("web") is None, SOON)
    assert not psutil.pid_exists(record.pid)


def test_one_that_crashed_is_not_found_but_still_recorded(processes: Processes) -> None:
    record = processes.start("web", SERVE)
    os.kill(record.pid, signal.SIGKILL)

    assert wait_until(lambda: processes.find("web") is None, SOON)
    assert processes.recorded("web") == record


# -- whose pid it is -------------------------------------------------------------------------------------------


@pytest.fixture
def stranger() -> Iterator[psutil.Process]:
    with subprocess.Popen(["sleep", "1000"]) as sleeping:
        yield psutil.Process(sleeping.pid)
        sleeping.kill()


def write(place: Path, document: object) -> None:
    (place / "processes").mkdir(parents=True, exist_ok=True)
    (place / "processes" / "web.json").write_text(json.dumps(document))


def record_of(place: Path, record: ProcessRecord) -> None:
    write(place, asdict(record))


def test_a_reused_pid_is_not_taken_for_the_process(processes: Processes, place: Path, stranger: psutil.Process) -> None:
    record_of(place, ProcessRecord(stranger.pid, stranger.create_time() - 60))

    assert processes.find("web") is None


def test_a_reused_pid_is_not_stopped(processes: Processes, place: Path, stranger: psutil.Process) -> None:
    record_of(place, ProcessRecord(stranger.pid, stranger.create_time() - 60))

    processes.stop("web", timeout=1)

    assert stranger.is_running()
    assert stranger.status() != psutil.STATUS_ZOMBIE


def test_a_pid_that_is_nobodys_is_not_found(processes: Processes, place: Path) -> None:
    record_of(place, ProcessRecord(2**31 - 1, 0))

    assert processes.find("web") is None


def test_somebody_elses_zombie_is_not_alive() -> None:
    zombie = subprocess.Popen(["true"])
    try:
        found = psutil.Process(zombie.pid)
        assert wait_until(lambda: found.status() == psutil.STATUS_ZOMBIE, SOON)

        assert not is_alive(ProcessRecord(zombie.pid, found.create_time()))
    finally:
        zombie.wait()


# -- the gate --------------------------------------------------------------------------------------------------

HANG_BEFORE_THE_RECORD = """
import sys, time
from pathlib import Path
from fastzero_core.stack.embedded import process
def hang(path, text):
    print("hangs", flush=True)
    time.sleep(1000)
process.write_atomically = hang
process.Processes(Path(sys.argv[1])).start("web", ["/bin/sh", "-c", "echo ran; exec sleep 1000", sys.argv[1]])
"""

END_AFTER_THE_RECORD = """
import os, signal, sys
from pathlib import Path
from fastzero_core.stack.embedded import process
write = process.write_atomically
def die(path, text):
    write(path, text)
    os.kill(os.getpid(), signal.SIGKILL)
process.write_atomically = die
process.Processes(Path(sys.argv[1])).start("web", ["/bin/sh", "-c", "echo ran; exec sleep 1000", sys.argv[1]])
"""


@pytest.mark.usefixtures("started_anew")
def test_a_starter_that_is_killed_before_the_record_leaves_nothing_running(
    processes: Processes, place: Path, run_python: RunPython, working_on: WorkingOn
) -> None:
    starter = run_python(HANG_BEFORE_THE_RECORD, str(place))
    assert starter.stdout is not None
    assert starter.stdout.readline() == "hangs\n"
    assert wait_until(lambda: len(working_on(place)) == 2, SOON), "one waits at the gate"

    starter.kill()
    starter.wait()

    assert wait_until(lambda: not working_on(place), SOON)
    assert processes.recorded("web") is None
    assert texts(processes) == []


@pytest.mark.usefixtures("started_anew")
def test_a_starter_that_is_killed_before_the_gate_opens_leaves_a_record_of_nobody(
    processes: Processes, place: Path, run_python: RunPython, working_on: WorkingOn
) -> None:
    run_python(END_AFTER_THE_RECORD, str(place)).wait()

    assert processes.recorded("web") is not None
    # On its way out a process has no command line any more before it is a zombie.
    assert wait_until(lambda: not working_on(place) and processes.find("web") is None, SOON)
    assert texts(processes) == []


def test_a_record_that_cannot_be_written_leaves_nothing_running(
    processes: Processes, place: Path, working_on: WorkingOn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, text: str) -> None:
        raise FastZeroError("the disk is full")

    monkeypatch.setattr(process_module, "write_atomically", fail)
    with pytest.raises(FastZeroError):
        processes.start("web", [*SERVE, str(place)])

    assert wait_until(lambda: not working_on(place), SOON)


# -- logs ------------------------------------------------------------------------------------------------------


def test_stdout_and_stderr_are_kept_apart(processes: Processes) -> None:
    run_to_its_end(processes, "echo out; echo err >&2")

    assert list(processes.logs(["web"])) == [LogLine("web", "stdout", "out"), LogLine("web", "stderr", "err")]


def test_logs_are_their_owners_alone(processes: Processes, place: Path) -> None:
    run_to_its_end(processes, "echo secret")

    assert (place / "logs").stat().st_mode & 0o777 == 0o700


def test_logs_of_what_never_ran_are_empty(processes: Processes) -> None:
    assert list(processes.logs(["web"])) == []


def test_logs_go_on_where_the_run_before_ended(processes: Processes) -> None:
    run_to_its_end(processes, "echo first")
    run_to_its_end(processes, "echo second")

    assert texts(processes) == ["first", "second"]


@pytest.mark.parametrize(
    ("tail", "expected"),
    [(None, ["1", "2", "3"]), (0, []), (2, ["2", "3"]), (3, ["1", "2", "3"]), (9, ["1", "2", "3"])],
)
def test_tail_is_the_last_lines(processes: Processes, tail: int | None, expected: list[str]) -> None:
    run_to_its_end(processes, "printf '1\\n2\\n3\\n'")

    assert texts(processes, tail=tail) == expected


def test_bytes_that_are_no_text_are_replaced_not_refused(processes: Processes) -> None:
    run_to_its_end(processes, r"printf 'a\377b\n'")

    assert texts(processes) == ["a\ufffdb"]


def test_the_last_words_of_a_crash_need_no_end_of_line(processes: Processes) -> None:
    run_to_its_end(processes, "echo line; printf 'cut of'")

    assert texts(processes) == ["line", "cut of"]
    assert texts(processes, tail=1) == ["cut of"]


@pytest.fixture
def followed(processes: Processes) -> Iterator["Queue[str]"]:
    """The stdout lines of the process as `follow` tells them."""
    lines: Queue[str] = Queue()

    def follow() -> None:
        for line in processes.logs(["web"], follow=True):
            if line.text == "end of test":
                return
            if line.stream == "stdout":
                lines.put(line.text)

    thread = threading.Thread(target=follow)
    thread.start()
    yield lines
    log = processes.log_file("web", "stdout")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        file.write(b"\nend of test\n")
    thread.join()


def test_follow_tells_lines_as_they_come(processes: Processes, followed: "Queue[str]") -> None:
    processes.start("web", SERVE)

    assert followed.get(timeout=SOON) == "serving"


def test_follow_waits_for_the_rest_of_a_character(processes: Processes, followed: "Queue[str]", folder: Path) -> None:
    os.mkfifo(folder / "go")
    processes.start("web", ["/bin/sh", "-c", rf"echo begin; printf 'na\303'; cat {folder}/go; printf '\257ve\n'"])
    assert followed.get(timeout=SOON) == "begin"
    assert wait_until(lambda: processes.log_file("web", "stdout").read_bytes().endswith(b"\303"), SOON)

    (folder / "go").write_text("")

    assert followed.get(timeout=SOON) == "naïve"


def test_a_long_log_is_set_aside_when_its_service_starts(
    processes: Processes, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "LOG_MAX", 10)
    run_to_its_end(processes, "echo 0123456789")

    run_to_its_end(processes, "echo new")

    assert texts(processes) == ["new"]
    assert (place / "logs" / "web.stdout.log.1").read_text() == "0123456789\n"


def test_follow_goes_on_in_the_new_log_when_the_old_one_is_set_aside(
    processes: Processes, followed: "Queue[str]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "LOG_MAX", 10)
    run_to_its_end(processes, "echo 0123456789")
    assert followed.get(timeout=SOON) == "0123456789"

    run_to_its_end(processes, "echo new")

    assert followed.get(timeout=SOON) == "new"


def test_the_same_process_is_recognised_across_a_clock_that_is_a_little_off(processes: Processes) -> None:
    record = processes.start("web", SERVE)

    assert is_alive(replace(record, created=record.created + 0.5))


# -- clocks ----------------------------------------------------------------------------------------------------

counts_ticks = pytest.mark.skipif(not identity.ON_LINUX, reason="this system knows start times by the clock alone")


@counts_ticks
def test_a_clock_that_was_set_makes_no_process_another_one(processes: Processes, place: Path) -> None:
    record = processes.start("web", SERVE)
    record_of(place, replace(record, created=record.created - 3600))

    assert processes.find("web") is not None
    assert processes.stop("web")
    assert not is_alive(record)


@counts_ticks
def test_a_process_that_started_at_another_tick_is_another_one(processes: Processes, place: Path) -> None:
    record = processes.start("web", SERVE)
    boot, ticks = record.start.split()

    assert is_alive(record)
    assert not is_alive(replace(record, start=f"{boot} {int(ticks) + 1}"))
    assert not is_alive(replace(record, start=f"00000000-{boot[9:]} {ticks}"))


@counts_ticks
def test_when_a_process_started_is_told_by_the_clock_of_now(processes: Processes) -> None:
    record = processes.start("web", SERVE)

    moved = replace(record, created=record.created - 3600)

    assert abs((moved.started_at - record.started_at).total_seconds()) < 1


def test_when_a_process_started_is_told_the_same_each_time(processes: Processes) -> None:
    record = processes.start("web", SERVE)

    assert {record.started_at for _ in range(100)} == {datetime.fromtimestamp(record.created, UTC)}


def test_of_another_boot_the_clock_of_then_tells_when_a_process_started() -> None:
    assert ProcessRecord(1, 86400.0, start="another-boot 5").started_at == datetime(1970, 1, 2, tzinfo=UTC)


def test_a_record_of_an_older_version_is_recognised(
    processes: Processes, place: Path, stranger: psutil.Process
) -> None:
    write(place, {"pid": stranger.pid, "created": stranger.create_time(), "settings": {"port": "80"}})

    found = processes.find("web")

    assert found is not None
    assert found.document == {"settings": {"port": "80"}}


def test_where_no_ticks_are_counted_the_clock_decides(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "ON_LINUX", False)

    record = processes.start("web", SERVE)

    assert record.start == ""
    assert processes.find("web") == record
    assert not is_alive(replace(record, created=record.created - 60))


# -- records that cannot be read -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"pid": 12',
        b"not json",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{}",
        b'{"pid": null, "created": 1}',
        b'{"pid": "x", "created": 1}',
        b'{"pid": 1, "created": {}}',
        b'{"pid": 1e999, "created": 1}',
        b'{"pid": 1, "created": 1, "document": 5}',
        b'{"pid": 0, "created": 1}',
        b'{"pid": -1, "created": 1}',
    ],
)
def test_a_record_that_cannot_be_read_names_nobody_and_is_replaced(
    processes: Processes, place: Path, content: bytes
) -> None:
    (place / "processes").mkdir(parents=True)
    (place / "processes" / "web.json").write_bytes(content)

    assert processes.recorded("web") is not None
    assert processes.find("web") is None
    assert processes.stop("web")
    assert processes.recorded("web") is None


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["a folder", "a FIFO"])
def test_what_is_no_file_is_no_record_and_gives_way_to_one(
    processes: Processes, place: Path, make: Callable[[Path], None]
) -> None:
    (place / "processes").mkdir(parents=True)
    make(place / "processes" / "web.json")
    assert processes.recorded("web") == UNKNOWN

    started = processes.start("web", SERVE)

    assert processes.find("web") == started


def test_a_record_of_a_newer_version_is_read_without_what_it_has_more(
    processes: Processes, place: Path, stranger: psutil.Process
) -> None:
    write(place, {"pid": stranger.pid, "created": stranger.create_time(), "colour": "red", "document": {"a": 1}})

    found = processes.find("web")

    assert found is not None
    assert found.document == {"a": 1}
