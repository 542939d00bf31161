"""The calls of an engine's API that manage a swarm."""

from typing import Any

import docker


def api_of(client: docker.DockerClient) -> Any:
    """Return the API of an engine, without types: those of the SDK leave its swarm out."""
    return client.api
