"""Choose values for the application's variables: the database's address, secrets, and other required variables."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..environment import dotenv_variables
from ..sources import Sources
from .compose import compose_files, services_of
from .findings import Finding
from .objects import is_source
from .started import image_variables
from .usages import Usage, Usages

EXAMPLES = (
    ".env.example",
    ".env.sample",
    ".env.template",
    ".env.dist",
    ".env.local.example",
    ".env.dev",
    ".env.test",
    "env.example",
    ".example.env",
    "example.env",
    "sample.env",
)
DOTENV = ".env"
ASYNC_DRIVERS = ("asyncpg", "psycopg", "psycopg_async")
SYNC_DRIVERS = ("psycopg", "psycopg2", "pg8000")
_PACKAGES = {"psycopg2-binary": "psycopg2", "psycopg-binary": "psycopg", "psycopg2cffi": "psycopg2"}
_EXTRAS = {
    "sqlalchemy[postgresql]": "psycopg2",
    "sqlalchemy[postgresql-psycopg2binary]": "psycopg2",
    "sqlalchemy[postgresql-psycopg]": "psycopg",
    "sqlalchemy[postgresql-psycopgbinary]": "psycopg",
    "sqlalchemy[postgresql-asyncpg]": "asyncpg",
    "sqlalchemy[postgresql-pg8000]": "pg8000",
}
_KIND = re.compile(r"(?:^|_)(?:DB|DATABASE)_?(?:ENGINE|TYPE|DIALECT|BACKEND|KIND)$")
_OTHER = re.compile(
    r"REDIS|MONGO|MYSQL|CELERY|RABBIT|AMQP|ELASTIC|OPENSEARCH|CLICKHOUSE|NEO4J|QDRANT|KAFKA|MARIA|ORACLE|MSSQL|BROKER|SQLITE|CACHE|S3|SENTRY|ECHO|POOL|SCHEMA|SSL|TIMEOUT"
)
_BASE = r"(?:^|_)(?:POSTGRES|POSTGRESQL|PG|DB|DATABASE|SQL|SQLALCHEMY)"
_URL = re.compile(rf"{_BASE}_?(?:[A-Z]+_)*?(?:URL|URI|DSN|CONNECTION|CONNECTION_STRING|CONN_STR)(?:_\w+)?$")
_PARTS = {
    "host": re.compile(rf"{_BASE}_?(?:HOST|HOSTNAME|SERVER|ADDRESS|ADDR)$"),
    "port": re.compile(rf"{_BASE}_?PORT$"),
    "user": re.compile(rf"{_BASE}_?(?:USER|USERNAME|USER_NAME|LOGIN)$"),
    "password": re.compile(rf"{_BASE}_?(?:PASSWORD|PASS|PASSWD|PWD)$"),
    "name": re.compile(rf"{_BASE}_?(?:NAME|DB|DBNAME|DB_NAME|DATABASE|DATABASE_NAME)$"),
}
_LIBPQ = ("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE")  # every process gets these
_TEST = re.compile(r"(^|_)TEST(S|ING)?(_|$)")
_SCHEME = re.compile(r"^(?P<scheme>[a-z0-9]+)(?:\+(?P<driver>\w+))?:")
_SECRET = re.compile(r"SECRET|JWT")
_PLACEHOLDER = re.compile(r"change.?(me|this|it)|replace.?(me|this)", re.IGNORECASE)
_STAGE = re.compile(r"(?:^|_)(?:ENV|ENVIRONMENT|STAGE)$")
_NO_SECRET = re.compile(
    r"ALG|EXPIRE|MINUTES|SECONDS|HOURS|DAYS|TTL|LIFETIME|ISSUER|AUDIENCE|HEADER|COOKIE|TYPE|PREFIX|LOCATION|URL|PATH|FILE"
)
_FOREIGN_SECRET = re.compile(
    r"AWS|S3|MINIO|STRIPE|GOOGLE|GITHUB|GITLAB|FACEBOOK|TWITTER|OAUTH|CLIENT_SECRET|OPENAI|SENDGRID|TWILIO|SLACK|AZURE|OKTA|AUTH0|RECAPTCHA|PAYPAL|CLOUDINARY"
)
_SYSTEM = {
    "PATH",
    "HOME",
    "USER",
    "PORT",
    "HOST",
    "PWD",
    "TZ",
    "LANG",
    "CI",
    "HOSTNAME",
    "VIRTUAL_ENV",
    "PYTHONPATH",
    "TMPDIR",
    "SHELL",
    "TERM",
}


@dataclass(frozen=True)
class Example:
    """A file with example values of variables."""

    path: str
    values: Mapping[str, str]


def role(usage: Usage) -> str:
    """Return the part of the database's address in a variable: a name in _PARTS, url, test_url, test_name, or ""."""
    name = re.sub(r"_+", "_", usage.name.upper())
    if _OTHER.search(name):
        return ""
    if not _TEST.search(name):
        return _part(usage, name)
    part = _part(usage, _TEST.sub("_", name).strip("_"))
    return f"test_{part}" if part in ("url", "name") else part  # the tests' database is on the same server


def _part(usage: Usage, name: str) -> str:
    if part := next((part for part, pattern in _PARTS.items() if pattern.search(name)), ""):
        return part
    is_url = _URL.search(name) or "PostgresDsn" in usage.kind or usage.kind.endswith((".db", ".db_url", ".dj_db_url"))
    return "url" if is_url else ""


def drivers_of(dependencies: Mapping[str, str]) -> list[str]:
    """Return the PostgreSQL drivers among a project's dependencies."""
    names = sorted(dependencies, key=lambda name: bool(dependencies[name]))  # dependencies of the project itself first
    plain = [_EXTRAS.get(name, name.partition("[")[0]) for name in names]
    found = dict.fromkeys(_PACKAGES.get(name, name) for name in plain)
    return [name for name in found if name in ("psycopg", "psycopg2", "asyncpg", "pg8000")]


class Variables:
    """The findings for [application.environment]."""

    def __init__(
        self, sources: Sources, usages: Usages, drivers: list[str], folder: str, *, is_sqlalchemy: bool
    ) -> None:
        self._sources, self._usages, self._drivers, self._folder = sources, usages, drivers, folder
        self._is_sqlalchemy = is_sqlalchemy
        self.examples = list(self._read_examples())
        self.dotenv = {
            name: value
            for path in dict.fromkeys([DOTENV, f"{folder}/{DOTENV}".lstrip("/")])
            for name, value in _values(sources, path).items()
        }
        self._elsewhere = self._set_elsewhere()

    def findings(self) -> Iterator[Finding]:
        """Yield the findings, those about the database first."""
        usages = self._usages.all
        database = {name: role(usage) for name, usage in usages.items()}
        parts = {found for found in database.values() if found in _PARTS}
        if "host" in parts and "name" not in parts:
            database |= {name: "name" for name in database if re.search(r"(^|_)(DB|DATABASE|POSTGRES)_SCHEMA$", name)}
        has_parts = {"host", "password"} <= parts or {"host", "name"} <= parts
        for name, part in database.items():
            is_made_of_parts = part.endswith("url") and has_parts and _is_optional(usages[name])
            if part and name not in _LIBPQ and not is_made_of_parts:
                yield self._database(usages[name], part)
        for name, usage in usages.items():
            if not database[name]:
                yield from self._other(usage)

    def env_from(self) -> Finding | None:
        """Return the first example file that sets required variables which `.env` does not set."""
        needed = [
            name
            for name, usage in self._usages.all.items()
            if usage.required and not role(usage) and name not in self.dotenv
        ]
        for example in self.examples:
            if example.path.endswith("/.env") or example.path.rpartition("/")[2] not in EXAMPLES:
                continue
            covered = [
                name for name in needed if name in example.values and not self._is_secret(self._usages.all[name])
            ]
            if covered:
                why = f"gives {', '.join(covered[:3])}{' and others' if len(covered) > 3 else ''}"
                return Finding("env_from", [example.path], example.path, why)
        return None

    def _database(self, usage: Usage, part: str) -> Finding:
        if not part.endswith("url"):
            return Finding(
                f"environment.{usage.name}", f"{{{part}}}", usage.where, f"the database's {part.replace('test_', '')}"
            )
        driver, reason = self._form(usage)
        return Finding(
            f"environment.{usage.name}", f"{{{part}:{driver}}}" if driver else f"{{{part}}}", usage.where, reason
        )

    def _other(self, usage: Usage) -> Iterator[Finding]:
        key = f"environment.{usage.name}"
        if _KIND.search(usage.name.upper()):
            yield from self._kind_of_database(usage)
        if usage.name in _SYSTEM or usage.name in self.dotenv:
            return
        if self._is_secret(usage):
            yield from self._generated(usage)
        elif not usage.required:
            yield from self._stage(usage)
        elif usage.name in self._elsewhere:
            value, where = self._elsewhere[usage.name]
            yield Finding(key, value, where, "the value there")
        elif not any(usage.name in example.values for example in self.examples):
            question = "" if usage.late else f"Value of {usage.name}"
            yield Finding(
                key, None, usage.where, "read by a function" if usage.late else "required", question, active=False
            )

    def _generated(self, usage: Usage) -> Iterator[Finding]:
        """Yield a generated secret for a variable without a usable default."""
        if usage.required or _PLACEHOLDER.search(usage.default or ""):
            why = "required" if usage.required else "its default is a placeholder"
            yield Finding(f"environment.{usage.name}", "{secret}", usage.where, f"{why}; generated once and kept")

    def _stage(self, usage: Usage) -> Iterator[Finding]:
        """Yield the stage that an example sets, such as LOCAL, if it is not the default."""
        for example in self.examples if _STAGE.search(usage.name.upper()) else ():
            value = example.values.get(usage.name, "")
            if value and value != usage.default and "{" not in value:
                yield Finding(f"environment.{usage.name}", value, example.path, "the stage that the example sets")

    def _kind_of_database(self, usage: Usage) -> Iterator[Finding]:
        """Yield the value that selects PostgreSQL if the application supports several databases."""
        own = usage.where.rpartition(":")[0]
        paths = [own, *(path for path in self._sources.ending(".py") if is_source(path))]
        texts = (usage.kind, *map(self._sources.text, paths))
        found = re.search(r"""["'](postgres(?:ql)?)["']""", "\n".join(texts))
        if found and usage.default != found[1]:
            yield Finding(f"environment.{usage.name}", found[1], usage.where, "the database is PostgreSQL")

    def _is_secret(self, usage: Usage) -> bool:
        name = usage.name.upper()
        textual = not re.search(r"\b(int|bool|float|list|dict)\b", usage.kind)
        return (
            bool(_SECRET.search(name)) and textual and not _NO_SECRET.search(name) and not _FOREIGN_SECRET.search(name)
        )

    # -- the form of a URL -------------------------------------------------------------------------------------

    def _form(self, usage: Usage) -> tuple[str, str]:
        """Return the driver of a URL, "" for the form without a driver, and the reason."""
        for text, origin in self._shown(usage):
            match = _SCHEME.match(text)
            if match and match["scheme"] in ("postgresql", "postgres"):
                driver = match["driver"] or (
                    "postgres" if match["scheme"] == "postgres" and not self._is_sqlalchemy else ""
                )
                return driver, f"form of {origin}"
        if not self._is_sqlalchemy:
            return "", "no SQLAlchemy: the plain form"
        if self._converts:
            return "", "the code itself names the driver"
        wanted = ASYNC_DRIVERS if "ASYNC" in usage.name.upper() or self._is_async else SYNC_DRIVERS
        driver = next((each for each in wanted if each in self._drivers), self._drivers[0] if self._drivers else "")
        return driver, f"driver {driver} is installed" if driver else "no driver among the dependencies"

    def _shown(self, usage: Usage) -> Iterator[tuple[str, str]]:
        """Yield the values that the project's own files contain for a variable, each with its source."""
        if usage.default:
            yield usage.default, "its default"
        for example in self.examples:
            if usage.name in example.values:
                yield example.values[usage.name], example.path
        if usage.name in self.dotenv:
            yield self.dotenv[usage.name], DOTENV
        for path in compose_files(self._sources):
            for service in services_of(self._sources, path):
                if usage.name in service.environment:
                    yield service.environment[usage.name], service.where

    @property
    def _converts(self) -> bool:
        pattern = re.compile(r"""replace\(\s*["']postgres(ql)?://|drivername\s*=|scheme\s*=\s*["']postgresql\+""")
        return any(pattern.search(self._sources.text(path)) for path in self._sources.ending(".py"))

    @property
    def _is_async(self) -> bool:
        return any(
            re.search(r"create_async_engine|async_engine_from_config|AsyncEngine", self._sources.text(path))
            for path in self._sources.ending(".py")
        )

    # -- files of variables ------------------------------------------------------------------------------------

    def _read_examples(self) -> Iterator[Example]:
        near = dict.fromkeys([self._folder, "", *(path.rpartition("/")[0] for path in self._sources.named(*EXAMPLES))])
        for folder in near:
            for name in EXAMPLES:
                path = f"{folder}/{name}".lstrip("/")
                if self._sources.has(path):
                    yield Example(path, _values(self._sources, path))
        for path in self._sources.ending(".env"):
            if path.rpartition("/")[2] != DOTENV:
                yield Example(path, _values(self._sources, path))

    def _set_elsewhere(self) -> dict[str, tuple[str, str]]:
        """Return the plain values set by Dockerfiles, and by Compose files for services with a build section."""
        found = image_variables(self._sources)
        for path in compose_files(self._sources):
            for service in services_of(self._sources, path):
                for name, value in service.environment.items() if service.build else ():
                    if "$" not in value and value and not value.isspace():
                        found.setdefault(name, (value, service.where))
        return found


def _is_optional(usage: Usage) -> bool:
    return usage.composed or not (usage.required or usage.default)


def _values(sources: Sources, path: str) -> dict[str, str]:
    return dotenv_variables(sources.text(path)) if sources.has(path) else {}
