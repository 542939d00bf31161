"""Create the network of a project's containers, with its range of addresses."""

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, ip_address
from random import sample
from typing import Any

import docker
import docker.errors
from docker.types import IPAMConfig, IPAMPool

# The engine's message when all of its default ranges are taken, usually after 30 networks.
EXHAUSTED = "non-overlapping ipv4 address pool"
OVERLAPS = "overlaps"
# Private addresses outside the engine's default ranges, which begin at 172.17.0.0.
RANGES = list(IPv4Network("172.16.0.0/16").subnets(new_prefix=24))


def create(api: docker.APIClient, name: str, labels: Mapping[str, str]) -> None:
    """Create a network. Its range is one of the engine's defaults or, if each of them is taken, one of RANGES.

    Raises docker.errors.APIError.
    """
    try:
        _create(api, name, labels)
    except docker.errors.APIError as error:
        is_exhausted = EXHAUSTED in str(error).lower()
        if not (is_exhausted and any(_create_in(subnet, api, name, labels) for subnet in _ranges())):
            raise


def _create(api: docker.APIClient, name: str, labels: Mapping[str, str], **ipam: Any) -> None:
    api.create_network(name, driver="bridge", labels=dict(labels), check_duplicate=True, **ipam)


def _create_in(subnet: IPv4Network, api: docker.APIClient, name: str, labels: Mapping[str, str]) -> bool:
    """Create the network unless its range overlaps with another network's. Returns whether it was created."""
    try:
        _create(api, name, labels, ipam=IPAMConfig(pool_configs=[IPAMPool(subnet=str(subnet))]))
    except docker.errors.APIError as error:
        if OVERLAPS not in str(error.explanation):
            raise
        return False
    return True


def _ranges() -> Iterator[IPv4Network]:
    """Yield RANGES in random order, so that projects that start together rarely try the same one."""
    import socket

    import psutil

    interfaces = (address for addresses in psutil.net_if_addrs().values() for address in addresses)
    local = [ip_address(each.address) for each in interfaces if each.family == socket.AF_INET]
    for subnet in sample(RANGES, len(RANGES)):
        if not any(address in subnet for address in local):
            yield subnet
