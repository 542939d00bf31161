"""A stack in a swarm: what is decided, planned and sent to the engine. Pure; `tests/swarm` runs it on three nodes."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from fastzero_core import InvalidInputError, load_settings
from fastzero_core.application.description import ExtraService
from fastzero_core.application.reading import parse
from fastzero_core.project import SECRETS, Project, ProjectRecord
from fastzero_core.record import parse_record
from fastzero_core.stack import edge
from fastzero_core.stack.actions import Action, Kind, Verb, inverse
from fastzero_core.stack.built_in import stack_spec
from fastzero_core.stack.deployment import deployed, trusting_proxy
from fastzero_core.stack.names import of_same_processes, one_service_each
from fastzero_core.stack.observed import DataState, Observed, ObservedService, ServiceState, Thing
from fastzero_core.stack.plan import (
    RecordChange,
    plan_down,
    plan_restart,
    plan_up,
)
from fastzero_core.stack.pulling import plan_images
from fastzero_core.stack.rotation import plan_forget, plan_secret, plan_stand_ins
from fastzero_core.stack.spec import ServiceSpec, StackSpec, secret_mark
from fastzero_core.stack.swarm.export import stack_yaml
from fastzero_core.stack.swarm.progress import Progress, uneven
from fastzero_core.stack.swarm.services import Mounted, job_document, mounted, service_document
from fastzero_core.stack.tasks import plan_rebalance, plan_scale

PORTS = {"database": 15432, "app": 18000}
RECORD = ProjectRecord("swarm", PORTS, initialised=True, image="postgres:18", volume="data", owner="me", node="n1")
UNCHANGED = RecordChange(RECORD, RECORD)


def spec_of(record: ProjectRecord = RECORD, **changed: Any) -> StackSpec:
    settings = load_settings(project="demo", **changed)
    spec = deployed(stack_spec(settings, PORTS, app_image="fastzero-app:1", app=True), settings, record)
    return replace(
        spec,
        services=tuple(
            replace(each, document=service_document("demo", each)) if each.deploy else each for each in spec.services
        ),
    )


SPEC = spec_of()
HEAD = SPEC.release.head if SPEC.release else ""


def seen(service: ServiceSpec, state: ServiceState = ServiceState.RUNNING, **facts: Any) -> ObservedService:
    thing = f"fastzero-demo-{service.name}"
    return ObservedService(service.name, state, "", service.settings(), service.config_hash, thing=thing, **facts)


def observed(spec: StackSpec = SPEC, *others: ObservedService, **facts: Any) -> Observed:
    services = {each.name: seen(each) for each in spec.services} | {each.name: each for each in others}
    there: dict[str, Any] = {"data": DataState.THERE, "images": frozenset(), "network": True, **facts}
    return Observed(services, HEAD, **there)


def up(found: Observed, spec: StackSpec = SPEC, change: RecordChange = UNCHANGED) -> list[Action]:
    return plan_up(spec, found, HEAD, change)


def texts(actions: list[Action]) -> list[str]:
    return [str(action) for action in actions]


# -- what runs, and where --------------------------------------------------------------------------------------


def test_the_stack_has_a_gateway_and_a_proxy_and_the_database_stays_on_its_node() -> None:
    assert SPEC.names == ("database", "gateway", "app", "proxy")
    database, app, proxy = (SPEC.service(name).deploy for name in ("database", "app", "proxy"))
    assert database
    assert app
    assert proxy
    assert (database.node, database.start_first) == ("n1", False)
    assert (app.node, app.start_first, app.replicas) == ("", True, 2)
    assert (proxy.replicas, proxy.start_first, proxy.ports) == (0, False, {18000: 18000})
    assert SPEC.service("gateway").deploy is None


def test_the_numbers_of_scale_count_more_than_the_setting() -> None:
    app = spec_of(replace(RECORD, replicas={"app": 7}), replicas=3).service("app").deploy
    assert app
    assert app.replicas == 7


def test_a_service_of_the_user_cannot_have_the_name_of_the_proxy() -> None:
    settings = load_settings(project="demo")
    spec = stack_spec(settings, PORTS, app_image="a:1")
    named = replace(spec, services=(*spec.services, ServiceSpec("proxy", 0, image="x")))
    with pytest.raises(InvalidInputError, match="proxy"):
        deployed(named, settings, RECORD)


def test_a_built_image_is_in_the_registry() -> None:
    assert spec_of(registry="registry.example.com/team").service("app").image == (
        "registry.example.com/team/fastzero-app:1"
    )


def test_one_service_runs_all_replicas_and_elsewhere_one_that_listens_runs_once(tmp_path: Path) -> None:
    text = "[application.processes]\nweb = {command = 'x', port = 1, replicas = 3}\nw = {command = 'y', replicas = 2}"
    application = parse(text, tmp_path)
    assert application
    assert [(each.name, each.replicas) for each in application.processes] == [("web", 1), ("w", 2)]
    in_swarm = one_service_each(application)
    assert [(each.name, each.replicas, each.tasks) for each in in_swarm.processes] == [("web", 1, 3), ("w", 1, 2)]
    assert one_service_each(in_swarm) == in_swarm


def test_the_same_processes_run_in_another_runtime_whatever_their_numbers_are_now(tmp_path: Path) -> None:
    text = "[application.processes]\nweb = {command = 'x', port = 1}\nw = {command = 'y', replicas = 2}"
    application = parse(text, tmp_path)
    assert application
    in_swarm = one_service_each(application)
    assert of_same_processes(("redis", "web", "w-1", "w-2"), in_swarm) == ("redis", "web", "w")
    assert of_same_processes(("redis", "web", "w"), application) == ("redis", "web", "w-1", "w-2")
    assert of_same_processes(("web", "w-1", "w-2", "w-3"), application) == ("web", "w-1", "w-2")
    assert of_same_processes(("redis",), application) == ("redis",)
    assert of_same_processes(("mq-1", "mq-2", "web"), application) == ("mq-1", "mq-2", "web")
    with_extra = replace(application, services=(ExtraService("w-1", "image"),))
    assert of_same_processes(("w-1", "web"), with_extra) == ("w-1", "web")


def test_processes_trust_the_proxy_alone_to_name_their_clients() -> None:
    app = trusting_proxy(SPEC, ["10.0.0.0/8"]).service("app")
    assert app.variables["FASTZERO_FORWARDED_ALLOW_IPS"] == "10.0.0.0/8"
    own = replace(SPEC.service("app"), interpreter=(), command=("uvicorn", "app:app"))
    other = replace(own, name="other", command=("gunicorn", "app:app"))
    spec = trusting_proxy(replace(SPEC, services=(SPEC.database, own, other)), ["10.0.0.0/8"])
    assert spec.service("app").variables["FORWARDED_ALLOW_IPS"] == "10.0.0.0/8"
    assert "FORWARDED_ALLOW_IPS" not in spec.service("other").variables


def test_with_a_domain_the_proxy_serves_it_with_tls_and_keeps_its_certificates() -> None:
    spec = spec_of(domain="shop.example.com")
    proxy = spec.service("proxy")
    assert spec.service("app").url == "https://shop.example.com"
    assert SPEC.service("app").url == "http://127.0.0.1:18000"
    assert proxy.deploy
    assert proxy.deploy.ports == {80: 80, 443: 443}
    assert "shop.example.com {" in proxy.deploy.files[edge.CADDYFILE]
    assert "auto_https off" not in proxy.deploy.files[edge.CADDYFILE]
    assert "acme_ca" not in proxy.deploy.files[edge.CADDYFILE]
    staging = "https://acme.example/directory"
    other = spec_of(domain="shop.example.com", acme_directory=staging).service("proxy")
    assert other.deploy
    assert f"\tacme_ca {staging}" in other.deploy.files[edge.CADDYFILE].splitlines()
    assert (proxy.volume, proxy.mount) == ("fastzero-demo-proxy", "/data")


def test_a_domain_that_no_process_answers_for_is_refused() -> None:
    settings = load_settings(project="demo", domain="shop.example.com")
    built_in = stack_spec(settings, PORTS, app_image="fastzero-app:1", app=True)
    worker = replace(built_in, services=(built_in.database, replace(built_in.service("app"), name="worker")))
    with pytest.raises(InvalidInputError, match="no process of the application is called app"):
        deployed(worker, settings, RECORD)
    without = replace(built_in, services=(built_in.database,))
    assert "proxy" not in deployed(without, settings, RECORD).names


def test_a_record_of_a_swarm_is_of_a_format_that_older_versions_refuse() -> None:
    text = replace(RECORD, replicas={"app": 3}).as_text()
    assert '"format": 5' in text
    assert parse_record(text, Path("project.json")) == replace(RECORD, replicas={"app": 3})
    assert '"node"' not in ProjectRecord("docker", PORTS).as_text()


# -- what the engine gets --------------------------------------------------------------------------------------


def template(name: str, spec: StackSpec = SPEC) -> dict[str, Any]:
    found: dict[str, Any] = service_document("demo", spec.service(name))["TaskTemplate"]
    return found


def test_a_service_is_updated_with_the_way_back_and_without_a_virtual_address() -> None:
    document = service_document("demo", SPEC.service("app"))
    assert document["UpdateConfig"]["FailureAction"] == "rollback"
    assert document["UpdateConfig"]["Order"] == "start-first"
    assert document["EndpointSpec"] == {"Mode": "dnsrr", "Ports": []}
    assert document["Mode"] == {"Replicated": {"Replicas": 2}}


def test_tasks_are_spread_confined_and_limited() -> None:
    app = template("app")
    assert app["Placement"]["Preferences"] == [{"Spread": {"SpreadDescriptor": "node.labels.zone"}}]
    assert app["ContainerSpec"]["CapabilityDrop"] == ["ALL"]
    assert app["ContainerSpec"]["ReadOnly"]
    assert app["Resources"]["Limits"]["MemoryBytes"] > 0
    assert template("database")["Placement"]["Constraints"] == ["node.id==n1"]


def test_readiness_lets_a_task_in_and_liveness_alone_keeps_it() -> None:
    [*_, ready, alive, below] = template("app")["ContainerSpec"]["Healthcheck"]["Test"]
    assert (ready, alive, below) == ("/readyz", "/healthz", "400")


def test_a_recovering_database_lives_and_two_servers_never_have_the_same_data() -> None:
    container = template("database")["ContainerSpec"]
    assert "-lt 2" in container["Healthcheck"]["Test"][3]
    assert "flock 9" in container["Command"][2]


def test_secrets_are_readable_by_the_account_of_the_process_alone() -> None:
    files = {each["File"]["Name"]: each["File"] for each in template("app")["ContainerSpec"]["Secrets"]}
    assert files["/run/secrets/secret_key"] == {
        "Name": "/run/secrets/secret_key",
        "UID": "10001",
        "GID": "10001",
        "Mode": 0o400,
    }


def test_a_template_in_a_variable_stays_as_it_is() -> None:
    app = replace(SPEC.service("app"), variables={"A": "{{.Node.ID}}"})
    [variable] = service_document("demo", app)["TaskTemplate"]["ContainerSpec"]["Env"]
    assert variable == 'A={{"{{"}}.Node.ID}}'


def test_a_job_runs_once_and_is_not_checked() -> None:
    job = job_document("demo", replace(SPEC.service("app"), name="release"))
    assert job["Mode"] == {"Replicated": {"Replicas": 1}}
    assert job["TaskTemplate"]["RestartPolicy"] == {"Condition": "none"}
    assert job["TaskTemplate"]["ContainerSpec"]["Healthcheck"] == {"Test": ["NONE"]}


def test_the_name_of_a_secret_follows_its_content_and_fits() -> None:
    file = Mounted(Kind.MOUNTED_SECRET, "key", "/run/secrets/key", f"fastzero-{'p' * 40}-worker-key", "worker")
    one, other = file.full_name("me", "1"), file.full_name("me", "2")
    assert one != other
    assert one == file.full_name("me", "1")
    assert len(one) <= 64
    assert file.full_name("you", "1") != one


def test_the_proxy_asks_for_ready_tasks_and_repeats_only_what_changes_nothing() -> None:
    proxy = SPEC.service("proxy").deploy
    assert proxy
    text = proxy.files[edge.CADDYFILE]
    assert ":18000 {" in text
    assert "dynamic a {\n\t\t\tname app\n\t\t\tport 8000" in text
    assert "method GET HEAD OPTIONS" in text


def test_the_gateway_is_on_loopback_alone() -> None:
    gateway = SPEC.service("gateway")
    assert (gateway.host, gateway.port, gateway.command[-1]) == ("127.0.0.1", 15432, "15432=database:5432")


# -- what is done ----------------------------------------------------------------------------------------------


def test_a_stack_that_runs_as_specified_needs_nothing() -> None:
    assert up(observed()) == []


def test_a_changed_setting_updates_its_service_alone_with_what_it_lacks() -> None:
    changed = spec_of(workers=2)
    lacking = (Thing(Kind.CONFIG, "fastzero-demo-app-x", service="app"), Thing(Kind.CONFIG, "y", service="proxy"))
    stale = (Thing(Kind.CONFIG, "fastzero-demo-app-x.1", service="app"),)
    plan = up(observed(lacking=lacking, stale=stale), changed)
    assert texts(plan) == [
        "create config fastzero-demo-app-x",
        "update service fastzero-demo-app",
        "wait for service app",
        "remove config fastzero-demo-app-x.1",
    ]
    assert "2" in plan[1].cause


def test_a_swarm_replaces_tasks_itself_so_up_only_waits() -> None:
    assert texts(up(observed(SPEC, seen(SPEC.service("app"), ServiceState.UNHEALTHY)))) == ["wait for service app"]


def test_an_update_can_be_undone_and_a_removal_cannot() -> None:
    update = Action(Verb.UPDATE, Kind.SERVICE, "x", "")
    undone = inverse(update)
    assert undone
    assert undone.verb is Verb.REVERT
    assert inverse(Action(Verb.REMOVE, Kind.SERVICE, "x", "")) is None
    assert inverse(Action(Verb.CREATE, Kind.MOUNTED_SECRET, "x", "")) is None


def test_images_are_pinned_built_and_pushed() -> None:
    spec = spec_of(registry="registry.example.com")
    found = replace(observed(spec), images=frozenset({"python:3.13-slim"}))
    assert texts(plan_images(spec, found)) == [
        "pin image postgres:18",
        "build image registry.example.com/fastzero-app:1",
        "push image registry.example.com/fastzero-app:1",
        "pin image caddy:2",
    ]


def test_a_restart_replaces_the_tasks_and_changes_nothing_else() -> None:
    plan = plan_restart(SPEC, observed(), ["app"], HEAD, UNCHANGED)
    assert texts(plan) == ["restart service fastzero-demo-app", "wait for service app"]


def test_scaling_changes_the_number_alone() -> None:
    after = replace(RECORD, replicas={"app": 5})
    plan = plan_scale(spec_of(after), observed(), RecordChange(RECORD, after), ["app"])
    assert texts(plan) == [
        "write record project.json",
        "set replicas fastzero-demo-app to 5",
        "wait for service app",
    ]


def test_only_uneven_services_are_spread_again() -> None:
    assert plan_rebalance(SPEC, observed()) == []
    plan = plan_rebalance(SPEC, observed(SPEC, seen(SPEC.service("app"), uneven="node1 runs 3")))
    assert [(str(each), each.cause) for each in plan[:1]] == [("restart service fastzero-demo-app", "node1 runs 3")]


def test_a_rotated_secret_is_mounted_by_new_tasks_but_not_by_the_database() -> None:
    plan = plan_secret(SPEC, observed(), "secret_key", "a", "b", "it is rotated")
    assert texts(plan) == [
        "set secret secret_key",
        "create swarm secret fastzero-demo-app-secret_key",
        "fill secrets fastzero-demo-app",
        "wait for service app",
    ]
    assert texts(plan_secret(SPEC, observed(), "database_password", "a", "b", "")) == ["set secret database_password"]


def test_tasks_of_a_user_s_application_log_in_as_stand_ins_while_a_password_is_changed() -> None:
    url = {"DATABASE_URL": f"postgresql://fastzero_stand_in:{secret_mark('stand_in_password')}@database/fastzero"}
    app = replace(SPEC.service("app"), secret_variables=url, secrets=(), roles=("fastzero",))
    standing_in = replace(SPEC, services=tuple(app if each.name == "app" else each for each in SPEC.services))
    lacking = (Thing(Kind.MOUNTED_SECRET, "fastzero-demo-app-DATABASE_URL", service="app"),)
    assert texts(plan_stand_ins(standing_in, replace(observed(), lacking=lacking))) == [
        "create secret stand_in_password",
        "create role fastzero_stand_in",
        "create swarm secret fastzero-demo-app-DATABASE_URL",
        "update service fastzero-demo-app",
        "wait for service app",
    ]
    assert plan_stand_ins(SPEC, observed()) == []
    assert texts(plan_forget(SPEC.database, ["stand_in_password"])) == [
        "remove role fastzero_stand_in",
        "remove secret stand_in_password",
    ]


def test_down_removes_services_then_what_they_mount_then_the_network() -> None:
    mounts = (Thing(Kind.MOUNTED_SECRET, "fastzero-demo-app-secret_key.1", service="app"),)
    assert texts(plan_down(SPEC, observed(mounts=mounts))) == [
        "remove service fastzero-demo-proxy",
        "remove service fastzero-demo-app",
        "stop container fastzero-demo-gateway",
        "remove container fastzero-demo-gateway",
        "remove service fastzero-demo-database",
        "remove swarm secret fastzero-demo-app-secret_key.1",
        "remove network fastzero-demo",
    ]


# -- how far it is ---------------------------------------------------------------------------------------------

NODES = {
    name: {
        "ID": name,
        "Description": {"Hostname": name},
        "Status": {"State": "ready"},
        "Spec": {"Availability": "active"},
    }
    for name in ("n1", "n2", "n3")
}


def task(node: str, state: str = "running", *, desired: str = "running", version: str = "2") -> dict[str, Any]:
    status = {"State": state, "Timestamp": "2026-01-01T00:00:00Z", "Err": "it broke" if state == "failed" else ""}
    labels = {"ContainerSpec": {"Labels": {"fastzero.task": version}}}
    return {"ID": node, "Slot": 1, "NodeID": node, "Status": status, "DesiredState": desired, "Spec": labels}


def progress(*tasks: Mapping[str, Any], replicas: int = 2, update: str = "") -> Progress:
    template = {"ContainerSpec": {"Labels": {"fastzero.task": "2"}}}
    mode = {"Replicated": {"Replicas": replicas}} if replicas else {"Global": {}}
    labels = {"fastzero.service": "app", "fastzero.config-hash": "now"}
    spec = {"Name": "fastzero-demo-app", "Labels": labels, "Mode": mode, "TaskTemplate": template}
    return Progress({"Spec": spec, "UpdateStatus": {"State": update} if update else None}, tasks, NODES)


def test_it_is_complete_once_all_tasks_are_of_the_new_version_and_the_swarm_says_so() -> None:
    assert progress(task("n1"), task("n2")).is_complete
    assert not progress(task("n1"), task("n2"), update="updating").is_complete
    assert not progress(task("n1"), task("n2", version="1")).is_complete
    assert progress(task("n1"), task("n2"), task("n3"), replicas=0).is_complete


def test_what_is_missing_is_told_in_the_engines_words() -> None:
    found = progress(task("n1"), task("n2", "failed", desired="shutdown"))
    assert found.detail == "1 of 2 tasks ready: it broke"


def test_a_task_on_a_lost_node_does_not_count() -> None:
    lost = {**NODES, "n2": {**NODES["n2"], "Status": {"State": "down"}}}
    found = replace(progress(task("n1"), task("n2")), nodes=lost)
    assert len(found.ready) == 1
    assert [each.state for each in found.states()] == ["running", "lost"]


def test_a_version_that_was_undone_has_failed_unless_it_is_the_one_that_runs() -> None:
    found = progress(task("n1"), task("n2"), update="rollback_completed")
    assert found.has_failed("wanted")
    assert not found.has_failed("now")


def test_a_service_that_never_ran_is_given_up_after_three_failures() -> None:
    failed = task("n1", "failed", desired="shutdown")
    assert not progress(failed, failed).has_failed("now")
    assert progress(failed, failed, failed).has_failed("now")


def test_tasks_are_uneven_if_one_node_has_two_more_than_another() -> None:
    assert uneven(progress(task("n1"), task("n2"), task("n2"), replicas=3)) == "n1 runs 1, n2 runs 2, n3 runs 0"
    assert uneven(progress(task("n1"), task("n2"), task("n3"), replicas=3)) == ""


# -- the export ------------------------------------------------------------------------------------------------


def test_a_stack_file_has_the_services_and_names_its_secrets_by_their_content(folder: Path) -> None:
    project = Project("demo", folder)
    for name in SECRETS:
        project.ensure_secret(name)
    found = yaml.safe_load(stack_yaml(SPEC, project, "me"))
    assert list(found["services"]) == ["database", "app", "proxy"]
    app = found["services"]["app"]
    assert app["deploy"]["update_config"]["order"] == "start-first"
    assert app["command"][-1] == "--migrate"
    files = {each.name for each in mounted("demo", SPEC.service("app"))}
    named = {each["name"].partition(".")[0] for each in found["secrets"].values()}
    assert files <= named
    secret = Path(found["secrets"]["app.secret_key"]["file"]).read_text()
    assert secret == project.secret("secret_key")
