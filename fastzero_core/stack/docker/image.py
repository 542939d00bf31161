"""The app's image: its build context, made from the installed package, and its name, which follows from the content.

The name holds a hash of everything that goes in: an image that exists is current, and a changed one has another name.
"""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
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

# Workers import it once more, under another name.
SCRIPT = """#!/venv/bin/python
from fastzero_cli.__main__ import run

if __name__ == "__main__":
    raise SystemExit(run())
"""


def build_file(name: str) -> Path:
    """The path of a file of `docker/`: inside this package in an installed wheel, else in the checkout."""
    installed = PACKAGE / "docker" / name
    return installed if installed.is_file() else PACKAGE.parent / "docker" / name


def sources() -> dict[str, Path]:
    """Every file that goes into the build context as it is, by its path there."""
    found = {name: build_file(name) for name in ("Dockerfile", "requirements.txt")}
    tops = (("fastzero_core", PACKAGE), ("fastzero_cli", CLI), ("fastzero_core/migrations", revisions.folder()))
    for top, folder in tops:
        found |= {f"app/{top}/{inside}": folder / inside for inside in _files(folder)}
    del found["app/fastzero_core/testing.py"]  # of no use where nothing is tested
    return found


def _files(folder: Path) -> Iterator[str]:
    """Yield the files below a folder that an image needs. Every `up` asks, and `rglob` takes five times as long."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - OMITTED)
        inside = Path(parent).relative_to(folder).as_posix()
        yield from (name if inside == "." else f"{inside}/{name}" for name in sorted(names))


def context_files() -> dict[str, bytes]:
    """Every file of the build context by its path."""
    return {"app/bin/fastzero": SCRIPT.encode(), **{name: path.read_bytes() for name, path in sources().items()}}


def image_name(base: str) -> str:
    """`fastzero-app:<hash>` of the context and of the base image's name."""
    digest = hashlib.sha256(base.encode())
    for name, content in sorted(context_files().items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return f"{NAME}:{digest.hexdigest()[:12]}"


def remembered_name(base: str) -> str:
    """The same as `image_name`, from a cache while no source has changed."""
    return remembered("app-image.json", fingerprint(base), lambda: image_name(base))


def remembered(file_name: str, state: str, compute: Callable[[], str]) -> str:
    """Return what was computed for this very state, from a file of the cache, or compute it."""
    cache_file = user_cache_path("fastzero") / file_name
    with suppress(OSError, ValueError, AttributeError, FastZeroError):
        if found := json.loads(read_text(cache_file, own=True)).get(state):
            return str(found)
    found = compute()
    with suppress(FastZeroError):  # a cache that cannot be written costs some time, no more
        write_atomically(cache_file, json.dumps({state: found}))
    return found


def fingerprint(base: str) -> str:
    """What the name of the image follows from, as far as the file system tells without any file being read."""
    files = [(str(path), (state := path.stat()).st_mtime_ns, state.st_size) for path in sources().values()]
    return hashlib.sha256(repr((base, __version__, SCRIPT, files)).encode()).hexdigest()


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
    """The Dockerfile's arguments. A package index with a password stays outside: an engine keeps its arguments."""
    index = os.environ.get(INDEX, "")
    own_index = {INDEX: index} if index and "@" not in urlsplit(index).netloc else {}
    return {"PYTHON_IMAGE": base, "VERSION": __version__, **own_index}
