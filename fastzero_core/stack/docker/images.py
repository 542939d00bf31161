"""Pull and build images, and check whether they exist locally."""

import os
from typing import Any

import docker

from ... import __version__
from ...errors import ImageError
from ...events import Listener, Notice, Progress
from .. import archiver, ha
from ..spec import ServiceSpec
from . import archiver_image, ha_image, image
from .containers import VERSION
from .engine import GONE, UNREACHABLE

LAST_LINES = 20  # of a failed build's output
ENDS = ("Download complete", "Pull complete")

RECIPES: dict[str, Any] = {archiver.RECIPE: archiver_image, ha.RECIPE: ha_image}


def image_id(client: docker.DockerClient, name: str) -> str | None:
    """Return an image's id, None if it does not exist locally."""
    try:
        return str(client.images.get(name).id)
    except GONE:
        return None


def pull(client: docker.DockerClient, name: str, on_event: Listener, *, described_at: str = "") -> None:
    """Pull an image. If that fails and the image exists locally, only emits a notice.

    Raises ImageError otherwise; its message begins with `described_at`, the file and line that name the image.
    """
    layers: dict[str, tuple[int, int]] = {}
    try:
        for event in client.api.pull(name, stream=True, decode=True):
            if "error" in event:
                raise ImageError(f"{name} cannot be pulled: {event['error']}")
            on_event(_pulled(name, event, layers))
    except (*UNREACHABLE, ImageError) as error:
        reason = getattr(error, "explanation", None) or str(error)
        if not image_id(client, name):
            place = f"{described_at}: " if described_at else ""
            raise ImageError(f"{place}{name} cannot be pulled: {reason}") from error
        on_event(Notice(f"{name} cannot be pulled ({reason}); the one that is here is used"))


def _pulled(name: str, event: dict[str, Any], layers: dict[str, tuple[int, int]]) -> Progress:
    """Return the progress of a pull after an event about one layer.

    `layers` has the bytes downloaded and the total bytes of each layer, and is updated.
    """
    detail = event.get("progressDetail") or {}
    if event.get("status") == "Downloading" and "total" in detail:
        layers[event["id"]] = (detail["current"], detail["total"])
    elif event.get("status", "").startswith(ENDS) and event.get("id") in layers:
        layers[event["id"]] = (layers[event["id"]][1],) * 2
    done, total = (sum(bytes) for bytes in zip(*layers.values(), strict=True)) if layers else (0, 0)
    return Progress(f"Pulling {name}", done, total or None, "bytes")


def build(client: docker.DockerClient, service: ServiceSpec, on_event: Listener) -> None:
    """Build a service's image, as its `build` says or else from the installed package. Raises ImageError."""
    if service.build:
        from .build import build_image

        build_image(client, service, on_event)
        return
    recipe = RECIPES.get(service.recipe, image)
    arguments = recipe.build_arguments(service.base_image)
    if os.environ.get(image.INDEX) and image.INDEX not in arguments:
        on_event(Notice(f"{image.INDEX} holds a password and is not passed to the build, whose engine would keep it"))
    events = client.api.build(
        fileobj=recipe.context_archive(),
        custom_context=True,
        tag=service.image,
        buildargs=dict(arguments),
        labels={VERSION: __version__},
        rm=True,
        decode=True,
    )
    said: list[str] = []
    for event in events:
        if "error" in event:
            raise _failed(f"{service.image} cannot be built: {event['error']}", said)
        line = event.get("stream", "").strip()
        if line:
            said.append(line)
        if line.startswith("Step "):
            on_event(Progress(line))
    if not image_id(client, service.image):
        raise _failed(f"{service.image} was not built to the end", said)


def _failed(message: str, said: list[str]) -> ImageError:
    return ImageError(message, evidence="\n".join(said[-LAST_LINES:]))
