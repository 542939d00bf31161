"""Perform operations on a project's things in a swarm, one call each. Other projects' things are never changed."""

import copy
import hashlib
import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, TypeVar

import docker
import docker.errors

from ...errors import UnavailableError, UnhealthyError
from ...events import Listener, Notice
from ...polling import poll, wait_until
from ...project import Project
from ..actions import Action, Kind, Verb
from ..deployed import Deployment
from ..docker import containers
from ..docker.engine import GONE
from ..docker.logs import in_order
from ..lines import LogLine
from ..plan import taken_error
from ..runtime import RELEASE, there_stays
from ..spec import ServiceSpec, data_mount
from ..steps import container_name
from . import images, logs, observe
from .engine import api_of
from .progress import ENDED, FAILED, node_name
from .services import JOB, TASK, contents, job_document, mounted, service_document

EVERY = 0.25  # seconds between two questions
END = 30  # seconds for the tasks of a removed service, in addition to the time that it may take to stop
SERVICE_ID = "com.docker.swarm.service.id"
TAIL = 1000  # lines of a job's output
OVER = (*FAILED, "complete")  # states of a task that has ended
NAMES = {RELEASE: "the job for the migration"}  # for messages
EMPTY_FILE = b"\n"  # a swarm has no secret without content
# The image's own folders stay: a server's user may not remove all of them.
EMPTY = (
    'find "$1" -mindepth 1 -delete 2>/dev/null;'
    ' left=$(find "$1" ! -type d) && [ -z "$left" ] || { echo "$left"; exit 1; }'
)

Document = dict[str, Any]
Said = TypeVar("Said")


class Operations:
    """The operations on one project's things in a swarm, which are labelled with `owner`.

    `digests` are those of the images pinned in this command, and are added to.
    """

    def __init__(
        self, client: docker.DockerClient, project: Project, owner: str, digests: dict[str, str], timeout: float
    ) -> None:
        self._client = client
        self._api = api_of(client)
        self._project = project
        self._owner = owner
        self._digests = digests
        self._timeout = timeout
        self._given: dict[str, dict[str, str]] = {}  # what the files of a job have in them, by its name

    def perform(self, action: Action, on_event: Listener) -> None:
        """Perform one action."""
        match action.verb, action.kind:
            case Verb.PIN, _:
                self._pin(action.subject)
            case Verb.PUSH, _:
                images.push(self._client, action.name, on_event)
                self._pin(action.subject)
            case Verb.CREATE, Kind.MOUNTED_SECRET | Kind.CONFIG:
                self._create_file(action.name, action.subject)
            case Verb.REMOVE, Kind.MOUNTED_SECRET | Kind.CONFIG:
                self._remove_file(action.kind, action.name)
            case Verb.CREATE, Kind.SERVICE:
                self._create(action.subject)
            case Verb.UPDATE | Verb.START, Kind.SERVICE:
                self._update(action.subject)
            case Verb.FILL, Kind.SECRETS:
                self._fill(action.subject)
            case Verb.SET, Kind.REPLICAS:
                self._scale(action.subject)
            case Verb.RESTART, Kind.SERVICE:
                self._restart(action.subject)
            case Verb.STOP, Kind.SERVICE:
                self._stop(action.subject)
            case Verb.REVERT, Kind.SERVICE:
                self._revert(action.name)
            case Verb.REMOVE, Kind.SERVICE:
                self._remove(action.name, action.subject)
            case Verb.REMOVE, Kind.CONTENT:
                self._empty(action.subject, on_event)

    # -- images ------------------------------------------------------------------------------------------------

    def _nodes(self) -> int:
        return len(self._api.nodes())

    def refuse_unreachable(self, service: ServiceSpec) -> None:
        """Raise InvalidInputError for an image that is built here, and that no other node could get."""
        images.refuse_unreachable(service, self._nodes())

    def _pin(self, service: ServiceSpec) -> None:
        found = images.pinned(self._client, service.image, service.described_at, nodes=self._nodes())
        self._digests[service.image] = found

    def _image(self, service: ServiceSpec, current: Mapping[str, Any] | None = None) -> str:
        """Return the name of a service's image with its digest: the pinned one, else the one that runs already."""
        running = observe.image_of(current) if current else ""
        if service.image not in self._digests and running.partition("@")[0] == service.image:
            return running
        if service.image not in self._digests:
            self._pin(service)
        found = self._digests[service.image]
        return f"{service.image.partition('@')[0]}@{found}" if found else service.image

    # -- secrets and configs -----------------------------------------------------------------------------------

    def _create_file(self, name: str, service: ServiceSpec) -> None:
        """Create the secret or config with this name and the content that the service should get."""
        file = next(each for each in mounted(self._project.name, service) if each.name == name)
        text = self._contents(service)[file.path]
        labels = observe.file_labels(containers.owned(self._project.name, self._owner), file)
        api, full_name = self._api, file.full_name(self._owner, text)
        is_secret = file.kind is Kind.MOUNTED_SECRET
        listed = (api.secrets if is_secret else api.configs)(filters={"name": full_name})
        if full_name not in {each["Spec"]["Name"] for each in listed}:  # a killed command may have left it
            content = text.encode() or EMPTY_FILE
            (api.create_secret if is_secret else api.create_config)(full_name, content, labels=labels)

    def _contents(self, service: ServiceSpec) -> dict[str, str]:
        """Return the content of each file that a service mounts, by its path inside."""
        return self._given[service.name] if service.name in self._given else contents(self._project, service)

    def _remove_file(self, kind: Kind, name: str) -> None:
        api = self._api
        listed = api.secrets if kind is Kind.MOUNTED_SECRET else api.configs
        ours = [each for each in listed(filters={"name": name}) if each["Spec"]["Name"] == name]
        for each in ours:
            if each["Spec"]["Labels"].get(containers.PROJECT) == self._project.name:
                (api.remove_secret if kind is Kind.MOUNTED_SECRET else api.remove_config)(each["ID"])

    def _with_ids(self, document: Document, service: ServiceSpec) -> None:
        """Give the document's references the full names and ids of secrets and configs."""
        api, texts = self._api, self._contents(service)
        ours = {"label": f"{containers.PROJECT}={self._project.name}"}
        ids = {each["Spec"]["Name"]: each["ID"] for each in [*api.secrets(filters=ours), *api.configs(filters=ours)]}
        names = {
            each.path: each.full_name(self._owner, texts[each.path]) for each in mounted(self._project.name, service)
        }
        container = document["TaskTemplate"]["ContainerSpec"]
        for part, kind in (("Secrets", "Secret"), ("Configs", "Config")):
            for each in container.get(part, []):
                name = names[each["File"]["Name"]]
                each |= {f"{kind}Name": name, f"{kind}ID": ids[name]}

    # -- services ----------------------------------------------------------------------------------------------

    def _document(self, service: ServiceSpec, current: Mapping[str, Any] | None = None) -> Document:
        """Return the whole specification of a service for the engine."""
        document = copy.deepcopy(service_document(self._project.name, service))
        return self._completed(document, service, current)

    def _with_hash(self, template: Document) -> None:
        """Give tasks a label with a hash of their specification."""
        container = template["ContainerSpec"]
        container["Labels"] = {}
        made_of = json.dumps(template, sort_keys=True)
        container["Labels"] = {TASK: hashlib.sha256(made_of.encode()).hexdigest()[:16]}

    def _completed(
        self, document: Document, service: ServiceSpec, current: Mapping[str, Any] | None = None
    ) -> Document:
        template = document["TaskTemplate"]
        container = template["ContainerSpec"]
        container["Image"] = self._image(service, current)
        self._with_ids(document, service)
        self._with_hash(template)
        template["ForceUpdate"] = current["TaskTemplate"].get("ForceUpdate", 0) if current else 0
        document["Labels"] = containers.labels(self._project.name, self._owner, service)
        return document

    def _create(self, service: ServiceSpec) -> None:
        self._create_from(self._document(service))

    def _create_from(self, document: Document) -> str:
        made = self._api.create_service(
            document["TaskTemplate"],
            name=document["Name"],
            labels=document["Labels"],
            mode=document["Mode"],
            update_config=document.get("UpdateConfig"),
            rollback_config=document.get("RollbackConfig"),
            endpoint_spec=document.get("EndpointSpec"),
        )
        return str(made["ID"])

    def _update(self, service: ServiceSpec) -> None:
        found = self._own(container_name(self._project.name, service.name))
        self._change(found, self._document(service, found["Spec"]))

    def _fill(self, service: ServiceSpec) -> None:
        """Let the tasks mount the current secrets. All else about them stays as it is."""
        found = self._own(container_name(self._project.name, service.name))
        document = copy.deepcopy(found["Spec"])
        self._with_ids(document, service)
        self._with_hash(document["TaskTemplate"])
        self._change(found, document)

    def _scale(self, service: ServiceSpec) -> None:
        """Change the number of tasks. A service that was as specified before is so afterwards."""
        found = self._own(container_name(self._project.name, service.name))
        document = copy.deepcopy(found["Spec"])
        before, document["Mode"] = document["Mode"], service.document["Mode"]
        as_before = replace(service, document={**service.document, "Mode": before})
        if document["Labels"].get(containers.HASH) == as_before.config_hash:
            document["Labels"] = containers.labels(self._project.name, self._owner, service)
        self._change(found, document)

    def _restart(self, service: ServiceSpec) -> None:
        """Replace each task of a service by one of the same specification."""
        found = self._own(container_name(self._project.name, service.name))
        template = found["Spec"]["TaskTemplate"]
        forced = {**template, "ForceUpdate": template.get("ForceUpdate", 0) + 1}
        self._change(found, {**found["Spec"], "TaskTemplate": forced})

    def _change(self, found: Mapping[str, Any], document: Mapping[str, Any]) -> None:
        """Update a service to a whole specification: what is left out would be lost."""
        self._api.update_service(
            found["ID"],
            found["Version"]["Index"],
            task_template=document["TaskTemplate"],
            name=document["Name"],
            labels=document["Labels"],
            mode=document["Mode"],
            update_config=document.get("UpdateConfig"),
            rollback_config=document.get("RollbackConfig"),
            endpoint_spec=document.get("EndpointSpec"),
        )

    def _stop(self, service: ServiceSpec) -> None:
        """Run no task of a service, and wait until those that ran have ended."""
        with suppress(GONE):
            found = self._own(container_name(self._project.name, service.name))
            self._change(found, {**found["Spec"], "Mode": {"Replicated": {"Replicas": 0}}})
            self._wait_for_end(found["ID"], service)

    def _revert(self, name: str) -> None:
        """Go back to the specification before the last update, unless the swarm has done so."""
        found = self._own(name)
        if found.get("PreviousSpec") and (found.get("UpdateStatus") or {}).get("State") != "rollback_completed":
            self._change(found, found["PreviousSpec"])

    def _remove(self, name: str, service: ServiceSpec | None) -> None:
        """Remove a service, and wait until its tasks have ended on all nodes that answer."""
        with suppress(GONE):
            found = self._own(name)
            self._api.remove_service(found["ID"])
            self._wait_for_end(found["ID"], service, is_removed=True)

    def _wait_for_end(self, service_id: str, service: ServiceSpec | None, *, is_removed: bool = False) -> None:
        def is_ended() -> bool:
            lost = {each["ID"] for each in self._api.nodes() if each["Status"]["State"] != "ready"}
            ours = self._api.tasks(filters={"label": f"{containers.PROJECT}={self._project.name}"})
            if is_removed and self._client.api.containers(all=True, filters={"label": f"{SERVICE_ID}={service_id}"}):
                return False  # their volumes are in use
            return not any(
                each["ServiceID"] == service_id
                and each.get("NodeID", "") not in lost
                and (each["DesiredState"] == "remove" or each["Status"]["State"] not in ENDED)
                for each in ours
            )

        patience = END + (service.stop_timeout if service else 0)
        if not wait_until(is_ended, patience, every=EVERY):
            name = service.name if service else service_id
            raise UnavailableError(f"tasks of {name} have not ended after {patience:g} s", hint="Try again")

    def _own(self, name: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._api.inspect_service(name)
        if found["Spec"]["Labels"].get(containers.PROJECT) != self._project.name:
            raise taken_error("service", name)
        return found

    # -- jobs --------------------------------------------------------------------------------------------------

    def run_once(self, service: ServiceSpec, command: Sequence[str]) -> tuple[int, str]:
        """Run a command as a job in the swarm, which is removed afterwards. Returns its exit code and its output."""
        once = replace(service, name=RELEASE, command=tuple(command), deploy=None)
        return self._run_as_job(once, lambda job: logs.text_of(self._api, job, TAIL))

    def run_alone(self, service: ServiceSpec, given: Mapping[str, str], write: Callable[[bytes], object]) -> str:
        """Run a service as a job with these secrets, and pass its output to `write` at the end. Returns its stderr.

        Several can run at a time. One that a killed command left is removed by the next `up`, once it has ended.
        """
        once = replace(service, name=f"{JOB}{secrets.token_hex(3)}", secrets=tuple(given))
        self._given[once.name] = {f"{containers.SECRETS}/{name}": text for name, text in given.items()}
        _, said = self._run_as_job(once, self._lines)
        write("".join(f"{line.text}\n" for line in said if line.stream == "stdout").encode())
        return "\n".join(line.text for line in said if line.stream == "stderr")

    def _lines(self, job: str) -> list[LogLine]:
        return in_order(logs.lines_of(self._api, job, {}, None, None, ""))

    def _empty(self, service: ServiceSpec, on_event: Listener) -> None:
        """Delete what is in the volume of a member, on its node. Raises UnavailableError."""
        assert service.deploy is not None, "a member runs in a swarm"
        folder = data_mount(service.major) if service.is_database else service.mount
        alone = Deployment(node=service.deploy.node, networks=())
        command = ("bash", "-c", EMPTY, "bash", folder)
        once = replace(service, name=RELEASE, command=command, secrets=(), variables={}, deploy=alone)
        code, said = self._run_as_job(once, lambda job: logs.text_of(self._api, job, TAIL))
        if code:
            raise UnavailableError(f"volume {service.volume} could not be emptied: {said}", hint="Try again")
        nodes = {str(each["ID"]): node_name(each) for each in self._api.nodes()}
        where = nodes.get(service.deploy.node, service.deploy.node)
        on_event(Notice(there_stays(service.volume, f"on {where}", "stays without its data")))

    def _run_as_job(self, service: ServiceSpec, read: Callable[[str], Said]) -> tuple[int, Said]:
        """Run a service as a job. Returns its exit code, and what `read` returns for the job's id at its end."""
        once = replace(service, port=0, health_command=())
        with self._files_of(once):
            document = copy.deepcopy(job_document(self._project.name, once))
            job = self._create_from(self._completed(document, once))
            try:
                task = self._ended(job, once.name)
                return _exit_code(task), read(job)
            finally:
                self._remove(container_name(self._project.name, once.name), once)

    @contextmanager
    def _files_of(self, service: ServiceSpec) -> Iterator[None]:
        """Create what a job mounts, for one block."""
        texts = self._contents(service)
        files = {each.full_name(self._owner, texts[each.path]): each for each in mounted(self._project.name, service)}
        for name, file in files.items():
            self._remove_file(file.kind, name)  # a killed command may have left it
            self._create_file(file.name, service)
        try:
            yield
        finally:
            for name, file in files.items():
                self._remove_file(file.kind, name)

    def _ended(self, job: str, name: str) -> Mapping[str, Any]:
        """Wait until the task of a job has ended. Raises UnhealthyError if it never started, UnavailableError."""

        def ended() -> Mapping[str, Any] | None:
            tasks = self._api.tasks(filters={"service": job})
            return next((each for each in tasks if _state(each) in OVER or each["DesiredState"] == "shutdown"), None)

        def is_running() -> bool:
            return any(_state(each) == "running" for each in self._api.tasks(filters={"service": job}))

        started = poll(lambda: ended() or is_running(), self._timeout, every=EVERY)
        if not started:
            tasks = self._api.tasks(filters={"service": job})
            why = next((each["Status"].get("Err") or each["Status"]["Message"] for each in tasks), "no node takes it")
            raise UnhealthyError(f"{NAMES.get(name, 'a job')} did not start: {why}", hint="See: docker node ls")
        task = poll(ended, float("inf"), every=EVERY)
        assert task is not None, "it is waited for without a limit"
        if _state(task) not in OVER:
            raise UnavailableError(f"the node that ran {NAMES.get(name, 'a job')} is lost", hint="See: docker node ls")
        return task


def _state(task: Mapping[str, Any]) -> str:
    return str(task["Status"]["State"])


def _exit_code(task: Mapping[str, Any]) -> int:
    status = task["Status"]
    if status["State"] == "complete":
        return 0
    return int(status.get("ContainerStatus", {}).get("ExitCode") or 1)
