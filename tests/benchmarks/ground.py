"""What the benchmarks stand on: one embedded stack in memory, with a database of few todos and one of very many."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from fastzero_core import FastZero, Stack, User, load_settings
from fastzero_core.postgres.database import create_engine
from fastzero_core.project import HOST, projects
from fastzero_core.stack.ports import next_free

IN_MEMORY = Path("/dev/shm")
FIRST_PORT = 21_000
FEW = 100
SEVERAL = 10_000
RARE = 10  # todos of a user that are drafts, and those that speak of a quokka: the last ones

# A third of the todos are due, in 20 years; a tenth have a tag, and the last ones another one.
# Titles repeat words as people do, in an order that is not that of the ids; times go on with the ids.
SEED = """
    INSERT INTO todos (user_id, title, description, state, created_at, updated_at, priority, due_at, tags)
    SELECT
        %(user_id)s,
        (ARRAY['Write','Read','Call','Fix','Review','Plan','Buy','Clean'])[1 + n * 7 %% 8] || ' the '
            || (ARRAY['report','letter','garden','server','budget','kitchen','lecture'])[1 + n * 5 %% 7]
            || ' ' || md5(n::text) || CASE WHEN n > %(count)s - %(rare)s THEN ' quokka' ELSE '' END,
        CASE n %% 3 WHEN 0 THEN '' ELSE 'Before ' || (ARRAY['Monday','noon','the holidays'])[1 + n %% 3] END,
        CASE WHEN n > %(count)s - %(rare)s THEN 'draft'
            ELSE (ARRAY['todo','doing','done','done','done','trash'])[1 + n %% 6] END,
        now() - (%(count)s - n) * interval '1 second',
        now() - (n * 7919 %% %(count)s) * interval '1 second',
        1 + n %% 4,
        CASE WHEN n %% 3 = 0
            THEN '2020-01-01 00:00:00+00'::timestamptz + (n * 7919 %% 7300 - 365) * interval '1 day' END,
        array_remove(ARRAY[
            CASE WHEN n %% 10 = 0 THEN 'work' END, CASE WHEN n > %(count)s - %(rare)s THEN 'rare' END], NULL)
    FROM generate_series(1, %(count)s::bigint) AS n
"""


@dataclass(frozen=True)
class Side:
    """A user with `count` todos, in a database."""

    url: str
    engine: Engine
    user: User
    count: int


class Ground:
    def __init__(self, folder: Path, many: int) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.many_count = many
        self._engines: list[Engine] = []

    @cached_property
    def stack(self) -> Stack:
        """The project of the benchmarks that need no other, up."""
        return Stack(
            load_settings(project="bench", home=self.home, database_port=free_port(), runtime="embedded", app=False)
        ).up()

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a command: nobody's settings but this ground's."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("FASTZERO_", "XDG_")) and name not in ("DATABASE_URL", "SECRET_KEY")
        }
        return {
            **kept,
            "HOME": str(self.folder),
            "FASTZERO_HOME": str(self.home),
            "FASTZERO_PROJECT": "bench",
            "FASTZERO_RUNTIME": "embedded",
            "FASTZERO_APP": "false",
            # Where the engine is may be written there, and HOME is another here.
            "DOCKER_CONFIG": os.environ.get("DOCKER_CONFIG", str(Path.home() / ".docker")),
            # Without bytecode at hand, compiling would be most of what is measured.
            "PYTHONDONTWRITEBYTECODE": "",
        }

    def run(self, *command: str, **more: str) -> str:
        """A command's output, in an empty folder. Raises CalledProcessError."""
        done = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True, cwd=self.folder, env={**self.environment, **more}
        )
        return done.stdout

    def python(self, code: str, *arguments: str) -> str:
        return self.run(sys.executable, "-c", code, *arguments)

    def fastzero(self, *arguments: str, **more: str) -> str:
        return self.run(str(Path(sys.executable).with_name("fastzero")), *arguments, **more)

    @cached_property
    def writer(self) -> Side:
        """The only user of the stack's own database."""
        return self.side("writer", self.stack.database_url, FEW)

    @cached_property
    def few(self) -> Side:
        """A user with a hundred todos, in a database without any others."""
        return self.side("few", self.database("few"), FEW)

    @cached_property
    def many(self) -> Side:
        """A user with very many todos."""
        return self.side("many", self.database("many"), self.many_count)

    @cached_property
    def neighbour(self) -> Side:
        """A user with a hundred todos, in the database of the one who has very many."""
        return self.side("neighbour", self.many.url, FEW)

    @cached_property
    def ten(self) -> Side:
        """A user with ten todos, in the database of the one who has very many."""
        return self.side("ten", self.many.url, RARE)

    @cached_property
    def several(self) -> Side:
        """A user with ten thousand todos, in the database of the one who has very many."""
        return self.side("several", self.many.url, SEVERAL)

    def database(self, name: LiteralString, stack: Stack | None = None) -> str:
        """Create a database, in the project of the benchmarks or another one, and return its URL."""
        server = (stack or self.stack).database_url
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        url = make_url(server).set(database=name).render_as_string(hide_password=False)
        self.fastzero("migrate", "-q", DATABASE_URL=url)
        return url

    def side(self, name: str, url: str, count: int) -> Side:
        with FastZero(url) as fz:
            user = fz.users.add(name, email=f"{name}@example.com", password="correct horse")
        began = time.monotonic()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(SEED, {"user_id": user.id, "count": count, "rare": RARE})
            inserted = time.monotonic()
            connection.execute("VACUUM ANALYZE")
        told = f"{count:,} todos inserted in {inserted - began:.1f} s, vacuumed in {time.monotonic() - inserted:.1f} s"
        print(told, file=sys.stderr, flush=True)
        self._engines.append(create_engine(url, pooled=True))
        return Side(url, self._engines[-1], user, count)

    def end(self) -> None:
        for engine in self._engines:
            engine.dispose()
        for project in projects(self.home):
            Stack(load_settings(project=project.name, home=self.home)).down(volumes=True)


@contextmanager
def new_ground(many: int) -> Iterator[Ground]:
    """An empty home; the projects in it are gone with all their data in the end."""
    folder = Path(tempfile.mkdtemp(prefix="fastzero-bench-", dir=IN_MEMORY if IN_MEMORY.is_dir() else None))
    folder.chmod(0o755)
    ground = Ground(folder, many)
    try:
        yield ground
    finally:
        ground.end()
        shutil.rmtree(folder)


@contextmanager
def own_stack(ground: Ground, project: str, **settings: Any) -> Iterator[Stack]:
    """A project with a home of its own for one block, without an app."""
    home = ground.folder / f"home-{project}"
    given = load_settings(
        project=project, home=home, database_port=free_port(), runtime="embedded", app=False, **settings
    )
    stack = Stack(given).up()
    try:
        yield stack
    finally:
        stack.down(volumes=True)


def free_port(*taken: int) -> int:
    return next_free(HOST, FIRST_PORT, taken)
