"""Extra services of an application of the user's own as local processes: their programs, their data, their failures."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastzero_core import Stack, load_settings
from fastzero_core.errors import (
    DependenciesMissingError,
    InvalidInputError,
    PortTakenError,
    UnhealthyError,
)
from fastzero_core.events import Event, ignore
from fastzero_core.polling import wait_until
from fastzero_core.stack import doctor
from fastzero_core.stack.embedded.process import Processes
from fastzero_core.stack.observed import ServiceState
from fastzero_core.stack.suite import run_suite
from tests.ports import any_free_port

from .conftest import SOON, end_all, new_home, texts
from .own_app import make_environment, working_in, write_application
from .own_services import add_service, address_of, edit, has, pids, redis, tell

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("trusted_folder")]

TABLE = """
[services.cache]
image = "example/cache:1"
ports = [{port}]
program = "python -m cache {{app_host}} {{app_port}}"
environment = {{ GREETING = "hello" }}
"""


def write(folder: Path) -> Path:
    """Write an application that needs a service, with its dependencies installed. Returns its folder."""
    made = write_application(folder / "application", any_free_port())
    add_service(made, TABLE.format(port=any_free_port()))
    make_environment(made)
    return made


@pytest.fixture
def application(home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an application that needs a service, where the test works."""
    made = write(folder)
    monkeypatch.chdir(made)
    monkeypatch.setenv("FASTZERO_APP", "true")
    return made


def first_up() -> Stack:
    return Stack().up(runtime="embedded", port=any_free_port())


@pytest.fixture(scope="module")
def served() -> Iterator[Stack]:
    """The stack of such an application, for tests that leave all of it running."""
    with new_home() as home, working_in(write(home)):
        settings = load_settings(home=home / "home", runtime="embedded", app=True, database_port=any_free_port())
        yield Stack(settings).up()
        end_all(home / "home")


def states(stack: Stack) -> dict[str, ServiceState]:
    return {each.service: each.state for each in stack.status()}


def kill(stack: Stack, service: str) -> None:
    """Kill a service, and return once that is seen; it may have been started again by then."""
    pid = pids(stack)[service]
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: pids(stack)[service] != pid, SOON)


def count(stack: Stack) -> int:
    """How many lines the service has been told, one more by this."""
    return int(tell(stack, "x").split()[0])


def changed(before: dict[str, int | None], after: dict[str, int | None]) -> set[str]:
    """The services that are another process now."""
    return {name for name in after if after[name] != before[name]}


def test_a_service_runs_before_the_processes_that_need_it(served: Stack) -> None:
    assert list(states(served)) == ["database", "cache", "web", "worker"]
    assert set(states(served).values()) == {ServiceState.RUNNING}
    told, greeting = tell(served, "x").split()
    assert (int(told) >= 2, greeting) == (True, "hello")  # the application told it something when it was imported
    assert served.plan() == []


def test_its_log_its_environment_and_its_address_are_known(served: Stack, capfd: pytest.CaptureFixture[str]) -> None:
    host, port = address_of(served, "cache")

    assert "the cache listens" in [line.text for line in served.logs("cache")]
    assert served.execute("cache", ["sh", "-c", 'echo $GREETING; basename "$PWD"']) == 0
    assert capfd.readouterr().out.split() == ["hello", "cache"]
    assert served.environment().items() >= {"CACHE_HOST": host, "CACHE_PORT": str(port)}.items()
    found = {each.code: each for each in doctor.examine(served.settings)}
    assert (found["cache"].result, found["cache"].found) == ("ok", f"it answers on {host}:{port}")


def test_a_restart_touches_it_alone_and_keeps_its_data(served: Stack) -> None:
    told, before = count(served), pids(served)
    served.restart("cache")
    assert changed(before, pids(served)) == {"cache"}
    assert count(served) == told + 1


def test_one_that_was_killed_is_started_again_alone(served: Stack) -> None:
    told, before = count(served), pids(served)
    kill(served, "cache")
    assert changed(before, pids(served.up())) == {"cache"}
    assert count(served) == told + 1


def test_a_changed_variable_starts_it_again_alone(served: Stack) -> None:
    before, described = pids(served), Path(served.project.record.application)  # type: ignore[union-attr]
    edit(described, '"hello"', '"bonjour"')

    causes = [action.cause for action in served.plan() if action.service == "cache"]

    assert "its configuration changed: GREETING: hello → bonjour" in causes
    assert changed(before, pids(served.up())) == {"cache"}
    assert tell(served, "x").endswith("bonjour")
    edit(described, '"bonjour"', '"hello"')
    served.up()


def test_its_tests_have_a_service_of_their_own(served: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    application = Path(served.project.record.application)  # type: ignore[union-attr]
    monkeypatch.chdir(application)
    check = "import app, os; assert app.COUNT == 1; open('port', 'w').write(os.environ['CACHE_PORT'])"

    assert run_suite(served.settings, ["python", "-c", check], on_event=ignore) == 0
    assert (application / "port").read_text() != str(address_of(served, "cache")[1])


def test_its_data_is_kept_by_down(served: Stack) -> None:
    told = count(served)
    served.down()
    assert ServiceState.RUNNING not in states(served).values()
    assert count(served.up()) == told + 2  # the application was imported once more


def test_its_data_is_destroyed_with_the_project(application: Path) -> None:
    stack = first_up()
    data = stack.project.folder / "services" / "cache" / "lines"
    assert data.exists()

    stack.down(volumes=True)

    assert not data.exists()


# -- its port, and what runs beside it -------------------------------------------------------------------------


def test_without_the_app_its_services_run(application: Path) -> None:
    stack = Stack().up(runtime="embedded", port=any_free_port(), app=False)

    assert states(stack) == dict.fromkeys(("database", "cache"), ServiceState.RUNNING)


def test_a_taken_port_gives_way_to_the_next(application: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        edit(application, f"ports = [{described_port(application)}]", f"ports = [{taken}]")
        events: list[Event] = []
        stack = Stack(on_event=events.append).up(runtime="embedded", port=any_free_port())

        assert address_of(stack, "cache")[1] > taken
        assert any(text.startswith(f"port {taken} is taken; the cache gets") for text in texts(events))


def test_a_chosen_port_that_is_taken_is_told_with_the_way_to_choose_another(application: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        edit(application, f"ports = [{described_port(application)}]", f'ports = ["{taken}:7000"]')
        with pytest.raises(PortTakenError) as refused:
            first_up()

    assert refused.value.exit_code == 6
    assert f'ports = ["{taken + 1}:7000"] in [services.cache] (fastzero.toml:' in refused.value.hint
    assert not Stack().exists


def described_port(application: Path) -> str:
    return (application / "fastzero.toml").read_text().partition("ports = [")[2].partition("]")[0]


def test_one_that_is_not_described_any_more_is_stopped_by_down(application: Path) -> None:
    stack = first_up()
    host, port = address_of(stack, "cache")
    whole = (application / "fastzero.toml").read_text()
    without = whole.partition("[services.cache]")[0].replace("{service:cache:host}", host)
    (application / "fastzero.toml").write_text(without.replace("{service:cache:port}", str(port)))
    events: list[Event] = []

    again = Stack(on_event=events.append).up()

    assert "cache is not part of this stack now, and stays as it is" in texts(events)
    assert Processes(again.project.folder).find("cache") is not None
    again.down()
    assert Processes(again.project.folder).find("cache") is None


def test_it_is_stopped_where_its_description_is_gone(application: Path) -> None:
    first_up()
    (application / "fastzero.toml").unlink()
    gone = Stack("own")

    assert states(gone)["cache"] is ServiceState.RUNNING
    gone.down()
    assert Processes(gone.project.folder).find("cache") is None


# -- what cannot run -------------------------------------------------------------------------------------------


def test_one_without_a_program_is_refused_before_anything_starts(application: Path) -> None:
    edit(application, 'program = "python -m cache {app_host} {app_port}"\n', "")
    line = (application / "fastzero.toml").read_text().splitlines().index("[services.cache]") + 1

    with pytest.raises(InvalidInputError) as refused:
        first_up()

    assert refused.value.message.startswith(f"fastzero.toml:{line}: services.cache has an image alone")
    assert "program =" in refused.value.hint
    assert "fastzero up --runtime docker" in refused.value.hint
    assert not Stack().exists


def test_one_whose_program_is_not_installed_is_refused_with_the_ways_out(application: Path) -> None:
    edit(application, "python -m cache", "no-such-server")

    with pytest.raises(DependenciesMissingError) as refused:
        first_up()

    assert refused.value.exit_code == 6
    assert "services.cache: no-such-server is not installed" in refused.value.message
    assert all(way in refused.value.hint for way in ("Install", "--runtime docker", "[application.environment]"))
    found = [each for each in doctor.examine(load_settings(runtime="embedded")) if each.result == "failed"]
    assert [each.code for each in found] == ["dependencies_missing"]


@pytest.mark.parametrize(
    ("text", "why"),
    [("raise SystemExit('no licence')", "ended before it was ready"), ("import time; time.sleep(60)", "is not ready")],
    ids=["ends", "never listens"],
)
def test_one_that_does_not_get_ready_is_told_and_everything_is_taken_back(
    application: Path, text: str, why: str
) -> None:
    (application / "cache.py").write_text(f"print('its last words', flush=True)\n{text}")

    with pytest.raises(UnhealthyError, match=f"cache {why}") as failed:
        Stack().up(runtime="embedded", port=any_free_port(), timeout=3)

    assert "its last words" in failed.value.evidence
    assert not Stack().exists


def test_a_first_up_that_failed_can_be_run_again(application: Path) -> None:
    app = application / "app.py"
    working = app.read_text()
    app.write_text("raise SystemExit('broken')")
    with pytest.raises(UnhealthyError, match="web ended before it was ready"):
        Stack().up(runtime="embedded", port=any_free_port())
    app.write_text(working)

    assert set(states(first_up()).values()) == {ServiceState.RUNNING}


# -- the tests of the application --------------------------------------------------------------------------------


def test_its_tests_run_without_a_service_that_no_program_runs(application: Path) -> None:
    edit(application, "python -m cache", "no-such-server")
    (application / "app.py").write_text("")
    events: list[Event] = []

    assert run_suite(load_settings(), ["true"], on_event=events.append) == 0
    assert any(text.startswith("the tests run without cache") for text in texts(events))


# -- Redis -----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not has("redis-server"), reason="redis-server is not installed")
def test_redis_needs_no_keys_and_keeps_its_data(application: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    description = application / "fastzero.toml"
    description.write_text(f"{description.read_text()}\n[services.redis]\n")
    stack = first_up()
    assert redis(stack, "SET greeting hello") == "+OK"
    config = redis(stack, "CONFIG GET bind")
    assert config == "*2"

    stack.restart("redis")
    assert redis(stack, "GET greeting") == "hello"
    stack.down()
    stack = Stack().up()
    assert redis(stack, "GET greeting") == "hello"
    assert (stack.project.folder / "services" / "redis" / "dump.rdb").exists()
    assert not (application / "dump.rdb").exists()


@pytest.mark.skipif(not has("redis-server"), reason="redis-server is not installed")
@pytest.mark.skipif(has("valkey-server"), reason="valkey-server is installed, which would run it")
def test_valkey_is_run_by_redis_where_that_alone_is_installed(application: Path) -> None:
    description = application / "fastzero.toml"
    description.write_text(f"{description.read_text()}\n[services.valkey]\n")

    assert states(first_up())["valkey"] is ServiceState.RUNNING
