"""The migration files themselves: pytest-alembic's tests, and plain `alembic` from a checkout."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from pytest_alembic import Config
from pytest_alembic.tests import (  # noqa: F401
    test_model_definitions_match_ddl,
    test_single_head_revision,
    test_up_down_consistency,
    test_upgrade,
)
from sqlalchemy import Engine

from fastzero_core.postgres import database
from fastzero_core.schema import revisions

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def alembic_config() -> Config:
    return Config(config_options={"script_location": str(revisions.folder()), "path_separator": "os"})


@pytest.fixture
def alembic_engine(empty_database_url: str) -> Engine:
    return database.create_engine(empty_database_url)


ALEMBIC = """
from alembic.config import main

for command in (["upgrade", "head"], ["current"], ["check"], ["downgrade", "base"], ["current"]):
    print("$", *command, flush=True)
    main(command)
"""


def test_plain_alembic_works_from_the_checkout(empty_database_url: str) -> None:
    environment = {**os.environ, "DATABASE_URL": empty_database_url}
    result = subprocess.run(
        [sys.executable, "-c", ALEMBIC], cwd=CHECKOUT, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        "$ upgrade head",
        "$ current",
        f"{revisions.head_revision()} (head)",
        "$ check",
        "No new upgrade operations detected.",
        "$ downgrade base",
        "$ current",
    ]
    with psycopg.connect(empty_database_url) as session:
        assert session.execute("SELECT to_regclass('users')").fetchone() == (None,)
