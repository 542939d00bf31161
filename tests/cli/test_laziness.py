"""What a command does not need it does not load: that is what makes the command line quick."""

import subprocess
import sys
from pathlib import Path

import pytest

from fastzero_core import User
from fastzero_core.project import Project, ProjectRecord

LOADED = """
import sys
from fastzero_cli.main import main
sys.argv = ["fastzero", *sys.argv[1:]]
try:
    code = main()
except SystemExit as end:
    code = end.code
print(*sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
sys.exit(code)
"""
HEAVY = {"sqlalchemy", "docker", "alembic", "psycopg", "pydantic", "pydantic_settings", "rich", "psutil", "argon2"}


def loaded(*words: str) -> set[str]:
    """The packages that a command has loaded when it ends, its output piped."""
    done = subprocess.run([sys.executable, "-c", LOADED, *words], capture_output=True, text=True, check=True)
    return set(done.stderr.splitlines()[-1].split())


def test_help_loads_nothing_heavy() -> None:
    assert loaded("--help") & HEAVY == set()


def test_help_of_a_command_loads_nothing_but_what_typer_does_for_its_types() -> None:
    assert loaded("todo", "list", "--help") & HEAVY <= {"pydantic"}


def test_adding_a_todo_loads_the_database_alone(ana: User) -> None:
    modules = loaded("todo", "add", "one")
    assert modules & {"alembic", "docker", "rich", "argon2", "psutil"} == set()
    assert "sqlalchemy" in modules


def test_listing_todos_into_a_pipe_needs_no_tables(ana: User) -> None:
    assert loaded("todo", "list") & {"alembic", "docker", "rich", "argon2"} == set()


def test_only_the_board_needs_textual(ana: User) -> None:
    for words in (("todo", "list"), ("todo", "list", "--board"), ("todo", "board", "--help")):
        assert "textual" not in loaded(*words)


def test_config_needs_no_database() -> None:
    assert loaded("config") & {"sqlalchemy", "psycopg", "alembic", "docker", "rich"} == set()


def test_the_status_of_a_stack_that_is_stopped_needs_no_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTZERO_HOME", str(tmp_path))
    record = ProjectRecord("embedded", {"database": 5432, "app": 8000}, data=str(tmp_path / "data"))
    Project("fastzero", tmp_path).save(record)

    assert loaded("status") & {"sqlalchemy", "psycopg", "alembic", "docker", "rich", "packaging"} == set()
