"""Guess why an application does not run, from the end of its output. Standard library only."""

import re
from collections.abc import Callable
from os.path import normpath

Match = re.Match[str]

ENVIRONMENT = "[application.environment] of fastzero.toml"
PYTHON_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]+")


def probable_cause(said: str, port: int = 0, *, in_container: bool = False) -> str:
    """Return the most probable cause and its remedy as one line, "" if the output does not show a cause.

    `said` is the end of a process's output. `port` is the port that the process should listen on if connecting to it
    failed, else 0. `in_container`: listening on loopback only is a mistake too.
    """
    for pattern, told in _CAUSES:
        if (match := pattern.search(said)) and (cause := told(match)):
            return cause
    return _elsewhere(said, port, in_container) if port else ""


def _elsewhere(said: str, port: int, in_container: bool) -> str:
    """Return why a running process does not answer on `port`, from its messages about the address it listens on."""
    found = [(match["host"], int(match["port"])) for match in _LISTENING.finditer(said)]
    if not found:
        return "nothing says that it listens: let its command use {app_host} and {app_port}"
    host, number = found[-1]
    if number != port:
        return f"it listens on port {number}, not on {port}: let its command use {{app_port}}"
    is_alone = in_container and host in _LOOPBACK
    return f"it listens on {host} alone: let its command use {{app_host}}" if is_alone else ""


def _variable(match: Match) -> str:
    name = match["name"]
    return f"the variable {name} is missing: set it in {ENVIRONMENT}" if PYTHON_VARIABLE.fullmatch(name) else ""


def _field(match: Match) -> str:
    name = match["name"].upper()
    return f"the variable {name} is missing or invalid: set it in {ENVIRONMENT}"


def _module(match: Match) -> str:
    name = match["name"]
    return f"the module {name} is not installed, or `directory` of fastzero.toml is not where it lies"


_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_LISTENING = re.compile(
    r"(?i)(?:running on|listening at:?|listening on) https?://(?P<host>[\w.:\[\]-]+?):(?P<port>\d+)"
)
# The first match counts, so errors come before their consequences.
_CAUSES: tuple[tuple[re.Pattern[str], Callable[[Match], str]], ...] = (
    (
        re.compile(
            r'File "(?P<file>[^"]+)", line (?P<line>\d+)\n(?:.*\n){1,3}?'
            r"(?P<kind>SyntaxError|IndentationError|TabError): (?P<text>.*)"
        ),
        lambda match: f"{match['kind']} in {match['file']}, line {match['line']}: {match['text']}",
    ),
    (re.compile(r"KeyError: '(?P<name>[^']+)'\s*$", re.MULTILINE), _variable),
    (re.compile(r"(?i)^(?P<name>\w+)\n\s+Field required \[type=missing", re.MULTILINE), _field),
    (
        re.compile(r"(?m)^\s+Value error, (?P<text>.+?) \[type=value_error"),
        lambda match: f"its settings refuse a value ({match['text']}): set it in {ENVIRONMENT}",
    ),
    (
        re.compile(
            r"(?:Config file |FileNotFoundError: \[Errno 2\] No such file or directory: )'(?P<path>[^']+)'"
            r"(?: not found)?"
        ),
        lambda match: f"the file {normpath(match['path'])} is missing: create it",
    ),
    (re.compile(r"ModuleNotFoundError: No module named '(?P<name>[^']+)'"), _module),
    (
        re.compile(r'(?:Attribute|attribute) "(?P<name>[^"]+)" not found in module "(?P<module>[^"]+)"'),
        lambda match: f"module {match['module']} has no {match['name']}: correct `asgi` of fastzero.toml",
    ),
    (
        re.compile(r'Could not import module "(?P<name>[^"]+)"'),
        lambda match: f"module {match['name']} is not there: correct `asgi` or `directory` of fastzero.toml",
    ),
    (
        re.compile(r"(?i)address already in use"),
        lambda _: "another program has its port: let its command use {app_port}",
    ),
    (
        re.compile(r"(?i)password authentication failed|role \"[^\"]+\" does not exist"),
        lambda _: f"it logs in to another database: hand it the URL in {ENVIRONMENT}",
    ),
    (
        re.compile(r"(?i)read-only file system: '(?P<path>[^']+)'"),
        lambda match: (
            f"it writes to {match['path']}: add the folder to `writable` of [application.container], or set"
            " `read_only = false` there if the folder has the code, which `writable` hides"
        ),
    ),
    (
        re.compile(r"PermissionError: \[Errno 13\] Permission denied: '(?P<path>[^']+)'"),
        lambda match: (
            f"its user may not write to {match['path']}; in containers, add the folder to `writable` of"
            " [application.container]"
        ),
    ),
    (
        re.compile(r"(?i)cannot be run: no such file|command not found|executable file not found"),
        lambda _: "its program is not installed: install the dependencies with fastzero up --install",
    ),
    (
        re.compile(
            r"socket\.gaierror|could not translate host name \"(?P<name>[^\"]+)\""
            r"|failed to resolve host '(?P<host>[^']+)'"
        ),
        lambda match: (
            f"it uses a host that does not exist here{_named(match)}: let it read the address from a variable"
        ),
    ),
    (
        re.compile(r"Can't connect to (?P<name>MySQL) server|(?P<other>pymongo)\.errors\.\w*Timeout"),
        lambda match: f"it uses {match['name'] or 'MongoDB'}, and fastzero runs PostgreSQL alone",
    ),
    (
        re.compile(r"(?i)(?:connection refused|Connect call failed)\D*(?P<address>[\w.]+'?[:,]\s*\d+)?"),
        lambda match: f"something that it needs does not answer{_at(match['address'])}",
    ),
)


def _named(match: Match) -> str:
    name = match["name"] or match["host"]
    return f" ({name})" if name else ""


def _at(address: str | None) -> str:
    return f" at {address}" if address else ""
