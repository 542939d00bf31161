"""Kills commands at random moments, and looks whether the next `up` converges without the loss of a row.

Each round begins a command on a project with rows, sends SIGKILL to it after a random part of the time that it usually
takes, runs `up`, and checks: everything runs, the rows that were acknowledged are there, nothing is left over. The exit
code is 1 if a round failed. It takes minutes: what is quick is in the suite.
"""

import argparse
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fastzero_core import FastZero, Stack, load_settings
from fastzero_core.stack.observed import ServiceState

IN_MEMORY = Path("/dev/shm")
FASTZERO = (sys.executable, "-m", "fastzero_cli")
COMMANDS: dict[str, tuple[str, ...]] = {
    "up": ("up",),
    "recreate": ("up",),
    "restart": ("restart",),
    "down": ("down",),
    "upgrade": ("db", "upgrade", "--to", "18"),
    "move": ("db", "move", "--to"),
    "restore": ("db", "restore", "first", "--yes", "--no-backup"),
}


@dataclass
class Project:
    """One project whose commands are killed; `users` are those that were acknowledged."""

    runtime: str
    home: Path
    app: bool = False
    image: str = "postgres:18"
    name: str = field(default_factory=lambda: f"faults-{secrets.token_hex(3)}")
    users: list[str] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        given = {"HOME": self.home, "PROJECT": self.name, "APP": self.app, "POSTGRES_IMAGE": self.image}
        return {**os.environ, **{f"FASTZERO_{name}": str(value) for name, value in given.items()}}

    @property
    def stack(self) -> Stack:
        return Stack(load_settings(project=self.name, home=self.home, app=self.app, postgres_image=self.image))

    def add_user(self) -> None:
        name = f"u{len(self.users)}"
        with FastZero(self.stack.database_url) as fz:
            fz.users.add(name, email=f"{name}@example.com", password="correct horse")
        self.users.append(name)

    def run(self, *words: str, settings: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        environment = {**self.environment, **(settings or {})}
        return subprocess.Popen([*FASTZERO, *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def do(self, *words: str) -> None:
        with self.run(*words) as process:
            said = process.communicate()[0].decode()
        assert process.returncode == 0, said


def prepared(command: str, project: Project) -> tuple[tuple[str, ...], dict[str, str]]:
    """Bring the project to where the command has something to do. Returns its words and its settings."""
    words, settings = COMMANDS[command], {}
    match command:
        case "up":
            project.do("down")
        case "recreate":
            settings = {"FASTZERO_POSTGRES_SETTINGS": f'{{"work_mem": "{random.randint(1, 64)}MB"}}'}
        case "move":
            record = project.stack.project.record
            assert record is not None
            words = (*words, "docker" if record.runtime == "embedded" else "embedded")
        case "upgrade":
            places = project.stack.places()
            if places[0].image.endswith(":18"):
                project.do("db", "upgrade", "--rollback", "--yes")
    return words, settings


def kill_once(command: str, project: Project, usual: float) -> str:
    """One round. Returns what is wrong afterwards, empty if all is well."""
    words, settings = prepared(command, project)
    process = project.run(*words, settings=settings)
    time.sleep(random.uniform(0, usual))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    project.stack.up()
    return problems(project)


def problems(project: Project) -> str:
    stack = project.stack
    states = [service.state for service in stack.status()]
    if set(states) != {ServiceState.RUNNING}:
        return f"not everything runs: {states}"
    if plan := stack.plan():
        return f"it is not converged: {', '.join(map(str, plan))}"
    with FastZero(stack.database_url) as fz:
        there = {user.username for user in fz.users.list(limit=1000)}
    if missing := set(project.users) - there:
        return f"rows are lost: {sorted(missing)}"
    return leftovers(project)


def leftovers(project: Project) -> str:
    found = list(project.home.rglob(".*.init-*")) + list(project.home.rglob("moving"))
    if found:
        return f"left: {found}"
    if shutil.which("docker") is None:
        return ""
    filters = ("--filter", f"label=fastzero.project={project.name}", "--format", "{{.Names}}")
    names = subprocess.run(["docker", "ps", "-a", *filters], capture_output=True, text=True).stdout.split()
    strays = [name for name in names if name.endswith(("-new", "-old", "-moving"))]
    return f"left: {strays}" if strays else ""


def usual_seconds(command: str, project: Project) -> float:
    words, settings = prepared(command, project)
    began = time.monotonic()
    with project.run(*words, settings=settings) as process:
        said = process.communicate()[0].decode()
    assert process.returncode == 0, said
    seconds = time.monotonic() - began
    project.stack.up()
    return seconds


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="kills of each command")
    parser.add_argument("--only", action="append", choices=COMMANDS, help="a command")
    parser.add_argument("--runtime", action="append", choices=["embedded", "docker"], help="a runtime")
    options = parser.parse_args()
    failed = 0
    for runtime in options.runtime or ["embedded", "docker"]:
        home = Path(tempfile.mkdtemp(dir=IN_MEMORY if IN_MEMORY.is_dir() else None))
        home.chmod(0o755)
        project = Project(runtime, home, image="postgres:17" if runtime == "docker" else "postgres:18")
        try:
            project.do("up", "--runtime", runtime)
            project.add_user()
            project.do("db", "backup", "--name", "first")
            for command in options.only or COMMANDS:
                if command == "upgrade" and runtime == "embedded":
                    continue
                failed += _rounds(command, project, options.rounds)
        finally:
            project.do("down", "--volumes", "--yes", "--no-backup")
            shutil.rmtree(home, ignore_errors=True)
    return 1 if failed else 0


def _rounds(command: str, project: Project, rounds: int) -> int:
    usual = usual_seconds(command, project)
    wrong = [problem for _ in range(rounds) if (problem := _guarded(lambda: kill_once(command, project, usual)))]
    print(f"{project.runtime} {command}: {rounds} killed within {usual:.1f} s, {len(wrong)} failed", flush=True)
    for problem in wrong:
        print(f"  {problem}", flush=True)
    return len(wrong)


def _guarded(attempt: Callable[[], str]) -> str:
    try:
        return attempt()
    except Exception as error:  # the next round is to be run all the same
        return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.exit(main())
