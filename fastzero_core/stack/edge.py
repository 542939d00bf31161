"""What reaches the services of a swarm from outside: the edge proxy from everywhere, the gateway from a manager. Pure.

The proxy runs on each node, on the node's own ports, so that the processes get the real addresses of their clients. The
gateway is a container on the manager that fastzero is connected to. It makes the database and the extra services
reachable on loopback there, since a swarm can only publish ports to everyone.
"""

from collections.abc import Iterable
from dataclasses import replace

from ..ha.configuration import API_PORT
from ..project import HOST
from .deployed import Deployment
from .spec import GATEWAY, PROXY, TMPFS, ServiceSpec

CADDYFILE = "/etc/caddy/Caddyfile"
CERTIFICATES = "/data"
HTTP, HTTPS = 80, 443
MEMORY = 256 * 2**20  # bytes
GATEWAY_MEMORY = 64 * 2**20  # bytes
USER = "10001:10001"
PIDS = 128
# The name of a lost server is looked up in vain. The others are asked at the same time, so unlike a process
# the gateway can wait for a busy engine to answer.
RESOLVER = "timeout:2 attempts:2"
THREADS = 64  # for names that are looked up at once
RETRIED = "GET HEAD OPTIONS"  # what may be sent again after an answer was lost

GLOBAL = """\
{
	admin off
	persist_config off
	%s
}
"""
# The names of a service stand for its ready tasks. A connection that cannot be made is tried at another task, whatever
# the request; one that breaks, only for requests that change nothing.
SITE = """\
%s {
	reverse_proxy {
		dynamic a {
			name %s
			port %d
			refresh 1s
			dial_timeout 2s
			versions ipv4
		}
		lb_try_duration 15s
		lb_try_interval 100ms
		lb_retry_match {
			method %s
		}
		fail_duration 3s
		transport http {
			dial_timeout 1s
			keepalive 30s
		}
	}
}
"""

# Each argument is a port and the address that it leads to, of several servers to the one that accepts writes: its
# Patroni knows. A connection is closed once both sides have ended.
FORWARD = (
    f"API, THREADS = {API_PORT}, {THREADS}"
    + """
import asyncio, concurrent.futures, contextlib, sys
async def copy(source, sink):
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
        if sink.can_write_eof(): sink.write_eof()
async def if_primary(host):
    with contextlib.suppress(OSError):
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection(host, API)
            with contextlib.closing(writer):
                writer.write(b'GET /primary HTTP/1.0\\r\\n\\r\\n')
                return host if b' 200 ' in await reader.readline() else ''
async def chosen(hosts):
    if len(hosts) == 1: return hosts[0]
    for each in asyncio.as_completed([if_primary(host) for host in hosts]):
        if found := await each: return found
    raise OSError('no server accepts writes')
async def serve(port, host, inside):
    async def connect(reader, writer):
        other = None
        try:
            source, other = await asyncio.open_connection(await chosen(host.split(',')), inside)
            await asyncio.gather(copy(reader, other), copy(source, writer))
        except OSError as error: print(f'{host}:{inside}: {error}', file=sys.stderr, flush=True)
        finally:
            for each in filter(None, (writer, other)): each.close()
    server = await asyncio.start_server(connect, '0.0.0.0', port)
    await server.serve_forever()
async def main():
    asyncio.get_running_loop().set_default_executor(concurrent.futures.ThreadPoolExecutor(THREADS))
    parts = [each.replace('=', ':').split(':') for each in sys.argv[1:]]
    await asyncio.gather(*(serve(int(port), host, int(inside)) for port, host, inside in parts))
with contextlib.suppress(KeyboardInterrupt): asyncio.run(main())
"""
)


def gateway(image: str, services: Iterable[ServiceSpec]) -> ServiceSpec:
    """Return the container that makes services reachable on loopback, on the ports that they have there."""
    reachable = list(services)
    servers = ",".join(each.name for each in reachable if each.is_database)
    targets = [
        (outside, servers if each.is_database and inside == each.container_port else each.name, inside)
        for each in reachable
        for inside, outside in {each.container_port: each.port, **each.more_ports}.items()
        if inside and outside
    ]
    (first, *_), *others = targets
    return ServiceSpec(
        name=GATEWAY,
        port=first,
        container_port=first,
        more_ports={port: port for port, *_ in others},
        is_extra=True,
        image=image,
        variables={"RES_OPTIONS": RESOLVER} if "," in servers else {},
        command=("python", "-ISc", FORWARD, *(f"{port}={name}:{inside}" for port, name, inside in targets)),
        readiness=None,
        roles=(),
        user=USER,
        read_only=True,
        memory=GATEWAY_MEMORY,
        pids=PIDS,
        restart="always",
        stop_signal="SIGINT",  # what Python heeds as the first process
        stop_timeout=2,
    )


def at_domain(process: ServiceSpec, domain: str) -> ServiceSpec:
    """Return a process that the proxy serves for a domain with TLS, and not on a port of its own."""
    return replace(process, host=domain, port=HTTPS)


def proxy(image: str, processes: Iterable[ServiceSpec], *, volume: str, acme_directory: str = "") -> ServiceSpec:
    """Return the edge proxy of the processes that listen, each on its own port of every node.

    Certificates of one that is `at_domain` are kept in `volume`. They come from `acme_directory`, without one from the
    authorities that Caddy knows.
    """
    listening = [each for each in processes if each.container_port and each.port]
    with_tls = any(each.host != HOST for each in listening)
    ports = {each.port: each.port for each in listening} | ({HTTP: HTTP} if with_tls else {})
    certificates = "auto_https off" if not with_tls else f"acme_ca {acme_directory}" if acme_directory else ""
    sites = [_site(f":{each.port}" if each.host == HOST else each.host, each) for each in listening]
    spec = ServiceSpec(
        name=PROXY,
        port=0,
        is_extra=True,
        image=image,
        readiness=None,
        roles=(),
        read_only=True,
        capabilities=("NET_BIND_SERVICE",),
        tmpfs={
            **TMPFS,
            "/config": "size=16m,mode=1777",
            **({} if with_tls else {CERTIFICATES: "size=16m,mode=1777"}),
        },
        memory=MEMORY,
        pids=PIDS * 2,
        restart="always",
        deploy=Deployment(
            replicas=0,
            ports=ports,
            files={CADDYFILE: "\n".join((GLOBAL % certificates, *sites))},
        ),
    )
    return replace(spec, volume=volume, mount=CERTIFICATES) if with_tls else spec


def _site(address: str, process: ServiceSpec) -> str:
    return SITE % (address, process.name, process.container_port, RETRIED)
