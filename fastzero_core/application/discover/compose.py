"""Read the services of Compose files."""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from ..sources import Sources

_FILE = re.compile(r"(?:docker-)?compose(?:[.-][\w.-]+)?\.ya?ml")
_HEALTH_URL = re.compile(r"https?://(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\])(?::[\w${}:-]+)?(/[^\s\"'|]*)")
_PORT = re.compile(r"(?:(?:[\d.]+:)?(?:(\d{1,5})|\$\{[^}]*\}):)?(\d{1,5})(?:/tcp)?", re.ASCII)
_READ = {"image", "command", "build", "environment", "depends_on", "healthcheck", "ports", "expose", "volumes"}
POSTGRES = ("postgres", "postgis", "timescale", "pgvector", "citus")


@dataclass(frozen=True)
class ComposeService:
    """The relevant parts of a service in a Compose file.

    `health` is the path that its health check requests, `check` the command of that check. `published` has the port on
    this machine of each port inside, 0 without one. `mounts` are pairs of source and path inside. `others` are the keys
    that are not read here, and `ports` if one is not a TCP port with a number.
    """

    name: str
    where: str
    image: str = ""
    command: str = ""
    build: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    health: str | None = None
    check: str = ""
    published: Mapping[int, int] = field(default_factory=dict)
    mounts: tuple[tuple[str, str], ...] = ()
    others: frozenset[str] = frozenset()

    @property
    def is_postgres(self) -> bool:
        return any(word in self.image.lower() for word in POSTGRES)


class _Loader(yaml.SafeLoader):
    """A safe loader that accepts Compose's own tags, such as !reset."""


_Loader.add_multi_constructor("!", lambda loader, suffix, node: None)


def compose_files(sources: Sources) -> list[str]:
    """Return the Compose files, those of the shallowest folder first, then those with the shortest paths."""
    found = [path for path in sources.files if _FILE.fullmatch(path.rpartition("/")[2].lower())]
    return sorted(found, key=lambda path: (path.count("/"), len(path), path))


def services_of(sources: Sources, path: str) -> list[ComposeService]:
    """Return the services of a Compose file, empty if it cannot be parsed."""
    text = sources.text(path)
    try:
        document = yaml.load(text, _Loader)  # noqa: S506  # derived from SafeLoader
    except (yaml.YAMLError, RecursionError, ValueError):
        return []
    services = document.get("services") if isinstance(document, dict) else None
    if not isinstance(services, dict):
        return []
    lines = text.splitlines()
    return [
        _service(str(name), value, f"{path}:{_line(lines, str(name))}")
        for name, value in services.items()
        if isinstance(value, dict)
    ]


def _line(lines: list[str], name: str) -> int:
    pattern = re.compile(rf"\s+[\"']?{re.escape(name)}[\"']?\s*:")
    return next((number for number, line in enumerate(lines, 1) if pattern.match(line)), 1)


def _service(name: str, value: dict[str, Any], where: str) -> ComposeService:
    build = value.get("build")
    ports = [_port(each) for each in (*_list(value.get("ports")), *_list(value.get("expose")))]
    published = dict(_published(ports))
    unread = {"ports"} if len(published) < len({*ports}) else set()
    return ComposeService(
        name,
        where,
        image=_text(value.get("image")),
        command=_command(value.get("command")),
        build={"context": build} if isinstance(build, str) else dict(_environment(build)),
        environment=dict(_environment(value.get("environment"))),
        needs=tuple(_names(value.get("depends_on"))),
        health=_health(value.get("healthcheck")),
        check=_check(value.get("healthcheck")),
        published=published,
        mounts=tuple(_mounts(value.get("volumes"))),
        others=frozenset({*map(str, value)} - _READ | unread),
    )


def _text(value: Any) -> str:
    """Return a scalar as text, "" for anything else: aliases within aliases would be a text without end."""
    return "" if value is None or isinstance(value, list | dict | set | tuple) else str(value)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _command(value: Any) -> str:
    return shlex.join(map(_text, value)) if isinstance(value, list) else _text(value)


def _environment(value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, each in value.items():
            if each is not None:
                yield str(name), str(each).lower() if isinstance(each, bool) else _text(each)
    for each in _list(value):
        name, equals, text = _text(each).partition("=")
        if equals:
            yield name, text


def _names(value: Any) -> Iterator[str]:
    yield from map(_text, value if isinstance(value, list | dict) else ())


def _health(check: Any) -> str | None:
    test = check.get("test") if isinstance(check, dict) else None
    match = _HEALTH_URL.search(_command(test))
    return match[1] if match else None


def _check(check: Any) -> str:
    """Return the command of a health check, as a line for a shell."""
    test = check.get("test") if isinstance(check, dict) else None
    words = list(map(_text, test)) if isinstance(test, list) else ["CMD-SHELL", _text(test)]
    kind, *rest = words or ["NONE"]
    found = {"CMD": shlex.join(rest), "CMD-SHELL": " ".join(rest)}.get(kind, "")
    return found.replace("$$", "$")


def _port(value: Any) -> str:
    """Return a port as `PUBLISHED:TARGET`, as Compose's short form."""
    return f"{_text(value.get('published'))}:{_text(value.get('target'))}" if isinstance(value, dict) else _text(value)


def _published(ports: list[str]) -> Iterator[tuple[int, int]]:
    """Yield each TCP port inside with its port on this machine, 0 without one."""
    for each in ports:
        if match := _PORT.fullmatch(each.removeprefix(":")):
            yield int(match[2]), int(match[1] or 0)


def _mounts(value: Any) -> Iterator[tuple[str, str]]:
    for each in _list(value):
        if isinstance(each, dict):
            yield _text(each.get("source")), _text(each.get("target"))
        else:
            source, _, rest = _text(each).partition(":")
            yield (source, rest.partition(":")[0]) if rest else ("", source)
