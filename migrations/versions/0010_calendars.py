"""calendars

The secret URL of a user's calendar, of which only a hash is stored. No lock is taken on a table with rows but `users`,
for milliseconds. All statements can be repeated.

Revision ID: 0010
Revises: 0009
"""

from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | None = None
depends_on: str | None = None

CALENDARS = """
    CREATE TABLE IF NOT EXISTS calendars (
        user_id bigint NOT NULL,
        token_hash text NOT NULL,
        created_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_calendars PRIMARY KEY (user_id),
        CONSTRAINT fk_calendars_user_id FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
    )
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '900ms'")  # other sessions wait for it; a try that fails is repeated
    op.execute(CALENDARS)
    op.execute("CREATE UNIQUE INDEX IF NOT EXISTS uq_calendars_token_hash ON calendars (token_hash)")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '900ms'")  # other sessions wait for it; a try that fails is repeated
    op.execute("DROP TABLE IF EXISTS calendars")
