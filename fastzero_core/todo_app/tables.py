"""The schema as SQLAlchemy tables, for the operations and for comparison by Alembic.

The indexes are for the lists: one on `(user_id, state, column, id)` for each sort order, and trigrams for text, so that
reading a page takes as long in a list of a million todos as in one of a hundred. Tags are in `todos.tags`; triggers
list them in `todo_tags` too, by whose index a page of todos with a tag is read. With a GIN index on the array, every
page would read and sort all todos with the tag: 10,000 of them take 23 ms instead of 0.2.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    Sequence,
    SmallInteger,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from .models import Role, TodoState
from .validate import (
    DESCRIPTION_MAX,
    EMAIL_MAX,
    EXTERNAL_ID_MAX,
    LIST_NAME_MAX,
    TAG_MAX,
    TAGS_MAX,
    TITLE_MAX,
    USERNAME_MAX,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def _time(name: str) -> Column:  # type: ignore[type-arg]
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


users = Table(
    "users",
    metadata,
    Column("id", BigInteger, Identity(always=True)),
    Column("username", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("token_version", BigInteger, nullable=False, server_default=text("0")),
    _time("created_at"),
    _time("updated_at"),
    PrimaryKeyConstraint("id"),
    CheckConstraint(f"char_length(username) BETWEEN 1 AND {USERNAME_MAX}", name="username_length"),
    CheckConstraint(f"char_length(email) BETWEEN 3 AND {EMAIL_MAX}", name="email_length"),
)
Index("uq_users_username", func.lower(users.c.username), unique=True)
Index("uq_users_email", func.lower(users.c.email), unique=True)

# Consecutive failed logins to accounts, and to names without an account, so that the responses do not reveal which
# accounts exist. `account` is the account alone, or followed by a space and a network: see `logins`. Each new failure
# deletes some expired rows, so there are never many more than twice the failures in an hour.
login_failures = Table(
    "login_failures",
    metadata,
    Column("account", Text),
    Column("failures", Integer, nullable=False),
    Column("failed_at", DateTime(timezone=True), nullable=False),
    Column("blocked_until", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("account"),
    CheckConstraint("failures > 0", name="failures_positive"),
    Index("ix_login_failures_failed_at", "failed_at"),
)

# The networks from which a user has logged in recently; a few per user.
login_networks = Table(
    "login_networks",
    metadata,
    Column("user_id", BigInteger, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("network", Text, nullable=False),
    Column("seen_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("user_id", "network"),
)

# The hashes of codes that each allow one user to sign up.
invitations = Table(
    "invitations",
    metadata,
    Column("code_hash", Text),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    _time("created_at"),
    PrimaryKeyConstraint("code_hash"),
    Index("ix_invitations_expires_at", "expires_at"),
)

# Rows of a list and its todos are distributed by the list's owner, who is `user_id` in all of these tables.
lists = Table(
    "lists",
    metadata,
    Column("user_id", BigInteger, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("name", Text, nullable=False),
    _time("created_at"),
    PrimaryKeyConstraint("user_id", "id"),
    CheckConstraint(f"char_length(name) BETWEEN 1 AND {LIST_NAME_MAX}", name="name_length"),
)
Index("uq_lists_name", lists.c.user_id, func.lower(lists.c.name), unique=True)

_ROLES = ", ".join(f"'{role}'" for role in Role)

list_members = Table(
    "list_members",
    metadata,
    Column("user_id", BigInteger, nullable=False),
    Column("list_id", BigInteger, nullable=False),
    Column("member_id", BigInteger, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("role", Text, nullable=False),
    PrimaryKeyConstraint("user_id", "list_id", "member_id"),
    ForeignKeyConstraint(
        ["user_id", "list_id"], ["lists.user_id", "lists.id"], name="fk_list_members_list", ondelete="CASCADE"
    ),
    CheckConstraint(f"role IN ({_ROLES})", name="role_known"),
    CheckConstraint("member_id <> user_id", name="member_is_not_owner"),
    Index("ix_list_members_member", "member_id", "list_id"),
)

# The hashes of the tokens by which users' calendars are read: see `calendars`.
calendars = Table(
    "calendars",
    metadata,
    Column("user_id", BigInteger, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("token_hash", Text, nullable=False),
    _time("created_at"),
    PrimaryKeyConstraint("user_id"),
    Index("uq_calendars_token_hash", "token_hash", unique=True),
)

# As PostgreSQL prints them, so that the schema can be compared with these tables.
DUE_KEY = text("COALESCE(due_at, 'infinity'::timestamp with time zone)")
POSITION_KEY = text("COALESCE(position, id::numeric)")
_STATES = ", ".join(f"'{state}'" for state in TodoState)

todos = Table(
    "todos",
    metadata,
    Column("user_id", BigInteger, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("title", Text, nullable=False),
    Column("description", Text, nullable=False, server_default=text("''")),
    Column("state", Text, nullable=False, server_default=text("'todo'")),
    _time("created_at"),
    _time("updated_at"),
    # 1 is high and 4 is none, so that ascending order starts with the highest.
    Column("priority", SmallInteger, nullable=False, server_default=text("4")),
    # When it becomes overdue. If it is due on a whole day, due_on is that day, and due_at its end in the time zone in
    # which it was set: the day stays the same in all time zones.
    Column("due_at", DateTime(timezone=True)),
    Column("due_on", Date),
    Column("tags", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("position", Numeric),  # in the order made by hand; NULL means at its id
    Column("completed_at", DateTime(timezone=True)),
    Column("external_id", Text),  # what another program calls it
    Column("list_id", BigInteger),  # NULL is the inbox
    PrimaryKeyConstraint("user_id", "id"),
    ForeignKeyConstraint(
        ["user_id", "list_id"], ["lists.user_id", "lists.id"], name="fk_todos_list", ondelete="SET NULL (list_id)"
    ),
    CheckConstraint(f"char_length(title) BETWEEN 1 AND {TITLE_MAX}", name="title_length"),
    CheckConstraint(f"char_length(description) <= {DESCRIPTION_MAX}", name="description_length"),
    CheckConstraint(f"state IN ({_STATES})", name="state_known"),
    CheckConstraint("priority BETWEEN 1 AND 4", name="priority_known"),
    CheckConstraint(
        "due_at BETWEEN '1899-12-30 00:00:00+00' AND '9999-01-02 00:00:00+00'"
        " AND due_on BETWEEN '1899-12-30' AND '9999-01-02'",
        name="due_range",
    ),
    CheckConstraint("due_on IS NULL OR due_at IS NOT NULL", name="due_on_is_due"),
    CheckConstraint(f"cardinality(tags) <= {TAGS_MAX} AND array_position(tags, NULL) IS NULL", name="tags_few"),
    CheckConstraint("scale(position) <= 1000 AND position BETWEEN -1e30 AND 1e30", name="position_range"),
    CheckConstraint(f"char_length(external_id) BETWEEN 1 AND {EXTERNAL_ID_MAX}", name="external_id_length"),
    Index("ix_todos_state", "user_id", "state", "id"),
    Index("ix_todos_state_created_at", "user_id", "state", "created_at", "id"),
    Index("ix_todos_state_updated_at", "user_id", "state", "updated_at", "id"),
    Index("ix_todos_state_title", "user_id", "state", "title", "id"),
    Index("ix_todos_state_due", "user_id", "state", DUE_KEY, "priority", "id"),
    Index("ix_todos_state_priority", "user_id", "state", "priority", "id"),
    Index("ix_todos_state_position", "user_id", "state", POSITION_KEY, "id"),
    Index("ix_todos_completed_at", "user_id", "completed_at", postgresql_where=text("completed_at IS NOT NULL")),
    Index("ix_todos_list", "user_id", "list_id", "state", "id", postgresql_where=text("list_id IS NOT NULL")),
    Index(
        "uq_todos_external_id",
        "user_id",
        "external_id",
        unique=True,
        postgresql_where=text("external_id IS NOT NULL"),
    ),
    Index(
        "ix_todos_text",
        "title",
        "description",
        postgresql_using="gin",
        postgresql_ops={"title": "gin_trgm_ops", "description": "gin_trgm_ops"},
    ),
)

# Kept by triggers on `todos`; statements only read it.
todo_tags = Table(
    "todo_tags",
    metadata,
    Column("user_id", BigInteger, nullable=False),
    Column("todo_id", BigInteger, nullable=False),
    Column("tag", Text, nullable=False),
    Column("state", Text, nullable=False),
    PrimaryKeyConstraint("user_id", "todo_id", "tag"),
    ForeignKeyConstraint(
        ["user_id", "todo_id"], ["todos.user_id", "todos.id"], name="fk_todo_tags_todo", ondelete="CASCADE"
    ),
    CheckConstraint(f"char_length(tag) BETWEEN 1 AND {TAG_MAX}", name="tag_length"),
    Index("ix_todo_tags_tag", "user_id", "tag", "todo_id", postgresql_include=["state"]),
)

# What `todos` was like before each change, kept by triggers: see `history`. `other` is the todo on the other side of
# the change, NULL where it does not exist; `stamp` its `updated_at` on this side; `actor` the member who made it, NULL
# for the owner.
todo_history = Table(
    "todo_history",
    metadata,
    Column("user_id", BigInteger, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("entry", BigInteger, Sequence("todo_history_entry_seq", metadata=metadata), nullable=False),
    Column("todo_id", BigInteger, nullable=False),
    Column("other", JSONB),
    Column("stamp", DateTime(timezone=True)),
    Column("undone", Boolean, nullable=False, server_default=text("false")),
    _time("at"),
    Column("actor", BigInteger),
    PrimaryKeyConstraint("user_id", "entry", "todo_id"),
    Index("ix_todo_history_undone", "user_id", "entry", postgresql_where=text("undone")),
)

# The windows that show the todos of a user: changes are announced only while somebody watches, since PostgreSQL
# commits the transactions that announce something one after the other. Each names the owner, or the owner and a list.
CHANNEL = "fastzero_todos"
SEPARATOR = "/"
todo_watchers = Table(
    "todo_watchers",
    metadata,
    Column("user_id", BigInteger, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("watcher", Text, nullable=False),
    Column("until", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("user_id", "watcher"),
)
