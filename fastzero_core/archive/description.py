"""Describe an archive: where it is, how long it is kept, and the settings of a server that archives. Pure.

PostgreSQL runs as an account that may not be able to read the credentials or to run Python. So its `archive_command`
only waits: a process of the project, the archiver, copies each finished segment to the archive, and then creates a file
of the segment's name in `state_folder`, which the command looks for. Nothing of a path passes through a shell's parser.
"""

import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

from ..errors import InvalidInputError

ARCHIVER = "archiver"  # the name of the service
CREDENTIALS = "archive_credentials"  # the name of the secret
MAX_KEPT = 10 * 2**30  # bytes of write-ahead log that may wait for the archive
LEAST_KEPT = 64 * 2**20  # bytes
TIMEOUT = 60  # seconds until a segment with changes is archived, even if it is not full
# Variables of the server and the archiver.
DESCRIPTION, STATE = "FASTZERO_ARCHIVE", "FASTZERO_ARCHIVE_STATE"
DATA, CREDENTIALS_FILE = "FASTZERO_ARCHIVE_DATA", "FASTZERO_ARCHIVE_CREDENTIALS"
RUNNING, FAILED, PAUSED = "running", "failed", "paused"  # files in the state folder
NOT_BEGUN = "this server does not have a base backup yet. Take one: fastzero db archive backup"
BACKED_UP_AT = "fastzero.base_backup_at"  # the setting of the database with the time of the newest base backup
# The keys of a line that the worker in a container prints. A part is one of the text of a long line.
STEP, RESULT, ERROR, PART = "step", "result", "error", "part"
DAYS_OF = {"d": 1, "w": 7}
_UNITS = {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}

# Waits up to a minute for the archiver. Fails at once if it does not run, or cannot reach the archive.
_COMMAND = (
    f'n=0; until test -e "${STATE}/%f"; do'
    f' test -e "${STATE}/{RUNNING}" && test ! -e "${STATE}/{FAILED}" && test $n -lt 600 || exit 1;'
    " n=$((n+1)); sleep 0.1; done"
)
_ARCHIVES = {"archive_timeout": str(TIMEOUT), "archive_command": _COMMAND}


@dataclass(frozen=True)
class Archive:
    """An archive of one server. `url` is s3://bucket/prefix or file:///path, `server` the server's folder in it.

    `system` is the identifier of the only server that may write to it. `keep` is a number of base backups, or of days
    as `7d`; "" keeps all. `max_kept` is how much write-ahead log may wait for the archive, in bytes, before archiving
    is paused so that the disk does not fill.
    """

    url: str
    server: str
    system: str = ""
    endpoint_url: str = ""
    keep: str = ""
    max_kept: int = MAX_KEPT

    def as_text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def of_text(cls, text: str) -> Self:
        return cls(**json.loads(text))

    @property
    def is_folder(self) -> bool:
        return self.url.startswith("file:")

    @property
    def folder(self) -> Path:
        """The folder of a file:// archive."""
        return Path(unquote(urlsplit(self.url).path)) / self.server

    @property
    def _number(self) -> int:
        """Which of a project's servers it is that of: `demo` is the first, `demo.2` the second."""
        return int(self.server.partition(".")[2] or 1)

    def following(self) -> Self:
        """Return the archive of the next server of the project, whose identifier is not known yet."""
        return replace(self, server=f"{self.server.partition('.')[0]}.{self._number + 1}", system="")

    def of_next_server(self) -> Self:
        """Return the archive of the server that follows this one's, which may never have begun its own."""
        return self.following() if self.system else self

    def until_now(self) -> list[Self]:
        """Return it and the archives of the servers before, the newest first."""
        name = self.server.partition(".")[0]
        before = [replace(self, server=f"{name}.{number}" if number > 1 else name) for number in range(1, self._number)]
        return [self, *reversed(before)]

    def __str__(self) -> str:
        return f"{self.url.rstrip('/')}/{self.server}"


def checked_url(url: str) -> str:
    """Return the URL of an archive. Raises InvalidInputError."""
    parts = urlsplit(url)
    is_bucket = parts.scheme == "s3" and re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", parts.netloc)
    is_folder = parts.scheme == "file" and not parts.netloc and parts.path.startswith("/")
    if not (is_bucket or is_folder) or parts.query or parts.fragment or "\0" in unquote(url):
        raise InvalidInputError(
            f"invalid archive {url!r}", field="to", hint="Use s3://bucket/prefix, or file:///folder/of/the/archive"
        )
    return url


def checked_project(name: str) -> str:
    """Return the name of an archived project. Raises InvalidInputError."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,39}", name):
        raise InvalidInputError(f"invalid project {name!r}", field="from_project", hint="Use the name that it had")
    return name


def checked_keep(text: str) -> str:
    """Return how many base backups, or days as `7d`, to keep. Raises InvalidInputError."""
    if text and not re.fullmatch(r"[1-9]\d{0,4}[dw]?", text):
        raise InvalidInputError(
            f"invalid value {text!r} for --keep", field="keep", hint="Use a number of days, 7d, or of base backups, 3"
        )
    return text


def days_of(keep: str) -> int | None:
    """Return the days that `keep` means, None if it is a number of backups or empty."""
    return int(keep[:-1]) * DAYS_OF[keep[-1]] if keep and keep[-1] in DAYS_OF else None


def bytes_of(text: str) -> int:
    """Return a size such as `10GiB` in bytes. Raises InvalidInputError, also if it is less than four segments."""
    match = re.fullmatch(r"(\d{1,6})\s*([KMGT]iB)", text, re.IGNORECASE)
    size = int(match[1]) * _UNITS[match[2].lower()] if match else 0
    if size < LEAST_KEPT:
        raise InvalidInputError(f"invalid size {text!r}", field="max_kept", hint="Use a size such as 10GiB, from 64MiB")
    return size


def state_folder(data: Path) -> Path:
    """Return the folder in which the archiver of a data directory tells what is archived. It has no secrets."""
    return data.with_name(f".{data.name}.archive")


def server_settings() -> dict[str, str]:
    """Return the settings of a server that archives. No setting contains a path."""
    return {"wal_level": "replica", **_ARCHIVES, "archive_mode": "on"}


def settings_of_standbys() -> dict[str, str]:
    """Return the settings of a primary that archives, and of its standbys.

    A standby keeps each segment until the archive has it: a primary that is lost may not have archived its last ones.
    """
    return {**_ARCHIVES, "archive_mode": "always"}
