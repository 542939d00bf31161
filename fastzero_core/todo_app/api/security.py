"""Security events: who did what to an account, from where. One line each, never with a password, token or address."""

import logging
from enum import StrEnum

from starlette.types import Scope

from . import logs

REQUEST_ID = "fastzero.request_id"  # in the scope
ACCOUNT = "fastzero.account"  # in the scope: the id of the account that the request's token or login names


class SecurityEvent(StrEnum):
    """What is logged; the names are a contract with whoever reads the log."""

    SIGN_UP = "sign_up"
    LOGIN = "login"
    LOGIN_FAILED = "login_failed"
    LOGIN_LOCKED = "login_locked"
    TOKEN_REFUSED = "token_refused"  # noqa: S105 - an event
    LOGOUT = "logout"
    CREDENTIALS_CHANGED = "credentials_changed"
    ACCOUNT_DELETED = "account_deleted"


REFUSALS = {SecurityEvent.LOGIN_FAILED, SecurityEvent.LOGIN_LOCKED, SecurityEvent.TOKEN_REFUSED}


def security_event(scope: Scope, event: SecurityEvent, *, user_id: int | None = None) -> None:
    """Log one event with its request's id and client. Without `user_id` the account is the one the request names."""
    level = logging.WARNING if event in REFUSALS else logging.INFO
    account = scope.get(ACCOUNT) if user_id is None else user_id
    logs.security(level, str(event), account, logs.client_of(scope), scope.get(REQUEST_ID, "-"))
