"""What lets Citus distribute the schema: todos by their owner, with the users on every node.

What a person still does, and why, is in the manual: explanation/larger-databases.
"""

import ast
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import BigInteger, PrimaryKeyConstraint, Table, UniqueConstraint

from fastzero_core import todo_app
from fastzero_core.errors import UsernameTakenError
from fastzero_core.postgres import driver_errors
from fastzero_core.todo_app.tables import list_members, lists, metadata, todos, users

OF_TODOS = "user_id"
SHARD = "_102008"  # as Citus appends to the names of a shard's constraints and indexes
NAME_MAX = 63  # bytes of a name in PostgreSQL
LOCAL = {"logins.py"}  # its tables are not distributed
READING = {"export_statements.py"}  # Citus refuses such functions only in statements that change rows


def unique_columns(table: Table) -> list[set[str]]:
    constraints = [each for each in table.constraints if isinstance(each, UniqueConstraint | PrimaryKeyConstraint)]
    indexes = [{column.name for column in each.columns} for each in table.indexes if each.unique]
    return [*indexes, *({column.name for column in each.columns} for each in constraints)]


DISTRIBUTED = [todos, lists, list_members]


@pytest.mark.parametrize("table", DISTRIBUTED, ids=str)
def test_what_is_unique_is_unique_within_one_owner(table: Table) -> None:
    assert all(OF_TODOS in columns for columns in unique_columns(table))


@pytest.mark.parametrize("table", DISTRIBUTED, ids=str)
def test_rows_refer_to_users_which_every_node_has_and_to_rows_of_the_same_owner(table: Table) -> None:
    for constraint in table.foreign_key_constraints:
        referred = {each.parent.name: each.column for each in constraint.elements}
        assert constraint.referred_table is users or referred[OF_TODOS].name == OF_TODOS
    assert users.foreign_keys == set()


@pytest.mark.parametrize("table", metadata.sorted_tables, ids=str)
def test_identity_columns_are_bigint_as_citus_requires(table: Table) -> None:
    assert all(isinstance(column.type, BigInteger) for column in table.columns if column.identity is not None)


def _case_with_a_call_of_now(path: Path) -> list[str]:
    """The calls of `case` with a `func.now()` that is not in a query of its own."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "case":
            found += [f"{path.name}:{node.lineno}" for each in ast.walk(node) if _is_function(each)]
    return found


def _is_function(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "func"


def test_no_case_calls_a_function_which_citus_refuses_if_it_is_not_immutable() -> None:
    files = [path for path in Path(todo_app.__file__).parent.rglob("*.py") if path.name not in LOCAL | READING]
    assert files
    assert [each for path in files for each in _case_with_a_call_of_now(path)] == []


@pytest.mark.parametrize("name", driver_errors._BY_CONSTRAINT)
def test_a_constraint_of_a_shard_is_reported_as_that_of_the_table(name: str) -> None:
    assert len(f"{name}{SHARD}".encode()) <= NAME_MAX

    class Diagnostic:
        constraint_name: str | None = f"{name}{SHARD}"
        message_primary: str | None = None

    found = driver_errors._from_sqlstate("23505", "", Diagnostic())
    assert type(found) is driver_errors._BY_CONSTRAINT[name][0]


def test_a_real_constraint_of_a_shard_is_reported_as_that_of_the_table(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(f"ALTER INDEX uq_users_username RENAME TO uq_users_username{SHARD}".encode())
        insert = "INSERT INTO users (username, email, password_hash) VALUES ('Ana', %s, '')"
        connection.execute(insert, ["a@example.com"])
        with pytest.raises(psycopg.errors.UniqueViolation) as caught:
            connection.execute(insert, ["b@example.com"])
        assert isinstance(driver_errors.translate(caught.value), UsernameTakenError)


def test_every_name_of_the_schema_has_room_for_the_number_of_a_shard() -> None:
    tables = metadata.sorted_tables
    constraints = [str(each.name) for table in tables for each in table.constraints]
    indexes = [str(each.name) for table in tables for each in table.indexes]
    names = [*(table.name for table in tables), *constraints, *indexes]
    assert max(len(f"{name}{SHARD}") for name in names) <= NAME_MAX
