"""Ports for servers of tests, each given to one test alone."""

import fcntl
import os
import tempfile
from pathlib import Path

from fastzero_core.listening import is_free

# Below those that the system hands out itself.
FIRST, COUNT = 15_000, 15_000
# Meets each port once, and a port's neighbours, which some tests take too, hundreds of turns later.
STRIDE = 9_271


def any_free_port() -> int:
    """Return a free port that no other test of this machine is given before all others are used up.

    A port that was only free when somebody looked may be taken twice: by a test while another restarts its server.
    """
    turn = os.open(Path(tempfile.gettempdir()) / f"fastzero-test-ports-{os.getuid()}", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(turn, fcntl.LOCK_EX)
        last = int(os.pread(turn, 16, 0) or FIRST)
        for turns in range(1, COUNT):
            port = FIRST + (last - FIRST + turns * STRIDE) % COUNT
            if is_free("127.0.0.1", port):
                os.pwrite(turn, b"%05d" % port, 0)
                return port
    finally:
        os.close(turn)
    raise AssertionError("no port is free")
