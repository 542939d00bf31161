"""Password hashes: argon2id with the parameters of RFC 9106's low-memory profile, through argon2-cffi."""

from functools import cache
from typing import TYPE_CHECKING

from . import validate

if TYPE_CHECKING:
    from argon2 import PasswordHasher


def hash_password(password: str) -> str:
    """The argon2id hash of a password of 8–128 characters, salt and parameters included.

    Takes tens of milliseconds and 64 MiB on purpose. Raises InvalidInputError.
    """
    return _hasher().hash(validate.password(password))


def verify_password(password: str, password_hash: str) -> bool:
    """Whether `password` is the one that was hashed; False too for a hash that cannot be read."""
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        return _hasher().verify(password_hash, password.encode("utf-8", "surrogatepass"))
    except (VerificationError, InvalidHashError):
        return False


@cache
def _hasher() -> "PasswordHasher":
    from argon2 import PasswordHasher

    return PasswordHasher()
