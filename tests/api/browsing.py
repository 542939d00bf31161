"""A browser without scripts: it keeps cookies, and says where a request comes from."""

import re
from typing import Any

from .client import PASSWORD, Account, Answer, Client

HTML = {"Accept": "text/html,application/xhtml+xml", "Sec-Fetch-Site": "same-origin"}


class Browser:
    def __init__(self, api: Client, *, https: bool = False) -> None:
        self._api = api
        self._proxy = {"X-Forwarded-Proto": "https"} if https else {}
        self.cookies: dict[str, str] = {}
        self.set_cookies: list[str] = []

    def get(self, path: str, **headers: str) -> Answer:
        return self._request("GET", path, None, headers)

    def post(self, path: str, form: dict[str, Any], **headers: str) -> Answer:
        return self._request("POST", path, form, headers)

    def log_in(self, account: Account, password: str = PASSWORD) -> Answer:
        return self.post("/login", {"username": account.username, "password": password})

    def proof(self) -> str:
        """What the page of this session has, and pages of others have not."""
        found = re.search(r'name="csrf" value="([^"]+)"', self.get("/").text)
        assert found is not None
        return found[1]

    def change(self, path: str, **form: Any) -> Answer:
        """Make a change as the page does."""
        return self.post(path, {"csrf": self.proof(), **form})

    def _request(self, method: str, path: str, form: dict[str, Any] | None, headers: dict[str, str]) -> Answer:
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self._api.request(method, path, form=form, headers={**HTML, "Cookie": cookies, **self._proxy, **given})
        if cookie := answer.headers.get("set-cookie"):
            self.set_cookies.append(cookie)
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value.strip('"')
        return answer
