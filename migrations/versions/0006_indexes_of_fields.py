"""indexes of fields

Each statement commits by itself, so that writers are never blocked; all of them can be repeated.

Revision ID: 0006
Revises: 0005
"""

from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | None = None
depends_on: str | None = None

INDEXES = {
    "ix_todos_state_due": "user_id, state, COALESCE(due_at, 'infinity'::timestamp with time zone), priority, id",
    "ix_todos_state_priority": "user_id, state, priority, id",
    "ix_todos_state_position": "user_id, state, COALESCE(position, id::numeric), id",
    "ix_todos_completed_at": "user_id, completed_at",
}
CHECKS = ("priority_known", "due_range", "due_on_is_due", "tags_few", "position_range")


def upgrade() -> None:
    with op.get_context().autocommit_block():
        for name, columns in INDEXES.items():
            where = " WHERE completed_at IS NOT NULL" if name == "ix_todos_completed_at" else ""
            op.execute(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON todos ({columns}){where}")
        for name in CHECKS:
            op.execute(f"ALTER TABLE todos VALIDATE CONSTRAINT ck_todos_{name}")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        for name in INDEXES:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
