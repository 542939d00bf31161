"""A database with standbys in a swarm: what is decided, planned and sent to the engine. Pure.

`tests/swarm/test_standbys.py` runs it on three nodes.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from fastzero_core import InvalidInputError, load_settings
from fastzero_core.application.reading import parse
from fastzero_core.errors import ConflictError
from fastzero_core.ha.cluster import NO_ANSWER, PRIMARY, STANDBY, STREAMING, Node, State
from fastzero_core.ha.configuration import dynamic
from fastzero_core.project import Place, Project, ProjectRecord
from fastzero_core.record import FORMAT, FORMAT_WITHOUT_STANDBYS, parse_record
from fastzero_core.stack import edge, ports
from fastzero_core.stack.actions import Action, Kind, Verb, inverse
from fastzero_core.stack.application import with_application
from fastzero_core.stack.built_in import LOG_WITHOUT_VALUES, stack_spec
from fastzero_core.stack.decide import Flags, Machine, decide, surroundings
from fastzero_core.stack.deployment import deployed
from fastzero_core.stack.observed import DataState, Estate, Observed, ObservedService, ServiceState
from fastzero_core.stack.plan import RecordChange, plan_down, plan_restart, plan_up
from fastzero_core.stack.spec import ServiceSpec, StackSpec
from fastzero_core.stack.swarm.export import stack_yaml
from fastzero_core.stack.swarm.services import service_document

PORTS = {"database": 15432, "app": 18000, "database-1:8008": 8008, "database-2:8008": 8009, "database-3:8008": 8010}
RECORD = ProjectRecord(
    "swarm", PORTS, initialised=True, image="postgres:18", owner="me", node="n1", members=("n1", "n2", "n3")
)
UNCHANGED = RecordChange(RECORD, RECORD)
SERVERS = ("database-1", "database-2", "database-3")
MEMBERS = ("etcd-1", "etcd-2", "etcd-3", *SERVERS)
HEALTHY = State(
    (
        Node("database-1", STANDBY, STREAMING, is_synchronous=True),
        Node("database-2", PRIMARY, "running"),
        Node("database-3", STANDBY, STREAMING, is_synchronous=True),
    )
)


def spec_of(record: ProjectRecord = RECORD, image: str = "fastzero-ha:18-a", **changed: Any) -> StackSpec:
    settings = load_settings(project="demo", **changed)
    one = stack_spec(settings, PORTS, app_image="fastzero-app:1", app=True)
    spec = deployed(one, settings, record, ha_image=image)
    return replace(
        spec,
        services=tuple(
            replace(each, document=service_document("demo", each)) if each.deploy else each for each in spec.services
        ),
    )


SPEC = spec_of()
HEAD = SPEC.release.head if SPEC.release else ""


def seen(service: ServiceSpec, state: ServiceState = ServiceState.RUNNING) -> ObservedService:
    thing = f"fastzero-demo-{service.name}"
    return ObservedService(service.name, state, "", service.settings(), service.config_hash, thing=thing)


def observed(**facts: Any) -> Observed:
    there: dict[str, Any] = {
        "data": DataState.THERE,
        "images": frozenset(),
        "network": True,
        "networks": frozenset({"fastzero-demo-stores"}),
        "cluster": HEALTHY,
        "shared": SPEC.shared,
    }
    return Observed({each.name: seen(each) for each in SPEC.services}, HEAD, **{**there, **facts})


def texts(actions: list[Action]) -> list[str]:
    return [str(action) for action in actions]


# -- what is decided -------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def free_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda host, port: True)


def machine(*nodes: str, away: tuple[str, ...] = ()) -> Machine:
    return Machine(
        engine_answers=lambda: True,
        reserved=frozenset,
        new_place=lambda runtime: Place(runtime),
        archiver_image=str,
        app_image=lambda: "fastzero-app:1",
        new_owner=lambda: "me",
        estate=lambda runtime: Estate(),
        node=lambda: nodes[0],
        nodes=lambda: {**dict.fromkeys(nodes, True), **dict.fromkeys(away, False)},
        ha_image=lambda base: f"fastzero-ha:18-of-{base.replace(':', '-')}",
    )


def decided(record: ProjectRecord | None, flags: Flags, on: Machine) -> ProjectRecord:
    return decide(record, load_settings(project="demo", app=True), flags, on).record


def test_the_record_has_three_nodes_and_a_port_for_each_patroni() -> None:
    record = decided(None, Flags("swarm", ha=True), machine("n1", "n2", "n3", "n4"))

    assert record.members == ("n1", "n2", "n3")
    assert sorted(record.ports.items()) == [
        ("app", 8000),
        ("database", 5432),
        ("database-1:8008", 8008),
        ("database-2:8008", 8009),
        ("database-3:8008", 8010),
    ]


def test_later_ups_need_no_flag_and_keep_the_nodes_also_those_that_are_away() -> None:
    again = decided(RECORD, Flags(), machine("n1", "n4", away=("n2", "n3")))

    assert again == RECORD


def test_a_node_that_left_the_swarm_is_replaced() -> None:
    assert decided(RECORD, Flags(), machine("n1", "n3", "n4")).members == ("n1", "n4", "n3")
    assert decided(RECORD, Flags(), machine("n1", "n3")).members == RECORD.members


def test_two_nodes_are_too_few() -> None:
    with pytest.raises(InvalidInputError, match="needs 3 nodes that take tasks, and this swarm has 2"):
        decided(None, Flags("swarm", ha=True), machine("n1", "n2", away=("n3",)))


@pytest.mark.parametrize("runtime", ["docker", "embedded"])
def test_standbys_need_a_swarm(runtime: str) -> None:
    with pytest.raises(InvalidInputError, match="standbys need a swarm of 3 nodes"):
        decided(None, Flags(runtime, ha=True), machine("n1", "n2", "n3"))


@pytest.mark.parametrize(("record", "ha"), [(RECORD, False), (replace(RECORD, members=()), True)])
def test_a_database_keeps_its_number_of_servers(record: ProjectRecord, ha: bool) -> None:
    with pytest.raises(ConflictError, match="standbys"):
        decided(record, Flags(ha=ha), machine("n1", "n2", "n3"))


def test_the_record_of_standbys_is_not_read_by_older_versions() -> None:
    assert parse_record(RECORD.as_text(), Path("p")) == RECORD
    assert f'"format": {FORMAT},' in RECORD.as_text()
    alone = replace(RECORD, members=())
    assert f'"format": {FORMAT_WITHOUT_STANDBYS},' in alone.as_text()
    assert "members" not in alone.as_text()


# -- what runs, and where --------------------------------------------------------------------------------------


def template(name: str) -> Any:
    return service_document("demo", SPEC.service(name))["TaskTemplate"]


def test_each_node_has_a_server_and_an_etcd_of_its_own() -> None:
    assert SPEC.names == (*MEMBERS, "gateway", "app", "proxy")
    for name in MEMBERS:
        assert template(name)["Placement"]["Constraints"] == [f"node.id==n{name[-1]}"]
        document = service_document("demo", SPEC.service(name))
        assert document["Mode"] == {"Replicated": {"Replicas": 1}}
        assert document["UpdateConfig"]["Order"] == "stop-first"
        assert document["EndpointSpec"] == {"Mode": "dnsrr", "Ports": []}


def test_only_servers_reach_the_etcds() -> None:
    names = ("etcd-2", "database-2", "app", "proxy")
    networks = {name: [each["Target"] for each in template(name)["Networks"]] for name in names}

    assert networks["etcd-2"] == ["fastzero-demo-stores"]
    assert networks["database-2"] == ["fastzero-demo", "fastzero-demo-stores"]
    assert networks["app"] == networks["proxy"] == ["fastzero-demo"]


def test_data_is_in_labelled_volumes_and_secrets_are_mounted() -> None:
    container = template("database-3")["ContainerSpec"]
    [data] = [each for each in container["Mounts"] if each["Type"] == "volume" and each.get("Source")]

    assert (data["Source"], data["Target"]) == ("fastzero-demo-database-3", "/var/lib/postgresql")
    assert data["VolumeOptions"] == {"Labels": {"fastzero.member": "demo"}}
    assert [each["File"]["Name"] for each in container["Secrets"]] == [
        "/run/secrets/replication_password",
        "/run/secrets/patroni_password",
    ]


def test_the_project_has_the_secrets_of_the_servers() -> None:
    assert SPEC.secret_names[-2:] == ("replication_password", "patroni_password")


def test_processes_and_the_migration_find_the_primary_and_give_names_up_soon() -> None:
    assert SPEC.release
    for process in (SPEC.service("app"), SPEC.release.service):
        assert process.database_at["host"] == ",".join(SERVERS)
        assert process.database_at["target_session_attrs"] == "read-write"
        assert process.variables["RES_OPTIONS"] == "timeout:1 attempts:1"
        assert process.depends_on == SERVERS


def test_an_application_of_the_users_own_gets_all_three_servers(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").touch()
    application = parse("[application.processes]\nweb = {command = 'x', port = 1}", tmp_path)
    assert application
    settings = load_settings(project="demo")
    where = surroundings(RECORD, settings, replace(machine("n1"), application=application))
    one = with_application(stack_spec(settings, PORTS, app_image="a:1"), application, where, ("web",))
    web = deployed(one, settings, RECORD, application, "fastzero-ha:18-a").service("web")

    assert web.variables["PGHOST"] == "database-1,database-2,database-3"
    assert (web.variables["PGPORT"], web.variables["PGTARGETSESSIONATTRS"]) == ("5432", "read-write")
    url = web.secret_variables["DATABASE_URL"]
    assert "host=database-1%2Cdatabase-2%2Cdatabase-3" in url
    assert "target_session_attrs=read-write" in url


def test_the_gateway_leads_to_the_primary_and_to_each_patroni() -> None:
    gateway = SPEC.service("gateway")

    assert gateway.command[3:] == (
        "15432=database-1,database-2,database-3:5432",
        "8008=database-1:8008",
        "8009=database-2:8008",
        "8010=database-3:8008",
    )
    assert gateway.command[2] == edge.FORWARD


def test_a_changed_setting_changes_no_service() -> None:
    changed = spec_of(postgres_settings={"work_mem": "64MB"})

    assert changed.services == SPEC.services
    assert changed.shared != SPEC.shared


def test_a_service_of_the_user_cannot_have_the_name_of_a_member() -> None:
    settings = load_settings(project="demo")
    one = stack_spec(settings, PORTS, app_image="a:1")
    named = replace(one, services=(*one.services, ServiceSpec("etcd-2", 0, image="x")))

    with pytest.raises(InvalidInputError, match="etcd-2"):
        deployed(named, settings, RECORD, ha_image="fastzero-ha:18-a")
    assert "etcd-2" in deployed(named, settings, replace(RECORD, members=())).names


def test_a_stack_file_has_the_closed_network(tmp_path: Path) -> None:
    project = Project("demo", tmp_path)
    for name in SPEC.secret_names:
        project.ensure_secret(name)
    found = yaml.safe_load(stack_yaml(SPEC, project, "me"))

    assert found["networks"]["stores"] == {"name": "fastzero-demo-stores", "driver": "overlay", "internal": True}
    assert found["services"]["etcd-1"]["networks"] == {"stores": {"aliases": ["etcd-1"]}}
    assert found["services"]["database-1"]["networks"] == {"services": {"aliases": ["database-1"]}, "stores": None}
    url = Path(found["secrets"]["app.database_url"]["file"]).read_text()
    assert "host=database-1%2Cdatabase-2%2Cdatabase-3" in url


# -- what is done ----------------------------------------------------------------------------------------------


def up(found: Observed, spec: StackSpec = SPEC, change: RecordChange = UNCHANGED) -> list[str]:
    return texts(plan_up(spec, found, HEAD, change))


def test_all_members_are_created_at_once_and_the_rest_once_they_follow_each_other() -> None:
    record = replace(RECORD, initialised=False)
    planned = up(Observed(network=False, images=frozenset()), spec_of(record), RecordChange(None, record))
    created = [each for each in planned if "secret" not in each]

    assert created == [
        "write record project.json",
        "create network fastzero-demo",
        "create network fastzero-demo-stores",
        *(f"create service fastzero-demo-{name}" for name in MEMBERS),
        "create container fastzero-demo-gateway",
        "start container fastzero-demo-gateway",
        "wait for service database-1",
        "set password database-1",
        "create service fastzero-demo-proxy",
        "write record project.json",
        *(f"wait for service {name}" for name in ("etcd-1", "etcd-2", "etcd-3", "gateway", "proxy")),
        "migrate schema database-1",
        "create service fastzero-demo-app",
        "wait for service app",
    ]


def test_a_stack_that_runs_as_specified_needs_nothing() -> None:
    assert up(observed()) == []


def test_settings_of_postgresql_are_changed_without_an_update() -> None:
    changed = spec_of(postgres_settings={"work_mem": "64MB"})
    [action] = plan_up(changed, observed(), HEAD, UNCHANGED)

    assert str(action) == "set settings database-1"
    assert action.cause == "changed: work_mem"


def test_a_new_database_gets_the_settings_that_its_first_primary_does_not_have() -> None:
    record, new = replace(RECORD, initialised=False), Observed(network=False, images=frozenset())
    change = RecordChange(None, record)

    assert SPEC.shared == dynamic(LOG_WITHOUT_VALUES)
    assert "set settings database-1" not in up(new, spec_of(record), change)
    assert "set settings database-1" in up(new, spec_of(record, postgres_settings={"work_mem": "64MB"}), change)


def rolled(verb: str) -> list[str]:
    """One member after the other, the primary, which is database-2, last."""
    order = ("etcd-1", "etcd-2", "etcd-3", "database-1", "database-3")
    first = [f"{what} {name}" for name in order for what in (f"{verb} service", "wait for service")]
    named = [each.replace(f"{verb} service ", f"{verb} service fastzero-demo-") for each in first]
    last = ["set primary database-2", f"{verb} service fastzero-demo-database-2", "wait for service database-2"]
    return ["wait for service database-1", *named, *last]


def test_a_new_image_replaces_one_member_after_the_other_the_primary_last() -> None:
    assert up(observed(), spec_of(image="fastzero-ha:18-b"))[: len(rolled("update"))] == rolled("update")


def test_without_a_known_primary_every_server_hands_over_before_it_is_replaced() -> None:
    planned = up(observed(cluster=None), spec_of(image="fastzero-ha:18-b"))

    assert [each for each in planned if each.startswith("set primary")] == [f"set primary {name}" for name in SERVERS]


def test_a_restart_rolls_too() -> None:
    planned = texts(plan_restart(SPEC, observed(), MEMBERS, HEAD, UNCHANGED))

    assert planned[: len(rolled("restart"))] == rolled("restart")
    assert [each for each in planned if each.startswith("restart")] == [
        each for each in rolled("restart") if each.startswith("restart")
    ]


def test_the_database_is_all_of_its_servers() -> None:
    assert SPEC.named("database") == SERVERS
    assert SPEC.named("database-2") == ("database-2",)


def test_an_update_of_a_member_is_not_undone_at_once_with_others() -> None:
    assert inverse(Action(Verb.UPDATE, Kind.SERVICE, "x", "", subject=SPEC.service("database-1"))) is None


LOST = State((*HEALTHY.nodes[:2], Node("database-3", STANDBY, NO_ANSWER)))


def test_a_server_that_is_lost_keeps_nothing_from_being_done_but_a_replacement_of_others() -> None:
    found = observed(cluster=LOST).having(seen(SPEC.service("database-3"), ServiceState.UNHEALTHY))

    assert up(found) == []
    assert up(found, spec_of(workers=2)) == ["update service fastzero-demo-app", "wait for service app"]
    with pytest.raises(ConflictError, match="database-3 does not run: servers are replaced only while all of them run"):
        up(found, spec_of(image="fastzero-ha:18-b"))


def test_a_server_gets_another_node_while_its_own_is_away() -> None:
    moved = spec_of(replace(RECORD, members=("n1", "n2", "n4")))
    found = observed(cluster=LOST).having(seen(SPEC.service("database-3"), ServiceState.UNHEALTHY))

    assert up(found, moved)[:4] == [
        "update service fastzero-demo-etcd-3",
        "wait for service etcd-3",
        "update service fastzero-demo-database-3",
        "wait for service database-3",
    ]


def test_a_database_that_accepts_no_writes_is_waited_for() -> None:
    found = observed(cluster=None).having(seen(SPEC.service("database-3"), ServiceState.UNHEALTHY))

    assert up(found) == ["wait for service database-1", "wait for service app"]


def test_the_record_keeps_the_image_that_the_servers_image_is_built_from() -> None:
    record = replace(RECORD, initialised=False, image="")
    actions = plan_up(spec_of(record), Observed(network=False, images=frozenset()), HEAD, RecordChange(None, record))
    written: Callable[[Action], bool] = lambda each: each.kind is Kind.RECORD  # noqa: E731

    assert [each.subject[1].image for each in filter(written, actions)] == ["", "postgres:18"]


def test_down_removes_both_networks() -> None:
    assert texts(plan_down(SPEC, observed()))[-2:] == [
        "remove network fastzero-demo",
        "remove network fastzero-demo-stores",
    ]
