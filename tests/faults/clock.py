"""A clock that can be stepped, for the processes that are started with it: libfaketime, if it is installed.

Only the time of day is stepped, as by a person or by NTP; the monotonic clock goes on.
"""

from pathlib import Path

LIBRARIES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib*/faketime/libfaketimeMT.so.1")


def library() -> Path | None:
    """Where libfaketime is, None if it is not installed."""
    return next((path for pattern in LIBRARIES for path in Path("/").glob(pattern.removeprefix("/"))), None)


def missing() -> str:
    """Why no clock can be stepped here, "" if it can."""
    return "" if library() else "libfaketime is not installed"


class Clock:
    """The clock of processes that are started with `variables`; it reads its offset from a file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0)

    def set(self, seconds: int) -> None:
        """Show a time that is so many seconds off."""
        self._file.write_text(f"{seconds:+d}\n")

    @property
    def variables(self) -> dict[str, str]:
        """What the environment of a process must have."""
        return {
            "LD_PRELOAD": str(library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DISABLE_SHM": "1",
        }
