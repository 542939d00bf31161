"""The app under load on loopback, one worker, beside a straightforward app of the same contract."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import quantiles

import psutil

from tests.api.client import PASSWORD, Client, answers

from .ground import Ground, Side, free_port
from .load import Request, load, seconds_a_request
from .measure import Comparison, Samples

SECRET_KEY = "the key of the benchmarks, which is long enough"
JSON = {"Content-Type": "application/json"}
FILTERS = ("tag=work", "tag=rare", "tag=work&state=todo", "priority=high", "due_before=2020-01-01", "overdue=true")
TODO = {"title": "Write the report", "description": "For Friday", "state": "todo"}
BULK = 1000
LOGINS = 50  # at once
IDLE = 10_000  # connections
SLOW = 100  # clients that leave heads and bodies unfinished
MEMORY_MAX = 150  # MiB of one worker
PATIENCE = 30  # seconds until a server answers


class App:
    """An app that serves, in a process of its own."""

    def __init__(self, port: int, process: "subprocess.Popen[bytes]") -> None:
        self.port = port
        self.client = Client(port)
        self._process = psutil.Process(process.pid)

    @property
    def memory(self) -> float:
        """The resident set in MiB."""
        return float(self._process.memory_info().rss) / 1024**2

    def headers(self, user: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.client.token(f'{user}@example.com')}"}

    def list(self, user: str, query: str = "") -> Request:
        return Request("GET", f"/todos/?limit=10&{query}".rstrip("&"), self.headers(user))

    def post(self, user: str) -> Request:
        return Request("POST", "/todos/", {**self.headers(user), **JSON}, json.dumps(TODO).encode(), expected=201)

    def bulk(self, user: str) -> Request:
        return Request("POST", "/todos/bulk", {**self.headers(user), **JSON}, json.dumps([TODO] * BULK).encode())


@contextmanager
def own_app(ground: Ground, url: str) -> Iterator[App]:
    with _served(ground, url, [sys.executable, "-m", "fastzero_cli", "serve"], "/healthz") as app:
        yield app


@contextmanager
def _reference(ground: Ground, url: str) -> Iterator[App]:
    command = [sys.executable, "-m", "uvicorn", "tests.benchmarks.reference_app:app"]
    with _served(ground, url, command, "/openapi.json") as app:
        yield app


@contextmanager
def _served(ground: Ground, url: str, command: list[str], ready: str) -> Iterator[App]:
    port = free_port()
    environment = {**ground.environment, "DATABASE_URL": url, "SECRET_KEY": SECRET_KEY}
    with (ground.folder / f"app-{port}.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port)], env=environment, cwd=Path(__file__).parents[2], stdout=log, stderr=log
        )
    try:
        until = time.monotonic() + PATIENCE
        while not answers(port, ready):
            assert process.poll() is None, f"it ended: see {log.name}"
            assert time.monotonic() < until, f"it does not answer: see {log.name}"
        yield App(port, process)
    finally:
        process.terminate()
        process.wait()


def api(ground: Ground, quick: bool) -> Iterator[Comparison]:
    ten, several, many = ground.ten, ground.several, ground.many
    with own_app(ground, many.url) as own, _reference(ground, many.url) as reference:
        measure = partial(_turns, runs=2 if quick else 7, seconds=1 if quick else 2)
        for side, limit in ((ten, 1 / 2.5), (several, 1 / 50)):
            name = f"GET /todos/?limit=10, {side.count:,} todos"
            yield measure(
                Comparison(name, "the reference app", limit),
                (reference.port, reference.list(side.user.username)),
                (own.port, own.list(side.user.username)),
            )
        yield measure(
            Comparison(f"GET /todos/?limit=10, {many.count:,} todos", f"{ten.count}", limit=1.15),
            (own.port, own.list(ten.user.username)),
            (own.port, own.list(many.user.username)),
        )
        for query in FILTERS:
            yield measure(
                Comparison(f"GET /todos/?limit=10&{query}, {many.count:,} todos", "without the filter", limit=1.2),
                (own.port, own.list(many.user.username)),
                (own.port, own.list(many.user.username, query)),
            )
        # A user each for every app and turn: the reference reads all todos of a user for every one that is added.
        yield _posts(ground, own, reference, runs=2 if quick else 7)
        yield _bulk(ground, own, runs=2 if quick else 7)


def _turns(
    result: Comparison, reference: tuple[int, Request], measured: tuple[int, Request], *, runs: int, seconds: float
) -> Comparison:
    """Both sides turn by turn, behind one round each that does not count."""
    sides = [(reference, result.reference), (measured, result.measured)]
    for (port, request), _ in sides:
        seconds_a_request(port, request, seconds=0.5)
    for run in range(runs):
        for (port, request), samples in sides if run % 2 else reversed(sides):
            samples.values.append(seconds_a_request(port, request, seconds=seconds))
    return result


def _posts(ground: Ground, own: App, reference: App, runs: int) -> Comparison:
    result = Comparison("POST /todos/", "the reference app", limit=1 / 2.5)
    for run in range(runs):
        for app, samples in ((reference, result.reference), (own, result.measured)):
            user = own.client.sign_up(f"poster-{app.port}-{run}").username
            samples.values.append(seconds_a_request(app.port, app.post(user), seconds=0.3))
    return result


def _bulk(ground: Ground, own: App, runs: int) -> Comparison:
    result = Comparison("a todo of POST /todos/bulk", "a todo of POST /todos/", limit=1 / 20)
    user = own.client.sign_up("bulk").username
    single, bulk = own.post(user), own.bulk(user)
    for _ in range(runs):
        result.reference.values.append(seconds_a_request(own.port, single, seconds=1))
        result.measured.values.append(seconds_a_request(own.port, bulk, seconds=1) / BULK)
    return result


def logins(ground: Ground, quick: bool) -> Iterator[Comparison]:
    """What 50 logins at once leave of everything else, and what a name that nobody has is told by the clock."""
    with own_app(ground, ground.many.url) as own:
        yield _health_under_logins(own, ground.ten, runs=1 if quick else 5)
        yield _unknown_names(own, runs=20 if quick else 60)


def _health_under_logins(own: App, side: Side, runs: int) -> Comparison:
    name = f"99th percentile of /healthz, {LOGINS} logins at once"
    result = Comparison(name, "50 ms", limit=1, reference=Samples(values=[0.05]))
    form = f"username={side.user.username}&password={PASSWORD.replace(' ', '+')}".encode()
    login = Request("POST", "/auth/token", {"Content-Type": "application/x-www-form-urlencoded"}, form)

    async def both() -> list[float]:
        under_way = asyncio.create_task(load(own.port, login, connections=LOGINS, seconds=3))
        health = await load(own.port, Request("GET", "/healthz"), connections=1, seconds=3)
        await under_way
        return health

    for _ in range(runs):
        result.measured.values.append(quantiles(asyncio.run(both()), n=100)[98])
    return result


def _unknown_names(own: App, runs: int) -> Comparison:
    known = [own.client.sign_up(f"known-{run}").username for run in range(runs)]
    result = Comparison("a login with a name that nobody has", "with a wrong password", limit=1.1)
    for run, name in enumerate(known):
        sides = [(name, result.reference), (f"un{name}", result.measured)]
        for each, samples in sides if run % 2 else reversed(sides):
            with samples.timed():
                assert own.client.log_in(each, "a wrong password").status == 401
    return result


def endurance(ground: Ground, quick: bool) -> Iterator[Comparison]:
    """Memory behind a million requests, and ten thousand connections that ask nothing."""
    count = 20_000 if quick else 1_000_000
    with own_app(ground, ground.many.url) as own:
        request = own.list(ground.ten.user.username)
        early = _memory_behind(own, request, count // 10)
        late = _memory_behind(own, request, count - count // 10)
        yield Comparison(
            f"memory behind {count:,} requests", f"behind {count // 10:,}", limit=1.05, reference=early, measured=late
        )
        most = Samples("MiB", values=[MEMORY_MAX])
        yield Comparison(f"memory behind {count:,} requests", "150 MiB", limit=1, reference=most, measured=late)
        yield asyncio.run(_idle_connections(own))
        yield asyncio.run(_slow_clients(own))


def _memory_behind(own: App, request: Request, count: int) -> Samples:
    done = 0
    while done < count:
        # Tokens end after half an hour, and the reading goes on for longer.
        fresh = Request(request.method, request.path, own.headers("ten"))
        done += len(asyncio.run(load(own.port, fresh, connections=8, seconds=min(60, count / 1000))))
    return Samples("MiB", values=[own.memory])


async def _idle_connections(own: App) -> Comparison:
    wanted, held = Samples("connections", values=[IDLE]), Samples("connections")
    connections = []
    for _ in range(IDLE):
        reader, writer = await asyncio.open_connection("127.0.0.1", own.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"}")
        connections.append((reader, writer))
    for _, writer in connections:
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    answered = [await reader.readuntil(b"}") for reader, _ in connections]
    held.values.append(len(answered))
    for _, writer in connections:
        writer.close()
    return Comparison(f"{IDLE:,} connections that are idle, and asked again", "all", 1, reference=wanted, measured=held)


async def _slow_clients(own: App) -> Comparison:
    """The 99th percentile of /healthz beside idle connections, and clients that send neither heads nor bodies whole."""
    result = Comparison(
        f"/healthz beside {IDLE:,} idle and {SLOW} slow clients", "1 s", 1, reference=Samples(values=[1])
    )
    body = b"POST /users/ HTTP/1.1\r\nHost: x\r\nContent-Length: 16000\r\n\r\n" + b" " * 8000
    unfinished = [b"GET / HTTP/1.1\r\nX: ", body]
    writers = []
    for number in range(IDLE + SLOW):
        _, writer = await asyncio.open_connection("127.0.0.1", own.port)
        writers.append(writer)
        if number >= IDLE:
            writer.write(unfinished[number % 2])
    health = await load(own.port, Request("GET", "/healthz"), connections=1, seconds=5)
    result.measured.values.append(quantiles(health, n=100)[98])
    for writer in writers:
        writer.close()
    return result
