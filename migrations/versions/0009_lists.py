"""lists

Lists of todos, with members. A todo without one is in the inbox, so that nothing is rewritten. The history notes who
made a change, where it was a member. The functions are new ones, beside those before: processes of the version before
still use these, and so does this one's downgrade. Locks are held for milliseconds; the index and the check of the
foreign key block no other session. All statements can be repeated.

Revision ID: 0009
Revises: 0008
"""

from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | None = None
depends_on: str | None = None

TABLES = (
    """
    CREATE TABLE IF NOT EXISTS lists (
        user_id bigint NOT NULL,
        id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
        name text NOT NULL,
        created_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_lists PRIMARY KEY (user_id, id),
        CONSTRAINT fk_lists_user_id FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
        CONSTRAINT ck_lists_name_length CHECK (char_length(name) BETWEEN 1 AND 100)
    )
    """,
    "CREATE UNIQUE INDEX IF NOT EXISTS uq_lists_name ON lists (user_id, lower(name))",
    """
    CREATE TABLE IF NOT EXISTS list_members (
        user_id bigint NOT NULL,
        list_id bigint NOT NULL,
        member_id bigint NOT NULL,
        role text NOT NULL,
        CONSTRAINT pk_list_members PRIMARY KEY (user_id, list_id, member_id),
        CONSTRAINT fk_list_members_list FOREIGN KEY (user_id, list_id)
            REFERENCES lists (user_id, id) ON DELETE CASCADE,
        CONSTRAINT fk_list_members_member_id FOREIGN KEY (member_id) REFERENCES users (id) ON DELETE CASCADE,
        CONSTRAINT ck_list_members_role_known CHECK (role IN ('viewer', 'editor', 'owner')),
        CONSTRAINT ck_list_members_member_is_not_owner CHECK (member_id <> user_id)
    )
    """,
    "CREATE INDEX IF NOT EXISTS ix_list_members_member ON list_members (member_id, list_id)",
)
FOREIGN_KEY = """
    ALTER TABLE todos ADD CONSTRAINT fk_todos_list FOREIGN KEY (user_id, list_id)
    REFERENCES lists (user_id, id) ON DELETE SET NULL (list_id) NOT VALID
"""
# A member's statement says who it is in a setting that ends with the transaction; the changes of each are an entry.
# Windows that show a list are told of the changes in this list alone.
NOTE = """
CREATE OR REPLACE FUNCTION note_changes() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
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
        INSERT INTO todo_history (user_id, entry, todo_id, stamp, actor)
            SELECT user_id, number::bigint, id, updated_at, nullif(member, user_id) FROM new_rows
            ON CONFLICT (user_id, entry, todo_id) DO UPDATE SET stamp = excluded.stamp;
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO todo_history (user_id, entry, todo_id, other, stamp, actor)
            SELECT n.user_id, number::bigint, n.id, to_jsonb(o), n.updated_at, nullif(member, n.user_id)
            FROM new_rows n JOIN old_rows o USING (user_id, id) WHERE o IS DISTINCT FROM n
            ON CONFLICT (user_id, entry, todo_id) DO UPDATE SET stamp = excluded.stamp;
    ELSE
        INSERT INTO todo_history (user_id, entry, todo_id, other, actor)
            SELECT user_id, number::bigint, id, to_jsonb(o), nullif(member, user_id)
            FROM old_rows o WHERE user_id = ANY (owners)
            ON CONFLICT (user_id, entry, todo_id) DO UPDATE SET stamp = NULL;
    END IF;
    DELETE FROM todo_history WHERE user_id = ANY (owners) AND undone
        AND actor IS NOT DISTINCT FROM nullif(member, user_id);
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
# Everybody undoes the changes made by oneself. `member` is NULL for the owner; `list`, if given, limits the entries to
# those with a todo of it. What a member changed is exchanged only as long as it is in that list. A todo whose list is
# gone comes back into the inbox. Nothing is joined, as in 0008.
EXCHANGE = """
CREATE OR REPLACE FUNCTION exchange_changes(owner bigint, undo boolean, steps integer, member bigint, list bigint)
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
            SELECT h.entry INTO chosen FROM todo_history h
                WHERE h.user_id = owner AND NOT h.undone AND h.actor IS NOT DISTINCT FROM member
                AND (
                    list IS NULL OR list = (h.other ->> 'list_id')::bigint OR EXISTS (
                        SELECT FROM todos t WHERE t.user_id = owner AND t.id = h.todo_id AND t.list_id = list
                    )
                )
                ORDER BY h.entry DESC LIMIT 1;
        ELSE
            SELECT h.entry INTO chosen FROM todo_history h
                WHERE h.user_id = owner AND h.undone AND h.actor IS NOT DISTINCT FROM member
                AND (
                    list IS NULL OR list = (h.other ->> 'list_id')::bigint OR EXISTS (
                        SELECT FROM todos t WHERE t.user_id = owner AND t.id = h.todo_id AND t.list_id = list
                    )
                )
                ORDER BY h.entry LIMIT 1;
        END IF;
        IF chosen IS NULL THEN
            RAISE USING ERRCODE = '23000', CONSTRAINT = 'history_has_entries', MESSAGE =
                CASE WHEN step = 1 THEN 'there is nothing to ' || CASE WHEN undo THEN 'undo' ELSE 'redo' END
                ELSE 'only ' || (step - 1) || ' of ' || steps || ' changes are there' END;
        END IF;
        PERFORM FROM todos WHERE user_id = owner AND id = ANY (ARRAY(
            SELECT todo_id FROM todo_history
            WHERE user_id = owner AND entry = chosen AND actor IS NOT DISTINCT FROM member
        )) ORDER BY id FOR UPDATE;
        SELECT min(todo_id) INTO changed FROM todo_history h
            WHERE user_id = owner AND entry = chosen AND actor IS NOT DISTINCT FROM member
            AND (
                stamp IS DISTINCT FROM (
                    SELECT t.updated_at FROM todos t WHERE t.user_id = owner AND t.id = h.todo_id
                )
                OR member IS NOT NULL AND other IS NOT NULL AND (other ->> 'list_id')::bigint IS DISTINCT FROM list
                OR member IS NOT NULL AND EXISTS (
                    SELECT FROM todos t
                    WHERE t.user_id = owner AND t.id = h.todo_id AND t.list_id IS DISTINCT FROM list
                )
            );
        IF changed IS NOT NULL THEN
            RAISE USING ERRCODE = '23000', CONSTRAINT = 'history_is_current', MESSAGE = changed::text;
        END IF;
        PERFORM set_config('fastzero.entry', 'none', true);
        EXECUTE format($exchange$
        WITH removed AS (
            DELETE FROM todos WHERE user_id = $1 AND id = ANY (ARRAY(
                SELECT todo_id FROM todo_history
                WHERE user_id = $1 AND entry = $2 AND actor IS NOT DISTINCT FROM $4 AND other IS NULL
            ))
        ), put AS (
            INSERT INTO todos OVERRIDING SYSTEM VALUE
            SELECT before.* FROM todo_history h, jsonb_populate_record(NULL::todos, CASE
                WHEN EXISTS (SELECT FROM lists WHERE user_id = $1 AND id = (h.other ->> 'list_id')::bigint)
                THEN h.other ELSE h.other || '{"list_id": null}' END) AS before
            WHERE h.user_id = $1 AND h.entry = $2 AND h.actor IS NOT DISTINCT FROM $4 AND h.other IS NOT NULL
            ON CONFLICT (user_id, id) DO UPDATE SET %s
        )
        UPDATE todo_history h
            SET other = (SELECT to_jsonb(t) FROM todos t WHERE t.user_id = $1 AND t.id = h.todo_id),
                stamp = (other ->> 'updated_at')::timestamptz, undone = $3
            WHERE user_id = $1 AND entry = $2 AND actor IS NOT DISTINCT FROM $4
        $exchange$, replaced) USING owner, chosen, undo, member;
        PERFORM set_config('fastzero.entry', '', true), set_config('fastzero.member_entry', '', true);
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
    op.execute("SET LOCAL lock_timeout = '200ms'")  # each of three tables, one after the other
    for statement in TABLES:
        op.execute(statement)
    op.execute("ALTER TABLE todos ADD COLUMN IF NOT EXISTS list_id bigint")
    op.execute("ALTER TABLE todos DROP CONSTRAINT IF EXISTS fk_todos_list")
    op.execute(FOREIGN_KEY)
    op.execute("ALTER TABLE todo_history ADD COLUMN IF NOT EXISTS actor bigint")
    op.execute(NOTE)
    op.execute(EXCHANGE)
    _call("note_changes")
    with op.get_context().autocommit_block():
        op.execute("ALTER TABLE todos VALIDATE CONSTRAINT fk_todos_list")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_todos_list")
        op.execute(
            "CREATE INDEX CONCURRENTLY ix_todos_list ON todos (user_id, list_id, state, id) WHERE list_id IS NOT NULL"
        )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '200ms'")  # each of three tables, one after the other
    _call("note_todos")
    op.execute("DROP FUNCTION note_changes()")
    op.execute("DROP FUNCTION exchange_changes(bigint, boolean, integer, bigint, bigint)")
    op.execute("ALTER TABLE todo_history DROP COLUMN actor")
    op.execute("ALTER TABLE todos DROP COLUMN list_id")
    op.execute("DROP TABLE list_members")
    op.execute("DROP TABLE lists")


def _call(function: str) -> None:
    for name, event in TRIGGERS.items():
        op.execute(f"CREATE OR REPLACE TRIGGER {name} {event} FOR EACH STATEMENT EXECUTE FUNCTION {function}()")
