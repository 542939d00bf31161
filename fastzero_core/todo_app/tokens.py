"""Access tokens: JWTs signed with one key by one algorithm. Whether one still holds, the database says.

Claims: `sub`, the user's id as a string; `ver`, the user's token version; `iat` and `exp`; `auth_time`, when the
password was given; `type`, always "access". Every defect is the same InvalidTokenError.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jwt

from ..errors import InvalidInputError, InvalidTokenError, LoginNeededError
from . import validate
from .models import Identity

ALGORITHMS = ("HS256", "HS384", "HS512")
KEY_BYTES_MIN = 32
SKEW = 5  # seconds that the clocks of replicas may differ
FRESH = 600  # seconds behind a login in which credentials may be changed
LENGTH_MAX = 2048  # characters; those made here have about 250
KNOWN = 4096  # tokens whose signature need not be verified anew
_DIGEST_MAX = 64

_REQUIRED = ["sub", "ver", "iat", "exp", "auth_time", "type"]


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says; times in seconds since 1970."""

    identity: Identity
    issued_at: int
    expires_at: int
    logged_in_at: int

    def require_fresh_login(self) -> None:
        """Raises LoginNeededError unless the password was given in the last ten minutes."""
        if time.time() - self.logged_in_at > FRESH:
            raise LoginNeededError("Log in again to change credentials")


class Tokens:
    """Issues and reads tokens. `lifetime` of one token and of the whole `session` behind a login are in seconds.

    Raises InvalidInputError for a key under 32 bytes or another algorithm than HS256, HS384 and HS512.
    """

    def __init__(self, key: str, *, algorithm: str = "HS256", lifetime: int = 1800, session: int = 86_400) -> None:
        if algorithm not in ALGORITHMS:
            raise InvalidInputError(f"algorithm {algorithm!r} is not one of {', '.join(ALGORITHMS)}", field="algorithm")
        # HMAC itself fills a key up to its block with zeros: this changes no signature, and PyJWT's warning about keys
        # shorter than the digest, of which 32 bytes are enough, is no news.
        self._key = checked_key(key).ljust(_DIGEST_MAX, b"\0")
        self._algorithm = algorithm
        self.lifetime = lifetime
        self._session = session
        # Whether a signature is right never changes; all that does is looked at each time.
        self._signed: Callable[[str], Claims] = lru_cache(KNOWN)(self._verify)

    def issue(self, identity: Identity, *, logged_in_at: int | None = None) -> str:
        """A token for a login now, or for one of before: then it ends with its session at the latest."""
        now = int(time.time())
        auth_time = now if logged_in_at is None else logged_in_at
        claims = {
            "sub": str(identity.user_id),
            "ver": identity.token_version,
            "iat": now,
            "exp": min(now + self.lifetime, auth_time + self._session),
            "auth_time": auth_time,
            "type": "access",
        }
        return jwt.encode(claims, self._key, self._algorithm)

    def read(self, token: str) -> Claims:
        """What a token says that is signed and in time. Raises InvalidTokenError, whatever is wrong with it."""
        if len(token) > LENGTH_MAX:
            raise _invalid()
        claims = self._signed(token)
        now = time.time()
        begins = max(claims.issued_at, claims.logged_in_at) - SKEW
        if not begins <= now < min(claims.expires_at, claims.logged_in_at + self._session):
            raise _invalid()
        return claims

    def _verify(self, token: str) -> Claims:
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=[self._algorithm],
                options={"require": _REQUIRED, "verify_exp": False, "verify_iat": False},
            )
            return _claims(claims)
        # Besides what PyJWT raises: JSON may be nested too deeply, and numbers may be none.
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise _invalid() from None


def checked_key(key: str) -> bytes:
    """The key's bytes. Raises InvalidInputError under 32 of them."""
    if len(key.encode()) < KEY_BYTES_MIN:
        raise InvalidInputError(
            f"SECRET_KEY must have at least {KEY_BYTES_MIN} bytes; it has {len(key.encode())}",
            field="secret_key",
            hint='Make one: python -c "import secrets; print(secrets.token_urlsafe(32))"',
        )
    return key.encode()


def _claims(claims: dict[str, Any]) -> Claims:
    subject, kind = claims["sub"], claims["type"]
    numbers = [claims[name] for name in ("ver", "iat", "exp", "auth_time")]
    if kind != "access" or not (subject.isascii() and subject.isdigit() and all(type(each) is int for each in numbers)):
        raise ValueError("claims of another kind")
    if not (1 <= int(subject) <= validate.BIGINT_MAX and all(0 <= each <= validate.BIGINT_MAX for each in numbers)):
        raise ValueError("a number out of range")
    if subject != str(int(subject)):
        raise ValueError("an id that is spelled otherwise")
    version, issued_at, expires_at, logged_in_at = numbers
    return Claims(Identity(int(subject), version), issued_at, expires_at, logged_in_at)


def _invalid() -> InvalidTokenError:
    return InvalidTokenError("Could not validate credentials")
