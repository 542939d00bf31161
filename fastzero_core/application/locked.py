"""Convert a poetry.lock to requirements for pip, for a machine without Poetry: `python -m …locked poetry.lock`.

The format: https://github.com/python-poetry/poetry/blob/main/src/poetry/packages/locker.py
"""

import sys
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from .installation import declared, project_of


def requirements(text: str, direct: Collection[str] = ()) -> Iterator[str]:
    """Yield a line for each package of a lock, of all groups, with its version, its marker and its hashes.

    Skips optional packages. `direct` are the project's own dependencies: Poetry before 2.0 writes markers only to the
    packages that depend on a package, and its own ones have none there. Raises ValueError for a text that is not TOML.
    """
    lock = tomllib.loads(text)
    metadata = lock.get("metadata", {})
    old_hashes = metadata.get("files", {})  # of Poetry before 1.5
    is_old = metadata.get("lock-version", "2.1") < "2.1"
    old_markers = _markers_of_dependents(lock) if is_old else {}
    for package in lock.get("package", []):
        if package.get("optional"):
            continue
        name = package["name"]
        own = canonicalize_name(name)
        marker = _marker(package.get("markers", "") or ({} if own in direct else old_markers.get(own, {})) or "")
        hashes = "".join(f" --hash={file['hash']}" for file in package.get("files") or old_hashes.get(name, []))
        yield f"{name}=={package['version']}{f' ; {marker}' if marker else ''}{hashes}"


def _markers_of_dependents(lock: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return the markers with which other packages depend on each package.

    One is "" for a dependency without a marker, or of an extra: a lock has the packages of chosen extras alone.
    """
    found: dict[str, dict[str, str]] = {}
    for package in lock.get("package", []):
        for name, value in package.get("dependencies", {}).items():
            each = value if isinstance(value, list) else [value]
            for number, constraint in enumerate(each):
                marker = constraint.get("markers", "") if isinstance(constraint, dict) else ""
                dependents = found.setdefault(canonicalize_name(name), {})
                dependents[f"{package['name']}-{number}"] = "" if "extra ==" in marker else marker
    return found


def _marker(markers: str | Mapping[str, Any]) -> str:
    """Return one marker for a package. It may have a marker for each of its groups, and needs only one of them."""
    if isinstance(markers, str):
        return markers
    each = [str(marker) for marker in markers.values()]
    return "" if "" in each else " or ".join(f"({marker})" for marker in each)


if __name__ == "__main__":
    lock = Path(sys.argv[1])
    for line in requirements(lock.read_text(encoding="utf-8"), declared(project_of(lock.parent))):
        print(line)  # noqa: T201 - the result of this program
