"""The three streams of the process: UTF-8 in every locale, closed pipes and full disks without a traceback."""

import codecs
import errno
import os
import sys
from collections.abc import Callable
from io import TextIOWrapper
from typing import NoReturn, TextIO

from fastzero_core.errors import FastZeroError, UnavailableError

FILE_NAMES = "fastzero-file-names"  # how the streams write what is no text
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def prepare() -> None:
    """Give the streams UTF-8 in every locale, and a place to go where the caller has closed them."""
    codecs.register_error(FILE_NAMES, _as_file_names_are)
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="surrogateescape" if name == "stdin" else FILE_NAMES)


def _as_file_names_are(error: UnicodeError) -> tuple[str | bytes, int]:
    """Write the bytes of a file name that this locale cannot decode as they are; anything else as its number."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


def write_to_person(text: str) -> None:
    """Write to stderr. A reader that has gone does not stop the work."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        discard(sys.stderr)


def guarded(write: Callable[[], None]) -> None:
    """Write to stdout, and end well if its reader has gone."""
    try:
        write()
    except BrokenPipeError:
        close_output()


def close_output() -> NoReturn:
    """End with 0, and write nothing more: the reader has gone, as `head` does when it has enough."""
    discard(sys.stdout)
    discard(sys.stderr)
    raise SystemExit(0)


def unwritable(problem: OSError) -> FastZeroError:
    """Return the error of a full disk under the output, of which nothing more is written."""
    discard(sys.stdout)
    return UnavailableError(
        f"the result cannot be written: {problem.strerror}",
        hint="Free some space. What the command changed is changed; only its result is lost",
    )


def discard(stream: TextIO) -> None:
    """Let what is written to a stream from now on go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
