"""external ids

What another program calls a todo, by which a file that is imported again changes the todos of the first time. Two
functions are replaced: undo says how many changes there are, and exchanges whatever columns a todo has; the history
is pruned too of a user who gets only every second number. The index commits by itself, so that writers are never
blocked; all statements can be repeated. The functions stay when this is undone: they do the work of the ones before.

Revision ID: 0008
Revises: 0007
"""

from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | None = None
depends_on: str | None = None

NOTE = """
CREATE OR REPLACE FUNCTION note_todos() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
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
# Nothing is joined: without statistics, PostgreSQL takes an entry for one row, and would read a large one for each of
# its own rows.
EXCHANGE = """
CREATE OR REPLACE FUNCTION exchange_todos(owner bigint, undo boolean, steps integer)
RETURNS SETOF bigint LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    chosen bigint;
    changed bigint;
    replaced text := (
        SELECT string_agg(format('%1$I = excluded.%1$I', attname), ', ') FROM pg_attribute
        WHERE attrelid = 'todos'::regclass AND attnum > 0 AND NOT attisdropped AND attname NOT IN ('user_id', 'id')
    );
BEGIN
    PERFORM FROM users WHERE id = owner FOR NO KEY UPDATE;
    FOR step IN 1..steps LOOP
        IF undo THEN
            SELECT max(entry) INTO chosen FROM todo_history WHERE user_id = owner AND NOT undone;
        ELSE
            SELECT min(entry) INTO chosen FROM todo_history WHERE user_id = owner AND undone;
        END IF;
        IF chosen IS NULL THEN
            RAISE USING ERRCODE = '23000', CONSTRAINT = 'history_has_entries', MESSAGE =
                CASE WHEN step = 1 THEN 'there is nothing to ' || CASE WHEN undo THEN 'undo' ELSE 'redo' END
                ELSE 'only ' || (step - 1) || ' of ' || steps || ' changes are there' END;
        END IF;
        PERFORM FROM todos WHERE user_id = owner AND id = ANY (
            ARRAY(SELECT todo_id FROM todo_history WHERE user_id = owner AND entry = chosen)
        ) ORDER BY id FOR UPDATE;
        SELECT min(todo_id) INTO changed FROM todo_history h
            WHERE user_id = owner AND entry = chosen AND stamp IS DISTINCT FROM (
                SELECT t.updated_at FROM todos t WHERE t.user_id = owner AND t.id = h.todo_id
            );
        IF changed IS NOT NULL THEN
            RAISE USING ERRCODE = '23000', CONSTRAINT = 'history_is_current', MESSAGE = changed::text;
        END IF;
        PERFORM set_config('fastzero.entry', 'none', true);
        EXECUTE format($exchange$
        WITH removed AS (
            DELETE FROM todos WHERE user_id = $1 AND id = ANY (
                ARRAY(SELECT todo_id FROM todo_history WHERE user_id = $1 AND entry = $2 AND other IS NULL)
            )
        ), put AS (
            INSERT INTO todos OVERRIDING SYSTEM VALUE
            SELECT before.* FROM todo_history h, jsonb_populate_record(NULL::todos, h.other) AS before
            WHERE h.user_id = $1 AND h.entry = $2 AND h.other IS NOT NULL
            ON CONFLICT (user_id, id) DO UPDATE SET %s
        )
        UPDATE todo_history h
            SET other = (SELECT to_jsonb(t) FROM todos t WHERE t.user_id = $1 AND t.id = h.todo_id),
                stamp = (other ->> 'updated_at')::timestamptz, undone = $3
            WHERE user_id = $1 AND entry = $2
        $exchange$, replaced) USING owner, chosen, undo;
        PERFORM set_config('fastzero.entry', '', true);
        RETURN NEXT chosen;
    END LOOP;
END $$
"""
CHECK = "CHECK (char_length(external_id) BETWEEN 1 AND 200) NOT VALID"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '900ms'")  # other sessions wait for it; a try that fails is repeated
    op.execute("ALTER TABLE todos ADD COLUMN IF NOT EXISTS external_id text")
    op.execute("ALTER TABLE todos DROP CONSTRAINT IF EXISTS ck_todos_external_id_length")
    op.execute(f"ALTER TABLE todos ADD CONSTRAINT ck_todos_external_id_length {CHECK}")
    op.execute(NOTE)
    op.execute(EXCHANGE)
    with op.get_context().autocommit_block():
        op.execute("ALTER TABLE todos VALIDATE CONSTRAINT ck_todos_external_id_length")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS uq_todos_external_id")
        op.execute(
            "CREATE UNIQUE INDEX CONCURRENTLY uq_todos_external_id"
            " ON todos (user_id, external_id) WHERE external_id IS NOT NULL"
        )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '900ms'")  # other sessions wait for it; a try that fails is repeated
    op.execute("ALTER TABLE todos DROP COLUMN external_id")
