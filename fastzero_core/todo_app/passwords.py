"""Passwords: which ones are refused, and their hashes.

Hashes are argon2id through argon2-cffi, by default with the parameters of RFC 9106's low-memory profile.
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
    """What one hash takes: passes, KiB of memory, and lanes that are computed in parallel."""

    time: int = 3
    memory: int = 65_536
    parallelism: int = 4


@dataclass(frozen=True, slots=True)
class PasswordHash:
    """A password that was hashed already, for operations that would hash it themselves otherwise."""

    value: str


DEFAULT_COST = HashCost()
PASSWORD_RULE = (
    f"Use {validate.PASSWORD_MIN} to {validate.PASSWORD_MAX} characters; no common password, and not the user's name."
)
DIFFERENT_MIN = 4  # characters of a password that differ from each other
NAME_MIN = 3  # characters of a name that a password must not contain; shorter ones are part of many words
COMMON = Path(__file__).with_name("common_passwords.txt")


def check_new_password(password: str, *, username: str, email: str) -> str:
    """Return a password that is hard to guess for this user. Raises InvalidInputError, which says why it is not.

    Refused are passwords of under 8 or over 128 characters, the most common ones, those of under 4 different
    characters, and those that contain the username, the e-mail address before the `@`, or "fastzero". Case is ignored.
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
    """The argon2id hash of a password of 8–128 characters, salt and parameters included.

    Takes tens of milliseconds and 64 MiB on purpose, unless `cost` says otherwise. Raises InvalidInputError.
    """
    return _hasher(cost).hash(validate.password(password))


def verify_password(password: str, password_hash: str) -> bool:
    """Whether `password` is the one that was hashed; False too for a hash that cannot be read."""
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        return _hasher(DEFAULT_COST).verify(password_hash, password.encode("utf-8", "surrogatepass"))
    except (VerificationError, InvalidHashError):
        return False


def is_outdated(password_hash: str, cost: HashCost = DEFAULT_COST) -> bool:
    """Whether a hash that verifies was made at another cost."""
    return _hasher(cost).check_needs_rehash(password_hash)


@cache
def hash_of_nobody(cost: HashCost = DEFAULT_COST) -> str:
    """A hash to verify against where there is no user, so that it takes as long as where there is one."""
    return _hasher(cost).hash("the password of nobody")


@cache
def _common_passwords() -> frozenset[str]:
    # Read when the first password is chosen: most commands choose none.
    lines = COMMON.read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if not line.startswith("# "))


def _weak(reason: str) -> InvalidInputError:
    return InvalidInputError(
        f"password {reason}", field="password", hint="Choose a longer one, for example three or four random words"
    )


@cache
def _hasher(cost: HashCost) -> "PasswordHasher":
    from argon2 import PasswordHasher

    return PasswordHasher(time_cost=cost.time, memory_cost=cost.memory, parallelism=cost.parallelism)
