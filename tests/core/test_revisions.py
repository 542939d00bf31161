"""Which revision the migration files end with, and which one a database is at, without Alembic."""

from pathlib import Path

import psycopg
import pytest
from alembic.script import ScriptDirectory

from fastzero_core import InvalidInputError
from fastzero_core.errors import SchemaDriftError
from fastzero_core.schema import revisions

from ..revisions import HEAD


def test_the_head_is_the_one_that_alembic_finds() -> None:
    assert revisions.head_revision() == ScriptDirectory(str(revisions.folder())).get_current_head()


def test_annotated_and_plain_assignments_are_read(migrations_copy: Path) -> None:
    newest = migrations_copy / "versions" / "9999_next.py"
    newest.write_text(f'revision = "9999"\ndown_revision: str = "{HEAD}"\n')
    assert revisions.head_revision() == "9999"


def test_what_else_a_revision_file_holds_does_not_matter(migrations_copy: Path) -> None:
    versions = migrations_copy / "versions"
    (versions / "__init__.py").touch()
    (versions / "9999.py").write_text(f'revision = "9999"\ndown_revision = "{HEAD}"\ntable = dict(a=len("b"))\n')
    assert revisions.head_revision() == "9999"


def test_two_heads_are_refused_by_name(migrations_copy: Path) -> None:
    for name in ("003a", "003b"):
        (migrations_copy / "versions" / f"{name}.py").write_text(f'revision = "{name}"\ndown_revision = "{HEAD}"\n')
    with pytest.raises(InvalidInputError, match="003a, 003b"):
        revisions.head_revision()


def test_no_migration_at_all_is_refused(migrations_copy: Path) -> None:
    for path in (migrations_copy / "versions").glob("*.py"):
        path.unlink()
    with pytest.raises(InvalidInputError, match="none"):
        revisions.head_revision()


def test_a_database_without_alembic_s_table_is_at_no_revision(empty_database_url: str) -> None:
    assert revisions.revision_of(empty_database_url) is None


def test_the_revision_is_in_the_schema_that_the_search_path_finds(empty_database_url: str, other_schema: str) -> None:
    assert revisions.revision_of(empty_database_url) is None
    assert revisions.revision_of(f"{empty_database_url}?options=-csearch_path%3Dtenant") == other_schema


@pytest.mark.parametrize("more", [1, 5000])
def test_a_database_at_several_revisions_is_refused(more: int, empty_database_url: str, other_schema: str) -> None:
    with psycopg.connect(empty_database_url) as session:
        session.execute("INSERT INTO tenant.alembic_version SELECT 'r' || n FROM generate_series(1, %s) n", [more])
    with pytest.raises(SchemaDriftError, match="at several revisions: 0001, r1"):
        revisions.revision_of(f"{empty_database_url}?options=-csearch_path%3Dtenant")


@pytest.fixture
def other_schema(empty_database_url: str) -> str:
    """The revision of the schema `tenant`."""
    with psycopg.connect(empty_database_url) as session:
        session.execute("CREATE SCHEMA tenant")
        session.execute("CREATE TABLE tenant.alembic_version AS SELECT '0001'::varchar(32) AS version_num")
    return "0001"


def test_an_assignment_may_go_over_several_lines(migrations_copy: Path) -> None:
    text = f'"""revision of\nrevision ids"""\nrevision = "9999"\ndown_revision = (\n    "{HEAD}"\n)\n'
    (migrations_copy / "versions" / "9999.py").write_text(text)
    assert revisions.head_revision() == "9999"
