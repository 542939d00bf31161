"""Compute the variables of the application's processes. Only `files_of_variables` reads files."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from ..config_files import DOTENV, Variable, substituted
from ..errors import InvalidInputError
from ..postgres.url import database_url, parse, render
from .commands import words
from .description import NOTHING, WEB, Application, ExtraService, Process
from .placeholders import URLS, Placeholder, fill, is_confidential
from .sources import text_of

# Variables of fastzero itself, and those that would make the application use another database or interpreter.
NOT_INHERITED = ("FASTZERO_", "PG")
_LONG_BLANK = re.compile(r"[^\S\r\n]{1000}")  # python-dotenv takes quadratic time to parse it
ATTRIBUTES = "target_session_attrs"
NOT_INHERITED_NAMES = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "DATABASE_URL", "__PYVENV_LAUNCHER__")


@dataclass(frozen=True)
class ServiceAddress:
    """The address of an extra service. `ports` maps each of its own ports, in order, to the port to connect to."""

    host: str
    ports: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Addresses:
    """All addresses as one process sees them. Hosts and ports inside containers differ from those outside.

    `ports` maps each process, by name, to the port that it listens on; `code` is the folder of the sources. `secrets`
    maps variables to their secrets. In a test run, `name` is the throw-away database too. `options` are those of
    the URL by which one of several servers is reached.
    """

    host: str
    port: int
    user: str
    password: str
    name: str
    code: str
    test_name: str = ""
    app_host: str = "127.0.0.1"
    ports: Mapping[str, int] = field(default_factory=dict)
    services: Mapping[str, ServiceAddress] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)

    def url(self, driver: str = "", *, test: bool = False) -> str:
        """Return the URL of the database, or of the test database, in the form for a driver, like `{url:DRIVER}`."""
        name = self.database(test=test)
        plain = database_url(self.user, self.password, self.host, self.port, name)
        plain = render({**parse(plain), **self.options}) if self.options else plain
        scheme = {"": "postgresql", "postgres": "postgres"}.get(driver, f"postgresql+{driver}")
        return f"{scheme}{plain.removeprefix('postgresql')}"

    def database(self, *, test: bool) -> str:
        """Return the name of the database, or of the test database."""
        return self.test_name or f"{self.name}_test" if test else self.name


@dataclass(frozen=True)
class Variables:
    """Variables by name. Those in `secret` must not be shown."""

    plain: Mapping[str, str]
    secret: Mapping[str, str]

    @property
    def all(self) -> dict[str, str]:
        """All variables, for the environment of a process."""
        return {**self.plain, **self.secret}


def variables(
    application: Application,
    addresses: Addresses,
    process: Process | None = None,
    *,
    inherited: Mapping[str, str] = NOTHING,
    dotenv: Mapping[str, str] = NOTHING,
    defaults: Mapping[str, str] = NOTHING,
) -> Variables:
    """Return the variables of a process, or of another command if `process` is None.

    Variables in fastzero.toml override those that fastzero sets. These override the inherited environment, that
    overrides the application's own `.env`, and that overrides `env_from`. Values from `.env`, and values that contain a
    password or a generated secret, are secret.
    """
    given, passwords = _given(addresses, process), _given_secrets(addresses)
    outer = {**defaults, **dotenv, **_inheritable(inherited)}
    own = {name: _filled(name, text, addresses, process) for name, text in application.environment.items()}
    values = {**outer, **given, **passwords, **own}
    values["PYTHONPATH"] = ":".join(dict.fromkeys([*filter(None, [own.get("PYTHONPATH")]), addresses.code]))
    secret = set(passwords) | (dotenv.keys() - given.keys()) - inherited.keys()
    secret -= own.keys()
    secret |= {name for name, text in application.environment.items() if is_confidential(text)}
    return Variables(
        {name: value for name, value in values.items() if name not in secret},
        {name: value for name, value in values.items() if name in secret},
    )


def command_words(command: str, addresses: Addresses, process: Process | None = None) -> tuple[str, ...]:
    """Return the words of a command as one process runs it. Raises ValueError for an unclosed quotation."""
    return words(command, lambda each: _value(each, "", addresses, process))


def program_words(service: ExtraService, where: ServiceAddress) -> tuple[str, ...]:
    """Return the words of a service's program, listening on `where`. Raises ValueError like `command_words`."""

    def value(each: Placeholder) -> str:
        return where.host if each.name == "app_host" else str(where.ports[int(each.of or service.ports[0])])

    return words(service.program or "", value)


def files_of_variables(application: Application) -> tuple[dict[str, str], dict[str, str]]:
    """Return the variables of the application's own `.env`, and those of the files in `env_from`.

    Leaves out the variables of fastzero. Raises InvalidInputError for a file in `env_from` that cannot be read.
    """
    own = [application.folder / DOTENV, application.root / DOTENV]
    dotenv = {name: value for path in own for name, value in _dotenv(text_of(path) or "").items()}
    defaults: dict[str, str] = {}
    for path in application.env_from:
        text = text_of(application.folder / path)
        if text is None:
            message = f"cannot read {path}, which env_from of fastzero.toml names"
            raise InvalidInputError(message, field="env_from", hint="Restore the file, or remove it from env_from")
        defaults |= _dotenv(text)
    return dotenv, defaults


def _given(addresses: Addresses, process: Process | None) -> dict[str, str]:
    """Return the variables that every process gets and that are not secret."""
    parts = {"HOST": addresses.host, "PORT": str(addresses.port), "USER": addresses.user}
    port = str(addresses.ports.get(process.name, "")) if process else ""
    servers = {"PGTARGETSESSIONATTRS": addresses.options[ATTRIBUTES]} if ATTRIBUTES in addresses.options else {}
    return {
        **servers,
        **{f"POSTGRES_{name}": value for name, value in parts.items()},
        **{f"PG{name}": value for name, value in parts.items()},
        "POSTGRES_DB": addresses.name,
        "PGDATABASE": addresses.name,
        "PYTHONUNBUFFERED": "1",
        **({"PORT": port} if port else {}),
    }


def _given_secrets(addresses: Addresses) -> dict[str, str]:
    return {
        "DATABASE_URL": addresses.url(),
        "POSTGRES_PASSWORD": addresses.password,
        "PGPASSWORD": addresses.password,
    }


def _inheritable(inherited: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in inherited.items()
        if not name.startswith(NOT_INHERITED) and name not in NOT_INHERITED_NAMES
    }


def _filled(name: str, text: str, addresses: Addresses, process: Process | None) -> str:
    return fill(text, lambda each: _value(each, name, addresses, process))


def _value(each: Placeholder, variable: str, addresses: Addresses, process: Process | None) -> str:
    if each.name in URLS:
        return addresses.url(each.of, test=each.name == "test_url")
    if each.name == "service":
        return _of_service(each, addresses)
    values = {
        "host": addresses.host,
        "port": str(addresses.port),
        "user": addresses.user,
        "password": addresses.password,
        "name": addresses.name,
        "test_name": addresses.database(test=True),
        "app_host": addresses.app_host,
        "app_port": _port(addresses, process),
        "secret": addresses.secrets.get(variable, ""),
    }
    return values[each.name]


def _of_service(each: Placeholder, addresses: Addresses) -> str:
    name, _, part = each.of.partition(":")
    service = addresses.services[name]
    if part == "host":
        return service.host
    inside = next(iter(service.ports)) if part == "port" else int(part)
    return str(service.ports[inside])


def _port(addresses: Addresses, process: Process | None) -> str:
    """Return the port of the process. For a process without a port, and for other commands, return that of web."""
    own = addresses.ports.get(process.name) if process else None
    return str(own or addresses.ports.get(WEB) or "")


def _dotenv(text: str) -> dict[str, str]:
    found = dotenv_variables(text, substitute=True)
    return {name: value for name, value in found.items() if not name.upper().startswith("FASTZERO_")}


def dotenv_variables(text: str, *, substitute: bool = False) -> dict[str, str]:
    """Return the variables of a `.env`, with `${NAME}` replaced if `substitute`.

    Returns an empty dictionary for a text with a run of 1,000 blanks, which could take very long to parse. Raises
    InvalidInputError for values that are too long after the replacement.
    """
    from dotenv.parser import parse_stream

    if _LONG_BLANK.search(text):
        return {}
    lines = [(each.key, each.value, each.original.line) for each in parse_stream(StringIO(text))]
    found = {name: Variable(value, line) for name, value, line in lines if name is not None and value is not None}
    if substitute:
        found = substituted(found.items(), Path(DOTENV))
    return {name: each.value for name, each in found.items()}
