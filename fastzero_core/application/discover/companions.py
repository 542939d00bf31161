"""Describe services of the Compose files that have an image, such as a mail catcher or a message broker."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import ValidationError

from ..description import WEB
from ..tables import File
from .compose import ComposeService
from .usages import Usage

# Keys of a service that change nothing here: fastzero has its own rule, or the key is for other programs.
_HARMLESS = {"restart", "container_name", "hostname", "labels", "logging", "networks", "platform", "stdin_open", "tty"}
_DEFAULT = re.compile(r"\$\{\w+:?-([^${}]*)\}")
_URL = re.compile(
    r"(?P<before>[a-z][a-z0-9+.-]*://(?:[^/@\s]*@)?)(?P<host>[\w.-]+)(?::(?P<port>\d+))?(?P<after>[/?].*)?"
)
_PLAIN = re.compile(r"(?P<before>)(?P<host>[\w.-]+)(?::(?P<port>\d+))?(?P<after>)")
_HERE = ("localhost", "127.0.0.1")
_PORT = re.compile(r"_PORT$")
_HOST = re.compile(r"_?(HOST|HOSTNAME|SERVER|ADDRESS|ADDR)$")


def table(service: ComposeService) -> dict[str, Any] | None:
    """Return the keys of [services.NAME], None if a service needs what fastzero does not give to services."""
    volumes = [inside for source, inside in service.mounts if not source.startswith((".", "/", "~", "$"))]
    texts = {name: _filled(value) for name, value in service.environment.items()}
    is_simple = (
        not service.build
        and service.image
        and service.published
        and service.others <= _HARMLESS
        and len(volumes) == len(service.mounts) <= 1
        and None not in texts.values()
        and "$" not in f"{service.command}{service.check}"
    )
    found = {
        "image": service.image,
        "ports": list(service.published),
        "volume": next(iter(volumes), None),
        "command": service.command,
        "health": service.check,
        "environment": texts,
    }
    described = {name: value for name, value in found.items() if value}
    return described if is_simple and service.name != WEB and _is_valid(service.name, described) else None


def _is_valid(name: str, described: Mapping[str, Any]) -> bool:
    try:
        File.model_validate({"services": {name: described}})
    except ValidationError:
        return False
    return True


def _filled(text: str) -> str | None:
    """Return a value with the defaults of its variables, None if one has no default."""
    filled = _DEFAULT.sub(lambda match: match[1], text).replace("$$", "\0")
    return None if "$" in filled else filled.replace("\0", "$")


@dataclass(frozen=True)
class Given:
    """The application's variables, with the values that Compose files and files of variables give them."""

    usages: Mapping[str, Usage]
    inside: Mapping[str, tuple[str, ...]]
    outside: Mapping[str, str]


def variables(service: ComposeService, given: Given) -> dict[str, str]:
    """Return the application's variables for the address of a service, with their placeholders."""
    found: dict[str, str] = {}
    for name in given.usages:
        values = [
            *(_at(service, text, (service.name,)) for text in given.inside.get(name, ())),
            _at(service, given.outside.get(name, ""), _HERE),
            _beside_port(service, name, given.outside),
        ]
        if value := next(filter(None, values), None):
            beside = _beside_host(service, _HOST.sub("", name.upper()), given) if _HOST.search(name.upper()) else ()
            found = {**found, name: value, **dict(beside)}
    return found


def _at(service: ComposeService, text: str, hosts: tuple[str, ...]) -> str | None:
    """Return a text with the placeholders of the service's address, None if it does not contain this address.

    On a development machine the port decides, since every service has the same host.
    """
    is_url = "://" in text
    match = (_URL if is_url else _PLAIN).fullmatch(text)
    if not match or match["host"] not in hosts or "{" in text or "$" in text:
        return None
    port = _inside(service, match["port"])
    if port is None and (match["port"] or hosts == _HERE):
        return None
    end = f":{{service:{service.name}:{port or 'port'}}}" if port or is_url else ""
    return f"{match['before']}{_host(service)}{end}{match['after'] or ''}"


def _host(service: ComposeService) -> str:
    return f"{{service:{service.name}:host}}"


def _inside(service: ComposeService, text: str | None) -> int | None:
    """Return the port inside of a port inside or on this machine, None if it is not one of the service's."""
    port = int(text) if text and re.fullmatch("[0-9]{1,5}", text) else 0
    return next((inside for inside, here in service.published.items() if port and port in (inside, here)), None)


def _beside_port(service: ComposeService, name: str, outside: Mapping[str, str]) -> str | None:
    """Return the host if a development machine has the service's port in the variable beside it."""
    prefix = _HOST.sub("", name.upper())
    ports = (value for other, value in outside.items() if other.upper() == f"{prefix}_PORT")
    is_here = prefix != name.upper() and outside.get(name) in _HERE
    return _host(service) if is_here and any(_inside(service, port) for port in ports) else None


def _beside_host(service: ComposeService, prefix: str, given: Given) -> Iterator[tuple[str, str]]:
    """Yield the other variables of a host: its port, and what Compose sets beside it, such as whether it uses TLS."""
    for name, usage in given.usages.items():
        values = [*given.inside.get(name, ()), given.outside.get(name, ""), usage.default or ""]
        if not name.upper().startswith(f"{prefix}_") or _HOST.search(name.upper()):
            continue
        if _PORT.search(name.upper()):
            ports = [*service.published] if len(service.published) == 1 else map(partial(_inside, service), values)
            if port := next(filter(None, ports), None):
                yield name, f"{{service:{service.name}:{port}}}"
        elif plain := [text for text in given.inside.get(name, ()) if text and "$" not in text and "{" not in text]:
            yield name, plain[-1]
