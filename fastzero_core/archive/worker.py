"""One operation on an archive as a program of its own, for a container that has the data and PostgreSQL's programs.

worker.py OPERATION ARGUMENTS, these as JSON. Prints a line of JSON for each step, and at the end one with the result or
the error, in several parts if it is long: engines break long lines. The secrets that it needs are files in the folder
of the credentials.
"""

import json
import os
import pwd
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import FastZeroError, NotAllowedError
from ..events import Event, Progress
from ..postgres.binaries import find_binaries
from .description import CREDENTIALS_FILE, DATA, DESCRIPTION, ERROR, PART, RESULT, STATE, STEP, Archive
from .operations import Operations
from .store import store_of

ACCOUNT = "postgres"  # of the image
PART_SIZE = 4_000  # characters; an engine breaks lines of more than 16 KiB
RECOVERED = "recovered"  # the folder of a recovery in a volume that itself is the data directory


def main() -> None:
    archive, credentials = Archive.of_text(os.environ[DESCRIPTION]), Path(os.environ[CREDENTIALS_FILE])
    operation, given = sys.argv[1], json.loads(sys.argv[2])
    try:
        if operation == "prepare":
            _prepare(archive.folder)
            _print(RESULT, None)
            return
        store, data, state = store_of(archive, credentials), Path(os.environ[DATA]), Path(os.environ[STATE])
        work = Operations(archive, store, data, state, find_binaries, None, _tell, in_container=True)
        _print(RESULT, _perform(work, operation, given, credentials.parent))
    except FastZeroError as error:
        _print(ERROR, {"class": type(error).__name__, **_of_container(error, archive), "evidence": error.evidence})


def _perform(work: Operations, operation: str, given: Mapping[str, Any], secrets: Path) -> Any:
    match operation:
        case "backups":
            return [each.as_dict() for each in work.backups()]
        case "take":
            return work.take(given["url"], given["major"]).as_dict()
        case "condition":
            return asdict(work.condition())
        case "plan":
            return work.plan(_time(given), given["name"]).as_dict()
        case "verify":
            return work.verify(given["name"])
        case "recover":
            return _recover(work, given, secrets)
        case "check" | "system" | "resume":
            return getattr(work, operation)()
    raise AssertionError(f"operation {operation} does not exist")


def _prepare(folder: Path) -> None:
    """Create the folder of an archive, as root, for the account of the archiver."""
    with suppress(FileExistsError):
        folder.mkdir(0o700)
        account = pwd.getpwnam(ACCOUNT)
        os.chown(folder, account.pw_uid, account.pw_gid, follow_symlinks=False)


def _recover(work: Operations, given: Mapping[str, Any], secrets: Path) -> None:
    """Recover to a new volume. Before PostgreSQL 18 it is the data directory itself, which cannot be renamed."""
    is_volume = work.data.exists()
    inside = replace(work, data=work.data / RECOVERED) if is_volume else work
    passwords = {role: (secrets / name).read_text(encoding="utf-8") for role, name in given["roles"].items()}
    inside.recover(_time(given), given["name"], passwords=passwords, mark="")
    if is_volume:
        for each in inside.data.iterdir():
            each.rename(work.data / each.name)
        inside.data.rmdir()


def _time(given: Mapping[str, Any]) -> datetime | None:
    return datetime.fromisoformat(given["time"]) if given["time"] else None


def _of_container(error: FastZeroError, archive: Archive) -> dict[str, str]:
    """Return an error with what to do about an archive's folder that the container's account may not use."""
    told = error.as_dict()
    if isinstance(error, NotAllowedError) and archive.is_folder:
        told["hint"] = f"Give it to the account of PostgreSQL in containers: chown -R {os.geteuid()} {archive.folder}"
    return told


def _tell(event: Event) -> None:
    if isinstance(event, Progress):
        _print(STEP, event.step)


def _print(key: str, value: Any) -> None:
    text = json.dumps({key: value})
    lines = [text]
    if len(text) > PART_SIZE:
        lines = [json.dumps({PART: text[at : at + PART_SIZE]}) for at in range(0, len(text), PART_SIZE)]
    print("\n".join(lines), flush=True)  # noqa: T201 - its output


if __name__ == "__main__":
    main()
