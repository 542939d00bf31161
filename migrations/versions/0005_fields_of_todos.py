"""fields of todos

Adds columns with constant defaults, which does not rewrite the table. Locks are held for milliseconds. The table
todo_tags lists the tags in todos.tags for the filter by tag; triggers keep it up to date. Migrations 0006 builds the
indexes and validates the constraints, outside of a transaction.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | None = None
depends_on: str | None = None

CHECKS = {
    "priority_known": "priority BETWEEN 1 AND 4",
    "due_range": "due_at BETWEEN '1899-12-30 00:00:00+00' AND '9999-01-02 00:00:00+00'"
    " AND due_on BETWEEN '1899-12-30' AND '9999-01-02'",
    "due_on_is_due": "due_on IS NULL OR due_at IS NOT NULL",
    "tags_few": "cardinality(tags) <= 20 AND array_position(tags, NULL) IS NULL",
    "position_range": "scale(position) <= 1000 AND position BETWEEN -1e30 AND 1e30",
}
NEW = ("priority", "due_at", "due_on", "tags", "position", "completed_at")

# In the table's own schema, whatever the search path of the session is. With an argument, another table is kept up to
# date: the shard of todo_tags beside a shard of todos.
FUNCTION = """
CREATE FUNCTION keep_todo_tags() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    target regclass := coalesce(TG_ARGV[0], format('%I.todo_tags', TG_TABLE_SCHEMA))::regclass;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        EXECUTE format('DELETE FROM %s WHERE user_id = $1 AND todo_id = $2 AND tag <> ALL ($3)', target)
            USING NEW.user_id, NEW.id, NEW.tags;
        EXECUTE format('UPDATE %s SET state = $3 WHERE user_id = $1 AND todo_id = $2 AND state <> $3', target)
            USING NEW.user_id, NEW.id, NEW.state;
    END IF;
    EXECUTE format('INSERT INTO %s (user_id, todo_id, tag, state) SELECT $1, $2, unnest($3), $4'
        ' ON CONFLICT DO NOTHING', target) USING NEW.user_id, NEW.id, NEW.tags, NEW.state;
    RETURN NULL;
END $$
"""
TRIGGERS = (
    """
    CREATE TRIGGER todo_tags_added AFTER INSERT ON todos FOR EACH ROW
    WHEN (NEW.tags <> '{}') EXECUTE FUNCTION keep_todo_tags()
    """,
    """
    CREATE TRIGGER todo_tags_changed AFTER UPDATE OF tags, state ON todos FOR EACH ROW
    WHEN ((OLD.tags <> '{}' OR NEW.tags <> '{}') AND (OLD.tags <> NEW.tags OR OLD.state <> NEW.state))
    EXECUTE FUNCTION keep_todo_tags()
    """,
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '900ms'")  # other sessions wait for it; a try that fails is repeated
    op.add_column("todos", sa.Column("priority", sa.SmallInteger(), server_default=sa.text("4"), nullable=False))
    op.add_column("todos", sa.Column("due_at", sa.DateTime(timezone=True)))
    op.add_column("todos", sa.Column("due_on", sa.Date()))
    tags = postgresql.ARRAY(sa.Text())
    op.add_column("todos", sa.Column("tags", tags, server_default=sa.text("'{}'"), nullable=False))
    op.add_column("todos", sa.Column("position", sa.Numeric()))
    op.add_column("todos", sa.Column("completed_at", sa.DateTime(timezone=True)))
    for name, condition in CHECKS.items():
        op.execute(f"ALTER TABLE todos ADD CONSTRAINT ck_todos_{name} CHECK ({condition}) NOT VALID")
    op.create_table(
        "todo_tags",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("todo_id", sa.BigInteger(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "todo_id", "tag", name="pk_todo_tags"),
        sa.ForeignKeyConstraint(
            ["user_id", "todo_id"], ["todos.user_id", "todos.id"], name="fk_todo_tags_todo", ondelete="CASCADE"
        ),
        sa.CheckConstraint("char_length(tag) BETWEEN 1 AND 50", name="tag_length"),
    )
    op.create_index("ix_todo_tags_tag", "todo_tags", ["user_id", "tag", "todo_id"], postgresql_include=["state"])
    op.execute(FUNCTION)
    for trigger in TRIGGERS:
        op.execute(trigger)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '900ms'")
    op.execute("DROP TRIGGER todo_tags_added ON todos")
    op.execute("DROP TRIGGER todo_tags_changed ON todos")
    op.execute("DROP FUNCTION keep_todo_tags()")
    op.drop_table("todo_tags")
    for name in CHECKS:
        op.execute(f"ALTER TABLE todos DROP CONSTRAINT ck_todos_{name}")
    for name in NEW:
        op.drop_column("todos", name)
