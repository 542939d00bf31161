"""todos

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    # A trigram index finds a text anywhere in title and description.
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    op.create_table(
        "todos",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'todo'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "id", name="pk_todos"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_todos_user_id", ondelete="CASCADE"),
        sa.CheckConstraint("char_length(title) BETWEEN 1 AND 200", name="ck_todos_title_length"),
        sa.CheckConstraint("char_length(description) <= 10000", name="ck_todos_description_length"),
        sa.CheckConstraint("state IN ('draft', 'todo', 'doing', 'done', 'trash')", name="ck_todos_state_known"),
    )
    op.create_index("ix_todos_state", "todos", ["user_id", "state", "id"])
    op.create_index("ix_todos_state_created_at", "todos", ["user_id", "state", "created_at", "id"])
    op.create_index("ix_todos_state_updated_at", "todos", ["user_id", "state", "updated_at", "id"])
    op.create_index("ix_todos_state_title", "todos", ["user_id", "state", "title", "id"])
    op.create_index(
        "ix_todos_text",
        "todos",
        ["title", "description"],
        postgresql_using="gin",
        postgresql_ops={"title": "gin_trgm_ops", "description": "gin_trgm_ops"},
    )


def downgrade() -> None:
    op.drop_table("todos")
    # Other objects in this database may use the extension.
    op.execute(
        """
        DO $$ BEGIN
            DROP EXTENSION IF EXISTS pg_trgm;
        EXCEPTION WHEN dependent_objects_still_exist OR insufficient_privilege THEN
            RAISE NOTICE 'kept extension pg_trgm: other objects depend on it, or another role owns it';
        END $$
        """
    )
