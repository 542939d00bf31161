"""Handle the standard streams: UTF-8 in every locale, closed pipes and full disks without a traceback."""

import codecs
import errno
import os
import sys
from collections.abc import Callable
from io import TextIOWrapper
from typing import NoReturn, TextIO

from fastzero_core.errors import FastZeroError, UnavailableError

FILE_NAMES = "fastzero-file-names"  # the streams' error handler for bytes that are not text
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def prepare() -> None:
    """Set the streams to UTF-8 in every locale. A stream that the caller has closed becomes the null device."""
    codecs.register_error(FILE_NAMES, _as_file_names_are)
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="surrogateescape" if name == "stdin" else FILE_NAMES)


def _as_file_names_are(error: UnicodeError) -> tuple[str | bytes, int]:
    """Write the undecodable bytes of a file name unchanged, and any other character as its number."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


def write_to_person(text: str) -> None:
    """Write to stderr. A closed stderr does not stop the work."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        discard(sys.stderr)


def guarded(write: Callable[[], None]) -> None:
    """Write to stdout. If its reader has closed it, end with 0."""
    try:
        write()
    except BrokenPipeError:
        close_output()


def close_output() -> NoReturn:
    """End with 0 and write nothing more: the reader has closed the output, as `head` does when it has enough lines."""
    discard(sys.stdout)
    discard(sys.stderr)
    raise SystemExit(0)


def unwritable(problem: OSError) -> FastZeroError:
    """Return the error for output to a full disk, and discard further output."""
    discard(sys.stdout)
    return UnavailableError(
        f"the result cannot be written: {problem.strerror}",
        hint="Free some space. What the command changed is changed; only its result is lost",
    )


def discard(stream: TextIO) -> None:
    """Discard everything that is written to a stream from now on."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
