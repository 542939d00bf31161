"""The app's log: one line an event on stderr, for people or as JSON; no secret, no body and no query in it."""

import json
import logging
import time
from typing import Any

from starlette.types import Scope

SERVER = logging.getLogger("fastzero.server")
ACCESS = logging.getLogger("fastzero.access")
ERRORS = logging.getLogger("fastzero.error")
SECURITY = logging.getLogger("fastzero.security")

# What moves a terminal's cursor, or turns the direction of its text: C0, C1 and Unicode's own controls.
_CONTROLS = (*range(0x20), *range(0x7F, 0xA0), *range(0x200B, 0x2010), *range(0x2028, 0x202F), *range(0x2060, 0x2070))
_VISIBLE = {code: ascii(chr(code))[1:-1] for code in (*_CONTROLS, 0x61C, 0xFEFF) if code != ord("\n")}


def log_config(format: str) -> dict[str, Any]:
    """What `logging.config.dictConfig` takes. `format` is json or plain."""
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
    """A time with its zone in front, as PostgreSQL has it in its log."""

    converter = staticmethod(time.gmtime)
    default_msec_format = "%s.%03d UTC"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        # Indented, so that no line of a message or a traceback looks like a line of the log.
        return super().format(record).translate(_VISIBLE).replace("\n", "\n  ")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level and message, and what the event has besides."""

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
    """Log one request that was answered; `user_id` is of the account that its token or login names, if any."""
    if ACCESS.isEnabledFor(logging.INFO):
        client, method, milliseconds = client_of(scope), scope["method"], round(seconds * 1000, 2)
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
    """A bug: the exception that is being handled, with its traceback."""
    ERRORS.exception(
        "%s %s failed, request %s",
        *(method, path, request_id),
        extra={"event": {"method": method, "path": path, "request_id": request_id}},
    )


def unavailable(method: str, path: str, reason: str, request_id: str) -> None:
    """Log why a request was answered with 503, which its client is not told."""
    SERVER.warning(
        "%s %s: %s, request %s",
        *(method, path, reason, request_id),
        extra={"event": {"method": method, "path": path, "request_id": request_id}},
    )


def security(level: int, event: str, user_id: int | None, client: str, request_id: str) -> None:
    """Log what happened to an account; `user_id` is None where no account is known."""
    account = f"user {user_id}" if user_id is not None else "no known user"
    SECURITY.log(
        level,
        "security event %s of %s from %s, request %s",
        *(event, account, client, request_id),
        extra={"event": {"event": event, "user_id": user_id, "client": client, "request_id": request_id}},
    )


def client_of(scope: Scope) -> str:
    """Return the address of whoever sent the request."""
    client: tuple[str, int] | None = scope.get("client")
    return client[0] if client else "-"
