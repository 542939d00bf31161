"""The image of the built-in application: its build context, created from the installed package, and its name.

The name contains a hash of everything in the context: an image that exists is current, and changed content gets another
name.
"""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from platformdirs import user_cache_path

from ... import __version__
from ...errors import FastZeroError
from ...files import read_text, write_atomically
from ...schema import revisions

PACKAGE = Path(__file__).parents[2]
CLI = PACKAGE.parent / "fastzero_cli"
NAME = "fastzero-app"
INDEX = "PIP_INDEX_URL"
OMITTED = {"__pycache__", "docs", "manual"}  # folders that no process of a container reads

# Workers import this script again, under another name.
SCRIPT = """#!/venv/bin/python
from fastzero_cli.__main__ import run

if __name__ == "__main__":
    raise SystemExit(run())
"""


def build_file(name: str) -> Path:
    """Return the path of a file of `docker/`: inside this package in an installed wheel, else in the checkout."""
    installed = PACKAGE / "docker" / name
    return installed if installed.is_file() else PACKAGE.parent / "docker" / name


def sources() -> dict[str, Path]:
    """Return every file that is copied into the build context unchanged, by its path in the context."""
    found = {name: build_file(name) for name in ("Dockerfile", "requirements.txt")}
    tops = (("fastzero_core", PACKAGE), ("fastzero_cli", CLI), ("fastzero_core/migrations", revisions.folder()))
    for top, folder in tops:
        found |= {f"app/{top}/{inside}": folder / inside for inside in files_in(folder)}
    del found["app/fastzero_core/testing.py"]  # the image runs no tests
    return found


def files_in(folder: Path) -> Iterator[str]:
    """Yield the files in a folder that an image needs. Every `up` runs this, and `rglob` takes five times as long."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - OMITTED)
        inside = Path(parent).relative_to(folder).as_posix()
        yield from (name if inside == "." else f"{inside}/{name}" for name in sorted(names))


def context_files() -> dict[str, bytes]:
    """Return the content of every file of the build context, by path."""
    return {"app/bin/fastzero": SCRIPT.encode(), **{name: path.read_bytes() for name, path in sources().items()}}


def image_name(base: str) -> str:
    """Return `fastzero-app:<hash>`, with a hash of the context and of the base image's name."""
    return named(NAME, base, context_files())


def named(name: str, base: str, files: Mapping[str, bytes], *, separator: str = ":") -> str:
    """Return an image's name with a hash of the files of its context and of the base image's name."""
    digest = hashlib.sha256(base.encode())
    for path, content in sorted(files.items()):
        digest.update(f"{path}\0{len(content)}\0".encode() + content)
    return f"{name}{separator}{digest.hexdigest()[:12]}"


def remembered_name(base: str) -> str:
    """Return `image_name`, from a cache if no source has changed."""
    return remembered("app-image.json", fingerprint(base, sources()), lambda: image_name(base))


def remembered(file_name: str, state: str, compute: Callable[[], str]) -> str:
    """Return the value that was computed for exactly this state from a cache file, or compute it."""
    cache_file = user_cache_path("fastzero") / file_name
    with suppress(OSError, ValueError, AttributeError, FastZeroError):
        if found := json.loads(read_text(cache_file, own=True)).get(state):
            return str(found)
    found = compute()
    with suppress(FastZeroError):  # without a cache, the next call only takes longer
        write_atomically(cache_file, json.dumps({state: found}))
    return found


def fingerprint(base: str, sources: Mapping[str, Path]) -> str:
    """Return a hash of what determines an image's name, from the files' times and sizes, without reading them."""
    files = [(str(path), (state := path.stat()).st_mtime_ns, state.st_size) for path in sources.values()]
    return hashlib.sha256(repr((base, __version__, SCRIPT, files)).encode()).hexdigest()


def context_archive() -> io.BytesIO:
    """Return the build context as a tar archive, with the same bytes for the same content."""
    return packed(context_files())


def packed(files: Mapping[str, bytes]) -> io.BytesIO:
    """Return files as a tar archive. Those in a folder `bin` can be executed."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = 0o755 if "/bin/" in name else 0o644
            tar.addfile(entry, io.BytesIO(content))
    archive.seek(0)
    return archive


def build_arguments(base: str, argument: str = "PYTHON_IMAGE") -> dict[str, str]:
    """Return the Dockerfile's arguments; `argument` is the one for the base image.

    A package index with a password is left out: an engine stores arguments.
    """
    index = os.environ.get(INDEX, "")
    own_index = {INDEX: index} if index and "@" not in urlsplit(index).netloc else {}
    return {argument: base, "VERSION": __version__, **own_index}
