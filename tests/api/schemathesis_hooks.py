"""What Schemathesis is told before it runs: where tokens come from, and which passwords are easy to guess.

It logs out as it goes, and deletes accounts.
"""

import os
from typing import Any

import schemathesis

from fastzero_core.errors import InvalidInputError
from fastzero_core.todo_app import due, validate
from fastzero_core.todo_app.passwords import check_new_password
from tests.api.client import PASSWORD, Account, Client

ZONE_MAX = 64  # characters that the document allows
TOKEN_SECONDS = 1  # until the next one: the one before may have been voided


@schemathesis.auth(refresh_interval=TOKEN_SECONDS)
class OneUser:
    """The same user for as long as it is there, so that what was made by one request is there for the next."""

    def __init__(self) -> None:
        self._client = Client(int(os.environ["API_PORT"]))
        self._account: Account | None = None

    def get(self, case: Any, context: Any) -> str:
        if self._account is not None:
            answer = self._client.log_in(self._account.username)
            if answer.status == 200:
                return str(answer.json["access_token"])
        self._account = self._client.sign_up()
        return self._account.token

    def set(self, case: Any, data: str, context: Any) -> None:
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Replace what no schema can describe: a password that is easy to guess, and a time zone that does not exist."""
    body, query = case.body, case.query
    if isinstance(body, dict) and _is_easy_to_guess(body):
        case.body = {**body, "password": PASSWORD}
    if isinstance(query, dict) and _is_unknown_zone(query.get("time_zone")):
        case.query = {**query, "time_zone": "UTC"}
    if isinstance(query, dict) and not isinstance(query.get("tag", []), list):
        case.query = {**case.query, "tag": [""]}  # in a URL, one value is a list of one: wrong in another way instead


def _is_unknown_zone(name: Any) -> bool:
    if not isinstance(name, str) or len(name) > ZONE_MAX:
        return False
    try:
        due.zone(name)
    except InvalidInputError:
        return True
    return False


def _is_easy_to_guess(body: dict[str, Any]) -> bool:
    given: dict[str, Any] = {name: body.get(name) for name in ("username", "email", "password")}
    if not all(isinstance(value, str) for value in given.values()):
        return False
    try:
        validate.password(given["password"])
    except InvalidInputError:
        return False
    try:
        check_new_password(**given)
    except InvalidInputError:
        return True
    return False
