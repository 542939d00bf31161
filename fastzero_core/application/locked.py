"""Convert a poetry.lock to requirements for pip, for a machine without Poetry: `python -m …locked poetry.lock`.

The format: https://github.com/python-poetry/poetry/blob/main/src/poetry/packages/locker.py
"""

import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def requirements(text: str) -> Iterator[str]:
    """Yield a line for each package of a lock, of all groups, with its version, its marker and its hashes.

    Skips optional packages. Raises ValueError for a text that is not TOML.
    """
    for package in tomllib.loads(text).get("package", []):
        if package.get("optional"):
            continue
        marker = _marker(package.get("markers", ""))
        hashes = "".join(f" --hash={file['hash']}" for file in package.get("files", []))
        yield f"{package['name']}=={package['version']}{f' ; {marker}' if marker else ''}{hashes}"


def _marker(markers: str | Mapping[str, Any]) -> str:
    """Return one marker for a package. It may have a marker for each of its groups, and needs only one of them."""
    if isinstance(markers, str):
        return markers
    each = [str(marker) for marker in markers.values()]
    return "" if "" in each else " or ".join(f"({marker})" for marker in each)


if __name__ == "__main__":
    for line in requirements(Path(sys.argv[1]).read_text(encoding="utf-8")):
        print(line)  # noqa: T201 - the result of this program
