"""Decide how an etcd with no data yet joins its cluster, then become etcd.

This is a program of the image, started as a file, which imports nothing of fastzero. The variables are etcd's own:
ETCD_NAME, ETCD_DATA_DIR, ETCD_INITIAL_CLUSTER.

A member whose data is lost must not start as if it had never had any: it would vote a second time, for what it had
promised to another. So a new cluster is made only if every member is found without data; an existing one replaces this
member by a new one of the same name. etcd answers at its peers' port from the start, without a majority too.
"""

import http.client
import json
import os
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

NEW, EXISTING = "new", "existing"  # values of ETCD_INITIAL_CLUSTER_STATE
EMPTY = b"fastzero: no data"  # the answer of a member without data, instead of etcd's list of members
MEMBERS = "/members"
TIMEOUT = 2  # seconds for an answer
BETWEEN = 0.2  # seconds between two rounds of questions
FAILURES = (OSError, http.client.HTTPException, ValueError)


class Waiting(BaseHTTPRequestHandler):
    """Answers the other members until this one becomes etcd."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(EMPTY)))
        self.end_headers()
        self.wfile.write(EMPTY)

    def log_message(self, *_: Any) -> None:
        """Log nothing: the others ask several times a second."""


def state(name: str, cluster: dict[str, str]) -> str:
    """Return how this member has to start: in a new cluster, or in one that exists and now expects it."""
    server = ThreadingHTTPServer(("", urlsplit(cluster[name]).port or 0), Waiting)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        return _decided(name, cluster)
    finally:
        server.shutdown()
        server.server_close()


def _decided(name: str, cluster: dict[str, str]) -> str:
    others = [url for each, url in cluster.items() if each != name]
    empty: set[str] = set()
    while len(empty) < len(others):
        for url in others:
            with suppress(*FAILURES):  # it does not run yet, or cannot be reached
                answer = _request(url, "GET", MEMBERS)
                if answer != EMPTY:
                    _join(json.loads(answer), cluster[name])
                    return EXISTING
                empty.add(url)
        time.sleep(BETWEEN)
    return NEW


def _join(members: list[dict[str, Any]], url: str) -> None:
    """Have the cluster expect a member without data at this address. Raises one of FAILURES if it has no majority."""
    own = next((member for member in members if url in member["peerURLs"]), None)
    if own and not own.get("clientURLs"):  # it never ran
        return
    client = next((each["clientURLs"][0] for each in members if each is not own and each.get("clientURLs")), None)
    if client is None:
        raise ValueError("no member answers to clients")
    if own:
        _say(f"the data of this member is lost: it is replaced in the cluster, as {client} knows it")
        _request(client, "POST", "/v3/cluster/member/remove", {"ID": str(own["id"])})
    _request(client, "POST", "/v3/cluster/member/add", {"peerURLs": [url]})


def _request(url: str, method: str, path: str, body: dict[str, Any] | None = None) -> bytes:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT)
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None)
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise ValueError(f"{url}{path}: {answer.status} {content.decode(errors='replace')}")
    return content


def _say(text: str) -> None:
    sys.stderr.write(f"fastzero: {text}\n")


def main() -> NoReturn:
    name, data = os.environ["ETCD_NAME"], Path(os.environ["ETCD_DATA_DIR"])
    cluster = dict(each.split("=", 1) for each in os.environ["ETCD_INITIAL_CLUSTER"].split(","))
    os.umask(0o077)
    if not (data / "member").is_dir():
        os.environ["ETCD_INITIAL_CLUSTER_STATE"] = state(name, cluster)
    os.execvp("etcd", ["etcd"])  # noqa: S606


if __name__ == "__main__":
    main()
