"""A setting that requires trust, and the record of the folders that a user trusts: see `trust`."""

import hashlib
import json
import os
import stat
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from platformdirs import user_state_path

from .errors import InvalidInputError
from .files import make_folder, open_regular, path_as_text, write_atomically, writing
from .trust import Change

FORMAT = 1


@dataclass(frozen=True, slots=True)
class RiskySetting:
    """A setting in a folder's file that requires trust. Passwords in `value` are hidden."""

    name: str
    value: Any
    file: str
    line: int
    risk: str
    change: Change = ""  # since the user trusted the folder
    before: list[Any] = field(default_factory=list)  # if it has changed, the values that were trusted
    sha256: str = field(default="", repr=False)

    @property
    def top(self) -> str:
        """The name of the setting, or of the table that it is a key of."""
        return self.name.partition(".")[0]

    @property
    def where(self) -> str:
        """`file:line`."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class TrustRecord:
    """A record of trust: the folder, the digest of all settings, and each setting's values by digest."""

    folder: str
    sha256: str
    settings: dict[str, dict[str, Any]]

    def as_text(self) -> str:
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=2, default=str) + "\n"


def write(real_path: str, sha256: str, settings: dict[str, dict[str, Any]]) -> None:
    """Record that the user trusts a folder with settings of this digest."""
    path = _file(real_path)
    make_folder(path.parent, 0o700)
    write_atomically(path, TrustRecord(path_as_text(real_path), sha256, settings).as_text())


def revoke(folder: Path) -> bool:
    """Delete the record of trust in a folder. Return whether it existed."""
    path = _file(os.path.realpath(folder))
    existed = path.exists()
    with writing(path):
        path.unlink(missing_ok=True)
    return existed


def _file(real_path: str) -> Path:
    name = hashlib.sha256(os.fsencode(real_path)).hexdigest()
    return user_state_path("fastzero") / "trust" / f"{name}.json"


def read(real_path: str) -> TrustRecord | None:
    """Return the record for a folder; None if its file is missing or damaged, or another user could have written it."""
    try:
        with open_regular(_file(real_path)) as file:
            written = json.loads(file.read()) if _is_ours(os.fstat(file.fileno())) else {}
        if written.pop("format", None) != FORMAT:
            return None
        record = TrustRecord(**written)
        return record if record.folder == path_as_text(real_path) else None
    except (OSError, ValueError, TypeError, AttributeError, InvalidInputError):
        return None


def _is_ours(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
