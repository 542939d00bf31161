"""A domain: a certificate by ACME, from an authority on a node, which asks port 80 or 443 of the domain for proof."""

from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from fastzero_core.polling import wait_until

from .conftest import NODES, PROXY, REGISTRY, Deployed, cluster_program, curl, deployed

pytestmark = [pytest.mark.slow, pytest.mark.docker]

DOMAIN = "shop.example.com"
AUTHORITY = f"{NODES[2]}:9443"
CADDYFILE = f"""\
{{
	admin off
	auto_https disable_redirects
	skip_install_trust
}}
https://{AUTHORITY} {{
	tls internal
	acme_server
}}
"""
ROOT = "/data/caddy/pki/authorities/local/root.crt"
TRUSTING = f"""\
FROM {PROXY}
COPY root.crt /tmp/root.crt
RUN cat /tmp/root.crt >> /etc/ssl/certs/ca-certificates.crt
"""


@pytest.fixture(scope="module")
def root(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An authority for the name of the first node; the file with its own certificate."""
    folder = tmp_path_factory.mktemp("authority")
    file = folder / "root.crt"
    engine = docker.DockerClient(cluster_program("host", "3"))
    authority = engine.containers.run(
        f"{REGISTRY}/{PROXY}",
        ["sh", "-c", f"echo '{CADDYFILE}' | caddy run --config - --adapter caddyfile"],
        network_mode="host",
        extra_hosts={DOMAIN: NODES[0]},
        detach=True,
    )

    def written() -> bool:
        code, output = authority.exec_run(["cat", ROOT])
        if code == 0 and isinstance(output, bytes):
            file.write_bytes(output)
        return file.exists()

    try:
        assert wait_until(written, 30), authority.logs()
        yield file
    finally:
        authority.remove(force=True)
        engine.close()


@pytest.fixture(scope="module")
def shop(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """A project whose proxies trust the authority."""
    folder = tmp_path_factory.mktemp("shop")
    root.with_name("Dockerfile").write_text(TRUSTING)
    image = "fastzero-test-caddy:trusting"
    client = docker.from_env()
    client.images.build(path=str(root.parent), tag=image, rm=True)
    cluster_program("load", image)
    for project in deployed("domain", folder / "home", folder):
        project.variables = {
            "FASTZERO_DOMAIN": DOMAIN,
            "FASTZERO_ACME_DIRECTORY": f"https://{AUTHORITY}/acme/local/directory",
            "FASTZERO_PROXY_IMAGE": f"{REGISTRY}/{image}",
        }
        yield project
    client.images.remove(image)
    client.close()


def test_a_domain_is_served_with_a_certificate_by_acme(shop: Deployed, root: Path) -> None:
    told = shop.up()
    assert f"https://{DOMAIN}" in told
    assert wait_until(lambda: serves(root), 60), "no certificate"
    assert answer(root, f"http://{DOMAIN}/todos/?limit=1") == f"308 https://{DOMAIN}/todos/?limit=1"
    assert answer(root, f"https://{DOMAIN}/healthz") == "200 "
    assert shop.status()["app"]["url"] == f"https://{DOMAIN}"
    assert "nothing to do" in shop.up()


def test_a_proxy_that_starts_again_has_its_certificate_still(shop: Deployed, root: Path) -> None:
    shop.up()
    assert wait_until(lambda: serves(root), 60)
    before = answer(root, f"https://{DOMAIN}/healthz", "%{certs}")
    assert "BEGIN CERTIFICATE" in before
    shop.docker("service", "update", "--quiet", "--force", f"fastzero-{shop.name}-proxy")
    assert wait_until(lambda: serves(root), 60)
    assert answer(root, f"https://{DOMAIN}/healthz", "%{certs}") == before


def serves(root: Path) -> bool:
    return answer(root, f"https://{DOMAIN}/healthz") == "200 "


def answer(root: Path, url: str, what: str = "%{http_code} %{redirect_url}") -> str:
    """Return what curl tells of an answer to a client outside of the nodes, which trusts the authority."""
    resolved = [word for port in (80, 443) for word in ("--resolve", f"{DOMAIN}:{port}:{NODES[0]}")]
    return curl("-o", "/dev/null", "-w", what, "--cacert", str(root), *resolved, url)
