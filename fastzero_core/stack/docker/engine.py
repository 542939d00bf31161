"""Connect to the Docker Engine, and translate its errors. Only this package imports the SDK."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import docker
import docker.errors
import requests
import urllib3.exceptions

from ... import tunnel
from ...errors import (
    DockerNotInstalledError,
    DockerPermissionError,
    DockerUnavailableError,
    FastZeroError,
    ImageError,
)

TIMEOUT = 120  # seconds for one call of the engine's API
FIRST_TIMEOUT = 5  # seconds for an engine to answer at all
GONE = docker.errors.NotFound
LEADERLESS = "swarm does not have a leader"  # what the engine of a manager says without a majority of them
UNREACHABLE = (
    docker.errors.DockerException,
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,  # the SDK does not translate it while it reads a stream
    OSError,
)


def connect(timeout: int = TIMEOUT, host: str = "") -> docker.DockerClient:
    """Connect to the engine of a host, by default to the one that DOCKER_HOST or the current context names.

    Raises DockerUnavailableError, DockerPermissionError, DockerNotInstalledError; UnavailableError for the host.
    """
    if host:
        return _connect_to(host, timeout)
    if os.environ.get("DOCKER_HOST", "").startswith(tunnel.SCHEME):
        raise DockerUnavailableError(
            "DOCKER_HOST names another machine, but this project's containers run on this one",
            hint="Unset DOCKER_HOST. Or use a project on that machine: -p NAME",
        )
    with engine_errors():
        return docker.from_env(timeout=timeout)


def _connect_to(host: str, timeout: int) -> docker.DockerClient:
    address = tunnel.engine_address(host)
    try:
        with engine_errors():
            return docker.DockerClient(address, timeout=timeout)
    except DockerUnavailableError as error:
        raise DockerUnavailableError(
            f"no Docker Engine answers on {host}",
            hint=f"See if it runs there, and if you may use {tunnel.engine_socket(host)}: {tunnel.login(host)}",
        ) from error


def answers() -> bool:
    """Return whether an engine answers."""
    try:
        connect(FIRST_TIMEOUT).close()
    except FastZeroError:
        return False
    return True


@contextmanager
def engine_errors() -> Iterator[None]:
    try:
        yield
    except docker.errors.ImageNotFound as error:
        raise ImageError(f"image not found: {error.explanation}") from error
    except docker.errors.APIError as error:
        if "no space left" in str(error).lower():
            raise DockerUnavailableError(
                "the engine's disk is full", hint="Free some: docker system df, docker image prune"
            ) from error
        if LEADERLESS in str(error):
            raise DockerUnavailableError(
                "the swarm lacks most of its managers: what runs goes on, but nothing can be changed or looked up, and"
                " a database with standbys acknowledges no write without two of its nodes",
                hint="Start the other nodes. What is missing returns by itself",
            ) from error
        raise DockerUnavailableError(
            f"the Docker Engine refused: {error.explanation or error}", hint="See its log; then try again"
        ) from error
    except BrokenPipeError:
        raise  # the reader of this command's output is gone, which has nothing to do with the engine
    except UNREACHABLE as error:
        raise _connection_error(error) from error


def _connection_error(error: BaseException) -> FastZeroError:
    """Return the error for a failed connection. The SDK raises the same DockerException for every cause."""
    causes = list(_chain(error))
    if any(isinstance(cause, PermissionError) for cause in causes):
        return DockerPermissionError("no permission on the Docker Engine's socket")
    no_socket = any(isinstance(cause, FileNotFoundError) for cause in causes)
    if no_socket and not any(shutil.which(program) for program in ("docker", "podman", "dockerd")):
        return DockerNotInstalledError("Docker is not installed")
    return DockerUnavailableError(f"no Docker Engine answers: {causes[-1]}")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception, its causes, and the exceptions among their arguments."""
    yield error
    inner = [error.__cause__ or error.__context__, *(part for part in error.args if isinstance(part, BaseException))]
    for part in inner:
        if part is not None:
            yield from _chain(part)


def is_port_conflict(error: docker.errors.APIError) -> bool:
    """Return whether the engine refused to start a container because its port is taken."""
    text = str(error).lower()
    return "port is already allocated" in text or "address already in use" in text
