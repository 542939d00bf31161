"""Identify a process by its pid and its start time, by a clock that cannot be set: pids are reused."""

import sys
import time
from dataclasses import dataclass
from os import sysconf
from pathlib import Path

ON_LINUX = sys.platform == "linux"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
TICKS = sysconf("SC_CLK_TCK")  # per second
# Fields after the program's name in /proc/PID/stat: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
_STATE, _START = 0, 19
_ENDED = (b"Z", b"X")


@dataclass(frozen=True)
class Seen:
    """A process as the system reports it now.

    `created` is its start time in seconds since the epoch, by the clock as it is set now. `start` is the boot id and
    the start time in ticks since boot, "" if the system does not report them.
    """

    start: str
    created: float
    has_ended: bool


def look_at(pid: int) -> Seen | None:
    """Return the process with this pid, None if it does not exist."""
    return _from_proc(pid) if ON_LINUX else _from_psutil(pid)


def created_of(start: str) -> float | None:
    """Return the time of a `start` in seconds since the epoch, None if it was before the current boot."""
    boot, _, ticks = start.partition(" ")
    return _moment(int(ticks)) if ticks.isdigit() and boot == _boot_id() else None


def _from_proc(pid: int) -> Seen | None:
    try:
        # A program's name may contain spaces and parentheses.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    ticks, boot = int(fields[_START]), _boot_id()
    return Seen(f"{boot} {ticks}" if boot else "", _moment(ticks), fields[_STATE] in _ENDED)


def _moment(ticks: int) -> float:
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / TICKS


def _boot_id() -> str:
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _from_psutil(pid: int) -> Seen | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return Seen("", process.create_time(), process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return None
