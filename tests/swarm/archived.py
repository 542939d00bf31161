"""What tests of archives do with a project in a swarm."""

import json
import time
from pathlib import Path
from typing import Any

from fastzero_core.polling import wait_until
from tests.stack.s3 import BUCKET, S3

from .conftest import Deployed

SOON = 120  # seconds, on a busy machine


def options(s3: S3, folder: Path) -> tuple[str, ...]:
    """Return the options with which a command reaches the server."""
    credentials = folder / "credentials"
    credentials.write_text(s3.credentials)
    return ("--endpoint-url", s3.endpoint, "--credentials-file", str(credentials))


def url_of(project: Deployed) -> str:
    return f"s3://{BUCKET}/{project.name}"


def enable(project: Deployed, s3: S3, *more: str) -> str:
    reached = options(s3, project.folder)
    return project.fastzero("db", "archive", "enable", "--to", url_of(project), *reached, *more)


def told(project: Deployed, node: int = 1) -> dict[str, Any]:
    """Return the state of the archive."""
    return dict(json.loads(project.fastzero("db", "archive", "status", "-o", "json", node=node)))


def switch(project: Deployed) -> str:
    """Finish a segment. Returns its name."""
    project.sql("SELECT pg_logical_emit_message(true, 'test', repeat('x', 1000))")
    [[name]] = project.sql("SELECT pg_walfile_name(pg_switch_wal())")
    return str(name)


def last_archived(project: Deployed) -> str:
    """Return the number of the last segment that the server has archived, without its timeline."""
    [[name]] = project.sql("SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver")
    return str(name)[8:24]


def wait_until_archived(project: Deployed, segment: str) -> None:
    assert wait_until(lambda: last_archived(project) >= segment[8:24], SOON, every=0.5), told(project)


def now(project: Deployed) -> str:
    """Return the time by the clock of the server, with a moment before and after it."""
    time.sleep(0.1)
    [[found]] = project.sql("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
    time.sleep(0.1)
    return str(found)


def recover(other: Deployed, archived: Deployed, s3: S3) -> None:
    """Recover all that a project has archived into another one in the swarm."""
    other.up("--no-app")
    source = ("--from", url_of(archived), "--from-project", archived.name, *options(s3, archived.folder))
    other.fastzero("db", "restore", "--to-time", "latest", *source, "--yes")
