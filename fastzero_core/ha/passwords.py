"""Give the roles of a new database their passwords. Uses psycopg without SQLAlchemy."""

from collections.abc import Callable, Mapping

from ..errors import DatabaseLoginError
from ..postgres.roles import OWNER, SUPERUSER, Open, set_password

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
