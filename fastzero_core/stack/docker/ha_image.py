"""The image of a database with standbys: its build context, created from the installed package, and its name."""

import io
from pathlib import Path

from ...ha import ask, run_etcd, run_patroni
from ..embedded import supervisor
from ..spec import major_of
from . import image

NAME = "fastzero-ha"
PROGRAMS = (run_patroni, run_etcd, supervisor, ask)


def context_files() -> dict[str, bytes]:
    """Return the content of every file of the build context, by path."""
    files = {name: image.build_file(f"ha/{name}") for name in ("Dockerfile", "requirements.txt")}
    files |= {f"programs/{path.name}": path for path in (Path(str(program.__file__)) for program in PROGRAMS)}
    return {name: path.read_bytes() for name, path in files.items()}


def image_name(base: str) -> str:
    """Return `fastzero-ha:18-<hash>`, with the major version of the base image, and a hash as the app's image has.

    Raises InvalidInputError for an image without a major version.
    """
    return image.named(f"{NAME}:{major_of(base)}", base, context_files(), separator="-")


def context_archive() -> io.BytesIO:
    """Return the build context as a tar archive, with the same bytes for the same content."""
    return image.packed(context_files())


def build_arguments(base: str) -> dict[str, str]:
    """Return the Dockerfile's arguments."""
    return image.build_arguments(base, "POSTGRES_IMAGE")
