"""What a killed command or server left of a data directory: what was begun, and what works on one without a server."""

import os
import signal
from contextlib import suppress
from pathlib import Path

from ...polling import wait_until
from ...postgres import cluster, server
from ..actions import Kind
from ..observed import Thing
from ..spec import STOP_TIMEOUT

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
