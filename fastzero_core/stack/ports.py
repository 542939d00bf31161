"""Find free ports on this machine, and the processes that use the others."""

import socket
from collections.abc import Collection

from ..errors import PortTakenError
from ..listening import is_free as is_free

TRIES = 200


def next_free(host: str, first: int, reserved: Collection[int]) -> int:
    """Return the first port, starting at `first`, that is free and not reserved.

    Raises PortTakenError if none of the next TRIES ports is.
    """
    for port in range(first, min(first + TRIES, 65536)):
        if port not in reserved and is_free(host, port):
            return port
    raise PortTakenError(f"no free port from {first} on", hint="Choose one: --port PORT")


def free_port() -> int:
    """Return any port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def owner_of(port: int) -> str:
    """Return the process that listens on the port, as `nginx (pid 42)`, "" if it cannot be determined."""
    import psutil

    try:
        listening = [
            found.pid
            for found in psutil.net_connections(kind="tcp")
            if found.status == psutil.CONN_LISTEN and found.laddr and found.laddr.port == port and found.pid
        ]
        return f"{psutil.Process(listening[0]).name()} (pid {listening[0]})" if listening else ""
    except (psutil.AccessDenied, psutil.NoSuchProcess):
        return ""


def taken_error(service: str, host: str, port: int, choice: str = "fastzero up --port {}") -> PortTakenError:
    """Return the error that names the process on the port. The hint is `choice` with the next port in its braces."""
    owner = owner_of(port)
    remedy = f"Stop {owner}, or choose" if owner else "Choose"
    error = PortTakenError(
        f"port {port} on {host} is taken by {owner or 'another process'}",
        hint=f"{remedy} another port: {choice.format(port + 1)}",
    )
    error.service = service
    return error
