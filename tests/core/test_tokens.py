"""Tokens: what they are signed with, and for how long."""

import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from fastzero_core import InvalidInputError
from fastzero_core.errors import InvalidTokenError, LoginNeededError
from fastzero_core.todo_app.models import Identity
from fastzero_core.todo_app.tokens import ALGORITHMS, AUDIENCE, ISSUER, Tokens, parse_keys, rotated_keys

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


# -- what a token is for ---------------------------------------------------------------------------------------


def signed(**changes: Any) -> str:
    """A token with other claims, signed with the right key."""
    claims = jwt.decode(Tokens(KEY).issue(ANA), options={"verify_signature": False})
    return jwt.encode({name: value for name, value in {**claims, **changes}.items() if value is not ...}, KEY)


def test_a_token_names_its_issuer_its_audience_and_its_key() -> None:
    token = Tokens(KEY).issue(ANA)
    claims = jwt.decode(token, KEY, algorithms=["HS256"], audience=AUDIENCE, issuer=ISSUER)
    assert (claims["iss"], claims["aud"]) == ("fastzero", "fastzero-api")
    key_id = jwt.get_unverified_header(token)["kid"]
    assert key_id == parse_keys(KEY)[0].id
    assert key_id not in KEY


@pytest.mark.parametrize("changes", [{"iss": ...}, {"aud": ...}, {"iss": "another"}, {"aud": "another"}, {"aud": []}])
def test_a_token_of_another_issuer_or_for_another_audience_is_refused(changes: dict[str, Any]) -> None:
    assert Tokens(KEY).read(signed()).identity == ANA
    with pytest.raises(InvalidTokenError):
        Tokens(KEY).read(signed(**changes))


@pytest.mark.parametrize("kid", ["unknown", "", 7, ["x"]])
def test_a_token_that_names_an_unknown_key_is_refused(kid: object) -> None:
    header = jwt.utils.base64url_encode(f'{{"alg": "HS256", "kid": {kid!r}}}'.replace("'", '"').encode()).decode()
    _, _, rest = signed().partition(".")
    with pytest.raises(InvalidTokenError):
        Tokens(KEY).read(f"{header}.{rest}")


# -- the change of the key -------------------------------------------------------------------------------------

NEW_KEY = "fedcba9876543210fedcba9876543210"


def test_tokens_of_the_previous_key_are_accepted_and_new_ones_are_of_the_current_key() -> None:
    before = Tokens(KEY).issue(ANA)
    tokens = Tokens(NEW_KEY, previous=KEY)
    assert tokens.read(before).identity == ANA
    after = tokens.issue(ANA)
    assert Tokens(NEW_KEY).read(after).identity == ANA
    with pytest.raises(InvalidTokenError):
        Tokens(KEY).read(after)


def test_a_rotated_key_is_accepted_for_as_long_as_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = Tokens(rotated_keys(KEY, NEW_KEY, keep=1800))
    before = Tokens(KEY, lifetime=86_400).issue(ANA)
    assert tokens.read(before).identity == ANA
    later = time.time() + 1801
    monkeypatch.setattr("fastzero_core.todo_app.tokens.time.time", lambda: later)
    with pytest.raises(InvalidTokenError):
        tokens.read(before)
    with pytest.raises(InvalidTokenError):  # also one that whoever has the old key makes now
        tokens.read(Tokens(KEY).issue(ANA))


def test_a_key_is_rotated_twice_and_no_token_ends_early() -> None:
    first, second = Tokens(KEY).issue(ANA), Tokens(NEW_KEY).issue(ANA)
    twice = rotated_keys(rotated_keys(KEY, NEW_KEY, keep=1800), "x" * 32, keep=1800)
    tokens = Tokens(twice)
    assert tokens.read(first).identity == tokens.read(second).identity == ANA
    assert [key.value for key in parse_keys(twice)] == ["x" * 32, NEW_KEY, KEY]


def test_a_rotation_forgets_the_keys_that_are_over() -> None:
    over = f"{NEW_KEY}\n{int(time.time()) - 1} {KEY}"
    assert [key.value for key in parse_keys(rotated_keys(over, "x" * 32, keep=60))] == ["x" * 32, NEW_KEY]


def test_without_keeping_no_token_of_before_is_accepted() -> None:
    assert rotated_keys(rotated_keys(KEY, NEW_KEY, keep=60), "x" * 32, keep=0) == "x" * 32


@pytest.fixture
def key_file(folder: Path) -> Path:
    file = folder / "secret_key"
    file.write_text(KEY)
    return file


def replace(file: Path, text: str) -> None:
    beside = file.with_suffix(".new")
    beside.write_text(text)
    beside.replace(file)


def test_a_change_of_the_key_s_file_is_taken_up_without_a_restart(
    key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastzero_core.todo_app.tokens.RELOAD_INTERVAL", 0)
    tokens = Tokens(KEY, file=key_file)
    before = tokens.issue(ANA)
    assert tokens.read(before).identity == ANA
    replace(key_file, rotated_keys(KEY, NEW_KEY, keep=60))
    assert Tokens(NEW_KEY).read(tokens.issue(ANA)).identity == ANA
    assert tokens.read(before).identity == ANA
    replace(key_file, NEW_KEY)
    with pytest.raises(InvalidTokenError):
        tokens.read(before)


def test_a_token_of_a_newer_key_than_this_process_has_read_is_accepted_at_once(key_file: Path) -> None:
    tokens = Tokens(KEY, file=key_file)
    replace(key_file, rotated_keys(KEY, NEW_KEY, keep=60))
    assert tokens.read(Tokens(NEW_KEY).issue(ANA)).identity == ANA


@pytest.mark.parametrize("damage", ["", "short", None])
def test_a_file_of_keys_that_cannot_be_used_changes_nothing(
    damage: str | None, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastzero_core.todo_app.tokens.RELOAD_INTERVAL", 0)
    tokens = Tokens(KEY, file=key_file)
    if damage is None:
        key_file.unlink()
    else:
        replace(key_file, damage)
    assert tokens.read(tokens.issue(ANA)).identity == ANA
    replace(key_file, NEW_KEY)
    assert Tokens(NEW_KEY).read(tokens.issue(ANA)).identity == ANA
