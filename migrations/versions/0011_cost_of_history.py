"""cost of history

Changes are noted in less time. The rows before and after a change are joined by a full join: PostgreSQL plans the
statements of a function once per session, and after some changes of single todos it had planned an inner one as nested
loops, so that a change of 5,000 todos took seconds. What could be redone ends in the same statement, and rows are
compared as a whole only if their times are equal. The function is a new one, beside that before, which the downgrade
uses. A lock is held for milliseconds. All statements can be repeated.

Revision ID: 0011
Revises: 0010
"""

from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | None = None
depends_on: str | None = None

# What is noted is the same as in 0009. `num_nulls` leaves a todo out that gets another key, as the inner join did, and
# keeps the join a full one: a condition that is never true for NULL would make it an inner one again.
NOTE = """
CREATE OR REPLACE FUNCTION record_changes() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    number text := current_setting('fastzero.entry', true);
    member bigint := nullif(current_setting('fastzero.member', true), '')::bigint;
    owners bigint[];
    watched bigint[];
    shown text[] := '{}';
BEGIN
    IF TG_OP = 'INSERT' THEN
        owners := ARRAY(SELECT DISTINCT user_id FROM new_rows);
    ELSE
        owners := ARRAY(SELECT DISTINCT user_id FROM old_rows JOIN users ON users.id = user_id);
    END IF;
    IF owners = '{}' THEN
        RETURN NULL;
    END IF;
    watched := ARRAY(SELECT DISTINCT user_id FROM todo_watchers WHERE user_id = ANY (owners) AND until > now());
    IF watched <> '{}' THEN
        IF TG_OP <> 'DELETE' THEN
            shown := ARRAY(SELECT DISTINCT concat_ws('/', user_id, list_id) FROM new_rows);
        END IF;
        IF TG_OP <> 'INSERT' THEN
            shown := shown || ARRAY(SELECT DISTINCT concat_ws('/', user_id, list_id) FROM old_rows);
        END IF;
        PERFORM pg_notify('fastzero_todos', each)
            FROM (SELECT unnest(watched)::text UNION SELECT unnest(shown)) _(each);
    END IF;
    IF number = 'none' THEN
        RETURN NULL;
    END IF;
    IF member IS NOT NULL THEN
        number := substring(current_setting('fastzero.member_entry', true) FROM '^' || member || ':(.*)');
    END IF;
    IF coalesce(number, '') = '' THEN
        number := nextval('todo_history_entry_seq');
        IF member IS NULL THEN
            PERFORM set_config('fastzero.entry', number, true);
        ELSE
            PERFORM set_config('fastzero.member_entry', member || ':' || number, true);
        END IF;
    END IF;
    IF TG_OP = 'INSERT' THEN
        WITH ended AS (
            DELETE FROM todo_history WHERE user_id = ANY (owners) AND undone
            AND actor IS NOT DISTINCT FROM nullif(member, user_id)
        )
        INSERT INTO todo_history (user_id, entry, todo_id, stamp, actor)
            SELECT user_id, number::bigint, id, updated_at, nullif(member, user_id) FROM new_rows
            ON CONFLICT (user_id, entry, todo_id) DO UPDATE SET stamp = excluded.stamp;
    ELSIF TG_OP = 'UPDATE' THEN
        WITH ended AS (
            DELETE FROM todo_history WHERE user_id = ANY (owners) AND undone
            AND actor IS NOT DISTINCT FROM nullif(member, user_id)
        )
        INSERT INTO todo_history (user_id, entry, todo_id, other, stamp, actor)
            SELECT user_id, number::bigint, id, to_jsonb(o), n.updated_at, nullif(member, user_id)
            FROM new_rows n FULL JOIN old_rows o USING (user_id, id)
            WHERE num_nulls(o.id, n.id) = 0 AND (o.updated_at IS DISTINCT FROM n.updated_at OR o IS DISTINCT FROM n)
            ON CONFLICT (user_id, entry, todo_id) DO UPDATE SET stamp = excluded.stamp;
    ELSE
        WITH ended AS (
            DELETE FROM todo_history WHERE user_id = ANY (owners) AND undone
            AND actor IS NOT DISTINCT FROM nullif(member, user_id)
        )
        INSERT INTO todo_history (user_id, entry, todo_id, other, actor)
            SELECT user_id, number::bigint, id, to_jsonb(o), nullif(member, user_id)
            FROM old_rows o WHERE user_id = ANY (owners)
            ON CONFLICT (user_id, entry, todo_id) DO UPDATE SET stamp = NULL;
    END IF;
    -- One in 64 numbers, also of a user who gets only every second one: numbers are those of all users.
    IF ((number::bigint & 2147483647) * 2654435761 & 4294967295) >> 26 = 0 THEN
        DELETE FROM todo_history h USING unnest(owners) AS owner WHERE h.user_id = owner
            AND h.entry < (
                SELECT entry FROM todo_history WHERE user_id = owner GROUP BY entry
                ORDER BY entry DESC OFFSET 999 LIMIT 1
            );
    END IF;
    RETURN NULL;
END $$
"""
TRIGGERS = {
    "todos_inserted": "AFTER INSERT ON todos REFERENCING NEW TABLE AS new_rows",
    "todos_updated": "AFTER UPDATE ON todos REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
    "todos_deleted": "AFTER DELETE ON todos REFERENCING OLD TABLE AS old_rows",
}


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '900ms'")  # other sessions wait for it; a try that fails is repeated
    op.execute(NOTE)
    _call("record_changes")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '900ms'")  # other sessions wait for it; a try that fails is repeated
    _call("note_changes")
    op.execute("DROP FUNCTION IF EXISTS record_changes()")


def _call(function: str) -> None:
    for name, event in TRIGGERS.items():
        op.execute(f"CREATE OR REPLACE TRIGGER {name} {event} FOR EACH STATEMENT EXECUTE FUNCTION {function}()")
