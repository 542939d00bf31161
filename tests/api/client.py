"""A client of the app over HTTP, as plain as can be: what it sends and gets is what goes over the wire."""

import asyncio
import http.client
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI

PATIENCE = 60  # seconds until a server that hangs is given up
LOGINS = 10  # attempts while the server says that it is busy
PASSWORD = "correct horse"
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def detail(self) -> Any:
        return self.json["detail"]


@dataclass(frozen=True)
class Account:
    """A user whom a test has made, with a token."""

    id: int
    username: str
    email: str
    token: str = field(repr=False)
    password: str = PASSWORD


class Client:
    """Requests to one app, each on a connection of its own; from the address `source`, if one is given.

    `patience` are the seconds until a server that hangs is given up.
    """

    def __init__(
        self,
        port: int,
        app: FastAPI | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        source: str | None = None,
        host: str = "127.0.0.1",
        patience: float = PATIENCE,
    ) -> None:
        self.port = port
        self._host, self._patience = host, patience
        self._source = (source, 0) if source else None
        self._app = app
        self._loop = loop

    @property
    def app(self) -> FastAPI:
        """The app itself, where it runs in this process."""
        assert self._app is not None
        return self._app

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that serves, where it runs in this process."""
        assert self._loop is not None
        return self._loop

    def request(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        json_body: Any = None,
        form: dict[str, Any] | None = None,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if json_body is not None:
            body, sent["Content-Type"] = json.dumps(json_body).encode(), JSON
        if form is not None:
            body, sent["Content-Type"] = urlencode(form).encode(), FORM
        connection = http.client.HTTPConnection(
            self._host, self.port, timeout=self._patience, source_address=self._source
        )
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            received = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, received, response.read().decode("utf-8", "replace"))
        finally:
            connection.close()

    def get(self, path: str, token: str | None = None) -> Answer:
        return self.request("GET", path, token=token)

    def post(self, path: str, body: Any = None, token: str | None = None) -> Answer:
        return self.request("POST", path, token=token, json_body=body)

    def put(self, path: str, body: Any, token: str | None = None) -> Answer:
        return self.request("PUT", path, token=token, json_body=body)

    def patch(self, path: str, body: Any, token: str | None = None) -> Answer:
        return self.request("PATCH", path, token=token, json_body=body)

    def delete(self, path: str, token: str | None = None) -> Answer:
        return self.request("DELETE", path, token=token)

    def log_in(self, username: str, password: str = PASSWORD) -> Answer:
        return self.request("POST", "/auth/token", form={"username": username, "password": password})

    def token(self, username: str, password: str = PASSWORD) -> str:
        """Log in, and again where the server is busy, as its answer asks for."""
        answer = self.log_in(username, password)
        for _ in range(LOGINS):
            if answer.status != 503 or "retry-after" not in answer.headers:
                break
            time.sleep(float(answer.headers["retry-after"]))
            answer = self.log_in(username, password)
        assert answer.status == 200, answer.text
        return str(answer.json["access_token"])

    def sign_up(self, username: str | None = None) -> Account:
        """A new user, logged in."""
        name = username or new_name()
        body = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
        created = self.post("/users/", body)
        assert created.status == 201, created.text
        return Account(created.json["id"], name, body["email"], self.token(name))


def new_name() -> str:
    return f"user-{secrets.token_hex(6)}"


def get(port: int, path: str) -> Answer:
    return Client(port).get(path)


def answers(port: int, path: str = "/healthz") -> bool:
    try:
        return get(port, path).status == 200
    except (OSError, http.client.HTTPException):
        return False
