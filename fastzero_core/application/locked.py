"""What a poetry.lock says as requirements for pip, for a machine without Poetry: `python -m …locked poetry.lock`.

The format: https://github.com/python-poetry/poetry/blob/main/src/poetry/packages/locker.py
"""

import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def requirements(text: str) -> Iterator[str]:
    """Yield a line for each package of a lock, of all groups, with its version, its marker and its hashes.

    Raises ValueError for what is no poetry.lock.
    """
    for package in tomllib.loads(text).get("package", []):
        if package.get("optional"):
            continue
        marker = _marker(package.get("markers", ""))
        hashes = "".join(f" --hash={file['hash']}" for file in package.get("files", []))
        yield f"{package['name']}=={package['version']}{f' ; {marker}' if marker else ''}{hashes}"


def _marker(markers: str | Mapping[str, Any]) -> str:
    """A package that several groups have may have one marker for each: it is installed where one of them holds."""
    if isinstance(markers, str):
        return markers
    each = [str(marker) for marker in markers.values()]
    return "" if "" in each else " or ".join(f"({marker})" for marker in each)


if __name__ == "__main__":
    for line in requirements(Path(sys.argv[1]).read_text(encoding="utf-8")):
        print(line)  # noqa: T201 - the result of this program
