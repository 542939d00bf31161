"""The logs of local processes: two streams read as one, in the order of time, and from the end for a tail."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fastzero_core.errors import UnavailableError
from fastzero_core.stack.embedded import logs
from fastzero_core.stack.lines import STREAMS

Write = Callable[..., None]
ANY = pytest.mark.parametrize("tail", [1, 2, 3, 5, 8, 13, 100])


@pytest.fixture
def write(folder: Path) -> Write:
    """Writes the two streams of a process's log."""

    def write(stdout: str = "", stderr: str = "", name: str = "web") -> None:
        (folder / f"{name}.stdout").write_text(stdout)
        (folder / f"{name}.stderr").write_text(stderr)

    return write


@pytest.fixture
def read(folder: Path) -> Callable[..., list[str]]:
    def read(*names: str, tail: int | None = None, since: datetime | None = None) -> list[str]:
        files = {name: {stream: folder / f"{name}.{stream}" for stream in STREAMS} for name in names or ("web",)}
        return [line.text for line in logs.read(files, tail=tail, since=since)]

    return read


def at(second: int, text: str) -> str:
    return f"2026-01-31 12:00:{second:02}.000 UTC {text}\n"


def words(lines: list[str]) -> list[str]:
    return [line.split()[-1] for line in lines]


def test_two_streams_are_one_log_in_the_order_of_time(write: Write, read: Callable[..., list[str]]) -> None:
    write(stdout=at(1, "a") + at(3, "c"), stderr=at(2, "b") + at(4, "d"))

    assert words(read()) == ["a", "b", "c", "d"]


def test_a_tail_is_the_last_lines_of_both_streams_together(write: Write, read: Callable[..., list[str]]) -> None:
    write(stdout=at(1, "a") + at(3, "c"), stderr=at(2, "b") + at(4, "d") + at(5, "e"))

    assert words(read(tail=3)) == ["c", "d", "e"]


def test_each_process_has_a_tail_of_its_own(write: Write, read: Callable[..., list[str]]) -> None:
    write(stdout=at(1, "a") + at(2, "b"))
    write(stderr=at(3, "c") + at(4, "d"), name="worker")

    assert words(read("web", "worker", tail=1)) == ["b", "d"]


def test_a_line_without_a_time_belongs_to_the_line_before(write: Write, read: Callable[..., list[str]]) -> None:
    write(stdout=at(1, "a") + at(3, "c"), stderr=at(2, "failed") + "Traceback\n  File\nValueError\n" + at(4, "d"))

    assert words(read()) == ["a", "failed", "Traceback", "File", "ValueError", "c", "d"]


def test_a_traceback_that_a_tail_cuts_off_keeps_its_time(write: Write, read: Callable[..., list[str]]) -> None:
    write(stdout=at(1, "a") + at(2, "b"), stderr=at(3, "failed") + "Traceback\n  File\nValueError\n")

    assert words(read(tail=2)) == ["File", "ValueError"]


def test_a_stream_without_any_time_is_as_old_as_its_file(
    write: Write, read: Callable[..., list[str]], folder: Path
) -> None:
    write(stdout=at(1, "a") + at(59, "z"), stderr="banner\n")
    moment = datetime(2026, 1, 31, 12, 0, 30, tzinfo=UTC).timestamp()
    os.utime(folder / "web.stderr", (moment, moment))

    assert words(read()) == ["a", "banner", "z"]


def test_the_time_of_a_line_of_json_is_read_too(write: Write, read: Callable[..., list[str]]) -> None:
    write(stdout=at(1, "a") + at(3, "c"), stderr='{"time": "2026-01-31T12:00:02.500Z", "message": "b"}\n')

    assert words(read()) == ["a", '"b"}', "c"]


def test_a_clock_that_was_set_back_does_not_reorder_a_stream(write: Write, read: Callable[..., list[str]]) -> None:
    write(stderr=at(5, "a") + at(1, "b") + at(3, "c"))

    assert words(read()) == ["a", "b", "c"]


def test_what_only_looks_like_a_time_is_none(write: Write, read: Callable[..., list[str]]) -> None:
    write(stdout="2026-99-99 12:00:00 a\n")

    assert words(read()) == ["a"]


def test_lines_from_before_a_moment_are_left_out_with_what_belongs_to_them(
    write: Write, read: Callable[..., list[str]]
) -> None:
    write(stdout="banner\n" + at(1, "a") + "more\n" + at(3, "c"), stderr=at(2, "b") + at(4, "d"))
    since = datetime(2026, 1, 31, 12, 0, 2, 500_000, tzinfo=UTC)

    assert words(read(since=since)) == ["c", "d"]
    assert words(read(since=since, tail=1)) == ["d"]


@ANY
@pytest.mark.parametrize("end", ["\n", ""], ids=["whole", "cut off"])
def test_a_tail_read_from_the_end_is_the_end_of_all_lines(
    write: Write, read: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch, tail: int, end: str
) -> None:
    text = "".join(at(second, f"line{second}") + "more\n" * (second % 3) for second in range(30))
    write(stdout=text.rstrip("\n") + end, stderr=at(7, "x") + at(29, "y"))
    expected = read()
    for block in (1, 7, 64, 200, 5000):
        monkeypatch.setattr(logs, "BLOCK", block)

        assert read(tail=tail) == expected[-tail:]


def test_of_a_long_log_only_the_end_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "BLOCK", 1000)
    with (folder / "log").open("wb") as file:
        file.write("".join(at(1, f"line{number}") for number in range(10_000)).encode())

    with (folder / "log").open("rb") as file:
        begin = logs._beginning_of(file, 5)

    assert (folder / "log").stat().st_size - begin < 1000


def test_the_time_of_a_tail_is_not_looked_for_without_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "BLOCK", 100)
    monkeypatch.setattr(logs, "SEARCHED", 400)
    (folder / "log").write_text("a line without a time\n" * 1000)

    with (folder / "log").open("rb") as file:
        begin = logs._beginning_of(file, 5)

    assert (folder / "log").read_bytes()[begin:] == b"a line without a time\n" * 5


def test_a_log_that_cannot_be_read_is_named(folder: Path, read: Callable[..., list[str]]) -> None:
    (folder / "web.stdout").mkdir()

    with pytest.raises(UnavailableError, match=r"web\.stdout"):
        read()
