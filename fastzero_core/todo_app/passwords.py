"""Check, hash and verify passwords.

Hashes are argon2id from argon2-cffi, by default with the parameters of the low-memory profile of RFC 9106.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InvalidInputError
from . import validate

if TYPE_CHECKING:
    from argon2 import PasswordHasher


@dataclass(frozen=True, slots=True)
class HashCost:
    """The cost of a hash: passes, memory in KiB, and lanes that are computed in parallel."""

    time: int = 3
    memory: int = 65_536
    parallelism: int = 4


@dataclass(frozen=True, slots=True)
class PasswordHash:
    """The hash of a password that was already checked, for operations that would otherwise hash it."""

    value: str


DEFAULT_COST = HashCost()
PASSWORD_RULE = (
    f"Use {validate.PASSWORD_MIN} to {validate.PASSWORD_MAX} characters, no common password, and not the user's name."
)
DIFFERENT_MIN = 4  # distinct characters in a password
NAME_MIN = 3  # a password must not contain names of at least this length; shorter ones are part of many words
COMMON = Path(__file__).with_name("common_passwords.txt")


def check_new_password(password: str, *, username: str, email: str) -> str:
    """Return the password. Raises InvalidInputError with the reason if it is easy to guess for this user.

    A password must have 8 to 128 characters, at least 4 of them distinct. It must not be one of the most common
    passwords, nor contain the username, the part of the e-mail address before the `@`, or "fastzero". Case is ignored.
    """
    guess = validate.password(password).lower()
    if guess in _common_passwords():
        raise _weak("is one of the most common passwords")
    if len(set(guess)) < DIFFERENT_MIN:
        raise _weak(f"has fewer than {DIFFERENT_MIN} different characters")
    names = {
        "the username": username,
        "the name in the e-mail address": email.partition("@")[0],
        "fastzero": "fastzero",
    }
    for what, name in names.items():
        if len(name) >= NAME_MIN and name.lower() in guess:
            raise _weak(f"contains {what}")
    return password


def hash_password(password: str, cost: HashCost = DEFAULT_COST) -> str:
    """Return the argon2id hash of a password of 8–128 characters, including salt and parameters.

    With the default cost it intentionally takes tens of milliseconds and 64 MiB. Raises InvalidInputError.
    """
    return _hasher(cost).hash(validate.password(password))


def verify_password(password: str, password_hash: str) -> bool:
    """Return whether the password matches the hash; False for a hash that cannot be read."""
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        return _hasher(DEFAULT_COST).verify(password_hash, password.encode("utf-8", "surrogatepass"))
    except (VerificationError, InvalidHashError):
        return False


def is_outdated(password_hash: str, cost: HashCost = DEFAULT_COST) -> bool:
    """Return whether a hash was computed at another cost."""
    return _hasher(cost).check_needs_rehash(password_hash)


@cache
def dummy_hash(cost: HashCost = DEFAULT_COST) -> str:
    """Return a hash to verify against if the user does not exist, so that this takes as long as if it did."""
    return _hasher(cost).hash("the password of a user that does not exist")


@cache
def _common_passwords() -> frozenset[str]:
    # Read only when a password is set: most commands do not need it.
    lines = COMMON.read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if not line.startswith("# "))


def _weak(reason: str) -> InvalidInputError:
    return InvalidInputError(
        f"password {reason}", field="password", hint="Use a longer one, for example three or four random words"
    )


@cache
def _hasher(cost: HashCost) -> "PasswordHasher":
    from argon2 import PasswordHasher

    return PasswordHasher(time_cost=cost.time, memory_cost=cost.memory, parallelism=cost.parallelism)
