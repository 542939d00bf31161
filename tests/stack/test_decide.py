"""What a command decides before it looks: pure, from record, settings and flags."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fastzero_core import InvalidInputError, Settings, load_settings
from fastzero_core.errors import ConflictError, PortTakenError, VersionMismatchError
from fastzero_core.project import ROLES_OF_BEFORE, Place, ProjectRecord
from fastzero_core.stack import ports
from fastzero_core.stack.decide import Decision, Flags, Machine, decide, place_of
from fastzero_core.stack.observed import Estate

NOWHERE = Machine(
    engine_answers=lambda: False,
    reserved=lambda: frozenset(),
    new_place=lambda runtime: Place(runtime, data="/data"),
    archiver_image=lambda base: f"archiver-of-{base}",
    app_image=lambda: "fastzero-app:1",
    new_owner=lambda: "owner",
    estate=lambda runtime: Estate(),
)
WITH_ENGINE = replace(NOWHERE, engine_answers=lambda: True)
LOCAL = ProjectRecord("embedded", {"database": 5432, "app": 8000}, "/data", initialised=True)
CONTAINED = ProjectRecord(
    "docker", {"database": 5432}, initialised=True, image="postgres:18", volume="data", owner="me", processes=()
)


@pytest.fixture(autouse=True)
def free_ports(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Every port is free but those that are said to be taken."""
    taken: set[int] = set()
    monkeypatch.setattr(ports, "is_free", lambda host, port: port not in taken)
    return taken.add


def settings(**given: Any) -> Settings:
    return load_settings(project="demo", **given)


def decided(
    record: ProjectRecord | None, flags: Flags | None = None, machine: Machine = NOWHERE, **given: Any
) -> Decision:
    return decide(record, settings(**{"app": False, **given}), flags or Flags(), machine)


@pytest.mark.parametrize(("machine", "runtime"), [(NOWHERE, "embedded"), (WITH_ENGINE, "docker")])
def test_a_new_project_runs_in_containers_where_an_engine_answers(
    machine: Machine, runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FASTZERO_RUNTIME")
    decision = decided(None, machine=machine)

    assert decision.record.runtime == runtime
    assert decision.notices == (f"project demo runs {runtime}, and will from now on",)


def test_a_flag_chooses_the_runtime_of_a_new_project() -> None:
    assert decided(None, Flags(runtime="docker")).record.runtime == "docker"


def test_a_local_project_needs_no_other_machine() -> None:
    elsewhere = replace(NOWHERE, host="ssh://example.com")
    record = decided(None, Flags(runtime="embedded"), elsewhere, host="ssh://example.com").record

    assert (record.runtime, record.host) == ("embedded", "")


def test_a_local_runtime_on_another_machine_is_refused() -> None:
    elsewhere = replace(NOWHERE, host="ssh://example.com")
    with pytest.raises(InvalidInputError, match="runtime embedded runs on this machine"):
        decided(None, Flags(runtime="embedded", host="ssh://example.com"), elsewhere)


def test_a_known_project_keeps_its_runtime() -> None:
    with pytest.raises(InvalidInputError, match="runs embedded, not docker"):
        decided(LOCAL, Flags(runtime="docker"))


def test_a_new_project_in_containers_has_an_owner_and_the_usual_volume() -> None:
    record = decided(None, Flags(runtime="docker")).record

    assert (record.owner, record.volume) == ("owner", "fastzero-demo-database")


def test_what_was_decided_is_kept() -> None:
    decision = decided(LOCAL, app=True)

    assert decision.record == LOCAL
    assert decision.change.is_none


def test_the_processes_are_decided_anew_each_time() -> None:
    assert decided(LOCAL).record.processes == ()
    assert decided(LOCAL, Flags(app=True)).record.processes == ("app",)


def test_a_port_that_is_taken_gives_way_to_the_next_and_that_is_said(free_ports: Callable[[int], None]) -> None:
    free_ports(5432)

    decision = decided(None)

    assert decision.record.ports == {"database": 5433}
    assert decision.notices[-1] == "port 5432 is taken; the database gets 5433"


def test_a_port_of_another_project_is_not_taken_from_it() -> None:
    others = replace(NOWHERE, reserved=lambda: frozenset({5432, 5433}))

    assert decided(None, machine=others).record.ports == {"database": 5434}


def test_a_port_that_is_asked_for_and_taken_is_refused_before_anything_is_stopped(
    free_ports: Callable[[int], None],
) -> None:
    free_ports(5433)

    with pytest.raises(PortTakenError, match="port 5433") as taken:
        decided(LOCAL, Flags(ports={"database": 5433}))

    assert "fastzero up --database-port 5434" in taken.value.hint


def test_the_port_that_a_service_has_is_not_taken_by_itself(free_ports: Callable[[int], None]) -> None:
    free_ports(5432)

    assert decided(LOCAL, Flags(ports={"database": 5432})).record.ports["database"] == 5432


def test_data_of_another_major_version_is_refused_with_the_way_to_upgrade_it() -> None:
    with pytest.raises(VersionMismatchError, match="made by PostgreSQL 17; postgres:18 is 18") as refused:
        decided(replace(CONTAINED, image="postgres:17"), postgres_image="postgres:18")

    assert "fastzero db upgrade --to 18" in refused.value.hint


def test_after_an_upgrade_the_setting_of_before_still_serves_what_there_is() -> None:
    upgraded = replace(CONTAINED, kept=(Place("docker", image="postgres:17", volume="older"),))

    decision = decided(upgraded, postgres_image="postgres:17")

    assert decision.spec.database.image == "postgres:18"
    assert place_of(settings(postgres_image="postgres:17"), upgraded).volume == "data"


@pytest.mark.usefixtures("trusted_folder")
@pytest.mark.parametrize("source", ["flag", "environment", "file"])
def test_an_image_that_a_setting_names_is_recorded_and_serves_on_where_none_names_one(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = "registry:5000/postgres:17-alpine"
    with monkeypatch.context() as given:
        if source == "environment":
            given.setenv("FASTZERO_POSTGRES_IMAGE", named)
        if source == "file":
            Path("fastzero.toml").write_text(f'postgres_image = "{named}"\n')
        flags: dict[str, Any] = {"postgres_image": named} if source == "flag" else {}
        first = decided(None, Flags(runtime="docker"), **flags)
    Path("fastzero.toml").unlink(missing_ok=True)

    again = decided(replace(first.record, initialised=True))

    assert first.record.image == named
    assert again.spec.database.image == named
    assert again.change.before == again.record


def test_a_named_image_of_the_same_major_version_takes_the_place_of_the_recorded_one() -> None:
    assert decided(CONTAINED, postgres_image="postgres:18-alpine").spec.database.image == "postgres:18-alpine"


def test_an_image_of_a_first_up_that_never_ended_gives_way_to_another_that_is_named() -> None:
    began = replace(CONTAINED, image="postgres:17", initialised=False)

    assert decided(began, postgres_image="postgres:18").spec.database.image == "postgres:18"
    assert decided(began).spec.database.image == "postgres:17"


def adopted(estate: Estate, record: ProjectRecord | None = None, **given: Any) -> Decision:
    machine = replace(WITH_ENGINE, estate=lambda runtime: estate)
    return decided(record, Flags(adopt=True), machine, **given)


IN_SERVICE = Place("docker", image="postgres:17", volume="b")
ESTATE = Estate(IN_SERVICE, {"a": "postgres:16", "b": "postgres:17"})


def test_whoever_takes_over_gets_an_owner_of_its_own_and_all_places() -> None:
    for record in (None, CONTAINED):
        after = adopted(ESTATE, record).record

        assert (after.owner, after.initialised) == ("owner", True)
        # What roles they have is not known, so that `up` makes them what they should be.
        assert after.place == replace(IN_SERVICE, roles=ROLES_OF_BEFORE)
        assert after.kept == (Place("docker", image="postgres:16", volume="a", roles=ROLES_OF_BEFORE),)


def test_nothing_is_taken_over_where_nothing_is_or_nothing_tells_what_was_in_service() -> None:
    with pytest.raises(ConflictError, match="nothing of a project demo to take over"):
        adopted(Estate())
    with pytest.raises(ConflictError, match="there are volumes a, b"):
        adopted(replace(ESTATE, place=None))
    with pytest.raises(VersionMismatchError):
        adopted(ESTATE, postgres_image="postgres:18")
    with pytest.raises(InvalidInputError):
        decided(CONTAINED, Flags(adopt=True, start_over=True))


def test_starting_over_keeps_the_kept_places_but_never_the_new_one() -> None:
    old, same = Place("docker", volume="old"), Place("docker", data="/data")
    decision = decided(replace(CONTAINED, kept=(same, old)), Flags(start_over=True))

    assert decision.record.kept == (old,)
    assert decision.record.image == CONTAINED.image


def test_starting_over_begins_with_a_place_where_nothing_was_ready() -> None:
    decision = decided(replace(CONTAINED, volume="gone"), Flags(start_over=True))

    assert (decision.record.data, decision.record.initialised) == ("/data", False)
    assert decision.record.volume != "gone"
