"""Invitations: codes with which one user each may sign up where sign-up is not open to everybody."""

import hashlib
import secrets
from datetime import timedelta

from sqlalchemy import CTE, ColumnElement, Connection, delete, func, insert, select

from ..errors import InvalidInputError, InvitationError
from .models import Invitation
from .tables import invitations

LIFETIME = timedelta(days=7)
LIFETIME_MAX = timedelta(days=365)
_CODE_BYTES = 24


class Invitations:
    """The invitations of one database, on one connection: part of its transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, lifetime: timedelta = LIFETIME) -> Invitation:
        """Create an invitation. Its code is told this once; the database keeps the hash alone.

        Raises InvalidInputError for a lifetime that is not positive or above 365 days.
        """
        if not timedelta() < lifetime <= LIFETIME_MAX:
            raise InvalidInputError("an invitation lasts up to 365 days", field="expires")
        code = secrets.token_urlsafe(_CODE_BYTES)
        values = {"code_hash": _hash(code), "expires_at": func.now() + lifetime}
        over = delete(invitations).where(invitations.c.expires_at <= func.now()).cte("over")
        statement = insert(invitations).values(values).returning(invitations.c.expires_at).add_cte(over)
        return Invitation(code, self._connection.execute(statement).scalar_one())

    def check(self, code: str) -> None:
        """Raises InvitationError for a code that is unknown, used or expired."""
        if self._connection.execute(select(invitations.c.code_hash).where(*_is_valid(code))).one_or_none() is None:
            raise InvitationError("The invitation is unknown, used or expired")


def used(code: str) -> CTE:
    """The use of a code, as part of a statement: one row, or none for a code that is not valid."""
    return delete(invitations).where(*_is_valid(code)).returning(invitations.c.code_hash).cte("used")


def _is_valid(code: str) -> tuple[ColumnElement[bool], ...]:
    return invitations.c.code_hash == _hash(code), invitations.c.expires_at > func.now()


def _hash(code: str) -> str:
    # Of 24 random bytes nobody guesses one, so that a fast hash is enough.
    return hashlib.sha256(code.encode("utf-8", "surrogatepass")).hexdigest()
