"""What pending revisions lock or lose, told from their statements."""

import pytest

from fastzero_core.schema import migrate
from fastzero_core.schema.lint import RULES, lint_script

UPGRADE = "-- Running upgrade 0002 -> 0003\n\n"

FOUND = [
    ("drops-table", "DROP TABLE todos"),
    ("drops-table", "DROP TABLE IF EXISTS public.todos CASCADE"),
    ("drops-column", "ALTER TABLE todos DROP COLUMN title"),
    ("drops-column", "ALTER TABLE ONLY todos DROP title"),
    ("deletes-rows", "DELETE FROM todos WHERE state = 'trash'"),
    ("deletes-rows", "TRUNCATE todos"),
    ("drops-schema", "DROP SCHEMA old CASCADE"),
    ("changes-type", "ALTER TABLE todos ALTER COLUMN id TYPE integer"),
    ("changes-type", "ALTER TABLE todos ALTER id SET DATA TYPE integer USING id::int"),
    ("index-not-concurrent", "CREATE INDEX ix ON todos (title)"),
    ("index-not-concurrent", "CREATE UNIQUE INDEX ix ON todos USING btree (title)"),
    ("drops-index-not-concurrent", "DROP INDEX ix_todos_state"),
    ("not-null-without-default", "ALTER TABLE todos ADD COLUMN due date NOT NULL"),
    ("not-null-without-default", "alter table todos add due date not null"),
    ("sets-not-null", "ALTER TABLE todos ALTER COLUMN due SET NOT NULL"),
    ("constraint-not-valid", "ALTER TABLE todos ADD CONSTRAINT ck CHECK (due > '2000-01-01')"),
    ("constraint-not-valid", "ALTER TABLE todos ADD CONSTRAINT fk FOREIGN KEY(user_id) REFERENCES users (id)"),
    ("constraint-builds-index", "ALTER TABLE todos ADD CONSTRAINT uq UNIQUE (title)"),
    ("renames", "ALTER TABLE todos RENAME COLUMN title TO name"),
    ("renames", "ALTER TABLE todos RENAME TO tasks"),
]
HARMLESS = [
    "ALTER TABLE todos ADD COLUMN due date",
    "ALTER TABLE todos ADD COLUMN due date DEFAULT now() NOT NULL",
    "ALTER TABLE todos ADD COLUMN number bigint GENERATED ALWAYS AS IDENTITY NOT NULL",
    "ALTER TABLE todos ALTER COLUMN due DROP NOT NULL",
    "ALTER TABLE todos ALTER COLUMN due DROP DEFAULT",
    "ALTER TABLE todos DROP CONSTRAINT ck",
    "ALTER TABLE todos ADD CONSTRAINT ck CHECK (due > now()) NOT VALID",
    "ALTER TABLE todos VALIDATE CONSTRAINT ck",
    "ALTER TABLE todos ADD CONSTRAINT uq UNIQUE USING INDEX ix",
    "ALTER TABLE todos RENAME CONSTRAINT a TO b",
    "CREATE INDEX CONCURRENTLY ix ON todos (title)",
    "DROP INDEX CONCURRENTLY IF EXISTS ix",
    "UPDATE todos SET title = 'DROP TABLE todos; TRUNCATE users'",
    "COMMENT ON TABLE todos IS 'ALTER TABLE todos DROP COLUMN title'",
    "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ DELETE FROM todos; DROP TABLE todos $$",
    "-- DROP TABLE todos",
]


@pytest.mark.parametrize(("rule", "statement"), FOUND)
def test_what_locks_or_loses_is_found(rule: str, statement: str) -> None:
    (finding,) = lint_script(f"{UPGRADE}{statement};\n")
    assert (finding.revision, finding.rule) == ("0003", rule)
    assert finding.statement == statement
    assert finding.remedy


@pytest.mark.parametrize("statement", HARMLESS)
def test_what_does_neither_is_not(statement: str) -> None:
    assert lint_script(f"{UPGRADE}{statement};\n") == []


def test_every_rule_has_an_example() -> None:
    assert {rule.name for rule in RULES} == {name for name, _ in FOUND}


def test_a_table_of_the_same_upgrade_is_empty_and_nobody_waits_for_it() -> None:
    script = (
        f"{UPGRADE}CREATE TABLE tags (id bigint);\nCREATE INDEX ix ON tags (id);\nALTER TABLE tags ADD UNIQUE (id);"
    )
    assert lint_script(script) == []


def test_the_migrations_of_this_project_lock_and_lose_nothing_on_a_new_database() -> None:
    assert lint_script(migrate.sql()) == []


def test_lint_is_of_what_is_pending_alone(database_url: str, empty_database_url: str) -> None:
    assert migrate.lint(database_url) == migrate.lint(empty_database_url) == []
