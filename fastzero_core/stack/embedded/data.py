"""Data directories of local servers: what a killed command left of one, what works on one, where they usually lie."""

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

# As root, what PostgreSQL's own user must reach and the project's folder does not let it.
SHARED_HOME = Path("/var/lib/fastzero")
CLUSTERS = "clusters"
LAST_GASP = 10  # seconds for the workers of a killed process to let go of its port


def begun(data: Path) -> list[Thing]:
    return [
        Thing(Kind.STAGING, str(path), "an initialisation that did not end left it")
        for path in cluster.unfinished(data)
    ]


def end_backends(data: Path) -> None:
    """End whatever works on the data: a server in good order, and what a killed one left the hard way.

    Its backends notice its end when they next wait, which may be never.
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
    """Return the project's data from before folders were marked, where fastzero puts it."""
    cause = "fastzero made it before it marked what it makes"
    usual = [Path(place.data) for place in (record.place, *record.kept) if _is_usual(project, place.data)]
    unmarked = [data for data in usual if not folders.mark_of(data) and cluster.major_of(data)]
    return [Thing(Kind.MARK, str(data), cause) for data in unmarked]


def _is_usual(project: Project, data: str) -> bool:
    """Whether this is where fastzero itself would put a project's data."""
    own = rf"{re.escape(str(project.folder))}/data(-[0-9a-f]{{8}})?"
    shared = rf"{re.escape(str(SHARED_HOME / CLUSTERS / project.name))}-[0-9a-f]{{8}}"
    return re.fullmatch(f"{own}|{shared}", data) is not None
