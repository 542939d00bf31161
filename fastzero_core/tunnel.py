"""Reach a Docker Engine, and published ports, on another machine through the system's OpenSSH.

All commands of a user share one connection to a host, which ends after IDLE seconds without use. Agents, jump hosts and
host keys are as the user's configuration of ssh says. A port has the same number on both machines.
"""

import hashlib
import os
import re
import shlex
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import InvalidInputError, NotAllowedError, PortTakenError, UnavailableError
from .files import locked
from .listening import is_free

LOCALHOST = "127.0.0.1"
THIS_MACHINE = (LOCALHOST, "localhost", "[::1]")
ENGINE_SOCKET = "/var/run/docker.sock"
SCHEME = "ssh://"
IDLE = 600  # seconds
CONNECT = 10  # seconds
CALL = 120  # seconds for a call of ssh, in which the user may enter a password
LOST_AFTER = (5, 3)  # seconds between questions to a silent server, and how many it may leave unanswered
HOST = (
    r"ssh://(?P<target>([A-Za-z0-9_][\w.-]*@)?([A-Za-z0-9][\w.-]*|\[[0-9A-Fa-f:.%]+\]))(:(?P<port>\d{1,5}))?"
    r"(?P<socket>/[^:\s]*)?"
)
# The path of a socket may have 107 bytes, of which ssh and the names here need 30. ssh interprets other characters.
USABLE = r"/[\w./+,=@-]{0,76}"


def asked_host(setting: str | None) -> str:
    """Return the host that a setting names, else DOCKER_HOST if that is one, else ""."""
    named = os.environ.get("DOCKER_HOST", "")
    return setting or (named if named.startswith(SCHEME) else "")


def parse_host(host: str) -> str:
    """Return the host of an engine. Raises InvalidInputError unless it is ssh://[USER@]NAME[:PORT][/SOCKET]."""
    found = re.fullmatch(HOST, host)
    if found is None or not 0 < int(found["port"] or 22) < 2**16:
        raise InvalidInputError(
            f"host {host!r} must be ssh://[USER@]NAME[:PORT]",
            field="host",
            hint="For example: ssh://deploy@example.com",
        )
    return host


def beside(host: str, address: str) -> str:
    """Return the host at another address, with the user, port and socket of the first: `ssh://deploy@10.0.0.2:2222`."""
    parts = _parts(host)
    user, at, _ = parts["target"].rpartition("@")
    port = f":{parts['port']}" if parts["port"] else ""
    return f"{SCHEME}{user}{at}{f'[{address}]' if ':' in address else address}{port}{parts['socket']}"


def engine_address(host: str) -> str:
    """Return the address of the engine's socket, forwarded to this machine. Raises UnavailableError."""
    path = _folder() / f"{_name(host)}.engine"
    _forward(host, [f"{path}:{engine_socket(host)}"])
    return f"unix://{path}"


def engine_socket(host: str) -> str:
    """Return the path of the engine's socket on the host."""
    socket_there = _parts(host)["socket"]
    return socket_there if socket_there not in ("", "/") else ENGINE_SOCKET


def login(host: str) -> str:
    """Return the command to log in to a host."""
    return shlex.join(["ssh", *_destination(host)])


def forward_ports(host: str, ports: Iterable[int]) -> None:
    """Make ports of the host's loopback address reachable here. Raises UnavailableError, PortTakenError."""
    wanted = _of_ports(host, ports)
    if wanted:
        _forward(host, wanted)


def release_ports(host: str, ports: Iterable[int]) -> None:
    """Undo `forward_ports`, so that programs of this machine can use the ports."""
    options = _options(_of_ports(host, ports))
    if options:
        _ssh(host, "-O", "cancel", *options)


def _of_ports(host: str, ports: Iterable[int]) -> list[str]:
    is_here = _parts(host)["target"].rpartition("@")[2] in THIS_MACHINE  # its ports are reachable already
    return [] if is_here else [f"{LOCALHOST}:{port}:{LOCALHOST}:{port}" for port in ports]


def _options(forwards: Iterable[str]) -> list[str]:
    return [part for each in forwards for part in ("-L", each)]


def _forward(host: str, wanted: list[str]) -> None:
    options = _options(wanted)
    with _alone(host):
        done = _ssh(host, "-O", "forward", *options)
        if done.returncode != 0 and not _is_connected(host):
            done = _ssh(host, *_connection(), "-f", "-N", *options)
    if done.returncode != 0:
        raise _error(host, wanted, done.stderr)


@contextmanager
def _alone(host: str) -> Iterator[None]:
    """Keep other commands waiting: of two that connect at once, one could not be shared, and would never end."""
    with locked(_folder() / f"{_name(host)}.lock"):
        yield


def _is_connected(host: str) -> bool:
    return _ssh(host, "-O", "check").returncode == 0


def _connection() -> list[str]:
    interval, unanswered = LOST_AFTER
    options = {
        "ControlMaster": "yes",
        "ControlPersist": IDLE,
        "ConnectTimeout": CONNECT,
        "ExitOnForwardFailure": "yes",
        "StreamLocalBindUnlink": "yes",
        "StreamLocalBindMask": "0177",
        "ServerAliveInterval": interval,
        "ServerAliveCountMax": unanswered,
        "BatchMode": "no" if sys.stdin.isatty() else "yes",
    }
    return [part for name, value in options.items() for part in ("-o", f"{name}={value}")]


def _ssh(host: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["ssh", "-T", "-o", f"ControlPath={_folder() / _name(host)}", *arguments, *_destination(host)]
    # The connection outlives this command, so it may not keep a pipe of it open.
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        try:
            done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=said, timeout=CALL)
        except FileNotFoundError:
            raise UnavailableError("ssh is not installed", hint="Install it: apt install openssh-client") from None
        except subprocess.TimeoutExpired:
            raise UnavailableError(f"{host} does not answer within {CALL} s") from None
        said.seek(0)
        return subprocess.CompletedProcess(command, done.returncode, "", said.read())


def _error(host: str, wanted: Iterable[str], said: str) -> UnavailableError | PortTakenError:
    taken = [port for each in wanted if (port := each.split(":")[1]).isdecimal() and not is_free(LOCALHOST, int(port))]
    if taken:
        return PortTakenError(
            f"port {taken[0]} of this machine is taken, which {host} should be reached by",
            hint="Stop what uses it, or choose other ports: fastzero up --port PORT --app-port PORT",
        )
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    is_denied = "permission denied" in said.lower()
    remedy = "Add your key to the agent, ssh-add, and log in" if is_denied else "Log in once, and accept its key"
    return UnavailableError(
        f"{host} cannot be reached: {lines[-1] if lines else 'ssh ended'}",
        hint=f"{remedy}: {login(host)}",
        evidence="\n".join(lines[:-1]),
    )


def _destination(host: str) -> list[str]:
    parts = _parts(host)
    return [*(["-p", parts["port"]] if parts["port"] else []), parts["target"]]


def _parts(host: str) -> dict[str, str]:
    found = re.fullmatch(HOST, parse_host(host))
    assert found is not None
    return {name: value or "" for name, value in found.groupdict().items()}


def _name(host: str) -> str:
    return hashlib.sha256(host.encode()).hexdigest()[:12]


def _folder() -> Path:
    """Return the folder for sockets, which only this user may enter. Raises NotAllowedError if it cannot be that."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    own = f"fastzero-{os.getuid()}"
    places = [Path(runtime, "fastzero")] if runtime and Path(runtime).is_dir() else []
    places += [Path(tempfile.gettempdir(), own), Path("/tmp", own)]  # noqa: S108 - it is checked below
    folder = next(place for place in places if re.fullmatch(USABLE, str(place), re.ASCII))
    try:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
    except OSError as error:
        raise NotAllowedError(
            f"{folder} cannot be made: {error.strerror}", hint="Set XDG_RUNTIME_DIR to a folder of your own"
        ) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise NotAllowedError(f"{folder} is not a folder that only you can enter", hint=f"Remove it: rm -r {folder}")
    return folder
