"""Choose the unprivileged user that runs PostgreSQL if fastzero runs as root: PostgreSQL refuses to run as root."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import NotAllowedError

ACCOUNTS = ("postgres", "fastzero")
# The paths of programs and libraries, the language, the time zone. Variables LC_* are inherited too.
INHERITED = ("PATH", "LD_LIBRARY_PATH", "LANG", "LANGUAGE", "TZ")


@dataclass(frozen=True)
class ServiceUser:
    name: str
    uid: int
    gid: int

    def popen_options(self) -> dict[str, Any]:
        """Return the options of `subprocess` to run a program as this user, without root's groups."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def can_enter(self, folder: Path) -> bool:
        """Return whether this user can enter the folder. Tries it, since modes, ACLs and mounts all matter."""
        enter = ["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)]
        return subprocess.run(enter, stderr=subprocess.DEVNULL, **process_options(self)).returncode == 0


def process_options(user: ServiceUser | None) -> dict[str, Any]:
    """Return the options of `subprocess` to run a PostgreSQL program as `user`, or as the current user if None."""
    return {"cwd": "/", "env": environment(), **(user.popen_options() if user else {})}


def environment() -> dict[str, str]:
    """Return the environment for PostgreSQL's programs, without the passwords and keys of the current user.

    Any role that can run a program on the server can read the server's environment.
    """
    return {name: value for name, value in os.environ.items() if name in INHERITED or name.startswith("LC_")}


def service_user() -> ServiceUser | None:
    """Return the user to run PostgreSQL as, None for the current user if that is not root.

    For root this is the account `postgres`, else `fastzero`, which is created if neither exists. Raises NotAllowedError
    if it cannot be created.
    """
    if os.geteuid() != 0:
        return None
    user = _existing()
    if user is None:
        _create(ACCOUNTS[-1])
        user = _existing()
    if user is None:
        raise NotAllowedError(
            "PostgreSQL cannot run as root, and the account fastzero could not be created",
            hint="Create it: useradd --system fastzero. Or run fastzero as an ordinary user",
        )
    return user


def _existing() -> ServiceUser | None:
    import pwd

    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return ServiceUser(name, entry.pw_uid, entry.pw_gid)
    return None


def _create(name: str) -> None:
    for command in (
        ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", name],
        ["adduser", "-S", "-D", "-H", name],  # BusyBox
    ):
        if shutil.which(command[0]):
            subprocess.run(command, capture_output=True)
            return
