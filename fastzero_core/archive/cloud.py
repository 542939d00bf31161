"""An archive in S3 or what speaks its protocol, through the programs of barman-cloud. None of it is imported here."""

import json
import os
import re
import subprocess
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import (
    DependenciesMissingError,
    FastZeroError,
    InvalidInputError,
    NotAllowedError,
    NotFoundError,
    ProgramFailedError,
    UnavailableError,
)
from ..postgres.url import parse, variables
from .description import Archive, days_of
from .folder import MANIFEST
from .segments import SEGMENT, BaseBackup
from .store import Server, python

OF_THE_USER = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE")
PARALLEL = 4  # files that are fetched at the same time
EVIDENCE_LINES = 10
LEAST = 2  # bytes of a file of credentials; in a swarm one without any has an empty line
_NOT_ALLOWED = r"InvalidAccessKeyId|SignatureDoesNotMatch|AccessDenied|Forbidden|\(403\)|ExpiredToken|InvalidToken"
_ERRORS: tuple[tuple[str, type[FastZeroError], str, str], ...] = (
    ("NoSuchBucket", NotFoundError, "the bucket of {} does not exist", "Create it, or correct --to or --from"),
    ("InvalidBucketName", InvalidInputError, "the bucket of {} has an invalid name", "Correct it"),
    (_NOT_ALLOWED, NotAllowedError, "the credentials for {} are refused", "Give others: --credentials-file FILE"),
    (
        "Unable to locate credentials|PartialCredentials",
        NotAllowedError,
        "credentials for {} were not given",
        "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give --credentials-file FILE",
    ),
    (
        "Could not connect|Connect timeout|Read timeout|EndpointConnection|Connection was closed|SSL|503|SlowDown",
        UnavailableError,
        "{} cannot be reached",
        "Check the network, and --endpoint-url if the archive is not at AWS",
    ),
)


class CloudStore:
    """An archive in a bucket. `credentials` is a file in the form of AWS; without it boto3 looks for its own."""

    def __init__(self, archive: Archive, credentials: Path | None) -> None:
        self._archive, self._credentials = archive, credentials
        if not all(find_spec(name) for name in ("barman", "boto3")):
            raise DependenciesMissingError(
                "archiving to S3 needs barman and boto3", hint="Install them: pip install 'fastzero[archive]'"
            )

    def check(self) -> None:
        self._keys("wals/00000000")

    def push(self, file: Path) -> None:
        # The fastest level: a segment that is not full is mostly zeros, and this runs beside the database.
        self._barman("cloud_walarchive", "--gzip", "--compression-level", "1", *self._where, str(file))

    def names(self) -> set[str]:
        return self._names_below("wals/")

    def having(self, names: Collection[str]) -> set[str]:
        folders = {f"wals/{name[:16]}/" if SEGMENT.match(name) else f"wals/{name}" for name in names}
        return set[str]().union(*map(self._names_below, folders)) & set(names)

    def _names_below(self, folder: str) -> set[str]:
        return {key.rpartition("/")[2].removesuffix(".gz") for key in self._keys(folder)}

    def pull(self, names: Sequence[str], folder: Path) -> None:
        with ThreadPoolExecutor(PARALLEL) as threads:
            for done in [threads.submit(self._pull, name, folder / name) for name in names]:
                done.result()

    def _pull(self, name: str, file: Path) -> None:
        self._barman("cloud_walrestore", *self._where, name, str(file))

    def backups(self) -> list[BaseBackup]:
        told = json.loads(self._barman("cloud_backup_list", "--format", "json", *self._where))
        found = [_backup(each) for each in told["backups_list"] if each["status"] == "DONE"]
        return sorted(found, key=lambda backup: backup.ended)

    def take(self, server: Server) -> None:
        options = parse(server.url)
        address = ["-h", options["host"], "-p", options["port"], "-U", options["user"], "-d", options["dbname"]]
        environment = {
            "PGPASSWORD": options.get("password", ""),
            "PGREQUIREAUTH": variables(server.url).get("PGREQUIREAUTH", ""),
        }
        fast = ["--gzip", "--immediate-checkpoint"]
        self._barman("cloud_backup", *fast, *address, *self._where, environment=environment)

    def fetch(self, backup: BaseBackup, folder: Path) -> None:
        self._barman("cloud_restore", *self._where, backup.id, str(folder))
        # barman-cloud writes none. A server that was cloned from another one has that of its clone.
        (folder / MANIFEST).unlink(missing_ok=True)

    def prune(self, keep: str) -> None:
        if not keep:
            return
        days = days_of(keep)
        policy = f"REDUNDANCY {keep}" if days is None else f"RECOVERY WINDOW OF {days} DAYS"
        self._barman("cloud_backup_delete", "--retention-policy", policy, *self._where)

    @property
    def _where(self) -> list[str]:
        endpoint = ["--endpoint-url", self._archive.endpoint_url] if self._archive.endpoint_url else []
        return ["--cloud-provider", "aws-s3", *endpoint, self._archive.url, self._archive.server]

    def _barman(self, client: str, *arguments: str, environment: dict[str, str] | None = None) -> str:
        module = f"barman.clients.{client}"
        return self._run(module, python("fastzero_core.archive.barman", module, *arguments), environment)

    def _keys(self, below: str) -> list[str]:
        parts = urlsplit(self._archive.url)
        prefix = "/".join(filter(None, [parts.path.strip("/"), self._archive.server, below]))
        endpoint = [self._archive.endpoint_url] if self._archive.endpoint_url else []
        module = "fastzero_core.archive.objects"
        return self._run(module, python(module, parts.netloc, prefix, *endpoint)).splitlines()

    def _run(self, program: str, command: Sequence[str], environment: dict[str, str] | None = None) -> str:
        whole = {**self._environment(), **(environment or {})}
        done = subprocess.run(command, env=whole, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            raise _error(done.stderr, str(self._archive), program)
        return done.stdout

    def _environment(self) -> dict[str, str]:
        default = {"AWS_DEFAULT_REGION": "us-east-1", **os.environ}
        if self._credentials is None or not self._credentials.exists() or self._credentials.stat().st_size < LEAST:
            return default
        rest = {name: value for name, value in default.items() if name not in OF_THE_USER}
        return {**rest, "AWS_SHARED_CREDENTIALS_FILE": str(self._credentials)}


def _error(said: str, archive: str, program: str) -> FastZeroError:
    lines = [line for line in said.splitlines() if line.strip()]
    evidence = "\n".join(lines[-EVIDENCE_LINES:])
    for pattern, error_class, message, hint in _ERRORS:
        if re.search(pattern, said):
            return error_class(message.format(archive), hint=hint, evidence=evidence)
    return ProgramFailedError(f"{program} failed", evidence=evidence)


def _backup(told: dict[str, object]) -> BaseBackup:
    begun, ended = (
        datetime.fromisoformat(str(told[name])).astimezone(UTC) for name in ("begin_time_iso", "end_time_iso")
    )
    size = told["size"] or told["cluster_size"] or 0
    major = int(str(told["version"])) // 10_000
    return BaseBackup(
        str(told["backup_id"]), begun, ended, str(told["begin_wal"]), str(told["systemid"]), major, int(str(size))
    )
