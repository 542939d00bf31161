"""Push the images that nodes pull, and find the digests by which all nodes run the same ones."""

from collections.abc import Mapping
from typing import Any

import docker
import docker.errors

from ...errors import ImageError, InvalidInputError
from ...events import Listener, Progress
from ..docker import images
from ..docker.engine import GONE, UNREACHABLE
from ..spec import ServiceSpec
from .engine import api_of


def digest(client: docker.DockerClient, name: str) -> str:
    """Return the digest of an image in its registry, else of the one that was pulled before; "" without one."""
    if "@" in name:
        return name.partition("@")[2]
    try:
        return str(api_of(client).inspect_distribution(name)["Descriptor"]["digest"])
    except UNREACHABLE:
        return _pulled(client, name)


def _pulled(client: docker.DockerClient, name: str) -> str:
    try:
        known = client.images.get(name).attrs.get("RepoDigests") or []
    except GONE:
        return ""
    repository = name.rpartition(":")[0]
    return next((each.partition("@")[2] for each in known if each.partition("@")[0] == repository), "")


def pinned(client: docker.DockerClient, name: str, described_at: str, *, nodes: int) -> str:
    """Return the digest of an image. A swarm of one node may run an image that only this engine has.

    Raises ImageError if the nodes could not pull it.
    """
    found = digest(client, name)
    if found or (nodes == 1 and images.image_id(client, name)):
        return found
    place = f"{described_at}: " if described_at else ""
    raise ImageError(
        f"{place}no registry has {name}, from which the nodes could pull it",
        hint="See if this machine reaches the registry, and log in to it: docker login",
    )


def push(client: docker.DockerClient, name: str, on_event: Listener) -> None:
    """Push an image to the registry in its name. Raises ImageError."""
    layers: dict[str, tuple[int, int]] = {}
    try:
        for event in client.api.push(name, stream=True, decode=True):
            if "error" in event:
                raise ImageError(f"{name} cannot be pushed: {event['error']}", hint="Log in: docker login REGISTRY")
            on_event(_pushed(name, event, layers))
    except UNREACHABLE as error:
        raise ImageError(f"{name} cannot be pushed: {error}") from error


def _pushed(name: str, event: Mapping[str, Any], layers: dict[str, tuple[int, int]]) -> Progress:
    detail = event.get("progressDetail") or {}
    if event.get("status") == "Pushing" and "total" in detail:
        layers[event["id"]] = (detail["current"], detail["total"])
    done, total = (sum(each) for each in zip(*layers.values(), strict=True)) if layers else (0, 0)
    return Progress(f"Pushing {name}", done, total or None, "bytes")


def refuse_unreachable(service: ServiceSpec, nodes: int) -> None:
    """Raise InvalidInputError for an image that is built here, and that no other node could get."""
    if nodes > 1 and "/" not in service.image:
        raise InvalidInputError(
            f"this swarm has {nodes} nodes, and no registry from which they could pull {service.image}",
            field="registry",
            hint="Nothing was changed. Name one that all nodes reach: FASTZERO_REGISTRY=registry.example.com/team",
        )
