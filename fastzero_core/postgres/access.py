"""Let the clients of a runtime into a data directory that may come from the other one. Standard library only."""

import os
from pathlib import Path

from ..folders import file_of_owner

HBA, CONFIGURATION = "pg_hba.conf", "postgresql.conf"
TEXT_MAX = 2**20  # bytes
FROM_ANYWHERE = ["host", "all", "all", "all"]  # the line by which a container's clients log in
_LOCAL = ("local all all", "host all all 127.0.0.1/32", "host all all ::1/128")
_REPLICATION = tuple(line.replace(" all ", " replication ", 1) for line in _LOCAL)
PASSWORD, SOCKET = "scram-sha-256", "trust"


def fit(data: Path, *, in_container: bool) -> None:
    """Replace a data directory's rules of access if they are those of the other runtime. No server may run on it.

    In a container the server then also listens on every address; a local one gets its address when it is started.
    """
    with file_of_owner(data, HBA, os.O_RDWR) as file:
        lines = file.read(TEXT_MAX).decode("utf-8", "replace").splitlines()
        if any(line.split()[:4] == FROM_ANYWHERE for line in lines) == in_container:
            return
        file.seek(0)
        file.truncate()
        file.write(rules(in_container=in_container).encode())
    if in_container:
        with file_of_owner(data, CONFIGURATION, os.O_RDWR) as file:
            file.seek(0, os.SEEK_END)
            file.write(b"\nlisten_addresses = '*'\n")


def rules(*, in_container: bool) -> str:
    """Return the rules of access that the data of a runtime begins with."""
    method = SOCKET if in_container else PASSWORD
    lines = [f"{line} {method}" for line in (*_LOCAL, *_REPLICATION)]
    return "\n".join([*lines, *([" ".join([*FROM_ANYWHERE, PASSWORD])] if in_container else []), ""])
