"""A small disk: an ext4 file system on a loop device in memory, which can be filled and frozen. Linux, as root."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SIZE = 1024  # MiB, of which only what is written takes memory
PROGRAMS = ("losetup", "mkfs.ext4", "mount", "umount", "fsfreeze", "fallocate")
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def missing() -> str:
    """Why there can be no small disk here, "" if there can."""
    if os.geteuid() != 0:
        return "a disk of its own needs root"
    absent = [program for program in PROGRAMS if shutil.which(program, path=PATH) is None]
    if absent:
        return f"{', '.join(absent)} is not installed"
    return "" if Path("/dev/loop-control").exists() else "this kernel has no loop devices"


class Disk:
    """A file system of 1 GiB, mounted at `folder`; `device` is its loop device."""

    def __init__(self, parent: Path) -> None:
        self.folder = parent / "disk"
        self._image = parent / "disk.img"
        self._ballast = self.folder / "ballast"
        self.folder.mkdir()
        with self._image.open("wb") as file:
            file.truncate(SIZE * 2**20)
        _run("mkfs.ext4", "-q", "-m", "0", str(self._image))
        self.device = _run("losetup", "--find", "--show", str(self._image))
        _run("mount", "-o", "noatime", self.device, str(self.folder))
        self.folder.chmod(0o755)

    @property
    def free(self) -> int:
        """How many bytes can still be written."""
        status = os.statvfs(self.folder)
        return status.f_bavail * status.f_frsize

    @contextmanager
    def full(self, leaving: int) -> Iterator[None]:
        """Take all space but so many bytes for as long as the block lasts."""
        try:
            _run("fallocate", "-l", str(max(self.free - leaving, 4096)), str(self._ballast))
            yield
        finally:
            self._ballast.unlink(missing_ok=True)

    def hang(self, seconds: float) -> None:
        """Let nothing be written for a while: whoever writes or flushes waits."""
        # One shell for both: it thaws the file system whatever becomes of this process.
        _run("sh", "-c", 'fsfreeze -f "$0"; sleep "$1"; fsfreeze -u "$0"', str(self.folder), str(seconds))

    def remove(self) -> None:
        _run("umount", "--lazy", str(self.folder))
        _run("losetup", "--detach", self.device)
        self._image.unlink()


def _run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=True, env={**os.environ, "PATH": PATH})
    return done.stdout.strip()
