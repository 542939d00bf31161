"""Find out whether a program could listen on a port of this machine."""

import socket


def is_free(host: str, port: int) -> bool:
    """Return whether a server could listen there now. Like PostgreSQL, ignores connections that are being closed."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True
