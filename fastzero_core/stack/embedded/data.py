"""Data directories of local servers: unfinished ones, the processes that use one, and their usual locations."""

import os
import re
import signal
from contextlib import suppress
from pathlib import Path

from ... import folders
from ...polling import wait_until
from ...postgres import cluster, server
from ...project import Project, ProjectRecord
from ..actions import Kind
from ..observed import Thing
from ..spec import STOP_TIMEOUT

# As root: for what PostgreSQL's own user must reach if it cannot enter the project's folder.
SHARED_HOME = Path("/var/lib/fastzero")
CLUSTERS = "clusters"
LAST_GASP = 10  # seconds for the workers of a killed process to end and free its port


def begun(data: Path) -> list[Thing]:
    return [
        Thing(Kind.STAGING, str(path), "an initialisation that did not end left it")
        for path in cluster.unfinished(data)
    ]


def end_backends(data: Path) -> None:
    """End every process that uses the data directory: shut down a server, and kill the backends of a killed server.

    Such backends notice that the server has ended only when they next wait, which may never happen.
    """
    import psutil

    postmaster = server.postmaster(data)
    if postmaster is not None:
        with suppress(ProcessLookupError):
            os.kill(postmaster, signal.SIGINT)
        wait_until(lambda: not psutil.pid_exists(postmaster), STOP_TIMEOUT)
    for process in server.processes_on(data):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    wait_until(lambda: not server.processes_on(data), LAST_GASP)


def unmarked_data(project: Project, record: ProjectRecord) -> list[Thing]:
    """Return the project's data directories in their usual locations that were created before folders were marked."""
    cause = "fastzero made it before it marked what it makes"
    usual = [Path(place.data) for place in (record.place, *record.kept) if _is_usual(project, place.data)]
    unmarked = [data for data in usual if not folders.mark_of(data) and cluster.major_of(data)]
    return [Thing(Kind.MARK, str(data), cause) for data in unmarked]


def _is_usual(project: Project, data: str) -> bool:
    """Return whether fastzero itself would put the project's data there."""
    own = rf"{re.escape(str(project.folder))}/data(-[0-9a-f]{{8}})?"
    shared = rf"{re.escape(str(SHARED_HOME / CLUSTERS / project.name))}-[0-9a-f]{{8}}"
    return re.fullmatch(f"{own}|{shared}", data) is not None
