"""Make a service's database a target to back up or restore, with the programs of the runtime that serves it."""

from dataclasses import replace
from functools import partial

from ..backup.target import Target, backups_of_project
from ..postgres.url import parse
from ..project import Project


def target_of(
    project: Project, runtime: str, service: str, url: str, superuser_url: str, *, has_standbys: bool | None = None
) -> Target:
    """Return the database of a project's service as a target. A container has its own programs.

    They log in to the server that accepts writes if the database `has_standbys`, by default as the record says.
    """
    folder = backups_of_project(project)
    target = Target.of_url(url, folder, superuser_url=superuser_url)
    if runtime == "embedded":
        return target
    from .docker.programs import container_programs

    role = parse(url)["user"]
    programs = partial(container_programs, project, runtime, service, role, has_standbys=has_standbys)
    return replace(target, programs=programs)
