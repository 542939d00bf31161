"""Services of an application of the user's own: a small TCP server that keeps what it is told, and Redis."""

import shutil
import socket
from pathlib import Path

from fastzero_core import Stack

from .conftest import SOON
from .own_app import APP

# Answers each line with how many lines it has been told, which it keeps in a file of its working directory.
CACHE = """
import os, pathlib, socketserver, sys

KEPT = pathlib.Path(os.environ.get("KEPT_IN", ".")) / "lines"

class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            if line.strip() == b"crash":
                os._exit(3)
            with KEPT.open("ab") as kept:
                kept.write(line)
            said = f"{len(KEPT.read_bytes().splitlines())} {os.environ.get('GREETING', '')}"
            self.wfile.write(said.strip().encode() + b"\\n")

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

print("the cache listens", flush=True)
Server((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
"""

# It is broken unless the service answers while it is imported, as an application with a broker often is.
APP_WITH_CACHE = f"""
import os, socket

with socket.create_connection((os.environ["CACHE_HOST"], int(os.environ["CACHE_PORT"])), timeout=5) as cache:
    cache.sendall(b"imported\\n")
    COUNT = int(cache.recv(100).split()[0])
{APP}"""

VARIABLES = """
CACHE_HOST = "{service:cache:host}"
CACHE_PORT = "{service:cache:port}"
"""


def add_service(folder: Path, table: str) -> None:
    """Give the application in a folder a service, which it needs when it is imported."""
    (folder / "cache.py").write_text(CACHE)
    (folder / "app.py").write_text(APP_WITH_CACHE)
    description = folder / "fastzero.toml"
    text = description.read_text().replace("[application.environment]", f"[application.environment]{VARIABLES}")
    description.write_text(f"{text}\n{table}\n")


def edit(folder: Path, before: str, after: str) -> None:
    """Change the description."""
    description = folder / "fastzero.toml"
    text = description.read_text()
    assert before in text
    description.write_text(text.replace(before, after))


def address_of(stack: Stack, service: str) -> tuple[str, int]:
    """Where a service listens on this machine."""
    [status] = [each for each in stack.status() if each.service == service]
    host, _, port = status.address.partition(", ")[0].partition(":")
    return host, int(port)


def tell(stack: Stack, text: str, service: str = "cache") -> str:
    """Tell the service a line. Returns its answer: how many it has been told, and its greeting."""
    with socket.create_connection(address_of(stack, service), timeout=SOON) as connection:
        connection.sendall(f"{text}\n".encode())
        return connection.makefile().readline().strip()


def redis(stack: Stack, *words: str) -> str:
    """Ask Redis. Returns its answer as its protocol has it."""
    with socket.create_connection(address_of(stack, "redis"), timeout=SOON) as connection:
        connection.sendall(f"{' '.join(words)}\r\n".encode())
        answer = connection.makefile()
        line = answer.readline().strip()
        return answer.readline().strip() if line.startswith("$") else line


def pids(stack: Stack) -> dict[str, int | None]:
    return {each.service: each.pid for each in stack.status()}


def has(program: str) -> bool:
    return shutil.which(program) is not None
