"""Operate on an archive in a swarm: in jobs, each on the node that has what it needs.

The engine of that node may be another one than that of the command, which then cannot use its containers. If it is the
same, the archiver itself is faster.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..archive.description import DESCRIPTION, NOT_BEGUN, STATE
from ..errors import FastZeroError, UnavailableError
from .archiver import MODULES, WORKER, archivers, worker
from .archivist import ContainedArchivist
from .deployed import Deployment
from .deployment import in_registry
from .spec import GATEWAY, ServiceSpec

if TYPE_CHECKING:
    from ..archive.status import Condition
    from .swarm.runtime import SwarmRuntime

WHERE_THE_DATA_IS = ("check", "verify")  # operations that need its node for the space there, but none of its files


class DeployedArchivist(ContainedArchivist):
    """Operates on the running server on its node, else in jobs on the node of this command."""

    @property
    def _runtime(self) -> "SwarmRuntime":
        return self._session.performer.swarm()

    @cached_property
    def _archiver(self) -> ServiceSpec:
        """The archiver of the server that accepts writes. Raises UnavailableError if none of several does."""
        session, spec = self._session, self._session.spec()
        found = archivers(spec)
        if not spec.shared:
            return found[0]
        from . import standbys

        state = standbys.cluster_of(session.project, session.known, self._runtime).state()
        if state.primary is None:
            raise UnavailableError(state.problem, hint="It returns by itself once two nodes of three run")
        return found[[each.name for each in spec.servers].index(state.primary.name)]

    @property
    def _is_here(self) -> bool:
        """Whether the archiver runs on this node."""
        deploy = self._archiver.deploy
        return deploy is not None and deploy.node == self._runtime.node() and self._runtime.is_alive(self.archiver())

    @property
    def _is_served(self) -> bool:
        record = self._session.record
        return record is not None and record.archive == self._archive and bool(self.archiver()) and self._is_here

    def archiver(self) -> str:
        with suppress(UnavailableError):
            return self._archiver.name
        return ""

    def reaches_server(self) -> bool:
        return self._runtime.is_alive(GATEWAY)  # which another manager does not have

    def condition(self) -> "Condition":
        from ..archive.status import STOPPED, Condition, condition_of_server

        try:
            archiver = self._archiver
            if not self._runtime.is_alive(archiver.name):
                return STOPPED
            if not self._archive.system:
                return replace(STOPPED, state="failing", detail=NOT_BEGUN)
            if not self.reaches_server():
                return Condition(**self._inside("condition"))
            return condition_of_server(self._session.project.superuser_url(), archiver.variables[STATE])
        except UnavailableError as error:
            return replace(STOPPED, detail=f"the database does not tell: {error.message}")

    def _inside(self, operation: str, **given: Any) -> Any:
        """Perform an operation in the archiver or, on another node, beside it with all that it has."""
        if self._is_here:
            return super()._inside(operation, **given)
        archiver = self._archiver
        service = replace(
            archiver,
            name=WORKER,
            command=(f"{MODULES}.worker", operation, json.dumps(given)),
            variables={**archiver.variables, DESCRIPTION: self._archive.as_text()},
        )
        return self._run(service, {})

    def _alone(
        self,
        operation: str,
        base: str = "",
        *,
        volume: str = "",
        secrets: Mapping[str, str] | None = None,
        **given: Any,
    ) -> Any:
        session, base = self._session, base or self._base
        image = in_registry(session.machine.archiver_image(base), session.settings.registry)
        service = worker(self._archive, base, image, operation, given, volume=volume)
        node = self._home() if volume else self._node(operation)
        return self._run(replace(service, deploy=Deployment(node=node, networks=())), secrets or {})

    def _home(self) -> str:
        """Return the node that has the data of one server, or will have it."""
        record = self._session.record
        return (record and record.node) or self._runtime.node()

    def _node(self, operation: str) -> str:
        """Return a node that takes tasks: one that has data if that is of use, else this manager if possible."""
        record, nodes = self._session.record, self._runtime.all_nodes()
        homes = (record.members or (record.node,)) if record and operation in WHERE_THE_DATA_IS else ()
        return next((node for node in (*homes, *nodes) if nodes.get(node)), "")

    def _explained(self, error: UnavailableError) -> FastZeroError:
        return error
