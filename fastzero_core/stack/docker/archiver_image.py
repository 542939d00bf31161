"""The image of a database's archiver: the database's image with Python, and the part of fastzero that archives."""

import io
from collections.abc import Mapping
from pathlib import Path

from . import image

NAME = "fastzero-archiver"
BASE = "POSTGRES_IMAGE"  # the Dockerfile's argument
FOLDERS = ("archive", "postgres")  # of the package, besides its own modules


def sources() -> dict[str, Path]:
    """Return every file of the build context, by its path in the context."""
    package = image.PACKAGE
    modules = [path.name for path in package.glob("*.py") if path.name != "testing.py"]
    modules += [f"{folder}/{inside}" for folder in FOLDERS for inside in image.files_in(package / folder)]
    files = {"Dockerfile": "archiver.Dockerfile", "requirements.txt": "archiver-requirements.txt"}
    found = {name: image.build_file(source) for name, source in files.items()}
    return found | {f"app/fastzero_core/{name}": package / name for name in sorted(modules)}


def context_files() -> dict[str, bytes]:
    """Return the content of every file of the build context, by path."""
    return {name: path.read_bytes() for name, path in sources().items()}


def context_archive() -> io.BytesIO:
    return image.packed(context_files())


def build_arguments(base: str) -> Mapping[str, str]:
    return image.build_arguments(base, BASE)


def image_name(base: str) -> str:
    """Return `fastzero-archiver:<hash>`, from a cache if no source has changed."""
    state = image.fingerprint(base, sources())
    return image.remembered(f"{NAME}.json", state, lambda: image.named(NAME, base, context_files()))
