"""Operations on invitations: codes that each allow one user to sign up when sign-up is not open."""

import hashlib
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import CTE, ColumnElement, Connection, delete, func, insert, select

from ..errors import InvalidInputError, InvitationError
from .tables import invitations

if TYPE_CHECKING:
    from .results import Invitation

LIFETIME = timedelta(days=7)
LIFETIME_MAX = timedelta(days=365)
_CODE_BYTES = 24


class Invitations:
    """The operations on invitations, in the transaction of one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, lifetime: timedelta = LIFETIME) -> "Invitation":
        """Create an invitation. Only this call returns its code; the database stores the hash.

        Raises InvalidInputError for a lifetime that is not positive or longer than 365 days.
        """
        if not timedelta() < lifetime <= LIFETIME_MAX:
            raise InvalidInputError(
                "the lifetime of an invitation must be positive and up to 365 days", field="expires"
            )
        code = secrets.token_urlsafe(_CODE_BYTES)
        values = {"code_hash": _hash(code), "expires_at": func.now() + lifetime}
        expired = delete(invitations).where(invitations.c.expires_at <= func.now()).cte("expired")
        statement = insert(invitations).values(values).returning(invitations.c.expires_at).add_cte(expired)
        from .results import Invitation

        return Invitation(code, self._connection.execute(statement).scalar_one())

    def check(self, code: str) -> None:
        """Raise InvitationError if the code is unknown, used or expired."""
        if self._connection.execute(select(invitations.c.code_hash).where(*_is_valid(code))).one_or_none() is None:
            raise InvitationError("The invitation is unknown, used or expired")


def used(code: str) -> CTE:
    """Return a CTE that uses up a code: it yields one row, or none if the code is not valid."""
    return delete(invitations).where(*_is_valid(code)).returning(invitations.c.code_hash).cte("used")


def _is_valid(code: str) -> tuple[ColumnElement[bool], ...]:
    return invitations.c.code_hash == _hash(code), invitations.c.expires_at > func.now()


def _hash(code: str) -> str:
    # A code of 24 random bytes cannot be guessed, so a fast hash is enough.
    return hashlib.sha256(code.encode("utf-8", "surrogatepass")).hexdigest()
