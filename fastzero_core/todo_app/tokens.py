"""Access tokens: JWTs signed with one algorithm. Whether a token has been revoked is checked in the database.

Claims: `iss` and `aud`; `sub`, the user's id as a string; `ver`, the user's token version; `iat` and `exp`;
`auth_time`, the time of the login; `type`, always "access". Every defect raises the same InvalidTokenError.

`kid` in the header identifies the key. New tokens are signed with the current key; tokens signed with a previous key
stay valid until they expire, so that the key can be changed without new logins.
"""

import hashlib
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import jwt

from ..errors import InvalidInputError, InvalidTokenError, LoginNeededError
from . import validate
from .models import Identity

ISSUER = "fastzero"
AUDIENCE = "fastzero-api"
ALGORITHMS = ("HS256", "HS384", "HS512")
KEY_BYTES_MIN = 32
SKEW = 5  # seconds that the clocks of replicas may differ
FRESH = 600  # seconds after a login in which credentials may be changed
LENGTH_MAX = 2048  # characters; tokens issued here have about 250
CACHE_SIZE = 4096  # tokens whose signature is not verified again
RELOAD_INTERVAL = 1.0  # seconds between checks of the key file
_DIGEST_MAX = 64

_REQUIRED = ["iss", "aud", "sub", "ver", "iat", "exp", "auth_time", "type"]


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a token. Times are in seconds since 1970."""

    identity: Identity
    issued_at: int
    expires_at: int
    logged_in_at: int

    def require_fresh_login(self) -> None:
        """Raise LoginNeededError unless the login was within the last ten minutes."""
        if time.time() - self.logged_in_at > FRESH:
            raise LoginNeededError("Log in again to change credentials")


@dataclass(frozen=True, slots=True)
class Key:
    """A signing key. Its tokens are accepted until `until`, in seconds since 1970; None for no limit."""

    value: str
    until: int | None = None

    @property
    def id(self) -> str:
        """The key's id for the header of a token. It reveals nothing about the key."""
        return hashlib.sha256(b"fastzero key id:" + self.value.encode()).hexdigest()[:16]

    @property
    def padded(self) -> bytes:
        """The key's bytes, padded. Raises InvalidInputError if it has fewer than 32."""
        # HMAC pads a key with zeros anyway, so this does not change signatures. It avoids PyJWT's warning about keys
        # that are shorter than the digest: 32 bytes are enough.
        return checked_key(self.value).ljust(_DIGEST_MAX, b"\0")


def parse_keys(text: str) -> list[Key]:
    """Parse the current key, on the first line, and previous keys, on further lines as `SECONDS KEY`."""
    current, *others = text.split("\n")
    previous = [line.partition(" ") for line in others if line]
    return [Key(current), *(Key(key, int(until)) for until, _, key in previous if until.isdecimal())]


def rotated_keys(text: str, new: str, *, keep: float) -> str:
    """Return the text of the keys with `new` as the current one. The old one stays accepted for `keep` seconds."""
    now = time.time()
    current, *others = parse_keys(text)
    previous = [Key(current.value, int(now + keep)), *others] if keep else []
    return "\n".join([new, *(f"{key.until} {key.value}" for key in previous if key.until and key.until > now)])


class _Keys:
    """The keys, which are reloaded when their file changes."""

    def __init__(self, text: str, previous: str, file: Path | None) -> None:
        self._previous = [Key(previous)] if previous else []
        self._file = file
        self._stamp = self._file_stamp()
        self._checked_at = time.monotonic()
        self._load(text)

    def _load(self, text: str) -> None:
        keys = [*parse_keys(text), *self._previous]
        by_id = {key.id: (key, key.padded) for key in reversed(keys)}
        self.current, self.signer, self.by_id = keys[0], keys[0].padded, by_id

    def accept(self, key_id: str, now: float) -> bool:
        """Return whether tokens of this key are accepted."""
        key, _ = self.by_id.get(key_id, (None, b""))
        return key is not None and (key.until is None or now < key.until)

    def refresh(self, *, now: bool = False) -> bool:
        """Reload the file if it has changed; without `now`, check at most once per second. Return whether it had."""
        if self._file is None or (not now and time.monotonic() - self._checked_at < RELOAD_INTERVAL):
            return False
        self._checked_at = time.monotonic()
        stamp = self._file_stamp()
        if stamp is None or stamp == self._stamp:
            return False
        try:
            self._load(self._file.read_text(encoding="utf-8").strip())
        except (OSError, ValueError, InvalidInputError):
            return False  # incomplete or unreadable: keep the current keys and try again at the next check
        self._stamp = stamp
        return True

    def _file_stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self._file.stat() if self._file else None
        except OSError:
            return None
        return (found.st_ino, found.st_mtime_ns, found.st_size) if found else None


class Tokens:
    """Issues and reads tokens. `lifetime` of a token, and `session`, the maximum time after a login, are in seconds.

    `key` is the current key, or the text of several (see `parse_keys`). Tokens signed with `previous` are accepted too.
    `file` is the file of `key`; when it changes, the keys are reloaded.
    Raises InvalidInputError for a key of fewer than 32 bytes, or an algorithm other than HS256, HS384 and HS512.
    """

    def __init__(
        self,
        key: str,
        *,
        previous: str = "",
        file: Path | None = None,
        algorithm: str = "HS256",
        lifetime: int = 1800,
        session: int = 86_400,
    ) -> None:
        if algorithm not in ALGORITHMS:
            raise InvalidInputError(f"algorithm {algorithm!r} is not one of {', '.join(ALGORITHMS)}", field="algorithm")
        self._keys = _Keys(key, previous, file)
        self._algorithm = algorithm
        self.lifetime = lifetime
        self._session = session
        # Only the signature is cached, since its validity never changes. Everything else is checked each time.
        self._signed: Callable[[str], tuple[Claims, str]] = lru_cache(CACHE_SIZE)(self._verify)

    def issue(self, identity: Identity, *, logged_in_at: int | None = None) -> str:
        """Return a token for a new login, or for an earlier one. It expires at the latest with the login's session."""
        self._keys.refresh()
        now = int(time.time())
        auth_time = now if logged_in_at is None else logged_in_at
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(identity.user_id),
            "ver": identity.token_version,
            "iat": now,
            "exp": min(now + self.lifetime, auth_time + self._session),
            "auth_time": auth_time,
            "type": "access",
        }
        return jwt.encode(claims, self._keys.signer, self._algorithm, headers={"kid": self._keys.current.id})

    def read(self, token: str) -> Claims:
        """Return the claims of a token. Raises InvalidTokenError if it is malformed, forged or expired."""
        if len(token) > LENGTH_MAX:
            raise _invalid()
        self._keys.refresh()
        claims, key_id = self._signed(token)
        now = time.time()
        valid_from = max(claims.issued_at, claims.logged_in_at) - SKEW
        if not valid_from <= now < min(claims.expires_at, claims.logged_in_at + self._session):
            raise _invalid()
        if not self._keys.accept(key_id, now):
            raise _invalid()
        return claims

    def seal(self, text: str) -> str:
        """Return a signature of a text, which `is_seal` accepts as long as tokens of the same time."""
        self._keys.refresh()
        return f"{self._keys.current.id}.{_signature(self._keys.signer, text)}"

    def is_seal(self, text: str, seal: str) -> bool:
        """Return whether a signature is that of a text, by a key that is accepted."""
        self._keys.refresh()
        key_id, _, signature = seal.partition(".")
        if key_id not in self._keys.by_id or not self._keys.accept(key_id, time.time()):
            return False
        return hmac.compare_digest(_signature(self._keys.by_id[key_id][1], text).encode(), signature.encode())

    def _verify(self, token: str) -> tuple[Claims, str]:
        try:
            key, value = self._key_of(token)
            claims = jwt.decode(
                token,
                value,
                algorithms=[self._algorithm],
                audience=AUDIENCE,
                issuer=ISSUER,
                options={"require": _REQUIRED, "verify_exp": False, "verify_iat": False},
            )
            return _claims(claims), key.id
        # In addition to the errors of PyJWT: JSON may be nested too deeply, and numbers may be invalid.
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise _invalid() from None

    def _key_of(self, token: str) -> tuple[Key, bytes]:
        """Return the key in a token's header, the current one by default. Raises ValueError for an unknown key."""
        key_id = jwt.get_unverified_header(token).get("kid")
        # Another process may have signed with a key that was added since the last check of the file.
        if key_id not in self._keys.by_id and key_id is not None:
            self._keys.refresh(now=True)
        if key_id is not None and key_id not in self._keys.by_id:
            raise ValueError("signed with an unknown key")
        return self._keys.by_id[self._keys.current.id if key_id is None else key_id]


def checked_key(key: str) -> bytes:
    """Return the key's bytes. Raises InvalidInputError if it has fewer than 32."""
    if len(key.encode()) < KEY_BYTES_MIN:
        raise InvalidInputError(
            f"SECRET_KEY must have at least {KEY_BYTES_MIN} bytes; it has {len(key.encode())}",
            field="secret_key",
            hint='Generate one: python -c "import secrets; print(secrets.token_urlsafe(32))"',
        )
    return key.encode()


def _signature(key: bytes, text: str) -> str:
    return hmac.digest(key, b"fastzero seal:" + text.encode(), "sha256").hex()


def _claims(claims: dict[str, Any]) -> Claims:
    subject, kind = claims["sub"], claims["type"]
    numbers = [claims[name] for name in ("ver", "iat", "exp", "auth_time")]
    if kind != "access" or not (subject.isascii() and subject.isdigit() and all(type(each) is int for each in numbers)):
        raise ValueError("claims of the wrong type")
    if not (1 <= int(subject) <= validate.BIGINT_MAX and all(0 <= each <= validate.BIGINT_MAX for each in numbers)):
        raise ValueError("a number out of range")
    if subject != str(int(subject)):
        raise ValueError("an id in another spelling")
    version, issued_at, expires_at, logged_in_at = numbers
    return Claims(Identity(int(subject), version), issued_at, expires_at, logged_in_at)


def _invalid() -> InvalidTokenError:
    return InvalidTokenError("Could not validate credentials")
