"""Find the services of the Compose files besides the application and its database."""

import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace

from ..environment import dotenv_variables
from ..sources import Sources
from .companions import Given, table, variables
from .compose import ComposeService, compose_files, services_of
from .findings import Finding, Note
from .images import is_run
from .started import folder_of
from .usages import Usage
from .variables import role

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
    given = _given(sources, usages)
    for service in _described(sources):
        is_needed = service.name in needed
        if kind := _kind(service):
            yield Finding(f"services.{kind}", {}, service.where, "the Compose file has it", active=is_needed)
            yield from addresses_of(kind, usages, active=is_needed)
        elif (
            not service.is_postgres
            and (described := table(service))
            and ((found := variables(service, given)) or is_needed)
        ):
            why = "as in the Compose file" if is_needed else "as in the Compose file; the application starts without it"
            yield Finding(f"services.{service.name}", described, service.where, why, active=is_needed)
            for name, value in found.items():
                where = f"where {service.name} is"
                yield Finding(f"environment.{name}", value, usages[name].where, where, active=is_needed)


def addresses_of(kind: str, usages: Mapping[str, Usage], *, active: bool = True) -> Iterator[Finding]:
    """Yield the variables for the address of Redis or Valkey."""
    for name, usage in usages.items():
        if template := _variable(name.upper(), kind, usage):
            yield Finding(f"environment.{name}", template, usage.where, f"where {kind} is", active=active)


def _given(sources: Sources, usages: Mapping[str, Usage]) -> Given:
    inside: dict[str, tuple[str, ...]] = {}
    ours = {service.name for service in _described(sources) if is_run(sources, service)}
    for service in (each for path in _files(sources) for each in services_of(sources, path) if each.name in ours):
        for name, value in service.environment.items():
            inside[name] = (*inside.get(name, ()), value)
    texts = [path for path in sources.files if ".env" in path.rpartition("/")[2] and path.count("/") <= 1]
    outside = {name: value for path in texts for name, value in dotenv_variables(sources.text(path)).items()}
    return Given({name: each for name, each in usages.items() if not role(each)}, inside, outside)


def _described(sources: Sources) -> Iterator[ComposeService]:
    """Yield each service once, with what further Compose files add to it."""
    found: dict[str, ComposeService] = {}
    for service in (each for path in _files(sources) for each in services_of(sources, path)):
        known = found.setdefault(service.name, service)
        found[service.name] = replace(
            known,
            image=known.image or service.image,
            build=known.build or service.build,
            needs=(*known.needs, *service.needs),
            command=known.command or service.command,
            check=known.check or service.check,
            environment={**service.environment, **known.environment},
            published={**known.published, **service.published},
            mounts=tuple(dict.fromkeys([*known.mounts, *service.mounts])),
            others=known.others | service.others,
        )
    yield from found.values()


def notes(sources: Sources, findings: Mapping[str, Finding]) -> Iterator[Note]:
    """Yield a note, with a remedy, for each service that fastzero does not run, or runs here only with Docker."""
    for service in _described(sources):
        found = findings.get(f"services.{service.name}")
        if is_run(sources, service):
            continue
        if kind := _kind(service):
            if service.name in _needed(sources) and not any(shutil.which(f"{name}-server") for name in KNOWN):
                text = f"{service.name} needs {kind}-server on this machine"
                yield Note(text, service.where, f"Install {kind}, or use containers: fastzero up --runtime docker")
        elif found and found.active:
            text = f"{service.name} has an image alone"
            hint = "Use containers: fastzero up --runtime docker. Or add its program to fastzero.toml"
            yield Note(text, service.where, hint)
        elif found:
            text = f"{service.name} is a comment in fastzero.toml: the application starts without it"
            yield Note(text, service.where, "To run it, remove the # before its lines")
        else:
            text = f"{service.name} ({service.image or 'an image of its own'}) is not run by fastzero"
            hint = f"Run it with Docker Compose, or describe it in a table [services.{service.name}]"
            yield Note(text, service.where, hint)


def _files(sources: Sources) -> list[str]:
    """Return the Compose files of the shallowest folder that has any."""
    every = compose_files(sources)
    return [path for path in every if folder_of(path) == folder_of(every[0])]


def _needed(sources: Sources) -> set[str]:
    """Return the names of the services on which a service of the application depends."""
    return {name for each in _described(sources) if each.build and is_run(sources, each) for name in each.needs}


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
