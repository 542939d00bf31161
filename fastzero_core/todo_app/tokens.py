"""Access tokens: JWTs signed by one algorithm. Whether one is still valid, the database says.

Claims: `iss` and `aud`; `sub`, the user's id as a string; `ver`, the user's token version; `iat` and `exp`;
`auth_time`, when the password was given; `type`, always "access". Every defect is the same InvalidTokenError.

The header's `kid` names the key. New tokens are signed with the current key; those of a previous key are valid until
they end, so that the key can be changed without a new login.
"""

import hashlib
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
FRESH = 600  # seconds behind a login in which credentials may be changed
LENGTH_MAX = 2048  # characters; those made here have about 250
KNOWN = 4096  # tokens whose signature need not be verified anew
LOOK_AGAIN = 1.0  # seconds between two looks at a file of keys
_DIGEST_MAX = 64

_REQUIRED = ["iss", "aud", "sub", "ver", "iat", "exp", "auth_time", "type"]


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


@dataclass(frozen=True, slots=True)
class Key:
    """A key to sign tokens with, and until when its tokens are accepted: in seconds since 1970, None for always."""

    value: str
    until: int | None = None

    @property
    def id(self) -> str:
        """What names the key in a token's header. It tells nothing of the key itself."""
        return hashlib.sha256(b"fastzero key id:" + self.value.encode()).hexdigest()[:16]

    @property
    def padded(self) -> bytes:
        """The key's bytes. Raises InvalidInputError under 32 of them."""
        # HMAC itself fills a key up to its block with zeros: this changes no signature, and PyJWT's warning about keys
        # shorter than the digest, of which 32 bytes are enough, is no news.
        return checked_key(self.value).ljust(_DIGEST_MAX, b"\0")


def parse_keys(text: str) -> list[Key]:
    """The current key, which is the first line, and the previous ones: `SECONDS KEY` on each further line."""
    current, *others = text.split("\n")
    previous = [line.partition(" ") for line in others if line]
    return [Key(current), *(Key(key, int(until)) for until, _, key in previous if until.isdecimal())]


def rotated_keys(text: str, new: str, *, keep: float) -> str:
    """The text of the keys with `new` as the current one. The present one stays accepted for `keep` seconds, if any."""
    now = time.time()
    current, *others = parse_keys(text)
    previous = [Key(current.value, int(now + keep)), *others] if keep else []
    return "\n".join([new, *(f"{key.until} {key.value}" for key in previous if key.until and key.until > now)])


class _Keys:
    """The keys, read again when the file that they are from has changed."""

    def __init__(self, text: str, previous: str, file: Path | None) -> None:
        self._previous = [Key(previous)] if previous else []
        self._file = file
        self._stamp = self._look()
        self._looked_at = time.monotonic()
        self._take(text)

    def _take(self, text: str) -> None:
        keys = [*parse_keys(text), *self._previous]
        by_id = {key.id: (key, key.padded) for key in reversed(keys)}
        self.current, self.signer, self.by_id = keys[0], keys[0].padded, by_id

    def accept(self, key_id: str, now: float) -> bool:
        """Return whether tokens of this key are accepted."""
        key, _ = self.by_id.get(key_id, (None, b""))
        return key is not None and (key.until is None or now < key.until)

    def refresh(self, *, now: bool = False) -> bool:
        """Read the file again if it has changed, at most once a second unless `now`. Returns whether it had."""
        if self._file is None or (not now and time.monotonic() - self._looked_at < LOOK_AGAIN):
            return False
        self._looked_at = time.monotonic()
        stamp = self._look()
        if stamp is None or stamp == self._stamp:
            return False
        try:
            self._take(self._file.read_text(encoding="utf-8").strip())
        except (OSError, ValueError, InvalidInputError):
            return False  # half written, or not readable now: the keys at hand stay, and the next look is soon
        self._stamp = stamp
        return True

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self._file.stat() if self._file else None
        except OSError:
            return None
        return (found.st_ino, found.st_mtime_ns, found.st_size) if found else None


class Tokens:
    """Issues and reads tokens. `lifetime` of one token and of the whole `session` behind a login are in seconds.

    `key` is the current key, or the text of several (see `parse_keys`); `previous` is one whose tokens are accepted
    too. `file` is where `key` was read from: when it changes, the keys do.
    Raises InvalidInputError for a key under 32 bytes or another algorithm than HS256, HS384 and HS512.
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
        # Whether a signature is right never changes; all that does is looked at each time.
        self._signed: Callable[[str], tuple[Claims, str]] = lru_cache(KNOWN)(self._verify)

    def issue(self, identity: Identity, *, logged_in_at: int | None = None) -> str:
        """A token for a login now, or for one of before: then it ends with its session at the latest."""
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
        """What a token says that is signed and in time. Raises InvalidTokenError, whatever is wrong with it."""
        if len(token) > LENGTH_MAX:
            raise _invalid()
        self._keys.refresh()
        claims, key_id = self._signed(token)
        now = time.time()
        begins = max(claims.issued_at, claims.logged_in_at) - SKEW
        if not begins <= now < min(claims.expires_at, claims.logged_in_at + self._session):
            raise _invalid()
        if not self._keys.accept(key_id, now):
            raise _invalid()
        return claims

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
        # Besides what PyJWT raises: JSON may be nested too deeply, and numbers may be none.
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise _invalid() from None

    def _key_of(self, token: str) -> tuple[Key, bytes]:
        """The key that a token names; without a name the current one. Raises ValueError for an unknown one."""
        name = jwt.get_unverified_header(token).get("kid")
        # Another process may have signed with a key that is newer than the last look at the file.
        if name not in self._keys.by_id and name is not None:
            self._keys.refresh(now=True)
        if name is not None and name not in self._keys.by_id:
            raise ValueError("signed with an unknown key")
        return self._keys.by_id[self._keys.current.id if name is None else name]


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
