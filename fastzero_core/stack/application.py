"""Turn a user's application into services of a stack: its processes, and what migrates its schema to head."""

import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ..application.description import Application, Process
from ..application.environment import Addresses, Variables, command_words, files_of_variables, variables
from ..application.installation import (
    allowed_minors,
    environment_folder,
    installation,
    interpreter,
    python_command,
)
from ..application.migrations import alembic_project
from ..errors import DependenciesMissingError
from ..events import Listener, Notice
from ..postgres.sql import quote
from ..project import AUTHENTICATION, DATABASE_PORT, HOST
from ..settings import SECRETS_FOLDER
from . import extras
from .names import port_choice, service_names
from .spec import (
    CREDENTIALS,
    DATABASE_SERVICE,
    RETRIES,
    Build,
    Release,
    ServiceSpec,
    StackSpec,
    memory_of,
    secret_mark,
    writable_folders,
)
from .surroundings import Surroundings

OPEN = "0.0.0.0"  # noqa: S104 - in a container, whose ports are published on loopback alone
PYTHON = "python"
TOOLS = ("uv", "poetry", "pdm", "pipenv")


def with_application(
    spec: StackSpec, application: Application, where: Surroundings, names: tuple[str, ...]
) -> StackSpec:
    """Return the stack with the named services of an application, and with what migrates its schema to head."""
    others = list(extras.service_specs(spec.project, application, where, names))
    needed = (DATABASE_SERVICE, *(each.name for each in others))
    processes = [
        replace(_service(application, name, process, where), depends_on=needed)
        for name, process in service_names(application).items()
        if name in names
    ]
    table = version_table(application)
    needs = application.database
    services = [replace(each, version_table=table, needs=needs) if each.is_database else each for each in spec.services]
    return replace(spec, services=(*services, *others, *processes), release=release_of(application, where))


def build_of(application: Application) -> Build:
    """Return how the image of an application is built."""
    from ..application.dockerfile import dockerfile

    build = application.build
    context = str((application.folder / build.context).resolve())
    arguments = dict(build.arguments)
    if build.dockerfile is None:
        return Build(context, dockerfile(application), is_text=True, arguments=arguments)
    path = (application.folder / build.dockerfile).resolve().relative_to(context)
    return Build(context, str(path), target=build.target or "", arguments=arguments)


def programs_of(application: Application) -> str:
    """Return the folder of an application's own programs, "" if its dependencies are not installed."""
    found = _environment_folder(application)
    return str(found / "bin") if found else ""


def refuse_missing(application: Application) -> None:
    """Raise DependenciesMissingError if programs of the application are not installed; the hint says how to do so."""
    found = _environment_folder(application)
    what = _lacks(found, application) if found else "its dependencies are not installed"
    if what:
        command = install_command(application)
        hint = f"Run this in {application.root}: {command}. Or: fastzero up --install" if command else "Create a .venv"
        raise DependenciesMissingError(f"the application in {application.folder} cannot run: {what}", hint=hint)


def _lacks(environment: Path, application: Application) -> str:
    """Return what the application's commands need but its environment lacks, as the end of a message, or ""."""
    for process in application.processes:
        match process.command.split():
            case ["python", "-m", module, *_] if not any(environment.glob(f"lib/python*/site-packages/{module}*")):
                return f"{environment} has no {module}"
    return ""


def refuse_without_python(application: Application, on_event: Listener) -> None:
    """Raise DependenciesMissingError if this machine has no Python for a new environment of an application.

    Sends a notice instead if uv makes the environment, since it downloads Python.
    """
    root, folder = application.root, application.folder
    if application.python or application.install or _environment_folder(application) or interpreter(root, folder):
        return
    minors = allowed_minors(root, folder)
    what = f"it needs {f'Python 3.{minors[0]}' if minors else 'another Python'}, which this machine does not have"
    if install_command(application).startswith("uv "):
        on_event(Notice(f"{what}; uv downloads it"))
        return
    how = f"uv python install 3.{minors[0]}. " if minors else ""
    hint = f"Install it: {how}Or use containers: fastzero up --runtime docker"
    raise DependenciesMissingError(f"the application in {folder} cannot run: {what}", hint=hint)


def install_script(application: Application, tools: Path) -> str:
    """Return the shell script that installs an application's dependencies into its own environment.

    If this machine does not have the tool, it is installed first, into a folder in `tools`.
    """
    command = install_command(application)
    tool = command.split()[0] if command else ""
    if tool not in TOOLS or shutil.which(tool):
        return command
    found = installation(application.folder, application.root)
    if tool == "poetry" and found and found.file.name == "poetry.lock":
        return _from_poetry_lock(found.file, python_command(application.root, application.folder))
    folder = shlex.quote(str(tools / tool))
    made = f"python3 -m venv {folder} && {folder}/bin/pip install -q --disable-pip-version-check {tool}"
    return f"test -x {folder}/bin/{tool} || {{ {made}; }} && PATH={folder}/bin:$PATH {command}"


def _from_poetry_lock(lock: Path, python: str) -> str:
    """Return the script that installs a Poetry lock file with pip, since installing Poetry itself takes longer."""
    lines = f"{shlex.quote(sys.executable)} -m fastzero_core.application.locked {shlex.quote(str(lock))}"
    listed = ".venv/requirements.txt"
    install = f".venv/bin/pip install -q --disable-pip-version-check --no-deps --require-hashes -r {listed}"
    return f"{python} -m venv .venv && {lines} > {listed} && {install}"


def install_command(application: Application) -> str:
    """Return the command that installs an application's dependencies, "" if it is unknown."""
    if application.install:
        return application.install
    python = python_command(application.root, application.folder)
    found = installation(application.folder, application.root, application.extras, application.groups, python=python)
    return found.command if found else ""


def _environment_folder(application: Application) -> Path | None:
    if application.python:
        named = application.folder / application.python
        if (named / "bin" / PYTHON).exists():
            return named
        if named.is_file():
            return named.parent.parent
    found = installation(application.folder, application.root, application.extras, application.groups)
    return environment_folder(application.folder, application.root, found.file if found else None)


def _service(application: Application, name: str, process: Process, where: Surroundings) -> ServiceSpec:
    addresses = _addresses(application, where, process)
    return replace(
        surrounded(application, where, process),
        name=name,
        port=where.ports.get(name, 0) if process.port else 0,
        container_port=(process.port or 0) if where.image else 0,
        command=command_words(process.command, addresses, process),
        readiness=process.health,
        grace=0 if process.port else process.grace_period,
        stop_timeout=process.stop_timeout,
        restart=process.restart,
        retries=RETRIES if process.restart == "on-failure" else 0,
        port_choice=port_choice(name),
    )


def release_of(application: Application, where: Surroundings) -> Release:
    """Return what migrates the schema of an application to the revision that its code needs."""
    addresses = _addresses(application, where)
    lines = [line for line in (application.migrate.command, application.after_migrate) if line]
    commands = tuple(command_words(line, addresses) for line in lines)
    found = alembic_project(application.root, application.migrate.alembic) if application.migrate.alembic else None
    # Without a revision file, there is nothing to migrate to.
    head = ",".join(found.heads) if found else ""
    return Release(surrounded(application, where), commands if head or not found else (), head)


def surrounded(application: Application, where: Surroundings, process: Process | None = None) -> ServiceSpec:
    """Return the place and environment in which a process of an application runs, without a name and a command."""
    given = _variables(application, where, process)
    secret = given.secret
    required = {"PGREQUIREAUTH": AUTHENTICATION}
    if not where.image:
        environment = {**required, "VIRTUAL_ENV": str(Path(where.programs).parent)}
        return ServiceSpec(
            name="",
            port=0,
            directory=str(application.root),
            programs=(where.programs,),
            variables={**given.plain, **environment},
            secret_variables=secret,
            roles=(where.role_of(process),),
            depends_on=(DATABASE_SERVICE,),
        )
    from ..application.dockerfile import USER

    container = application.container
    user = container.user or ("" if application.build.dockerfile else USER)
    return ServiceSpec(
        name="",
        port=0,
        image=where.image,
        build=build_of(application),
        variables={**given.plain, **required, CREDENTIALS: str(SECRETS_FOLDER)},
        secret_variables=secret,
        roles=(where.role_of(process),),
        depends_on=(DATABASE_SERVICE,),
        user=container.user or "",
        read_only=container.read_only,
        tmpfs=writable_folders(container.writable, user),
        capabilities=container.capabilities,
        memory=memory_of(container.memory),
    )


def _variables(application: Application, where: Surroundings, process: Process | None) -> Variables:
    dotenv, defaults = files_of_variables(application)
    return variables(application, _addresses(application, where, process), process, dotenv=dotenv, defaults=defaults)


def _addresses(application: Application, where: Surroundings, process: Process | None = None) -> Addresses:
    """Return the addresses of the database, the processes and the services, with marks in place of secrets."""
    login, password = where.login_of(process)
    listening = service_names(application)
    inside = {process.name: process.port or 0 for process in application.processes}
    outside = {process.name: where.ports.get(name, 0) for name, process in listening.items()}
    in_containers = where.in_containers
    return Addresses(
        host=where.database_at.get("host", DATABASE_SERVICE) if in_containers else HOST,
        port=DATABASE_PORT if in_containers else where.ports[DATABASE_SERVICE],
        user=login,
        password=secret_mark(password),
        name=where.database,
        test_name=where.test_database,
        code="." if in_containers else str(application.root),
        app_host=OPEN if in_containers else HOST,
        ports={name: port for name, port in (inside if in_containers else outside).items() if port},
        services=extras.addresses(application, where),
        secrets={name: secret_mark(f"variable_{name}") for name in application.secrets},
        options=where.database_at,
    )


def version_table(application: Application) -> str:
    """Return the table in which an application's Alembic stores its revision, quoted for SQL."""
    found = alembic_project(application.root, application.migrate.alembic) if application.migrate.alembic else None
    parts: Iterator[str] = filter(None, [found.version_table_schema, found.version_table]) if found else iter(())
    return ".".join(map(quote, parts)) or quote("alembic_version")
