"""The faults, each a function that inflicts one on a project which is being written to, and returns when it is over."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from random import Random

import psutil
import psycopg

from fastzero_core.polling import wait_until
from fastzero_core.testing import docker_answers

from . import clients, clock, disk
from .network import proxy_to
from .world import PATIENCE, STRANGER, World
from .writers import Load

RUNTIMES = ("embedded", "docker")
NOT_LOGGED_IN = frozenset({"401"})
WITHOUT_THE_OWNER = frozenset({"401", "429", "UserNotFoundError"})  # a login of nobody is throttled like any other
HOUR = 3600  # seconds


@dataclass(frozen=True)
class Scenario:
    """One kind of fault. `world` names the project that it is inflicted on, shared by those of the same name.

    `expected` are refusals besides 503 and connections that end. `replaces` says that it may put another database into
    service: what was acknowledged is then in that one, or in the newest backup.
    """

    name: str
    what: str
    inflict: Callable[[World, Load, Random], None]
    runtimes: Sequence[str] = RUNTIMES
    world: str = "main"
    expected: frozenset[str] = frozenset()
    replaces: bool = False
    missing: Callable[[str], str] = lambda runtime: ""

    def reason_to_skip(self, runtime: str) -> str:
        """Why it cannot be run here, "" if it can."""
        if runtime not in self.runtimes:
            return f"not in the {runtime} runtime"
        needs_engine = runtime == "docker" or self.world == "moved"
        if needs_engine and not docker_answers():
            return "no Docker Engine answers"
        return self.missing(runtime)


# -- kills -----------------------------------------------------------------------------------------------------


def kill_database(world: World, load: Load, chance: Random) -> None:
    world.process("database").kill()


def kill_backend(world: World, load: Load, chance: Random) -> None:
    backends = world.servers("database")
    _kill([chance.choice(backends)])


def kill_app(world: World, load: Load, chance: Random) -> None:
    world.process("app").kill()


def kill_worker(world: World, load: Load, chance: Random) -> None:
    _kill([chance.choice(world.servers("app"))])


def kill_everything(world: World, load: Load, chance: Random) -> None:
    mains = [world.process("app"), world.process("database")]
    _kill([*mains, *(each for main in mains for each in main.children(recursive=True))])


def suspend_database(world: World, load: Load, chance: Random) -> None:
    main = world.process("database")
    processes = [main, *main.children(recursive=True)]
    _signal(processes, signal.SIGSTOP)
    try:
        time.sleep(chance.uniform(1, 8))
    finally:
        _signal(processes, signal.SIGCONT)


# -- commands, killed ------------------------------------------------------------------------------------------


def kill_up(world: World, load: Load, chance: Random) -> None:
    world.run("down")
    world.kill_command("up", part=chance.random())


def kill_recreate(world: World, load: Load, chance: Random) -> None:
    world.kill_command("up", part=chance.random(), settings=_another_setting(chance))


def kill_restart(world: World, load: Load, chance: Random) -> None:
    world.kill_command("restart", part=chance.random())


def kill_rotate(world: World, load: Load, chance: Random) -> None:
    world.kill_command("secret", "rotate", "--database", part=chance.random())


def kill_down(world: World, load: Load, chance: Random) -> None:
    world.kill_command("down", part=chance.random())


def kill_restore(world: World, load: Load, chance: Random) -> None:
    world.run("db", "backup", "prune", "--keep", "1", "--yes")
    name = f"early-{chance.randrange(10**9)}"
    world.run("db", "backup", "--name", name)
    load.wait_for_writes(10, PATIENCE)
    world.kill_command("db", "restore", name, "--yes", part=chance.random())


def kill_reset(world: World, load: Load, chance: Random) -> None:
    world.run("db", "backup", "prune", "--keep", "1", "--yes")
    world.kill_command("db", "reset", "--yes", part=chance.random())


def kill_upgrade(world: World, load: Load, chance: Random) -> None:
    if any(place.current and place.image.endswith(":18") for place in world.stack.places()):
        with load.paused():
            world.run("db", "upgrade", "--rollback", "--yes")
            load.ledger.forget_all_but(world.rows())  # what was written since the upgrade stays in the kept place
    _remove_kept_places(world)
    world.kill_command("db", "upgrade", "--to", "18", part=chance.random())


def kill_move(world: World, load: Load, chance: Random) -> None:
    _remove_kept_places(world)
    other = "embedded" if world.in_containers else "docker"
    world.kill_command("db", "move", "--to", other, part=chance.random())


# -- restarts --------------------------------------------------------------------------------------------------


def restart(world: World, load: Load, chance: Random) -> None:
    world.run("restart", *chance.choice([[], ["app"], ["database"]]))


def recreate(world: World, load: Load, chance: Random) -> None:
    world.run("up", settings=_another_setting(chance))


def down_and_up(world: World, load: Load, chance: Random) -> None:
    world.run("down")
    world.run("up")


# -- disks, clocks, networks, clients --------------------------------------------------------------------------


def full_disk(world: World, load: Load, chance: Random) -> None:
    assert world.disk is not None
    with world.disk.full(leaving=chance.randrange(2**16)):
        refused = load.refusals.total()
        wait_until(lambda: load.refusals.total() > refused + 20, PATIENCE)
        time.sleep(chance.uniform(0, 3))


def slow_disk(world: World, load: Load, chance: Random) -> None:
    assert world.disk is not None
    for _ in range(chance.randint(3, 6)):
        world.disk.hang(chance.uniform(0.2, 1.5))
        time.sleep(chance.uniform(0.05, 0.3))
    world.disk.hang(6)  # longer than a request may take


def step_clock_of_app(world: World, load: Load, chance: Random) -> None:
    stepped = clock.ClockOfProcesses(world.folder / "clock")
    with world.serving(stepped.variables):
        _step(stepped, load, chance)


def step_clock_of_database(world: World, load: Load, chance: Random) -> None:
    _step(clock.ClockOfContainer(world.engine.containers.get(f"fastzero-{world.name}-database")), load, chance)


def _step(stepped: clock.ClockOfProcesses | clock.ClockOfContainer, load: Load, chance: Random) -> None:
    for _ in range(3):
        stepped.set(chance.choice([-24 * HOUR, -HOUR, -60, 60, HOUR, 24 * HOUR]))
        load.wait_for_writes(10, PATIENCE)
    stepped.set(0)


def lose_network(world: World, load: Load, chance: Random) -> None:
    {"embedded": _lose_loopback, "docker": _lose_bridge}[world.runtime](world, load, chance)


def _lose_loopback(world: World, load: Load, chance: Random) -> None:
    with proxy_to(world.ports["DATABASE_PORT"]) as proxy, world.serving({}, database_port=proxy.port):
        for _ in range(2):
            load.wait_for_writes(10, PATIENCE)
            proxy.is_cut = chance.random() < 0.5
            proxy.is_black_hole = not proxy.is_cut
            time.sleep(chance.uniform(1, 6))
            proxy.is_cut = proxy.is_black_hole = False
        load.wait_for_writes(10, PATIENCE)


def _lose_bridge(world: World, load: Load, chance: Random) -> None:
    service = chance.choice(["database", "app"])
    network = world.engine.networks.get(f"fastzero-{world.name}")
    network.disconnect(f"fastzero-{world.name}-{service}")
    time.sleep(chance.uniform(1, 6))
    if chance.random() < 0.5:  # else `up` is to find out by itself
        network.connect(f"fastzero-{world.name}-{service}", aliases=[service])


def storm_of_logins(world: World, load: Load, chance: Random) -> None:
    load.refusals.update(clients.login_storm(world.app_port, STRANGER, 300, chance))
    del load.refusals["200"]


def slow_clients(world: World, load: Load, chance: Random) -> None:
    with clients.slow_clients(world.app_port, heads=100, bodies=50, idle=200):
        time.sleep(chance.uniform(3, 6))
        load.wait_for_writes(10, PATIENCE)


# -- the table -------------------------------------------------------------------------------------------------


# -- the archive -----------------------------------------------------------------------------------------------


def kill_archiver(world: World, load: Load, chance: Random) -> None:
    _finish_segment(world)
    time.sleep(chance.uniform(0, 0.5))
    world.process("archiver").kill()
    _recover_all(world, load)


def lose_archive(world: World, load: Load, chance: Random) -> None:
    """Take the archive away, and kill the database before it is back."""
    assert world.archive is not None
    (there,) = world.archive.iterdir()
    away = there.rename(world.folder / "away")
    there.touch()  # no folder can be made in its place
    try:
        _finish_segment(world)
        time.sleep(chance.uniform(1, 6))
        world.process("database").kill()
        world.run("up")
    finally:
        there.unlink()
        away.rename(there)
    _recover_all(world, load)


def kill_recovery(world: World, load: Load, chance: Random) -> None:
    with load.paused():  # if it ends before it is killed, it has everything
        world.kill_command("db", "restore", "--to-time", "latest", "--yes", part=chance.random())
    world.run("up")
    _remove_kept_places(world)


def _finish_segment(world: World) -> None:
    with psycopg.connect(world.stack.superuser_url, autocommit=True) as connection:
        connection.execute("SELECT pg_switch_wal()")


def _recover_all(world: World, load: Load) -> None:
    """Put into service what the archive has: everything that was acknowledged must be in it."""
    with load.paused():
        world.run("up")
        world.run("db", "restore", "--to-time", "latest", "--yes")
    _remove_kept_places(world)


def _root_missing(runtime: str) -> str:
    is_allowed = runtime == "embedded" or os.geteuid() == 0
    return "" if is_allowed else "root alone can kill a single process of a container"


_killed = partial(Scenario, missing=_root_missing)
_on_small_disk = partial(Scenario, missing=lambda _: disk.missing())

SCENARIOS = (
    _killed("kill database", "SIGKILL to PostgreSQL's first process", kill_database),
    _killed("kill backend", "SIGKILL to any other process of PostgreSQL", kill_backend),
    _killed("kill app", "SIGKILL to the app's first process", kill_app),
    _killed("kill worker", "SIGKILL to one of the app's two workers", kill_worker, world="workers"),
    _killed("kill everything", "SIGKILL to every process of app and database at once", kill_everything),
    _killed("suspend database", "SIGSTOP to every process of PostgreSQL, SIGCONT after 1 to 8 s", suspend_database),
    Scenario("kill up", "SIGKILL to `fastzero up` of a stopped project", kill_up),
    Scenario("kill recreate", "SIGKILL to `fastzero up` with a changed PostgreSQL setting", kill_recreate),
    Scenario("kill restart", "SIGKILL to `fastzero restart`", kill_restart),
    Scenario(
        "kill rotate",
        "SIGKILL to `fastzero secret rotate --database`",
        kill_rotate,
        expected=frozenset({"DatabaseLoginError"}),  # until the next `up` completes it
    ),
    Scenario("kill down", "SIGKILL to `fastzero down`", kill_down),
    Scenario(
        "kill restore", "SIGKILL to `fastzero db restore`", kill_restore, expected=WITHOUT_THE_OWNER, replaces=True
    ),
    Scenario("kill reset", "SIGKILL to `fastzero db reset`", kill_reset, expected=WITHOUT_THE_OWNER, replaces=True),
    Scenario(
        "kill upgrade",
        "SIGKILL to `fastzero db upgrade` from 17 to 18",
        kill_upgrade,
        runtimes=("docker",),
        world="upgraded",
    ),
    Scenario("kill move", "SIGKILL to `fastzero db move`, there or back", kill_move, world="moved"),
    _killed(
        "kill archiver",
        "SIGKILL to the archiver while it archives; then all is recovered from the archive",
        kill_archiver,
        world="archived",
    ),
    _killed(
        "lost archive",
        "The archive is away for 1 to 6 s, and PostgreSQL is killed; then all is recovered from it",
        lose_archive,
        world="archived",
    ),
    Scenario("kill recovery", "SIGKILL to `fastzero db restore --to-time`", kill_recovery, world="archived"),
    Scenario("restart", "`fastzero restart` of the app, the database or both", restart),
    Scenario("recreate", "`fastzero up` with a changed PostgreSQL setting, and back", recreate),
    Scenario("down and up", "`fastzero down`, `fastzero up`", down_and_up),
    _on_small_disk("full disk", "The database's disk has less than 64 KiB left", full_disk),
    _on_small_disk("slow disk", "The database's disk hangs for 0.2 to 1.5 s several times, then 6 s", slow_disk),
    Scenario(
        "step app's clock",
        "The app's clock is set back or forward by a minute, an hour or a day, three times",
        step_clock_of_app,
        runtimes=("embedded",),
        expected=NOT_LOGGED_IN,
        missing=lambda _: clock.missing(),
    ),
    Scenario(
        "step database's clock",
        "The same for PostgreSQL's clock",
        step_clock_of_database,
        runtimes=("docker",),
        world="stepped",
        missing=lambda _: clock.missing(),
    ),
    Scenario("lost network", "App and database cannot reach each other for 1 to 6 s", lose_network),
    Scenario(
        "login storm",
        "300 logins, 16 at once, with right and wrong passwords and names",
        storm_of_logins,
        expected=frozenset({"401", "429"}),
    ),
    Scenario("slow clients", "100 slow heads, 50 slow bodies and 200 idle connections", slow_clients),
)


def _another_setting(chance: Random) -> dict[str, str]:
    return {"POSTGRES_SETTINGS": f'{{"work_mem": "{chance.randint(5, 64)}MB"}}'}


def _remove_kept_places(world: World) -> None:
    for place in world.stack.places():
        if not place.current:
            world.run("db", "place", "rm", place.name, "--yes")


def _kill(processes: list[psutil.Process]) -> None:
    _signal(processes, signal.SIGKILL)


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
