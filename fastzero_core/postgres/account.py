"""The unprivileged user that PostgreSQL runs as where fastzero itself runs as root, which PostgreSQL refuses."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import NotAllowedError

ACCOUNTS = ("postgres", "fastzero")
# Where programs and their libraries are, the language, the time zone. `LC_*` as well.
INHERITED = ("PATH", "LD_LIBRARY_PATH", "LANG", "LANGUAGE", "TZ")


@dataclass(frozen=True)
class ServiceUser:
    name: str
    uid: int
    gid: int

    def popen_options(self) -> dict[str, Any]:
        """What makes `subprocess` start a program as this user, without root's groups."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def can_enter(self, folder: Path) -> bool:
        """Whether this user reaches the folder, whatever decides it: modes, ACLs, mounts."""
        enter = ["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)]
        return subprocess.run(enter, stderr=subprocess.DEVNULL, **process_options(self)).returncode == 0


def process_options(user: ServiceUser | None) -> dict[str, Any]:
    """Return what `subprocess` starts one of PostgreSQL's programs with: as `user`, else as this process's own."""
    return {"cwd": "/", "env": environment(), **(user.popen_options() if user else {})}


def environment() -> dict[str, str]:
    """Return the environment of PostgreSQL's programs. Any role that may run a program on the server can read it.

    Passwords and keys of whoever started the server have no business there.
    """
    return {name: value for name, value in os.environ.items() if name in INHERITED or name.startswith("LC_")}


def service_user() -> ServiceUser | None:
    """None for an ordinary user, who runs PostgreSQL as himself. For root the account `postgres`, else `fastzero`,
    which is created if neither exists. Raises NotAllowedError if it cannot be."""
    if os.geteuid() != 0:
        return None
    user = _existing()
    if user is None:
        _create(ACCOUNTS[-1])
        user = _existing()
    if user is None:
        raise NotAllowedError(
            "PostgreSQL does not run as root, and there is no other account to run it as",
            hint="Create one: useradd --system fastzero. Or run fastzero as an ordinary user",
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
