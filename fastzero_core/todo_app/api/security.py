"""Log security events: who did what to an account, and from where. They never contain passwords, tokens or e-mails."""

import logging
from enum import StrEnum

from starlette.types import Scope

from ... import errors
from ...errors import FastZeroError
from ..models import Member, Role
from . import logs

REQUEST_ID = "fastzero.request_id"  # in the scope
ACCOUNT = "fastzero.account"  # in the scope: the id of the account that the request's token or login names


class SecurityEvent(StrEnum):
    """The events. Programs that read the log rely on their names."""

    SIGN_UP = "sign_up"
    LOGIN = "login"
    LOGIN_FAILED = "login_failed"
    LOGIN_LOCKED = "login_locked"
    TOKEN_REFUSED = "token_refused"  # noqa: S105 - an event
    ACCESS_REFUSED = "access_refused"
    LOGOUT = "logout"
    ACCOUNT_CHANGED = "account_changed"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - an event
    ACCOUNT_DELETED = "account_deleted"
    LIST_SHARED = "list_shared"
    LIST_ROLE_CHANGED = "list_role_changed"
    LIST_UNSHARED = "list_unshared"


_OF_ERRORS: list[tuple[type[FastZeroError], SecurityEvent]] = [
    (errors.LoginRefusedError, SecurityEvent.LOGIN_FAILED),
    (errors.CurrentPasswordError, SecurityEvent.LOGIN_FAILED),
    (errors.LoginThrottledError, SecurityEvent.LOGIN_LOCKED),
    (errors.AuthenticationError, SecurityEvent.TOKEN_REFUSED),
    (errors.AccountError, SecurityEvent.ACCESS_REFUSED),
    (errors.SignUpClosedError, SecurityEvent.ACCESS_REFUSED),
]


def security_event(
    scope: Scope, event: SecurityEvent, *, user_id: int | None = None, level: int = logging.INFO, **details: int | str
) -> None:
    """Log an event with the request's id and client. `user_id` defaults to the account of the request."""
    account = scope.get(ACCOUNT) if user_id is None else user_id
    logs.security(level, str(event), account, logs.client_of(scope), scope.get(REQUEST_ID, "-"), details)


def member_event(scope: Scope, event: SecurityEvent, list_id: int, member_id: int, role: Role) -> None:
    """Log what became of the membership in a list."""
    security_event(scope, event, list_id=list_id, member_id=member_id, role=role.value)


def shared_event(scope: Scope, list_id: int, member: Member) -> None:
    """Log what sharing a list with somebody changed, if anything."""
    if member.former is None:
        member_event(scope, SecurityEvent.LIST_SHARED, list_id, member.id, member.role)
    elif member.former is not member.role:
        member_event(scope, SecurityEvent.LIST_ROLE_CHANGED, list_id, member.id, member.role)


def log_refusal(scope: Scope, error: FastZeroError) -> None:
    """Log the security event of an error, if it has one."""
    for kind, event in _OF_ERRORS:
        if isinstance(error, kind):
            security_event(scope, event, level=logging.WARNING)
            return
