"""The exported manifests: valid by the schemas of Kubernetes, and the same stack as in containers."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from fastzero_core import InvalidInputError, load_settings
from fastzero_core.application.reading import parse
from fastzero_core.project import SECRETS, Project
from fastzero_core.stack.application import with_application
from fastzero_core.stack.built_in import stack_spec
from fastzero_core.stack.docker.kubernetes import kubernetes_yaml, secrets_yaml
from fastzero_core.stack.spec import StackSpec
from fastzero_core.stack.surroundings import Surroundings

DEFINITIONS = os.environ.get("FASTZERO_CNPG_CRD")  # read here: a test has none of these variables
PORTS = {"database": 15432, "app": 18000, "web": 18000, "cache": 16379}
APPLICATION = """
[application]
asgi = "shop.main:app"
health = "/health"
migrate = "alembic upgrade head"
after_migrate = "python -m shop.seed"

[application.environment]
DATABASE_URL = "{url:asyncpg}"
SECRET_KEY = "{secret}"
CACHE = "redis://{service:cache:host}:{service:cache:port}"

[application.processes]
worker = "python -m shop.worker"

[application.database]
extensions = ["citext"]
schemas = ["sales"]

[services.cache]
image = "redis:8"
ports = [6379]
volume = "/data"
health = "redis-cli ping"
"""


def built_in(**changed: Any) -> StackSpec:
    return stack_spec(load_settings(project="demo", **changed), PORTS, app_image="fastzero-app:1", app=True)


def own(folder: Path) -> StackSpec:
    (folder / "requirements.txt").write_text("fastapi\n")
    application = parse(APPLICATION, folder)
    assert application is not None
    spec = stack_spec(load_settings(project="demo"), PORTS, app_image="x", app=False)
    return with_application(spec, application, Surroundings(PORTS, image="shop:1"), ("cache", "web", "worker"))


@pytest.fixture(params=["built-in", "own"])
def spec(request: pytest.FixtureRequest, folder: Path) -> StackSpec:
    return built_in() if request.param == "built-in" else own(folder)


def manifests(text: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(text))


def by_kind(text: str) -> dict[tuple[str, str], dict[str, Any]]:
    return {(each["kind"], each["metadata"]["name"]): each for each in manifests(text)}


def test_every_manifest_is_valid(spec: StackSpec) -> None:
    checked = [each for each in manifests(kubernetes_yaml(spec)) if "cnpg" not in each["apiVersion"]]
    assert {each["kind"] for each in checked} >= {"Deployment", "Service", "Job", "PodDisruptionBudget"}
    for each in checked:
        kubernetes_validate.validate(each, kubernetes_validate.latest_version(), strict=True)


def test_the_secrets_are_valid_and_the_manifests_hold_none(spec: StackSpec, folder: Path) -> None:
    project = Project("demo", folder / "home")
    for name in {*SECRETS, *spec.secret_names}:
        project.ensure_secret(name)
    secrets = manifests(secrets_yaml(spec, project))
    for each in secrets:
        kubernetes_validate.validate(each, kubernetes_validate.latest_version(), strict=True)
    text = kubernetes_yaml(spec)
    assert not [name for name in SECRETS if project.secret(name) in text]
    referred = {
        volume["secret"]["secretName"]
        for each in manifests(text)
        if each["kind"] in ("Deployment", "Job")
        for volume in each["spec"]["template"]["spec"].get("volumes", [])
        if "secret" in volume
    }
    assert referred <= {each["metadata"]["name"] for each in secrets}


@pytest.mark.skipif(not DEFINITIONS, reason="FASTZERO_CNPG_CRD names no file with CloudNativePG's definitions")
def test_the_cluster_is_valid_by_the_definition_of_its_operator(spec: StackSpec) -> None:
    assert DEFINITIONS is not None
    versions = {
        each["spec"]["names"]["kind"]: each["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        for each in yaml.safe_load_all(Path(DEFINITIONS).read_text())
        if each and each["kind"] == "CustomResourceDefinition"
    }
    checked = [each for each in manifests(kubernetes_yaml(spec, backup_to="s3://b/p")) if "cnpg" in each["apiVersion"]]
    for each in checked:
        jsonschema.validate(each, closed(versions[each["kind"]]))


def closed(schema: Any) -> Any:
    """Return a schema that refuses unknown names, as the server does for strict clients. `metadata` has no schema."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(each) for name, each in schema.items()}
    is_open = "additionalProperties" in schema or not isinstance(schema.get("properties"), dict)
    return inner if is_open else {**inner, "additionalProperties": False}


def test_a_write_is_acknowledged_once_a_second_node_has_it() -> None:
    cluster = by_kind(kubernetes_yaml(built_in()))["Cluster", "database-cluster"]["spec"]
    assert cluster["instances"] == 3
    assert cluster["postgresql"]["synchronous"] == {
        "method": "any",
        "number": 1,
        "dataDurability": "required",
        "failoverQuorum": True,
    }
    [service] = cluster["managed"]["services"]["additional"]
    assert (service["selectorType"], service["serviceTemplate"]["metadata"]["name"]) == ("rw", "database")


def test_pods_keep_to_the_restricted_profile(spec: StackSpec) -> None:
    pods = [
        each["spec"]["template"]["spec"]
        for each in manifests(kubernetes_yaml(spec))
        if each["kind"] in ("Deployment", "Job")
    ]
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in (*pod["containers"], *pod.get("initContainers", [])):
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_a_process_whose_database_is_away_lives_and_gets_no_requests() -> None:
    [container] = by_kind(kubernetes_yaml(built_in()))["Deployment", "app"]["spec"]["template"]["spec"]["containers"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_it_migrates_once_before_and_with_the_commands_of_the_application(folder: Path) -> None:
    found = by_kind(kubernetes_yaml(own(folder)))
    [job] = [each for (kind, _), each in found.items() if kind == "Job"]
    pod = job["spec"]["template"]["spec"]
    assert [each["args"] for each in (*pod["initContainers"], *pod["containers"])] == [
        ["alembic", "upgrade", "head"],
        ["python", "-m", "shop.seed"],
    ]
    cluster = found["Cluster", "database-cluster"]["spec"]
    assert cluster["bootstrap"]["initdb"]["postInitApplicationSQL"] == [
        'CREATE EXTENSION IF NOT EXISTS "citext"',
        'CREATE SCHEMA IF NOT EXISTS "sales" AUTHORIZATION "fastzero"',
    ]


def test_another_image_migrates_by_another_job() -> None:
    spec = built_in()
    other = stack_spec(load_settings(project="demo"), PORTS, app_image="fastzero-app:2", app=True)
    names = [{name for kind, name in by_kind(kubernetes_yaml(each)) if kind == "Job"} for each in (spec, other)]
    assert not names[0] & names[1]


def test_only_built_images_come_from_the_registry(folder: Path) -> None:
    found = by_kind(kubernetes_yaml(own(folder), registry="r.example.com/team/"))
    images = {
        name: found["Deployment", name]["spec"]["template"]["spec"]["containers"][0]["image"]
        for name in ("cache", "web", "worker")
    }
    assert images == {"cache": "redis:8", "web": "r.example.com/team/shop:1", "worker": "r.example.com/team/shop:1"}


def test_backups_are_made_where_an_address_is_given() -> None:
    assert not [kind for kind, _ in by_kind(kubernetes_yaml(built_in())) if kind == "ScheduledBackup"]
    found = by_kind(kubernetes_yaml(built_in(), backup_to="s3://bucket/demo"))
    assert ("ScheduledBackup", "database-daily") in found
    backup = found["Cluster", "database-cluster"]["spec"]["backup"]
    assert backup["barmanObjectStore"]["destinationPath"] == "s3://bucket/demo"
    assert json.dumps(backup).count("database-backup") == 2


@pytest.mark.parametrize(
    "given",
    [
        {"backup_to": "file:///backups"},
        {"backup_to": "s3://"},
        {"registry": "https://registry.example.com"},
        {"registry": "my registry"},
    ],
)
def test_what_is_no_registry_or_bucket_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(InvalidInputError, match="must look like"):
        kubernetes_yaml(built_in(), **given)


def test_kubernetes_expands_no_text_of_the_application(folder: Path) -> None:
    spec = own(folder)
    web = replace(spec.service("web"), variables={"PRICE": "$(cost) and $$(x) but $y"})
    services = [web if each.name == "web" else each for each in spec.services]
    found = by_kind(kubernetes_yaml(replace(spec, services=tuple(services))))
    [container] = found["Deployment", "web"]["spec"]["template"]["spec"]["containers"]
    assert {"name": "PRICE", "value": "$$(cost) and $$$$(x) but $y"} in container["env"]
