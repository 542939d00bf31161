"""An ssh server of a test's own, with keys of its own, which can be cut off."""

import os
import shutil
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from fastzero_core.polling import wait_until

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
PATIENCE = 60  # seconds, on a slow machine too


def make_keys(folder: Path) -> None:
    """Make a folder with the keys of a server and of its user, and an `ssh` that knows both."""
    for name in ("host", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    program = folder / "bin" / "ssh"
    program.parent.mkdir()
    trusts = f"-F /dev/null -i {folder}/key -o UserKnownHostsFile={folder}/known -o StrictHostKeyChecking=accept-new"
    program.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} {trusts} "$@"\n')
    program.chmod(0o755)


def path_with_ssh(folder: Path) -> str:
    return f"{folder / 'bin'}:{os.environ['PATH']}"


@dataclass
class Server:
    """An ssh server with the keys of `folder`. `inside` is a command before its own, where another one is needed."""

    folder: Path
    port: int
    address: str = "127.0.0.1"
    inside: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        return f"ssh://{self.address}:{self.port}"

    def start(self) -> None:
        assert SSHD is not None
        options = {
            "Port": self.port,
            "ListenAddress": self.address,
            "HostKey": self.folder / "host",
            "AuthorizedKeysFile": self.folder / "key.pub",
            "StrictModes": "no",
            "PidFile": "none",
            "PermitRootLogin": "yes",
        }
        arguments = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
        command = [*self.inside, SSHD, "-D", "-f", "/dev/null", *arguments]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        probe = [*self.inside, str(self.folder / "bin" / "ssh"), "-p", str(self.port), self.address, "true"]
        assert wait_until(lambda: subprocess.run(probe, capture_output=True).returncode == 0, PATIENCE)

    def cut(self) -> None:
        """End every connection, and refuse new ones."""
        if self.process is None:
            return
        served = psutil.Process(self.process.pid).children(recursive=True)
        for process in [psutil.Process(self.process.pid), *served]:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = None
