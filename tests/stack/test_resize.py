"""The plan of a move within a swarm, from one server to three and back, and what a crash of it leaves. Pure.

`tests/swarm/test_moves.py` runs it on three nodes.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fastzero_core import load_settings
from fastzero_core.archive.description import Archive
from fastzero_core.project import Place, ProjectRecord
from fastzero_core.record import FORMAT, parse_record
from fastzero_core.stack.actions import Action, Kind, Verb, inverse
from fastzero_core.stack.built_in import stack_spec
from fastzero_core.stack.decide import container_place
from fastzero_core.stack.deployment import deployed
from fastzero_core.stack.leftovers import with_these_left
from fastzero_core.stack.observed import DataState, Observed, ObservedService, ServiceState, Thing
from fastzero_core.stack.plan import RecordChange, plan_up
from fastzero_core.stack.resize import as_moved, passage_to, plan_resize, stopped
from fastzero_core.stack.runtime import PASSAGE
from fastzero_core.stack.spec import ServiceSpec, StackSpec
from fastzero_core.stack.swarm.services import service_document

from .test_standbys import HEALTHY, MEMBERS, PORTS, SERVERS, free_ports, machine, seen, texts

__all__ = ["free_ports"]

ALONE = ProjectRecord(
    "swarm",
    {"database": 15432, "app": 18000},
    initialised=True,
    image="postgres:18",
    volume="fastzero-demo-database",
    owner="me",
    node="n1",
)
LEFT = ALONE.place
THREE = Place("swarm", image="postgres:18", volume="fastzero-demo-database-ab12", members=("n1", "n2", "n3"))
MOVED = replace(ALONE.moved(LEFT, THREE, ()), ports=PORTS)
ONE = Place("swarm", image="postgres:18", volume="fastzero-demo-database-cd34")
BACK = MOVED.moved(MOVED.place, ONE, MOVED.kept)
ARCHIVE = Archive("s3://bucket", "demo", system="1")
ONE_OF_ONE, EACH = ["archiver"], ["archiver-1", "archiver-2", "archiver-3"]
WAY_THERE, WAY_BACK = (ALONE, MOVED), (replace(MOVED, leaving=None), BACK)


def spec_at(record: ProjectRecord, **changed: Any) -> StackSpec:
    settings = load_settings(project="demo", **changed)
    one = stack_spec(
        settings,
        PORTS,
        app_image="fastzero-app:1",
        app=True,
        place=container_place(settings, record),
        archive=record.archive,
        archiver_image="fastzero-archiver:18-a",
    )
    spec = deployed(one, settings, record, ha_image="fastzero-ha:18-a")
    documented = (
        replace(each, document=service_document("demo", each)) if each.deploy else each for each in spec.services
    )
    return replace(spec, services=tuple(documented))


def running(spec: StackSpec, **facts: Any) -> Observed:
    there: dict[str, Any] = {
        "data": DataState.THERE,
        "images": frozenset(),
        "network": True,
        "networks": frozenset({"fastzero-demo-stores"} if spec.members else ()),
        "cluster": HEALTHY if spec.members else None,
    }
    return Observed({each.name: seen(each) for each in spec.services}, **{**there, **facts})


def seen_by(new: StackSpec, old: StackSpec) -> Observed:
    """The state of a stack whose database is another one: the other services run as before."""
    services = {each.name: seen(each) for each in old.services if each.name in new.names}
    orphans = tuple(
        Thing(Kind.SERVICE, f"fastzero-demo-{each.name}", "it is not part of this stack", each.name)
        for each in old.services
        if each.name not in new.names
    )
    is_absent = {each.name: ObservedService(each.name, ServiceState.ABSENT) for each in new.services}
    data = DataState.ABSENT if not new.members else DataState.THERE
    return replace(running(old, data=data), services={**is_absent, **services}, orphans=orphans)


def planned(way: tuple[ProjectRecord, ProjectRecord], **changed: Any) -> list[Action]:
    before, after = way
    old, new = spec_at(before), spec_at(after, **changed)
    passage = passage_to(new, "python:3.13-slim", 55432)
    return list(plan_resize(old, running(old), new, seen_by(new, old), passage, before, after))


def test_three_servers_are_filled_beside_the_one_in_service_before_one_write_decides() -> None:
    assert texts(planned(WAY_THERE)) == [
        "write record project.json",
        "create network fastzero-demo-stores",
        *(f"create service fastzero-demo-{name}" for name in MEMBERS),
        f"create container fastzero-demo-{PASSAGE}",
        f"start container fastzero-demo-{PASSAGE}",
        "wait for service database-1",
        "set password database-1",
        "hold writes database",
        "copy database fastzero",
        "check writes database",
        "stop sessions database",
        "stop service fastzero-demo-app",
        "stop service fastzero-demo-database",
        "stop container fastzero-demo-gateway",
        f"remove container fastzero-demo-{PASSAGE}",
        "write record project.json",
    ]


def test_back_to_one_server_the_primary_is_the_last_that_stops() -> None:
    assert texts(planned(WAY_BACK)) == [
        "write record project.json",
        "create volume fastzero-demo-database-cd34",
        "create service fastzero-demo-database",
        f"create container fastzero-demo-{PASSAGE}",
        f"start container fastzero-demo-{PASSAGE}",
        "wait for service database",
        "hold writes database-1",
        "copy database fastzero",
        "stop service fastzero-demo-database",
        "start service fastzero-demo-database",
        "wait for service database",
        "check writes database-1",
        "stop sessions database-1",
        "stop service fastzero-demo-app",
        "stop service fastzero-demo-database-1",
        "stop service fastzero-demo-database-3",
        "stop service fastzero-demo-database-2",
        "stop container fastzero-demo-gateway",
        *(f"stop service fastzero-demo-etcd-{number}" for number in (1, 2, 3)),
        f"remove container fastzero-demo-{PASSAGE}",
        "write record project.json",
    ]


def test_new_servers_get_the_settings_and_the_secrets_that_they_do_not_have() -> None:
    assert "set settings database-1" in texts(planned(WAY_THERE, postgres_settings={"work_mem": "64MB"}))

    old, new = spec_at(ALONE), spec_at(MOVED)
    there = replace(seen_by(new, old), missing_secrets=("replication_password", "patroni_password"))
    passage = passage_to(new, "python:3.13-slim", 55432)
    plan = texts(list(plan_resize(old, running(old), new, there, passage, ALONE, MOVED)))
    assert plan[1:3] == ["create secret replication_password", "create secret patroni_password"]


def test_each_place_has_volumes_of_its_own() -> None:
    names = {each.name: each.volume for each in spec_at(MOVED).members}

    assert names["database-2"] == "fastzero-demo-database-ab12-2"
    assert names["etcd-3"] == "fastzero-demo-etcd-ab12-3"
    first = {each.name: each.volume for each in spec_at(replace(MOVED, volume="fastzero-demo-database")).members}
    assert (first["database-2"], first["etcd-3"]) == ("fastzero-demo-database-2", "fastzero-demo-etcd-3")


def test_the_passage_leads_to_the_new_primary_and_to_each_patroni() -> None:
    three = passage_to(spec_at(MOVED), "python:3.13-slim", 55432)
    one = passage_to(spec_at(BACK), "python:3.13-slim", 55432)

    assert three.command[3:] == (
        f"55432={','.join(SERVERS)}:5432",
        "8008=database-1:8008",
        "8009=database-2:8008",
        "8010=database-3:8008",
    )
    assert one.command[3:] == ("55432=database:5432",)
    assert {each.name for each in (three, one)} == {PASSAGE}


def test_until_the_last_write_the_record_says_that_the_old_servers_are_in_service() -> None:
    for (before, after), place in ((WAY_THERE, THREE), (WAY_BACK, ONE)):
        first, *_, last = [each for each in planned((before, after)) if each.kind is Kind.RECORD]
        filling, moved = first.subject[1], last.subject[1]

        assert (filling.place, filling.filling, filling.kept) == (before.place, place, before.kept)
        assert (moved.place, moved.filling, moved.leaving) == (place, None, before.place)
        assert moved.kept == (*before.kept, before.place)


def test_the_ports_of_the_new_servers_are_in_the_record_while_they_are_filled() -> None:
    first = planned(WAY_THERE)[0].subject[1]

    assert first.ports == PORTS


def test_the_inverse_starts_the_primary_first_and_lets_writes_go() -> None:
    undone = [str(opposite) for action in reversed(planned(WAY_BACK)[1:]) if (opposite := inverse(action))]

    assert undone[:9] == [
        "write record project.json",
        *(f"start service fastzero-demo-etcd-{number}" for number in (3, 2, 1)),
        "start container fastzero-demo-gateway",
        "start service fastzero-demo-database-2",
        "start service fastzero-demo-database-3",
        "start service fastzero-demo-database-1",
        "start service fastzero-demo-app",
    ]
    assert "release writes database-1" in undone
    assert undone[-2:] == ["remove service fastzero-demo-database", "remove volume fastzero-demo-database-cd34"]


@pytest.mark.parametrize("way", [WAY_THERE, WAY_BACK])
@pytest.mark.parametrize("step", range(21))
def test_after_a_crash_at_any_step_the_record_names_a_place_that_has_everything(
    way: tuple[ProjectRecord, ProjectRecord], step: int
) -> None:
    plan = planned(way)[: step + 1]
    written = [action.subject[1] for action in plan if action.kind is Kind.RECORD]
    is_copied = any(action.verb is Verb.CHECK for action in plan)

    assert written[-1].volume == (way[1].volume if len(written) == 2 else way[0].volume)
    assert len(written) == 1 or is_copied


def test_an_extra_service_may_write_too_so_it_is_stopped_before_the_servers() -> None:
    spec = spec_at(ALONE)
    database, *others = spec.services
    extra = ServiceSpec("rest", 3000, is_extra=True, image="rest:1")
    with_extra = replace(spec, services=(database, others[0], extra, *others[1:]))

    assert [each.name for each in stopped(with_extra, running(with_extra))] == ["app", "rest", "database", "gateway"]


# -- after the move --------------------------------------------------------------------------------------------


def after_move(way: tuple[ProjectRecord, ProjectRecord]) -> list[str]:
    before, after = way
    old, new = spec_at(before), spec_at(after)
    state = as_moved(old, running(old), new, seen_by(new, old))
    head = new.release.head if new.release else ""
    return texts(plan_up(new, state, head, RecordChange(after, replace(after, leaving=None))))


def test_then_the_old_server_is_removed_and_what_uses_the_database_is_updated() -> None:
    assert after_move(WAY_THERE) == [
        "remove service fastzero-demo-database",
        "write record project.json",
        "create container fastzero-demo-gateway-new",
        "rename container fastzero-demo-gateway to fastzero-demo-gateway-old",
        "rename container fastzero-demo-gateway-new to fastzero-demo-gateway",
        "start container fastzero-demo-gateway",
        "wait for service gateway",
        "migrate schema database-1",
        "update service fastzero-demo-app",
        "wait for service app",
        "remove container fastzero-demo-gateway-old",
    ]


def test_then_the_old_servers_are_removed_with_their_network() -> None:
    plan = after_move(WAY_BACK)

    assert plan[: plan.index("write record project.json")] == [
        *(f"remove service fastzero-demo-{name}" for name in (*SERVERS, "etcd-1", "etcd-2", "etcd-3")),
        "remove network fastzero-demo-stores",
    ]
    assert "update service fastzero-demo-app" in plan


@pytest.mark.parametrize(("way", "old_ones", "new_ones"), [(WAY_THERE, ONE_OF_ONE, EACH), (WAY_BACK, EACH, ONE_OF_ONE)])
def test_archivers_stop_last_and_those_of_the_new_servers_begin_after_the_move(
    way: tuple[ProjectRecord, ProjectRecord], old_ones: list[str], new_ones: list[str]
) -> None:
    before, after = (replace(each, archive=ARCHIVE) for each in way)
    old, new, archived = spec_at(before), spec_at(way[1]), spec_at(after)
    halted = [each.name for each in stopped(old, running(old))]
    assert halted[-len(old_ones) :] == old_ones

    state = as_moved(old, running(old), new, seen_by(new, old))
    plan = texts(plan_up(archived, state, "", RecordChange(after, replace(after, leaving=None))))
    assert {f"remove service fastzero-demo-{name}" for name in old_ones} <= {*plan}
    assert {f"create service fastzero-demo-{name}" for name in new_ones} <= {*plan}
    assert {f"update service fastzero-demo-{each.name}" for each in archived.servers} <= {*plan}


def test_what_servers_tell_their_archivers_is_of_their_own_volume() -> None:
    spec = spec_at(replace(MOVED, archive=ARCHIVE))
    archivers = [each for each in spec.services if each.name in EACH]

    assert [each.variables["FASTZERO_ARCHIVE_STATE"] for each in (*spec.servers, *archivers)] == 2 * [
        f"/var/run/postgresql/archive-{THREE.volume}-{number}" for number in (1, 2, 3)
    ]


def test_what_is_left_of_a_move_is_no_service_that_stays() -> None:
    service = Thing(Kind.SERVICE, "fastzero-demo-database-1", service="database-1")
    network = Thing(Kind.NETWORK, "fastzero-demo-stores")
    found = Observed(orphans=(service,), networks=frozenset({network.name}))

    state = with_these_left(found, [service, network, replace(service, cause="again")])

    assert (state.leftovers, state.orphans, state.networks) == ((service, network), (), frozenset())


def test_a_killed_move_left_services_stopped_and_up_starts_them_where_the_record_says() -> None:
    spec = spec_at(ALONE)
    halted = {each.name: seen(each, ServiceState.STOPPED) for each in spec.services if each.name != "proxy"}
    state = replace(running(spec), services={**running(spec).services, **halted})

    plan = texts(plan_up(spec, state, "", RecordChange(ALONE, ALONE)))

    assert "start service fastzero-demo-database" in plan
    assert "start service fastzero-demo-app" in plan
    assert not [each for each in plan if each.startswith(("create volume", "remove volume"))]


# -- the record ------------------------------------------------------------------------------------------------


def test_a_new_node_is_chosen_only_for_a_server_whose_node_has_left() -> None:
    from fastzero_core.stack.in_swarm import with_members, with_one_server

    assert with_members(replace(ALONE, members=()), machine("n1", "n2", "n3")).members == ("n1", "n2", "n3")
    assert with_members(MOVED, machine("n1", "n3", "n4")).members == ("n1", "n4", "n3")
    assert with_one_server(MOVED, machine("n2", "n1")).node == "n1"
    assert with_one_server(MOVED, machine("n2", "n3")).node == "n2"


def test_a_record_keeps_the_nodes_of_a_kept_place_and_older_versions_do_not_read_it() -> None:
    assert parse_record(BACK.as_text(), Path("p")) == BACK
    assert BACK.kept[-1].members == ("n1", "n2", "n3")
    assert f'"format": {FORMAT},' in BACK.as_text()
    assert "members" not in ALONE.as_text()


def test_a_place_with_standbys_is_told_by_its_volumes() -> None:
    assert str(THREE) == (
        "volumes fastzero-demo-database-ab12-1, fastzero-demo-database-ab12-2, fastzero-demo-database-ab12-3"
        " of postgres:18"
    )
    assert THREE.name == "fastzero-demo-database-ab12"
