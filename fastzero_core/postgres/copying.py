"""Copy lines from and to PostgreSQL by COPY, on a SQLAlchemy connection, also under asyncio."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from .driver_errors import translate

if TYPE_CHECKING:
    from sqlalchemy import Connection

_BLOCK = 500  # lines that are sent at once
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def escaped(text: str) -> str:
    """Return a text as a field of COPY's text format."""
    return text if text.isprintable() and "\\" not in text else text.translate(_ESCAPES)


def copy_in(connection: "Connection", statement: str, lines: Iterable[str]) -> int:
    """Run COPY … FROM STDIN with lines of the text format, and return how many.

    Raises FastZeroErrors, and the errors of `lines`.
    """
    count = 0
    rest = iter(lines)
    with _copying(connection, statement) as (copy, wait):
        while block := list(islice(rest, _BLOCK)):
            wait(copy.write("".join(block)))
            count += len(block)
    return count


@contextmanager
def _copying(connection: "Connection", statement: str) -> Iterator[tuple[Any, Any]]:
    """Yield the driver's COPY, and a function that waits for what its methods return."""
    import psycopg

    driver: Any = connection.connection.driver_connection
    copying = driver.cursor().copy(statement)
    try:
        if connection.dialect.is_async:
            with _AsyncCopying(copying) as copy:
                yield copy, _AsyncCopying.wait
        else:
            with copying as copy:
                yield copy, lambda result: result
    except psycopg.Error as error:
        raise translate(error) from error


class _AsyncCopying:
    """An asynchronous context manager as a synchronous one, in a greenlet."""

    def __init__(self, manager: Any) -> None:
        self._manager = manager

    def __enter__(self) -> Any:
        return self.wait(self._manager.__aenter__())

    def __exit__(self, *error: Any) -> Any:
        return self.wait(self._manager.__aexit__(*error))

    @staticmethod
    def wait(awaited: Any) -> Any:
        from sqlalchemy.util import await_only

        return await_only(awaited)
