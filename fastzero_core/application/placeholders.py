"""Find and fill placeholders such as `{url:psycopg}` in variables and commands. Standard library only.

`{{name}}` produces the text `{name}`. Braces around anything but a name, and braces after a dollar sign, are not
changed, so JSON and shell variables do not need escaping.

| placeholder | value |
|---|---|
| `{url}`, `{url:DRIVER}` | the database's URL: `postgresql://…`, `postgresql+DRIVER://…` |
| `{test_url}`, `{test_url:DRIVER}` | the same for the throw-away database for tests |
| `{host}` `{port}` `{user}` `{password}` `{name}` `{test_name}` | the parts of these URLs |
| `{app_host}` `{app_port}` | the address on which the process listens; for a process without a port, that of web |
| `{secret}` | a random text of 43 characters, generated once for this variable and kept |
| `{service:NAME:host}` `{service:NAME:port}` `{service:NAME:8025}` | an extra service, its main port or another one |
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

# "" is the form without a driver; "postgres" is the older name of the scheme, which Django and others accept.
DRIVERS = ("", "postgres", "psycopg", "psycopg_async", "psycopg2", "asyncpg", "pg8000")
URLS = ("url", "test_url")
PARTS = ("host", "port", "user", "password", "name", "test_name", "app_host", "app_port")
SECRET = "secret"  # noqa: S105  # a placeholder's name
SERVICE = "service"
NAMES = (*URLS, *PARTS, SECRET, SERVICE)
LISTENING = ("app_host", "app_port")
CONFIDENTIAL = (*URLS, "password", SECRET)

# Braces after a dollar sign belong to a shell variable.
_PLACEHOLDER = re.compile(
    r"\{\{(?P<literal>[A-Za-z_]\w*(?::[^{}]*)?)\}\}|(?<!\$)\{(?P<name>[A-Za-z_]\w*)(?::(?P<of>[^{}]*))?\}"
)


@dataclass(frozen=True)
class Placeholder:
    """One placeholder of a text: its name, and the part after the colon, "" without a colon."""

    name: str
    of: str = ""

    def __str__(self) -> str:
        return f"{{{self.name}:{self.of}}}" if self.of else f"{{{self.name}}}"


@dataclass(frozen=True)
class Mistake:
    """A mistake in a placeholder, and its remedy."""

    message: str
    hint: str


def placeholders(text: str) -> Iterator[Placeholder]:
    """Yield the placeholders of a text."""
    for match in _PLACEHOLDER.finditer(text):
        if match["name"]:
            yield Placeholder(match["name"], match["of"] or "")


def fill(text: str, value: Callable[[Placeholder], str]) -> str:
    """Return the text with every placeholder replaced by its value."""

    def replaced(match: re.Match[str]) -> str:
        if match["literal"]:
            return f"{{{match['literal']}}}"
        return value(Placeholder(match["name"], match["of"] or ""))

    return _PLACEHOLDER.sub(replaced, text)


def is_secret(text: str) -> bool:
    """Return whether a text contains `{secret}`."""
    return any(each.name == SECRET for each in placeholders(text))


def is_confidential(text: str) -> bool:
    """Return whether the filled text would contain a password or a secret."""
    return any(each.name in CONFIDENTIAL for each in placeholders(text))


def program_mistake(text: str, ports: tuple[int, ...]) -> Mistake | None:
    """Return the first mistake in the placeholders of a service's program. `ports` are the ports of the service."""
    for each in placeholders(text):
        if each.name not in LISTENING:
            return _unknown(each, LISTENING)
        if each.name == "app_port" and each.of not in ("", *map(str, ports)):
            choices = ", ".join(f"{{app_port:{port}}}" for port in ports)
            return Mistake(f"{each} is not a port of the service", f"Add it to ports, or write one of: {choices}")
        if each.name == "app_port" and not ports:
            return Mistake(f"the service has no port for {each}", "Add its port: ports = [6379]")
        if each.name == "app_host" and each.of:
            return _nothing_after_colon(each)
    return None


def mistake(text: str, services: Mapping[str, tuple[int, ...]], *, command: bool = False) -> Mistake | None:
    """Return the first mistake in a text's placeholders.

    `services` maps each service to its ports. With `command`, confidential placeholders are a mistake, since other
    users of the machine can see commands.
    """
    for each in placeholders(text):
        found = _mistake(each, services) or (_visible(each) if command else None)
        if found:
            return found
    return None


def _mistake(each: Placeholder, services: Mapping[str, tuple[int, ...]]) -> Mistake | None:
    if each.name not in NAMES:
        return _unknown(each, NAMES)
    if each.name in URLS and each.of not in DRIVERS:
        return Mistake(f"unknown driver {each.of!r} in {each}", f"Use one of: {', '.join(filter(None, DRIVERS))}")
    if each.name == SERVICE:
        return _service_mistake(each, services)
    if each.of and each.name not in URLS:
        return _nothing_after_colon(each)
    return None


def _unknown(each: Placeholder, names: tuple[str, ...]) -> Mistake:
    near = get_close_matches(each.name, names, 1)
    choice = f"Did you mean {{{near[0]}}}? " if near else ""
    return Mistake(f"unknown placeholder {each}", f"{choice}To keep the braces, write {{{each}}}")


def _nothing_after_colon(each: Placeholder) -> Mistake:
    return Mistake(f"{each} takes nothing after the colon", f"Write {{{each.name}}}")


def _service_mistake(each: Placeholder, services: Mapping[str, tuple[int, ...]]) -> Mistake | None:
    name, _, part = each.of.partition(":")
    if name not in services:
        known = f"Known services: {', '.join(services)}" if services else f"Add a table [services.{name or 'NAME'}]"
        return Mistake(f"unknown service {name!r} in {each}", known)
    choices = ["host", *(["port"] if services[name] else []), *map(str, services[name])]
    if part not in choices:
        return Mistake(f"{each} must end in one of: {', '.join(choices)}", f"Write {{service:{name}:{choices[-1]}}}")
    return None


def _visible(each: Placeholder) -> Mistake | None:
    if each.name not in CONFIDENTIAL:
        return None
    return Mistake(f"{each} in a command is visible to every user of the machine", "Use a variable of the environment")
