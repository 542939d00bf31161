"""Nothing that was acknowledged is missing from the backup to get back from, however busily somebody writes."""

import http.client
import json
import os
import re
import secrets
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from fastzero_core import FastZero, Stack, load_settings
from fastzero_core.polling import wait_until
from tests import forked
from tests.api.client import Client, answers
from tests.cli.shell import Result
from tests.ports import any_free_port
from tests.stack.conftest import new_home

pytestmark = pytest.mark.slow

FASTZERO = [sys.executable, "-m", "fastzero_cli"]
PATIENCE = 120
ENOUGH = 40  # todos written before the command, and so much more while it works
PASSWORD = "correct horse"


@dataclass
class Project:
    """A project with an app, which three clients of it and a session of the database write to."""

    home: Path
    name: str
    runtime: str
    ports: dict[str, int]
    acknowledged: list[str] = field(default_factory=list)

    @property
    def stack(self) -> Stack:
        given = {"home": self.home, "project": self.name, "runtime": self.runtime, "app": True, **self.ports}
        return Stack(load_settings(**given))

    def run(self, *words: str, **changed: str) -> Result:
        given = {"home": str(self.home), "project": self.name, "runtime": self.runtime, "app": "true"}
        environment = {f"FASTZERO_{name.upper()}": value for name, value in given.items()}
        done = forked.run(
            [*FASTZERO, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**os.environ, **environment, **changed},
            timeout=PATIENCE,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def titles(self, url: str | None = None) -> set[str]:
        with psycopg.connect(url or self.stack.database_url) as session:
            return {title for (title,) in session.execute("SELECT title FROM todos")}

    @contextmanager
    def being_written(self) -> Iterator[None]:
        """Have somebody write for as long as the block lasts; it begins when there are some todos."""
        over = threading.Event()
        client, url = Client(self.ports["app_port"]), self.stack.database_url
        token = client.token("ana")

        def post(title: str) -> bool:
            return client.post("/todos/", {"title": title, "state": "todo", "description": ""}, token).status == 201

        def insert(title: str) -> bool:
            with psycopg.connect(url, autocommit=True) as session:
                done = session.execute("INSERT INTO todos (user_id, title) SELECT id, %s FROM users", [title])
            return done.rowcount == 1

        threads = [threading.Thread(target=self._write, args=(way, over)) for way in (post, post, post, insert)]
        for thread in threads:
            thread.start()
        try:
            assert wait_until(lambda: len(self.acknowledged) > ENOUGH, PATIENCE)
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()

    def _write(self, write: Callable[[str], bool], over: threading.Event) -> None:
        while not over.is_set():
            title = secrets.token_hex(8)
            try:
                if write(title):
                    self.acknowledged.append(title)
            except (OSError, http.client.HTTPException, psycopg.Error, json.JSONDecodeError):
                over.wait(0.01)


@pytest.fixture(params=["embedded", pytest.param("docker", marks=pytest.mark.docker)])
def project(request: pytest.FixtureRequest) -> Iterator[Project]:
    """A project that is up, with a user."""
    with new_home() as home:
        ports = {"database_port": any_free_port(), "app_port": any_free_port()}
        project = Project(home, f"busy-{secrets.token_hex(5)}", request.param, ports)
        try:
            project.stack.up()
            with FastZero(project.stack.database_url) as fz:
                fz.users.add("ana", email="ana@example.com", password=PASSWORD)
            yield project
        finally:
            project.run("down", "--volumes", "--yes", "--no-backup")


def way_back(result: Result) -> str:
    """The command line that "To undo" names."""
    found = re.search(r"^To undo: (.+)$", result.err, re.MULTILINE)
    assert found, result.err
    return found[1]


def test_down_with_volumes_loses_nothing_that_was_acknowledged(project: Project) -> None:
    with project.being_written():
        done = project.run("down", "--volumes", "--yes")
    assert done.code == 0, done.err
    assert not project.stack.exists
    for command in way_back(done).split(" && "):
        assert project.run(*shlex.split(command)[1:]).code == 0, command
    assert set(project.acknowledged) <= project.titles()
    assert project.stack.project.record is not None
    assert project.stack.project.record.ports == {
        "database": project.ports["database_port"],
        "app": project.ports["app_port"],
    }


def test_a_reset_loses_nothing_that_was_acknowledged(project: Project) -> None:
    with project.being_written():
        done = project.run("db", "reset", "--yes")
    assert done.code == 0, done.err
    assert not set(project.acknowledged) & project.titles()
    assert project.run(*shlex.split(way_back(done))[1:], "--yes").code == 0
    assert set(project.acknowledged) <= project.titles()


def test_a_restore_loses_nothing_that_was_acknowledged(project: Project) -> None:
    assert project.run("db", "backup", "--name", "early").code == 0
    with project.being_written():
        done = project.run("db", "restore", "early", "--yes")
    assert done.code == 0, done.err
    since = project.titles()  # ana is there again, and her clients go on
    assert project.run(*shlex.split(way_back(done))[1:], "--yes").code == 0
    assert set(project.acknowledged) <= project.titles() | since


def test_removing_a_user_loses_nothing_that_was_acknowledged(project: Project) -> None:
    with project.being_written():
        done = project.run("user", "rm", "ana", "--yes")
    assert done.code == 0, done.err
    assert project.titles() == set()
    assert project.run(*shlex.split(way_back(done))[1:], "--yes").code == 0
    assert set(project.acknowledged) <= project.titles()


def test_a_downgrade_loses_nothing_that_the_app_acknowledged(project: Project) -> None:
    with project.being_written():
        done = project.run("migrate", "down", "0001", "--yes")
        assert "app" in project.stack.running()
    assert done.code == 0, done.err
    assert project.run(*shlex.split(way_back(done))[1:], "--yes").code == 0
    assert project.acknowledged


def test_where_no_backup_can_be_taken_the_project_goes_on_as_it_was(project: Project) -> None:
    (project.home / "backups").write_text("in the way")
    failed = project.run("down", "--volumes", "--yes")
    assert failed.code == 6
    assert "--no-backup" in failed.err
    assert project.stack.running() == {"database", "app"}
    assert wait_until(lambda: answers(project.ports["app_port"], "/readyz"), PATIENCE)
