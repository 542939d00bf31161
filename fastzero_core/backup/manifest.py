"""Read and write the manifest next to a backup: it describes the content, and detects damaged and foreign files.

A manifest is one canonical JSON object that ends with its own checksum, so that a changed bit is detected in the
manifest as well as in the backup. Standard library only.
"""

import hashlib
import json
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import BackupNotFoundError, DamagedBackupError, FastZeroError
from ..events import Listener, Progress, ignore
from ..files import read_chunks, read_text, status

FORMAT = 1
TEXT_MAX = 200  # characters; names in PostgreSQL have at most 63 bytes
COUNT_MAX = 2**63 - 1
SUFFIX = ".manifest.json"


@dataclass(frozen=True)
class Content:
    """The number of rows of a table, and a hash of them that does not depend on their order."""

    rows: int
    hash: str


@dataclass(frozen=True)
class Manifest:
    """The content of a backup at its snapshot. `size` is in bytes; `taken_at` is RFC 3339.

    The names in `tables` and `sequences` are quoted for SQL. The value of a sequence is one that it has returned: a
    restored sequence must be at this value or higher. `owners` and `grantees` are the roles that the objects need.
    """

    database: str
    revision: str | None
    taken_at: str
    server_version: str
    fastzero_version: str
    sha256: str
    size: int
    tables: dict[str, Content]
    sequences: dict[str, int]
    owners: list[str] = field(default_factory=list)
    grantees: list[str] = field(default_factory=list)
    format: int = FORMAT

    @property
    def rows(self) -> int:
        return sum(content.rows for content in self.tables.values())

    @property
    def server_major(self) -> int:
        return int(re.split(r"\D", self.server_version)[0])  # 18 for 18.6, 19 for 19beta1

    def as_text(self) -> str:
        """Return the text of the file, with its checksum."""
        body = asdict(self)
        return _text({**body, "checksum": _checksum(body)})


def manifest_path(archive: Path) -> Path:
    return archive.with_name(archive.name + SUFFIX)


def read_manifest(archive: Path) -> Manifest:
    """Return the manifest next to `archive`. Raises BackupNotFoundError or DamagedBackupError."""
    found = status(archive)
    if found is None:
        raise BackupNotFoundError(f"backup {str(archive)!r} does not exist")
    if not stat.S_ISREG(found.st_mode):
        raise DamagedBackupError(f"{archive} is not a regular file")
    path = manifest_path(archive)
    try:
        text = read_text(path)
    except FileNotFoundError:
        raise DamagedBackupError(f"{archive} has no manifest: it is not a backup made by fastzero") from None
    except FastZeroError as error:
        raise DamagedBackupError(f"cannot read the manifest of {archive}: {error.message}") from None
    return _parsed(text, path)


def check_archive(archive: Path, on_event: Listener = ignore) -> Manifest:
    """Check the size and the SHA-256 of a backup. Returns its manifest.

    Raises BackupNotFoundError or DamagedBackupError.
    """
    manifest = read_manifest(archive)
    size = archive.stat().st_size
    if size != manifest.size:
        raise DamagedBackupError(f"{archive} has {size} bytes; its manifest says {manifest.size}")
    digest, done = hashlib.sha256(), 0
    for chunk in read_chunks(archive):
        digest.update(chunk)
        done += len(chunk)
        on_event(Progress("check", done, size, "bytes"))
    if digest.hexdigest() != manifest.sha256:
        raise DamagedBackupError(f"{archive} is damaged: its SHA-256 is not the one in its manifest")
    return manifest


def with_archive(manifest: Manifest, sha256: str, size: int) -> Manifest:
    """Return the manifest with the checksum and the size, in bytes, of the finished archive."""
    return replace(manifest, sha256=sha256, size=size)


def _parsed(text: str, path: Path) -> Manifest:
    try:
        body = json.loads(text)
        checksum = body.pop("checksum")
        if body["format"] != FORMAT:
            raise DamagedBackupError(
                f"{path} has format {body['format']}, which this version of fastzero does not know",
                hint="Use the version of fastzero that made it",
            )
        if checksum != _checksum(body) or text != _text({**body, "checksum": checksum}):
            raise ValueError("its checksum does not match")
        return _manifest(body)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DamagedBackupError(f"{path} is damaged or not a fastzero manifest: {error}") from None


def _manifest(body: Mapping[str, Any]) -> Manifest:
    known = {each.name for each in fields(Manifest)}
    if body.keys() != known:
        raise ValueError(f"unexpected: {', '.join(sorted(body.keys() ^ known))}")
    if invalid := [name for name, is_valid in _validity(body) if not is_valid]:
        raise ValueError(f"unexpected: {', '.join(invalid)}")
    tables = {name: Content(**content) for name, content in body["tables"].items()}
    return Manifest(**{**body, "tables": tables})


def _validity(body: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """Yield each field and whether its value is valid: a manifest may come from an untrusted source."""
    datetime.fromisoformat(body["taken_at"])
    yield "server_version", bool(re.match(r"\d{1,3}(\D|$)", body["server_version"]))
    yield "sha256", bool(re.fullmatch("[0-9a-f]{64}", body["sha256"]))
    yield "size", _is_count(body["size"])
    yield "tables", all(_is_count(each["rows"]) and _is_text(each["hash"]) for each in body["tables"].values())
    yield "sequences", all(_is_count(abs(last)) for last in body["sequences"].values())
    for name in ("database", "taken_at", "server_version", "fastzero_version"):
        yield name, _is_text(body[name])
    yield "revision", body["revision"] is None or _is_text(body["revision"])
    for name in ("owners", "grantees"):
        yield name, isinstance(body[name], list) and all(map(_is_text, body[name]))


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= TEXT_MAX


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= COUNT_MAX


def _text(body: Mapping[str, Any]) -> str:
    return json.dumps(body, ensure_ascii=False, indent=2) + "\n"


def _checksum(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(_text(body).encode()).hexdigest()
