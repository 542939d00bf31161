"""Tokens: what they are signed with, and for how long."""

import time

import jwt
import pytest

from fastzero_core import InvalidInputError
from fastzero_core.errors import InvalidTokenError, LoginNeededError
from fastzero_core.todo_app.models import Identity
from fastzero_core.todo_app.tokens import ALGORITHMS, Tokens

KEY = "0123456789abcdef0123456789abcdef"
ANA = Identity(7, 3)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_is_read_as_it_was_issued(algorithm: str) -> None:
    tokens = Tokens(KEY, algorithm=algorithm)
    claims = tokens.read(tokens.issue(ANA))
    assert claims.identity == ANA
    assert claims.expires_at - claims.issued_at == 1800


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_any_other_library_verifies_it_with_the_key_as_it_is(algorithm: str) -> None:
    import hashlib
    import hmac

    token = Tokens(KEY, algorithm=algorithm).issue(ANA)
    signed, _, signature = token.rpartition(".")
    digest = hmac.new(KEY.encode(), signed.encode(), getattr(hashlib, algorithm.replace("HS", "sha"))).digest()
    assert jwt.utils.base64url_decode(signature) == digest


@pytest.mark.parametrize("key", ["", "short", "x" * 31, "é" * 15])
def test_a_key_under_32_bytes_is_refused(key: str) -> None:
    with pytest.raises(InvalidInputError, match="at least 32 bytes") as refused:
        Tokens(key)
    assert "token_urlsafe" in refused.value.hint


@pytest.mark.parametrize("algorithm", ["none", "RS256", "hs256", ""])
def test_another_algorithm_is_refused(algorithm: str) -> None:
    with pytest.raises(InvalidInputError, match="not one of HS256, HS384, HS512"):
        Tokens(KEY, algorithm=algorithm)


def test_a_token_that_was_read_before_ends_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = Tokens(KEY, lifetime=60)
    token = tokens.issue(ANA)
    assert tokens.read(token).identity == ANA
    later = time.time() + 61
    monkeypatch.setattr("fastzero_core.todo_app.tokens.time.time", lambda: later)
    with pytest.raises(InvalidTokenError):
        tokens.read(token)


def test_a_refreshed_token_ends_with_its_session() -> None:
    tokens = Tokens(KEY, lifetime=1800, session=3600)
    login = int(time.time()) - 3000
    assert tokens.read(tokens.issue(ANA, logged_in_at=login)).expires_at == login + 3600
    with pytest.raises(InvalidTokenError):
        tokens.read(tokens.issue(ANA, logged_in_at=login - 700))


def test_a_login_is_fresh_for_ten_minutes() -> None:
    tokens = Tokens(KEY)
    now = int(time.time())
    tokens.read(tokens.issue(ANA, logged_in_at=now - 480)).require_fresh_login()
    with pytest.raises(LoginNeededError):
        tokens.read(tokens.issue(ANA, logged_in_at=now - 601)).require_fresh_login()
