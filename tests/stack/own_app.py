"""A small application of a user's own: an ASGI app, a worker and Alembic revisions, in an environment of its own."""

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
import pytest

from fastzero_core import Stack
from fastzero_core.stack.observed import ServiceState

APP = """
import json, os, sys
import psycopg

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        count = connection.execute("SELECT count(*) FROM notes").fetchone()[0]
    told = {"notes": count, "version": VERSION, "prefix": sys.prefix, "secret": os.environ["APP_SECRET"]}
    body = json.dumps(told).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})

VERSION = 1
"""

WORKER = """
import time
print("working", flush=True)
while True:
    time.sleep(60)
"""

ENV = """
import os
from alembic import context
from sqlalchemy import create_engine

engine = create_engine(os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://"))
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""

REVISION = """
from alembic import op

revision = {revision!r}
down_revision = {down!r}

def upgrade():
    op.execute({up!r})

def downgrade():
    op.execute({back!r})
"""

DESCRIPTION = """
project = "own"

[application]
asgi = "app:app"
port = {port}

[application.environment]
DATABASE_URL = "{{url}}"
APP_SECRET = "{{secret}}"

[application.processes]
worker = "python worker.py"
"""

DOCKERFILE = """
FROM python:3.13-slim
RUN pip install --no-cache-dir uvicorn alembic "psycopg[binary]" "sqlalchemy<2.1"
WORKDIR /srv
COPY . .
USER 1000
"""


def write_application(folder: Path, port: int) -> Path:
    """Write the application into a folder, with its description. Returns the folder."""
    folder.mkdir(exist_ok=True)
    files = {
        "app.py": APP,
        "worker.py": WORKER,
        "migrations/env.py": ENV,
        "fastzero.toml": DESCRIPTION.format(port=port),
    }
    files |= {"requirements.txt": "uvicorn\n", "alembic.ini": "[alembic]\nscript_location = migrations\n"}
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    add_revision(folder, "0001", None, up="CREATE TABLE notes (text text)", back="DROP TABLE notes")
    return folder


@contextmanager
def working_in(folder: Path) -> Iterator[Path]:
    """Work in the trusted folder of an application."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("FASTZERO_TRUST", "1")
        yield folder


def add_revision(folder: Path, revision: str, down: str | None, *, up: str, back: str = "SELECT 1") -> None:
    """Write one more revision."""
    versions = folder / "migrations" / "versions"
    versions.mkdir(exist_ok=True)
    text = REVISION.format(revision=revision, down=down, up=up, back=back)
    (versions / f"{revision}.py").write_text(text)


def make_environment(folder: Path) -> None:
    """Make a virtual environment that has what this very one has, so that nothing need be downloaded."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / ".venv")], check=True)
    [packages] = (folder / ".venv" / "lib").glob("python*/site-packages")
    (packages / "shared.pth").write_text(sysconfig.get_path("purelib") + os.linesep)
    for name in ("alembic", "pytest", "uvicorn"):
        program = folder / ".venv" / "bin" / name
        main = {"alembic": "alembic.config", "pytest": "pytest", "uvicorn": "uvicorn"}[name]
        call = "main" if name != "pytest" else "console_main"
        program.write_text(f"#!{folder}/.venv/bin/python\nfrom {main} import {call}\nraise SystemExit({call}())\n")
        program.chmod(0o755)
    (packages / "uvicorn").mkdir(exist_ok=True)
    (packages / "uvicorn").rmdir()
    (packages / "uvicorn.dist-info").mkdir()


def describe(folder: Path, text: str) -> None:
    """Add to the description of the application."""
    with (folder / "fastzero.toml").open("a") as file:
        file.write(text)


def answer(stack: Stack) -> Any:
    """What the application says."""
    [web] = [each for each in stack.status() if each.service == "web"]
    with urlopen(f"http://{web.address}/", timeout=60) as response:
        return json.load(response)


def states(stack: Stack) -> dict[str, ServiceState]:
    return {each.service: each.state for each in stack.status()}


def started_by(stack: Stack) -> list[psutil.Process]:
    """The processes that bear the mark of a record of the project's, without those that PostgreSQL starts."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            mark = process.environ().get("FASTZERO_PROCESS", "")
            is_server = process.name().startswith("postgres") and process.ppid() in [each.pid for each in found]
            if str(stack.project.folder) in mark and not is_server and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:  # it has ended, or is another user's
            continue
    return found
