"""Password hashes: argon2id through argon2-cffi, by default with the parameters of RFC 9106's low-memory profile."""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

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
def _hasher(cost: HashCost) -> "PasswordHasher":
    from argon2 import PasswordHasher

    return PasswordHasher(time_cost=cost.time, memory_cost=cost.memory, parallelism=cost.parallelism)
