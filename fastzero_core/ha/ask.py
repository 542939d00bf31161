"""Send one request to the interface of a Patroni, with a password from a file or given.

This is also a program of the image, started as a file, which imports nothing of fastzero:

    ask.py TIMEOUT METHOD HOST:PORT PATH [BODY]

It prints the status and the answer as a JSON list. So a member can be asked through a container of another one, where
its network cannot be reached.
"""

import base64
import http.client
import json
import sys
from pathlib import Path

USER = "fastzero"
PASSWORD_FILE = "/run/secrets/patroni_password"  # noqa: S105
FAILURES = (OSError, http.client.HTTPException, ValueError)  # of a request that is not answered


def ask(password: str, timeout: float, method: str, address: str, path: str, body: str | None) -> tuple[int, str]:
    """Return the status and the text of the answer. Raises one of FAILURES."""
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=timeout)
    try:
        login = base64.b64encode(f"{USER}:{password}".encode()).decode()
        connection.request(method, path, body, {"Authorization": f"Basic {login}"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    finally:
        connection.close()


def main(timeout: str, method: str, address: str, path: str, body: str | None = None) -> int:
    password = Path(PASSWORD_FILE).read_text(encoding="utf-8").strip()
    try:
        print(json.dumps(ask(password, float(timeout), method, address, path, body)))  # noqa: T201
    except FAILURES as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
