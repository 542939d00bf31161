"""The app of an embedded stack: a local process beside PostgreSQL, which `up` brings to readiness and keeps there."""

import http.client
import json
import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from fastzero_core import Stack, UnhealthyError, load_settings
from fastzero_core.errors import PortTakenError, UnavailableError
from fastzero_core.events import Event
from fastzero_core.polling import wait_until
from fastzero_core.project import Place
from fastzero_core.stack.embedded.process import Processes, ProcessRecord
from fastzero_core.stack.observed import ServiceState
from tests.ports import any_free_port

from .conftest import SOON, Template, steps

pytestmark = pytest.mark.slow

MakeStack = Callable[..., Stack]
STRANGER = "postgresql://stranger:a-secret@127.0.0.1:1/elsewhere"


@pytest.fixture
def make_stack(home: Path, free_port: int, template: Template) -> Iterator[MakeStack]:
    """The project demo, whose database is initialised, with an app."""
    template.copy_to(home, free_port)
    app_port = any_free_port()

    def make(**changed: Any) -> Stack:
        return Stack(load_settings(project="demo", **{"app": True, "app_port": app_port, **changed}))

    yield make
    make().down()


@pytest.fixture
def running(make_stack: MakeStack) -> Stack:
    return make_stack().up()


def process_of(stack: Stack, service: str = "app") -> ProcessRecord:
    record = Processes(stack.project.folder).find(service)
    assert record is not None, f"{service} does not run"
    return record


def states(stack: Stack) -> dict[str, ServiceState]:
    return {service.service: service.state for service in stack.status()}


def port_of(stack: Stack, service: str = "app") -> int:
    record = stack.project.record
    assert record is not None
    return record.ports[service]


def readiness(stack: Stack) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(stack), timeout=SOON)
    connection.request("GET", "/readyz")
    response = connection.getresponse()
    reason = json.loads(response.read())["reason"]
    connection.close()
    return response.status, reason


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# -- up and down -----------------------------------------------------------------------------------------------


def test_up_gives_a_database_and_an_app_that_is_ready(running: Stack) -> None:
    assert states(running) == {"database": ServiceState.RUNNING, "app": ServiceState.RUNNING}
    assert readiness(running) == (200, "")


def test_the_plan_of_an_app_that_never_was_is_to_create_it(make_stack: MakeStack) -> None:
    assert steps(make_stack().plan())[:2] == ["start process database", "start process app"]


def test_up_twice_is_up_once(running: Stack) -> None:
    before = process_of(running)
    assert running.plan() == []
    assert process_of(running.up()) == before


def test_down_stops_both(running: Stack) -> None:
    ports = [port_of(running), port_of(running, "database")]
    running.down()
    assert [listens(port) for port in ports] == [False, False]


def test_down_ends_the_app_by_its_own_hand(running: Stack) -> None:
    running.down()
    assert "Finished server process" in running_log(running)


def running_log(stack: Stack) -> str:
    return Processes(stack.project.folder).log_file("app", "stderr").read_text()


def test_ports_are_kept_for_both(make_stack: MakeStack) -> None:
    stack = make_stack(app_port=None).up()
    before = port_of(stack), port_of(stack, "database")
    stack.down()
    again = make_stack(app_port=None).up()
    assert (port_of(again), port_of(again, "database")) == before


def test_without_the_app_the_database_runs_alone(make_stack: MakeStack) -> None:
    stack = make_stack().up(app=False)
    assert Processes(stack.project.folder).find("app") is None
    assert process_of(stack, "database")


def test_what_follows_an_up_without_the_app_leaves_it_out_as_well(make_stack: MakeStack) -> None:
    make_stack(app_port=None).up(app=False)
    assert states(make_stack(app_port=None)) == {"database": ServiceState.RUNNING}
    assert states(make_stack(app_port=None).restart()) == {"database": ServiceState.RUNNING}


def test_the_setting_leaves_the_app_out_as_well(make_stack: MakeStack) -> None:
    assert states(make_stack(app=False).up()) == {"database": ServiceState.RUNNING}


def test_an_app_that_was_left_out_comes_with_the_next_up(make_stack: MakeStack) -> None:
    make_stack().up(app=False)
    assert steps(make_stack().plan()) == ["start process app"]
    assert readiness(make_stack().up()) == (200, "")


def test_nothing_is_stopped_or_backed_up_where_a_kept_place_cannot_be_destroyed(
    running: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = running.project.record
    assert record is not None
    kept = Place("docker", image="postgres:17", volume="fastzero-demo-kept")
    running.project.save(replace(record, kept=(kept,)))
    before = [service.pid for service in running.status()]
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{any_free_port()}")
    heard: list[Event] = []

    with pytest.raises(UnavailableError) as refused:
        Stack(running.settings, on_event=heard.append).destroy()

    assert "fastzero-demo-kept" in refused.value.hint
    assert heard == []
    assert [service.pid for service in running.status()] == before
    assert running.backups() == []
    running.project.save(record)


# -- what happens to it ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_an_app_that_was_killed_is_repaired_by_up_on_the_same_port(make_stack: MakeStack, workers: int) -> None:
    stack = make_stack(workers=workers).up()
    killed, database, port = process_of(stack), process_of(stack, "database"), port_of(stack)
    os.kill(killed.pid, signal.SIGKILL)
    assert wait_until(lambda: Processes(stack.project.folder).find("app") is None, SOON)
    assert states(stack)["app"] is ServiceState.STOPPED

    stack.up()

    assert readiness(stack) == (200, "")
    assert process_of(stack) != killed
    assert (process_of(stack, "database"), port_of(stack)) == (database, port)


def test_a_killed_app_leaves_no_workers(make_stack: MakeStack) -> None:
    stack = make_stack(workers=2).up()
    leader = psutil.Process(process_of(stack).pid)
    family = leader.children(recursive=True)
    leader.kill()
    assert psutil.wait_procs(family, timeout=SOON)[1] == []
    assert not listens(port_of(stack))


LOST: list[Callable[[Path], object]] = [Path.unlink, lambda path: path.write_text("{")]


def lose_records(stack: Stack, lose: Callable[[Path], object]) -> None:
    for name in ("app", "database"):
        lose(stack.project.folder / "processes" / f"{name}.json")


@pytest.mark.parametrize("lose", LOST, ids=["deleted", "damaged"])
def test_services_whose_records_are_lost_are_found_and_left_alone(
    running: Stack, lose: Callable[[Path], object]
) -> None:
    before = [service.pid for service in running.status()]
    lose_records(running, lose)

    running.up()

    assert [service.pid for service in running.status()] == before
    assert readiness(running) == (200, "")


@pytest.mark.parametrize("lose", LOST, ids=["deleted", "damaged"])
def test_services_whose_records_are_lost_are_stopped_by_down(running: Stack, lose: Callable[[Path], object]) -> None:
    ports = [port_of(running), port_of(running, "database")]
    lose_records(running, lose)

    running.down()

    assert [listens(port) for port in ports] == [False, False]


def test_an_app_whose_record_is_damaged_is_replaced_where_its_configuration_changed(make_stack: MakeStack) -> None:
    stack = make_stack().up()
    before, database = process_of(stack), process_of(stack, "database")
    lose_records(stack, LOST[1])

    stack.up(app_port=any_free_port())

    assert not psutil.pid_exists(before.pid)
    assert stack.status()[0].pid == database.pid
    assert readiness(stack) == (200, "")


def test_what_a_killed_server_left_is_not_taken_for_it_where_its_record_is_damaged(running: Stack) -> None:
    record = process_of(running, "database")
    backends = psutil.Process(record.pid).children()
    for backend in backends:
        backend.suspend()
    psutil.Process(record.pid).kill()
    lose_records(running, LOST[1])

    assert states(running)["database"] is ServiceState.STOPPED

    running.up()

    assert running.status()[0].pid not in [record.pid, *(backend.pid for backend in backends)]
    assert readiness(running) == (200, "")


def test_a_restart_is_of_the_app_alone(running: Stack) -> None:
    before, database = process_of(running), process_of(running, "database")
    running.restart("app")
    assert process_of(running) != before
    assert process_of(running, "database") == database
    assert readiness(running) == (200, "")


def test_more_workers_recreate_the_app_alone(make_stack: MakeStack) -> None:
    database = process_of(make_stack().up(), "database")
    stack = make_stack(workers=2)
    assert steps(stack.plan()) == ["stop process app", "start process app"]
    stack.up()
    assert process_of(stack, "database") == database
    assert readiness(stack) == (200, "")


def test_another_port_of_the_database_takes_the_app_along(make_stack: MakeStack) -> None:
    stack = make_stack().up().up(port=any_free_port())
    assert readiness(stack) == (200, "")


def test_a_database_that_was_restarted_is_reached_again(running: Stack) -> None:
    running.restart("database")
    assert readiness(running) == (200, "")


# -- how it fails ----------------------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_an_error_and_the_database_is_as_it_was(make_stack: MakeStack) -> None:
    stack = make_stack().up(app=False)
    database = process_of(stack, "database")
    with socket.create_server(("127.0.0.1", port_of_settings(stack))), pytest.raises(PortTakenError) as caught:
        make_stack().up()
    assert "--app-port" in caught.value.hint
    assert process_of(stack, "database") == database
    assert states(stack) == {"database": ServiceState.RUNNING}


def port_of_settings(stack: Stack) -> int:
    assert stack.settings.app_port is not None
    return stack.settings.app_port


def test_an_app_that_dies_at_its_start_is_unhealthy_with_what_it_said_last(
    make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as environment:
        environment.setenv("FASTZERO_OUTPUT", "nonsense")  # any setting that the app's own process refuses
        with pytest.raises(UnhealthyError, match="app ended before it was ready") as caught:
            make_stack(output="json").up()
    assert "FASTZERO_OUTPUT" in caught.value.evidence


def test_after_a_failed_start_nothing_of_it_is_left(make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTZERO_OUTPUT", "nonsense")
    with pytest.raises(UnhealthyError):
        make_stack(output="json").up()
    monkeypatch.delenv("FASTZERO_OUTPUT")
    assert readiness(make_stack().up()) == (200, "")


def test_an_app_that_hangs_is_unhealthy_and_the_next_up_makes_it_anew(
    running: Stack, make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastzero_core.stack.wait.PATIENCE", 0)
    monkeypatch.setattr("fastzero_core.stack.probe.APP_TIMEOUT", 0.5)
    hanging = process_of(running)
    os.kill(hanging.pid, signal.SIGSTOP)

    assert states(running) == {"database": ServiceState.RUNNING, "app": ServiceState.UNHEALTHY}
    assert steps(running.plan()) == ["stop process app", "start process app"]

    monkeypatch.setattr("fastzero_core.stack.probe.APP_TIMEOUT", 5)
    make_stack().up()
    assert process_of(running) != hanging
    assert readiness(running) == (200, "")


# -- what it is told -------------------------------------------------------------------------------------------


def test_no_secret_is_in_its_arguments_or_its_environment(
    make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", STRANGER)
    monkeypatch.setenv("PGPASSWORD", "a-secret")
    monkeypatch.setenv("SECRET_KEY", "a-secret")
    stack = make_stack(workers=2).up()
    leader = psutil.Process(process_of(stack).pid)
    told = [f"{each.cmdline()} {each.environ()}" for each in (leader, *leader.children(recursive=True))]
    secrets = ["a-secret", *(stack.project.secret(name) for name in ("database_password", "secret_key"))]
    assert [secret for secret in secrets if any(secret in text for text in told)] == []


def test_it_serves_the_stack_s_database_whatever_the_environment_names(
    make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", STRANGER)
    assert readiness(make_stack().up()) == (200, "")


def test_since_goes_by_the_times_in_its_log_in_every_time_zone(
    make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import UTC, datetime

    monkeypatch.setenv("TZ", "America/Sao_Paulo")
    stack = make_stack().up()
    lines = list(stack.logs("app"))
    assert lines
    again = list(stack.logs("app", since=datetime(2000, 1, 1, tzinfo=UTC)))
    assert again[: len(lines)] == lines  # by now there may be more
    assert list(stack.logs("app", since=datetime(2999, 1, 1, tzinfo=UTC))) == []
    assert re.match(datetime.now(UTC).strftime("%Y-%m-%d"), lines[-1].text)


def test_a_block_that_started_the_app_alone_leaves_the_database_running(make_stack: MakeStack) -> None:
    make_stack().up(app=False)

    with make_stack().up() as stack:
        assert set(states(stack).values()) == {ServiceState.RUNNING}

    assert states(make_stack()) == {"database": ServiceState.RUNNING, "app": ServiceState.ABSENT}
