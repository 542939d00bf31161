"""Give the roles of a database with standbys their passwords. Uses psycopg without SQLAlchemy."""

from collections.abc import Callable, Mapping

from ..errors import DatabaseLoginError
from ..postgres.roles import MAINTENANCE, OWNER, SUPERUSER, Open, set_password
from ..postgres.sql import literal

SessionsOf = Callable[[str], Open]
"""Return what opens sessions of the superuser with a password."""


def set_first(sessions: SessionsOf, passwords: Mapping[str, str], first: str) -> None:
    """Set the passwords of the superuser, which has its own already or the first one, and of the owner, who has none.

    Can be repeated. Raises DatabaseLoginError if the superuser has another one.
    """
    for known in (passwords[SUPERUSER], first):
        try:
            set_password(sessions(known), SUPERUSER, SUPERUSER, passwords[SUPERUSER])
            break
        except DatabaseLoginError:
            if known == first:
                raise
    set_password(sessions(passwords[SUPERUSER]), SUPERUSER, OWNER, passwords[OWNER])


PSQL = ("psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--username={SUPERUSER}", f"--dbname={MAINTENANCE}")
NOT_LOGGED = {"PGOPTIONS": "-c log_statement=none -c log_min_error_statement=panic"}


def script(passwords: Mapping[str, str]) -> bytes:
    """Return what PSQL runs in the primary's container, whose socket needs no password, to set those of its roles."""
    change = "SELECT format('ALTER ROLE %I PASSWORD %L', rolname, {}) FROM pg_roles WHERE rolname = {} \\gexec\n"
    return "".join(change.format(literal(text), literal(role)) for role, text in passwords.items()).encode()
