"""Plan the images of a stack: which are pulled, built, pinned and pushed. Pure."""

from collections.abc import Iterator

from .actions import Action, Kind, Verb
from .observed import Observed
from .spec import ServiceSpec, StackSpec


def plan_images(spec: StackSpec, observed: Observed, *, build: bool = False, pull: bool = False) -> list[Action]:
    """Return the actions that pull or build missing images; with `build` and `pull` also existing ones."""
    if observed.images is None:
        return []
    services = {service.image: service for service in spec.services}  # several may have one image
    return [action for service in services.values() for action in _image(service, observed.images, build, pull)]


def _image(service: ServiceSpec, images: frozenset[str], build: bool, pull: bool) -> Iterator[Action]:
    """Yield the actions that pull an image, or build it; with `pull`, also pull its base image first."""
    missing = "" if service.image in images else f"image {service.image} is not here yet"
    asked = f"it was asked for, though image {service.image} is here"
    if service.deploy and not service.is_built:
        if missing or pull:
            cause = "every node is to run the same one" if missing else "it was asked for"
            yield Action(Verb.PIN, Kind.IMAGE, service.image, cause, service.name, subject=service)
        return
    if not service.is_built:
        if missing or pull:
            yield Action(Verb.PULL, Kind.IMAGE, service.image, missing or asked, service.name, subject=service)
        return
    if pull and service.base_image:
        cause = f"it was asked for; image {service.image} is built from it"
        yield Action(Verb.PULL, Kind.IMAGE, service.base_image, cause, service.name, subject=service)
    if missing or build or pull:
        cause = asked if build else f"image {service.base_image or 'below it'} may be another one now"
        yield Action(Verb.BUILD, Kind.IMAGE, service.image, missing or cause, service.name, subject=service)
        if service.deploy and "/" in service.image:
            yield Action(Verb.PUSH, Kind.IMAGE, service.image, "the nodes pull it", service.name, subject=service)
