"""Find the services of the Compose files besides the application and its database."""

import re
import shutil
from collections.abc import Iterator, Mapping

from ..sources import Sources
from .compose import ComposeService, compose_files, services_of
from .findings import Finding, Note
from .images import is_run
from .started import folder_of
from .usages import Usage

KNOWN = ("redis", "valkey")
_HOST = re.compile(r"(REDIS|VALKEY)\w*_(HOST|HOSTNAME|SERVER)$")
_PORT = re.compile(r"(REDIS|VALKEY)\w*_PORT$")
_URL = re.compile(r"(REDIS|VALKEY)\w*_?(URL|URI|DSN)$")
_BROKER = re.compile(r"BROKER(_URL|_URI)?$|RESULT_BACKEND$")
_NUMBER = re.compile(r":\d+/(\d+)$")


def services(sources: Sources, usages: Mapping[str, Usage]) -> Iterator[Finding]:
    """Yield the services that fastzero can run, with the variables for their addresses.

    A service becomes a comment if no service of the application depends on it.
    """
    needed = _needed(sources)
    for service in (each for path in _files(sources) for each in services_of(sources, path)):
        if kind := _kind(service):
            is_needed = service.name in needed
            yield Finding(f"services.{kind}", {}, service.where, "the Compose file has it", active=is_needed)
            for name, usage in usages.items():
                if template := _variable(name.upper(), kind, usage):
                    yield Finding(f"environment.{name}", template, usage.where, f"where {kind} is", active=is_needed)


def notes(sources: Sources) -> Iterator[Note]:
    """Yield a note, with a remedy, for each service that fastzero does not run, or runs here only with Docker."""
    told: set[str] = set()
    for path in _files(sources):
        for service in services_of(sources, path):
            if service.name in told:
                continue
            told.add(service.name)
            kind = _kind(service)
            if kind and service.name in _needed(sources) and not any(shutil.which(f"{name}-server") for name in KNOWN):
                text = f"{service.name} needs {kind}-server on this machine"
                yield Note(text, service.where, f"Install {kind}, or use containers: fastzero up --runtime docker")
            elif not kind and not is_run(sources, service, path):
                text = f"{service.name} ({service.image or 'an image of its own'}) is not run by fastzero"
                hint = f"Run it with Docker Compose, or describe it in a table [services.{service.name}]"
                yield Note(text, service.where, hint)


def _files(sources: Sources) -> list[str]:
    """Return the Compose files of the shallowest folder that has any."""
    every = compose_files(sources)
    return [path for path in every if folder_of(path) == folder_of(every[0])]


def _needed(sources: Sources) -> set[str]:
    """Return the names of the services on which a service with a build section depends."""
    every = [each for path in _files(sources) for each in services_of(sources, path)]
    return {name for each in every if each.build for name in each.needs}


def _kind(service: ComposeService) -> str | None:
    return next((kind for kind in KNOWN if kind in service.image.rpartition("/")[2].lower()), None)


def _variable(name: str, kind: str, usage: Usage) -> str | None:
    """Return the value of a variable for the address of Redis or Valkey, None for another variable."""
    host, port = f"{{service:{kind}:host}}", f"{{service:{kind}:port}}"
    if usage.composed:
        return None
    if _HOST.search(name):
        return host
    if _PORT.search(name):
        return port
    is_text = not re.search(r"\bint\b|Literal", usage.kind)
    is_broker = _BROKER.search(name) and "redis:" in (usage.default or "redis:")
    if is_text and (_URL.search(name) or is_broker):
        number = _NUMBER.search(usage.default or "")
        return f"redis://{host}:{port}/{number[1] if number else 0}"
    return None
