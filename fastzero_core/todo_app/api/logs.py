"""The app's log on stderr: one line per event, plain or JSON. It contains no secrets, request bodies or queries."""

import json
import logging
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

from starlette.types import Scope

from ..models import CALENDAR_PREFIX

SERVER = logging.getLogger("fastzero.server")
ACCESS = logging.getLogger("fastzero.access")
ERRORS = logging.getLogger("fastzero.error")
SECURITY = logging.getLogger("fastzero.security")

# Characters that move a terminal's cursor or change the direction of text: C0, C1 and Unicode's format controls.
_CONTROLS = (*range(0x20), *range(0x7F, 0xA0), *range(0x200B, 0x2010), *range(0x2028, 0x202F), *range(0x2060, 0x2070))
_VISIBLE = {code: ascii(chr(code))[1:-1] for code in (*_CONTROLS, 0x61C, 0xFEFF) if code != ord("\n")}


def log_config(format: str) -> dict[str, Any]:
    """Return the configuration for `logging.config.dictConfig`. `format` is "json" or "plain"."""
    formatter = {"()": JsonFormatter} if format == "json" else {"()": PlainFormatter}
    loggers = {name: {"handlers": ["stderr"], "level": "INFO", "propagate": False} for name in ("uvicorn", "fastzero")}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"chosen": formatter},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "chosen"}},
        "loggers": loggers,
    }


class PlainFormatter(logging.Formatter):
    """Formats a line that starts with the time and its zone, as in PostgreSQL's log."""

    converter = staticmethod(time.gmtime)
    default_msec_format = "%s.%03d UTC"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        # Indented, so that a line of a message or traceback cannot look like a log line.
        return super().format(record).translate(_VISIBLE).replace("\n", "\n  ")


class JsonFormatter(logging.Formatter):
    """Formats one JSON object per line: time, level and message, and the fields of the event."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def format(self, record: logging.LogRecord) -> str:
        event = {"time": self.formatTime(record), "level": record.levelname.lower(), "message": record.getMessage()}
        event |= getattr(record, "event", {})
        if record.exc_info:
            event["traceback"] = self.formatException(record.exc_info)
        return json.dumps(event).replace("\x7f", "\\u007f")


def access(scope: Scope, path: str, status: int, seconds: float, request_id: str, user_id: int | None) -> None:
    """Log a completed request. `user_id` is the account of its token or login, if any."""
    if ACCESS.isEnabledFor(logging.INFO):
        client, method, milliseconds = client_of(scope), scope["method"], round(seconds * 1000, 2)
        path = redacted(path)
        ACCESS.info(
            "%s %s %s %d in %s ms, request %s",
            *(client, method, path, status, milliseconds, request_id),
            extra={
                "event": {
                    "client": client,
                    "user_id": user_id,
                    "method": method,
                    "path": path,
                    "status": status,
                    "duration_ms": milliseconds,
                    "request_id": request_id,
                }
            },
        )


def failure(method: str, path: str, request_id: str) -> None:
    """Log a bug: the exception that is being handled, with its traceback."""
    path = redacted(path)
    ERRORS.exception(
        "%s %s failed, request %s",
        *(method, path, request_id),
        extra={"event": {"method": method, "path": path, "request_id": request_id}},
    )


def unavailable(method: str, path: str, reason: str, request_id: str) -> None:
    """Log the reason for a 503 response, which the client does not get."""
    path = redacted(path)
    SERVER.warning(
        "%s %s: %s, request %s",
        *(method, path, reason, request_id),
        extra={"event": {"method": method, "path": path, "request_id": request_id}},
    )


def security(
    level: int, event: str, user_id: int | None, client: str, request_id: str, details: Mapping[str, Any]
) -> None:
    """Log a security event of an account. `user_id` is None if the account is unknown."""
    account = f"user {user_id}" if user_id is not None else "no known user"
    what = "".join(f", {name} {value}" for name, value in details.items())
    SECURITY.log(
        level,
        "security event %s of %s from %s%s, request %s",
        *(event, account, client, what, request_id),
        extra={"event": {"event": event, "user_id": user_id, "client": client, **details, "request_id": request_id}},
    )


def redacted(path: str) -> str:
    """Return a path without the token of a calendar, which is a secret."""
    before, prefix, token = unquote(path).partition(CALENDAR_PREFIX)
    return quote(before + prefix) + "…" if token else path


def client_of(scope: Scope) -> str:
    """Return the address of the client; "-" if it has none."""
    client: tuple[str, int] | None = scope.get("client")
    return client[0] if client else "-"
