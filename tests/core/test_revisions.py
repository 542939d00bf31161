"""The migration files, read without Alembic."""

from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from fastzero_core import InvalidInputError
from fastzero_core.schema import revisions


def test_the_head_is_the_one_that_alembic_finds() -> None:
    assert revisions.head_revision() == ScriptDirectory(str(revisions.folder())).get_current_head()


def test_annotated_and_plain_assignments_are_read(migrations_copy: Path) -> None:
    newest = migrations_copy / "versions" / "0005_next.py"
    newest.write_text('revision = "0005"\ndown_revision: str = "0004"\n')
    assert revisions.head_revision() == "0005"


def test_what_else_a_revision_file_holds_does_not_matter(migrations_copy: Path) -> None:
    versions = migrations_copy / "versions"
    (versions / "__init__.py").touch()
    (versions / "0005.py").write_text('revision = "0005"\ndown_revision = "0004"\ntable = dict(a=len("b"))\n')
    assert revisions.head_revision() == "0005"


def test_two_heads_are_refused_by_name(migrations_copy: Path) -> None:
    for name in ("003a", "003b"):
        (migrations_copy / "versions" / f"{name}.py").write_text(f'revision = "{name}"\ndown_revision = "0004"\n')
    with pytest.raises(InvalidInputError, match="003a, 003b"):
        revisions.head_revision()


def test_no_migration_at_all_is_refused(migrations_copy: Path) -> None:
    for path in (migrations_copy / "versions").glob("*.py"):
        path.unlink()
    with pytest.raises(InvalidInputError, match="none"):
        revisions.head_revision()
