"""history of todos

Triggers note every change of todos, so that a user can undo it, whichever program makes it. Creating them locks the
table todos against writers for milliseconds.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | None = None
depends_on: str | None = None

# All changes of one transaction are one entry, whose number is a setting that ends with the transaction.
NOTE = """
CREATE FUNCTION note_todos() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    number text := current_setting('fastzero.entry', true);
    owners bigint[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        owners := ARRAY(SELECT DISTINCT user_id FROM new_rows);
    ELSE
        owners := ARRAY(SELECT DISTINCT user_id FROM old_rows JOIN users ON users.id = user_id);
    END IF;
    IF owners = '{}' THEN
        RETURN NULL;
    END IF;
    PERFORM pg_notify('fastzero_todos', owner::text) FROM unnest(owners) AS owner
        WHERE EXISTS (SELECT FROM todo_watchers WHERE user_id = owner AND until > now());
    IF number = 'none' THEN
        RETURN NULL;
    END IF;
    IF coalesce(number, '') = '' THEN
        number := nextval('todo_history_entry_seq');
        PERFORM set_config('fastzero.entry', number, true);
    END IF;
    IF TG_OP = 'INSERT' THEN
        INSERT INTO todo_history (user_id, entry, todo_id, stamp)
            SELECT user_id, number::bigint, id, updated_at FROM new_rows
            ON CONFLICT (user_id, entry, todo_id) DO UPDATE SET stamp = excluded.stamp;
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO todo_history (user_id, entry, todo_id, other, stamp)
            SELECT n.user_id, number::bigint, n.id, to_jsonb(o), n.updated_at
            FROM new_rows n JOIN old_rows o USING (user_id, id) WHERE o IS DISTINCT FROM n
            ON CONFLICT (user_id, entry, todo_id) DO UPDATE SET stamp = excluded.stamp;
    ELSE
        INSERT INTO todo_history (user_id, entry, todo_id, other)
            SELECT user_id, number::bigint, id, to_jsonb(o) FROM old_rows o WHERE user_id = ANY (owners)
            ON CONFLICT (user_id, entry, todo_id) DO UPDATE SET stamp = NULL;
    END IF;
    DELETE FROM todo_history WHERE user_id = ANY (owners) AND undone;
    IF mod(number::bigint, 64) = 0 THEN
        DELETE FROM todo_history h USING unnest(owners) AS owner WHERE h.user_id = owner
            AND h.entry < (
                SELECT entry FROM todo_history WHERE user_id = owner GROUP BY entry
                ORDER BY entry DESC OFFSET 999 LIMIT 1
            );
    END IF;
    RETURN NULL;
END $$
"""
# An entry has, for each todo, how it is on the other side of the change. Undoing and redoing are the same: both sides
# are exchanged. `stamp` is the time of the last change on this side, by which a later change is noticed.
EXCHANGE = """
CREATE FUNCTION exchange_todos(owner bigint, undo boolean, steps integer)
RETURNS SETOF bigint LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    chosen bigint;
    changed bigint;
BEGIN
    PERFORM FROM users WHERE id = owner FOR NO KEY UPDATE;
    FOR step IN 1..steps LOOP
        IF undo THEN
            SELECT max(entry) INTO chosen FROM todo_history WHERE user_id = owner AND NOT undone;
        ELSE
            SELECT min(entry) INTO chosen FROM todo_history WHERE user_id = owner AND undone;
        END IF;
        IF chosen IS NULL THEN
            RAISE USING ERRCODE = '23000', CONSTRAINT = 'history_has_entries', MESSAGE = (step - 1)::text;
        END IF;
        PERFORM FROM todos t JOIN todo_history h ON h.user_id = t.user_id AND h.todo_id = t.id
            WHERE h.user_id = owner AND h.entry = chosen ORDER BY t.id FOR UPDATE OF t;
        SELECT min(h.todo_id) INTO changed
            FROM todo_history h LEFT JOIN todos t ON t.user_id = h.user_id AND t.id = h.todo_id
            WHERE h.user_id = owner AND h.entry = chosen AND t.updated_at IS DISTINCT FROM h.stamp;
        IF changed IS NOT NULL THEN
            RAISE USING ERRCODE = '23000', CONSTRAINT = 'history_is_current', MESSAGE = changed::text;
        END IF;
        PERFORM set_config('fastzero.entry', 'none', true);
        WITH wanted AS MATERIALIZED (
            SELECT h.todo_id, h.other, to_jsonb(t) AS here
            FROM todo_history h LEFT JOIN todos t ON t.user_id = h.user_id AND t.id = h.todo_id
            WHERE h.user_id = owner AND h.entry = chosen
        ), removed AS (
            DELETE FROM todos t USING wanted w WHERE t.user_id = owner AND t.id = w.todo_id AND w.other IS NULL
        ), put AS (
            INSERT INTO todos OVERRIDING SYSTEM VALUE
            SELECT (jsonb_populate_record(NULL::todos, w.other)).* FROM wanted w WHERE w.other IS NOT NULL
            ON CONFLICT (user_id, id) DO UPDATE SET
                title = excluded.title, description = excluded.description, state = excluded.state,
                created_at = excluded.created_at, updated_at = excluded.updated_at, priority = excluded.priority,
                due_at = excluded.due_at, due_on = excluded.due_on, tags = excluded.tags,
                position = excluded.position, completed_at = excluded.completed_at
        )
        UPDATE todo_history h
            SET other = w.here, stamp = (w.other ->> 'updated_at')::timestamptz, undone = undo
            FROM wanted w WHERE h.user_id = owner AND h.entry = chosen AND h.todo_id = w.todo_id;
        PERFORM set_config('fastzero.entry', '', true);
        RETURN NEXT chosen;
    END LOOP;
END $$
"""
TRIGGERS = {
    "todos_inserted": "AFTER INSERT ON todos REFERENCING NEW TABLE AS new_rows",
    "todos_updated": "AFTER UPDATE ON todos REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
    "todos_deleted": "AFTER DELETE ON todos REFERENCING OLD TABLE AS old_rows",
}


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '200ms'")  # each of two tables, one after the other
    op.create_table(
        "todo_history",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("entry", sa.BigInteger(), nullable=False),
        sa.Column("todo_id", sa.BigInteger(), nullable=False),
        sa.Column("other", postgresql.JSONB()),
        sa.Column("stamp", sa.DateTime(timezone=True)),
        sa.Column("undone", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "entry", "todo_id", name="pk_todo_history"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_todo_history_user_id", ondelete="CASCADE"),
    )
    op.create_index("ix_todo_history_undone", "todo_history", ["user_id", "entry"], postgresql_where=sa.text("undone"))
    op.create_table(
        "todo_watchers",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("watcher", sa.Text(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "watcher", name="pk_todo_watchers"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_todo_watchers_user_id", ondelete="CASCADE"),
    )
    op.execute("CREATE SEQUENCE todo_history_entry_seq OWNED BY todo_history.entry")
    op.execute(NOTE)
    op.execute(EXCHANGE)
    for name, event in TRIGGERS.items():
        op.execute(f"CREATE TRIGGER {name} {event} FOR EACH STATEMENT EXECUTE FUNCTION note_todos()")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '200ms'")  # each of two tables, one after the other
    for name in TRIGGERS:
        op.execute(f"DROP TRIGGER {name} ON todos")
    op.execute("DROP FUNCTION exchange_todos(bigint, boolean, integer)")
    op.execute("DROP FUNCTION note_todos()")
    op.drop_table("todo_watchers")
    op.drop_table("todo_history")
